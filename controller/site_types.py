"""What the tables of a site file are made of: ids, times, prices, and how strict they are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Id = Annotated[
    str,
    Field(pattern=r"^[a-z0-9_.-]{1,64}$", description="Id: a-z, 0-9, _ . -, no spaces (it is an MQTT topic level too)"),
]
Fraction = Annotated[float, Field(ge=0.0, le=1.0, description="Fraction 0-1")]
Power = Annotated[float, Field(gt=0, le=1e8, description="Power [W]")]
ClockTime = Annotated[
    str,
    Field(pattern=r"^(?:[01]\d|2[0-3]):[0-5]\d$|^24:00$", description="Local time of day, HH:MM, 24:00 = day's end"),
]
MicroPrice = Annotated[
    int, Field(ge=0, le=10**9, description="Price in micro-units (1e-6 of the currency) per kWh or per m3")
]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Driver = Annotated[
    str,
    Field(
        pattern=r"^(sunspec|vda5050|gpio:header|mqtt:[a-z0-9_]+|profile:[a-z0-9_]+(\.[a-z0-9_]+)?)$",
        description="sunspec, vda5050, gpio:header, mqtt:NAME, profile:NAME or profile:NAME.VARIANT (profiles list)",
    ),
]

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)
"""Of every table: unknown keys are refused, values are not converted between types."""


class Table(BaseModel):
    """A TOML table: unknown keys are refused, values are not converted between types."""

    model_config = STRICT


def minutes(clock_time: str) -> int:
    """Returns minutes since midnight of a checked `HH:MM`."""
    hours, _, rest = clock_time.partition(":")
    return int(hours) * 60 + int(rest)
