"""Intervals for the policy lab: the recorded days of a ledger, or a CSV of mean powers."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from controller.settlement.arrays import Whole
from controller.settlement.charter import Member
from controller.settlement.intervals import BRACKET_MS, Kept, point_day
from controller.settlement.lab import Intervals, LabBroken
from controller.settlement.published import CHARTER, CHARTER_TABLE, Published
from controller.settlement.runs import RUN_DAY
from controller.settlement.tariff import LocalDay
from controller.store.ledger_file import LedgerFile
from devices.clock import SLOT_MS, Instant, parse_iso


def read_csv(path: Path) -> Intervals:
    """Returns the intervals of a CSV: `utc`, then one column of mean power [W] per member.

    A column `pv-NN` is the production of member `home-NN` and is netted with its use; any other column may be
    negative where its member gives. Water columns are left out. Energy is W / 4 rounded to whole Wh.

    Raises:
        LabBroken: no such file of numbers, a hole, or a column per kW, which only a site file could scale.
    """
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines))
        head, *body = rows
        starts = [parse_iso(row[0]) for row in body]
        values = np.array([row[1:] for row in body], np.float64)
    except (OSError, ValueError, IndexError) as error:
        raise LabBroken(f"{path}: {error}") from error
    if head[0] != "utc" or not body or any(b - a != SLOT_MS for a, b in pairwise(starts)):
        raise LabBroken(f"{path}: the first column is utc, each 15 minutes after the one before, without holes")
    if values.shape[1] != len(head) - 1 or not np.isfinite(values).all():
        raise LabBroken(f"{path}: every row has one finite number per column of the header")
    if scaled := [name for name in head if name.endswith(".per_kw")]:
        raise LabBroken(f"{path}: {scaled[0]} is per kW; give its power in W")
    net: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
    for index, column in enumerate(head[1:]):
        if not column.endswith(".water"):
            home, power = "home-" + column[3:], values[:, index]
            owner = home if column.startswith("pv-") and home in head else column
            net[owner] = net.get(owner, np.zeros(len(body))) + (-power if column.startswith("pv-") else power)
    if not net:
        raise LabBroken(f"{path}: no column of energy")
    whole = np.rint(np.stack(list(net.values()), axis=1) / 4).astype(np.int64)
    return Intervals(tuple(net), starts[0], np.maximum(whole, 0), np.maximum(-whole, 0))


def read_ledger(path: Path) -> tuple[Intervals, tuple[str, ...]]:
    """Returns the settled days of a ledger, and what is held back in them (day and usage point).

    Days are validated as the settlement does; a point that is held back shares nothing that day.

    Raises:
        LabBroken: no settled day, or a day missing between two.
        NotALedger: no ledger.
    """
    file = LedgerFile.read(path)
    try:
        published = Published()
        for kind in (CHARTER, CHARTER_TABLE):
            for row in file.of_kind(kind):
                published.absorb(row.sealed().entry)
        settled = {int(str(row.sealed().entry.body["start"])) for row in file.of_kind(RUN_DAY)}
        if not settled or not published.rules:
            raise LabBroken(f"{path}: no day has been settled yet")
        charter = next(reversed(published.rules))
        members = published.rules[charter].members
        since, held = file.first_starts(), list[str]()
        taken, given = list[Whole](), list[Whole]()
        at = first = Instant(min(settled))
        while at <= max(settled):
            if at not in settled:
                raise LabBroken(f"{path}: a day is not settled, between others that are")
            day = published.calendars[charter].day_of(at)
            imports, exports = _day(file, day, members, since, held)
            taken.append(imports)
            given.append(exports)
            at = day.end
    finally:
        file.close()
    names = tuple(member.id for member in members)
    return Intervals(names, first, np.concatenate(taken), np.concatenate(given)), tuple(held)


def _day(
    file: LedgerFile, day: LocalDay, members: Sequence[Member], since: Mapping[str, Instant], held: list[str]
) -> tuple[Whole, Whole]:
    """Returns what each member took and gave in a day's slots; adds to `held` what is held back."""
    kept: dict[str, list[Kept]] = {}
    for item in file.records(day.start, day.end):
        kept.setdefault(item.record.usage_point, []).append(item)
    taken, given = np.zeros((day.slots, len(members)), np.int64), np.zeros((day.slots, len(members)), np.int64)
    for index, member in enumerate(members):
        for name in member.usage_points:
            before = file.nearest(name, day.start, BRACKET_MS, later=False)
            after = file.nearest(name, day.end, BRACKET_MS, later=True)
            point = point_day(name, day, kept.get(name, []), before, after, since=since.get(name))
            taken[:, index] += np.array(point.imports, np.int64)
            given[:, index] += np.array(point.exports, np.int64)
            if point.quarantine is not None:
                held.append(f"{day.name} {name} ({point.quarantine})")
    return taken, given
