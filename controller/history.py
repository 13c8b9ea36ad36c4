"""What the community used and made per 15-min slot, from accepted interval records: the forecasts' input."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from math import isnan, nan

import numpy as np

from controller.civil import local_instant, local_time
from controller.site import Site
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant, floor_to
from devices.model import Commodity, DeviceKind, IntervalRecord, RecordQuality
from optimizer.arrays import BoolArray, FloatArray

KEEP_DAYS = 43
"""Six weeks that forecasts are learnt from, and the day that is not closed yet."""

DAY_SLOTS = DAY_MS // SLOT_MS
SLOTS_MAX = (KEEP_DAYS + 1) * DAY_SLOTS
PLANT_STEP_MS = 3 * HOUR_MS
TOLD = 0.9
"""Of a day's slots a plant must have told this share before the day's sum is compared with others'."""

DELTA_MAX = 1 << 40
"""More Wh or mL than this in a slot no meter has told: a register gone mad must not drown the others."""

COUNTED_BY = {
    "load_wh": ("meters", "plants"),  # what homes used behind their meters, PV added back
    "critical_wh": ("meters", "plants"),
    "pv_wh": ("plants",),
    "water_ml": ("water_meters",),
    "grid_in_wh": ("grids",),
    "grid_out_wh": ("grids",),
}
"""Per field what has to have reported before its sum is believed; groups are like load."""


