"""SunSpec's curves (705-712) as pysunspec2 writes them, broken ones, and trip settings against a site's limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sunspec2 import device as reference

from devices.commissioning import State, passed
from devices.sunspec import ModelAt, model
from devices.sunspec_curves import CURVES, Curve, curve_text, decode_curve, next_read, trips_after_s
from devices.trip_limits import TripLimit, check_trips

Values = Mapping[str, object]
STORED = json.loads(files("sunspec2").joinpath("tests/test_data/device_1547.json").read_text())["models"]
"""An IEEE 1547 inverter as the SunSpec Alliance describes one in its own tests."""


def curve(
    number: int, points: list[tuple[int, int]], name: str = "V", may: list[tuple[int, int]] | None = None
) -> Values:
    """A trip model of five points a curve, two sets of which the second differs."""

    def part(some: list[tuple[int, int]]) -> Values:
        rows = [{name: level, "Tms": time} for level, time in some]
        return {"ActPt": len(some), "Pt": [*rows, *({name: 1, "Tms": 1} for _ in range(5 - len(some)))]}

    now = {"ReadOnly": 1, "MustTrip": part(points), "MayTrip": part(may or []), "MomCess": part([])}
    other = {"ReadOnly": 0, "MustTrip": part([(1, 1)]), "MayTrip": part([]), "MomCess": part([])}
    scale = {"V_SF": -1} if name == "V" else {"Hz_SF": -2}
    return {"ID": number, "Ena": 1, "NPt": 5, "NCrvSet": 2, **scale, "Tms_SF": -2, "Crv": [now, other]}


UK_LV = curve(707, [(450, 16), (700, 200)])


def image(values: Values) -> tuple[int, ...]:
    """pysunspec2's registers of a model."""
    raw = reference.Model(values["ID"], data=values).get_mb()
    return tuple(int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2))


def read(number: int, registers: tuple[int, ...]) -> Curve:
    at = ModelAt(number, 0, len(registers) - 2)
    got: tuple[int, ...] = ()
    for _ in range(20):
        request = next_read(at, got)
        if request is None:
            return decode_curve(at, got)
        assert request[1] <= 125
        got += registers[request[0] : sum(request)]
    raise AssertionError("reads without end")


def leaves(group: reference.Group) -> list[float]:
    """Every scaled number below a group that pysunspec2 read, active points only."""
    found: list[float] = []
    for name, inner in group.groups.items():
        groups = inner if isinstance(inner, list) else [inner]
        if name == "Pt":
            groups = groups[: group.points["ActPt"].value or 0]
        for one in groups:
            found += [p.cvalue for n, p in one.points.items() if name == "Pt" and p.cvalue is not None]
            found += leaves(one)
    return found


@pytest.mark.parametrize("values", [m for m in STORED if m["ID"] in CURVES], ids=lambda m: str(m["ID"]))
def test_the_alliances_own_device_reads_as_pysunspec2_reads_it(values: Values) -> None:
    registers = image(values)
    ours = read(int(str(values["ID"])), registers)
    theirs = reference.Model(values["ID"], data=b"".join(r.to_bytes(2, "big") for r in registers))
    first = next(iter(theirs.groups.values()))[0]
    assert ours.problem == ""
    assert ours.enabled == (None if values["Ena"] is None else values["Ena"] == 1)
    points = [v for n, v in ours.points.items() if any(c.isdigit() for c in n) and v is not None]
    assert points == pytest.approx(leaves(first))


def test_only_the_set_in_force_and_its_active_points_are_shown() -> None:
    found = read(707, image(UK_LV))
    assert found.values == {
        "trip_lv": 1, "trip_lv_must1_v_pct": 45, "trip_lv_must1_s": 0.16,
        "trip_lv_must2_v_pct": 70, "trip_lv_must2_s": 2,
    }  # fmt: skip
    assert curve_text(found) == "trip_lv on: must1 45 % V 0.16 s, must2 70 % V 2 s"


def test_a_droop_is_read_with_its_scale_factors_as_they_are_now() -> None:
    control = {"DbOf": 36, "DbUf": 36, "KOf": 5, "KUf": 5, "RspTms": 5, "PMin": 0, "ReadOnly": 1}
    values = {"ID": 711, "Ena": 1, "NCtl": 1, "Db_SF": -3, "K_SF": -2, "RspTms_SF": 0, "Ctl": [control]}
    assert read(711, image(values)).points["freq_droop_over_deadband_hz"] == pytest.approx(0.036)
    assert read(711, image({**values, "Db_SF": -2})).points["freq_droop_over_deadband_hz"] == pytest.approx(0.36)
    assert read(711, image({**values, "Db_SF": 99})).points["freq_droop_over_deadband_hz"] is None


