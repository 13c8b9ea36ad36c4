"""Sparkplug payloads and topics: round trips, limits, junk."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import Instant
from devices.model import Quality
from devices.sparkplug_b_pb2 import Payload as PayloadPb
from devices.sparkplug_codec import (
    BYTES_MAX,
    METRICS_MAX,
    DataType,
    HostState,
    Metric,
    Payload,
    RemoteProtocolError,
    TooLarge,
    Topic,
    decode,
    decode_state,
    encode,
    encode_state,
    parse,
    parse_topic,
)

T = Instant(1_780_000_000_000)
FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
VALUES = {
    DataType.INT8: st.integers(-128, 127),
    DataType.INT16: st.integers(-(2**15), 2**15 - 1),
    DataType.INT32: st.integers(-(2**31), 2**31 - 1),
    DataType.INT64: st.integers(-(2**63), 2**63 - 1),
    DataType.UINT32: st.integers(0, 2**32 - 1),
    DataType.UINT64: st.integers(0, 2**64 - 1),
    DataType.DATETIME: st.integers(0, 2**42),
    DataType.FLOAT: FLOAT32,
    DataType.DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    DataType.BOOLEAN: st.booleans(),
    DataType.STRING: st.text(max_size=20),
    DataType.BYTES: st.binary(max_size=40),
}
INSTANTS = st.integers(0, 2**42 - 1).map(Instant)


def usable(payload: bytes) -> bool:
    """Returns whether bytes are refused, or give metrics whose texts are text and whose numbers are numbers."""
    try:
        metrics = decode(payload).metrics
    except RemoteProtocolError:
        return True
    numbers = [metric.value for metric in metrics if isinstance(metric.value, float)]
    return all(math.isfinite(number) for number in numbers) and all(isinstance(metric.name, str) for metric in metrics)


@st.composite
def metrics(draw):
    datatype = draw(st.sampled_from(sorted(VALUES)))
    value = draw(st.none() | VALUES[datatype])
    return Metric(
        name=draw(st.text(max_size=30)),
        datatype=datatype,
        value=value,
        alias=draw(st.none() | st.integers(0, 2**64 - 1)),
        timestamp=draw(st.none() | INSTANTS),
        quality=draw(st.none() | st.sampled_from(Quality)),
        historical=draw(st.booleans()),
    )


@given(
    st.builds(
        Payload, st.none() | INSTANTS, st.lists(metrics(), max_size=5).map(tuple), st.none() | st.integers(0, 255)
    )
)
def test_decode_of_encode_is_the_payload(payload):
    assert decode(encode(payload)) == payload


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_the_peers_fault(payload):
    assert usable(payload)


@given(
    st.builds(Payload, INSTANTS, st.lists(metrics(), min_size=1, max_size=3).map(tuple), st.integers(0, 255)), st.data()
)
def test_a_damaged_payload_decodes_or_is_the_peers_fault(payload, data):
    raw = bytearray(encode(payload))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    assert usable(bytes(raw))


def test_more_bytes_than_the_limit_are_never_parsed():
    with pytest.raises(TooLarge, match="bytes"):
        parse(b"\x2a" + b"x" * BYTES_MAX)


def test_more_metrics_than_the_limit_are_never_built():
    at_limit = PayloadPb(timestamp=T, seq=1)
    for _ in range(METRICS_MAX):
        at_limit.metrics.add(alias=300, double_value=1.5)
    assert len(parse(at_limit.SerializeToString()).metrics) == METRICS_MAX
    at_limit.metrics.add()
    with pytest.raises(TooLarge, match="metrics"):
        parse(at_limit.SerializeToString())
    with pytest.raises(TooLarge, match="metrics"):
        parse(b"\x12\x00" * 100_000)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_bad_and_has_no_value(number):
    pb = PayloadPb()
    pb.metrics.add(name="W", datatype=DataType.DOUBLE, double_value=number)
    (metric,) = decode(pb.SerializeToString()).metrics
    assert (metric.value, metric.quality) == (None, Quality.BAD)


def test_a_value_in_the_wrong_member_is_bad():
    pb = PayloadPb()
    pb.metrics.add(name="W", datatype=DataType.DOUBLE, string_value="12")
    (metric,) = decode(pb.SerializeToString()).metrics
    assert (metric.value, metric.quality) == (None, Quality.BAD)


def test_types_that_are_not_read_are_left_out_and_unknown_fields_are_skipped():
    pb = PayloadPb(timestamp=T)
    pb.metrics.add(name="table", datatype=DataType.DATASET)
    pb.metrics.add(name="W", datatype=DataType.DOUBLE, double_value=1.0)
    dataset_field = b"\x8a\x01\x02\x08\x01"  # Metric field 17, as Tahu writes a DataSet
    extra = b"\x12" + bytes([len(dataset_field)]) + dataset_field
    assert [metric.name for metric in decode(pb.SerializeToString()).metrics] == ["W"]
    assert decode(pb.SerializeToString() + extra).metrics[0].name == "W"


def test_text_that_is_not_utf8_is_the_peers_fault():
    with pytest.raises(RemoteProtocolError):
        decode(b"\x12\x04\x0a\x02\xff\xfe")


def test_the_wire_is_tahus():
    """A DDATA metric byte for byte: tags and types of the standard's protobuf."""
    metric = Metric("", DataType.DOUBLE, 1.5, alias=7, timestamp=Instant(1))
    assert encode(Payload(Instant(2), (metric,), 3)) == (
        b"\x08\x02"
        + b"\x12\x0f"
        + b"\x10\x07"
        + b"\x18\x01"
        + b"\x20\x0a"
        + b"\x69"
        + struct.pack("<d", 1.5)
        + b"\x18\x03"
    )


@pytest.mark.parametrize(
    "text", ["spBv1.0/g/NBIRTH/n", "spBv1.0/g/DDATA/n/d", "spBv1.0/a b/NDEATH/n.1", "spBv1.0/g/DCMD/n/Home 7"]
)
def test_topics_round_trip(text):
    assert str(parse_topic(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spBv1.0",
        "spAv1.0/g/NDATA/n",
        "spBv1.0/g/NDATA/n/d",
        "spBv1.0/g/DDATA/n",
        "spBv1.0/g/XDATA/n",
        "spBv1.0//NDATA/n",
        "spBv1.0/g/DDATA/n/d/e",
        "spBv1.0/g/DDATA/n/",
        "spBv1.0/g/DDATA/n/" + "x" * 129,
        "spBv1.0/g/DDATA/n/#",
    ],
)
def test_topics_of_another_shape_are_the_peers_fault(text):
    with pytest.raises(RemoteProtocolError):
        parse_topic(text)


@given(st.booleans(), INSTANTS)
def test_state_round_trips(online, at):
    assert decode_state(encode_state(HostState(online, at))) == HostState(online, at)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"online",
        b"[]",
        b'{"online":1,"timestamp":5}',
        b'{"online":true}',
        b'{"online":true,"timestamp":1.5}',
        b'{"online":true,"timestamp":true}',
        b'{"online":true,"timestamp":-1}',
        b'{"online":true,"timestamp":1e3}',
        b" " * 2000,
    ],
)
def test_state_of_another_shape_is_the_peers_fault(payload):
    with pytest.raises(RemoteProtocolError):
        decode_state(payload)


def test_a_topic_names_itself():
    assert str(Topic("village", "NCMD", "gw-1")) == "spBv1.0/village/NCMD/gw-1"
