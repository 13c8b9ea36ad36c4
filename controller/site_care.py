"""Cold boxes of a site file: the values that the hub knows, and what no single table can know of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller import site_schema as schema
from controller.site_problems import Finding, unknown_device
from optimizer.care import ColdBox
from optimizer.problem import AssetId


@dataclass(frozen=True, slots=True)
class ColdBoxSpec:
    """A fridge as a thermal model, where it is measured, and how long before a limit people are called."""

    box: ColdBox
    sensor: str
    behind: str | None  # the meter that its power is inside of
    ambient_c: float
    warn_before_ms: int


def cold_boxes(file: schema.SiteFile) -> tuple[ColdBoxSpec, ...]:
    """Returns the boxes of a checked file."""
    return tuple(
        ColdBoxSpec(
            ColdBox(
                AssetId(row.id),
                row.ua_w_per_k,
                row.capacity_wh_per_k,
                row.power_w_max,
                row.cop,
                row.low_c,
                row.high_c,
                row.target_c,
            ),
            row.sensor,
            row.behind,
            row.ambient_c,
            row.warn_before_ms,
        )
        for row in file.cold_box
    )


def simulated_box(file: schema.SiteFile, sensor: str) -> dict[str, str | float]:
    """Returns what the simulator needs to play the box that a sensor measures; empty where it measures none."""
    row = next((row for row in file.cold_box if row.sensor == sensor), None)
    if row is None:
        return {}
    names = ("ua_w_per_k", "capacity_wh_per_k", "power_w_max", "cop", "target_c", "ambient_c")
    return {**{name: float(getattr(row, name)) for name in names}, "meter": row.behind or ""}


def check_care(file: schema.SiteFile) -> Iterable[Finding]:
    """Yields boxes that name no sensor or meter, have limits the wrong way round, or are too weak to stay cold."""
    kinds = {row.id: row.kind for row in file.device}
    for index, row in enumerate(file.cold_box):
        here = ("cold_box", index)
        for key, kind, name in (("sensor", "sensor", row.sensor), ("behind", "meter", row.behind)):
            if name is not None:
                yield from unknown_device("210", (*here, key), name, kind, kinds)
        if not row.low_c < row.target_c < row.high_c:
            seen = f"{row.low_c:g} / {row.target_c:g} / {row.high_c:g}"
            yield "211", (*here, "target_c"), seen, "low, target and high do not rise", "vaccines: 2 / 5 / 8"
        needed = row.ua_w_per_k * (row.ambient_c - row.target_c) / row.cop
        if needed > row.power_w_max:
            yield (
                "212", (*here, "power_w_max"), f"{row.power_w_max:g}",
                f"its target needs {needed:.0f} W at {row.ambient_c:g} degrees around it",
                "look up ua_w_per_k, cop and power_w_max on its plate",
            )  # fmt: skip
