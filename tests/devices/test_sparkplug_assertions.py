"""The 31 groups of Sparkplug 3.0.0 assertions that matter here (tck-id-...), one test each, host (h) and edge (e).

The sessions' other tests go deeper; here stands that every group is met, and where we depart from one (31).
"""

from __future__ import annotations

import socket

import pytest

from devices.clock import Instant
from devices.events import Incoming, LinkUp, Tick
from devices.gateway import Gateway, GatewayConfig, Send, step
from devices.model import DeviceId, DeviceKind, DeviceSpec, Message, Quality, Readings, Setpoint
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.sparkplug import (
    DataType,
    DeviceData,
    DeviceOffline,
    EdgeSession,
    HostEvent,
    HostSession,
    Metric,
    NodeOffline,
    RebirthRequested,
)
from devices.sparkplug import Send as HostSend
from devices.sparkplug_b_pb2 import Payload as PayloadPb
from devices.sparkplug_codec import HostState, decode, decode_state, encode_state

T = Instant(1_780_000_000_000)
HOME = DeviceId("home")
METRICS = {HOME: [Metric("W", DataType.DOUBLE, 5.0), Metric("on/setpoint", DataType.BYTES)]}
STATE = "spBv1.0/STATE/atoll"


def host() -> HostSession:
    session = HostSession("village")
    session.will(T)
    session.birth(T)
    return session


def edge() -> tuple[EdgeSession, list[Message]]:
    session = EdgeSession("village", "gw")
    session.will(T)
    return session, session.birth(T, METRICS)


def born() -> tuple[EdgeSession, HostSession]:
    session, births = edge()
    hub = host()
    hear(hub, births)
    return session, hub


def hear(hub: HostSession, messages: list[Message], at: int = T) -> list[HostEvent]:
    return [event for m in messages for event in hub.receive(m.topic, m.payload, Instant(at))]


def watts(value: float, at: int = T, *, historical: bool = False) -> Readings:
    return Readings(HOME, Instant(at), ("W",), (value,), (Quality.GOOD,), historical=historical)


def raw(message: Message) -> PayloadPb:
    return PayloadPb.FromString(message.payload)


