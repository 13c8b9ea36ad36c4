"""Digesters and yards of a site file: the values that the hub knows, and what no single table can know of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from controller import site_schema as schema
from controller.site_problems import Finding, instant_problem, unknown_device
from controller.site_types import minutes
from controller.site_work import check_skills
from devices.clock import HOUR_MS, Instant, parse_iso


@dataclass(frozen=True, slots=True)
class DigesterSpec:
    """One digester; `feed` is (minute of the local day, kg)."""

    id: str
    engine: str
    sensor: str
    feed: tuple[tuple[int, float], ...]
    yield_m3_per_kg: float
    decay_per_day: float
    holder_m3: float
    holder_min_m3: float
    m3_per_kwh: float
    gas_value: float


@dataclass(frozen=True, slots=True)
class YardSpec:
    """One yard as it was weighed."""

    id: str
    held_kg: float
    counted_at: Instant
    arrives_kg_per_day: float
    most_kg: float
    machine: str
    kg_per_h: float
    power_w: float
    batch_ms: int
    skills: tuple[str, ...]
    skip_price: float


@dataclass(frozen=True, slots=True)
class WasteSpec:
    """All of it."""

    digesters: tuple[DigesterSpec, ...] = ()
    yards: tuple[YardSpec, ...] = ()
    engines: frozenset[str] = field(default_factory=frozenset[str])

    def digester(self, engine: str) -> DigesterSpec | None:
        """Returns the digester whose gas an engine burns."""
        return next((one for one in self.digesters if one.engine == engine), None)


def waste_spec(file: schema.SiteFile) -> WasteSpec:
    """Returns what a checked file says of waste."""
    digesters = tuple(
        DigesterSpec(
            row.id,
            row.engine,
            row.sensor,
            tuple((minutes(feed.at), feed.kg) for feed in row.feed),
            row.yield_m3_per_kg,
            row.decay_per_day,
            row.holder_m3,
            row.holder_min_m3,
            row.m3_per_kwh,
            row.gas_value,
        )
        for row in file.digester
    )
    yards = tuple(
        YardSpec(
            row.id,
            row.held_kg,
            parse_iso(row.counted_at),
            row.arrives_kg_per_day,
            row.most_kg,
            row.machine,
            row.kg_per_h,
            row.power_w,
            row.batch_ms,
            tuple(row.skills),
            row.skip_price,
        )
        for row in file.yard
    )
    return WasteSpec(digesters, yards, frozenset(row.engine for row in file.digester))


def simulated_digester(file: schema.SiteFile, sensor: str) -> dict[str, str | float]:
    """Returns what the simulator needs to play the gas holder that a sensor shows; empty where it shows none."""
    row = next((row for row in file.digester if row.sensor == sensor), None)
    if row is None:
        return {}
    names = ("yield_m3_per_kg", "decay_per_day", "holder_m3", "m3_per_kwh")
    feed = " ".join(f"{one.at}={one.kg:g}" for one in row.feed)
    played = {name: float(getattr(row, name)) for name in names}
    return {**played, "engine": row.engine, "feed": feed, "timezone": file.site.timezone}


def check_waste(file: schema.SiteFile) -> Iterable[Finding]:
    """Yields digesters without engine or sensor, holders without room, yards that nobody and nothing can process."""
    kinds = {row.id: row.kind for row in file.device}
    taken: set[str] = set()
    for index, row in enumerate(file.digester):
        here = ("digester", index)
        for key, kind, name in (("engine", "genset", row.engine), ("sensor", "sensor", row.sensor)):
            yield from unknown_device("230", (*here, key), name, kind, kinds)
        if row.engine in taken:
            yield (
                "231",
                (*here, "engine"),
                row.engine,
                "it burns the gas of another digester",
                "one engine, one digester",
            )
        taken.add(row.engine)
        if row.holder_min_m3 >= row.holder_m3:
            seen, fix = f"{row.holder_min_m3:g}", f"choose less than {row.holder_m3:g}"
            yield "232", (*here, "holder_min_m3"), seen, "the holder has no room above it", fix
    machines = {row.kind for row in file.machine}
    for index, row in enumerate(file.yard):
        here = ("yard", index)
        if row.machine not in machines:
            yield "110", (*here, "machine"), row.machine, "no machine is of this kind", f"one of: {sorted(machines)}"
        yield from check_skills(file, here, row.skills)
        yield from instant_problem((*here, "counted_at"), row.counted_at)
        batch_kg = row.kg_per_h * row.batch_ms / HOUR_MS
        if batch_kg > row.most_kg:
            seen, fix = f"{batch_kg:.0f} kg", f"a shorter batch_ms: the yard holds {row.most_kg:g} kg"
            yield "233", (*here, "batch_ms"), seen, "a batch takes more than ever waits there", fix
