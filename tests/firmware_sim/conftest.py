"""The example village as device specs, and the built-in year loaded once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from devices.clock import Instant, parse_iso
from devices.model import DeviceId, DeviceKind, DeviceSpec
from firmware_sim.profiles import Profiles, load_built_in

SITE = Path(__file__).parents[1] / "village.toml"


def spec_of(row: dict[str, Any]) -> DeviceSpec:
    simulate = dict(row.get("simulate", {}))
    if row.get("critical"):
        simulate["critical"] = 1.0
    if row["kind"] == "charger":
        simulate["timezone"] = "Europe/Berlin"
    if row["kind"] == "thermal":
        simulate["timezone"] = "Europe/Berlin"
        simulate["draws"] = " ".join(f"{one['at']}={one['energy_wh']}" for one in row["draws"])
    if row["kind"] == "sensor":
        simulate = {"ua_w_per_k": 1.2, "capacity_wh_per_k": 22.0, "power_w_max": 120.0}
    return DeviceSpec(
        DeviceId(row["id"]),
        DeviceKind(row["kind"]),
        row["driver"],
        row.get("gateway", ""),
        row.get("endpoint", ""),
        row.get("unit", 0),
        DeviceId(row["behind"]) if "behind" in row else None,
        channels=tuple(row.get("channels", ())),
        ratings=row.get("ratings", {}),
        simulate=simulate,
    )


@pytest.fixture(scope="session")
def specs() -> list[DeviceSpec]:
    return [spec_of(row) for row in tomllib.loads(SITE.read_text())["device"]]


@pytest.fixture(scope="session")
def year() -> Profiles:
    return load_built_in()


@pytest.fixture
def start() -> Instant:
    return parse_iso("2026-06-01T00:00:00+02:00")
