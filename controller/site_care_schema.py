"""The site file's tables of care: fridges and boxes for vaccines and medicine."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.site_types import Id, Power, Table

Celsius = Annotated[float, Field(ge=-90, le=60, description="Degrees Celsius")]


class ColdBoxTable(Table):
    """A fridge that must stay within its limits: its load is never shed, and people are called before one is passed."""

    id: Id
    sensor: Annotated[Id, Field(description="A sensor with `celsius`, and best with `W`")]
    behind: Annotated[Id | None, Field(description="The meter that its power is inside of; none: it has no meter")] = (
        None
    )
    low_c: Celsius = 2.0
    high_c: Celsius = 8.0
    target_c: Celsius = 5.0
    ambient_c: Annotated[float, Field(ge=-40, le=60, description="Usually around it [degrees Celsius]")] = 25.0
    ua_w_per_k: Annotated[float, Field(gt=0, le=1e4, description="Heat that comes in per degree [W/K]")]
    capacity_wh_per_k: Annotated[float, Field(gt=0, le=1e6, description="Box and contents [Wh/K]")]
    power_w_max: Annotated[Power, Field(description="While its compressor runs [W]")]
    cop: Annotated[float, Field(gt=0.1, le=10, description="Heat out per electrical energy")] = 1.5
    warn_before_ms: Annotated[int, Field(ge=600_000, le=86_400_000, description="Of a limit [ms]")] = 7_200_000
