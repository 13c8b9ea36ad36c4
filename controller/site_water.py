"""The site file's water: wells, pumps and plants, tanks, rationing; and what no single table can know of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from controller import site_schema as schema
from controller.site_problems import Finding, unknown_device
from controller.site_water_schema import SpeedTable


@dataclass(frozen=True, slots=True)
class Point:
    """What a pump gives and takes; `speed` is what its `on` is set to, 1 at full speed."""

    flow_lpm: float
    power_w: float
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class PumpSpec:
    """One pump or plant beside what its device says. `points` rise to full speed; `phases` are a batch's quarters."""

    tank: str
    source: str | None
    points: tuple[Point, ...]
    phases: tuple[Point, ...]
    recovery: float
    min_run_ms: int
    start_price: float
    flow_meter: str | None = None

    @property
    def plain(self) -> bool:
        """Returns whether it is an on/off pump without a least run or losses."""
        return len(self.points) == 1 and not self.phases and self.recovery == 1.0 and self.min_run_ms == 0

    def speed_at(self, power_w: float) -> float:
        """Returns what `on` is set to for a planned power: 1 for all but drives."""
        if len(self.points) == 1 or power_w >= self.points[-1].power_w:
            return 1.0
        if power_w <= self.points[0].power_w:
            return self.points[0].speed
        low, high = next((a, b) for a, b in pairwise(self.points) if power_w <= b.power_w)
        return low.speed + (power_w - low.power_w) / (high.power_w - low.power_w) * (high.speed - low.speed)


@dataclass(frozen=True, slots=True)
class TankSpec:
    """One tank: reserve and top as fractions, its share of the metered use, what a m3 left is worth (None: pumping)."""

    reserve: float
    high: float
    share: float
    level_value: float | None


@dataclass(frozen=True, slots=True)
class WellSpec:
    """One borehole."""

    id: str
    yield_lpm: float
    storage_l: float
    dry: float  # of the storage: there its pumps stop
    limit_l_per_day: float | None
    sensor: str | None


@dataclass(frozen=True, slots=True)
class ZoneSpec:
    """A pressure zone: its table as text, and the tanks (in the table's order) and pumps that it names."""

    id: str
    table: str
    tanks: tuple[str, ...]
    pumps: tuple[str, ...]
    start_price: float


@dataclass(frozen=True, slots=True)
class TierSpec:
    """A part of the use above the lifeline that may be rationed, at its price per m3."""

    name: str
    share: float
    price: float


@dataclass(frozen=True, slots=True)
class WaterSpec:
    """All of it, by device id where there is a device."""

    pumps: Mapping[str, PumpSpec] = field(default_factory=dict[str, PumpSpec])
    tanks: Mapping[str, TankSpec] = field(default_factory=dict[str, TankSpec])
    wells: tuple[WellSpec, ...] = ()
    tiers: tuple[TierSpec, ...] = ()
    zones: tuple[ZoneSpec, ...] = ()

    def well(self, source: str) -> WellSpec | None:
        """Returns the well that a pump names as its source; None where that is a tank."""
        return next((well for well in self.wells if well.id == source), None)

    def zoned(self, device: str) -> bool:
        """Returns whether a tank or pump is planned with a pressure zone."""
        return any(device in zone.tanks or device in zone.pumps for zone in self.zones)


def water_spec(file: schema.SiteFile, zones: tuple[ZoneSpec, ...] = ()) -> WaterSpec:
    """Returns what a checked file says of water; `zones` are those of `water_zones`."""
    tanks = [row for row in file.device if isinstance(row, schema.TankDevice)]
    taps = {row.id: 0 for row in tanks}
    for row in file.device:
        if isinstance(row, schema.WaterMetersDevice) and tanks:
            taps[row.tank or tanks[0].id] += len(row.channels)
    total = sum(taps.values())
    return WaterSpec(
        {row.id: _pump(row) for row in file.device if isinstance(row, schema.PumpDevice)},
        {
            row.id: TankSpec(
                _reserve(file, row),
                file.water.high_fraction,
                taps[row.id] / total if total else float(row is tanks[0]),
                row.level_value,
            )
            for row in tanks
        },
        tuple(WellSpec(w.id, w.yield_lpm, w.storage_l, w.dry_fraction, w.limit_l_per_day, w.sensor) for w in file.well),
        tuple(TierSpec(row.name, row.share, row.price) for row in file.water.tier),
        zones,
    )


