"""The site file's tables of waste: digesters with their gas engines, and yards where waste waits for a machine."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.site_types import ClockTime, Id, Power, Table

Kilograms = Annotated[float, Field(ge=0, le=1e7, description="Mass [kg]")]
Counted = Annotated[
    str, Field(description="ISO 8601 with UTC offset: when it was weighed; older than 14 days it expires")
]
Skills = list[Annotated[str, Field(min_length=1, max_length=40)]]


class FeedTable(Table):
    """What goes into a digester every day."""

    at: ClockTime
    kg: Kilograms


class DigesterTable(Table):
    """Waste becomes gas, a holder keeps it, an engine burns it when power is worth most."""

    id: Id
    engine: Annotated[Id, Field(description="The genset that burns its gas; it needs no `fuel` reading")]
    sensor: Annotated[Id, Field(description="A sensor whose `level` is the part of the holder that is full")]
    feed: Annotated[list[FeedTable], Field(min_length=1, max_length=24, description="Every day")]
    yield_m3_per_kg: Annotated[float, Field(gt=0, le=2, description="Gas of a kg of feed in the end [m3]")]
    decay_per_day: Annotated[float, Field(gt=0, le=2, description="Part of what is left that turns to gas in a day")]
    holder_m3: Annotated[float, Field(gt=0, le=1e5)]
    holder_min_m3: Annotated[float, Field(ge=0, le=1e5, description="Pressure for burner and pilot flame")] = 0.0
    m3_per_kwh: Annotated[float, Field(gt=0, le=5, description="Gas of an electrical kWh [m3]")] = 0.5
    gas_value: Annotated[float, Field(ge=0, le=100, description="Of a m3 left at the plan's end, in money")] = 0.1


class YardTable(Table):
    """Waste that is processed in batches before there is too much of it."""

    id: Id
    held_kg: Kilograms
    counted_at: Counted
    arrives_kg_per_day: Kilograms
    most_kg: Annotated[float, Field(gt=0, le=1e7, description="More does not fit [kg]")]
    machine: Annotated[str, Field(min_length=1, max_length=40, description="Kind of machine that processes it")]
    kg_per_h: Annotated[float, Field(gt=0, le=1e6)]
    power_w: Power
    batch_ms: Annotated[int, Field(ge=900_000, le=86_400_000, description="Length of a run [ms]")] = 7_200_000
    skills: Skills = []
    skip_price: Annotated[float, Field(ge=0, le=1e6, description="Of a run that is left out")] = 40.0
