"""Reading by layout must say exactly what protobuf says, for every message and every damaged one."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.clock import Instant
from devices.model import DeviceId, Quality, Readings
from devices.sparkplug import DataType, DeviceData, EdgeSession, HostEvent, HostSession, Metric
from devices.sparkplug_layout import learn, varint

T = Instant(1_780_000_000_000)
HOME = DeviceId("home-01")
POINTS = ("W", "import_wh", "V")
METRICS = [Metric("W", DataType.DOUBLE), Metric("import_wh", DataType.INT64), Metric("V", DataType.DOUBLE)]
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
REGISTER = st.integers(0, 300) | st.integers(-300, -1) | st.integers(-(2**63), 2**63 - 1)
ROW = st.tuples(st.none() | NUMBER, st.none() | REGISTER, st.none() | NUMBER)


def encoded(number: int) -> bytes:
    """Returns a number as a varint."""
    raw = bytearray()
    while number > 0x7F:
        raw.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*raw, number])


class Pair:
    """Two hosts that hear the same: one learns layouts, the other forgets them at once."""

    def __init__(self) -> None:
        self.edge = EdgeSession("village", "gw-1")
        self.quick, self.plain = HostSession("village"), HostSession("village")
        for message in self.edge.birth(T, {HOME: METRICS}):
            self.hear(message.topic, message.payload, T)

    def hear(self, topic: str, payload: bytes, now: int) -> list[HostEvent]:
        for device in self.plain._routes.values():
            device.layouts.clear()
        quick = self.quick.receive(topic, payload, Instant(now))
        plain = self.plain.receive(topic, payload, Instant(now))
        assert repr(quick) == repr(plain)
        assert self.quick.counters == self.plain.counters
        return quick

    def data(self, row: tuple[float | None, ...], at: int) -> tuple[str, bytes]:
        qualities = tuple(Quality.BAD if value is None else Quality.GOOD for value in row)
        message = self.edge.data(Readings(HOME, Instant(at), POINTS, row, qualities))
        return message.topic, message.payload

    def layouts(self) -> int:
        (device,) = (device for device in self.quick._routes.values() if device.id == HOME)
        return sum(layout is not None for layout in device.layouts.values())


@given(st.lists(ROW, min_size=2, max_size=30), st.integers(0, 2**41) | st.integers(2**36, 2**42 - 100))
@settings(max_examples=150)
def test_every_message_reads_the_same_with_and_without_layouts(rows, start):
    pair = Pair()
    for step, row in enumerate(rows):
        (event,) = pair.hear(*pair.data(row, start + step), start + step)
        assert isinstance(event, DeviceData)
        assert event.readings.values == row


@given(st.lists(st.tuples(NUMBER, st.integers(0, 10**6), NUMBER), min_size=3, max_size=6), st.data())
@settings(max_examples=150)
def test_every_damaged_message_reads_the_same_with_and_without_layouts(rows, data):
    pair = Pair()
    for step, row in enumerate(rows):
        topic, payload = pair.data(row, T + step)
        raw = bytearray(payload)
        if step >= 2:
            for _ in range(data.draw(st.integers(1, 3))):
                raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        pair.hear(topic, bytes(raw), T + step)
    assert pair.quick.next_deadline() == pair.plain.next_deadline()


@given(st.binary(min_size=6, max_size=6) | st.integers(2**36, 2**43).map(encoded))
def test_any_time_stamp_reads_the_same_with_and_without_layouts(stamp):
    pair = Pair()
    heard = 0
    for step in range(3):
        topic, payload = pair.data((1.0, 2, 3.0), T + step)
        heard += len(pair.hear(topic, payload if step < 2 else payload.replace(encoded(T + step), stamp), 2**42))
    assert heard >= 2


def test_a_layout_is_used_from_the_second_message_on():
    pair = Pair()
    for step in range(300):
        pair.hear(*pair.data((float(step), 4_000 + step, 230.0), T + step), T + step)
    assert pair.layouts() == 2, "seq below and above 127"


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_bad_in_a_learnt_layout_too(junk):
    pair = Pair()
    for step in range(2):
        topic, payload = pair.data((1.25, 7, 230.0), T + step)
        pair.hear(topic, payload, T + step)
    topic, payload = pair.data((1.25, 7, 230.0), T + 2)
    damaged = payload.replace(double(1.25), double(junk))
    assert damaged != payload
    (event,) = pair.hear(topic, damaged, T + 2)
    assert isinstance(event, DeviceData)
    assert event.readings.qualities == (Quality.BAD, Quality.GOOD, Quality.GOOD)


def double(value: float) -> bytes:
    return struct.pack("<d", value)


def test_a_new_birth_forgets_the_layouts_of_the_old():
    pair = Pair()
    for step in range(3):
        pair.hear(*pair.data((1.0, 2, 3.0), T + step), T + step)
    swapped = [Metric("V", DataType.DOUBLE), Metric("import_wh", DataType.INT64), Metric("W", DataType.DOUBLE)]
    other = EdgeSession("village", "gw-1")
    for message in other.birth(T, {HOME: swapped}):
        pair.hear(message.topic, message.payload, T + 10)
    row = Readings(HOME, Instant(T + 11), ("V", "import_wh", "W"), (3.0, 2, 1.0), (Quality.GOOD,) * 3)
    message = other.data(row)
    (event,) = pair.hear(message.topic, message.payload, T + 11)
    assert event == DeviceData("gw-1", row)


@given(st.binary(max_size=120), st.integers(0, 4))
def test_any_bytes_are_learnt_or_not(payload, points):
    layout = learn(payload, tuple(f"p{index}" for index in range(points)))
    assert layout is None or layout.points


@given(st.integers(0, 2**64 - 1))
def test_varints_read_back(number):
    raw = encoded(number)
    assert varint(raw) == number
    assert varint(raw + b"\x01") is None
    assert varint(bytes([*raw[:-1], raw[-1] | 0x80])) is None
