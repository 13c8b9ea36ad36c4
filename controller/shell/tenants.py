"""Whose usage points are whose, as one ledger file has it, and in whose name things are sealed."""

from __future__ import annotations

from collections.abc import Iterable

from controller.settlement.charter import Member
from controller.settlement.published import CHARTER, Published
from controller.settlement.tenancy import Tenancies
from controller.shell.settlement_runs import settled_runs
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_rows import member_owner, point_owner


def read_tenancies(file: LedgerFile, published: Published | None = None) -> Tenancies:
    """Returns the tenancies by the charters in a ledger and the days that they have settled."""
    return Tenancies(published or read_charters(file), settled_runs(file))


def read_charters(file: LedgerFile) -> Published:
    """Returns every charter in a ledger, without their tariff tables."""
    published = Published()
    for row in file.of_kind(CHARTER):
        published.absorb(row.sealed().entry)
    return published


def key_owners(published: Published, more: Iterable[Member] = ()) -> dict[str, str]:
    """Returns whose data are a person's own: owner -> member; the community's own meters are everybody's.

    Those who have left are among them: what is still written about them is sealed too.
    """
    owners: dict[str, str] = {}
    for member in [*(one for rules in published.rules.values() for one in rules.members), *more]:
        if member.role != "community":
            owners[member_owner(member.id)] = member.id
            points = (*member.usage_points, *member.water_points)
            owners |= {point_owner(point, member.id): member.id for point in points}
    return owners
