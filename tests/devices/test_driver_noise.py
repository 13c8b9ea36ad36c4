"""Nothing that is read from a wire, however broken, raises out of a driver, and no number comes out of nonsense."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.bus import BusAnswer, BusRead, BusWritten, WriteRequest
from devices.clock import Instant
from devices.drivers import Unwritable
from devices.events import Incoming, Tick
from devices.gateway import step
from devices.model import WRITABLE, BusFault, DeviceId, DeviceKind
from devices.profile import ProfileDriver, load_profile, profile_names
from devices.registers import Registers
from devices.sunspec import ModelAt, model
from devices.sunspec_driver import SunspecDriver
from devices.sunspec_points import SUNSPEC_CHAINS
from tests.devices.gateway_bench import ALL, Bench

WORDS = st.integers(0, 0xFFFF) | st.sampled_from([0, 0x7FFF, 0x8000, 0xFFFF, 0x7FC0, 0xFF80])
DRIVERS = [ProfileDriver(load_profile(name)) for name in profile_names() if load_profile(name).points]
CHAINS = [
    SunspecDriver(kind, [ModelAt(m, 40002 + 200 * i, model(m).size - 2) for i, m in enumerate(models)])
    for kind, models in SUNSPEC_CHAINS.items()
]


@given(st.sampled_from([*DRIVERS, *CHAINS]), st.data())
def test_any_registers_of_any_length_decode_to_finite_numbers_or_none(
    driver: ProfileDriver | SunspecDriver, data: st.DataObject
) -> None:
    for block in driver.blocks:
        count = data.draw(st.sampled_from([block.count, 0, 1, block.count + 1]))
        registers = data.draw(st.lists(WORDS, min_size=count, max_size=count))
        values = block.decode(registers)
        assert len(values) == len(block.points)
        assert all(value is None or math.isfinite(value) for value in values)
        assert count == block.count or values == [None] * len(block.points)


@given(st.sampled_from(CHAINS), st.floats(allow_nan=False, allow_infinity=False), st.data())
def test_a_write_is_registers_or_unwritable_whatever_the_scale_reads(
    driver: SunspecDriver, value: float, data: st.DataObject
) -> None:
    last: list[Registers | None] = [
        data.draw(st.none() | st.lists(WORDS, min_size=block.count, max_size=block.count)) for block in driver.blocks
    ]
    for point in ("limit", "setpoint", "W"):
        try:
            orders = driver.writes(point, value, 0.0, 30_000, last)
        except Unwritable:
            continue
        assert all(0 <= word <= 0xFFFF for order in orders for word in order.values)


ANSWERS = st.sampled_from(list(BusFault)) | st.lists(WORDS, max_size=130).map(tuple)


@given(st.lists(st.tuples(st.sampled_from(ALL), ANSWERS, st.integers(0, 3_000)), max_size=25), st.binary(max_size=60))
def test_the_whole_gateway_lives_through_any_answers(
    answers: list[tuple[object, tuple[int, ...] | BusFault, int]], payload: bytes
) -> None:
    """Every read is answered with noise, unasked answers come between, and foreign bytes come by MQTT."""
    bench = Bench()
    waiting: list[BusRead] = []
    for spec, answer, wait in answers:
        bench.now = Instant(bench.now + wait)
        effects = step(bench.gateway, Tick(), bench.now)[1]
        waiting += [effect for effect in effects if isinstance(effect, BusRead)]
        if waiting:
            effects = step(bench.gateway, BusAnswer(waiting.pop(0).request, answer), bench.now)[1]
            waiting += [effect for effect in effects if isinstance(effect, BusRead)]
        device = getattr(spec, "id", DeviceId("nobody"))
        stray = WriteRequest(device, "on", "nowhere", 3, 16, 0, (1,))
        step(bench.gateway, BusWritten(stray, answer if isinstance(answer, BusFault) else None), bench.now)
        step(bench.gateway, Incoming(f"spBv1.0/village/DCMD/gw-1/{device}", payload), bench.now)
    for unit in bench.gateway.units.values():
        assert all(value is None or math.isfinite(value) for value in unit.values)
    for device, output in bench.gateway.leases.outputs.items():
        low, high = bench.gateway.guards[device].band
        assert output.written is None or low <= output.written <= high


@pytest.mark.parametrize("kind", [kind for kind in DeviceKind if kind in WRITABLE])
def test_every_writable_kind_has_rules_a_band_and_a_default(kind: DeviceKind) -> None:
    from devices.interlocks import RULES
    from devices.leases import DEFAULTS

    assert kind in RULES
    assert kind in DEFAULTS
