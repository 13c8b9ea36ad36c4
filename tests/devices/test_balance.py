"""Meters of a feeder against each other, and clocks of devices against ours: faults are injected and must be named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.balance import judge_balance
from devices.model import DeviceKind
from devices.plausible import PointVerdict, Sample, Verdict, judge

TRUE = {"grid-1": -6_000.0, "pv-1": -4_000.0, "home-1": 2_500.0, "home-2": 900.0, "pump-1": 6_600.0}


def heard(
    powers: dict[str, float], counted: dict[str, float] | None = None, minutes: int = 30
) -> dict[str, list[Sample]]:
    """Two polls of each device, half an hour apart; registers follow `counted` [W], or the powers."""
    found: dict[str, list[Sample]] = {}
    for device, power in powers.items():
        flow = (counted or powers)[device] * minutes / 60
        end = {"W": power, "import_wh": 500 + max(flow, 0), "export_wh": 700 + max(-flow, 0)}
        found[device] = [
            Sample(0, {"W": power, "import_wh": 500, "export_wh": 700}),
            Sample(minutes * 60_000, end),
        ]
    return found


def states(verdicts: list[PointVerdict]) -> list[tuple[str, Verdict]]:
    return [(verdict.point, verdict.state) for verdict in verdicts]


def test_meters_that_add_up_pass_with_the_losses_that_wires_have() -> None:
    assert states(judge_balance("grid-1", heard(TRUE))) == [("W", Verdict.OK), ("energy", Verdict.OK)]
    lossy = TRUE | {"grid-1": -6_250.0}
    (power, _) = judge_balance("grid-1", heard(lossy))
    assert power.state is Verdict.OK
    assert power.said == "grid-1 6250 W, the 4 others together 6000 W: off by 250 W, 2%"


@given(st.sampled_from(sorted(set(TRUE) - {"home-2"})), st.sampled_from([-1.0, 0.1, 10.0]))
def test_one_turned_or_tenfold_meter_is_named(device: str, fault: float) -> None:
    for powers, counted in (
        (TRUE | {device: TRUE[device] * fault}, TRUE),
        (TRUE, TRUE | {device: TRUE[device] * fault}),
    ):
        bad = [v for v in judge_balance("grid-1", heard(powers, counted)) if v.state is Verdict.BAD]
        assert len(bad) == 1
        assert f"{device} were {'turned round' if fault < 0 else f'{1 / fault:g} times as much'}" in bad[0].said


def test_what_no_single_fault_explains_is_said_so() -> None:
    (power, _) = judge_balance("grid-1", heard(TRUE | {"grid-1": -8_000.0}))
    assert power.state is Verdict.BAD
    assert "a load without a meter?" in power.said


def test_too_little_counted_or_no_feeder_is_no_pass() -> None:
    assert judge_balance("grid-1", heard(TRUE, minutes=1))[1].said.startswith("too little was counted")
    rest = {device: samples for device, samples in heard(TRUE).items() if device != "grid-1"}
    assert states(judge_balance("grid-1", rest)) == [("W", Verdict.BAD)]


WALL = 1_780_000_000_000


def clock(*readings: tuple[float, float | None]) -> PointVerdict:
    """(seconds of the watch, what the clock is off) -> verdict."""
    samples = [
        Sample(round(at * 1000), {"clock_s": None if off is None else WALL / 1000 + at + off}, WALL + round(at * 1000))
        for at, off in readings
    ]
    (found,) = judge(DeviceKind.GENSET, samples)
    return found


@pytest.mark.parametrize(
    ("readings", "state", "said"),
    [
        (((0, 0.4), (2, 0.4)), Verdict.OK, "0 s ahead of"),
        (((0, -20), (2, -20)), Verdict.WARN, "20 s behind"),
        (((0, 90), (2, 90)), Verdict.BAD, "90 s ahead of this machine's clock"),
        (((0, 46_801), (2, 46_801)), Verdict.BAD, "local time instead of UTC?"),
        (((0, 0), (1200, 1)), Verdict.OK, "no drift seen in 20 min"),
        (((0, 0), (14_400, 2)), Verdict.OK, "+139 ppm, 12.0 s a day"),
        (((0, 0), (1200, -2)), Verdict.BAD, "-1667 ppm"),
        (((0, None), (1, None)), Verdict.BAD, "shows no time"),
        (tuple((i, -i) for i in range(0, 12, 2)), Verdict.BAD, "stands still"),
    ],
)
def test_a_device_s_clock_is_judged_by_offset_and_drift(
    readings: tuple[tuple[float, float | None], ...], state: Verdict, said: str
) -> None:
    found = clock(*readings)
    assert (found.point, found.state) == ("clock_s", state)
    assert said in found.said


def test_without_a_clock_nothing_is_said_of_one() -> None:
    assert judge(DeviceKind.METER, [Sample(0, {"hz": 50.0}, WALL)])[0].point == "hz"
