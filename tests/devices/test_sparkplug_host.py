"""The host application's side; test names follow the assertions of Sparkplug 3.0.0 (tck-id-...)."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.clock import Instant
from devices.model import DeviceId, Message, Quality, Readings, Setpoint
from devices.sparkplug import (
    DataType,
    DeviceData,
    DeviceOffline,
    DeviceOnline,
    EdgeSession,
    HostEvent,
    HostSession,
    Metric,
    NodeOffline,
    NodeOnline,
    RebirthRequested,
    RecordBatch,
    Send,
)
from devices.sparkplug_b_pb2 import Payload as PayloadPb
from devices.sparkplug_codec import HostState, Payload, decode, decode_state, encode, encode_state

T = Instant(1_780_000_000_000)
HOME = DeviceId("home-01")
POINTS = ("W", "V", "import_wh")
METRICS = [Metric("W", DataType.DOUBLE), Metric("V", DataType.DOUBLE), Metric("import_wh", DataType.INT64)]
GOOD = (Quality.GOOD,) * 3
DDATA = "spBv1.0/village/DDATA/gw-1/home-01"


class Wire:
    """A gateway and a hub, with a wire in between that can lose and reorder."""

    def __init__(self, simulated: bool = False) -> None:
        self.edge = EdgeSession("village", "gw-1")
        self.host = HostSession("village", reorder_ms=2_000)
        self.will = self.edge.will(T)
        self.births = self.edge.birth(T, {HOME: METRICS}, simulated=simulated)
        self.born = [event for message in self.births for event in self.take(message)]

    def take(self, message: Message, now: int = T) -> list[HostEvent]:
        return self.host.receive(message.topic, message.payload, Instant(now))

    def data(self, watts: float | None, at: int = T + 1000, **more: bool) -> Message:
        qualities = tuple(Quality.BAD if value is None else Quality.GOOD for value in (watts, 230.0, 17))
        return self.edge.data(Readings(HOME, Instant(at), POINTS, (watts, 230.0, 17), qualities, **more))


def watts(events: list[HostEvent]) -> list[float | None]:
    return [event.readings.values[0] for event in events if isinstance(event, DeviceData)]


def kinds(events: list[HostEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def live(seq: int) -> PayloadPb:
    return PayloadPb(timestamp=T + 1000, seq=seq)


# -- the host's own state ------------------------------------------------------------------------------------------


def test_host_topic_phid_death_and_birth_carry_the_same_timestamp_qos_1_retained():
    host = HostSession("village")
    will, birth = host.will(T), host.birth(Instant(T + 700))
    assert (
        (will.topic, will.qos, will.retain)
        == (birth.topic, birth.qos, birth.retain)
        == ("spBv1.0/STATE/atoll", 1, True)
    )
    assert decode_state(will.payload) == HostState(False, T)
    assert decode_state(birth.payload) == HostState(True, T)


def test_host_topic_phid_birth_sub_required_own_state_and_all_nodes_but_no_commands():
    topics = [topic for topic, _ in HostSession("village").subscriptions()]
    assert topics[0] == "spBv1.0/STATE/atoll"
    assert {topic.split("/")[2] for topic in topics[1:]} == {"NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"}


def test_message_flow_hid_sparkplug_state_message_delivered_offline_is_answered_at_once():
    host = HostSession("village")
    old_will = host.will(T)
    host.will(Instant(T + 100))
    assert host.receive(old_will.topic, old_will.payload, Instant(T + 150)) == []
    host.birth(Instant(T + 150))
    (send,) = host.receive(old_will.topic, old_will.payload, Instant(T + 200))
    assert isinstance(send, Send)
    assert decode_state(send.message.payload) == HostState(True, Instant(T + 100))
    host.death()
    assert host.receive(old_will.topic, old_will.payload, Instant(T + 300)) == []


def test_an_offline_word_newer_than_ours_is_answered_with_its_timestamp():
    host = HostSession("village")
    host.will(T)
    host.birth(T)
    word = encode_state(HostState(False, Instant(T + 40)))
    (send,) = host.receive("spBv1.0/STATE/atoll", word, Instant(T + 50))
    assert isinstance(send, Send)
    assert decode_state(send.message.payload) == HostState(True, Instant(T + 40))


# -- births and data -----------------------------------------------------------------------------------------------


def test_births_bring_node_and_devices_online_with_their_values():
    born = Wire().born
    assert kinds(born) == ["NodeOnline", "DeviceOnline", "DeviceData"]
    assert born[1] == DeviceOnline("gw-1", HOME, POINTS)
    assert born[2] == DeviceData("gw-1", Readings(HOME, T, POINTS, (None,) * 3, (Quality.BAD,) * 3))


def test_data_arrives_as_it_was_sent():
    wire = Wire()
    readings = Readings(HOME, Instant(T + 1000), POINTS, (-3.25, 0.0, 2**40), GOOD)
    assert wire.take(wire.edge.data(readings), T + 1000) == [DeviceData("gw-1", readings)]
    assert wire.host.counters == {}


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.sampled_from([Quality.GOOD, Quality.UNCERTAIN, Quality.STALE]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=60)
def test_any_values_and_qualities_arrive_as_they_were_sent(rows, simulated, historical):
    names = tuple(f"p{index}" for index in range(2 * len(rows)))
    metrics = [Metric(name, DataType.INT64 if index % 2 else DataType.DOUBLE) for index, name in enumerate(names)]
    values = tuple(value for row in rows for value in row[:2])
    qualities = tuple(Quality.BAD if value is None else row[2] for row in rows for value in row[:2])
    edge, host = EdgeSession("village", "gw-1"), HostSession("village")
    for message in edge.birth(T, {HOME: metrics}, simulated=simulated):
        host.receive(message.topic, message.payload, T)
    sent = Readings(HOME, Instant(T + 5), names, values, qualities, historical=historical)
    message = edge.data(sent)
    (event,) = host.receive(message.topic, message.payload, Instant(T + 5))
    assert isinstance(event, DeviceData)
    assert event.readings == Readings(HOME, Instant(T + 5), names, values, qualities, simulated, historical)


def test_is_historical_data_is_marked_so_that_it_cannot_touch_the_live_image():
    wire = Wire()
    (event,) = wire.take(wire.data(5.0, T - 90_000, historical=True))
    assert isinstance(event, DeviceData)
    assert event.readings.historical
    assert event.readings.at == T - 90_000


def test_simulated_devices_say_so_once_in_their_birth():
    wire = Wire(simulated=True)
    (event,) = wire.take(wire.data(5.0), T + 1000)
    assert isinstance(event, DeviceData)
    assert event.readings.simulated
    assert event.readings.points == POINTS


def test_data_of_another_time_each_and_by_name_is_taken_apart():
    wire = Wire()
    payload = live(seq=3)
    payload.metrics.add(name="W", timestamp=T + 10, double_value=1.0)
    payload.metrics.add(name="V", timestamp=T + 20, double_value=2.0)
    events = wire.host.receive(DDATA, payload.SerializeToString(), Instant(T + 1000))
    readings = [event.readings for event in events if isinstance(event, DeviceData)]
    found = [(entry.at, entry.points, entry.values) for entry in readings]
    assert found == [(T + 10, ("W",), (1.0,)), (T + 20, ("V",), (2.0,))]


def test_record_batches_and_acks_pass_through():
    wire = Wire()
    batch = wire.edge.data_bytes(DeviceId("records"), "Records/batch", b"\x01records", T)
    assert wire.take(batch) == [RecordBatch("gw-1", b"\x01records")]
    ack = decode(wire.host.ack("gw-1", b"acks", T).payload)
    assert ack.seq is None
    assert ack.metrics[0].value == b"acks"


def test_payloads_dcmd_seq_is_absent_timestamp_present_qos_0_not_retained():
    command = Wire().host.setpoint("gw-1", Setpoint(HOME, "W", 1.0, 1, 1, 1000, 0.0, "test"), T)
    payload = decode(command.payload)
    assert (payload.seq, payload.timestamp, command.qos, command.retain) == (None, T, 0, False)


def test_alias_data_cmd_requirement_commands_use_the_births_alias():
    edge, host = EdgeSession("village", "gw-1"), HostSession("village")
    for message in edge.birth(T, {HOME: [Metric("limit/setpoint", DataType.BYTES)]}):
        host.receive(message.topic, message.payload, T)
    (metric,) = decode(host.setpoint("gw-1", Setpoint(HOME, "limit", 1.0, 1, 1, 1000, 0.0, ""), T).payload).metrics
    assert (metric.name, metric.alias) == ("", 1)


# -- deaths --------------------------------------------------------------------------------------------------------


def test_termination_host_action_ndeath_takes_node_and_devices_offline_at_host_utc():
    wire = Wire()
    assert wire.take(wire.will, T + 9) == [NodeOffline("gw-1", Instant(T + 9))]
    events = wire.take(wire.data(5.0), T + 1000)
    assert kinds(events) == ["Send"]


def test_ndeath_with_the_bdseq_of_another_session_is_ignored():
    wire = Wire()
    old = wire.will
    wire.edge.will(T)
    for message in wire.edge.birth(T, {HOME: METRICS}):
        wire.take(message)
    assert wire.take(old) == []
    assert wire.host.counters == {"deaths_of_other_sessions": 1}
    assert watts(wire.take(wire.data(5.0), T + 1000)) == [5.0]


def test_host_action_ddeath_device_offline_at_the_payloads_timestamp():
    wire = Wire()
    death = wire.edge.device_death(HOME, Instant(T + 50))
    assert wire.take(death, T + 90) == [DeviceOffline("gw-1", HOME, Instant(T + 50))]


def test_a_ddeath_overtaken_by_the_next_birth_is_late():
    wire = Wire()
    death = wire.edge.device_death(HOME, Instant(T + 50))
    birth = wire.edge.device_birth(HOME, METRICS, Instant(T + 60))
    assert kinds(wire.take(birth, T + 100)) == ["DeviceOnline", "DeviceData"]
    assert wire.take(death, T + 110) == []
    assert watts(wire.take(wire.data(5.0), T + 1000)) == [5.0]


def test_devices_that_a_rebirth_leaves_out_go_offline_after_the_reorder_time():
    wire = Wire()
    for message in wire.edge.birth(T, {}):
        wire.take(message)
    assert wire.host.next_deadline() == T + 2000
    assert wire.host.due(Instant(T + 1999)) == []
    assert wire.host.due(Instant(T + 2000)) == [DeviceOffline("gw-1", HOME, Instant(T + 2000))]


def test_a_rebirth_brings_every_device_back_without_an_offline():
    wire = Wire()
    events = [event for message in wire.edge.birth(T, {HOME: METRICS}) for event in wire.take(message)]
    assert kinds(events) == ["NodeOnline", "DeviceOnline", "DeviceData"]
    assert wire.host.due(Instant(T + 60_000)) == []


# -- order ---------------------------------------------------------------------------------------------------------


def test_reordering_start_and_rebirth_a_gap_leads_to_one_rebirth_ncmd_after_the_timeout():
    wire = Wire()
    wire.data(1.0)
    assert watts(wire.take(wire.data(2.0), T + 1000)) == [2.0]
    assert wire.host.counters == {"sequence_gaps": 1}
    assert wire.host.next_deadline() == T + 3000
    assert wire.host.due(Instant(T + 2999)) == []
    (send,) = wire.host.due(Instant(T + 3000))
    assert isinstance(send, Send)
    assert send.message.topic == "spBv1.0/village/NCMD/gw-1"
    assert wire.edge.receive(send.message, T) == [RebirthRequested()]


def test_reordering_success_the_missing_message_cancels_the_timer():
    wire = Wire()
    late, next_one = wire.data(1.0, T + 1000), wire.data(2.0, T + 2000)
    wire.take(next_one, T + 2000)
    (event,) = wire.take(late, T + 2100)
    assert isinstance(event, DeviceData)
    assert event.readings.historical, "what came since is newer"
    assert wire.host.next_deadline() is None
    assert wire.host.due(Instant(T + 60_000)) == []


def test_sequence_wraps_after_255_without_a_gap():
    wire = Wire()
    for step in range(600):
        assert watts(wire.take(wire.data(float(step), T + step), T + step)) == [float(step)]
    assert wire.host.counters == {}


def test_a_message_seen_twice_is_dropped():
    wire = Wire()
    message = wire.data(1.0)
    wire.take(message, T + 1000)
    assert wire.take(message, T + 1000) == []
    assert wire.host.counters == {"duplicates": 1}


def test_data_before_birth_asks_for_a_rebirth_with_growing_pauses():
    host = HostSession("village")
    payload = encode(Payload(T, (), 4))
    asked = [now for now in range(0, 120_000, 1000) if host.receive(DDATA, payload, Instant(T + now))]
    assert asked == [0, 5_000, 15_000, 35_000, 75_000]
    assert host.counters["rebirths"] == 5


def test_a_lost_rebirth_command_is_repeated_until_the_birth_comes():
    wire = Wire()
    host = HostSession("village")
    lost = host.receive(*list_of(wire.data(1.0)), Instant(T))
    assert kinds(lost) == ["Send"]
    deadline = host.next_deadline()
    assert deadline is not None
    assert kinds(host.due(deadline)) == ["Send"]
    for message in wire.edge.birth(T, {HOME: METRICS}):
        host.receive(message.topic, message.payload, deadline)
    assert host.next_deadline() is None


def list_of(message: Message) -> tuple[str, bytes]:
    return message.topic, message.payload


def test_a_device_that_was_never_born_asks_for_a_rebirth():
    wire = Wire()
    events = wire.host.receive("spBv1.0/village/DDATA/gw-1/home-99", encode(Payload(T, (), 3)), T)
    assert kinds(events) == ["Send"]


@given(st.permutations(range(20)), st.integers(1, 20))
def test_whatever_is_lost_or_shuffled_live_values_never_go_back_in_time(order, kept):
    wire = Wire()
    messages = [wire.data(float(step), T + step) for step in range(20)]
    live_values = [
        event.readings.values[0] or 0.0
        for step in order[:kept]
        for event in wire.take(messages[step], T + 100)
        if isinstance(event, DeviceData) and not event.readings.historical
    ]
    assert live_values[0] == float(order[0])
    assert live_values == sorted(set(live_values))
    assert live_values[-1] == float(max(order[:kept]))


# -- bad input -----------------------------------------------------------------------------------------------------


def test_wrong_datatype_nan_and_bad_quality_are_bad_and_never_a_number():
    wire = Wire()
    payload = live(seq=3)
    payload.metrics.add(alias=1, timestamp=T + 1000, string_value="12")
    payload.metrics.add(alias=2, timestamp=T + 1000, double_value=float("nan"))
    third = payload.metrics.add(alias=3, timestamp=T + 1000, long_value=5)
    third.properties.keys.append("Quality")
    third.properties.values.add(type=3, int_value=0)
    (event,) = wire.host.receive(DDATA, payload.SerializeToString(), Instant(T + 1000))
    assert isinstance(event, DeviceData)
    assert event.readings.values == (None, None, None)
    assert event.readings.qualities == (Quality.BAD,) * 3
    assert wire.host.counters == {"wrong_datatype": 1, "not_finite": 1}


@pytest.mark.parametrize("field", ["int_value", "long_value", "float_value", "boolean_value", "bytes_value"])
def test_each_wrong_member_is_bad_even_when_it_reads_as_zero(field):
    wire = Wire()
    payload = live(seq=3)
    values = {"int_value": 0, "long_value": 0, "float_value": 0.0, "boolean_value": False, "bytes_value": b""}
    payload.metrics.add(alias=1, timestamp=T + 1000, **{field: values[field]})
    (event,) = wire.host.receive(DDATA, payload.SerializeToString(), Instant(T + 1000))
    assert isinstance(event, DeviceData)
    assert event.readings.values == (None,)


def test_null_with_a_value_is_null():
    wire = Wire()
    payload = live(seq=3)
    payload.metrics.add(alias=1, timestamp=T + 1000, is_null=True, double_value=3.0)
    (event,) = wire.host.receive(DDATA, payload.SerializeToString(), Instant(T + 1000))
    assert isinstance(event, DeviceData)
    assert event.readings.values == (None,)


def test_an_unknown_alias_is_dropped_counted_and_asks_for_a_rebirth():
    wire = Wire()
    payload = live(seq=3)
    payload.metrics.add(alias=77, timestamp=T + 1000, double_value=3.0)
    payload.metrics.add(alias=1, timestamp=T + 1000, double_value=4.0)
    events = wire.host.receive(DDATA, payload.SerializeToString(), Instant(T + 1000))
    assert kinds(events) == ["DeviceData", "Send"]
    assert watts(events) == [4.0]
    assert wire.host.counters["unknown_alias"] == 1


def test_a_timestamp_from_far_ahead_counts_as_now():
    wire = Wire()
    (event,) = wire.take(wire.data(1.0, T + 10**9), T + 1000)
    assert isinstance(event, DeviceData)
    assert event.readings.at == T + 1000
    assert wire.host.counters["timestamps_ahead"] >= 1


def test_a_gateways_clock_that_steps_back_is_live_data_with_its_own_time():
    wire = Wire()
    wire.take(wire.data(1.0, T + 5000), T + 5000)
    (event,) = wire.take(wire.data(2.0, T - 3_600_000), T + 6000)
    assert isinstance(event, DeviceData)
    assert (event.readings.at, event.readings.historical) == (T - 3_600_000, False)


@pytest.mark.parametrize(
    ("topic", "payload", "counter"),
    [
        (DDATA, b"\x2a" + b"x" * 300_000, "rejected_oversize"),
        (DDATA, b"\x12\x00" * 100_000, "rejected_oversize"),
        (DDATA, b"\xff\xff\xff", "rejected_malformed"),
        (DDATA, b"", "rejected_malformed"),
        (DDATA, encode(Payload(T, (), None)), "rejected_malformed"),
        (DDATA, encode(Payload(T, (), 256)), "rejected_malformed"),
        ("spBv1.0/village/DDATA/gw-1", b"", "rejected_malformed"),
        ("spBv1.0/elsewhere/NBIRTH/gw-1", b"", "rejected_topic"),
        ("spBv1.0/village/DCMD/gw-1/home-01", b"", "rejected_topic"),
        ("spBv1.0/village/NBIRTH/gw-1", encode(Payload(T, (), None)), "rejected_malformed"),
        ("spBv1.0/village/NBIRTH/gw-1", b"\x12\x04\x0a\x02\xff\xfe", "rejected_malformed"),
        ("spBv1.0/STATE/atoll", b"OFFLINE", "rejected_malformed"),
        ("garbage", b"", "rejected_malformed"),
    ],
)
def test_bad_input_is_one_counter_and_changes_nothing(topic, payload, counter):
    wire = Wire()
    assert wire.host.receive(topic, payload, T) == []
    assert wire.host.counters == {counter: 1}
    assert watts(wire.take(wire.data(5.0), T + 1000)) == [5.0]
    assert wire.host.counters == {counter: 1}


TOPICS = [DDATA, "spBv1.0/village/NBIRTH/gw-1", "spBv1.0/village/DBIRTH/gw-1/home-01", "spBv1.0/village/NDEATH/gw-1",
          "spBv1.0/village/DDEATH/gw-1/home-01", "spBv1.0/village/NDATA/gw-1", "spBv1.0/STATE/atoll",
          "spBv1.0/village/DDATA/gw-1/records"]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(TOPICS), st.binary(max_size=80) | st.integers(0, 7)), max_size=12), st.data())
def test_no_bytes_on_any_topic_raise_anything(messages, data):
    wire = Wire()
    seeds = [wire.will, *wire.births, wire.data(1.0), wire.data(None)]
    counters = Counter(wire.host.counters)
    for topic, junk in messages:
        payload = junk if isinstance(junk, bytes) else flipped(seeds[junk % len(seeds)].payload, data)
        for event in wire.host.receive(topic, payload, Instant(T + 2000)):
            if isinstance(event, DeviceData):
                for value, quality in zip(event.readings.values, event.readings.qualities, strict=True):
                    assert (value is None) == (quality is Quality.BAD)
                    assert value is None or value - value == 0
        wire.host.due(Instant(T + 2000))
    assert all(count >= counters[name] for name, count in wire.host.counters.items())


def flipped(payload: bytes, data: st.DataObject) -> bytes:
    raw = bytearray(payload)
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    return bytes(raw)


def test_a_crowd_of_strangers_is_bounded():
    host = HostSession("village")
    payload = encode(Payload(T, (), 0))
    for number in range(1_100):
        host.receive(f"spBv1.0/village/NDATA/gw-{number}", payload, T)
    assert host.counters["rejected_nodes"] == 1_100 - 1_024


def test_nodes_without_bdseq_or_with_another_integer_type_are_taken():
    host = HostSession("village")
    birth = Payload(T, (Metric("bdSeq", DataType.UINT64, 3, timestamp=T),), 0)
    assert host.receive("spBv1.0/village/NBIRTH/gw-1", encode(birth), T) == [NodeOnline("gw-1", T)]
    death = Payload(T, (Metric("bdSeq", DataType.INT64, 3),))
    assert host.receive("spBv1.0/village/NDEATH/gw-1", encode(death), T) == [NodeOffline("gw-1", T)]
    assert host.receive("spBv1.0/village/NBIRTH/gw-2", encode(Payload(T, (), 0)), T) == [NodeOnline("gw-2", T)]
    assert host.receive("spBv1.0/village/NDEATH/gw-2", encode(Payload(T, ())), T) == [NodeOffline("gw-2", T)]


def test_state_payloads_are_what_the_standard_shows():
    assert encode_state(HostState(True, T)) == b'{"online":true,"timestamp":1780000000000}'
