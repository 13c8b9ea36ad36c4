"""The community's rules about money, as published in the log: when a bill is due, what follows, who approves what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.ledger.canonical import Json
from controller.ledger.orders import CLOSE, NAMED, OFFICERS
from controller.ledger.quorum import Approver, Quorum

MONEY_RULES = OFFICERS
STEPS = ("reminder", "talk", "plan", "limit")
"""What may follow an unpaid bill. The last rung limits what is beyond the lifeline; there is no rung below it."""


class MoneyRulesBroken(ValueError):
    """A published document that does not hold the rules about money."""


@dataclass(frozen=True, slots=True)
class ArrearsStep:
    """One rung of the ladder: from `after_days` beyond the due date on."""

    after_days: int
    step: str
    keep_percent: int = 100  # of the supply beyond the lifeline; below 100 only where step is `limit`


@dataclass(frozen=True, slots=True)
class Officer:
    """Somebody who approves spending and closes periods; `key` is a did:key, '' for somebody believed by name."""

    name: str
    role: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class MoneyRules:
    """What the charter says about paying and spending."""

    due_days: int = 14
    steps: tuple[ArrearsStep, ...] = (ArrearsStep(0, "reminder"),)
    officers: tuple[Officer, ...] = ()
    approvals: int = 2
    roles: tuple[tuple[str, int], ...] = ()  # (role, how many approvals must come from it)
    proposal_days: int = 14

    def quorum(self) -> Quorum:
        """Returns who must agree to spending."""
        return Quorum(
            self.approvals, dict(self.roles), {one.name: Approver(one.role, one.key) for one in self.officers}
        )

    def officer(self, name: str) -> Officer | None:
        """Returns an officer by name."""
        return next((one for one in self.officers if one.name == name), None)


def rules_document(rules: MoneyRules) -> dict[str, Json]:
    """Returns the rules as they are published in the log."""
    return {
        "due_days": rules.due_days,
        "steps": [[one.after_days, one.step, one.keep_percent] for one in rules.steps],
        "officers": [[one.name, one.role, one.key] for one in rules.officers],
        "approvals": rules.approvals,
        "roles": [[role, count] for role, count in rules.roles],
        "proposal_days": rules.proposal_days,
        CLOSE: NAMED,
    }


def parse_rules(body: Mapping[str, Json]) -> MoneyRules:
    """Returns the rules in a published document.

    Raises:
        MoneyRulesBroken: they are not there.
    """
    match body:
        case {
            "due_days": int() as due, "steps": [*steps], "officers": [*officers], "approvals": int() as approvals,
            "roles": [*roles], "proposal_days": int() as days,
        }:  # fmt: skip
            return MoneyRules(
                due,
                tuple(_step(row) for row in steps),
                tuple(_officer(row) for row in officers),
                approvals,
                tuple(_role(row) for row in roles),
                days,
            )
        case _:
            raise MoneyRulesBroken(f"{body!r} are no rules about money")


def _step(row: Json) -> ArrearsStep:
    match row:
        case [int() as after, str() as step, int() as keep] if step in STEPS and 0 <= keep <= 100:
            return ArrearsStep(after, step, keep)
        case _:
            raise MoneyRulesBroken(f"step {row!r} is not [days, step, percent]; steps: {', '.join(STEPS)}")


def _officer(row: Json) -> Officer:
    match row:
        case [str() as name, str() as role, str() as key]:
            return Officer(name, role, key)
        case _:
            raise MoneyRulesBroken(f"officer {row!r} is not [name, role, key]")


def _role(row: Json) -> tuple[str, int]:
    match row:
        case [str() as role, int() as count]:
            return role, count
        case _:
            raise MoneyRulesBroken(f"role {row!r} is not [role, count]")
