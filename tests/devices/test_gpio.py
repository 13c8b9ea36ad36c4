"""Pins as a device: pulses into volume and flow, what is not plausible, and the registers both sides agree on."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.drivers import Unwritable
from devices.gpio import FAST, LEAK, LEAK_MS, LOW_FLOW, LOW_MS, PAUSE_MS, REVERSE, STILL_MS, GpioDriver, PulseMeter
from devices.model import DeviceId, DeviceKind, DeviceSpec, PinSpec

FLOW = PinSpec("flow_lpm", 27, "flow", ml_per_pulse=10.0, flow_lpm_max=60.0)  # 100 pulses a second at most
VOLUME = dataclasses.replace(FLOW, point="volume_ml", use="counter")
METER = DeviceSpec(DeviceId("f-1"), DeviceKind.FLOW_METER, "gpio:header", "gw-1", "gpio:header", pins=(FLOW, VOLUME))


def run(meter: PulseMeter, start: int, end: int, every: int) -> None:
    for at in range(start, end, every):
        meter.pulse(at)


def test_steady_pulses_are_a_volume_and_a_flow_that_fades() -> None:
    meter = PulseMeter(FLOW)
    run(meter, 0, 10_000, 100)  # 10 pulses a second of 10 mL: 6 L/min
    assert meter.count == 100
    assert meter.flow_lpm(10_000) == pytest.approx(6.0)
    assert meter.flow_lpm(20_000) == pytest.approx(0.06, rel=0.02), "no more than one pulse in 10 s"
    assert meter.flow_lpm(10_000 + STILL_MS + 1) == 0


def test_pulses_faster_than_any_flow_are_noise() -> None:
    meter = PulseMeter(FLOW)
    assert meter.pulse(0)
    assert not meter.pulse(2)
    assert meter.pulse(10)
    assert (meter.count, meter.noise) == (2, 1)
    assert meter.flags(20) & FAST
    assert not meter.flags(2 + STILL_MS) & FAST


def test_water_that_never_rests_is_a_leak_and_a_pause_ends_it() -> None:
    meter = PulseMeter(FLOW)
    run(meter, 0, LEAK_MS + 60_000, 30_000)
    assert meter.flags(LEAK_MS + 60_000) & LEAK
    assert not meter.flags(LEAK_MS + 60_000 + PAUSE_MS) & LEAK
    meter.pulse(LEAK_MS + 120_000 + PAUSE_MS)
    assert not meter.flags(LEAK_MS + 121_000 + PAUSE_MS) & LEAK


def test_a_trickle_for_long_is_a_low_flow() -> None:
    meter = PulseMeter(FLOW)
    found = 0
    for at in range(0, LOW_MS + 120_000, 1000):
        if at % 10_000 == 0:
            meter.pulse(at)  # 0.06 L/min of 60
        found = meter.flags(at)
    assert found & LOW_FLOW
    run(meter, LOW_MS + 120_000, LOW_MS + 130_000, 50)
    assert not meter.flags(LOW_MS + 130_000) & LOW_FLOW


def test_backward_pulses_are_counted_apart_and_told() -> None:
    meter = PulseMeter(FLOW)
    meter.pulse(0)
    meter.pulse(1000, forward=False)
    assert (meter.count, meter.backward) == (1, 1)
    assert meter.flags(2000) & REVERSE


def test_water_that_runs_back_is_a_negative_flow_and_no_volume() -> None:
    meter, driver = PulseMeter(FLOW), GpioDriver(METER)
    for at in range(0, 10_000, 100):
        meter.pulse(at, forward=False)
    values = dict(zip(driver.blocks[0].points, driver.blocks[0].decode(meter.words(10_000)), strict=True))
    assert values["flow_lpm"] == pytest.approx(-6.0)
    assert (values["volume_ml"], values["reverse"], values["leak"]) == (0, 1.0, 0.0)
    assert meter.flow_lpm(20_000) == pytest.approx(-0.06, rel=0.02), "no more than one pulse in 10 s"


def test_each_channel_of_water_meters_shows_its_own_flags() -> None:
    names = ("home-01.water", "home-02.water")
    pins = tuple(PinSpec(f"{name}_ml", 22 + i, "counter", ml_per_pulse=1000.0) for i, name in enumerate(names))
    spec = DeviceSpec(DeviceId("w"), DeviceKind.WATER_METERS, "gpio:header", "g", "gpio:header", pins=pins)
    points = [block.points for block in GpioDriver(spec).blocks]
    assert points == [(f"{n}_ml", f"{n}_leak", f"{n}_low_flow", f"{n}_reverse", f"{n}_too_fast") for n in names]


@given(st.lists(st.tuples(st.integers(0, 100_000), st.booleans()), max_size=60), st.integers(0, (1 << 63) - 100))
def test_the_count_never_falls_and_registers_always_read(pulses: list[tuple[int, bool]], before: int) -> None:
    meter, at, last = PulseMeter(VOLUME, before), 0, before
    driver = GpioDriver(METER)
    for wait, forward in pulses:
        at += wait
        meter.pulse(at, forward)
        assert meter.count >= last
        last = meter.count
        block = driver.blocks[0]
        values = dict(zip(block.points, block.decode(meter.words(at)), strict=True))
        assert values["volume_ml"] == round(meter.count * 10.0)
        assert values["flow_lpm"] is not None
        assert math.isfinite(values["flow_lpm"])
        assert values["reverse"] in (0.0, 1.0)


def test_a_pump_on_pins_reads_and_writes_its_relay_only() -> None:
    pins = (PinSpec("on", 17, "relay"), FLOW)
    driver = GpioDriver(DeviceSpec(DeviceId("p"), DeviceKind.PUMP, "gpio:header", "gw-1", "gpio:header", pins=pins))
    assert [(b.function, b.address, b.count, b.points) for b in driver.blocks] == [
        (1, 17, 1, ("on",)),
        (4, 1270, 7, ("flow_lpm",)),
    ]
    assert [(w.function, w.address, w.values) for w in driver.writes("on", 1, 0, 0, [])] == [(5, 17, (1,))]
    for point, value in (("flow_lpm", 1), ("on", 0.5), ("nothing", 1)):
        with pytest.raises(Unwritable):
            driver.writes(point, value, 0, 0, [])
    assert (driver.reverts, driver.rollover("flow_lpm", []), driver.keep_alive_ms("on")) == (False, 0, 0)
    with pytest.raises(ValueError, match="needs"):
        GpioDriver(dataclasses.replace(METER, pins=()))
