"""Rounds of ground vehicles: the question and the answer, as frozen values in whole numbers.

Distances, durations, loads and money are whole numbers in units that the caller chooses and keeps to (the hub: metres,
seconds since the plan's start, grams, micro-units of the currency). Places are indices into the travel tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NewType

VisitId = NewType("VisitId", str)
VehicleId = NewType("VehicleId", str)

Loads = tuple[int, ...]
Matrix = tuple[tuple[int, ...], ...]

FOREVER: Final = 2**40
"""Later than every time and longer than every distance of a plan: an open end."""


@dataclass(frozen=True, slots=True)
class Depot:
    """A place where rounds start, end and reload, while it is open."""

    place: int
    early: int = 0
    late: int = FOREVER
    loading: int = 0  # time before each trip


@dataclass(frozen=True, slots=True)
class Visit:
    """One place to be served: `deliver` is loaded at the depot before the trip, `collect` is unloaded after it.

    `prize` None: it must be served. Else leaving it out costs the prize; that is how priorities are told.
    """

    id: VisitId
    place: int
    deliver: Loads = ()
    collect: Loads = ()
    service: int = 0
    early: int = 0
    late: int = FOREVER  # latest begin
    release: int = 0  # its trip does not leave the depot before
    prize: int | None = None


@dataclass(frozen=True, slots=True)
class Halt:
    """One end of a shipment."""

    place: int
    service: int = 0
    early: int = 0
    late: int = FOREVER


@dataclass(frozen=True, slots=True)
class Shipment:
    """Something to be fetched at one place and brought to another by the same vehicle, in this order."""

    id: VisitId
    pickup: Halt
    delivery: Halt
    load: Loads = ()
    prize: int | None = None


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One vehicle. Its round may have several trips where `reload_depots` are given."""

    id: VehicleId
    start: int = 0  # index into the depots
    end: int = 0
    capacity: Loads = ()
    early: int = 0
    late: int = FOREVER
    duration_max: int = FOREVER
    distance_max: int = FOREVER  # of the whole round
    fixed_cost: int = 0
    distance_cost: int = 1  # per unit of distance
    duration_cost: int = 0
    profile: int = 0  # index into the travel tables
    reload_depots: tuple[int, ...] = ()
    reloads_max: int = FOREVER
    only: tuple[VisitId, ...] | None = None  # visits that it may serve; None: all. Shipments are open to all


@dataclass(frozen=True, slots=True)
class Travel:
    """Distances and durations from each place to each, for one kind of vehicle."""

    distance: Matrix
    duration: Matrix


@dataclass(frozen=True, slots=True)
class RoundsProblem:
    """Everything that the planner of rounds may know. Equal problems get equal plans without a time limit."""

    travel: tuple[Travel, ...]
    depots: tuple[Depot, ...]
    vehicles: tuple[Vehicle, ...]
    visits: tuple[Visit, ...] = ()
    shipments: tuple[Shipment, ...] = ()

    @property
    def places(self) -> int:
        """Returns the number of places."""
        return len(self.travel[0].distance) if self.travel else 0


@dataclass(frozen=True, slots=True)
class Call:
    """One stop of a trip: `visit` is a visit's or shipment's id; `part` is serve, pickup or delivery."""

    visit: VisitId
    part: str
    place: int
    arrive: int
    begin: int  # after waiting for the window
    end: int


@dataclass(frozen=True, slots=True)
class Trip:
    """From one depot to the next; `leave` is when loading is over, `back` the arrival."""

    start: int
    end: int
    leave: int
    back: int
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """What one vehicle does; `begin` is the start of the first loading."""

    vehicle: VehicleId
    begin: int
    trips: tuple[Trip, ...]
    distance: int
    cost: int


@dataclass(frozen=True, slots=True)
class RoundsPlan:
    """A plan that passed the checker. `cost` is that of the rounds and of the prizes that were not collected."""

    rounds: tuple[Round, ...]
    unserved: tuple[VisitId, ...]
    cost: int
    engine: str  # pyvrp or ortools


@dataclass(frozen=True, slots=True)
class RoundsStop:
    """When to stop looking. Without seconds the plan depends on problem, seed and iterations alone."""

    seconds: float | None = None
    iterations: int = 3_000


class NoRounds(RuntimeError):
    """An engine found no plan that keeps every rule within its limits."""
