"""Two steps by way of the hub: a breaker's gateway core and a flying copter take what the hub's core sends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller import hub as core
from controller import two_step
from controller.commands import Actor, HoldDevice, OperateDevice, Role, command_id
from controller.site import Site, load
from devices.clock import Instant
from devices.events import Incoming, LinkUp, Tick
from devices.leases import SELECT_MS, Leases, output_of
from devices.mavlink_craft import Phase
from devices.mavlink_launch import OPERATE_LAUNCH, SELECT_LAUNCH
from devices.mavlink_pilot import Pilot, factsheet_of
from devices.model import DeviceId, Message
from devices.sparkplug import EdgeSession, SetpointReceived
from devices.sparkplug_codec import DataType, Metric
from devices.vda5050 import Action, ActionParameter
from tests.controller.scene import CALM, NOW, VILLAGE, readings
from tests.controller.test_site_zones import AUTHORISED, FENCE, MAVLINK, with_mavlink
from tests.devices.test_mavlink_pilot import ADDRESS, Village
from tests.drone_world import CLINIC, RULES

ANA, BEN = Actor("ana", Role.OPERATOR, "console"), Actor("ben", Role.OPERATOR, "cli")
TIE = DeviceId("tie")
BREAKER = """
[[device]]
id = "tie"
kind = "breaker"
driver = "gpio:header"
gateway = "gw-1"
island = true
[device.pins]
closed = { pin = 17, use = "relay" }
"""
SITE = load(VILLAGE.read_text() + BREAKER, "site.toml")


class Hub:
    """The hub's core, asked by people; what it publishes is kept."""

    def __init__(self, site: Site, now: Instant = NOW, *, advisory: bool = False) -> None:
        config = core.HubConfig(
            site, epoch=7, cycle_ms=1_000, period_ms=1_000, floor_ms=0, replan_ms=900_000, advisory=advisory
        )
        self.now, self.hub, self.ids = now, core.start(config, now), 0
        self.published: list[Message] = []
        self.audits: list[core.Audit] = []
        self.step(LinkUp())

    def step(self, event: core.Event) -> list[core.Effect]:
        self.hub, effects = core.step(self.hub, event, self.now)
        self.published += [effect.message for effect in effects if isinstance(effect, core.Publish)]
        self.audits += [effect for effect in effects if isinstance(effect, core.Audit)]
        return effects

    def ask(self, device: str, value: float, step: str, selection: str = "", actor: Actor = ANA, reason: str = "test"):
        self.ids += 1
        self.published.clear()
        command = OperateDevice(command_id(self.now, self.ids), actor, device, value, step, reason, selection)
        (reply,) = [e for e in self.step(core.Commanded(command)) if isinstance(e, core.Reply)]
        return reply.result


class Yard(Hub):
    """A hub, and the leases of the gateway that has the breaker; the wire between them is real."""

    def __init__(self, **state: float) -> None:
        super().__init__(SITE)
        spec = SITE.device(TIE)
        assert spec is not None
        self.edge = EdgeSession(SITE.id, "gw-1")
        self.leases = Leases({TIE: output_of(spec, "closed", 60_000)})
        self.values = {"closed": 1.0, "locked_out": 0.0, **state}
        self.edge.will(self.now)
        born = {DeviceId(d): [Metric(n, DataType.DOUBLE, v) for n, v in points.items()] for d, points in CALM.items()}
        metrics = [Metric(name, DataType.DOUBLE, value) for name, value in self.values.items()]
        born[TIE] = [*metrics, Metric("closed/setpoint", DataType.BYTES)]
        for message in self.edge.birth(self.now, born):
            self.step(Incoming(message.topic, message.payload))
        self.tick()

    def tick(self, milliseconds: int = 1_000) -> None:
        self.now = Instant(self.now + milliseconds)
        for device, points in (*CALM.items(), (TIE, self.values)):
            message = self.edge.data(readings(device, points, self.now))
            self.step(Incoming(message.topic, message.payload))
        self.step(Tick())

    def heard(self) -> list[str]:
        """What the gateway says to the hub's last words: empty for taken, else why not."""
        found = [event for message in self.published for event in self.edge.receive(message, self.now)]
        steps = [event.setpoint for event in found if isinstance(event, SetpointReceived)]
        return [self.leases.accept(step, self.now - NOW, 500) for step in steps if step.device == TIE]


