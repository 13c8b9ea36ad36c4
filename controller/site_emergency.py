"""The site file's table `[emergency]`: how many hours must be sure, under which sky, and how loads come back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from controller.site_types import Fraction, Id, Table


class EmergencyTable(Table):
    """Storms and outages."""

    autonomy_hours: Annotated[float, Field(gt=0, le=168, description="An outage must be survived so long [h]")] = 24.0
    confidence: Annotated[Fraction, Field(description="With this probability")] = 0.95
    sun_share: Annotated[Fraction, Field(description="What a storm's sky leaves of the usual sun")] = 0.25
    restart_gap_s: Annotated[int, Field(ge=5, le=3600, description="Between two stages of a restart [s]")] = 60
    inrush_factor: Annotated[
        dict[Id, Annotated[float, Field(ge=1, le=12)]],
        Field(description="Device -> power while it starts, as a multiple of its rated power"),
    ] = {}


@dataclass(frozen=True, slots=True)
class EmergencySpec:
    """The same, as the hub uses it."""

    autonomy_hours: float = 24.0
    confidence: float = 0.95
    sun_share: float = 0.25
    restart_gap_ms: int = 60_000
    inrush_factor: Mapping[str, float] = field(default_factory=dict[str, float])


def emergency_spec(table: EmergencyTable) -> EmergencySpec:
    """Returns the checked table as a value."""
    return EmergencySpec(
        table.autonomy_hours, table.confidence, table.sun_share, table.restart_gap_s * 1000, dict(table.inrush_factor)
    )


Finding = tuple[str, tuple[str | int, ...], str, str, str]


def check_emergency(table: EmergencyTable, devices: Iterable[str]) -> Iterable[Finding]:
    """Yields inrush factors of devices that are not there."""
    known = set(devices)
    for name in table.inrush_factor:
        if name not in known:
            yield (
                "116",
                ("emergency", "inrush_factor", name),
                name,
                "no device has this id",
                f"one of: {sorted(known)}",
            )
