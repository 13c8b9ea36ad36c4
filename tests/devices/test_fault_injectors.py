"""Faults of the wire and of devices that no other test injects: a jam, every sentinel, a day played again, a flood.

The rows are those of the failure catalogue; `test_fault_catalogue.py` has the whole table.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt import MQTTException

from devices.clock import Instant
from devices.events import Incoming, Tick
from devices.flood import BURST, FREE, RATE, FairShare, source_of
from devices.gateway import step
from devices.model import BusFault
from devices.shell.mqtt import CONNECTION_ENDS, _Client
from devices.sunspec import NUMBERS, SCALES, ModelAt, ModelDef, PointDef, model, point_reader
from devices.sunspec_driver import SunspecDriver
from devices.sunspec_points import SUNSPEC_POINTS
from tests.devices.gateway_bench import ALL, BATTERY, CHARGER, PUMP, TANK, Bench

# -- 15: bus jam ---------------------------------------------------------------------------------------------------


def test_a_jammed_bus_leaves_no_value_within_two_polls_and_every_device_comes_back() -> None:
    bench = Bench()
    bench.run(2000)
    bench.setpoint("charger-1", 7000, valid_ms=600_000)
    bench.run(5000)
    assert bench.devices["charger-1"].values["setpoint"] == 7000
    for device in bench.devices.values():
        device.fault = BusFault.GARBLED
    bench.run(2000)
    for unit in bench.gateway.units.values():
        assert set(unit.values) == {None}, unit.spec.id
    bench.run(60_000)
    born = {spec.id: bench.kinds(spec.id).count("DBIRTH") for spec in ALL}
    for device in bench.devices.values():
        device.fault = None
    bench.devices["charger-1"].values["setpoint"] = 0  # its keep-alive ran out: it fell back by itself
    bench.run(130_000)
    assert all(bench.kinds(spec.id).count("DBIRTH") == born[spec.id] + 1 for spec in ALL)
    assert bench.devices["charger-1"].values["setpoint"] == 7000, "the lease still stands: told again"


# -- 17: what stands for no number ---------------------------------------------------------------------------------

TYPED = {name: kind for name, kind in NUMBERS.items() if kind[1] is not None or kind[0].real}


@pytest.mark.parametrize("name", TYPED)
@given(st.integers(-10, 10), st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_every_sunspec_type_has_its_sentinel_and_a_scale_that_is_none_spoils_the_number(
    name: str, exponent: int, dice: random.Random
) -> None:
    kind, absent = TYPED[name]
    point = PointDef("P", name, 0, kind.size, "SF")
    scale = PointDef("SF", "sunssf", kind.size, 1, None)
    reads: list[Callable[[Any], float | None]] = [point_reader(point, scale, 0)]
    sentinels = [absent] if absent is not None else [0x7FC00000, 0xFFC00001, 0x7F800000, 0xFF800000]
    if kind.real and kind.size == 4:
        sentinels = [raw << 32 for raw in (0x7FF80000, 0xFFF80000, 0x7FF00000, 0xFFF00000)]
    for raw in sentinels:
        words = [(raw >> 16 * i) & 0xFFFF for i in range(kind.size - 1, -1, -1)]
        assert [read([*words, exponent & 0xFFFF]) for read in reads] == [None]
    plain = [0] * (kind.size - 1) + [7]
    for broken in (0x8000, 11, 0xFFF5, dice.randrange(11, 0xFFF6)):
        assert broken not in SCALES
        assert reads[0]([*plain, broken]) is None
    value = reads[0]([*plain, exponent & 0xFFFF])
    assert value is not None
    assert math.isfinite(value)


def test_every_point_of_every_kind_is_bad_at_its_sentinel_alone() -> None:
    for kind, points in SUNSPEC_POINTS.items():
        models: list[ModelDef] = [model(m) for m in dict.fromkeys(point.model for point in points)]
        chain = [ModelAt(one.id, 40_000 + 300 * i, one.size - 2) for i, one in enumerate(models)]
        driver = SunspecDriver(kind, chain)
        for block, one in zip(driver.blocks, models, strict=True):
            start = next(entry.address for entry in chain if entry.id == one.id)
            for name in block.points:
                mapping = next(point for point in points if point.point == name)
                definition = one.points[mapping.name]
                registers = [0] * block.count
                if mapping.enable:
                    registers[start + one.points[mapping.enable].offset - block.address] = 1
                assert block.decode(registers)[block.points.index(name)] is not None
                at = start + definition.offset - block.address
                absent = NUMBERS[definition.type][1] or 0
                for i in range(definition.size):
                    registers[at + i] = (absent >> 16 * (definition.size - 1 - i)) & 0xFFFF
                found = block.decode(registers)[block.points.index(name)]
                assert found is None or definition.type.startswith("acc"), (kind, name)


# -- 27: replay ----------------------------------------------------------------------------------------------------


def test_a_recorded_day_played_again_moves_nothing() -> None:
    """Whoever records the broker can say every word of the hub again, later, in order or shuffled, after a restart."""
    bench = Bench((BATTERY, CHARGER, PUMP, TANK), poll_ms=30_000)
    recorded: list[Incoming] = []
    real = bench.step

    def recording(event: Any) -> None:
        if isinstance(event, Incoming):
            recorded.append(event)
        real(event)

    bench.step = recording  # type: ignore[method-assign]
    for minute in range(0, 24 * 60, 10):
        bench.setpoint("battery-1", 100 * (minute % 70), valid_ms=700_000)
        bench.setpoint("charger-1", 50 * (minute % 50), valid_ms=700_000)
        bench.setpoint("pump-1", minute // 20 % 2, valid_ms=700_000)
        bench.run(600_000, 300_000)
    bench.step = real  # type: ignore[method-assign]
    assert len(recorded) == 3 * 144
    bench.run(900_000)  # every lease is over: all stand at their fallback
    for restart in (False, True):
        if restart:
            bench.restart()
            bench.run(70_000)
        told = {name: list(device.writes) for name, device in bench.devices.items()}
        for message in (*recorded, *random.Random(7).sample(recorded, len(recorded))):
            real(message)
        bench.run(60_000)
        assert {name: device.writes for name, device in bench.devices.items()} == told or restart
        for output in bench.gateway.leases.outputs.values():
            assert output.until is None, "no lease was taken"
    assert bench.gateway.counters["setpoints_refused"] == 2 * len(recorded)


# -- 28: a flood ---------------------------------------------------------------------------------------------------


def test_sources_are_nodes_vehicles_and_devices() -> None:
    assert source_of("spBv1.0/village/DDATA/gw-1/home-01") == source_of("spBv1.0/village/NBIRTH/gw-1") == "village/gw-1"
    assert source_of("tele/plug/SENSOR") == "tele/plug/SENSOR"
    assert source_of("uagv/v2/maker/r1/state") == "uagv/v2/maker"
    assert source_of("") == ""


@given(st.integers(1, 40), st.integers(3_000, 6_000))
@settings(max_examples=8)
def test_whoever_floods_loses_and_the_others_lose_nothing(others: int, flood: int) -> None:
    share, heard = FairShare(), 0
    for second in range(8):
        batch = [Incoming("spBv1.0/v/DDATA/loud/x", b"")] * flood
        batch += [Incoming(f"spBv1.0/v/DDATA/gw-{i}/x", b"") for i in range(others) for _ in range(10)]
        random.Random(second).shuffle(batch)
        passed = [*share.admit(batch[: flood // 2], float(second)), *share.admit(batch[flood // 2 :], second + 0.5)]
        heard += sum("loud" not in message.topic for message in passed)
    assert heard == 8 * others * 10
    assert share.dropped >= 8 * flood - BURST - 8 * RATE - FREE


def test_a_village_that_talks_as_usual_is_not_counted() -> None:
    share = FairShare()
    batch = [Incoming(f"spBv1.0/v/DDATA/gw-1/d{i}", b"") for i in range(FREE // 4)]
    assert share.admit(batch, 10.0) is batch
    assert not share.tokens


# -- 31: nothing that comes in ends the link's thread ----------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=8))
def test_no_packet_raises_more_than_the_end_of_its_connection(packets: list[tuple[int, bytes]]) -> None:
    heard: list[Incoming] = []
    client = _Client("fuzz", heard.extend)
    for command, body in packets:
        try:
            client._packets(bytes([command, len(body)]) + body)
        except CONNECTION_ENDS:
            return  # the link's loop catches these, and connects anew
    assert set(CONNECTION_ENDS) >= {OSError, ValueError, LookupError, struct.error, MQTTException}


def test_a_core_outlives_what_its_own_messages_say_about_it() -> None:
    bench = Bench()
    for payload in (b"", b"\xff" * 50, b"{" * 60_000, bytes(200_000)):
        for topic in ("spBv1.0/village/DCMD/gw-1/pump-1", "spBv1.0/STATE/atoll", "x", "spBv1.0/village/NCMD/gw-1"):
            step(bench.gateway, Incoming(topic, payload), bench.now)
    step(bench.gateway, Tick(), Instant(bench.now + 1000))
    assert bench.gateway.units
