"""Climate, fields, crops and food stores of a site file: what the hub knows, and what no single table can."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from controller import site_schema as schema
from controller.site_problems import Finding, Path, instant_problem
from controller.site_types import minutes
from controller.site_work import check_skills
from devices.clock import Instant, parse_iso
from optimizer.farm import Crop
from optimizer.irrigation import Field, Soil, Weather
from optimizer.problem import AssetId

SOILS = {
    "sand": Soil(0.12, 0.045, 9.75, 7.0),
    "loam": Soil(0.25, 0.12, 19.0, 9.0),
    "clay": Soil(0.36, 0.22, 25.0, 10.0),
}
"""Middle values of FAO-56 table 19; TEW by its equation 73 for the top 10 cm."""

DAYS_PER_MONTH = 30.4


@dataclass(frozen=True, slots=True)
class Climate:
    """What is usual, January first."""

    t_min_c: tuple[float, ...]
    t_max_c: tuple[float, ...]
    rain_mm: tuple[float, ...]

    def day(self, day: date) -> Weather:
        """Returns a usual day of that month."""
        month = day.month - 1
        return Weather(self.t_min_c[month], self.t_max_c[month], self.rain_mm[month] / DAYS_PER_MONTH)

    def mean_c(self, day: date) -> float:
        """Returns the usual mean temperature of a day [degrees C]."""
        month = day.month - 1
        return (self.t_min_c[month] + self.t_max_c[month]) / 2


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field, the job that waters it, and how dry it was when somebody looked."""

    field: Field
    job: str
    depletion_mm: float
    looked_at: Instant


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """A batch of a crop; dosing spans in minutes of the day."""

    id: str
    crop: Crop
    trays: int
    seeded_at: Instant | None
    dosing: tuple[tuple[int, int], ...]
    dosing_w: float
    skills: tuple[str, ...]
    harvest_ms: int
    store: str | None
    skip_price: float


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """A food store as it was counted."""

    id: str
    held_kg: float
    counted_at: Instant
    capacity_kg: float
    room: str | None = None


@dataclass(frozen=True, slots=True)
class FarmSpec:
    """All of it."""

    climate: Climate | None = None
    fields: tuple[FieldSpec, ...] = ()
    batches: tuple[BatchSpec, ...] = ()
    stores: tuple[StoreSpec, ...] = ()


def farm_spec(file: schema.SiteFile) -> FarmSpec:
    """Returns what a checked file says of the farm."""
    climate = file.climate
    usual = None
    if climate is not None:
        usual = Climate(tuple(climate.t_min_c), tuple(climate.t_max_c), tuple(climate.rain_mm))
    crops = {
        row.id: Crop(row.id, row.zero_c, row.degree_days, row.spread, row.kg_per_tray, row.yield_spread, row.keeps_days)
        for row in file.crop
    }
    return FarmSpec(
        usual,
        tuple(_field(row) for row in file.field),
        tuple(_batch(row, crops[row.crop]) for row in file.batch),
        tuple(
            StoreSpec(row.id, row.held_kg, parse_iso(row.counted_at), row.capacity_kg, row.room)
            for row in file.food_store
        ),
    )


def _field(row: schema.FieldTable) -> FieldSpec:
    field = Field(
        AssetId(row.id),
        row.area_m2,
        SOILS[row.soil],
        row.root_m,
        row.depletion_fraction,
        row.kcb,
        row.cover,
        row.wetted,
        row.efficiency,
        kc_max=max(1.2, row.kcb + 0.05),
        loss_price_per_mm=row.loss_price_per_mm,
    )
    return FieldSpec(field, row.watered_by, row.depletion_mm, parse_iso(row.looked_at))


def _batch(row: schema.BatchTable, crop: Crop) -> BatchSpec:
    return BatchSpec(
        row.id,
        crop,
        row.trays,
        None if row.seeded_at is None else parse_iso(row.seeded_at),
        tuple((minutes(start), minutes(end)) for start, end in row.dosing),
        row.dosing_w,
        tuple(row.skills),
        row.harvest_ms,
        row.store,
        row.skip_price,
    )


# ------------------------------------------------------------------------------------------------------ checks


def check_farm(file: schema.SiteFile) -> Iterable[Finding]:
    """Yields fields, batches and stores that name what there is not, and what needs a climate that nobody wrote."""
    yield from _check_climate(file)
    yield from _check_fields(file)
    yield from _check_batches(file)
    stores = [row.id for row in file.food_store]
    rooms = [row.id for row in file.device if isinstance(row, schema.ThermalDevice) and row.use == "cold"]
    for index, row in enumerate(file.food_store):
        yield from instant_problem(("food_store", index, "counted_at"), row.counted_at)
        if row.room is not None:
            yield from _named(("food_store", index, "room"), row.room, rooms, "cold room")
    for index, row in enumerate(file.delivery):
        if row.store is not None:
            yield from _named(("delivery", index, "store"), row.store, stores, "food store")


def _check_climate(file: schema.SiteFile) -> Iterable[Finding]:
    if file.climate is None and (file.field or file.batch):
        here: Path = ("field", 0) if file.field else ("batch", 0)
        fix = "add [climate] with t_min_c, t_max_c and rain_mm, twelve months each"
        yield "220", here, "no [climate]", "fields dry and crops grow by the climate", fix
    if file.climate is not None:
        for month, (low, high) in enumerate(zip(file.climate.t_min_c, file.climate.t_max_c, strict=True)):
            if low > high:
                fix = "the minimum of a month is below its maximum"
                yield "221", ("climate", "t_min_c", month), f"{low:g}", f"month {month + 1} is at most {high:g}", fix


def _check_fields(file: schema.SiteFile) -> Iterable[Finding]:
    jobs = [row.id for row in file.job if row.kind == "irrigation"]
    for index, row in enumerate(file.field):
        here = ("field", index)
        yield from _named((*here, "watered_by"), row.watered_by, jobs, "irrigation job")
        yield from instant_problem((*here, "looked_at"), row.looked_at)
    for job in {row.watered_by for row in file.field}:
        waters = [index for index, row in enumerate(file.field) if row.watered_by == job]
        for index in waters[1:]:
            yield "222", ("field", index, "watered_by"), job, "this job waters another field", "a job for each field"


def _check_batches(file: schema.SiteFile) -> Iterable[Finding]:
    crops, stores = [row.id for row in file.crop], [row.id for row in file.food_store]
    for index, row in enumerate(file.batch):
        here = ("batch", index)
        yield from _named((*here, "crop"), row.crop, crops, "crop")
        if row.store is not None:
            yield from _named((*here, "store"), row.store, stores, "food store")
        if row.seeded_at is not None:
            yield from instant_problem((*here, "seeded_at"), row.seeded_at)
        yield from check_skills(file, here, row.skills)
        for number, span in enumerate(row.dosing):
            if len(span) != 2 or minutes(span[0]) >= minutes(span[1]):
                fix = 'write ["06:00", "09:00"]'
                yield "223", (*here, "dosing", number), "-".join(span), "it is no span of the day", fix


def _named(path: Path, name: str, known: list[str], what: str) -> Iterable[Finding]:
    if name not in known:
        yield "224", path, name, f"no {what} has this id", f"one of: {sorted(known)}"
