"""What a device says against what is known: wrong maps, stuck sensors, spikes, counters, energy against power."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from devices.commissioning import (
    NoValue,
    State,
    check_nominal,
    check_point,
    check_stop,
    from_verdicts,
    known_value,
    passed,
    settle_zeros,
    wanted,
)
from devices.model import BusFault, DeviceId, DeviceKind, DeviceSpec
from devices.plausible import PointVerdict, Sample, Verdict, judge
from devices.profile import Profile, encode_point, load_profile, profile_names
from firmware_sim.products import Product

METER = DeviceKind.METER


def states(*samples: Mapping[str, float | None], every_ms: int = 1000) -> dict[str, Verdict]:
    found = judge(METER, [Sample(i * every_ms, values) for i, values in enumerate(samples)])
    order = [Verdict.OK, Verdict.WARN, Verdict.BAD]
    worst: dict[str, Verdict] = {}
    for verdict in found:
        worst[verdict.point] = max(worst.get(verdict.point, Verdict.OK), verdict.state, key=order.index)
    return worst


@pytest.mark.parametrize("name", profile_names())
def test_a_wrong_word_order_scale_or_sign_is_caught_at_every_point_of_every_profile(name: str) -> None:
    profile = load_profile(name)
    spec = DeviceSpec(DeviceId("d"), METER, f"profile:{name}", "gw")
    product = Product(profile)
    points = {point.name: point for point in profile.points}
    for point_name in wanted(spec, dict.fromkeys(points)):
        point = points[point_name]
        answer = product.read(point.function, point.address, point.size)
        assert not isinstance(answer, BusFault)
        registers = tuple(int(word) for word in answer)
        known = _shown(profile, point_name, registers)
        if not known:
            continue
        assert check_point(point_name, known, known, profile, registers).state is State.PASSED
        for factor in (0.001, 0.1, 10.0, 1000.0):
            found = check_point(point_name, known, known * factor, profile, registers)
            assert found.state is State.FAILED, (point_name, factor)
        assert check_point(point_name, known, -known, profile, registers).state is State.FAILED
        swapped = registers[::-1]
        if point.type.size > 1 and point.sum == 1 and swapped != registers:
            assert check_point(point_name, None, known, profile, swapped).state is State.FAILED, point_name


def _shown(profile: Profile, name: str, registers: tuple[int, ...]) -> float | None:
    found = check_point(name, None, 1e-12, profile, registers)
    return found.read if found.read is not None else None


def test_without_a_map_the_number_itself_is_compared() -> None:
    said = {known: check_point("W", 1150.0, known, None, None) for known in (1150.0, -1150.0, 11_500.0, 77.0)}
    assert [check.state for check in said.values()] == [State.PASSED, State.FAILED, State.FAILED, State.FAILED]
    assert "sign" in said[-1150.0].said
    assert "multiply it by 10" in said[11_500.0].said
    assert check_point("W", None, 5.0, None, None).state is State.FAILED


def test_a_zero_proves_nothing_unless_its_twin_proved_the_scale() -> None:
    profile = load_profile("eastron_sdm630")
    zero = check_point("export_wh", 0.0, 0.0, None, None)
    assert zero.state is State.OPEN
    twin = check_point("import_wh", 9.0, 9.0, None, None)
    assert [c.state for c in settle_zeros([zero, twin], profile)] == [State.PASSED, State.PASSED]
    point = next(p for p in profile.points if p.name == "export_wh")
    other = replace(profile, points=tuple(replace(p, scale=1.0) if p is point else p for p in profile.points))
    assert settle_zeros([zero, twin], other)[0].state is State.OPEN
    assert settle_zeros([zero], None)[0].state is State.OPEN


def test_nothing_open_and_nothing_failed_is_a_pass() -> None:
    assert not passed([])
    assert not passed(check_stop(DeviceKind.RELAY, ""))
    assert passed(check_stop(DeviceKind.RELAY, "works"))
    assert check_stop(METER, "") == []
    assert [c.state for c in check_nominal({"V": 23.0, "hz": 50.0})] == [State.FAILED, State.PASSED]
    assert from_verdicts([PointVerdict("V", Verdict.WARN, 1.0), PointVerdict("V", Verdict.OK, 1.0)]) == []


@pytest.mark.parametrize(
    ("point", "text", "value"),
    [
        ("import_wh", "123.4kWh", 123_400.0),
        ("import_wh", "1,5 mwh", None),
        ("import_wh", "1.5MWh", 1_500_000.0),
        ("W", "-4.2kW", -4200.0),
        ("soc", "55 %", 0.55),
        ("home.water_ml", "3.25m3", 3_250_000.0),
        ("hz", "50hz", 50.0),
        ("V", "230", 230.0),
        ("V", "230A", None),
        ("V", "much", None),
        ("W", "NaN", None),
    ],
)
def test_a_display_s_value_with_its_unit(point: str, text: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(NoValue):
            known_value(point, text)
    else:
        assert known_value(point, text) == pytest.approx(value)


def test_a_stuck_sensor_a_spike_and_a_dead_one_are_told() -> None:
    moving: list[Any] = [{"V": 230.0 + i, "W": 1000.0 + i} for i in range(6)]
    assert set(states(*moving).values()) == {Verdict.OK}
    still: list[Any] = [{"W": 1000.0}] * 6
    assert states(*still)["W"] is Verdict.WARN
    assert states({"W": 100.0}, {"W": 90_000.0}, {"W": 101.0})["W"] is Verdict.WARN
    assert states({"W": 100.0}, {"W": None})["W"] is Verdict.BAD
    assert states({"W": 100.0}, {"W": float("nan")})["W"] is Verdict.BAD
    assert states({"on2": 0.5})["on2"] is Verdict.BAD


def test_counters_only_go_forward_and_no_faster_than_a_wire_carries() -> None:
    assert states({"import_wh": 5.0}, {"import_wh": 6.0})["import_wh"] is Verdict.OK
    assert states({"import_wh": 6.0}, {"import_wh": 5.0})["import_wh"] is Verdict.BAD
    assert states({"import_wh": 6.0}, {"import_wh": 1e9})["import_wh"] is Verdict.BAD
    assert states({"a_ml": -1.0})["a_ml"] is Verdict.BAD


@pytest.mark.parametrize(
    ("watts", "gained", "lost", "verdict"),
    [
        (3600.0, 60.0, 0.0, Verdict.OK),
        (-3600.0, 0.0, 60.0, Verdict.OK),
        (3600.0, 0.0, 60.0, Verdict.BAD),  # the sign of W
        (36_000.0, 60.0, 0.0, Verdict.BAD),  # W ten times too much
        (360.0, 60.0, 0.0, Verdict.BAD),
        (3600.0, 60_000.0, 0.0, Verdict.BAD),  # the registers a thousand times too much
    ],
)
def test_energy_and_power_of_the_same_minute_agree(watts: float, gained: float, lost: float, verdict: Verdict) -> None:
    first: dict[str, float | None] = {"W": watts, "import_wh": 1000.0, "export_wh": 500.0}
    last: dict[str, float | None] = {"W": watts, "import_wh": 1000.0 + gained, "export_wh": 500.0 + lost}
    found = states(first, last, every_ms=60_000)
    assert found.get("energy", found["W"] if verdict is Verdict.BAD else None) is verdict


def test_power_goes_with_voltage_and_current() -> None:
    assert states({"V": 230.0, "A": 5.0, "W": 1150.0})["W"] is Verdict.OK
    assert states({"V": 230.0, "A": 5.0, "W": 11_500.0})["W"] is Verdict.BAD
    assert states({"V": 230.0, "A": 5.0, "W": 11.5})["W"] is Verdict.BAD


def test_a_sentinel_is_never_a_number_that_passes() -> None:
    profile = load_profile("carlo_gavazzi_em24")
    point = next(p for p in profile.points if p.name == "W")
    registers = encode_point(profile, point, None)
    assert check_point("W", None, 1150.0, profile, registers).state is State.FAILED