def test_a_breaker_is_selected_with_what_would_happen_and_then_operated() -> None:
    yard = Yard()
    spec = SITE.device(TIE)
    assert spec is not None
    assert two_step.choices(yard.hub, spec) == ((0.0, "open"), (1.0, "close"))
    asked = yard.ask("tie", 0, "select")
    assert asked.accepted
    assert asked.message == (
        "tie is closed. The village would become an island. 4.0 kW come from outside now; battery-1: 60%;"
        " genset-1: fuel 80%. Operate it within 20 s."
    )
    assert yard.heard() == [""]
    done = yard.ask("tie", 0, "operate", asked.id)
    assert done.accepted
    assert yard.heard() == [""]
    assert yard.leases.outputs[TIE].wish == 0.0
    kinds = [(audit.kind, dict(audit.body)["by"], dict(audit.body)["selection"]) for audit in yard.audits[-2:]]
    assert kinds == [("select", "ana", asked.id), ("operate", "ana", asked.id)]
    assert yard.ask("tie", 0, "operate", asked.id).code == "not-selected", "used up"


def test_the_text_says_when_nothing_would_change_and_what_closing_does() -> None:
    yard = Yard()
    assert "Nothing would change" in yard.ask("tie", 1, "select").message
    yard.values["closed"] = 0.0
    yard.tick(SELECT_MS + 1)
    assert "connected to the outside grid" in yard.ask("tie", 1, "select").message


@pytest.mark.parametrize(
    ("value", "selection", "actor", "later_ms", "code"),
    [
        (0, "", ANA, 0, "other-selection"),
        (1, "same", ANA, 0, "other-selection"),
        (0, "same", BEN, 0, "other-selection"),
        (0, "same", ANA, SELECT_MS, "not-selected"),
    ],
)
def test_a_second_step_that_does_not_match_moves_nothing(value, selection, actor, later_ms, code) -> None:
    yard = Yard()
    asked = yard.ask("tie", 0, "select")
    assert yard.heard() == [""]
    yard.now = Instant(yard.now + later_ms)
    result = yard.ask("tie", value, "operate", asked.id if selection else "", actor)
    assert (result.accepted, result.code) == (False, code)
    assert yard.heard() == []
    assert yard.leases.outputs[TIE].wish is None


def test_who_has_selected_keeps_it_for_twenty_seconds() -> None:
    yard = Yard()
    yard.ask("tie", 0, "select")
    assert yard.ask("tie", 1, "select", actor=BEN).code == "selected"
    yard.tick(SELECT_MS)
    assert yard.ask("tie", 1, "select", actor=BEN).accepted


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (("pump-1", 1, "select"), "unknown-device"),
        (("nothing", 1, "select"), "unknown-device"),
        (("tie", 0.5, "select"), "out-of-range"),
        (("tie", 0, "jump"), "bad-step"),
        (("drone-1", 0, "select"), "out-of-range"),
        (("drone-1", 1, "select"), "no-flight"),
    ],
)
def test_what_cannot_be_is_refused_with_a_code(request_: tuple[str, float, str], code: str) -> None:
    assert Yard().ask(*request_).code == code


def test_a_reason_a_gateway_and_no_tag_are_needed_and_a_viewer_may_not() -> None:
    yard = Yard()
    assert yard.ask("tie", 0, "select", reason=" ").code == "no-reason"
    assert yard.ask("tie", 0, "select", actor=Actor("eve", Role.VIEWER, "console")).code == "forbidden"
    assert yard.audits[-1].kind == "select", "what was refused stands in the log too"
    yard.hub.node_of.clear()
    assert yard.ask("tie", 0, "select").code == "unreachable"
    tagged = Yard(locked_out=1.0)
    assert tagged.ask("tie", 0, "select").code == "locked-out"
    adviser = Hub(SITE, advisory=True)
    assert adviser.ask("tie", 0, "select").code == "advisory"


