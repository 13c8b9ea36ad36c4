"""Two charters over the same data: who gains, who loses, and what the community has left."""

from __future__ import annotations

from dataclasses import dataclass

from controller.ledger.canonical import Json
from controller.settlement.lab import Intervals, Outcome, gini, settle
from controller.settlement.terms import Terms


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both outcomes over one set of data."""

    names: tuple[str, str]
    members: tuple[str, ...]
    digest: str
    before: Outcome
    after: Outcome

    def changes(self) -> tuple[int, ...]:
        """Returns what each member pays more under the second charter [minor units]."""
        return tuple(b - a for a, b in zip(self.before.bills, self.after.bills, strict=True))

    def worst(self) -> str:
        """Returns the member whose bill grows most (or shrinks least); the first by id where several do."""
        return max(sorted(zip(self.members, self.changes(), strict=True)), key=lambda pair: pair[1])[0]

    def document(self) -> dict[str, Json]:
        """Returns the comparison for a vote: money in minor units as decimal strings."""
        changes = self.changes()
        rows: list[Json] = [
            {"member": member, "before": str(before), "after": str(after), "change": str(after - before)}
            for member, before, after in zip(self.members, self.before.bills, self.after.bills, strict=True)
        ]
        return {
            "data": self.digest,
            "members": rows,
            "winners": sum(change < 0 for change in changes),
            "losers": sum(change > 0 for change in changes),
            "worst_off": self.worst(),
            "charters": [_side(self.names[0], self.before), _side(self.names[1], self.after)],
        }


def compare(before: Terms, after: Terms, data: Intervals) -> Comparison:
    """Returns what two charters make of the same intervals."""
    return Comparison((before.name, after.name), data.members, data.digest(), settle(before, data), settle(after, data))


def _side(name: str, found: Outcome) -> dict[str, Json]:
    benefit = [alone - bill for alone, bill in zip(found.alone, found.bills, strict=True)]
    return {
        "charter": name,
        "bills": str(sum(found.bills)),
        "outside": str(found.outside),
        "treasury": str(found.treasury),
        "rounding": str(found.rounding),
        "dividends": str(found.dividends),
        "funds": {name: str(amount) for name, amount in found.funds.items()},
        "balanced": found.balanced,
        "balanced_within": str(found.tolerance),
        "shared_uwh": str(found.shared),
        "residue_uwh": str(found.residue),
        "gini_of_benefit": gini(benefit),
        "worse_than_alone": sum(value < 0 for value in benefit),
    }
