"""Intervals for the policy lab: the recorded days of a ledger, or a CSV of mean powers."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from controller.settlement.arrays import Whole
from controller.settlement.charter import Member
from controller.settlement.intervals import BRACKET_MS, Kept, PointDay, point_day
from controller.settlement.lab import Intervals, LabBroken
from controller.settlement.published import CHARTER, CHARTER_TABLE, Published
from controller.settlement.runs import RUN_DAY
from controller.settlement.tariff import LocalDay
from controller.shell.settlement_runs import delivered
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
    houses = tuple(name.startswith("home-") for name in net)
    households = houses if any(houses) else None
    return Intervals(tuple(net), starts[0], np.maximum(whole, 0), np.maximum(-whole, 0), households=households)


def read_ledger(path: Path) -> tuple[Intervals, tuple[str, ...]]:
    """Returns the settled days of a ledger, and what is held back in them (day and usage point).

    With them come water, deliveries, the grid meter and who is a household.

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
        rules = published.rules[charter]
        members = rules.members
        since, held = file.first_starts(), list[str]()
        taken, given, water, came = list[Whole](), list[Whole](), list[list[int]](), list[list[int]]()
        grid = list[Whole]()
        at = first = Instant(min(settled))
        while at <= max(settled):
            if at not in settled:
                raise LabBroken(f"{path}: a day is not settled, between others that are")
            day = published.calendars[charter].day_of(at)
            points = _Points(file, day, since, held)
            imports, exports = points.energy(members)
            taken.append(imports)
            given.append(exports)
            water.append([sum(points.imports(member.water_points)) for member in members])
            counts = delivered(file, day)
            came.append([counts.get(member.id, {}).get("delivery", 0) for member in members])
            grid.append(points.grid(rules.grid_point, imports, exports))
            at = day.end
    finally:
        file.close()
    names, passed = tuple(member.id for member in members), np.concatenate(grid)
    data = Intervals(
        names, first, np.concatenate(taken), np.concatenate(given), np.array(water, np.int64), np.array(came, np.int64),
        (passed[:, 0], passed[:, 1]), tuple(member.role == "household" for member in members),
    )  # fmt: skip
    return data, tuple(held)


class _Points:
    """The validated usage points of one day; what is held back counts for nothing and is noted."""

    def __init__(self, file: LedgerFile, day: LocalDay, since: Mapping[str, Instant], held: list[str]) -> None:
        self._file, self._day, self._since, self._held = file, day, since, held
        self._kept: dict[str, list[Kept]] = {}
        for item in file.records(day.start, day.end):
            self._kept.setdefault(item.record.usage_point, []).append(item)

    def energy(self, members: Sequence[Member]) -> tuple[Whole, Whole]:
        """Returns what each member took and gave in the day's slots."""
        shape = self._day.slots, len(members)
        taken, given = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for index, member in enumerate(members):
            for name in member.usage_points:
                point = self._point(name)
                taken[:, index] += np.array(point.imports, np.int64)
                given[:, index] += np.array(point.exports, np.int64)
        return taken, given

    def imports(self, names: Sequence[str]) -> list[int]:
        """Returns what usage points counted in all on this day."""
        return [sum(self._point(name).imports) for name in names]

    def grid(self, name: str, taken: Whole, given: Whole) -> Whole:
        """Returns import and export of the grid meter [slots, 2]; by the members' totals where it has none."""
        point = self._point(name) if name else None
        if point is None or point.quarantine is not None:
            net = taken.sum(axis=1) - given.sum(axis=1)
            return np.stack((np.maximum(net, 0), np.maximum(-net, 0)), axis=1)
        return np.array((point.imports, point.exports), np.int64).T

    def _point(self, name: str) -> PointDay:
        day, kept = self._day, self._kept.get(name, [])
        before = self._file.nearest(name, day.start, BRACKET_MS, later=False)
        after = self._file.nearest(name, day.end, BRACKET_MS, later=True)
        point = point_day(name, day, kept, before, after, since=self._since.get(name))
        if point.quarantine is not None:
            self._held.append(f"{day.name} {name} ({point.quarantine})")
        return point
