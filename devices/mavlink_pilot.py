"""The pilot: a MAVLink aircraft that appears to the hub as a VDA 5050 vehicle. Pure: bytes and frames in, both out.

The hub sends the drone the same orders as any robot and reads the same states. An order becomes one flight
(`mavlink_flight`), the aircraft is loaded and checked (`mavlink_craft`), and what it passes becomes nodes reached and
actions finished. What keeps it from flying stands in the state as errors, so the hub does not send an order at all.

VDA 5050 knows no heights: the flight height is the site file's. A pause is a hover; a cancelled order flies home.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from devices.clock import SECOND_MS, Instant
from devices.flight_rules import FlightRules
from devices.mavlink_codec import Frame
from devices.mavlink_craft import Airborne, CraftSession, FlightDone, FlightFailed, Passed, Phase
from devices.mavlink_flight import AIR_ACTIONS, Flight, flight_of
from devices.mavlink_launch import OPERATE_LAUNCH, SELECT_LAUNCH, Launch, waiting_information
from devices.mavlink_preflight import Refusal
from devices.mavlink_transfer import ITEMS_MAX
from devices.mavlink_values import Mode
from devices.model import Message
from devices.polygons import to_metres
from devices.vda5050 import (
    Action,
    Address,
    AgvPosition,
    BatteryState,
    Condition,
    OperatingMode,
    Order,
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
from devices.vda5050_values import ErrorLevel, Reference, Velocity

DOCK = "dock"
MOVING_STATE_MS = 2 * SECOND_MS
COMPLAINT_MS = 30 * SECOND_MS
"""A flight's failure stands so long in the state; a fail-safe that is off stands until it is on."""
DESCRIPTION_MAX = 400


@dataclass(slots=True)
class _Loading:
    """An order whose first node's actions are being done on the ground."""

    order: Order
    until: Instant


