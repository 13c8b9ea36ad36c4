"""The site file's tables of the farm: climate, irrigated fields, crops with their batches, and food stores."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from controller.site_types import ClockTime, Id, Table
from controller.site_waste_schema import Counted, Kilograms, Skills

Months = Annotated[list[float], Field(min_length=12, max_length=12)]
Part = Annotated[float, Field(gt=0, le=1)]


class ClimateTable(Table):
    """What is usual here, January to December: what fields dry by and crops grow by where nobody measures it."""

    t_min_c: Annotated[Months, Field(description="Mean daily minimum of each month [degrees Celsius]")]
    t_max_c: Annotated[Months, Field(description="Mean daily maximum of each month [degrees Celsius]")]
    rain_mm: Annotated[Months, Field(description="Rain of each month [mm]")]


class FieldTable(Table):
    """A field that a job waters as its soil asks for (FAO-56), instead of every day."""

    id: Id
    watered_by: Annotated[Id, Field(description="An irrigation job; its water_l is the most of one run")]
    area_m2: Annotated[float, Field(gt=0, le=1e7)]
    soil: Literal["sand", "loam", "clay"]
    root_m: Annotated[float, Field(gt=0, le=3, description="Depth of the roots [m]")]
    kcb: Annotated[float, Field(gt=0, le=1.5, description="Basal crop coefficient of this stage (table 17)")]
    cover: Annotated[float, Field(ge=0, le=0.99, description="Part of the ground under leaves")]
    depletion_fraction: Annotated[float, Field(gt=0, lt=1, description="p of table 22")] = 0.5
    wetted: Annotated[Part, Field(description="Part of the ground that watering wets (drip 0.3)")] = 1.0
    efficiency: Annotated[Part, Field(description="Part of what is given that reaches the roots")] = 0.9
    depletion_mm: Annotated[float, Field(ge=0, le=1000, description="Below field capacity when it was looked at [mm]")]
    looked_at: Annotated[str, Field(description="ISO 8601 with UTC offset; older than 60 days it expires")]
    loss_price_per_mm: Annotated[float, Field(ge=0, le=1e4, description="Of a mm that is not given, in money")] = 1.0


class CropTable(Table):
    """What a crop needs; growth is counted in degree-days above `zero_c`."""

    id: Id
    zero_c: Annotated[float, Field(ge=-10, le=30)]
    degree_days: Annotated[float, Field(gt=0, le=1e5, description="From seeding to ripe")]
    spread: Annotated[float, Field(ge=0, le=0.5, description="Standard deviation of that, as a part")] = 0.05
    kg_per_tray: Annotated[float, Field(gt=0, le=1e4)]
    yield_spread: Annotated[float, Field(ge=0, le=0.5, description="Standard deviation of the yield, as a part")] = 0.15
    keeps_days: Annotated[float, Field(gt=0, le=365, description="Ripe, before it spoils")]


class BatchTable(Table):
    """Trays of one crop, seeded together; it stays in the file until it is harvested."""

    id: Id
    crop: Id
    trays: Annotated[int, Field(ge=1, le=100_000)]
    seeded_at: Annotated[str | None, Field(description="ISO 8601 with UTC offset; none: still to be planted")] = None
    dosing: Annotated[
        list[list[ClockTime]], Field(max_length=6, description="Spans of each day, one dose in each")
    ] = []
    dosing_w: Annotated[float, Field(ge=0, le=1e6, description="Of the dosing pump [W]")] = 400.0
    skills: Skills = []
    harvest_ms: Annotated[int, Field(ge=900_000, le=86_400_000)] = 5_400_000
    store: Annotated[Id | None, Field(description="The food store that takes the harvest")] = None
    skip_price: Annotated[float, Field(ge=0, le=1e6)] = 40.0


class FoodStoreTable(Table):
    """Food that rounds bring to people: deliveries with this `store` go out while it lasts."""

    id: Id
    held_kg: Kilograms
    counted_at: Counted
    capacity_kg: Annotated[float, Field(gt=0, le=1e7)]
    room: Annotated[Id | None, Field(description="The cold room it is kept in: a thermal device, use = cold")] = None
