"""A robot or drone: the protocol of `devices.vda5050.VehicleSession` driving a body along released nodes.

Interface `vda5050`, manufacturer `atoll`, serial = device id, map `site`. Without orders a vehicle charges on its dock
by itself. Node actions: `irrigate` (`water_l`, `duration_ms`), `pick`, `drop`, `dropParcel`, `wait` (`duration_ms`),
`startCharging`, `stopCharging`; the last two also as instant actions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, cast

from devices.bounded_json import JsonValue
from devices.clock import MINUTE_MS, SECOND_MS, Instant
from devices.model import DeviceKind, DeviceSpec, Message
from devices.vda5050 import (
    V2_1,
    Action,
    Address,
    AgvPosition,
    BatteryState,
    Condition,
    Progress,
    VehicleError,
    VehicleSession,
    vehicle,
)
from devices.vda5050_factsheet import (
    ActionScope,
    AgvAction,
    Factsheet,
    MaxArrayLens,
    MaxStringLens,
    PhysicalParameters,
    ProtocolFeatures,
    ProtocolLimits,
    Timing,
    TypeSpecification,
)
from devices.vda5050_v3 import V3_0
from devices.vda5050_values import ErrorLevel
from firmware_sim.body import Body
from firmware_sim.machines import NEVER
from firmware_sim.state import ForeignState, dump, restore
from firmware_sim.village import Dock
from firmware_sim.water import Water

INTERFACE: Final = "vda5050"
MANUFACTURER: Final = "atoll"
MAP: Final = "site"
DOCK: Final = "dock"
MOVING_STATE_MS: Final = 10 * SECOND_MS
CHARGING_ACTIONS: Final = ("startCharging", "stopCharging")
DURATION_MS: Final = {
    "irrigate": 30 * MINUTE_MS,
    "pick": MINUTE_MS,
    "drop": MINUTE_MS,
    "dropParcel": MINUTE_MS,
    "wait": MINUTE_MS,
}
"""Node actions that take time, and how long where the order does not say."""
SERVED_SHARE: Final = 0.98
"""An irrigation that got less of its water has failed."""
BODY: Final = ("x", "y", "theta", "charging", "leg", "work_until", "work_flow", "driven_m")


@dataclass(slots=True)
class Vehicle:
    """One vehicle: session, body, and what it has to say."""

    spec: DeviceSpec
    body: Body
    session: VehicleSession
    working: Action | None = None
    complaint: VehicleError | None = None
    silent: bool = False
    told_at: int = 0
    outbox: list[Message] = field(default_factory=list[Message])

    @classmethod
    def of(cls, spec: DeviceSpec, dock: Dock, water: Water, now: Instant) -> Vehicle:
        """Returns a vehicle on its dock; its birth messages wait in the outbox."""
        body = Body.of(spec, dock, water, now)
        made = cls(spec, body, session_of(spec, body, Progress(lastNodeId=DOCK)))
        made.link_up(now)
        return made

    # -- wire --------------------------------------------------------------------------------------------------

    @property
    def client_id(self) -> str:
        """Returns its MQTT client id."""
        return f"{MANUFACTURER}-{self.spec.id}"

    def subscriptions(self) -> list[tuple[str, int]]:
        """Returns its topics."""
        return self.session.subscriptions()

    def will(self) -> Message:
        """Returns what the broker says when the connection breaks."""
        return self.session.will(Instant(self.body.at))

    def link_up(self, now: Instant) -> None:
        """Queues connection, factsheet and state."""
        self._say(self.session.online(now))
        self._tell(now)

    def farewell(self, now: Instant) -> Message:
        """Returns the connection message of an orderly leave."""
        return self.session.offline(now)

    def take_messages(self) -> list[Message]:
        """Returns and forgets what it wants published."""
        messages, self.outbox = self.outbox, []
        return messages

    def concerns(self, topic: str) -> bool:
        """Returns whether a topic is one of this vehicle's."""
        return self.session.address.kind(topic) is not None

    def receive(self, message: Message, now: Instant) -> None:
        """Takes an order or instant actions; what is wrong with them stands as an error in the state."""
        if self.silent:
            return
        for event in self.session.receive(message.topic, message.payload, now):
            match event:
                case vehicle.OrderAccepted():
                    self.complaint = None
                case vehicle.OrderCancelled():
                    self.body.stop()
                    self.working = None
                case vehicle.ActionRequested(action):
                    self._at_once(action)
                case vehicle.Answer(answer):
                    self._say([answer])
                case vehicle.Refused():
                    pass  # the session has put it into the state
        if self.session.paused and self.body.leg is not None:
            self.body.stop()
        self._go_on()
        if self.session.state_due(now):
            self._tell(now)

    # -- time ---------------------------------------------------------------------------------------------------

    def next_change(self) -> int:
        """Returns when body or dock do something else."""
        return self.body.next_change()

    def next_deadline(self) -> Instant:
        """Returns when a leg or job ends or the next state is due."""
        leg = self.body.leg
        moving = (leg[5], self.told_at + MOVING_STATE_MS) if leg is not None else ()
        return Instant(min(self.session.next_deadline(), self.body.work_until, *moving))

    def advance(self, now: Instant) -> None:
        """Moves the body up to `now` and starts what comes next."""
        was_empty = self.body.empty
        self.body.advance(now)
        if was_empty is not self.body.empty:
            self._flat(self.body.empty)
        self._go_on()
        moving = self.body.leg is not None and now - self.told_at >= MOVING_STATE_MS
        if moving or self.session.state_due(now):
            self._tell(now)

    def _flat(self, empty: bool) -> None:
        """The pack ran flat or holds something again."""
        self.complaint = (
            VehicleError("batteryEmpty", ErrorLevel.FATAL, errorDescription="the battery is empty") if empty else None
        )
        if empty and self.working is not None:
            self.session.action_ended(self.working.actionId, failed=True, result="battery empty")
            self.working = None
        self.session.touch()

    def _go_on(self) -> None:
        """Ends and starts actions and legs until the body is busy or nothing is left."""
        session, body = self.session, self.body
        while not body.busy and not body.empty:
            if self.working is not None:
                self._finish(self.working)
                self.working = None
                continue
            pending = session.pending_actions()
            if pending:
                self._begin(pending[0])
                continue
            target = session.target()
            if target is None:
                return
            edge, node = target
            place = node.nodePosition
            if edge is None or place is None or (place.x == body.x and place.y == body.y):
                session.arrived()
            else:
                body.charge(True)
                body.go(place.x, place.y)
                session.touch()

    def _begin(self, action: Action) -> None:
        kind = action.actionType
        if kind in CHARGING_ACTIONS:
            self._at_once(action)
        elif kind not in DURATION_MS:
            self.session.action_ended(action.actionId, failed=True, result="not supported")
        else:
            duration = number(action, "duration_ms", DURATION_MS[kind])
            self.body.work(round(duration), number(action, "water_l", 0.0) if kind == "irrigate" else 0.0)
            self.session.action_started(action.actionId)
            self.working = action

    def _at_once(self, action: Action) -> None:
        start = action.actionType == "startCharging"
        if action.actionType not in CHARGING_ACTIONS:
            self.session.action_ended(action.actionId, failed=True, result="not supported")
        elif start and not self.body.docked:
            self.session.action_ended(action.actionId, failed=True, result="not on the dock")
        else:
            self.body.charge(start)
            self.session.action_ended(action.actionId)

    def _finish(self, action: Action) -> None:
        wanted, got = number(action, "water_l", 0.0), self.body.used_water_l()
        if action.actionType != "irrigate" or wanted <= 0:
            self.session.action_ended(action.actionId)
            return
        short = got < SERVED_SHARE * wanted
        self.session.action_ended(action.actionId, failed=short, result=f"{min(got, wanted):.0f} of {wanted:.0f} L")

    # -- messages -----------------------------------------------------------------------------------------------

    def _say(self, messages: list[Message]) -> None:
        if not self.silent:
            self.outbox.extend(messages)

    def _tell(self, now: Instant) -> None:
        """Queues the state."""
        body = self.body
        self.told_at = now
        condition = Condition(
            AgvPosition(round(body.x, 3), round(body.y, 3), round(body.theta, 4), MAP, True),
            BatteryState(
                round(body.cells.soc * 100, 2),
                charging=body.dock.wanted_w > body.nature.idle_w,
                reach=float(round(body.range_m)),
            ),
            driving=body.leg is not None,
            errors=() if self.complaint is None else (self.complaint,),
        )
        self._say([self.session.state(condition, now)])

    # -- state file ---------------------------------------------------------------------------------------------

    def dump(self) -> dict[str, object]:
        """Returns what must survive a restart."""
        return {
            "body": dump(self.body, BODY) | {"energy": self.body.cells.energy},
            "progress": self.session.progress().to_json(),
            "working": None if self.working is None else self.working.actionId,
            "used_from": self.body.work_start_irrigated,
        }

    def restore(self, saved: object, now: Instant) -> None:
        """Goes on from a saved state.

        Raises:
            ForeignState: it has none for this vehicle.
        """
        if not isinstance(saved, dict):
            raise ForeignState(f"saved state lacks vehicle {self.spec.id}: delete the state file to start anew")
        table = cast("dict[str, JsonValue]", saved)
        body = self.body
        restore(body, BODY, table.get("body"))
        restore(body.cells, ("energy",), table.get("body"))
        if body.leg is not None:
            x0, y0, x1, y1, start, end = body.leg
            body.leg = (x0, y0, x1, y1, start, end)
        body.at = now
        body.water.irrigation += body.work_flow
        body.work_start_irrigated = cast("int", table.get("used_from", 0))
        try:
            progress = Progress.from_json(table.get("progress"))
        except ValueError as error:
            raise ForeignState(f"saved order of {self.spec.id}: {error}: delete the state file") from error
        self.session = session_of(self.spec, body, progress)
        self.working = next((action for action in progress.here if action.actionId == table.get("working")), None)
        self.outbox = []
        body.settle_power()
        self.link_up(now)


