"""Every interlock by table: what it sees, what it allows; none ever widens."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.interlocks import Guarded, guard
from devices.model import DeviceId, DeviceKind, DeviceSpec
from tests.devices.gateway_bench import BATTERY, CHARGER, GENSET, PUMP, PV

HOT = {"power_w_max": 2000.0, "low_c": 42.0, "high_c": 65.0, "cold": 0.0}
COLD = {"power_w_max": 900.0, "low_c": 1.0, "high_c": 6.0, "cold": 1.0}
BOILER = dataclasses.replace(CHARGER, id=DeviceId("boiler-1"), kind=DeviceKind.THERMAL, ratings=HOT)
COLD_ROOM = dataclasses.replace(BOILER, id=DeviceId("cold-1"), ratings=COLD)

Readings = dict[tuple[str, str], float]


class Seen:
    """Readings as the rules see them; what is not there is bad or old."""

    def __init__(self, **points: float) -> None:
        self.points = points

    def value(self, device: DeviceId, point: str) -> float | None:
        return self.points.get("level" if device == "tank-1" else point)


def guarded(spec: DeviceSpec) -> Guarded:
    return guard(spec, DeviceId("tank-1") if spec is PUMP else None, 0.95, 1000)


@pytest.mark.parametrize(
    ("spec", "wish", "seen", "value", "rules"),
    [
        (BATTERY, 5000, {"soc": 0.5}, 5000, ()),
        (BATTERY, 90_000, {"soc": 0.5}, 40_000, ("rating",)),
        (BATTERY, -90_000, {"soc": 0.5}, -40_000, ("rating",)),
        (BATTERY, -5000, {"soc": 0.08}, 0, ("battery-soc-min",)),
        (BATTERY, 5000, {"soc": 0.08}, 5000, ()),
        (BATTERY, 5000, {"soc": 0.97}, 0, ("battery-soc-max",)),
        (BATTERY, -5000, {"soc": 0.97}, -5000, ()),
        (BATTERY, -5000, {}, 0, ("battery-soc-unknown",)),
        (BATTERY, 5000, {"soc": 1.2}, 0, ("battery-soc-unknown",)),
        (PV, 0.3, {}, 0.3, ()),
        (PV, 1.7, {}, 1, ("rating",)),
        (PUMP, 1, {"on": 0, "level": 0.5}, 1, ()),
        (PUMP, 1, {"on": 0, "level": 0.95}, 0, ("pump-tank-high",)),
        (PUMP, 1, {"on": 0}, 0, ("pump-level-unknown",)),
        (PUMP, 0, {"on": 0}, 0, ()),
        (GENSET, -12_000, {"running": 1, "fuel": 0.5}, -12_000, ()),
        (GENSET, -5000, {"running": 1, "fuel": 0.5}, 0, ("genset-min-load",)),
        (GENSET, -12_000, {"running": 1, "fuel": 0.01}, 0, ("genset-fuel-empty",)),
        (GENSET, -12_000, {"fuel": 0.5}, 0, ("genset-state-unknown",)),
        (GENSET, 4000, {"running": 1, "fuel": 0.5}, 0, ("rating",)),
        (CHARGER, 7000, {"connected": 1}, 7000, ()),
        (CHARGER, 70_000, {"connected": 0}, 11_000, ("rating",)),
        (CHARGER, 7000, {}, 0, ("charger-state-unknown",)),
        (BOILER, 3000, {"celsius": 60.0}, 2000, ("rating",)),
        (BOILER, 2000, {"celsius": 65.0}, 0, ("thermal-full",)),
        (BOILER, 2000, {}, 0, ("thermal-unknown",)),
        (COLD_ROOM, 900, {"celsius": 3.0}, 900, ()),
        (COLD_ROOM, 900, {"celsius": 1.0}, 0, ("thermal-full",)),
    ],
)
def test_table(spec: DeviceSpec, wish: float, seen: dict[str, float], value: float, rules: tuple[str, ...]) -> None:
    verdict = guarded(spec).narrow(wish, Seen(**seen), 0)
    assert (verdict.value, verdict.rules) == (value, rules)


def at(lock: Guarded, elapsed: int, wish: float = 1, **seen: float) -> tuple[float, tuple[str, ...]]:
    verdict = lock.narrow(wish, Seen(level=0.5, fuel=0.5, **seen), elapsed)
    return verdict.value, verdict.rules


def test_pump_max_on_then_rest() -> None:
    lock = guarded(dataclasses.replace(PUMP, ratings={"max_on_ms": 100_000, "min_rest_ms": 60_000}))
    assert at(lock, 0, on=0)[0] == 1, "a pump that has never been seen running owes no rest"
    assert at(lock, 1000, on=1)[0] == 1
    assert at(lock, 100_999, on=1)[0] == 1
    assert at(lock, 101_000, on=1) == (0, ("pump-max-on",))
    assert at(lock, 102_000, on=0) == (0, ("pump-min-rest",))
    assert at(lock, 161_999, on=0) == (0, ("pump-min-rest",))
    assert at(lock, 162_000, on=0) == (1, ())


def test_pump_no_flow_ten_seconds_after_its_start() -> None:
    lock = guarded(PUMP)
    assert at(lock, 0, on=1, flow_lpm=0)[0] == 1
    assert at(lock, 9_999, on=1, flow_lpm=0)[0] == 1
    assert at(lock, 10_000, on=1, flow_lpm=8.9) == (0, ("pump-no-flow",))
    assert at(lock, 609_999, on=0, flow_lpm=0)[0] == 0
    assert at(lock, 680_000, on=0, flow_lpm=0)[0] == 1
    assert at(guarded(PUMP), 0, on=1)[0] == 1


def test_pump_without_a_flow_reading_counts_as_dry() -> None:
    lock = guarded(PUMP)
    at(lock, 0, on=1, flow_lpm=90)
    assert at(lock, 20_000, on=1) == (0, ("pump-no-flow",))


def test_a_pump_that_has_no_flow_reading_at_all_is_not_taken_for_dry() -> None:
    lock = guarded(PUMP)
    lock.shows_flow = False
    at(lock, 0, on=1)
    assert at(lock, 20_000, on=1) == (1, ())


def test_a_plant_in_batches_fills_and_flushes_without_being_taken_for_dry() -> None:
    lock = guarded(replace(PUMP, ratings={**PUMP.ratings, "batch": 1.0}))
    at(lock, 0, on=1, flow_lpm=0)
    assert at(lock, 900_000, on=1, flow_lpm=0) == (1, ())


def test_a_stop_that_is_read_half_way_is_no_dry_run() -> None:
    lock = guarded(PUMP)
    at(lock, 0, on=1, flow_lpm=90)
    assert at(lock, 60_000, wish=0, on=1, flow_lpm=0) == (0, ())
    assert lock.locked_until == 0


def test_genset_cools_down_before_it_may_start_again() -> None:
    lock = guarded(GENSET)
    assert at(lock, 0, -12_000, running=1)[0] == -12_000
    assert at(lock, 1000, 0, running=0)[0] == 0
    assert at(lock, 2000, -12_000, running=0) == (0, ("genset-cooldown",))
    assert at(lock, 61_000, -12_000, running=0)[0] == -12_000


@given(
    st.sampled_from([BATTERY, PV, PUMP, GENSET, CHARGER]),
    st.lists(
        st.tuples(
            st.integers(0, 200_000),
            st.floats(-100_000, 100_000),
            st.dictionaries(
                st.sampled_from(["soc", "on", "level", "flow_lpm", "running", "fuel", "connected"]),
                st.floats(-0.2, 1.2),
            ),
        ),
        max_size=20,
    ),
)
def test_an_interlock_never_widens(spec: DeviceSpec, history: list[tuple[int, float, dict[str, float]]]) -> None:
    """The result lies within the ratings, on the wish's side of 0, and no further from 0 than the wish."""
    lock, elapsed = guarded(spec), 0
    for wait, wish, seen in history:
        elapsed += wait
        value = lock.narrow(wish, Seen(**seen), elapsed).value
        assert lock.band[0] <= value <= lock.band[1]
        assert abs(value) <= abs(wish)
        assert value * wish >= 0
