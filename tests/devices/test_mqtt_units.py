"""Devices that speak plain MQTT: Tasmota's and ESPHome's own topics and texts in, values with quality out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import Instant
from devices.events import Incoming, LinkUp, Tick
from devices.gateway import Effect, Gateway, GatewayConfig, Log, Send, step
from devices.leases import Output
from devices.model import DeviceId, DeviceKind, DeviceSpec, Message, Quality, Setpoint
from devices.mqtt_profile import load_mqtt_profile, mqtt_profile_names, parse_mqtt_profile
from devices.mqtt_units import MqttUnit
from devices.profile_schema import BadProfile
from devices.sparkplug import DeviceData, DeviceOffline, HostSession

T = 1_780_473_600_000
PLUG = DeviceSpec(DeviceId("plug"), DeviceKind.METER, "mqtt:tasmota_plug", "gw-1", "mqtt:tasmota_4F1A")
NODE = DeviceSpec(DeviceId("node"), DeviceKind.METER, "mqtt:esphome_meter", "gw-1", "mqtt:barn/meter")
SWITCH = DeviceSpec(DeviceId("well"), DeviceKind.PUMP, "mqtt:tasmota_plug", "gw-1", "mqtt:well")
SENSOR = {
    "Time": "2026-06-03T09:40:00",
    "ENERGY": {"TotalStartTime": "2026-01-01T00:00:00", "Total": 12.345, "Power": 250, "Voltage": 231, "Current": 1.1},
}


def heard(spec: DeviceSpec, *said: tuple[str, object]) -> MqttUnit:
    unit = MqttUnit(spec)
    for i, (topic, payload) in enumerate(said):
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        unit.hear(topic, raw, Instant(T + i), i)
    return unit


def test_tasmota_sensor_state_and_result_are_read():
    unit = heard(PLUG, ("tele/tasmota_4F1A/SENSOR", SENSOR), ("tele/tasmota_4F1A/STATE", {"POWER": "ON"}))
    assert {point: unit.value(point) for point in unit.points} == {
        "W": 250,
        "V": 231,
        "import_wh": 12345,
        "export_wh": 0,
        "on": 1,
    }
    unit.hear("stat/tasmota_4F1A/RESULT", b'{"POWER":"OFF"}', Instant(T + 9), 9)
    assert unit.value("on") == 0
    assert unit.hear("stat/tasmota_4F1A/RESULT", b'{"Dimmer":5}', Instant(T + 9), 9) is None


def test_esphome_bare_numbers_and_words_are_read():
    unit = heard(NODE, ("barn/meter/sensor/power/state", b"-12.5"), ("barn/meter/sensor/energy/state", b"0.25"))
    unit.hear("barn/meter/switch/relay/state", b"ON", Instant(T), 5)
    assert (unit.value("W"), unit.value("import_wh"), unit.value("on")) == (-12.5, 250, 1)
    for nothing in (b"nan", b"", b"unavailable", b"\xff", b"1e99"):
        readings = unit.hear("barn/meter/sensor/power/state", nothing, Instant(T), 6)
        assert readings is not None
        assert readings.qualities[unit.columns["W"]] is Quality.BAD


@given(
    st.binary(max_size=80)
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(
        lambda value: json.dumps({"ENERGY": value, "POWER": value}).encode()
    )
)
def test_no_payload_raises_or_makes_a_number_of_what_is_none(payload):
    unit = MqttUnit(PLUG)
    for topic in unit.topics():
        readings = unit.hear(topic, payload, Instant(T), 0)
        assert readings is None or all(
            (value is None) == (quality is Quality.BAD)
            for value, quality in zip(readings.values, readings.qualities, strict=True)
        )


def test_silence_beyond_the_deadline_is_death_and_so_is_the_last_will():
    unit = heard(PLUG, ("tele/tasmota_4F1A/SENSOR", SENSOR))
    again = unit.look(Instant(T + 60_000), 60_000)
    assert again is not None
    assert (again.at, again.values[0]) == (T, 250), "repeated with the time at which it was said"
    gone = unit.look(Instant(T + 150_001), 150_001)
    assert gone is not None
    assert unit.dead
    assert gone.values[0] is None
    assert unit.look(Instant(T + 150_002), 150_002) is None, "told once"
    back = heard(PLUG, ("tele/tasmota_4F1A/SENSOR", SENSOR))
    assert back.hear("tele/tasmota_4F1A/LWT", b"Online", Instant(T), 1) is None
    assert back.hear("tele/tasmota_4F1A/LWT", b"Offline", Instant(T), 2) is not None
    assert back.dead


def gateway(*specs: DeviceSpec) -> Gateway:
    made = Gateway(GatewayConfig("gw-1", "village", specs), Instant(T))
    made.session.will(Instant(T))
    return made


def sent(effects: list[Effect]) -> list[tuple[str, bytes]]:
    return [(e.message.topic, e.message.payload) for e in effects if isinstance(e, Send)]


def test_the_gateway_bridges_it_into_sparkplug_births_data_and_death():
    edge, host = gateway(PLUG), HostSession("village")

    def happen(event, at: int) -> list[object]:
        _, effects = step(edge, event, Instant(T + at))
        return [e for topic, payload in sent(effects) for e in host.receive(topic, payload, Instant(T + at))]

    happen(LinkUp(), 0)
    found = happen(Incoming("tele/tasmota_4F1A/SENSOR", json.dumps(SENSOR).encode()), 10)
    data = [event.readings for event in found if isinstance(event, DeviceData)]
    assert [dict(zip(r.points, r.values, strict=True))["W"] for r in data] == [250]
    again = happen(Tick(), 1_000)
    assert [event.readings.values[0] for event in again if isinstance(event, DeviceData)] == [250]
    gone = happen(Tick(), 200_000)
    assert [event.device for event in gone if isinstance(event, DeviceOffline)] == ["plug"]


def test_a_device_is_told_what_its_profile_says_when_it_comes():
    edge = gateway(PLUG)
    _, effects = step(edge, LinkUp(), Instant(T))
    assert ("cmnd/tasmota_4F1A/TelePeriod", b"60") in sent(effects)
    _, effects = step(edge, Incoming("tele/tasmota_4F1A/SENSOR", json.dumps(SENSOR).encode()), Instant(T))
    assert ("cmnd/tasmota_4F1A/TelePeriod", b"60") in sent(effects)


def test_a_setpoint_becomes_a_command_is_read_back_and_ends_with_its_lease():
    edge = gateway(SWITCH)
    step(edge, LinkUp(), Instant(T))
    on, off = b'{"POWER":"ON"}', b'{"POWER":"OFF"}'
    step(edge, Incoming("tele/well/STATE", off), Instant(T))
    lease = Setpoint(DeviceId("well"), "on", 1.0, 1, 1, 5_000, 0.0, "test")
    host = HostSession("village")
    for topic, payload in sent(step(edge, LinkUp(), Instant(T + 1))[1]):
        host.receive(topic, payload, Instant(T + 1))
    message = host.setpoint("gw-1", lease, Instant(T + 2))
    _, effects = step(edge, Incoming(message.topic, message.payload), Instant(T + 2))
    assert ("cmnd/well/POWER", b"ON") in sent(effects)
    step(edge, Incoming("stat/well/RESULT", on), Instant(T + 100))
    _, effects = step(edge, Tick(), Instant(T + 1_000))
    assert ("cmnd/well/POWER", b"ON") not in sent(effects), "it follows"
    _, effects = step(edge, Tick(), Instant(T + 6_000))
    assert ("cmnd/well/POWER", b"OFF") in sent(effects), "the lease is over"
    codes = []
    for second in range(7, 12):
        _, effects = step(edge, Incoming("stat/well/RESULT", on), Instant(T + second * 1_000))
        codes += [effect.code for effect in effects if isinstance(effect, Log)]
    assert "ignores-setpoint" in codes, "it was told off and says on"


def test_a_value_that_the_device_has_no_word_for_is_refused():
    from devices.drivers import Unwritable

    unit = MqttUnit(SWITCH)
    assert unit.driver is not None
    for value in (2.0, 0.5, -1.0):
        with pytest.raises(Unwritable):
            unit.driver.writes("on", value, 0.0, 0, [])
    with pytest.raises(Unwritable, match="no command"):
        unit.driver.writes("W", 1.0, 0.0, 0, [])


HOMIE = {"5": "homie/5/well", "4": "homie/well"}


@pytest.mark.parametrize("version", HOMIE)
def test_a_homie_device_is_read_and_switched(version):
    base = HOMIE[version]
    unit = MqttUnit(DeviceSpec(DeviceId("well"), DeviceKind.PUMP, f"mqtt:homie{version}_plug", "g", "mqtt:well"))
    said = [
        ("$state", "init"),
        ("$state", "ready"),
        ("meter/power", "40.5"),
        ("meter/energy", "1.5"),
        ("relay/on", "true"),
    ]
    for topic, text in said:
        unit.hear(f"{base}/{topic}", text.encode(), Instant(T), 0)
    assert (unit.value("W"), unit.value("import_wh"), unit.value("export_wh"), unit.value("on")) == (40.5, 1500, 0, 1)
    output = Output(unit.spec.id, "on", 0.0)
    output.written = 0.0
    assert unit.commands(output) == [Message(f"{base}/relay/on/set", b"false")]
    for word in ("lost", "disconnected", "sleeping"):
        unit.hear(f"{base}/$state", b"ready", Instant(T), 0)
        unit.hear(f"{base}/meter/power", b"1", Instant(T), 0)
        assert not unit.dead
        unit.hear(f"{base}/$state", word.encode(), Instant(T), 0)
        assert unit.dead, word


@pytest.mark.parametrize("first", ["status", "values"])
def test_what_a_broker_has_kept_of_a_device_that_is_gone_is_no_news(first):
    """A gateway that starts is told everything that is retained, in any order: the last will too."""
    unit = MqttUnit(NODE)
    kept = [(f"barn/meter/sensor/{name}/state", b"230") for name in ("power", "voltage")]
    status = [("barn/meter/status", b"offline")]
    for topic, payload in status + kept if first == "status" else kept + status:
        unit.hear(topic, payload, Instant(T), 0)
    assert unit.value("W") is None
    assert unit.look(Instant(T), 0) is None
    unit.hear(*kept[0], Instant(T), 1)
    assert unit.value("W") is None
    unit.hear("barn/meter/status", b"online", Instant(T), 2)
    unit.hear(*kept[0], Instant(T), 3)
    assert unit.value("W") == 230


@pytest.mark.parametrize("name", mqtt_profile_names())
def test_every_shipped_profile_reads_and_names_its_source(name):
    profile = load_mqtt_profile(name)
    assert profile.source
    assert profile.points


@pytest.mark.parametrize(
    ("name", "message"), [(name, m) for name in mqtt_profile_names() for m in load_mqtt_profile(name).golden]
)
def test_published_messages_read_as_published(name, message):
    unit = MqttUnit(DeviceSpec(DeviceId("x"), DeviceKind.METER, f"mqtt:{name}", "g", "mqtt:it"))
    readings = unit.hear(unit.topic(message.topic), message.payload.encode(), Instant(0), 0)
    assert readings is not None
    assert {point: unit.value(point) for point in message.reads} == message.reads


def test_a_golden_message_names_every_point_of_its_topic():
    text = """title = "x"