def number(action: Action, name: str, default: float) -> float:
    """Returns a parameter as a number >= 0, the default where it is none."""
    value = action.parameter(name)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < NEVER:
        return default
    return value


def session_of(spec: DeviceSpec, body: Body, progress: Progress) -> VehicleSession:
    """Returns a session for this vehicle that goes on from `progress`."""
    drone = spec.kind is DeviceKind.DRONE
    actions = [AgvAction(kind, (ActionScope.NODE,)) for kind in DURATION_MS]
    actions += [AgvAction(kind, (ActionScope.NODE, ActionScope.INSTANT)) for kind in CHARGING_ACTIONS]
    factsheet = Factsheet(
        TypeSpecification(
            f"atoll simulated {spec.kind}",
            "OMNI" if drone else "DIFF",
            "CARRIER",
            2.0 if drone else 80.0,
            ("NATURAL",),
            ("AUTONOMOUS",),
        ),
        PhysicalParameters(0.0, body.nature.speed_mps, 1.0, 1.0, 1.0, 0.8, 1.2),
        ProtocolLimits(MaxStringLens(), MaxArrayLens(), Timing(0.5, 0.1, 30.0)),
        ProtocolFeatures((), tuple(actions)),
    )
    ours = (INTERFACE, MANUFACTURER, spec.id, "2.1")
    interface, manufacturer, serial, version = spec.endpoint.split("/") if spec.endpoint else ours
    codec = V3_0 if version == "3.0" else V2_1
    return VehicleSession(Address(interface, manufacturer, serial, codec), factsheet, progress)
