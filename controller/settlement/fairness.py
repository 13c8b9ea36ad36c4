"""Who got what in a quarter, by tier and tariff group: what may be published of everybody without naming anybody.

Tiers: lifeline, from the community, from outside (per tariff band), sold to the community, sold to the outside. A
tariff group is a role with or without a lifeline block. A group of fewer than three households shows no amounts, for
two neighbours could subtract themselves; bodies of the community (clinic, community) are always shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controller.ledger.canonical import Json
from controller.settlement.bills import AMOUNT, Line
from controller.settlement.charter import Member
from controller.settlement.lab import gini
from controller.settlement.sharing import MemberDay

SMALLEST = 3
HOUSEHOLD = "household"


@dataclass(slots=True)
class Sums:
    """One member's quarter [uWh, mL] and its bills [numerators over 10^15 and minor units]."""

    used: int = 0
    lifeline: int = 0
    near: int = 0
    given: int = 0
    sold: int = 0
    water: int = 0
    water_lifeline: int = 0
    billed: int = 0
    days: int = 0
    tiers: dict[tuple[str, str, int], int] = field(default_factory=dict[tuple[str, str, int], int])

    def add(self, day: MemberDay, lines: Iterable[Line]) -> None:
        """Adds one settled day."""
        self.used += day.used
        self.lifeline += day.lifeline
        self.near += day.from_local
        self.given += day.given
        self.sold += day.sold
        self.water += day.water_used
        self.water_lifeline += day.water_lifeline
        self.days += 1
        for line in lines:
            key = line.text, line.unit, line.price
            self.tiers[key] = self.tiers.get(key, 0) + line.quantity


def quarter_of(day: str) -> str:
    """Returns `2026-Q2` for `2026-06-03`."""
    return f"{day[:4]}-Q{(int(day[5:7]) + 2) // 3}"


def group_of(member: Member) -> str:
    """Returns a member's tariff group."""
    return f"{member.role}, {'with' if member.lifeline else 'without'} lifeline"


def report(quarter: str, members: Mapping[str, Member], sums: Mapping[str, Sums]) -> dict[str, Json]:
    """Returns the document of one quarter; amounts are decimal strings, shares permille."""
    groups: dict[str, list[str]] = {}
    for name in sums:
        groups.setdefault(group_of(members[name]), []).append(name)
    rows: list[Json] = [_group(group, [sums[name] for name in names]) for group, names in sorted(groups.items())]
    near = [sums[name].near * 1000 // sums[name].used for name in sums if sums[name].used]
    days = max((one.days for one in sums.values()), default=0)
    return {"quarter": quarter, "days": days, "groups": rows, "gini_of_community_share": gini(near)}


def _group(group: str, members: list[Sums]) -> dict[str, Json]:
    row: dict[str, Json] = {"group": group, "members": len(members)}
    if group.startswith(HOUSEHOLD) and len(members) < SMALLEST:
        return {**row, "withheld": f"fewer than {SMALLEST} households"}
    used, near = sum(one.used for one in members), sum(one.near for one in members)
    shares = sorted(one.near * 1000 // one.used for one in members if one.used)
    tiers: dict[tuple[str, str, int], int] = {}
    for one in members:
        for key, quantity in one.tiers.items():
            tiers[key] = tiers.get(key, 0) + quantity
    energy = sum(
        Line(text, quantity, unit, price).numerator
        for (text, unit, price), quantity in tiers.items()
        if unit in ("uWh", AMOUNT) and not text.startswith("energy sold")
    )
    return {
        **row,
        "used_uwh": str(used),
        "lifeline_uwh": str(sum(one.lifeline for one in members)),
        "community_uwh": str(near),
        "given_uwh": str(sum(one.given for one in members)),
        "sold_to_community_uwh": str(sum(one.sold for one in members)),
        "water_ml": str(sum(one.water for one in members)),
        "water_lifeline_ml": str(sum(one.water_lifeline for one in members)),
        "community_permille": near * 1000 // used if used else 0,
        "community_permille_lowest": shares[0] if shares else 0,
        "community_permille_median": shares[len(shares) // 2] if shares else 0,
        "community_permille_highest": shares[-1] if shares else 0,
        "price_per_kwh_micro": energy // used if used else 0,
        "billed_minor": str(sum(one.billed for one in members)),
        "tiers": [
            {"tier": text, "quantity": str(quantity), "unit": unit, "price": str(price)}
            for (text, unit, price), quantity in sorted(tiers.items())
        ],
    }
