"""Small sites and snapshots for controller tests: the example village with readings put in by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from controller.conditions import deadlines
from controller.image import Image, Snapshot
from controller.site import Site, load
from devices.clock import Instant, parse_iso
from devices.model import DeviceId, Quality, Readings

NOW = parse_iso("2026-06-03T07:40:00Z")
VILLAGE = Path(__file__).parents[1] / "village.toml"

CALM: Mapping[str, Mapping[str, float]] = {
    "grid-1": {"W": -4_000.0, "V": 230.0, "hz": 50.0},
    "battery-1": {"W": -6_000.0, "soc": 0.6},
    "genset-1": {"W": 0.0, "running": 0.0, "fuel": 0.8},
    "pump-1": {"W": 0.0, "on": 0.0, "flow_lpm": 0.0},
    "tank-1": {"level": 0.7},
    "washer-1": {"on": 0.0},
    "boiler-1": {"W": 0.0, "celsius": 55.0},
    "charger-1": {"W": 0.0, "soc": 0.5, "connected": 1.0},
    **{f"pv-{number}": {"W": -2_000.0, "limit": 1.0} for number in ("02", "03", "04", "06", "07", "10", "11")},
    **{f"home-{number:02d}": {"W": 1_000.0} for number in range(1, 14)},
    "clinic": {"W": 900.0},
    "fridge-1": {"celsius": 5.0, "W": 14.0},
    "water-1": {"home-01.water_ml": 12_000.0},
}


def village() -> Site:
    """Returns the example village."""
    return load(VILLAGE.read_text(), str(VILLAGE))


def snapshot(
    site: Site, changes: Mapping[str, Mapping[str, float | None]] | None = None, now: Instant = NOW, age_ms: int = 0
) -> Snapshot:
    """Returns a calm morning with `changes` on top; None makes a point bad."""
    image = Image(deadlines(site, 1_000, 0))
    values: dict[str, dict[str, float | None]] = {device: dict(points) for device, points in CALM.items()}
    for device, points in (changes or {}).items():
        values.setdefault(device, {}).update(points)
    at = Instant(now - age_ms)
    for device, points in values.items():
        image.update(readings(device, points, at), at)
    return image.freeze(now)


def readings(device: str, points: Mapping[str, float | None], at: Instant) -> Readings:
    """Returns one device's columns; None is BAD."""
    qualities = tuple(Quality.BAD if value is None else Quality.GOOD for value in points.values())
    return Readings(DeviceId(device), at, tuple(points), tuple(points.values()), qualities)
