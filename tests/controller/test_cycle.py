"""Rules may only narrow; each rule does what its name says; bad data means the safe value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.cycle import Band, Context, Decision, Hold, decide
from controller.hub import others_w
from controller.rules import RULES
from devices.clock import Instant
from devices.model import DeviceId
from optimizer.plan import Mode, Reason, StorageStep, UnitStep
from tests.controller.scene import NOW, snapshot, village

SITE = village()
BATTERY = DeviceId("battery-1")
numbers = st.floats(-1e6, 1e6)


def context(changes: Mapping[str, Mapping[str, float | None]] | None = None, **fields: Any) -> Context:
    view = snapshot(SITE, changes)
    return Context(SITE, view, bool(fields.pop("island", False)), others_w(SITE, view), **fields)


def decision(device: str, at: Context) -> Decision:
    spec = SITE.device(device)
    assert spec is not None
    return decide(at, spec, RULES)


@given(numbers, numbers, st.none() | numbers, st.none() | numbers)
def test_a_band_only_narrows(one: float, other: float, low: float | None, high: float | None) -> None:
    band = Band(min(one, other), max(one, other))
    narrowed = band.narrowed(low, high)
    assert band.low <= narrowed.low <= narrowed.high <= band.high


@given(st.lists(st.tuples(st.none() | numbers, st.none() | numbers), max_size=6), numbers)
def test_no_sequence_of_wishes_leaves_the_first_band(
    wishes: list[tuple[float | None, float | None]], width: float
) -> None:
    first = Band(-abs(width), abs(width))
    band = first
    for low, high in wishes:
        narrower = band.narrowed(low, high)
        assert narrower.low >= band.low
        assert narrower.high <= band.high
        band = narrower


def test_without_a_plan_the_battery_follows_the_communitys_meter() -> None:
    # grid imports 4 kW while the battery gives 6 kW: 10 kW of others, so it should give 10 kW.
    result = decision("battery-1", context())
    assert result.value == pytest.approx(-10_000)
    assert result.reason.startswith("default: follow")


@pytest.mark.parametrize(
    ("mode", "limit", "expected"),
    [
        (Mode.FOLLOW, 40_000, -10_000),
        (Mode.FOLLOW, 6_000, -6_000),
        (Mode.HOLD, 0, 0),
        (Mode.CHARGE, 12_000, 12_000),
        (Mode.DISCHARGE, 7_000, -7_000),
        (Mode.DISCHARGE, 30_000, -10_000),
    ],
)
def test_modes_become_watts_from_the_actual_net_load(mode: Mode, limit: int, expected: float) -> None:
    step = StorageStep(mode, limit, 0, 0.5, Reason("because"))
    result = decision("battery-1", context(storage_steps={BATTERY: step}))
    assert result.value == pytest.approx(expected)


def test_charging_from_the_grid_stops_at_the_feeder_limit() -> None:
    step = StorageStep(Mode.CHARGE, 40_000, 40_000, 0.5, Reason("cheap night"))
    result = decision("battery-1", context(storage_steps={BATTERY: step}))
    assert result.value == pytest.approx(0.97 * SITE.import_limit_w - 10_000)


def test_a_heavy_load_makes_the_battery_defend_the_feeder_even_on_hold() -> None:
    step = StorageStep(Mode.HOLD, 0, 0, 0.5, Reason("saved for the evening"))
    loaded = {"grid-1": {"W": -50_000.0}, "battery-1": {"W": 0.0}}
    result = decision("battery-1", context(loaded, storage_steps={BATTERY: step}))
    assert result.value == pytest.approx(0.97 * SITE.import_limit_w - 50_000)


@pytest.mark.parametrize("broken", [{"soc": None}, {"W": None}])
def test_bad_battery_data_means_zero(broken: dict[str, float | None]) -> None:
    assert decision("battery-1", context({"battery-1": broken})).value == 0.0


def test_old_data_means_zero() -> None:
    view = snapshot(SITE, age_ms=60_000)
    stale = Context(SITE, view, False, others_w(SITE, view))
    assert decision("battery-1", stale).value == 0.0
    assert decision("pump-1", stale).value == 0.0


def test_an_empty_battery_gives_nothing_and_a_full_one_takes_nothing() -> None:
    assert decision("battery-1", context({"battery-1": {"soc": 0.05}})).value == 0.0
    surplus = {"grid-1": {"W": 9_000.0}, "battery-1": {"W": 0.0, "soc": 0.97}}
    assert decision("battery-1", context(surplus)).value == 0.0


def test_the_outage_reserve_is_kept_while_the_grid_is_there() -> None:
    assert decision("battery-1", context({"battery-1": {"soc": 0.2}})).value == 0.0
    assert decision("battery-1", context({"battery-1": {"soc": 0.2}}, island=True)).value < 0.0


def test_an_operator_hold_beats_the_plan_but_not_an_interlock() -> None:
    hold = {DeviceId("pump-1"): Hold(DeviceId("pump-1"), 1.0, Instant(NOW + 60_000), "flush", "ana")}
    off = {DeviceId("pump-1"): UnitStep(False, 0, Reason("dear hour"))}
    assert decision("pump-1", context(holds=hold, unit_steps=off)).value == 1.0
    full = {"tank-1": {"level": 0.96}}
    assert decision("pump-1", context(full, holds=hold, unit_steps=off)).value == 0.0


def test_an_expired_hold_is_nothing() -> None:
    hold = {BATTERY: Hold(BATTERY, 0.0, NOW, "old", "ana")}
    assert decision("battery-1", context(holds=hold)).value == pytest.approx(-10_000)


def test_below_the_drinking_reserve_the_pump_runs_whatever_the_plan_says() -> None:
    off = {DeviceId("pump-1"): UnitStep(False, 0, Reason("dear hour"))}
    assert decision("pump-1", context({"tank-1": {"level": 0.3}}, unit_steps=off)).value == 1.0


def test_solar_is_cut_when_export_is_over_its_limit_and_the_battery_is_full() -> None:
    sunny = {"grid-1": {"W": 40_000.0}, "battery-1": {"W": 0.0, "soc": 0.97}, "pv-02": {"W": -50_000.0}}
    for name in ("pv-03", "pv-04", "pv-06", "pv-07", "pv-10", "pv-11"):
        sunny[name] = {"W": 0.0}
    limited = decision("pv-02", context(sunny))
    assert 0.0 < limited.value < 1.0
    assert "export limit" in limited.reason


def test_on_an_island_the_genset_starts_before_the_battery_is_empty() -> None:
    dark = {"grid-1": {"W": 0.0, "V": 0.0}, "battery-1": {"W": -12_000.0, "soc": 0.2}}
    result = decision("genset-1", context(dark, island=True))
    assert -30_000 <= result.value <= -12_000
    assert decision("genset-1", context()).value == 0.0


def test_a_locked_out_device_is_left_alone() -> None:
    assert decision(
        "pump-1", context({"tank-1": {"level": 0.1}}, locked_out=frozenset({DeviceId("pump-1")}))
    ).value in (
        0.0,
        1.0,
    )


@given(
    soc=st.none() | st.floats(0, 1),
    grid=st.none() | st.floats(-90_000, 90_000),
    power=st.floats(-40_000, 40_000),
    level=st.none() | st.floats(0, 1),
    mode=st.sampled_from(Mode),
    limit=st.integers(0, 60_000),
    island=st.booleans(),
)
def test_no_state_makes_a_rule_leave_the_nameplate(
    soc: float | None, grid: float | None, power: float, level: float | None, mode: Mode, limit: int, island: bool
) -> None:
    state = {"grid-1": {"W": grid}, "battery-1": {"soc": soc, "W": power}, "tank-1": {"level": level}}
    at = context(state, island=island, storage_steps={BATTERY: StorageStep(mode, limit, 0, 0.5, Reason("r"))})
    battery = decision("battery-1", at)
    assert -40_000 <= battery.value <= 40_000
    if soc is None:
        assert battery.value == 0.0
    elif soc <= 0.08:
        assert battery.value >= 0.0
    elif soc >= 0.97:
        assert battery.value <= 0.0
    pump = decision("pump-1", at)
    assert pump.value in (0.0, 1.0)
    if level is None or level >= SITE.water_high:
        assert pump.value == 0.0
