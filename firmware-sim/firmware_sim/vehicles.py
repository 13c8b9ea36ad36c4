"""A robot or drone on the wire: VDA 5050 2.1, thin, driving the body along released nodes.

Topics `vda5050/v2/atoll/<device>/...`. State goes out on every event and at least every 30 s. A vehicle without
orders charges on its dock by itself. Actions: `irrigate` (`water_l`, `duration_ms`), `pick`, `drop`, `dropParcel`,
`wait` (`duration_ms`), `startCharging`, `stopCharging`; instant: `cancelOrder`, `stateRequest`, `factsheetRequest`,
`startCharging`, `stopCharging`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from devices.bounded_json import BadJson, JsonValue, compact, parse
from devices.clock import MINUTE_MS, SECOND_MS, Instant, iso
from devices.model import DeviceKind, DeviceSpec, Message
from firmware_sim.body import Body
from firmware_sim.machines import NEVER
from firmware_sim.order_state import dump_order, restore_order
from firmware_sim.orders import FAILED, FINISHED, RUNNING, WAITING, Action, BadOrder, Order, Stop, parse_actions
from firmware_sim.state import ForeignState, dump, restore
from firmware_sim.village import Dock
from firmware_sim.water import Water

VERSION: Final = "2.1.0"
MANUFACTURER: Final = "atoll"
STATE_MS: Final = 30 * SECOND_MS
MOVING_STATE_MS: Final = 10 * SECOND_MS
OUTBOX_MAX: Final = 1000
ORDER_ACTIONS: Final = ("irrigate", "pick", "drop", "dropParcel", "wait", "startCharging", "stopCharging")
INSTANT_ACTIONS: Final = ("cancelOrder", "stateRequest", "factsheetRequest", "startCharging", "stopCharging")
DURATIONS_MS: Final = {"irrigate": 30 * MINUTE_MS}
HANDLING_MS: Final = MINUTE_MS
BODY: Final = ("x", "y", "theta", "charging", "leg", "work_until", "work_flow", "driven_m")


@dataclass(slots=True)
class Vehicle:
    """One vehicle: body, order, and what it has to say."""

    spec: DeviceSpec
    body: Body
    topic_prefix: str
    next_state: Instant
    order: Order = field(default_factory=Order)
    instant: list[Action] = field(default_factory=list[Action])
    working: Action | None = None
    errors: list[dict[str, JsonValue]] = field(default_factory=list[dict[str, JsonValue]])
    silent: bool = False
    headers: dict[str, int] = field(default_factory=dict[str, int])
    outbox: list[Message] = field(default_factory=list[Message])
    leg_begun_m: float = 0.0

    @classmethod
    def of(cls, spec: DeviceSpec, dock: Dock, water: Water, now: Instant) -> Vehicle:
        """Returns a vehicle on its dock; its birth messages wait in the outbox."""
        prefix = f"vda5050/v2/{MANUFACTURER}/{spec.id}/"
        vehicle = cls(spec, Body.of(spec, dock, water, now), prefix, now)
        vehicle.order.last_node = "dock"
        vehicle.link_up(now)
        return vehicle

    # -- wire --------------------------------------------------------------------------------------------------

    @property
    def client_id(self) -> str:
        """Returns its MQTT client id."""
        return f"{MANUFACTURER}-{self.spec.id}"

    def subscriptions(self) -> list[tuple[str, int]]:
        """Returns its topics."""
        return [(self.topic_prefix + "order", 0), (self.topic_prefix + "instantActions", 0)]

    def will(self) -> Message:
        """Returns what the broker says when the connection breaks."""
        return self._connection("CONNECTIONBROKEN", Instant(self.body.at))

    def link_up(self, now: Instant) -> None:
        """Queues connection, factsheet and state."""
        self._say(self._connection("ONLINE", now))
        self._say(self._factsheet(now))
        self._tell(now)

    def farewell(self, now: Instant) -> Message:
        """Returns the connection message of an orderly leave."""
        return self._connection("OFFLINE", now)

    def take_messages(self) -> list[Message]:
        """Returns and forgets what it wants published."""
        messages, self.outbox = self.outbox, []
        return messages

    def receive(self, message: Message, now: Instant) -> None:
        """Takes an order or instant actions; what is wrong with them becomes an error in the state."""
        name = message.topic.removeprefix(self.topic_prefix)
        if self.silent or name not in ("order", "instantActions"):
            return
        document: dict[str, JsonValue] = {}
        try:
            document = _document(message.payload)
            if name == "order":
                self._take_order(document)
            else:
                self._take_instant(document, now)
        except BadOrder as error:
            self._error(error.kind, str(error), document)
        self._go_on()
        self._tell(now)

    def _take_order(self, document: Mapping[str, JsonValue]) -> None:
        if self.body.empty:
            raise BadOrder("orderError", "the battery is empty")
        fresh = self.order.id != document.get("orderId")
        if self.order.take(document, ORDER_ACTIONS):
            self.errors = [error for error in self.errors if error["errorLevel"] == "FATAL"]
            if fresh:
                self.instant = []
                first = self.order.stops[0]
                if first.x is None or abs(first.x - self.body.x) + abs(first.y or 0 - self.body.y) < 1:
                    self.order.reach()

    def _take_instant(self, document: Mapping[str, JsonValue], now: Instant) -> None:
        table: dict[str, JsonValue] = dict(document)
        for action in parse_actions(table, ()):
            if any(known.id == action.id for known in self.instant):
                continue
            self.instant = [*self.instant[-20:], action]
            if action.type not in INSTANT_ACTIONS:
                action.status, action.result = FAILED, f"not supported: {', '.join(INSTANT_ACTIONS)}"
            elif action.type == "cancelOrder":
                self._cancel(action)
            elif action.type == "factsheetRequest":
                self._say(self._factsheet(now))
                action.status = FINISHED
            elif action.type == "stateRequest":
                action.status = FINISHED
            else:
                self._charging(action)

    def _cancel(self, action: Action) -> None:
        if self.order.over:
            action.status, action.result = FAILED, "no order to cancel"
            self._error("noOrderToCancel", "no order to cancel", {"actionId": action.id})
            return
        self.body.stop()
        self.working = None
        self.order.cancel()
        action.status = FINISHED

    def _charging(self, action: Action) -> None:
        start = action.type == "startCharging"
        if start and not self.body.docked:
            action.status, action.result = FAILED, "not on the dock"
            return
        self.body.charge(start)
        action.status = FINISHED

    # -- time ---------------------------------------------------------------------------------------------------

    def next_change(self) -> int:
        """Returns when body or dock do something else."""
        return self.body.next_change()

    def next_deadline(self) -> Instant:
        """Returns when a leg or job ends or the next state is due."""
        leg = self.body.leg
        return Instant(min(self.next_state, self.body.work_until, leg[5] if leg is not None else NEVER))

    def advance(self, now: Instant) -> None:
        """Moves the body up to `now` and starts what comes next."""
        was_empty = self.body.empty
        self.body.advance(now)
        changed = self._go_on()
        if self.body.empty and not was_empty:
            self._error("batteryEmpty", "the battery is empty", {}, level="FATAL")
            self.order.cancel()
            changed = True
        if not self.body.empty and was_empty:
            self.errors = [error for error in self.errors if error["errorType"] != "batteryEmpty"]
        if changed or now >= self.next_state:
            self._tell(now)

    def _go_on(self) -> bool:
        """Ends and starts actions and legs until the body is busy or nothing is left; True if anything changed."""
        changed = False
        while not self.body.busy and not self.body.empty:
            if self.working is not None:
                self._finish(self.working)
                self.working = None
            elif self.order.stops and self.order.stops[0].released and self._at(self.order.stops[0]):
                self.order.reach()
            elif (action := next((a for a in self.order.here if a.status == WAITING), None)) is not None:
                self._begin(action)
            elif self.order.stops and self.order.stops[0].released:
                stop = self.order.stops[0]
                self.leg_begun_m = self.body.driven_m
                self.body.charge(True)
                self.body.go(stop.x or 0.0, stop.y or 0.0)
            else:
                return changed
            changed = True
        return changed

    def _at(self, stop: Stop) -> bool:
        here = all(action.over for action in self.order.here)
        return here and (stop.x is None or (stop.x == self.body.x and stop.y == self.body.y))

    def _begin(self, action: Action) -> None:
        if action.type in ("startCharging", "stopCharging"):
            self._charging(action)
            return
        action.status = RUNNING
        default = DURATIONS_MS.get(action.type, HANDLING_MS)
        duration = action.number("duration_ms", "durationMs", default=default)
        water_l = action.number("water_l", "waterL", default=0.0) if action.type == "irrigate" else 0.0
        self.body.work(round(duration), water_l)
        self.working = action

    def _finish(self, action: Action) -> None:
        action.status = FINISHED
        if action.type != "irrigate":
            return
        wanted, got = action.number("water_l", "waterL", default=0.0), self.body.used_water_l()
        action.result = f"{min(got, wanted):.0f} of {wanted:.0f} L"
        if got < 0.98 * wanted:
            action.status = FAILED
            self._error("irrigationShort", f"the tank gave {action.result}", {"actionId": action.id}, level="WARNING")

    # -- messages -----------------------------------------------------------------------------------------------

    def _header(self, topic: str, now: Instant) -> dict[str, JsonValue]:
        number = self.headers[topic] = (self.headers.get(topic, -1) + 1) % (1 << 32)
        return {
            "headerId": number,
            "timestamp": iso(now) if now % 1000 else iso(now).replace("Z", ".000Z"),
            "version": VERSION,
            "manufacturer": MANUFACTURER,
            "serialNumber": self.spec.id,
        }

    def _connection(self, state: str, now: Instant) -> Message:
        document = {**self._header("connection", now), "connectionState": state}
        return Message(self.topic_prefix + "connection", compact(document), 1, retain=True)

    def _error(self, kind: str, text: str, references: Mapping[str, JsonValue], level: str = "WARNING") -> None:
        names = ("headerId", "orderId", "orderUpdateId", "actionId")
        found: list[JsonValue] = [
            {"referenceKey": name, "referenceValue": str(references[name])} for name in names if name in references
        ]
        error: dict[str, JsonValue] = {"errorType": kind, "errorLevel": level, "errorDescription": text}
        self.errors = [*self.errors[-9:], {**error, "errorReferences": found}]

    def _say(self, message: Message) -> None:
        if not self.silent:
            self.outbox = [*self.outbox[-OUTBOX_MAX:], message] if len(self.outbox) > OUTBOX_MAX else self.outbox
            self.outbox.append(message)

    def _tell(self, now: Instant) -> None:
        """Queues the state."""
        self.next_state = Instant(now + (MOVING_STATE_MS if self.body.leg is not None else STATE_MS))
        if self.silent:
            return
        body, order = self.body, self.order
        charging = body.dock.wanted_w > body.nature.idle_w
        actions = [action.state() for action in (*order.actions, *self.instant)]
        document: dict[str, JsonValue] = {
            **self._header("state", now),
            "orderId": order.id,
            "orderUpdateId": order.update,
            "lastNodeId": order.last_node,
            "lastNodeSequenceId": order.last_sequence,
            "nodeStates": [stop.node_state() for stop in order.stops],
            "edgeStates": [stop.edge_state() for stop in order.stops if stop.edge_id],
            "agvPosition": {
                "x": round(body.x, 3),
                "y": round(body.y, 3),
                "theta": round(body.theta, 4),
                "mapId": "site",
                "positionInitialized": True,
            },
            "driving": body.leg is not None,
            "distanceSinceLastNode": round(body.driven_m - self.leg_begun_m, 2),
            "actionStates": list[JsonValue](actions),
            "batteryState": {
                "batteryCharge": round(body.cells.soc * 100, 2),
                "charging": charging,
                "reach": int(body.range_m),
            },
            "operatingMode": "AUTOMATIC",
            "errors": list[JsonValue](self.errors),
            "safetyState": {"eStop": "NONE", "fieldViolation": False},
        }
        self._say(Message(self.topic_prefix + "state", compact(document)))

    def _factsheet(self, now: Instant) -> Message:
        drone = self.spec.kind is DeviceKind.DRONE
        scopes = dict.fromkeys(INSTANT_ACTIONS, "INSTANT") | dict.fromkeys(ORDER_ACTIONS, "NODE")
        actions: list[JsonValue] = [{"actionType": kind, "actionScopes": [scope]} for kind, scope in scopes.items()]
        document: dict[str, JsonValue] = {
            **self._header("factsheet", now),
            "typeSpecification": {
                "seriesName": f"atoll simulated {self.spec.kind}",
                "agvKinematic": "OMNI" if drone else "DIFF",
                "agvClass": "CARRIER",
                "maxLoadMass": 2.0 if drone else 80.0,
                "localizationTypes": ["NATURAL"],
                "navigationTypes": ["AUTONOMOUS"],
            },
            "physicalParameters": {
                "speedMin": 0.0,
                "speedMax": self.body.nature.speed_mps,
                "accelerationMax": 1.0,
                "decelerationMax": 1.0,
                "heightMax": 1.0,
                "width": 0.8,
                "length": 1.2,
            },
            "protocolLimits": {
                "maxStringLens": {},
                "maxArrayLens": {},
                "timing": {"minOrderInterval": 0.5, "minStateInterval": 0.1, "defaultStateInterval": 30.0},
            },
            "protocolFeatures": {"optionalParameters": [], "agvActions": actions},
            "agvGeometry": {},
            "loadSpecification": {},
        }
        return Message(self.topic_prefix + "factsheet", compact(document), 0, retain=True)

    # -- state file ---------------------------------------------------------------------------------------------

    def dump(self) -> dict[str, object]:
        """Returns what must survive a restart."""
        return {
            "body": dump(self.body, BODY) | {"energy": self.body.cells.energy},
            "order": dump_order(self.order),
            "working": None if self.working is None else self.working.id,
            "used_from": self.body.work_start_irrigated,
            "headers": self.headers,
        }

    def restore(self, saved: object, now: Instant) -> None:
        """Goes on from a saved state.

        Raises:
            ForeignState: it has none for this vehicle.
        """
        if not isinstance(saved, dict):
            raise ForeignState(f"saved state lacks vehicle {self.spec.id}: delete the state file to start anew")
        table = cast("dict[str, object]", saved)
        body = self.body
        restore(body, BODY, table.get("body"))
        restore(body.cells, ("energy",), table.get("body"))
        if body.leg is not None:
            x0, y0, x1, y1, start, end = body.leg
            body.leg = (x0, y0, x1, y1, start, end)
        body.at = now
        body.water.irrigation += body.work_flow
        body.work_start_irrigated = cast("int", table.get("used_from", 0))
        self.order = restore_order(table.get("order"))
        working = table.get("working")
        self.working = next((action for action in self.order.actions if action.id == working), None)
        self.headers = cast("dict[str, int]", table.get("headers", {}))
        self.outbox = []
        body.settle_power()
        self.link_up(now)


def _document(payload: bytes) -> dict[str, JsonValue]:
    """Returns the message as an object.

    Raises:
        BadOrder: it is no VDA 5050 2.x message.
    """
    try:
        document = parse(payload)
    except BadJson as error:
        raise BadOrder("validationError", str(error)) from None
    if not isinstance(document, dict) or not str(document.get("version", "")).startswith("2."):
        raise BadOrder("validationError", "no VDA 5050 2.x message")
    return document
