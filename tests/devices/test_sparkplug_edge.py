"""The edge node's side; test names follow the assertions of Sparkplug 3.0.0 (tck-id-...)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import Instant
from devices.model import DeviceId, Message, Quality, Readings, Setpoint
from devices.sparkplug import (
    DataType,
    EdgeSession,
    HostOnline,
    HostSession,
    LocalProtocolError,
    Metric,
    RebirthRequested,
    RecordsAcked,
    Rejected,
    Send,
    SetpointReceived,
)
from devices.sparkplug_codec import RECORDS_ACK, HostState, Payload, decode, encode, encode_state
from devices.sparkplug_edge import REASON_MAX, VALID_MS_MAX

T = Instant(1_780_000_000_000)
HOME = DeviceId("home-01")
BATTERY = DeviceId("battery-1")
METRICS = {
    HOME: [Metric("W", DataType.DOUBLE, 250.0), Metric("import_wh", DataType.INT64)],
    BATTERY: [Metric("soc", DataType.DOUBLE, 0.5), Metric("setpoint/setpoint", DataType.BYTES)],
}


def edge() -> EdgeSession:
    session = EdgeSession("village", "gw-1")
    session.will(T)
    return session


def born() -> EdgeSession:
    session = edge()
    session.birth(T, METRICS)
    return session


def readings(*values: float | None, quality: Quality = Quality.GOOD, historical: bool = False) -> Readings:
    qualities = tuple(Quality.BAD if value is None else quality for value in values)
    return Readings(HOME, Instant(T + 1000), ("W", "import_wh"), values, qualities, historical=historical)


def state(online: bool, at: int) -> Message:
    return Message("spBv1.0/STATE/atoll", encode_state(HostState(online, Instant(at))), 1, True)


def test_birth_publish_will_message_is_an_ndeath_with_qos_1_not_retained():
    will = EdgeSession("village", "gw-1").will(T)
    assert (will.topic, will.qos, will.retain) == ("spBv1.0/village/NDEATH/gw-1", 1, False)


def test_payloads_ndeath_seq_is_absent_and_bdseq_is_int64():
    payload = decode(edge().will(T).payload)
    assert payload.seq is None
    assert [(metric.name, metric.datatype) for metric in payload.metrics] == [("bdSeq", DataType.INT64)]


def test_will_message_payload_bdseq_rises_with_every_connect_and_wraps_after_255():
    session = EdgeSession("village", "gw-1", bd_seq=254)
    assert [decode(session.will(T).payload).metrics[0].value for _ in range(4)] == [254, 255, 0, 1]


def test_nbirth_bdseq_equals_the_wills():
    session = EdgeSession("village", "gw-1", bd_seq=7)
    will = decode(session.will(T).payload)
    birth = decode(session.birth(T, METRICS)[0].payload)
    assert will.metrics[0].value == birth.metrics[0].value == 7


def test_topics_nbirth_seq_num_is_0_qos_0_not_retained():
    nbirth = edge().birth(T, METRICS)[0]
    assert (decode(nbirth.payload).seq, nbirth.qos, nbirth.retain) == (0, 0, False)


def test_payloads_sequence_num_incrementing_over_all_messages_and_wraps_after_255():
    session = edge()
    births = session.birth(T, METRICS)
    assert [decode(message.payload).seq for message in births] == [0, 1, 2, 3]
    seqs = [decode(session.data(readings(1.0, 2)).payload).seq for _ in range(300)]
    assert seqs == [(4 + step) % 256 for step in range(300)]


def test_dbirth_lists_every_metric_with_name_alias_datatype_timestamp_and_value_or_null():
    dbirth = decode(edge().birth(T, METRICS)[1].payload)
    assert [metric.name for metric in dbirth.metrics] == ["W", "import_wh"]
    assert all(metric.alias and metric.timestamp == T for metric in dbirth.metrics)
    assert [metric.value for metric in dbirth.metrics] == [250.0, None]


def test_payloads_alias_uniqueness_across_the_edge_node_and_stable_over_rebirths():
    session = edge()
    first, second = (
        [metric.alias for message in session.birth(T, METRICS)[1:] for metric in decode(message.payload).metrics]
        for _ in range(2)
    )
    assert len(set(first)) == len(first)
    assert first == second


def test_alias_data_cmd_requirement_data_carries_no_names():
    payload = decode(born().data(readings(1.0, 2)).payload)
    assert [metric.name for metric in payload.metrics] == ["", ""]
    assert all(metric.alias and metric.timestamp == T + 1000 for metric in payload.metrics)


def test_data_commands_rebirth_metric_is_false_boolean_and_never_aliased():
    metrics = {metric.name: metric for metric in decode(edge().birth(T, {})[0].payload).metrics}
    rebirth = metrics["Node Control/Rebirth"]
    assert (rebirth.datatype, rebirth.value, rebirth.alias) == (DataType.BOOLEAN, False, None)


def test_data_commands_rebirth_value_true_asks_for_a_rebirth_with_the_same_bdseq():
    session, host = born(), HostSession("village")
    before = session.bd_seq
    (send,) = host.receive("spBv1.0/village/NDATA/gw-1", encode(Payload(T, (), 9)), T)
    assert isinstance(send, Send)
    assert session.receive(send.message, T) == [RebirthRequested()]
    births = session.birth(T, METRICS)
    assert decode(births[0].payload).metrics[0].value == before
    assert decode(births[0].payload).seq == 0


def test_ncmd_subscribe_and_dcmd_subscribe_with_qos_1():
    topics = dict(edge().subscriptions())
    assert topics == {"spBv1.0/village/NCMD/gw-1": 1, "spBv1.0/village/DCMD/gw-1/+": 1, "spBv1.0/STATE/atoll": 1}


def test_device_ddeath_when_a_device_is_lost_then_only_a_birth_brings_it_back():
    session = born()
    death = session.device_death(HOME, T)
    assert death.topic == "spBv1.0/village/DDEATH/gw-1/home-01"
    with pytest.raises(LocalProtocolError):
        session.data(readings(1.0, 2))
    session.device_birth(HOME, METRICS[HOME], T)
    assert session.data(readings(1.0, 2)).topic == "spBv1.0/village/DDATA/gw-1/home-01"


def test_data_before_birth_is_our_own_fault():
    with pytest.raises(LocalProtocolError):
        edge().data(readings(1.0, 2))
    with pytest.raises(LocalProtocolError):
        edge().device_birth(HOME, METRICS[HOME], T)


def test_bad_is_null_stale_is_a_property_good_is_silent():
    session = born()
    bad = decode(session.data(readings(None, 5)).payload).metrics
    assert [(metric.value, metric.quality) for metric in bad] == [(None, None), (5, None)]
    stale = decode(session.data(readings(3.0, 5, quality=Quality.STALE)).payload).metrics
    assert [metric.quality for metric in stale] == [Quality.STALE, Quality.STALE]


@pytest.mark.parametrize("junk", [float("nan"), float("inf"), 1e300])
def test_we_send_null_rather_than_a_number_that_is_none(junk):
    payload = decode(born().data(readings(junk if junk != 1e300 else 0.0, junk)).payload)
    assert payload.metrics[1].value is None


def test_a_point_that_the_birth_did_not_list_is_left_out_and_counted():
    session = born()
    stranger = Readings(HOME, T, ("W", "nosuch"), (1.0, 2.0), (Quality.GOOD, Quality.GOOD))
    assert len(decode(session.data(stranger).payload).metrics) == 1
    assert session.counters == {"points_unborn": 1}


def test_is_historical_is_set_on_backfill():
    payload = decode(born().data(readings(1.0, 2, historical=True)).payload)
    assert all(metric.historical for metric in payload.metrics)


def test_host_offline_timestamp_older_state_is_ignored():
    session = born()
    assert session.receive(state(True, T - 50), T) == [HostOnline(True)]
    assert session.receive(state(False, T - 60), T) == []
    assert session.counters["state_stale"] == 1
    assert session.receive(state(False, T - 50), T) == [HostOnline(False)]


def test_a_host_that_started_after_our_birth_gets_one_rebirth():
    session = born()
    assert session.receive(state(True, T - 1), T) == [HostOnline(True)]
    assert session.receive(state(False, T - 1), T) == [HostOnline(False)]
    assert session.receive(state(True, T + 9), T) == [HostOnline(True), RebirthRequested()]
    session.birth(Instant(T + 10), METRICS)
    assert session.receive(state(True, T + 9), T) == []


SETPOINTS = st.builds(
    Setpoint,
    device=st.just(BATTERY),
    point=st.just("setpoint"),
    value=st.floats(-1e9, 1e9),
    epoch=st.integers(0, 2**53),
    sequence=st.integers(0, 2**53),
    valid_ms=st.integers(1, VALID_MS_MAX),
    fallback=st.floats(-1e9, 1e9),
    reason=st.text(st.characters(codec="utf-8"), max_size=REASON_MAX),
)


@given(SETPOINTS)
def test_a_setpoint_arrives_as_it_was_sent(setpoint):
    host, session = HostSession("village"), born()
    assert session.receive(host.setpoint("gw-1", setpoint, T), T) == [SetpointReceived(setpoint)]


def test_a_long_reason_is_cut():
    host, session = HostSession("village"), born()
    long = Setpoint(BATTERY, "setpoint", 1.0, 1, 1, 1000, 0.0, "é" * 5000)
    (event,) = session.receive(host.setpoint("gw-1", long, T), T)
    assert isinstance(event, SetpointReceived)
    assert event.setpoint.reason == "é" * REASON_MAX


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[1,2,3]",
        b'["1",1,1,1,0,""]',
        b'[NaN,1,1,1000,0,""]',
        b'[1e999,1,1,1000,0,""]',
        b'[true,1,1,1000,0,""]',
        b'[1,1.5,1,1000,0,""]',
        b'[1,-1,1,1000,0,""]',
        b'[1,1,1,0,0,""]',
        b'[1,1,1,99999999999,0,""]',
        b'[1,1,1,1000,null,""]',
        b"[1,1,1,1000,0,null]",
        b"[" + b"9" * 400 + b',1,1,1000,0,""]',
        b"\xff\xfe",
    ],
)
def test_a_setpoint_of_another_shape_is_rejected(payload):
    session = born()
    metric = Metric("setpoint/setpoint", DataType.BYTES, payload, timestamp=T)
    command = Message("spBv1.0/village/DCMD/gw-1/battery-1", encode(Payload(T, (metric,))))
    (event,) = session.receive(command, T)
    assert isinstance(event, Rejected)


def test_records_ack_passes_through():
    host, session = HostSession("village"), born()
    assert session.receive(host.ack("gw-1", b"\x00acks", T), T) == [RecordsAcked(b"\x00acks")]


@pytest.mark.parametrize(
    ("topic", "metrics"),
    [
        ("spBv1.0/village/NCMD/gw-2", ()),
        ("spBv1.0/other/NCMD/gw-1", ()),
        ("spBv1.0/village/NCMD/gw-1", (Metric("Node Control/Reboot", DataType.BOOLEAN, True),)),
        ("spBv1.0/village/NCMD/gw-1", (Metric("Node Control/Rebirth", DataType.BOOLEAN, False),)),
        ("spBv1.0/village/DCMD/gw-1/nosuch", (Metric(RECORDS_ACK, DataType.BYTES, b""),)),
        ("spBv1.0/village/DCMD/gw-1/home-01", (Metric("W", DataType.DOUBLE, 3.0),)),
        ("spBv1.0/village/DCMD/gw-1/home-01", (Metric("", DataType.BYTES, b"", alias=999),)),
        ("spBv1.0/village/DDATA/gw-1/home-01", ()),
    ],
)
def test_commands_that_are_not_for_us_or_mean_nothing_are_rejected(topic, metrics):
    session = born()
    events = session.receive(Message(topic, encode(Payload(T, metrics))), T)
    assert [type(event) for event in events] == [Rejected]


@given(
    st.sampled_from(["spBv1.0/village/NCMD/gw-1", "spBv1.0/village/DCMD/gw-1/home-01", "spBv1.0/STATE/atoll", "x"]),
    st.binary(),
)
def test_any_bytes_raise_nothing(topic, payload):
    session = born()
    for event in session.receive(Message(topic, payload), T):
        assert isinstance(event, Rejected)
