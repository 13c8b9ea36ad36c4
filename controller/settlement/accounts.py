"""Names of accounts and who is debited and credited: docs/decisions/0003-accounts.md in code."""

from __future__ import annotations

from collections.abc import Iterable

from controller.ledger.entries import Posting
from controller.settlement.charter import Charter, Member
from controller.settlement.sharing import GridDay, MemberDay
from devices.units import UWH_PER_WH

ENERGY = "energy"  # uWh
WATER = "water"  # mL

POOL_LOCAL = "pool:local"
POOL_OUTSIDE = "pool:outside"
GRID_IMPORT = "grid:import"
GRID_EXPORT = "grid:export"
LOSSES = "losses"
WATER_SUPPLY = "water:supply"
BILLED = "community:billed"
TREASURY = "community:treasury"
ROUNDING = "community:rounding"
OUTSIDE = "outside:payable"

COMMUNITY_ACCOUNTS = (
    POOL_LOCAL, POOL_OUTSIDE, GRID_IMPORT, GRID_EXPORT, LOSSES, WATER_SUPPLY, BILLED, TREASURY, ROUNDING, OUTSIDE,
)  # fmt: skip


def money(charter: Charter) -> str:
    """Returns the money asset, in minor units."""
    return f"money:{charter.currency}"


def used_account(member: str) -> str:
    """Returns the account of what a member took: energy and water."""
    return f"member:{member}:used"


def given_account(member: str) -> str:
    """Returns the account of what a member gave: energy, negative."""
    return f"member:{member}:given"


def owes_account(member: str) -> str:
    """Returns the money account of a member: positive = it owes the community, negative is prepaid credit."""
    return f"member:{member}:owes"


def member_accounts(members: Iterable[Member]) -> tuple[str, ...]:
    """Returns the names of all members' accounts, in order."""
    return tuple(
        name
        for member in members
        for name in (used_account(member.id), given_account(member.id), owes_account(member.id))
    )


def day_postings(member: str, day: MemberDay) -> tuple[Posting, ...]:
    """Returns a member's day: energy against the two pools, water against the supply."""
    return _nonzero(
        Posting(used_account(member), ENERGY, day.used),
        Posting(given_account(member), ENERGY, -day.given),
        Posting(POOL_LOCAL, ENERGY, day.sold - day.from_local),
        Posting(POOL_OUTSIDE, ENERGY, day.exported - day.from_outside),
        Posting(used_account(member), WATER, day.water_used),
        Posting(WATER_SUPPLY, WATER, -day.water_used),
    )


def grid_postings(grid: GridDay, days: Iterable[MemberDay]) -> tuple[Posting, ...]:
    """Returns the entry that closes the day's pools against the grid meter; what is left over are the losses."""
    local = outside = 0
    for day in days:
        local += day.sold - day.from_local
        outside += day.exported - day.from_outside
    imported, exported = grid.import_wh * UWH_PER_WH, grid.export_wh * UWH_PER_WH
    return _nonzero(
        Posting(POOL_LOCAL, ENERGY, -local),
        Posting(POOL_OUTSIDE, ENERGY, -outside),
        Posting(GRID_IMPORT, ENERGY, -imported),
        Posting(GRID_EXPORT, ENERGY, exported),
        Posting(LOSSES, ENERGY, local + outside + imported - exported),
    )


def bill_postings(charter: Charter, member: str, amount: int) -> tuple[Posting, ...]:
    """Returns a member's bill: the member owes, the community has billed [minor units]."""
    asset = money(charter)
    return _nonzero(Posting(owes_account(member), asset, amount), Posting(BILLED, asset, -amount))


def dividend_postings(charter: Charter, member: str, amount: int) -> tuple[Posting, ...]:
    """Returns a part of the community's gain given to a member, who owes so much less [minor units]."""
    asset = money(charter)
    return _nonzero(Posting(owes_account(member), asset, -amount), Posting(TREASURY, asset, amount))


def closing_postings(charter: Charter, billed: int, exact: int, outside: int) -> tuple[Posting, ...]:
    """Returns the close of a bill period [minor units].

    `billed` is the sum of the bills, `exact` the sum of their exact amounts rounded once, `outside` what the
    community owes the outside. The difference of the first two is the visible rounding residue.
    """
    asset = money(charter)
    return _nonzero(
        Posting(BILLED, asset, billed),
        Posting(ROUNDING, asset, exact - billed),
        Posting(TREASURY, asset, outside - exact),
        Posting(OUTSIDE, asset, -outside),
    )


def _nonzero(*postings: Posting) -> tuple[Posting, ...]:
    return tuple(posting for posting in postings if posting.amount)
