"""The site file's tables of machines, crews and work orders."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from controller.site_types import DAYS, ClockTime, Day, Id, Table

Hours = Annotated[list[ClockTime], Field(min_length=2, max_length=2)]
Skill = Annotated[str, Field(min_length=1, max_length=40)]


class MachineTable(Table):
    """A shared machine that people work with; `service_every_h` makes its service a due date of its own."""

    id: Id
    kind: Annotated[str, Field(min_length=1, max_length=40, description="What work asks for: printer, mill")]
    hours: Hours = ["00:00", "24:00"]
    service_every_h: Annotated[float, Field(gt=0, le=1e5, description="Running hours between services")] | None = None
    running_h: Annotated[float, Field(ge=0, le=1e6, description="Running hours so far [h]")] = 0.0
    serviced_h: Annotated[float, Field(ge=0, le=1e6, description="Running hours at the last service [h]")] = 0.0


class CrewTable(Table):
    """People who work together."""

    id: Id
    skills: Annotated[list[Skill], Field(min_length=1)]
    shift: Hours
    days: Annotated[list[Day], Field(min_length=1)] = list(DAYS)
    price_per_h: Annotated[float, Field(ge=0, le=1e4)] = 0.0


class WorkTable(Table):
    """A work order of every day inside `window`, or once (`until`); who, with what machine, after what."""

    id: Id
    kind: Literal["print", "mill", "maintenance", "construction", "repair", "planting", "dosing", "harvest", "waste"]
    window: Hours = ["00:00", "24:00"]
    until: Annotated[str, Field(description="ISO 8601 with UTC offset: once, done by then")] | None = None
    duration_ms: Annotated[int, Field(ge=60_000, le=86_400_000)]
    power_w: Annotated[float, Field(ge=0, le=1e6, description="Mean power while it runs [W]")] = 0.0
    machine: Annotated[str, Field(max_length=40, description="Kind of machine that it needs")] = ""
    services: Id | None = None
    skills: list[Skill] = []
    attended_ms: Annotated[int, Field(ge=60_000, description="The crew stays so long (default: all)")] | None = None
    after: list[Id] = []
    late_price_per_h: Annotated[float, Field(ge=0, le=1e4)] = 1.0
    skip_price: Annotated[float, Field(ge=0, le=1e6)]
