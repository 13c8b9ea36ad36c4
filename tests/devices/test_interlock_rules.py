"""Declared interlocks, two steps and tags: by table, in time, and through the whole gateway core."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices import gateway_commands
from devices.events import Incoming, LinkUp
from devices.gateway import Gateway, Saved, StoreGuard
from devices.gateway_events import StoreSequence, Tag
from devices.interlock_watch import DEFAULTS, Declared, RuleName, Stops, Watch
from devices.interlocks import band, guard
from devices.leases import HAZARD_MS, OPERATE_MS, SELECT_MS, Leases, output_of
from devices.model import DeviceId, DeviceKind, DeviceSpec, PinSpec, Setpoint, UsagePointId
from devices.outbox import Ack, BadPayload, decode_acks, encode_acks
from devices.sparkplug import DeviceData, HostSession
from devices.sparkplug_codec import DataType, Metric, encode_command
from devices.sparkplug_edge import decode_setpoint, encode_setpoint
from tests.devices.gateway_bench import BATTERY, CHARGER, GENSET, PUMP, PV, TANK, Bench

RELAY = DeviceSpec(
    DeviceId("valve"), DeviceKind.RELAY, "profile:relay_4ch", "gw-1", "e:1", 1,
    hazardous=True, ratings={"max_on_ms": 60_000, "min_rest_ms": 5_000},
)  # fmt: skip
BREAKER = DeviceSpec(
    DeviceId("tie"), DeviceKind.BREAKER, "gpio:header", "gw-1", "gpio:header", 0,
    pins=(PinSpec("closed", 17, "relay"),),
)  # fmt: skip


class Seen:
    """Readings by (device, point); what is not there is bad or old."""

    def __init__(self, **points: float | None) -> None:
        self.points = points

    def value(self, device: DeviceId, point: str) -> float | None:
        return self.points.get(point)


def rule(name: RuleName, device: str = "valve", **changes: object) -> Declared:
    usual = DEFAULTS.get(name)
    plain = Declared("r1", name, DeviceId(device), DeviceId("sensor"))
    if usual is not None:
        plain = dataclasses.replace(
            plain,
            point=usual.point,
            low=-1e9 if usual.low is None else usual.low,
            high=1000.0 if usual.high is None else usual.high,
            magnitude=usual.magnitude,
            delay_ms=usual.delay_ms,
            clear_ms=usual.clear_ms,
            latch=usual.latch,
        )
    return dataclasses.replace(plain, **changes)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (RuleName.BATTERY_LIMITS, {"celsius": 20.0}, {"celsius": 46.0}),
        (RuleName.PUMP_DRY_RUN, {"level": 0.5}, {"level": 0.05}),
        (RuleName.TANK_OVERFLOW, {"on": 0.0}, {"on": 1.0}),
        (RuleName.FEEDER_TRIP, {"W": -900.0}, {"W": -1100.0}),
        (RuleName.PEOPLE_ZONE, {"on": 0.0}, {"on": 1.0}),
    ],
)
def test_every_watching_rule_stops_when_outside_and_when_unknown(
    name: RuleName, good: dict[str, float], bad: dict[str, float]
) -> None:
    watch = Watch(rule(name))
    assert watch.look(Seen(**bad), 0) is not None
    clear = watch.declared.clear_ms
    assert (watch.look(Seen(**good), 1000) is None) == (clear == 0)
    assert watch.look(Seen(**good), 1000 + clear) is None
    assert watch.look(Seen(), 2000 + clear) is not None, "a bad reading stops at once"
    assert not watch.latched, "what is not known does not latch"
    watch.look(Seen(**good), 100_000)
    assert watch.look(Seen(**good), 200_000) is None
    watch.look(Seen(**bad), 201_000)
    assert (watch.look(Seen(**bad), 201_000 + watch.declared.delay_ms)) is not None
    assert watch.latched == watch.declared.latch


def test_a_delay_forgives_what_is_short() -> None:
    watch = Watch(rule(RuleName.FEEDER_TRIP, delay_ms=2000))
    assert watch.look(Seen(W=10.0), 0) is None
    assert watch.look(Seen(W=5000.0), 1000) is None
    assert watch.look(Seen(W=10.0), 2000) is None
    assert watch.look(Seen(W=5000.0), 3000) is None
    assert watch.look(Seen(W=-5000.0), 5000) is not None
    assert watch.look(Seen(W=0.0), 6000) is not None, "latched"
    assert watch.reset()
    assert not watch.reset()
    assert watch.look(Seen(W=0.0), 7000) is None


def test_a_battery_too_cold_to_charge_still_discharges() -> None:
    limits = rule(RuleName.BATTERY_LIMITS, "battery-1", low=0.0, stops=Stops.CHARGE, clear_ms=0)
    lock = guard(BATTERY, None, 0.95, 1000, [limits])
    assert lock.narrow(5000, Seen(soc=0.5, celsius=-3.0), 0).value == 0
    assert lock.narrow(-5000, Seen(soc=0.5, celsius=-3.0), 1000).value == -5000
    hot = guard(BATTERY, None, 0.95, 1000, [dataclasses.replace(limits, stops=Stops.DISCHARGE)])
    assert hot.narrow(-5000, Seen(soc=0.5, celsius=60.0), 0).rules == ("battery-limits:r1",)


def test_a_relay_keeps_its_longest_run_and_its_rest_and_wants_to_be_seen() -> None:
    lock = guard(RELAY, None, 0.95, 1000, [rule(RuleName.RELAY_MAX_ON, max_on_ms=30_000, min_rest_ms=1_000)])
    assert lock.narrow(1, Seen(), 0).rules == ("relay-state-unknown",)
    assert lock.narrow(1, Seen(on=0.0), 0).value == 1
    assert lock.narrow(1, Seen(on=1.0), 1_000).value == 1
    assert lock.narrow(1, Seen(on=1.0), 31_000).rules == ("relay-max-on",), "the shorter of both"
    assert lock.narrow(1, Seen(on=0.0), 32_000).rules == ("relay-min-rest",)
    assert lock.narrow(1, Seen(on=0.0), 36_999).value == 0, "the longer of both"
    assert lock.narrow(1, Seen(on=0.0), 37_000).value == 1


def test_a_pump_that_shows_no_flow_is_judged_by_its_flow_meter() -> None:
    class Two:
        def value(self, device: DeviceId, point: str) -> float | None:
            return {("pump-1", "on"): 1.0, ("flow-1", "flow_lpm"): 80.0}.get((device, point))

    alone = guard(PUMP, None, 0.95, 1000)
    alone.narrow(1, Two(), 0)
    assert alone.narrow(1, Two(), 60_000).rules == ("pump-no-flow",)
    metered = guard(PUMP, None, 0.95, 1000, flow_meter=DeviceId("flow-1"))
    metered.narrow(1, Two(), 0)
    assert metered.narrow(1, Two(), 60_000).value == 1


def test_declared_times_for_pump_and_genset() -> None:
    slow = guard(PUMP, None, 0.95, 1000, [rule(RuleName.PUMP_NO_FLOW, "pump-1", delay_ms=30_000)])
    slow.narrow(1, Seen(on=1.0, flow_lpm=0.0), 0)
    assert slow.narrow(1, Seen(on=1.0, flow_lpm=80.0), 31_000).value == 1, "it delivers"
    slow = guard(PUMP, None, 0.95, 1000, [rule(RuleName.PUMP_NO_FLOW, "pump-1", delay_ms=30_000)])
    slow.narrow(1, Seen(on=1.0, flow_lpm=0.0), 0)
    assert slow.narrow(1, Seen(on=1.0, flow_lpm=0.0), 29_999).value == 1
    assert slow.narrow(1, Seen(on=1.0, flow_lpm=0.0), 30_000).rules == ("pump-no-flow",)
    cool = guard(GENSET, None, 0.95, 1000, [rule(RuleName.GENSET_COOLDOWN, "genset-1", min_rest_ms=300_000)])
    cool.narrow(-12_000, Seen(running=1.0, fuel=0.5), 0)
    cool.narrow(0, Seen(running=0.0, fuel=0.5), 1000)
    assert cool.narrow(-12_000, Seen(running=0.0, fuel=0.5), 300_999).rules == ("genset-cooldown",)
    assert cool.narrow(-12_000, Seen(running=0.0, fuel=0.5), 301_000).value == -12_000


@given(st.lists(st.tuples(st.integers(0, 20_000), st.none() | st.floats(-2, 2), st.floats(-3, 3)), max_size=30))
def test_declared_rules_never_widen(history: list[tuple[int, float | None, float]]) -> None:
    lock, elapsed = guard(RELAY, None, 0.95, 1000, [rule(RuleName.PEOPLE_ZONE)]), 0
    for wait, seen, wish in history:
        elapsed += wait
        value = lock.narrow(wish, Seen(on=seen), elapsed).value
        assert 0 <= value <= 1
        assert abs(value) <= abs(wish)
        if seen is None or not seen <= 0.5:
            assert value == 0


# --- two steps ------------------------------------------------------------------------------------------------------


def lease(value: float, sequence: int, step: str = "", name: str = "a", **changes: object) -> Setpoint:
    plain = Setpoint(DeviceId("tie"), "closed", value, 1, sequence, 60_000, 0.0, "test", step, name if step else "")
    return dataclasses.replace(plain, **changes)


def breaker() -> Leases:
    return Leases({BREAKER.id: output_of(BREAKER, "closed", 0)})


def code(leases: Leases, setpoint: Setpoint, elapsed: int = 0) -> str:
    return leases.accept(setpoint, elapsed, 500).split(":")[0]


def test_a_breaker_is_selected_and_then_operated_once() -> None:
    leases = breaker()
    output = leases.outputs[BREAKER.id]
    assert code(leases, lease(1, 1)) == "select-first"
    assert code(leases, lease(1, 2, "operate")) == "not-selected"
    assert code(leases, lease(1, 3, "select", "")) == "no-id"
    assert code(leases, lease(1, 4, "select")) == ""
    assert output.wish is None, "a selection moves nothing"
    assert code(leases, lease(1, 5, "operate"), SELECT_MS - 1) == ""
    assert (output.wish, output.valid_ms) == (1, OPERATE_MS)
    assert code(leases, lease(1, 6, "operate"), SELECT_MS) == "not-selected", "used up"
    assert leases.expire(SELECT_MS + OPERATE_MS) == [output]
    assert output.wish is None, "left as it is, not opened"


@pytest.mark.parametrize(
    ("operate", "elapsed", "refused"),
    [
        (lease(1, 2, "operate"), SELECT_MS, "not-selected"),
        (lease(1, 2, "operate", "b"), 1, "other-selection"),
        (lease(0, 2, "operate"), 1, "other-selection"),
        (lease(1, 2, "operate", epoch=2), 1, "other-selection"),
    ],
)
def test_an_operate_that_does_not_fit_uses_the_selection_up(operate: Setpoint, elapsed: int, refused: str) -> None:
    leases = breaker()
    assert code(leases, lease(1, 1, "select")) == ""
    assert code(leases, operate, elapsed) == refused
    assert code(leases, lease(1, 3, "operate"), 2) == "not-selected"


def test_steps_are_for_breakers_only_and_travel_on_the_wire() -> None:
    leases = Leases({RELAY.id: output_of(RELAY, "on", 60_000)})
    assert code(leases, lease(1, 1, "select", device=RELAY.id, point="on")) == "one-step"
    assert code(leases, lease(1, 1, device=DeviceId("nobody"))) == "not-writable"
    sent = lease(1, 7, "select", "id-1")
    assert decode_setpoint(sent.device, sent.point, encode_setpoint(sent)) == sent


def test_what_no_output_may_be_told_is_refused_with_its_code() -> None:
    plain = lease(1, 1, device=RELAY.id, point="on")
    leases = Leases({RELAY.id: output_of(RELAY, "on", 60_000)})
    for changes, refused in (
        ({"value": float("nan")}, "not-a-number"),
        ({"fallback": float("inf")}, "not-a-number"),
        ({"valid_ms": 0}, "validity"),
        ({"valid_ms": 25 * 3_600_000}, "validity"),
        ({"point": "off"}, "not-writable"),
    ):
        assert code(leases, dataclasses.replace(plain, **changes)) == refused
    assert leases.refused == {"not-a-number": 2, "validity": 2, "not-writable": 1}
    read_only = dataclasses.replace(RELAY, read_only=True)
    assert code(Leases({RELAY.id: output_of(read_only, "on", 0)}), plain) == "read-only"
    assert code(leases, dataclasses.replace(plain, epoch=5)) == ""
    assert code(leases, dataclasses.replace(plain, epoch=4)) == "superseded"
    assert code(leases, dataclasses.replace(plain, epoch=5)) == "not-newer"
    assert code(leases, dataclasses.replace(plain, epoch=5, sequence=2)) == ""
    assert leases.outputs[RELAY.id].remaining_ms(500) == HAZARD_MS - 500
    assert leases.expire(HAZARD_MS - 1) == []
    assert leases.expire(HAZARD_MS) == [leases.outputs[RELAY.id]]
    assert leases.outputs[RELAY.id].remaining_ms(0) == 0
    assert leases.next_deadline() is None


def test_a_person_at_the_gateway_takes_no_part_in_the_hubs_numbering() -> None:
    leases = breaker()
    leases.epoch, leases.sequence = 7, 100
    for step in ("select", "operate"):
        assert leases.accept(lease(1, 0, step, epoch=7), 0, 500, local=True) == ""
    assert (leases.epoch, leases.sequence, leases.outputs[BREAKER.id].sequence) == (7, 100, -1)
    assert leases.outputs[BREAKER.id].wish == 1


def test_what_has_no_output_has_no_band() -> None:
    assert band(TANK) == (0.0, 0.0)
    assert band(PV) == (0.0, 1.0)
    assert band(CHARGER) == (0.0, 11_000)


def test_a_malformed_acknowledgement_is_no_acknowledgement() -> None:
    sound = encode_acks([Ack(UsagePointId("m"), 1, 2)])
    assert decode_acks(sound) == [Ack(UsagePointId("m"), 1, 2)]
    for row in (b"[1,1,2]", b'["m",-1,2]', b'["m",1,"x"]', b'["m",1]'):
        with pytest.raises(BadPayload):
            decode_acks(sound.replace(b'["m",1,2]', row))


def test_a_hazardous_output_is_let_for_two_and_a_half_seconds_at_most() -> None:
    leases = Leases({RELAY.id: output_of(RELAY, "on", 60_000)})
    output = leases.outputs[RELAY.id]
    assert output.until == HAZARD_MS, "and falls to its default as fast after a start"
    assert code(leases, lease(1, 1, device=RELAY.id, point="on")) == ""
    assert output.until == HAZARD_MS
    assert leases.next_deadline() == HAZARD_MS
    leases.expire(HAZARD_MS)
    assert output.wish == 0


# --- the whole core -------------------------------------------------------------------------------------------------


def again(bench: Bench, saved: Saved) -> None:
    """Another gateway process on the same devices."""
    bench.gateway = Gateway(bench.config, bench.now, saved)
    bench.step(LinkUp())


def with_rules(*rules: Declared) -> Bench:
    bench = Bench()
    bench.config = dataclasses.replace(bench.config, interlocks=rules)
    again(bench, Saved())
    return bench


def ask(bench: Bench, **request: object) -> dict[str, object]:
    answer, effects = gateway_commands.ask(bench.gateway, {"user": "ana", **request})
    for effect in effects:
        for event in bench.perform(effect):
            bench.step(event)
    return dict(answer)


def test_a_tag_stops_the_pump_refuses_everybody_and_outlives_a_restart() -> None:
    bench = Bench()
    bench.run(61_000)
    bench.setpoint("pump-1", 1)
    bench.run(3_000)
    assert bench.devices["pump-1"].values["on"] == 1
    assert ask(bench, ask="lockout", device="pump-1")["code"] == "no-reason"
    assert ask(bench, ask="lockout", device="pump-1", reason="bearing")["accepted"]
    bench.run(2_000)
    assert bench.devices["pump-1"].values["on"] == 0
    assert bench.gateway.value(DeviceId("pump-1"), "on") == 0
    bench.setpoint("pump-1", 1, epoch=9)
    assert bench.gateway.leases.refused["locked-out"] == 1
    assert ask(bench, ask="lockout", device="pump-1", reason="mine", user="ben")["code"] == "locked-out"
    assert ask(bench, ask="unlock", device="pump-1", user="ben")["code"] == "forbidden"
    tags = tuple(bench.gateway.tags.values())
    assert tags == (Tag(DeviceId("pump-1"), "ana", "bearing", tags[0].at),)
    again(bench, Saved(tags=tags))
    bench.run(62_000)
    bench.setpoint("pump-1", 1, epoch=10)
    assert bench.gateway.leases.refused["locked-out"] == 1
    assert ask(bench, ask="unlock", device="pump-1")["accepted"]
    assert ask(bench, ask="unlock", device="pump-1")["code"] == "not-locked"
    bench.setpoint("pump-1", 1, epoch=11)
    bench.run(3_000)
    assert bench.devices["pump-1"].values["on"] == 1


def test_another_hand_takes_a_tag_only_in_so_many_words() -> None:
    bench = Bench()
    ask(bench, ask="lockout", device="pump-1", reason="bearing")
    assert ask(bench, ask="unlock", device="pump-1", user="ben", force=True)["accepted"]
    assert any("ben for ana" in log.text for log in bench.logs)


def test_the_hub_is_told_of_a_tag_at_once_and_with_every_reading() -> None:
    bench = Bench((PUMP, TANK))
    bench.run(3_000)
    bench.sent, births = [], bench.sent
    ask(bench, ask="lockout", device="pump-1", reason="bearing")
    assert len(bench.sent) == 1, "at once"
    bench.run(1_000)
    host = HostSession("village")
    seen = [
        reading
        for message in (*births, *bench.sent)
        for found in host.receive(message.topic, message.payload, bench.now)
        if isinstance(found, DeviceData)
        for reading in zip(found.readings.points, found.readings.values, strict=True)
        if reading[0] == "locked_out"
    ]
    assert seen[-2:] == [("locked_out", 1.0), ("locked_out", 1.0)], "alone, then beside the next readings"
    assert gateway_commands.status(bench.gateway)["tags"]


def test_what_is_no_request_is_an_answer() -> None:
    bench = Bench()
    assert "error" in ask(bench, ask="explode")
    assert "error" in ask(bench)
    assert ask(bench, ask="lockout", device="nobody", reason="x")["code"] == "unknown-device"
    assert ask(bench, ask="reset", interlock="x", reason="y")["code"] == "not-latched"
    assert ask(bench, ask="reset", interlock="x")["code"] == "no-reason"
    assert ask(bench, ask="select", device="pump-1", value=2)["code"] == "out-of-range"
    assert ask(bench, ask="select", device="pump-1", value=1, id="a", reason="r")["code"] == "one-step"


def test_a_feeder_trip_latches_over_a_restart_until_a_person_resets_it() -> None:
    trip = Declared(
        "feeder", RuleName.FEEDER_TRIP, DeviceId("battery-1"), DeviceId("home-01"), 1, "W",
        high=5000.0, magnitude=True, delay_ms=2000, latch=True,
    )  # fmt: skip
    bench = with_rules(trip)
    bench.run(3_000)
    bench.setpoint("battery-1", 4000)
    bench.run(3_000)
    assert bench.devices["battery-1"].values["setpoint"] == 4000
    bench.devices["home-01"].values["W"] = -6000
    bench.run(5_000)
    assert bench.devices["battery-1"].values["setpoint"] == 0
    assert bench.gateway.latched == {"feeder"}
    bench.devices["home-01"].values["W"] = 100
    again(bench, Saved(latched=frozenset({"feeder"})))
    bench.run(3_000)
    bench.setpoint("battery-1", 4000, epoch=2)
    bench.run(3_000)
    assert bench.devices["battery-1"].values["setpoint"] == 0
    assert ask(bench, ask="reset", interlock="feeder", reason="cable mended")["accepted"]
    bench.run(3_000)
    assert bench.devices["battery-1"].values["setpoint"] == 4000


def test_a_latch_is_on_disk_before_the_write_that_it_led_to() -> None:
    trip = Declared(
        "feeder", RuleName.FEEDER_TRIP, DeviceId("battery-1"), DeviceId("battery-1"), 1, "soc", high=0.4, latch=True
    )
    bench = Bench((BATTERY,))
    bench.config = dataclasses.replace(bench.config, interlocks=(trip,))
    again(bench, Saved())
    kept: list[StoreGuard] = []
    perform = bench.perform
    bench.perform = lambda effect: kept.append(effect) or [] if isinstance(effect, StoreGuard) else perform(effect)  # type: ignore[method-assign]
    bench.run(3_000)
    assert kept[0].latched == {"feeder"}


def test_a_recorded_hour_played_again_after_a_restart_does_nothing() -> None:
    """Row 27: the same messages, epoch and sequence as before, to a gateway that has forgotten everything else."""
    bench = Bench()
    bench.run(61_000)
    played: list[tuple[str, bytes]] = []
    stored: list[StoreSequence] = []
    perform, step = bench.perform, bench.step

    def recording(effect: object) -> list[object]:
        if isinstance(effect, StoreSequence):
            stored.append(effect)
        return perform(effect)  # type: ignore[arg-type,return-value]

    bench.perform = recording  # type: ignore[method-assign,assignment]
    for number in range(1, 40):
        value = float(number * 100)
        setpoint = Setpoint(DeviceId("battery-1"), "setpoint", value, 4, number, 30_000, 0.0, "day")
        payload = encode_command([Metric("setpoint/setpoint", DataType.BYTES, encode_setpoint(setpoint))], bench.now)
        played.append(("spBv1.0/village/DCMD/gw-1/battery-1", payload))
        step(Incoming(*played[-1]))
        bench.run(1_000)
    assert stored[-1] == StoreSequence(4, 39)
    assert bench.devices["battery-1"].values["setpoint"] == 3900
    again(bench, Saved(epoch=4, sequence=39))
    bench.run(70_000)
    writes = len(bench.devices["battery-1"].writes)
    for topic, payload in played:
        step(Incoming(topic, payload))
        bench.run(1_000)
    assert bench.gateway.leases.refused["not-newer"] == 39
    assert len(bench.devices["battery-1"].writes) == writes
