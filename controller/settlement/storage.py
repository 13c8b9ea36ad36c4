"""Who owns what a storage keeps, and who bears its losses: a charter's `[storage]`, settled once per bill period.

A storage's meter counts what goes in and what comes out, and the member that keeps it is billed for both like anybody.
How much is in it nobody meters. So the clause divides the *result* of a bill period by what is metered: energy that is
still inside counts as lost, and as given back when it comes out in a later period; over the years that adds up.

    paid, fetched    what the charge cost and the release brought, at each slot's prices of shared and outside energy
    lost             paid x (charged - released) / charged: the part of the charge that did not come out
    margin           fetched - paid + lost

`owner` gets the margin, `losses` names who bears what is lost. A depositor's part is by what it gave into the storage:
in each slot its part of what everybody else gave, of the charge that the community's own energy covered. By use is by
all energy taken, the storage's charge left out. Whole numbers: energy in uWh, money in 1e-15 of the major unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

from controller.charter_schema import StorageTable
from controller.ledger.canonical import Json
from controller.settlement.bills import AMOUNT, Line
from devices.units import UWH_PER_WH

PASSED_ON = "storage, passed on"
BY_DEPOSIT = "storage, by energy stored"
BY_USE = "storage losses, by use"


@dataclass(frozen=True, slots=True)
class StorageTotals:
    """Public figures of a day or of several."""

    paid: int = 0
    fetched: int = 0
    charged: int = 0
    released: int = 0
    deposited: int = 0  # of the charge, what others than the storage gave
    used: int = 0  # by everybody, without the charge


NOTHING_STORED = StorageTotals()


@dataclass(frozen=True, slots=True)
class StorageDay:
    """One day of the storages that a charter names."""

    keeper: str  # whose meters they are
    stored: tuple[int, ...]  # Wh per slot
    released: tuple[int, ...]
    totals: StorageTotals
    parts: Mapping[str, tuple[int, int]]  # member -> (deposited, used)


@dataclass(frozen=True, slots=True)
class SlotRows:
    """Public figures of a day's slots: energy of all [Wh], prices [micro-units per kWh]."""

    taken: Sequence[int]
    given: Sequence[int]
    shared_price: Sequence[int]
    outside_price: Sequence[int]
    feed_in: int


def is_divided(clause: StorageTable | None) -> bool:
    """Returns whether somebody else than the keeper has a part in the result."""
    return clause is not None and (clause.owner, clause.losses) != ("community", "community")


def storage_day(
    keeper: str,
    rows: SlotRows,
    stored: Sequence[int],
    released: Sequence[int],
    own: Mapping[str, tuple[Sequence[int], Sequence[int]]],
) -> StorageDay:
    """Returns a day; `own` holds what each member took and gave in each slot [Wh], the keeper with its storages."""
    paid = fetched = 0
    covered: list[int] = []
    slots = zip(stored, released, rows.taken, rows.given, rows.shared_price, rows.outside_price, strict=True)
    for into, out, taken, given, price, outside in slots:
        matched = min(taken, given)
        near = into * UWH_PER_WH * matched // taken if taken else 0
        sold = out * UWH_PER_WH * matched // given if given else 0
        paid += near * price + (into * UWH_PER_WH - near) * outside
        fetched += sold * price + (out * UWH_PER_WH - sold) * rows.feed_in
        covered.append(near if given > out else 0)
    others = [given - out for given, out in zip(rows.given, released, strict=True)]
    parts: dict[str, tuple[int, int]] = {}
    for member, (tooks, gaves) in own.items():
        gave = [a - b for a, b in zip(gaves, released, strict=True)] if member == keeper else gaves
        deposited = sum(
            near * one // all_of_it for near, one, all_of_it in zip(covered, gave, others, strict=True) if near
        )
        used = sum(tooks) - (sum(stored) if member == keeper else 0)
        parts[member] = deposited, used * UWH_PER_WH
    totals = StorageTotals(
        paid, fetched, sum(stored) * UWH_PER_WH, sum(released) * UWH_PER_WH, sum(covered),
        (sum(rows.taken) - sum(stored)) * UWH_PER_WH,
    )  # fmt: skip
    return StorageDay(keeper, tuple(stored), tuple(released), totals, parts)


def summed(days: Iterable[StorageTotals]) -> StorageTotals:
    """Returns the totals of several days."""
    return StorageTotals(*(sum(column) for column in zip(astuple(NOTHING_STORED), *map(astuple, days), strict=True)))


def storage_lines(clause: StorageTable, totals: StorageTotals, own: tuple[int, int], *, keeper: bool) -> list[Line]:
    """Returns a member's lines of a bill period; the keeper's take back what the others' give, to the last floor."""
    lost = totals.paid * (totals.charged - totals.released) // totals.charged if totals.charged else 0
    margin = totals.fetched - totals.paid + lost
    by_deposit = (margin if clause.owner == "depositor" else 0) - (lost if clause.losses == "depositor" else 0)
    by_deposit = by_deposit if totals.deposited else 0
    by_use = lost if clause.losses == "use" and totals.used else 0
    deposited, used = own
    lines = [
        Line(PASSED_ON, by_deposit - by_use if keeper else 0, AMOUNT, 1),
        Line(BY_DEPOSIT, -(by_deposit * deposited // totals.deposited) if deposited else 0, AMOUNT, 1),
        Line(BY_USE, -(-by_use * used // totals.used) if used else 0, AMOUNT, 1),
    ]
    return [line for line in lines if line.quantity]


def grid_fields(day: StorageDay | None) -> dict[str, Json]:
    """Returns what a day's grid entry says of the storages."""
    if day is None:
        return {}
    return {"storage": {"keeper": day.keeper, "totals": [str(one) for one in astuple(day.totals)]}}


def parse_grid_fields(body: Mapping[str, Json]) -> tuple[str, StorageTotals]:
    """Returns (keeper, totals) in the body of a day's grid entry; ('', nothing) where it has none."""
    row = body.get("storage")
    totals = row.get("totals") if isinstance(row, Mapping) else None
    if not isinstance(row, Mapping) or not isinstance(totals, list):
        return "", NOTHING_STORED
    return str(row.get("keeper")), StorageTotals(*(int(str(one)) for one in totals))


def parse_part(body: Mapping[str, Json]) -> tuple[int, int]:
    """Returns (deposited, used) in the body of a member's day."""
    match body.get("storage"):
        case [deposited, used]:
            return int(str(deposited)), int(str(used))
        case _:
            return 0, 0
