"""The hub's core through its one entrance, spoken to by a real Sparkplug edge session."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller import hub as core
from controller.commands import AcknowledgeAlarm, Actor, HoldDevice, ReleaseDevice, Role, command_id
from controller.history import KEEP_DAYS, History, genset_key
from devices.clock import HOUR_MS, MINUTE_MS, SLOT_MS, ClockQuality, Instant
from devices.events import Incoming, LinkDown, LinkUp, Tick
from devices.model import Commodity, DeviceId, IntervalRecord, Message, RecordQuality, Setpoint, UsagePointId
from devices.outbox import encode_batch
from devices.sparkplug import EdgeSession, HostOnline, RebirthRequested, SetpointReceived
from devices.sparkplug_codec import DataType, Metric
from optimizer.answer import Cause, Failed
from optimizer.plan import Plan
from optimizer.problem import Stop
from optimizer.solve import solve
from tests.controller.scene import CALM, NOW, readings, village
from tests.optimizer.problems import village as village_day

SITE = village()
OPERATOR = Actor("ana", Role.OPERATOR, "console")


class Village:
    """A hub and one edge node, with the wire between them in hand."""

    def __init__(self) -> None:
        config = core.HubConfig(SITE, epoch=7, cycle_ms=1_000, period_ms=1_000, floor_ms=0, replan_ms=900_000)
        self.now = NOW
        self.hub = core.start(config, NOW)
        self.edge = EdgeSession(SITE.id, "gw-1")
        self.seen: list[core.Effect] = []
        self.ids = 0
        self.step(LinkUp())
        self.born = {
            DeviceId(device): [Metric(name, DataType.DOUBLE, value) for name, value in points.items()]
            for device, points in CALM.items()
        }
        self.born[DeviceId("records")] = [Metric("Records/batch", DataType.BYTES, None)]
        self.edge.will(self.now)
        for message in self.edge.birth(self.now, self.born):
            self.receive(message)

    def step(self, event: core.Event) -> list[core.Effect]:
        self.hub, effects = core.step(self.hub, event, self.now)
        self.seen += effects
        return effects

    def receive(self, message: Message) -> list[core.Effect]:
        return self.step(Incoming(message.topic, message.payload))

    def report(self, **changes: dict[str, float | None]) -> None:
        for device, points in CALM.items():
            values: dict[str, float | None] = {**points, **changes.get(device.replace("-", "_"), {})}
            self.receive(self.edge.data(readings(device, values, self.now)))

    def pass_ms(self, milliseconds: int) -> list[core.Effect]:
        """Lets time pass second by second, with a report each."""
        effects: list[core.Effect] = []
        for _ in range(milliseconds // 1_000):
            self.now = Instant(self.now + 1_000)
            self.report()
            effects += self.step(Tick())
        return effects

    def setpoints(self, effects: list[core.Effect]) -> list[Setpoint]:
        found: list[Setpoint] = []
        for effect in effects:
            if isinstance(effect, core.Publish):
                found += [
                    event.setpoint
                    for event in self.edge.receive(effect.message, self.now)
                    if isinstance(event, SetpointReceived)
                ]
        return found

    def id(self) -> str:
        self.ids += 1
        return command_id(self.now, self.ids)

    def command(self, command: core.Commanded) -> tuple[str, list[core.Effect]]:
        effects = self.step(command)
        reply = next(effect for effect in effects if isinstance(effect, core.Reply))
        return reply.result.code, effects


@pytest.fixture
def place() -> Village:
    return Village()


def test_the_hub_greets_with_its_state(place: Village) -> None:
    births = [effect.message for effect in place.seen if isinstance(effect, core.Publish)]
    assert births[0].topic.startswith("spBv1.0/STATE/")
    assert [event for event in place.edge.receive(births[0], NOW) if event == HostOnline(True)]


def test_readings_become_setpoints_with_epoch_lifetime_and_reason(place: Village) -> None:
    place.report()
    sent = place.setpoints(place.step(Tick()))
    battery = next(setpoint for setpoint in sent if setpoint.device == "battery-1")
    assert battery.value == -10_000
    assert battery.epoch == 7
    assert battery.valid_ms == 58_000, "with the write, lapsed within 60 s of the hub's death"
    assert battery.fallback == 0.0
    assert "follow" in battery.reason
    assert len({setpoint.sequence for setpoint in sent}) == len(sent)


def test_what_a_device_is_told_is_kept_when_it_changes_and_now_and_then(place: Village) -> None:
    def kept(effects: list[core.Effect]) -> list[tuple[float | None, ...]]:
        stored = [one.readings for one in effects if isinstance(one, core.Store)]
        return [r.values for r in stored if r.device == "battery-1" and r.points == ("told",)]

    first = kept(place.step(Tick()))
    assert len(first) == 1
    assert kept(place.pass_ms(60_000)) == [], "renewed, but unchanged"
    assert kept(place.pass_ms(300_000)) == first


def test_an_unchanged_setpoint_is_renewed_at_a_third_of_its_life(place: Village) -> None:
    place.report()
    place.step(Tick())
    renewed = place.setpoints(place.pass_ms(40_000))
    battery = [setpoint for setpoint in renewed if setpoint.device == "battery-1"]
    assert len(battery) == 2


def test_a_gap_in_the_sequence_asks_for_a_rebirth(place: Village) -> None:
    place.edge.data(readings("grid-1", dict(CALM["grid-1"]), place.now))  # lost on the way
    place.receive(place.edge.data(readings("grid-1", dict(CALM["grid-1"]), place.now)))
    place.now = Instant(place.now + 3_000)
    wanted = [effect.message for effect in place.step(Tick()) if isinstance(effect, core.Publish)]
    assert any(
        isinstance(event, RebirthRequested) for message in wanted for event in place.edge.receive(message, place.now)
    )


def test_death_makes_everything_of_the_node_stale_and_one_alarm(place: Village) -> None:
    place.pass_ms(20_000)
    place.receive(place.edge.death(place.now))
    effects: list[core.Effect] = []
    for _ in range(3):
        place.now = Instant(place.now + 1_000)
        effects += place.step(Tick())
    alarms = {alarm.condition.id for alarm in place.hub.alarms.standing if alarm.condition.priority != "low"}
    assert alarms == {"gateway.gw-1"}
    assert place.hub.decisions[DeviceId("battery-1")].value == 0.0


def test_a_silent_device_is_an_alarm_that_clears_by_itself(place: Village) -> None:
    place.pass_ms(20_000)
    silent = {device: points for device, points in CALM.items() if device != "tank-1"}
    for _ in range(20):
        place.now = Instant(place.now + 1_000)
        for device, points in silent.items():
            place.receive(place.edge.data(readings(device, dict(points), place.now)))
        place.step(Tick())
    assert place.hub.alarms.get("offline.tank-1") is not None
    place.pass_ms(30_000)
    alarm = place.hub.alarms.get("offline.tank-1")
    assert alarm is not None
    assert alarm.state == "returned-unacknowledged"


def test_a_silent_bus_is_one_alarm_and_a_restart_of_it_is_none(place: Village) -> None:
    place.pass_ms(20_000)

    def silence(seconds: int) -> set[str]:
        for _ in range(seconds):
            place.now = Instant(place.now + 1_000)
            place.step(Tick())
        return {alarm.condition.id for alarm in place.hub.alarms.standing if alarm.condition.priority != "low"}

    assert silence(12) == set(), "shorter than the settling time after the data deadline"
    place.pass_ms(20_000)
    assert not [alarm for alarm in place.hub.alarms.standing if alarm.condition.id.startswith("bus.")]
    assert silence(25) == {"bus.gw-1"}
    alarm = place.hub.alarms.get("bus.gw-1")
    assert alarm is not None
    assert "devices of gateway gw-1 do not report" in alarm.condition.text
    place.pass_ms(40_000)
    alarm = place.hub.alarms.get("bus.gw-1")
    assert alarm is not None
    assert alarm.state == "returned-unacknowledged"


def test_records_are_accepted_once_and_never_raise(place: Village) -> None:
    start = Instant(NOW - NOW % SLOT_MS)
    record = IntervalRecord(
        UsagePointId("home-01"), Commodity.ENERGY, 1, 1, start, Instant(start + SLOT_MS), 10, 20, 0, 0,
        RecordQuality.MEASURED, ClockQuality.SYNCHRONISED,
    )  # fmt: skip
    sent = place.receive(place.edge.data_bytes(DeviceId("records"), "Records/batch", encode_batch([record]), place.now))
    assert [effect.records for effect in sent if isinstance(effect, core.Accept)] == [(record,)]
    place.receive(place.edge.data_bytes(DeviceId("records"), "Records/batch", b"[1,[[]]]", place.now))
    assert place.hub.bad_batches == 1


@pytest.mark.parametrize(
    "payload", [b"", b"\xff" * 50, b"{" * 10_000, bytes(300_000), b"[NaN]"], ids=["empty", "ff", "deep", "big", "nan"]
)
@pytest.mark.parametrize(
    "topic", ["spBv1.0/village/DDATA/gw-1/grid-1", "spBv1.0/village", "vda5050/v2/atoll/robot-1/state", "x", ""]
)
def test_nothing_on_the_wire_raises(place: Village, topic: str, payload: bytes) -> None:
    place.step(Incoming(topic, payload))
    cycles = place.hub.cycles
    place.pass_ms(2_000)
    assert place.hub.cycles > cycles


def hold(place: Village, **changes: Any) -> core.Commanded:
    command = HoldDevice(place.id(), OPERATOR, "pump-1", 1.0, Instant(place.now + 600_000), "flush the pipe")
    return core.Commanded(replace(command, **changes))


def test_a_hold_acts_at_once_is_audited_and_expires(place: Village) -> None:
    place.report()
    place.step(Tick())
    code, effects = place.command(hold(place, until=Instant(place.now + 5_000)))
    assert code == "ok"
    assert [effect.kind for effect in effects if isinstance(effect, core.Audit)] == ["hold"]
    later = place.pass_ms(1_000)
    assert next(s for s in place.setpoints(later) if s.device == "pump-1").value == 1.0
    assert place.hub.decisions[DeviceId("pump-1")].reason.startswith("operator: ana")
    place.pass_ms(6_000)
    assert not place.hub.holds
    assert any(isinstance(effect, core.Audit) and effect.kind == "hold-expired" for effect in place.seen)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"actor": Actor("eve", Role.VIEWER, "console")}, "forbidden"),
        ({"device": "pump-9"}, "unknown-device"),
        ({"device": "home-01"}, "not-writable"),
        ({"value": 2.0}, "out-of-range"),
        ({"reason": "  "}, "no-reason"),
        ({"until": NOW}, "bad-expiry"),
        ({"until": Instant(NOW + 25 * 3_600_000)}, "bad-expiry"),
        ({"id": "1"}, "bad-id"),
        ({"value": float("nan")}, "out-of-range"),
        ({"until": Instant(2**62)}, "bad-command"),
        ({"until": Instant(-1)}, "bad-command"),
        ({"reason": "\ud800"}, "bad-command"),
        ({"reason": "x" * 501}, "bad-command"),
    ],
)
def test_a_hold_that_may_not_be_is_refused_with_a_code(place: Village, changes: dict[str, object], code: str) -> None:
    seen, _ = place.command(hold(place, **changes))
    assert seen == code
    assert not place.hub.holds


def test_a_repeated_command_does_nothing_twice(place: Village) -> None:
    command = hold(place)
    place.command(command)
    _, effects = place.command(command)
    assert not [effect for effect in effects if isinstance(effect, core.Audit)]


def test_release_and_acknowledge_say_what_they_found(place: Village) -> None:
    assert place.command(core.Commanded(ReleaseDevice(place.id(), OPERATOR, "pump-1", "x")))[0] == "not-held"
    place.command(hold(place))
    assert place.command(core.Commanded(ReleaseDevice(place.id(), OPERATOR, "pump-1", "x")))[0] == "ok"
    assert place.command(core.Commanded(AcknowledgeAlarm(place.id(), OPERATOR, "none")))[0] == "unknown-alarm"


def test_a_plan_is_asked_for_once_and_a_failure_leaves_the_rules(place: Village) -> None:
    asked = [effect for effect in place.pass_ms(3_000) if isinstance(effect, core.AskPlan)]
    assert len(asked) == 1
    place.step(core.PlanAnswered(asked[0].request, Failed(Cause.TIMEOUT, "20 s are over")))
    assert "rules only" in place.hub.planning.status
    assert "20 s are over" in place.hub.planning.status
    place.step(core.PlanAnswered(99, Failed(Cause.CRASH, "a late answer to another question")))
    again = [effect for effect in place.pass_ms(301_000) if isinstance(effect, core.AskPlan)]
    assert len(again) == 1


def test_a_whole_search_comes_every_hour_after_failures_and_events(place: Village) -> None:
    planning, now = place.hub.planning, place.hub.planning.next_at
    plan = solve(village_day(), Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    start = plan.start
    assert not planning.warm(start)  # nothing to keep yet
    planning.plan, planning.made_at, planning.searched_at = plan, start, start
    assert planning.warm(Instant(start + 5 * MINUTE_MS))
    assert not planning.warm(Instant(start + HOUR_MS))
    planning.failures = 1
    assert not planning.warm(Instant(start + 5 * MINUTE_MS))
    planning.failures = 0
    planning.hasten("the outside is gone", now, 0)
    assert not planning.warm(Instant(start + 5 * MINUTE_MS))


def test_nothing_is_sent_while_the_link_is_down(place: Village) -> None:
    place.report()
    place.step(LinkDown("broker gone"))
    assert not place.setpoints(place.step(Tick()))


def test_a_gateway_speaks_only_for_its_own_devices(place: Village) -> None:
    place.report()
    stranger = EdgeSession(SITE.id, "gw-9")
    stranger.will(place.now)
    claimed = {DeviceId(name): [Metric("W", DataType.DOUBLE, 5.0)] for name in ("battery-1", "unheard-of")}
    for message in stranger.birth(place.now, claimed):
        place.receive(message)
    place.receive(stranger.data(readings("battery-1", {"W": 7.0}, place.now)))
    assert place.hub.node_of[DeviceId("battery-1")] == "gw-1"
    assert "unheard-of" not in place.hub.node_of
    assert place.hub.image.freeze(place.now).value("battery-1", "W") == CALM["battery-1"]["W"]
    assert place.hub.host.counters["foreign_device"] == 5  # two births, their values, one message


def test_history_is_bounded_whatever_comes() -> None:
    def record(start: int, point: str = "genset-1", wh: int = 250) -> IntervalRecord:
        return IntervalRecord(
            UsagePointId(point), Commodity.ENERGY, 1, 1, Instant(start), Instant(start + SLOT_MS), 0, 0, 0, wh
        )

    def made(at: int) -> float | None:
        return history.value(genset_key("genset-1"), Instant(at))

    slot = NOW - NOW % SLOT_MS - SLOT_MS
    history = History(SITE)
    refused = [record(2**61), record(slot + 1), record(0), record(slot, "nobody"), record(slot - SLOT_MS, wh=2**61)]
    history.add([record(slot), *refused, record(slot)], NOW)
    assert [value for value in history.series(genset_key("genset-1"), NOW, KEEP_DAYS) if value is not None] == [250.0]
    later = Instant(NOW + (KEEP_DAYS + 20) * 86_400_000)
    for at in range(slot + SLOT_MS, later, SLOT_MS):
        history.add([record(at, wh=at % 97)], Instant(at + SLOT_MS))
    assert made(slot) is None  # its place was taken
    kept = history.column(genset_key("genset-1"), Instant(later - later % SLOT_MS), KEEP_DAYS)
    last = range(later - later % SLOT_MS - KEEP_DAYS * 86_400_000, later - SLOT_MS, SLOT_MS)
    assert kept.tolist()[:-1] == [at % 97 for at in last][: len(kept) - 1]


def test_a_lost_answer_of_the_planner_is_a_failure_not_the_end(place: Village) -> None:
    place.report()
    place.step(Tick())
    assert place.hub.planning.pending is not None
    first = place.hub.planning.sequence
    place.now = Instant(place.now + 11 * 60_000)
    place.report()
    place.step(Tick())
    assert place.hub.planning.failures == 1
    place.pass_ms(6 * 60_000)
    assert place.hub.planning.sequence > first