def test_a_curve_longer_than_one_read_comes_in_several() -> None:
    values = curve(709, [(4700, 2000), (4750, 9000)], "Hz")
    rows = [{"Hz": 4700 + n, "Tms": 100 * n} for n in range(30)]
    values = {**values, "NPt": 30, "NCrvSet": 1}
    values["Crv"] = [{k: {"ActPt": 30, "Pt": rows} for k in ("MustTrip", "MayTrip", "MomCess")}]
    found = read(709, image(values))
    assert found.problem == ""
    assert found.points["trip_lf_cease30_s"] == 29


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({5: 60000}, "its counts ask for"),
        ({6: 0}, "no set"),
        ({10: 9}, "9 active points of 5"),
        ({2: 7}, ""),  # Ena: neither on nor off
    ],
)
def test_counts_that_cannot_be_are_a_problem_and_no_number(change: dict[int, int], said: str) -> None:
    registers = list(image(UK_LV))
    for index, value in change.items():
        registers[index] = value
    found = read(707, tuple(registers))
    assert said in found.problem
    if not said:
        assert found.enabled is None
        assert found.values["trip_lv"] is None


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(CURVES)), st.lists(st.integers(0, 65535), max_size=200))
def test_noise_never_raises(number: int, noise: list[int]) -> None:
    found = read(number, (number, max(0, len(noise)), *noise))
    assert found.name == CURVES[number]
    curve_text(found)


def test_a_model_cut_short_is_a_problem() -> None:
    assert "fixed part" in decode_curve(ModelAt(707, 0, 7), (707, 7, 1)).problem
    assert model(707).size == 9


# ------------------------------------------------------------------------------------------------ against limits

LIMITS = (
    TripLimit("low", 40, None, 0, 200),  # off within 0.2 s
    TripLimit("low", 60, None, 1500, 2500),
    TripLimit("low", 90, None, 20_000, None),  # must stay
)


def states(limits: tuple[TripLimit, ...], *curves: Curve, shown: str = "") -> list[State]:
    return [check.state for check in check_trips(limits, curves, shown)]


def test_the_time_at_a_level_is_that_of_the_first_step_it_lies_in() -> None:
    found = read(707, image(UK_LV))
    assert [trips_after_s(found, level) for level in (0, 45, 45.1, 70, 70.1)] == [0.16, 0.16, 2, 2, None]
    high = read(708, image(curve(708, [(1100, 1300), (1200, 16)])))
    assert [trips_after_s(high, level) for level in (109, 110, 119, 120, 150)] == [None, 13, 13, 0.16, 0.16]


def test_settings_inside_the_limits_pass_and_each_other_is_named() -> None:
    checks = check_trips(LIMITS, [read(707, image(UK_LV))])
    assert passed(checks)
    assert checks[1].said == "trips after 2 s; allowed: 1.5 s to 2.5 s"
    slow = read(707, image(curve(707, [(450, 16), (700, 500)])))
    assert states(LIMITS, slow) == [State.PASSED, State.FAILED, State.PASSED]
    assert "5 s; allowed: 1.5 s to 2.5 s; too late" in check_trips(LIMITS, [slow])[1].said
    nervous = read(707, image(curve(707, [(450, 16), (700, 200), (920, 200)])))
    assert "too early" in check_trips(LIMITS, [nervous])[2].said


def test_a_may_trip_region_counts_as_too_early() -> None:
    found = read(707, image(curve(707, [(450, 16), (700, 200)], may=[(950, 100)])))
    check = check_trips(LIMITS, [found])[2]
    assert check.state is State.FAILED
    assert "may from 1 s" in check.said


def test_a_curve_that_is_off_never_trips() -> None:
    off = read(707, image({**UK_LV, "Ena": 0}))
    assert states(LIMITS, off) == [State.FAILED, State.FAILED, State.PASSED]


def test_what_the_wire_does_not_show_stays_open_until_somebody_looked() -> None:
    hz = (TripLimit("low", None, 47.0, 0, 200),)
    lv = read(707, image(UK_LV))
    assert states(hz, lv) == [State.OPEN]
    assert states(hz, lv, shown="inside") == [State.PASSED]
    assert states(hz, lv, shown="outside") == [State.FAILED]
    assert states(LIMITS, lv, shown="outside") == [State.PASSED] * 3, "what is read is not overruled"
    lf = read(709, image(curve(709, [(4700, 16)], "Hz")))
    assert states(hz, lf) == [State.PASSED]


def test_a_point_without_a_number_is_no_setting() -> None:
    broken = read(707, image(curve(707, [(0xFFFF, 16)])))
    assert states(LIMITS, broken) == [State.FAILED] * 3
