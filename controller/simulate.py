"""The village on virtual time: the same cores, the same simulated devices, one heap, no sockets.

The heap owns time, messages, faults and the planner's answers. Every message takes `LATENCY_MS`; happenings are named
events on the same heap. Equal inputs give an equal trace hash, whatever PYTHONHASHSEED says.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import count

from controller import hub as core
from controller.beliefs import DayResult, Kept, Score
from controller.commands import Actor, DeclareStorm, Role
from controller.ledger.entries import derived_id
from controller.simulate_ports import BeliefPort, BooksPort, OutboxPort, PeoplePort, PlannerPort, TelemetryPort
from controller.site import Site
from devices import gateway as edge
from devices.bus import BusAnswer, BusRead, BusWrite, BusWritten
from devices.clock import HOUR_MS, MINUTE_MS, SECOND_MS, SLOT_MS, Instant, floor_to, next_boundary
from devices.events import Incoming, LinkDown, LinkUp, Tick
from devices.gateway_events import (
    FetchRecords,
    ForgetRecords,
    Log,
    RecallRecords,
    RecordsStored,
    Send,
    StoreEpoch,
    StoreGuard,
    StoreRecords,
    StoreSequence,
)
from devices.model import BusFault, Message
from devices.simulated import Fleet, HappeningKind
from devices.sparkplug_codec import NAMESPACE
from optimizer.answer import Answer, Cause, Failed

LATENCY_MS = 40
HUB_PHASE_MS = 500
"""The hub's cycle comes this much after the polls of the same boundary, as it does in life."""
WILL_MS = 15_000
"""A broker tells of a client that fell silent after one and a half keep-alives."""
PLAN_MS = 2_000
SETTLE_AFTER_MS = 2 * MINUTE_MS
CLOSE_LOOK_MS = 5 * MINUTE_MS
DRAIN_MS = 10 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Happening:
    """A named event at a time. Names in `HAPPENINGS` concern the heap itself, others go to the fleet."""

    at: Instant
    name: str
    arguments: Mapping[str, str | float] = field(default_factory=dict[str, str | float])


WEATHER = Actor("weather", Role.OPERATOR, "simulation")

VOTE_OPEN, VOTE_CAST = "vote-open", "vote-cast"
"""What members do themselves."""
METER_REPLACED = "meter-replaced"
"""`meter-swap` by a technician, who reads both displays and says so."""
HAPPENINGS: Mapping[str, HappeningKind] = {
    METER_REPLACED: HappeningKind("a technician exchanges a meter and states the registers of both", ("device",)),
    "storm-declared": HappeningKind("the operator declares a storm, in so many hours for so many", ("in_h", "hours")),
    "link-lost": HappeningKind("no gateway reaches the hub; records wait in their outboxes"),
    "link-back": HappeningKind("the gateways reach the hub again; what waited comes late"),
    "message-loss": HappeningKind("a share of all messages is lost, rate 0 to 1 (0 ends it)", ("rate",)),
    "message-duplicates": HappeningKind("a share of all messages comes twice, rate 0 to 1 (0 ends it)", ("rate",)),
    "planner-down": HappeningKind("the planner gives no answer"),
    "planner-back": HappeningKind("the planner answers again"),
}
"""What concerns the heap itself; the fleet has a table of its own."""


@dataclass(slots=True)
class Tally:
    """What the heap counted; the report is made from it."""

    messages: int = 0
    dropped: int = 0
    duplicated: int = 0
    records_sent: int = 0
    plans_asked: int = 0
    plans_used: int = 0
    plan_failures: dict[str, int] = field(default_factory=dict[str, int])
    alarms: dict[str, int] = field(default_factory=dict[str, int])
    missions: dict[str, int] = field(default_factory=dict[str, int])
    deliveries: dict[str, int] = field(default_factory=dict[str, int])
    planned_w: dict[Instant, float] = field(default_factory=dict[Instant, float])  # slot -> planned grid exchange
    plans_shadow: int = 0  # good plans that the rules beat
    causes: dict[str, int] = field(default_factory=dict[str, int])  # what plans were made for
    days: list[DayResult] = field(default_factory=list[DayResult])
    scores: list[Score] = field(default_factory=list[Score])
    restarts: list[tuple[Instant, str]] = field(default_factory=list[tuple[Instant, str]])  # after outages, in words


@dataclass(frozen=True, slots=True)
class Parts:
    """What a world is made of; everything that touches a disk or a child is behind a port."""

    site: Site
    fleet: Fleet
    hub: core.Hub
    gateways: Mapping[str, edge.Gateway]
    planner: PlannerPort
    books: BooksPort
    telemetry: TelemetryPort | None
    outboxes: Mapping[str, OutboxPort]
    beliefs: BeliefPort | None = None
    people: PeoplePort | None = None