class History:
    """The last weeks of slots, as a ring of columns: a slot that comes takes the place of one six weeks older."""

    def __init__(self, site: Site) -> None:
        meters = [device.id for device in site.of_kind(DeviceKind.METER)]
        plants = site.of_kind(DeviceKind.PV)
        water = [channel for device in site.of_kind(DeviceKind.WATER_METERS) for channel in device.channels]
        grids = [device.id for device in site.of_kind(DeviceKind.GRID)]
        gensets = [device.id for device in site.of_kind(DeviceKind.GENSET)]
        self._critical = {str(device) for device in site.critical}
        self._behind = {str(device.id) for device in plants if device.behind is not None}
        self._kind: dict[str, str] = {
            **dict.fromkeys(map(str, meters), "meters"),
            **{str(plant.id): "plants" for plant in plants},
            **dict.fromkeys(map(str, water), "water_meters"),
            **dict.fromkeys(map(str, grids), "grids"),
            **dict.fromkeys(map(str, gensets), "gensets"),
        }
        self._groups = _groups(site)
        self._counted_by: dict[str, tuple[str, ...]] = {
            **COUNTED_BY,
            **dict.fromkeys(groups(site), COUNTED_BY["load_wh"]),
            **dict.fromkeys(map(genset_key, gensets), ()),
        }
        self._zone = site.timezone
        kinds = list(self._kind.values())
        self._wanted = {kind: kinds.count(kind) for kind in ("meters", "plants", "water_meters", "grids", "gensets")}
        self._bit = {point: 1 << number for number, point in enumerate(self._kind)}
        self._start = array("q", [-1]) * SLOTS_MAX
        self._seen = [0] * SLOTS_MAX  # a bit for each meter that has told of the slot
        self._columns = {name: array("q", [0]) * SLOTS_MAX for name in (*self._counted_by, *self._wanted)}
        self.plants = PlantDays(str(plant.id) for plant in plants)

    def add(self, records: Iterable[IntervalRecord], now: Instant) -> None:
        """Takes records of the window's past slots, each once; suspect ones and unknown meters are left out.

        Whatever comes in, no more is kept than the slots of the window.
        """
        oldest = now - KEEP_DAYS * DAY_MS
        for record in records:
            kind = self._kind.get(record.usage_point)
            if kind is None or not oldest <= record.start <= now or record.start % SLOT_MS:
                continue
            if _credible(record, kind) and self._first_time(record):
                self._add(record, kind)

    def _first_time(self, record: IntervalRecord) -> bool:
        at, bit = self._place(record.start), self._bit[record.usage_point]
        if self._start[at] != record.start:
            self._start[at], self._seen[at] = record.start, 0
            for column in self._columns.values():
                column[at] = 0
        known = self._seen[at] & bit
        self._seen[at] |= bit
        return not known

    @staticmethod
    def _place(start: int) -> int:
        return start // SLOT_MS % SLOTS_MAX

    def _add(self, record: IntervalRecord, kind: str) -> None:
        at, columns, point = self._place(record.start), self._columns, record.usage_point
        came, went = record.import_delta, record.export_delta
        columns[kind][at] += 1
        match kind:
            case "water_meters":
                columns["water_ml"][at] += came
            case "meters":
                columns["load_wh"][at] += came - went
                columns["critical_wh"][at] += max(0, came - went) * (point in self._critical)
                for group in self._groups.get(point, ()):
                    columns[group][at] += came - went
            case "plants":
                self.plants.add(point, record.start, went)
                columns["pv_wh"][at] += went
                columns["load_wh"][at] += went * (point in self._behind)
                for group in self._groups.get(point, ()):
                    columns[group][at] += went
            case "grids":
                columns["grid_in_wh"][at] += came
                columns["grid_out_wh"][at] += went
            case _:
                columns[genset_key(point)][at] += went

    def column(self, field: str, until: Instant, days: int) -> FloatArray:
        """Returns `days` x 96 slot values ending at `until` (exclusive), NaN where meters were missing.

        `field` is one of `COUNTED_BY`, a group's key, or a genset's.
        """
        number = until // SLOT_MS + np.arange(-days * DAY_SLOTS, 0)
        at = number % SLOTS_MAX
        known: BoolArray = self._view(self._start)[at] == number * SLOT_MS
        for kind in self._counted_by[field]:
            known &= self._view(self._columns[kind])[at] >= self._wanted[kind]
        return np.where(known, self._view(self._columns[field])[at], np.nan)

    @staticmethod
    def _view(column: array[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.frombuffer(column, dtype=np.int64)

    def series(self, field: str, until: Instant, days: int) -> list[float | None]:
        """Returns the same as a list, None where meters were missing."""
        return [None if isnan(value) else value for value in self.column(field, until, days).tolist()]

    def value(self, field: str, start: Instant) -> float | None:
        """Returns one slot's value, or None when not every meter that counts has reported."""
        at = self._place(start)
        if self._start[at] != start:
            return None
        if any(self._columns[kind][at] < self._wanted[kind] for kind in self._counted_by[field]):
            return None
        return float(self._columns[field][at])

    def peak_w(self, now: Instant) -> float:
        """Returns the highest mean import of a slot since the civil month of `now` began [W]; 0 where none is known."""
        until = floor_to(now, SLOT_MS)
        begun = local_instant(self._zone, local_time(self._zone, now).date().replace(day=1), 0)
        slots = min((until - begun) // SLOT_MS, KEEP_DAYS * DAY_SLOTS)
        imported = self.column("grid_in_wh", until, KEEP_DAYS)[KEEP_DAYS * DAY_SLOTS - slots :]
        return float(np.nanmax(imported, initial=0.0)) * HOUR_MS / SLOT_MS


class PlantDays:
    """What each plant made, in steps of three hours: enough to compare plants under one sky, day by day."""

    def __init__(self, plants: Iterable[str]) -> None:
        self._made: dict[str, dict[int, tuple[int, int]]] = {plant: {} for plant in plants}

    def add(self, plant: str, start: Instant, made_wh: int) -> None:
        """Takes one slot of a plant; steps older than the window of `History` go."""
        steps, step = self._made[plant], start // PLANT_STEP_MS
        slots, total = steps.get(step, (0, 0))
        steps[step] = slots + 1, total + made_wh
        if len(steps) > KEEP_DAYS * DAY_MS // PLANT_STEP_MS:
            del steps[min(steps)]

    def day(self, until: Instant) -> list[float]:
        """Returns what each plant made in the 24 h before (Wh; nan where it told of less than `TOLD` of them)."""
        last = until // PLANT_STEP_MS
        return [self._sum(steps, range(last - DAY_MS // PLANT_STEP_MS, last)) for steps in self._made.values()]

    @staticmethod
    def _sum(steps: Mapping[int, tuple[int, int]], wanted: range) -> float:
        known = [steps[step] for step in wanted if step in steps]
        return float(sum(wh for _, wh in known)) if sum(slots for slots, _ in known) >= TOLD * DAY_SLOTS else nan


def feeder_key(feeder: str) -> str:
    """Returns the field that holds the load on a feeder [Wh]."""
    return f"feeder:{feeder}"


def tier_key(tier: str) -> str:
    """Returns the field that holds the load of a shed tier [Wh]."""
    return f"tier:{tier}"


def node_key(node: str) -> str:
    """Returns the field that holds the load on a node of the network [Wh]."""
    return f"node:{node}"


def genset_key(genset: str) -> str:
    """Returns the field that holds what a genset, diesel or gas, has made [Wh]."""
    return f"genset:{genset}"


def groups(site: Site) -> Mapping[str, frozenset[str]]:
    """Returns the devices whose load counts together, by field: of each feeder, shed tier and node of the network."""
    network = site.energy.network
    return {
        **{feeder_key(feeder.id): frozenset(feeder.devices) for feeder in site.energy.feeders},
        **{tier_key(tier.id): frozenset(tier.meters) for tier in site.energy.tiers},
        **{node_key(node.id): frozenset(node.devices) for node in (() if network is None else network.nodes)},
    }


def _groups(site: Site) -> dict[str, tuple[str, ...]]:
    """Returns for each meter, and for solar behind it, the groups in which its load counts."""
    meter_of = {str(device.id): str(device.id) for device in site.of_kind(DeviceKind.METER)}
    meter_of |= {str(plant.id): str(plant.behind) for plant in site.of_kind(DeviceKind.PV) if plant.behind is not None}
    keys = groups(site)
    return {point: tuple(key for key, members in keys.items() if meter in members) for point, meter in meter_of.items()}


def _credible(record: IntervalRecord, kind: str) -> bool:
    right = (record.commodity is Commodity.WATER) == (kind == "water_meters")
    most = max(abs(record.import_delta), abs(record.export_delta))
    return right and record.quality is not RecordQuality.SUSPECT and most < DELTA_MAX