def test_a_breaker_is_never_held() -> None:
    yard = Yard()
    hold = HoldDevice(command_id(NOW, 5), ANA, "tie", 0.0, Instant(yard.now + 60_000), "test")
    (reply,) = [e for e in yard.step(core.Commanded(hold)) if isinstance(e, core.Reply)]
    assert reply.result.code == "two-step"


class Launchpad(Hub):
    """A hub and a copter whose flights people launch."""

    def __init__(self) -> None:
        line = MAVLINK.replace("remote_id", 'launch = "two-step", remote_id')
        self.site = load(with_mavlink(VILLAGE.read_text(), line=line) + FENCE + AUTHORISED, "site.toml")
        self.air = Village()
        self.air.pilot = Pilot(ADDRESS, "site", RULES, factsheet_of(RULES), two_step=True)
        self.air.until(lambda: self.air.pilot.craft.online and self.air.pilot.craft.charge is not None)
        super().__init__(self.site, self.air.now)
        tell = self.air.hub.receive

        def both(topic: str, payload: bytes, now: Instant):
            self.now = now
            self.step(Incoming(topic, payload))
            return tell(topic, payload, now)

        self.air.hub.receive = both  # type: ignore[method-assign]
        self.air.pilot.vehicle.touch()
        self.air.run(3)

    def carry(self) -> None:
        """Brings what the hub published to the drone."""
        for message in self.published:
            if message.topic.startswith("vda5050/"):
                self.air.tell(message)
        self.air.run(1)


def test_a_drone_is_loaded_waits_and_takes_off_only_after_two_steps() -> None:
    pad = Launchpad()
    assert pad.site.sky.aircraft["drone-1"].two_step
    assert pad.ask("drone-1", 1, "select").code == "no-flight"
    pad.air.send()
    pad.air.until(lambda: pad.air.pilot.craft.phase is Phase.WAITING)
    pad.air.run(30)
    assert not pad.air.copter.armed
    asked = pad.ask("drone-1", 1, "select")
    assert asked.accepted
    assert "Order job-1 (2 nodes to reach) is loaded, compared and checked" in asked.message
    pad.carry()
    assert not pad.air.copter.armed, "selected is not launched"
    assert pad.ask("drone-1", 1, "operate", asked.id).accepted
    pad.carry()
    pad.air.until(lambda: pad.air.copter.armed)
    pad.air.until(lambda: pad.air.pilot.craft.phase is Phase.IDLE)
    pad.air.send(replace(CLINIC, orderId="job-2"))
    pad.air.until(lambda: pad.air.pilot.craft.phase is Phase.WAITING)
    assert pad.air.copter.armed is False, "each flight is launched anew"


def test_the_drone_itself_refuses_an_old_a_foreign_and_a_missing_selection() -> None:
    pad = Launchpad()
    pad.air.send()
    pad.air.until(lambda: pad.air.pilot.craft.phase is Phase.WAITING)

    def word(kind: str, name: str, order: str = "job-1") -> str:
        parameters = (ActionParameter("orderId", order), ActionParameter("selection", name))
        action = Action(kind, f"{kind}-{pad.air.now}", actionParameters=parameters)
        pad.air.tell(pad.air.hub.instant((action,), pad.air.now))
        pad.air.run(0.3)
        assert pad.air.hub.state is not None
        return next(s.resultDescription or "" for s in pad.air.hub.state.actionStates if s.actionId == action.actionId)

    assert "not selected" in word(OPERATE_LAUNCH, "a")
    assert word(SELECT_LAUNCH, "a") == ""
    assert word(OPERATE_LAUNCH, "b") == "another selection was made"
    assert "not selected" in word(OPERATE_LAUNCH, "a"), "a wrong second step uses the first up"
    assert word(SELECT_LAUNCH, "a") == ""
    pad.air.run(SELECT_MS / 1000)
    assert "20 s ago" in word(OPERATE_LAUNCH, "a")
    assert "does not wait" in word(SELECT_LAUNCH, "a", "job-9")
    assert "names orderId" in word(SELECT_LAUNCH, "")
    assert not pad.air.copter.armed