def connect_packet(will: Message) -> bytes:
    """Returns the CONNECT that our client really sends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        link = Link("c", *server.getsockname(), will=lambda: will, subscriptions=[], inbox=Inbox[object]())
        link.start()
        try:
            peer, _ = server.accept()
            with peer:
                peer.settimeout(10)
                return peer.recv(4096)
        finally:
            link.stop(timeout_s=0.5)


def test_01_h_host_topic_phid_death_required():
    will = HostSession("village").will(T)
    assert (will.topic, will.qos, will.retain) == (STATE, 1, True)
    assert decode_state(will.payload) == HostState(False, T)
    packet = connect_packet(will)
    assert will.payload in packet
    assert packet[9] & 0b0011_1100 == 0b0010_1100, "will flag, will QoS 1, will retain"


def test_02_h_message_flow_phid_sparkplug_clean_session_311():
    assert connect_packet(HostSession("village").will(T))[9] & 0b10, "clean session"


def test_03_h_host_topic_phid_birth_sub_required():
    assert (STATE, 1) in HostSession("village").subscriptions()


def test_04_h_host_topic_phid_birth_payload_timestamp():
    hub = HostSession("village")
    will, birth = hub.will(T), hub.birth(Instant(T + 500))
    assert decode_state(birth.payload) == HostState(True, decode_state(will.payload).timestamp)
    assert (birth.qos, birth.retain) == (1, True)


def test_05_h_message_flow_hid_sparkplug_state_message_delivered():
    (answer,) = host().receive(STATE, encode_state(HostState(False, T)), T)
    assert isinstance(answer, HostSend)
    assert decode_state(answer.message.payload).online


def test_06_h_operational_behavior_host_application_termination():
    death = host().death()
    assert (death.topic, decode_state(death.payload).online) == (STATE, False)


def test_07_h_host_application_host_id_unique_per_server_timestamp():
    one, other = HostSession("village", "a"), HostSession("village", "b")
    assert one.will(T).topic != other.will(T).topic
    assert decode_state(one.will(Instant(T + 1)).payload).timestamp == T + 1, "every connection its own"


def test_08_h_termination_host_action_ndeath_all_offline_at_host_utc():
    session, hub = born()
    assert hear(hub, [session.death(T)], T + 7) == [NodeOffline("gw", Instant(T + 7))]


def test_09_h_host_action_ddeath_devices_offline_at_payload_timestamp():
    session, hub = born()
    assert hear(hub, [session.device_death(HOME, Instant(T + 3))], T + 7) == [DeviceOffline("gw", HOME, Instant(T + 3))]


def test_10_h_host_reordering_param_start_rebirth_success():
    session, hub = born()
    lost, seen = session.data(watts(1)), session.data(watts(2))
    hear(hub, [seen])
    assert hub.next_deadline() == T + hub.reorder_ms
    hear(hub, [lost])
    assert hub.next_deadline() is None, "its arrival cancels"
    session.data(watts(3))
    hear(hub, [session.data(watts(4))])
    (asked,) = hub.due(Instant(T + hub.reorder_ms))
    assert isinstance(asked, HostSend)
    assert asked.message.topic == "spBv1.0/village/NCMD/gw"


def rebirth_command() -> Message:
    _, hub = born()
    (asked,) = [
        e for e in hub.receive("spBv1.0/village/DDATA/gw/never-born", b"\x18\x05", T) if isinstance(e, HostSend)
    ]
    return asked.message


def test_11_h_data_commands_ncmd_rebirth_verb_name_value():
    (metric,) = decode(rebirth_command().payload).metrics
    assert (metric.name, metric.datatype, metric.value) == ("Node Control/Rebirth", DataType.BOOLEAN, True)


def test_12_h_payloads_ncmd_dcmd_seq():
    _, hub = born()
    setpoint = hub.setpoint("gw", Setpoint(HOME, "on", 1.0, 1, 1, 1000, 0.0, "x"), T)
    for message in (rebirth_command(), setpoint):
        assert not raw(message).HasField("seq")
        assert raw(message).HasField("timestamp")
        assert (message.qos, message.retain) == (0, False)


def test_13_e_birth_publish_will_message():
    will = EdgeSession("village", "gw").will(T)
    assert (will.topic, will.qos, will.retain) == ("spBv1.0/village/NDEATH/gw", 1, False)
    packet = connect_packet(will)
    assert will.payload in packet
    assert packet[9] & 0b0011_1100 == 0b0000_1100, "will flag, will QoS 1, not retained"


def test_14_e_will_message_payload_bdseq():
    session = EdgeSession("village", "gw", bd_seq=254)
    metrics = [decode(session.will(T).payload).metrics[0] for _ in range(3)]
    assert [(m.name, m.datatype, m.value) for m in metrics] == [("bdSeq", DataType.INT64, n) for n in (254, 255, 0)]


def test_15_e_nbirth_bdseq_equals_the_wills():
    session = EdgeSession("village", "gw", bd_seq=9)
    will = session.will(T)
    nbirth = session.birth(T, METRICS)[0]
    assert decode(will.payload).metrics[0].value == decode(nbirth.payload).metrics[0].value == 9


def test_16_e_ncmd_subscribe_qos_1():
    assert ("spBv1.0/village/NCMD/gw", 1) in edge()[0].subscriptions()


def test_17_e_device_dcmd_subscribe_qos_1():
    assert ("spBv1.0/village/DCMD/gw/+", 1) in edge()[0].subscriptions()


def test_18_e_nbirth_topic_qos_retain():
    nbirth = edge()[1][0]
    assert (nbirth.topic, nbirth.qos, nbirth.retain) == ("spBv1.0/village/NBIRTH/gw", 0, False)


def test_19_e_topics_nbirth_seq_num():
    session, births = edge()
    assert raw(births[0]).seq == 0
    payload = raw(births[0])
    payload.seq = 77  # payloads-nbirth-seq allows any: the host takes it
    hub = host()
    assert hub.receive(births[0].topic, payload.SerializeToString(), T)
    assert session.birth(T, METRICS)[0].payload == births[0].payload


def test_20_e_payloads_sequence_num_incrementing():
    session, births = edge()
    messages = [*births, *(session.data(watts(n)) for n in range(300))]
    assert [raw(m).seq for m in messages] == [n % 256 for n in range(len(messages))]


def test_21_e_payloads_ndeath_seq():
    session, _ = edge()
    assert not raw(session.death(T)).HasField("seq")
    assert not raw(session.will(T)).HasField("seq")


def test_22_e_data_publish_nbirth_dbirth_every_metric():
    for message in edge()[1]:
        for metric in raw(message).metrics:
            assert metric.name
            assert metric.datatype
            assert metric.is_null or metric.WhichOneof("value")


def test_23_e_data_commands_rebirth_name_datatype_value_no_alias():
    (metric,) = [m for m in raw(edge()[1][0]).metrics if m.name == "Node Control/Rebirth"]
    assert (metric.datatype, metric.boolean_value, metric.HasField("alias")) == (DataType.BOOLEAN, False, False)


def test_24_e_rebirth_action():
    session, births = edge()
    command = rebirth_command()
    assert session.receive(command, T) == [RebirthRequested()]
    again = session.birth(T, METRICS)
    assert [m.topic for m in again] == [m.topic for m in births], "the full sequence"
    assert decode(again[0].payload).metrics[0].value == decode(births[0].payload).metrics[0].value, "same bdSeq"


def test_25_e_payloads_dbirth_order_ndata_order():
    assert [m.topic.split("/")[2] for m in edge()[1]] == ["NBIRTH", "DBIRTH", "DBIRTH"]


def test_26_e_payloads_alias_uniqueness_birth_and_data():
    session, births = edge()
    births += [session.device_birth(DeviceId("shed"), [Metric("W", DataType.DOUBLE, 1.0)], T)]
    aliases = [m.alias for message in births[1:] for m in raw(message).metrics]
    assert len(set(aliases)) == len(aliases)
    (metric,) = raw(session.data(watts(1))).metrics
    assert metric.HasField("alias")
    assert not metric.HasField("name")


def test_27_e_payloads_name_birth_data_requirement_timestamps():
    session, births = edge()
    for message in (*births, session.data(watts(1))):
        assert raw(message).timestamp == T
        assert all(metric.timestamp == T for metric in raw(message).metrics)


def test_28_e_publish_order_chronological_unless_historical():
    session, hub = born()
    now, old = session.data(watts(2, T + 50)), session.data(watts(1, T - 9_000, historical=True))
    found = [event for event in hear(hub, [now, old], T + 60) if isinstance(event, DeviceData)]
    assert [(e.readings.at, e.readings.historical) for e in found] == [(T + 50, False), (T - 9_000, True)]


def test_29_e_device_ddeath_when_a_device_is_lost():
    session, hub = born()
    death = session.device_death(HOME, T)
    assert death.topic == "spBv1.0/village/DDEATH/gw/home"
    assert hear(hub, [death]) == [DeviceOffline("gw", HOME, T)]


def test_30_e_intentional_disconnect_ndeath():
    session, hub = born()
    death = session.death(T)
    assert death.qos == 1
    assert hear(hub, [death]) == [NodeOffline("gw", T)], "we speak MQTT 3.1.1: sent before a clean disconnect"


PLUG = DeviceSpec(HOME, DeviceKind.METER, "mqtt:esphome_meter", "gw", "mqtt:meter")


def test_31_e_primary_host_state_store_and_flush_as_historical():
    """Departure: offline does not end our MQTT session; nothing but deaths is published until the host is back."""
    gateway = Gateway(GatewayConfig("gw", "village", (PLUG,)), T)
    gateway.session.will(T)
    sent: list[Message] = []

    def happen(event: LinkUp | Incoming | Tick, at: int) -> None:
        sent.extend(e.message for e in step(gateway, event, Instant(T + at))[1] if isinstance(e, Send))

    happen(LinkUp(), 0)
    happen(Incoming("meter/sensor/power/state", b"100"), 10)
    happen(Incoming(STATE, encode_state(HostState(False, T))), 20)
    sent.clear()
    for minute in range(1, 4):
        happen(Incoming("meter/sensor/power/state", b"%d" % minute), minute * 60_000)
    assert sent == [], "stored"
    happen(Incoming(STATE, encode_state(HostState(True, Instant(T - 5)))), 200_000)
    happen(Tick(), 200_500)
    assert sent == [], "an older STATE than the last is no news"
    happen(Incoming(STATE, encode_state(HostState(True, Instant(T + 201_000)))), 201_000)
    assert sent[0].topic.startswith("spBv1.0/village/NBIRTH"), "a host that came later gets a birth"
    happen(Tick(), 202_000)
    history = [raw(m) for m in sent if "/DDATA/" in m.topic and any(x.is_historical for x in raw(m).metrics)]
    assert [message.timestamp - T for message in history] == [60_000, 120_000, 180_000]


@pytest.mark.parametrize("number", range(1, 32))
def test_every_group_has_its_test(number: int):
    assert [name for name in globals() if name.startswith(f"test_{number:02d}_")]