source = "y"
stale_s = 5
[point]
W = { topic = "{id}/s", path = "W" }
V = { topic = "{id}/s", path = "V" }
[[golden]]
source = "z"
topic = "{id}/s"
payload = '{"W": 1, "V": 2}'
reads = { W = 1 }
"""
    with pytest.raises(BadProfile, match=r"reads W; \{id\}/s brings V, W"):
        parse_mqtt_profile("x", text)
    assert parse_mqtt_profile("x", text.replace("W = 1 }", "W = 1, V = 2 }")).golden[0].reads == {"W": 1, "V": 2}


def test_a_profile_with_faults_names_every_one():
    text = """
title = "x"
source = "y"
stale_s = 0
colour = 3
"""
    with pytest.raises(BadProfile) as caught:
        parse_mqtt_profile("p", text)
    assert caught.value.problems == ("p: colour is no key of a profile", "p: point is missing")
    text = (
        text.replace("colour = 3", "start = [3, {topic = 'x/{id}'}]")
        + """
[point]
a = 3
b = { topic = "fixed/topic" }
c = { }
d = { topic = "{id}/#", constant = 3 }
e = { topic = "{id}/x", map = { ON = "one" }, range = [3, 1], skale = 2 }
f = { from = [{ path = "x" }] }
[write]
z = { topic = "{id}/z", range = [0, 1], payload = "on" }
"""
    )
    with pytest.raises(BadProfile) as caught:
        parse_mqtt_profile("p", text)
    said = "\n".join(caught.value.problems)
    for part in (
        "stale_s 0",
        "start[0] is not a table",
        "start[1].payload is missing",
        "point.a is not a table",
        "topic 'fixed/topic'",
        "point.c has either",
        "topic '{id}/#'",
        "point.d has either",
        "point.e.map ON",
        "point.e.range",
        "point.e.skale is no key of a profile; did you mean scale?",
        "point.f.from[0] needs a topic",
        "write.z is no point",
        "write.z.payload",
    ):
        assert part in said, part
    with pytest.raises(BadProfile, match="no MQTT profile"):
        load_mqtt_profile("nothing")
    with pytest.raises(BadProfile):
        parse_mqtt_profile("p", "= 3")