class Pilot:
    """One drone: the hub's side is `vehicle`, the aircraft's `craft`."""

    def __init__(
        self, address: Address, map_id: str, rules: FlightRules, factsheet: Factsheet, *, two_step: bool = False
    ) -> None:
        """Knows nothing of the aircraft yet; it stands on its dock. `two_step`: people launch each flight."""
        self.vehicle = VehicleSession(address, factsheet, Progress(lastNodeId=DOCK))
        self.craft = CraftSession(rules)
        self.rules, self.map_id = rules, map_id
        self.launch = Launch() if two_step else None
        self._flight: Flight | None = None
        self._loading: _Loading | None = None
        self._passed: list[Passed] = []  # seen while paused
        self._complaint: tuple[VehicleError, Instant] | None = None
        self._told_at = Instant(0)
        self._stands: tuple[Refusal, ...] = ()
        self._looks: object = None
        self._frames: list[Frame] = []
        self._messages: list[Message] = []

    def connected(self, now: Instant) -> None:
        """The broker is there: says ONLINE and what it is."""
        self._messages += self.vehicle.online(now)

    def take(self) -> tuple[list[Frame], list[Message]]:
        """Returns and forgets what the aircraft and what the broker is to be sent."""
        frames, messages, self._frames, self._messages = self._frames, self._messages, [], []
        return frames, messages

    # -- in ----------------------------------------------------------------------------------------------------------

    def message(self, topic: str, payload: bytes, now: Instant) -> None:
        """Takes an order or instant actions; what is wrong with them stands as an error in the state."""
        for event in self.vehicle.receive(topic, payload, now):
            match event:
                case vehicle.OrderAccepted(order, update):
                    self._accepted(order, now, update=update)
                case vehicle.OrderCancelled():
                    self._loading = None
                    self.craft.give_up("cancelled by the hub", now)
                case vehicle.ActionRequested(action):
                    why = self._requested(action, now)
                    self.vehicle.action_ended(action.actionId, failed=bool(why), result=why or None)
                case vehicle.Answer(answer):
                    self._messages.append(answer)
                case vehicle.Refused():
                    pass  # the session has put it into the state
        self._go_on(now)

    def frames(self, frames: list[Frame], now: Instant) -> None:
        """Takes what the radio has brought."""
        for frame in frames:
            self.craft.receive(frame, now)
        self._go_on(now)

    def due(self, now: Instant) -> None:
        """Does what has become due."""
        self.craft.due(now)
        self._go_on(now)

    def next_deadline(self, now: Instant) -> Instant:
        """Returns when `due` must be called at the latest."""
        waits = [self.craft.next_deadline(now), self.vehicle.next_deadline()]
        return Instant(min([*waits, self._loading.until] if self._loading else waits))

    def _requested(self, action: Action, now: Instant) -> str:
        """Does an instant action of our own; returns why not, empty where it is done."""
        if self.launch is None or action.actionType not in (SELECT_LAUNCH, OPERATE_LAUNCH):
            return "not supported by this drone"
        cleared, why = self.launch.take(action, self.vehicle.order_id if self.waits else "", now)
        self.craft.cleared = self.craft.cleared or cleared
        return why

    @property
    def waits(self) -> bool:
        """Returns whether a flight waits for its launch."""
        return self.craft.phase is Phase.WAITING and not self.craft.cleared

    # -- an order ----------------------------------------------------------------------------------------------------

    def _accepted(self, order: Order, now: Instant, *, update: bool) -> None:
        self._complaint = None
        if update:
            self._abandon(
                "orderUpdateError", "a drone's order is not changed under way: cancel it, send a new one", now
            )
            self.craft.give_up("its order was changed", now)
        elif self.craft.flight is not None:
            self._abandon("busy", "it still flies back from its last order", now)
        else:
            self.vehicle.arrived()  # the first node: it stands there
            actions = self.vehicle.pending_actions()
            for action in actions:
                self.vehicle.action_started(action.actionId)
            self._loading = _Loading(order, Instant(now + sum(_duration(action) for action in actions)))

    def _load_over(self, order: Order, now: Instant) -> None:
        self._loading = None
        for action in self.vehicle.pending_actions():
            self.vehicle.action_ended(action.actionId)
        if self.craft.autopilot is None or self.craft.place is None:
            self._abandon("linkLost", "no aircraft is heard: check power, radio and endpoint", now)
            return
        flight = flight_of(order, self.rules, self._here(), self.craft.autopilot)
        if isinstance(flight, str):
            self._abandon("orderError", flight, now)
            return
        self._flight = flight
        self.craft.cleared = self.launch is None
        self.craft.dispatch(flight, now)

    def _abandon(self, kind: str, why: str, now: Instant) -> None:
        reference = (Reference("orderId", self.vehicle.order_id),)
        error = VehicleError(kind, ErrorLevel.FATAL, reference, why[:DESCRIPTION_MAX])
        self._complaint = error, Instant(now + COMPLAINT_MS)
        self._flight, self._loading, self._passed = None, None, []
        self.vehicle.abandon(why[:DESCRIPTION_MAX])

    # -- a flight ----------------------------------------------------------------------------------------------------

    def _go_on(self, now: Instant) -> None:
        self.craft.hold(self.vehicle.paused, now)
        if self._loading is not None and now >= self._loading.until and not self.vehicle.paused:
            self._load_over(self._loading.order, now)
        frames, events = self.craft.take()
        self._frames += frames
        for event in events:
            match event:
                case Airborne():
                    self.vehicle.touch()
                case Passed():
                    self._passed.append(event)
                case FlightDone():
                    self._pass()
                    self._flight = None
                case FlightFailed(key, why, refusals):
                    if key == self.vehicle.order_id and not self.vehicle.idle:
                        self._abandon(refusals[0].code if refusals else "flightFailed", why, now)
                    self._flight = None
        if not self.vehicle.paused:
            self._pass()
        self._tell(now)

    def _pass(self) -> None:
        """Turns the items that the aircraft has passed into nodes and actions of the order."""
        flight, passed, self._passed = self._flight, self._passed, []
        for event in passed if flight is not None and not self.vehicle.idle else ():
            assert flight is not None, "looked at above"
            if flight.nodes[event.item] is not None and self.vehicle.target() is not None:
                self.vehicle.arrived()
            if flight.actions[event.item]:
                self.vehicle.action_ended(flight.actions[event.item])
            for action in self.vehicle.pending_actions()[:1]:
                self.vehicle.action_started(action.actionId)

    # -- what it says ------------------------------------------------------------------------------------------------

    def _tell(self, now: Instant) -> None:
        if self._complaint is not None and now >= self._complaint[1]:
            self._complaint = None
        craft = self.craft
        stands = tuple(craft.standing())
        looks = (
            craft.online,
            craft.place is None,
            craft.charge is None,
            craft.armed,
            craft.phase,
            self.waits,
            stands,
            self._complaint,
            self._mode(),
        )
        if looks != self._looks:
            self._looks, self._stands = looks, stands
            self.vehicle.touch()
        moving = craft.armed and now - self._told_at >= MOVING_STATE_MS
        if not moving and not self.vehicle.state_due(now):
            return
        self._told_at = now
        x, y = self._here()
        condition = Condition(
            AgvPosition(round(x, 2), round(y, 2), self._heading(), self.map_id, craft.place is not None),
            BatteryState(round(100 * (craft.charge or 0.0), 1), charging=craft.charging, batteryVoltage=craft.volts),
            driving=craft.armed and craft.landed_state == 2,
            mode=self._mode(),
            errors=self.errors(),
            information=(waiting_information(self.vehicle.order_id, self._stops()),) if self.waits else None,
            velocity=Velocity(craft.velocity[0], craft.velocity[1]),
        )
        self._messages.append(self.vehicle.state(condition, now))

    def _stops(self) -> int:
        return 0 if self._flight is None else sum(node is not None for node in self._flight.nodes)

    def errors(self) -> tuple[VehicleError, ...]:
        """Returns what stands against a flight now."""
        found = [] if self._complaint is None else [self._complaint[0]]
        if not self.craft.online:
            what = "its parameters are being read" if self.craft.phase is Phase.READING else "no aircraft is heard"
            found.append(VehicleError("linkLost", ErrorLevel.WARNING, errorDescription=what))
        elif self.craft.place is None or self.craft.charge is None:
            what = "position" if self.craft.place is None else "charge"
            found.append(VehicleError("notReady", ErrorLevel.WARNING, errorDescription=f"its {what} is not known yet"))
        by_code: dict[str, list[str]] = {}
        for refusal in self._stands:
            by_code.setdefault(refusal.code, []).append(refusal.text())
        if self.rules.authorisation is None:
            by_code["noAuthorisation"] = ["no authorisation record in the site file"]
        found += [
            VehicleError(code, ErrorLevel.WARNING, errorDescription="; ".join(texts)[:DESCRIPTION_MAX])
            for code, texts in by_code.items()
        ]
        return tuple(found)

    def _mode(self) -> OperatingMode:
        """MANUAL while a person flies: armed without a flight of ours, or in a mode that we never ask for."""
        craft = self.craft
        taken = craft.flight is None or (craft.phase is Phase.RETURNING and craft.mode is Mode.OTHER)
        return OperatingMode.MANUAL if craft.armed and taken else OperatingMode.AUTOMATIC

    def _here(self) -> tuple[float, float]:
        place = self.craft.place
        return (0.0, 0.0) if place is None else to_metres(self.rules.origin, place[:2])

    def _heading(self) -> float:
        east, north = self.craft.velocity
        return round(math.atan2(north, east), 3) if math.hypot(east, north) > 0.5 else 0.0


def _duration(action: Action) -> int:
    value = action.parameter("duration_ms")
    return round(value) if isinstance(value, (int, float)) and 0 <= value < 3_600_000 else 0


def factsheet_of(rules: FlightRules) -> Factsheet:
    """Returns what a drone says about itself; the standard has no class for aircraft."""
    scopes = (ActionScope.NODE,)
    return Factsheet(
        TypeSpecification("MAVLink multicopter", "OMNI", "CARRIER", 2.0, ("GNSS",), ("AUTONOMOUS",)),
        PhysicalParameters(0.0, rules.speed_mps, 2.5, 2.5, 1.0, 1.0, 1.0),
        ProtocolLimits(MaxStringLens(), MaxArrayLens(orderNodes=ITEMS_MAX // 3), Timing(1.0, 0.25, 30.0)),
        ProtocolFeatures((), tuple(AgvAction(kind, scopes) for kind in AIR_ACTIONS)),
    )