def water_zones(file: schema.SiteFile, folder: Path) -> tuple[tuple[ZoneSpec, ...], list[Finding]]:
    """Returns the pressure zones whose tables stand in files of a folder, and what is wrong with the others."""
    if not file.water_zone:
        return (), []
    from optimizer.zone_file import BadZoneFile, from_text  # noqa: PLC0415 - only with numpy

    kinds = {row.id: row.kind for row in file.device}
    zones: list[ZoneSpec] = []
    found: list[Finding] = []
    for index, row in enumerate(file.water_zone):
        here = ("water_zone", index, "table")
        try:
            text = (folder / row.table).read_text(encoding="utf-8")
            table = from_text(text, row.table)
        except OSError as error:
            fix = f"make it with `atoll water table NETWORK.inp -o {row.table}` and carry it beside the site file"
            found.append(("206", here, row.table, error.strerror or str(error), fix))
            continue
        except BadZoneFile as bad:
            found.append(("206", here, row.table, str(bad), "make it anew: atoll water table"))
            continue
        tanks = tuple(str(tank.id) for tank in table.tanks)
        pumps = tuple(sorted({str(pump) for one in table.configurations for pump, _ in one.speeds}))
        for name, kind in (*((tank, "tank") for tank in tanks), *((pump, "pump") for pump in pumps)):
            if kinds.get(name) != kind:
                known = sorted(one for one, its in kinds.items() if its == kind)
                found.append(
                    ("207", here, name, f"no {kind} has this id", f"name it in the network as one of: {known}")
                )
        zones.append(ZoneSpec(row.id, text, tanks, pumps, row.start_price))
    return tuple(zones), found


def simulated_well(file: schema.SiteFile, sensor: str) -> dict[str, str | float]:
    """Returns what the simulator needs to play the well that a sensor hangs in; empty where it hangs in none."""
    row = next((row for row in file.well if row.sensor == sensor), None)
    return {} if row is None else {"well": row.id, "yield_lpm": row.yield_lpm, "storage_l": row.storage_l}


def _reserve(file: schema.SiteFile, row: schema.TankDevice) -> float:
    return file.water.reserve_fraction if row.reserve_fraction is None else row.reserve_fraction


def _pump(row: schema.PumpDevice) -> PumpSpec:
    full = Point(row.ratings.flow_lpm, row.ratings.power_w)
    slower = (Point(point.flow_lpm, point.power_w, point.speed) for point in row.speed)
    return PumpSpec(
        row.tank,
        row.source,
        (*slower, full),
        tuple(Point(phase.flow_lpm, phase.power_w) for phase in row.phase),
        row.recovery,
        row.min_run_ms,
        row.start_price,
        row.flow_meter,
    )


# ------------------------------------------------------------------------------------------------------ checks


def check_water(file: schema.SiteFile) -> Iterable[Finding]:
    """Yields wells and tanks that nobody knows, drives whose points do not rise, reserves and tiers that do not fit."""
    kinds = {row.id: row.kind for row in file.device}
    tanks = sorted(name for name, kind in kinds.items() if kind == "tank")
    wells = [row.id for row in file.well]
    for index, row in enumerate(file.device):
        here = ("device", index)
        if isinstance(row, schema.PumpDevice):
            yield from _check_pump(here, row, [*wells, *tanks])
            if row.flow_meter is not None:
                yield from unknown_device("201", (*here, "flow_meter"), row.flow_meter, "flow_meter", kinds)
        elif isinstance(row, schema.TankDevice) and _reserve(file, row) >= file.water.high_fraction:
            if row.reserve_fraction is not None:
                seen, fix = str(row.reserve_fraction), f"choose less than {file.water.high_fraction}"
                yield "202", (*here, "reserve_fraction"), seen, "the reserve is not below [water] high_fraction", fix
        elif isinstance(row, schema.WaterMetersDevice) and row.tank is not None:
            yield from unknown_device("201", (*here, "tank"), row.tank, "tank", kinds)
    for index, well in enumerate(file.well):
        if well.sensor is not None:
            yield from unknown_device("201", ("well", index, "sensor"), well.sensor, "sensor", kinds)
        if well.id in kinds:
            yield "201", ("well", index, "id"), well.id, "a device has this id already", "rename the well"
    total = sum(tier.share for tier in file.water.tier)
    if total > 1.0 + 1e-9:
        fix = "together they may be 1 at most"
        yield "203", ("water", "tier"), f"{total:g}", "the tiers ration more than all use above the lifeline", fix


def _check_pump(here: tuple[str | int, ...], row: schema.PumpDevice, sources: list[str]) -> Iterable[Finding]:
    if row.source is not None and row.source not in sources:
        yield "201", (*here, "source"), row.source, "no well or tank has this id", f"one of: {sources}"
    if row.source == row.tank:
        yield "204", (*here, "source"), row.tank, "it fills the tank that it takes from", "name a well or another tank"
    if row.speed and row.phase:
        yield "204", (*here, "phase"), f"{len(row.phase)} rows", "a plant has speeds or batches, not both", "drop one"
    full = SpeedTable.model_construct(speed=1.0, flow_lpm=row.ratings.flow_lpm, power_w=row.ratings.power_w)
    slope = 0.0
    for index, (a, b) in enumerate(pairwise([*row.speed, full])):
        rising = a.speed < b.speed and a.flow_lpm < b.flow_lpm and a.power_w < b.power_w
        steeper = (b.power_w - a.power_w) / (b.flow_lpm - a.flow_lpm) if rising else 0.0
        if not rising or steeper < slope * (1 - 1e-9):
            seen = f"{a.speed:g}: {a.flow_lpm:g} L/min, {a.power_w:g} W"
            fix = "give points with rising speed, flow and power, the power rising faster than the flow; measure again"
            yield "205", (*here, "speed", index), seen, "the next point does not rise, or power rises too little", fix
            return
        slope = steeper
