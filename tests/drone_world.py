"""A drone in virtual time: a simulated copter and the ground's session, joined by a radio that may lose frames."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from devices.clock import Instant
from devices.flight_rules import Authorisation, FlightRules
from devices.mavlink_codec import Codec, Frame
from devices.mavlink_craft import CraftEvent, CraftSession, FlightDone, FlightFailed
from devices.mavlink_flight import Flight, flight_of
from devices.mavlink_values import GROUND, Autopilot
from devices.vda5050 import Action, ActionParameter, Edge, Node, NodePosition, Order
from devices.zones import Zone, ZoneKind
from firmware_sim.copter import Copter
from firmware_sim.copter_body import CopterBody

T = Instant(1_780_000_000_000)
ORIGIN = (51.5, 9.9)
TICK_MS = 100
FENCE = Zone("valley", ZoneKind.GEOFENCE, ((-400.0, -400.0), (600.0, -400.0), (600.0, 600.0), (-400.0, 600.0)), 60.0)
SCHOOL = Zone("school", ZoneKind.PEOPLE, ((50.0, 200.0), (150.0, 200.0), (150.0, 300.0), (50.0, 300.0)))
RULES = FlightRules(
    ORIGIN, (FENCE, SCHOOL), 30.0, 10.0, 130.0, 15.0, 13.0, 0.2,
    authorisation=Authorisation("A-17", "DEU87astrdge12k8", Instant(T + 86_400_000)), serial="1581F4XYZ",
)  # fmt: skip


def job(*places: tuple[str, float, float], actions: dict[int, tuple[Action, ...]] | None = None) -> Order:
    """Returns an order dock -> places -> dock; actions by node index."""
    spots = [("dock", 0.0, 0.0), *places, ("dock", 0.0, 0.0)]
    given = actions or {}
    nodes = tuple(
        Node(name, 2 * n, True, given.get(n, ()), NodePosition(x, y, "site")) for n, (name, x, y) in enumerate(spots)
    )
    edges = tuple(
        Edge(f"e{n}", 2 * n + 1, True, nodes[n].nodeId, nodes[n + 1].nodeId, ()) for n in range(len(nodes) - 1)
    )
    return Order("job-1", 0, nodes, edges)


def drop(seconds: int = 3, name: str = "drop-1", kind: str = "dropParcel") -> Action:
    """Returns a parcel drop that takes so long."""
    return Action(kind, name, actionParameters=(ActionParameter("duration_ms", 1000 * seconds),))


CLINIC = job(("clinic", 120.0, 90.0), actions={1: (drop(),)})


@dataclass
class World:
    """`loss` is the share of frames that the radio loses each way."""

    copter: Copter
    craft: CraftSession
    now: Instant = T
    loss: float = 0.0
    events: list[CraftEvent] = field(default_factory=list)
    up: list[Frame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._late: list[Frame] = []
        self._dice = random.Random(7)
        self._ground, self._air = Codec(*GROUND), Codec(1, 1)

    def _carry(self, frames: list[Frame], sender: Codec, receiver: Codec) -> list[Frame]:
        kept = [sender.encode(frame) for frame in frames]
        return [got for data in kept if self._dice.random() >= self.loss for got in receiver.decode(data)]

    def tick(self) -> None:
        """Lets one tick pass."""
        self.now = Instant(self.now + TICK_MS)
        down = [*self._late, *self.copter.advance(self.now)]
        self.craft.due(self.now)
        for _ in range(3):
            for frame in self._carry(down, self._air, self._ground):
                self.craft.receive(frame, self.now)
            out, events = self.craft.take()
            self.events += events
            self.up += out
            heard = self._carry(out, self._ground, self._air)
            down = [answer for frame in heard for answer in self.copter.receive(frame, self.now)]
        self._late = down

    def until(self, done: Callable[[], object], seconds: float = 600.0) -> None:
        """Lets time pass until something holds."""
        end = self.now + 1000 * seconds
        while not done():
            self.tick()
            assert self.now < end, f"phase {self.craft.phase}, copter {self.copter.mode} item {self.copter.current}"

    def ready(self) -> World:
        """Waits until the aircraft is known."""
        self.until(lambda: self.craft.online and self.craft.charge is not None and self.craft.place, 60)
        return self

    def flight(self, order: Order = CLINIC) -> Flight:
        """Returns the order as this aircraft's flight."""
        assert self.craft.autopilot is not None
        found = flight_of(order, self.craft.rules, (0.0, 0.0), self.craft.autopilot)
        assert isinstance(found, Flight), found
        return found

    def fly(self, order: Order = CLINIC) -> FlightDone | FlightFailed:
        """Sends it on a flight and waits for the end."""
        self.craft.dispatch(self.flight(order), self.now)
        return self.end()

    def end(self) -> FlightDone | FlightFailed:
        """Waits for the flight's end."""
        ends: list[FlightDone | FlightFailed] = []

        def over() -> bool:
            ends.extend(event for event in self.events if isinstance(event, (FlightDone, FlightFailed)))
            return bool(ends)

        self.until(over)
        return ends[0]


def world(autopilot: Autopilot, rules: FlightRules = RULES, energy_wh: float = 125.0, **params: float) -> World:
    """Returns a copter at the map's origin and a session that knows it."""
    body = CopterBody(*ORIGIN, energy_wh=energy_wh)
    return World(Copter(autopilot, body, T, params=params), CraftSession(rules)).ready()
