"""Sensors that say a number and not the truth, injected one by one into a calm village; a calm day raises nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from controller.cli.codes import CODES
from controller.sensor_watch import SensorWatch
from devices.clock import HOUR_MS, MINUTE_MS, Instant
from devices.metering import ENERGY_POINTS
from tests.controller.scene import CALM, NOW, snapshot, village

SITE = village()
Change = Callable[[float], Mapping[str, Mapping[str, float | None]]]


def truth(hours: float) -> dict[str, dict[str, float | None]]:
    """A village whose powers sum to zero and whose registers follow them; water is pumped in and used."""
    values: dict[str, dict[str, float | None]] = {device: dict(points) for device, points in CALM.items()}
    for device in SITE.devices:
        if device.kind not in ENERGY_POINTS:
            continue
        power = CALM.get(device.id, {}).get("W", 0.0)
        points = values.setdefault(device.id, {"W": power})
        for point, flow in zip(ENERGY_POINTS[device.kind], (max(power, 0), max(-power, 0)), strict=True):
            if point:
                points[point] = round(1000 + flow * hours)
    on_bus = [d.id for d in SITE.devices if d.kind in ENERGY_POINTS and d.behind is None and d.id != "grid-1"]
    rest = -sum(values[device]["W"] or 0.0 for device in on_bus)
    values["grid-1"] |= {"W": rest, "import_wh": round(1000 - rest * hours), "export_wh": 1000.0}
    values["pump-1"] |= {"on": 1.0, "flow_lpm": 60.0}
    values["tank-1"]["level"] = 0.7 + 0.001 * hours
    return values


def watched(change: Change, until_h: float, then: Change | None = None, then_h: float = 0.0, each: int = 4) -> set[str]:
    """Returns the alarms that hold at the end, looked at every so many minutes."""
    watch = SensorWatch()
    for minute in range(0, round((until_h + then_h) * 60) + 1, each):
        hours = minute / 60
        faults = change(hours) if hours <= until_h or then is None else then(hours)
        values = truth(hours)
        for device, points in faults.items():
            values[device] |= points
        watch.look(SITE, snapshot(SITE, values, Instant(NOW + minute * MINUTE_MS)))
    found = list(watch.conditions())
    assert {condition.code for condition in found} <= CODES.keys()
    return {condition.id for condition in found}


def calm(hours: float) -> Mapping[str, Mapping[str, float | None]]:
    del hours
    return {}


def test_a_calm_day_raises_nothing() -> None:
    assert watched(calm, 6) == set()


@pytest.mark.parametrize(
    ("fault", "alarm"),
    [
        (lambda h: {"home-03": {"import_wh": 5000.0}}, "stuck.home-03"),
        (lambda h: {"pv-07": {"export_wh": 5000.0}}, "stuck.pv-07"),
        (lambda h: {"tank-1": {"level": 0.61}}, "stuck.tank-1"),
        (lambda h: {"home-03": {"W": 1000.0 + 20_000 * (h > 0.1)}}, "balance"),  # drift, or a false meter
        (lambda h: {"home-05": {"W": -9_000.0}}, "balance"),
    ],
)
def test_each_fault_is_told_and_gone_when_it_is_mended(fault: Change, alarm: str) -> None:
    assert watched(fault, 6) == {alarm}
    assert watched(fault, 6, calm, 6.1) == set()


def test_a_leap_is_told_for_ten_minutes_and_a_filled_diesel_tank_is_none() -> None:
    def leap(hours: float) -> Mapping[str, Mapping[str, float | None]]:
        return {"tank-1": {"level": 0.2 if hours > 1 else 0.7}, "genset-1": {"fuel": 1.0 if hours > 1 else 0.2}}

    assert watched(leap, 1.1, each=1) == {"jump.tank-1"}
    assert "jump.tank-1" not in watched(leap, 1.3, each=1)

    def spike(hours: float) -> Mapping[str, Mapping[str, float | None]]:
        return {"battery-1": {"soc": 0.1 if 1.0 < hours < 1.02 else 0.6}}

    assert watched(spike, 1.1, each=1) == {"jump.battery-1"}


def test_what_is_bad_or_was_not_seen_proves_nothing() -> None:
    assert watched(lambda h: {"home-03": {"W": None}, "tank-1": {"level": None}}, 4) == set()
    watch = SensorWatch()
    for step in range(4):  # a hub that looks once an hour knows of no flow between
        values = truth(step)
        values["home-03"]["import_wh"] = 5.0
        watch.look(SITE, snapshot(SITE, values, Instant(NOW + step * HOUR_MS)))
    assert not list(watch.conditions())
    alone = replace(SITE, devices=tuple(d for d in SITE.devices if d.id != "grid-1"))
    watch.look(alone, snapshot(SITE, truth(0), NOW))
    assert watch.balance is None, "without the feeder's meter there is no sum"