class World:
    """One heap of (instant, order booked, action)."""

    def __init__(self, parts: Parts, start: Instant, seed: int, happenings: Sequence[Happening] = ()) -> None:
        self.parts = parts
        self.now = start
        self.tally = Tally()
        self._heap: list[tuple[Instant, int, Callable[[], None]]] = []
        self._order = count()
        self._random = random.Random(seed)  # noqa: S311 - a simulated network, no secret
        self._trace = blake2b(digest_size=16)
        self._loss = self._duplicates = 0.0
        self._links = dict.fromkeys(parts.gateways, True)
        self._planner_up = True
        self._timers: dict[str, Instant] = {}
        self._post: list[tuple[Message, str]] = []  # what was sent last, and by whom; it arrives together
        self._post_at = start
        polls = {name: (gw.config.poll_ms, gw.config.slow_poll_ms) for name, gw in parts.gateways.items()}
        self._usual = (parts.hub.config.cycle_ms, polls)
        for happening in happenings:
            self._book(happening.at, lambda happening=happening: self._happen(happening))
        self._book(start, self._connect)
        self._book(Instant(next_boundary(start, SLOT_MS) + SETTLE_AFTER_MS), self._settle)
        self._book(start, self._fleet_timer)

    @property
    def trace_hash(self) -> str:
        """Returns the hash over every delivered message so far."""
        return self._trace.hexdigest()

    def run(self, until: Instant, progress: Callable[[Instant], None] | None = None) -> None:
        """Lives up to `until`."""
        heap, shown = self._heap, 0
        while heap and heap[0][0] <= until:
            at, _, action = heapq.heappop(heap)
            self.now = at
            action()
            shown += 1
            if progress is not None and shown % 2_000 == 0:
                progress(at)
        self.now = until

    def drain(self) -> None:
        """Lives on until the hub has committed every record that a gateway made, ten minutes at most."""
        limit = Instant(self.now + DRAIN_MS)
        while self.now < limit and any(len(gateway.outbox) for gateway in self.parts.gateways.values()):
            self.run(Instant(self.now + SECOND_MS))
        self.parts.books.settle(self.now)
        self._booked()
        if self.parts.telemetry is not None:
            self.parts.telemetry.flush(self.now)

    def _book(self, at: Instant, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (at, next(self._order), action))

    def _connect(self) -> None:
        self._hub(LinkUp())
        for name in self.parts.gateways:
            self._gateway(name, [LinkUp()])

    # -- the hub ---------------------------------------------------------------------------------------------------

    def _hub(self, *events: core.Event) -> None:
        """Steps the events of one instant, then carries out what they ask for, as the live loop does with a batch."""
        hub, effects = self.parts.hub, list[core.Effect]()
        for event in events:
            effects += core.step(hub, event, self.now)[1]
        self._hub_effects(effects)
        self._timer("hub", Instant(max(hub.next_deadline(), self.now + 1)), lambda: self._hub(Tick()))

    def _hub_effects(self, effects: Sequence[core.Effect]) -> None:
        books, dirty = self.parts.books, False
        for effect in effects:
            match effect:
                case core.Store(readings=readings):
                    if self.parts.telemetry is not None:
                        self.parts.telemetry.add(readings)
                case core.Publish(message=message):
                    self._send(message, "hub")
                case core.Accept() | core.PinKey() | core.AcceptDay():
                    books.take(effect, self.now)
                    dirty = True
                case core.Audit(kind=kind, id=name, body=body):
                    books.append(kind, name, dict(body), self.now)
                    self._count(kind, dict(body))
                    dirty = True
                case core.AskPlan():
                    self._ask(effect)
                case core.Keep(item=item):
                    self._keep(item)
                case core.Reply() | core.Bookkeep():
                    pass  # nobody asks in a simulation
        if dirty:
            self._booked()

    def _booked(self) -> None:
        booked, acks = self.parts.books.commit(self.now)
        core.step(self.parts.hub, booked, self.now)
        for node, payload in acks.items():
            self._send(self.parts.hub.host.ack(node, payload, self.now), "hub")
        for node, payload in self.parts.books.day_acks().items():
            self._send(self.parts.hub.host.ack_days(node, payload, self.now), "hub")

    def _count(self, kind: str, body: Mapping[str, str]) -> None:
        if kind == "alarm" and body.get("to") == "unacknowledged":
            self.tally.alarms[body["alarm"]] = self.tally.alarms.get(body["alarm"], 0) + 1
        elif kind == "mission":
            self.tally.missions[body["state"]] = self.tally.missions.get(body["state"], 0) + 1
        elif kind == "delivery":
            self.tally.deliveries[body["state"]] = self.tally.deliveries.get(body["state"], 0) + 1
        elif kind == "restart":
            self.tally.restarts.append((self.now, body["text"]))

    def _keep(self, item: Kept) -> None:
        if isinstance(item, DayResult):
            self.tally.days.append(item)
        elif isinstance(item, Score):
            self.tally.scores.append(item)
        if self.parts.beliefs is not None:
            self.parts.beliefs.keep(item, self.now)

    def _ask(self, asked: core.AskPlan) -> None:
        request, hindsight = asked.request, asked.hindsight
        self.tally.plans_asked += not hindsight and request > 0
        down = Failed(Cause.CRASH, "the planner is down")
        answer = self.parts.planner(asked.problem, warm=asked.warm) if self._planner_up else down
        self._book(Instant(self.now + PLAN_MS), lambda: self._answered(request, answer, hindsight=hindsight))

    def _answered(self, request: int, answer: Answer, *, hindsight: bool) -> None:
        planning = self.parts.hub.planning
        made = planning.made
        self._hub(core.PlanAnswered(request, answer))
        if hindsight or request < 0:
            return  # of deliveries their own state tells
        if planning.made == made:
            cause = planning.status.partition(": ")[2][:80]
            self.tally.plan_failures[cause] = self.tally.plan_failures.get(cause, 0) + 1
            return
        self.tally.causes[planning.cause] = self.tally.causes.get(planning.cause, 0) + 1
        if planning.used:
            self.tally.plans_used += 1
        else:
            self.tally.plans_shadow += 1

    def _settle(self) -> None:
        self.parts.books.settle(self.now)
        self._booked()
        if self.parts.telemetry is not None:
            self.parts.telemetry.flush(self.now)
        self._book(Instant(self.now + SLOT_MS), self._settle)
        current = self.parts.hub.planning.current(self.now)
        if current is not None:
            plan, slot = current
            self.tally.planned_w[floor_to(self.now, SLOT_MS)] = plan.grid_kw[slot] * 1000

    # -- gateways and fleet ----------------------------------------------------------------------------------------

    def _gateway(self, name: str, queue: list[edge.Event]) -> None:
        gateway = self.parts.gateways[name]
        for waiting in queue:  # grows while it is walked: bus answers come at once
            _, effects = edge.step(gateway, waiting, self.now)
            if effects:
                self._gateway_effects(name, effects, queue)
        self._timer(name, Instant(max(gateway.next_deadline(), self.now + 1)), lambda: self._gateway(name, [Tick()]))

    def _gateway_effects(self, name: str, effects: Sequence[edge.Effect], answers: list[edge.Event]) -> None:
        fleet = self.parts.fleet
        for effect in effects:
            match effect:
                case BusRead(request=request):
                    fleet.advance(self.now)
                    found = fleet.read(request.endpoint, request.unit, request.function, request.address, request.count)
                    answers.append(BusAnswer(request, found if isinstance(found, BusFault) else tuple(found)))
                case Send(message=message):
                    self._send(message, name)
                case BusWrite(request=order):
                    fleet.advance(self.now)
                    fault = fleet.write(order.endpoint, order.unit, order.function, order.address, order.values)
                    answers.append(BusWritten(order, fault))
                case StoreRecords(records=records, days=days):
                    self.tally.records_sent += len(records)
                    self.parts.outboxes[name].store(effect)
                    answers.append(RecordsStored(records, days))
                case ForgetRecords() | StoreEpoch():
                    self.parts.outboxes[name].keep(effect)
                case StoreGuard() | StoreSequence() | RecallRecords() | FetchRecords() | Log():
                    pass  # nothing is restored or paged here

    def _fleet_timer(self) -> None:
        self.parts.fleet.advance(self.now)
        for message in self.parts.fleet.messages():
            self._send(message, "fleet")
        self._timer("fleet", Instant(max(self.parts.fleet.next_deadline(), self.now + 1)), self._fleet_timer)

    # -- network and time ------------------------------------------------------------------------------------------

    def _timer(self, name: str, at: Instant, action: Callable[[], None]) -> None:
        """Books the one timer of an owner; a booking that it replaces does nothing when its time comes."""
        if self._timers.get(name) != at:
            self._timers[name] = at
            self._book(at, lambda: self._fire(name, at, action))

    def _fire(self, name: str, at: Instant, action: Callable[[], None]) -> None:
        if self._timers.get(name) == at:
            del self._timers[name]
            action()

    def _send(self, message: Message, sender: str) -> None:
        self.tally.messages += 1
        if self._loss and self._random.random() < self._loss:
            self.tally.dropped += 1
            return
        copies = 1
        if self._duplicates and self._random.random() < self._duplicates:
            self.tally.duplicated += 1
            copies = 2
        if self._post_at != self.now + LATENCY_MS or not self._post:
            self._post, self._post_at = [], Instant(self.now + LATENCY_MS)
            self._book(self._post_at, lambda post=self._post: self._deliver(post))
        self._post += [(message, sender)] * copies

    def _deliver(self, post: Sequence[tuple[Message, str]]) -> None:
        """Hands what arrives at one instant to each receiver, in the order in which it was sent."""
        to_hub, to_fleet = list[core.Event](), list[Message]()
        to_gateways: dict[str, list[edge.Event]] = {name: [] for name in self.parts.gateways}
        for message, sender in post:
            self._trace.update(b"%d %s " % (self.now, message.topic.encode()))
            self._trace.update(message.payload)
            if sender != "hub":
                if self._links.get(sender, True):
                    to_hub.append(Incoming(message.topic, message.payload))
                    self._deliver_plain(message, sender, to_gateways, to_fleet)
                continue
            levels = message.topic.split("/")
            if self.parts.hub.board.concerns(message.topic):
                to_fleet.append(message)
                continue
            for name, waiting in to_gateways.items():
                if self._links[name] and (levels[1] == "STATE" or name in levels):
                    waiting.append(Incoming(message.topic, message.payload))
        if to_hub:
            self._hub(*to_hub)
        for name, waiting in to_gateways.items():
            if waiting:
                self._gateway(name, waiting)
        if to_fleet:
            self.parts.fleet.advance(self.now)
            for message in to_fleet:
                self.parts.fleet.receive(message)
            self._fleet_timer()

    def _deliver_plain(
        self, message: Message, sender: str, to_gateways: Mapping[str, list[edge.Event]], to_fleet: list[Message]
    ) -> None:
        """Brings devices that speak plain MQTT and their gateways together."""
        if sender != "fleet":
            if not message.topic.startswith(NAMESPACE):
                to_fleet.append(message)
            return
        for name, waiting in to_gateways.items():
            if self._links[name] and self.parts.gateways[name].plain.speakers(message.topic):
                waiting.append(Incoming(message.topic, message.payload))

    def _happen(self, happening: Happening) -> None:
        arguments = happening.arguments
        match happening.name:
            case "link-lost" | "link-back":
                self._link(up=happening.name == "link-back")
            case "message-loss":
                self._loss = float(arguments["rate"])
            case "message-duplicates":
                self._duplicates = float(arguments["rate"])
            case "storm-declared":
                self._hub(core.Commanded(self._declared(happening)))
            case "planner-down" | "planner-back":
                self._planner_up = happening.name == "planner-back"
            case name if name == METER_REPLACED:
                self._replace_meter(str(arguments["device"]))
            case name if name in (VOTE_OPEN, VOTE_CAST) and self.parts.people is not None:
                self.parts.people.act(name, arguments, self.now)
                self._booked()
            case _:
                self.parts.fleet.advance(self.now)
                self.parts.fleet.happen(happening.name, arguments)
        self._look_closely()

    def _declared(self, happening: Happening) -> DeclareStorm:
        """Returns what the operator of a simulated village declares: a storm in so many hours, for so many."""
        start = Instant(self.now + round(float(happening.arguments["in_h"]) * HOUR_MS))
        end = Instant(start + round(float(happening.arguments["hours"]) * HOUR_MS))
        return DeclareStorm(derived_id(self.now, "storm", start, end), WEATHER, start, end, "cyclone warning")

    def _replace_meter(self, device: str) -> None:
        fleet = self.parts.fleet
        fleet.advance(self.now)
        closing = fleet.registers(device)
        fleet.happen("meter-swap", {"device": device})
        self.parts.books.meter_replaced(device, closing, fleet.registers(device), self.now)
        self._booked()

    def _link(self, *, up: bool) -> None:
        for name, gateway in self.parts.gateways.items():
            self._links[name] = up
            self._gateway(name, [LinkUp() if up else LinkDown("happening")])
            if not up:
                death = gateway.session.death(self.now)
                self._book(Instant(self.now + WILL_MS), lambda name=name, death=death: self._last_will(name, death))

    def _last_will(self, name: str, death: Message) -> None:
        """Delivers what a gateway left with the broker, if it is still away."""
        if not self._links[name]:
            self._hub(Incoming(death.topic, death.payload))

    def _look_closely(self) -> None:
        """Runs cycle and polls at one second for a while, so that what follows an event is seen as it would be live."""
        self._periods(SECOND_MS, dict.fromkeys(self.parts.gateways, (SECOND_MS, 0)))
        self._book(Instant(self.now + CLOSE_LOOK_MS), lambda: self._periods(*self._usual))

    def _periods(self, cycle_ms: int, polls_ms: Mapping[str, tuple[int, int]]) -> None:
        hub = self.parts.hub
        hub.config = replace(hub.config, cycle_ms=cycle_ms)
        for name, gateway in self.parts.gateways.items():
            poll_ms, slow_poll_ms = polls_ms[name]
            gateway.config = replace(gateway.config, poll_ms=poll_ms, slow_poll_ms=slow_poll_ms)
