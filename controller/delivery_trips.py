"""A plan's trips and flights as the hub carries them out: who leaves when, stops in order, energy, and the order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from controller.delivery_problem import STOP_W, Waiting, device_of, dock_of, rating
from controller.missions import MAP
from controller.site import Place, Site
from devices.clock import Instant
from devices.vda5050 import Action, ActionParameter, BlockingType, Edge, Node, NodePosition, Order
from optimizer.deliveries import DeliveriesPlan
from optimizer.logistics import Call, Round, Trip, VehicleId

WAIT_LEAST_MS = 5_000
ACTIONS = {"parcel": "drop", "medicine": "dropParcel", "waste": "pick", "transfer": "drop"}


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop: `run` is the delivery's run, `part` serve, pickup or delivery."""

    run: str
    part: str
    place: str
    begin: Instant
    end: Instant
    wait_ms: int  # for its window, after arriving


@dataclass(frozen=True, slots=True)
class PlannedTrip:
    """From the dock and back; before `leave` the vehicle loads for `loading_ms`."""

    vehicle: VehicleId
    leave: Instant
    back: Instant
    loading_ms: int
    stops: tuple[Stop, ...]
    energy_wh: float

    @property
    def id(self) -> str:
        """Returns what the trip is called in questions to the planner."""
        return ".".join((self.vehicle, *self.runs))

    @property
    def begin(self) -> Instant:
        """Returns when loading begins."""
        return Instant(self.leave - self.loading_ms)

    def moved(self, begin: Instant) -> PlannedTrip:
        """Returns the same trip when its loading begins then."""
        by = begin - self.begin
        stops = tuple(replace(one, begin=Instant(one.begin + by), end=Instant(one.end + by)) for one in self.stops)
        return replace(self, leave=Instant(self.leave + by), back=Instant(self.back + by), stops=stops)

    @property
    def runs(self) -> tuple[str, ...]:
        """Returns the runs that it serves, each once, in order."""
        return tuple(dict.fromkeys(stop.run for stop in self.stops))

    @property
    def words(self) -> str:
        """Returns what it is, for people: "round of 2 stops: school, clinic"."""
        places = ", ".join(dict.fromkeys(stop.place for stop in self.stops))
        count, kind = len(self.stops), "round" if self.loading_ms else "flight"
        return f"{kind} of {count} stop{'s' if count > 1 else ''}: {places}"


def trips_of(site: Site, plan: DeliveriesPlan, asked: Mapping[str, Waiting], loading_s: int) -> list[PlannedTrip]:
    """Returns every trip and flight of a plan, earliest first."""
    found: list[PlannedTrip] = []
    for one in () if plan.rounds is None else plan.rounds.rounds:
        found += [_trip(site, plan.start, one, trip, asked, loading_s) for trip in one.trips]
    for flight in () if plan.flights is None else plan.flights.flights:
        stops = tuple(
            Stop(
                drop.parcel,
                "serve",
                asked[drop.parcel].delivery.place,
                _at(plan.start, drop.begin),
                _at(plan.start, drop.end),
                0,
            )
            for drop in flight.drops
        )
        leave, back = _at(plan.start, flight.leave), _at(plan.start, flight.back)
        found.append(PlannedTrip(flight.drone, leave, back, 0, stops, flight.energy_wh))
    return sorted(found, key=lambda trip: (trip.leave, trip.vehicle))


def _at(start: Instant, seconds: int) -> Instant:
    return Instant(start + 1000 * seconds)


def _trip(
    site: Site, start: Instant, one: Round, trip: Trip, asked: Mapping[str, Waiting], loading_s: int
) -> PlannedTrip:
    vehicle = device_of(one.vehicle)
    spec = site.device(vehicle)
    assert spec is not None, "the question named only vehicles of the site"
    stops = tuple(
        Stop(
            call.visit,
            call.part,
            _place(call, asked[call.visit]),
            _at(start, call.begin),
            _at(start, call.end),
            1000 * (call.begin - call.arrive),
        )
        for call in trip.calls
    )
    spots = [dock_of(site), *(place for stop in stops if (place := site.place(stop.place)) is not None), dock_of(site)]
    metres = sum(((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5 for a, b in pairwise(spots))
    served_h = (sum(call.end - call.begin for call in trip.calls) + loading_s) / 3600
    energy = metres / 1000 * rating(spec, "wh_per_km") + served_h * STOP_W
    return PlannedTrip(vehicle, _at(start, trip.leave), _at(start, trip.back), 1000 * loading_s, stops, energy)


def _place(call: Call, waiting: Waiting) -> str:
    return waiting.delivery.from_place if call.part == "pickup" else waiting.delivery.place


def action_id(run: str, part: str) -> str:
    """Returns the id of a stop's action: by it the vehicle's state tells what is done."""
    return f"{run}.pickup" if part == "pickup" else f"{run}.do"


def order(site: Site, trip: PlannedTrip, key: str, asked: Mapping[str, Waiting]) -> Order:
    """Returns dock -> stops -> dock, with what is to be done at each."""
    dock = dock_of(site)
    load = _action("pick", f"{key}.load", trip.loading_ms)
    nodes = [_node(dock, 0, (load,) if trip.loading_ms else ())]
    for number, stop in enumerate(trip.stops, 1):
        place = site.place(stop.place)
        assert place is not None, "a checked site file names only places that exist"
        kind = "pick" if stop.part == "pickup" else ACTIONS[asked[stop.run].delivery.kind]
        actions = (_action(kind, action_id(stop.run, stop.part), asked[stop.run].delivery.service_ms),)
        if stop.wait_ms >= WAIT_LEAST_MS:
            actions = (_action("wait", f"{stop.run}.{stop.part}.wait", stop.wait_ms), *actions)
        nodes.append(_node(place, 2 * number, actions))
    nodes.append(_node(dock, 2 * len(nodes), ()))
    edges = tuple(
        Edge(f"{a.nodeId}-{b.nodeId}-{a.sequenceId}", a.sequenceId + 1, True, a.nodeId, b.nodeId, ())
        for a, b in pairwise(nodes)
    )
    return Order(key, 0, tuple(nodes), edges)


def _action(kind: str, name: str, duration_ms: int) -> Action:
    return Action(kind, name, BlockingType.HARD, (ActionParameter("duration_ms", duration_ms),))


def _node(place: Place, sequence: int, actions: tuple[Action, ...]) -> Node:
    return Node(place.id, sequence, True, actions, NodePosition(place.x, place.y, MAP))
