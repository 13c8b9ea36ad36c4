"""Drone flights: the question and the answer, as frozen values. Metres, seconds from the plan's start, kg, W, Wh.

Source of the energy model: hovering flight needs power as mass^1.5 / sqrt(air density) plus a fixed part. `M100` was
fitted to measured flights of a 3.6 kg quadcopter (467 W empty, 561 W with 0.5 kg at 12 m/s); flights spread by 8 %
(one sigma), so the margin is two of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Final

from optimizer.logistics import VehicleId, VisitId

STOPS_MAX: Final = 3
PARCELS_MAX: Final = 24
HORIZON_S_MAX: Final = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Frame:
    """What a drone needs to fly: power = b1 x mass^1.5 / sqrt(density) + b0 [W]."""

    mass_kg: float  # with its battery, without payload
    payload_kg_max: float
    speed_mps: float  # through the air
    climb_mps: float
    sink_mps: float
    b1: float
    b0: float
    margin: float  # fraction added to every energy: flights of the same kind differ


M100: Final = Frame(3.6, 1.0, 10.0, 2.5, 2.5, 70.0, 30.5, 0.16)


@dataclass(frozen=True, slots=True)
class Air:
    """The air on the way; wind blows towards (east, north)."""

    wind_east_mps: float = 0.0
    wind_north_mps: float = 0.0
    density: float = 1.2  # kg/m3
    altitude_m: float = 50.0  # of the way above the ground, climbed and sunk at each stop


@dataclass(frozen=True, slots=True)
class Drone:
    """One drone and its pad. `reserve_wh` is left in the pack when it is home again, whatever happens."""

    id: VehicleId
    frame: Frame
    x: float
    y: float
    battery_wh: float  # most that charging fills in
    charge_now_wh: float
    reserve_wh: float
    charge_w: float  # into the cells
    early: int = 0
    late: int = HORIZON_S_MAX  # home again
    turnaround: int = 120  # between flights
    flight_price: int = 0  # wear of a flight, in micro-units of money


@dataclass(frozen=True, slots=True)
class Parcel:
    """Something to be flown. A medical one may be late, at a loss that outranks every other parcel; others may not."""

    id: VisitId
    x: float
    y: float
    mass_kg: float
    early: int = 0
    late: int = HORIZON_S_MAX  # latest begin of the drop; of a medical one, its deadline
    service: int = 60
    prize: int = 0  # what leaving it out costs, micro-units
    medical: bool = False


@dataclass(frozen=True, slots=True)
class FlightsProblem:
    """Everything that the planner of flights may know."""

    drones: tuple[Drone, ...]
    parcels: tuple[Parcel, ...]
    air: Air = Air()
    chargers: int = 1  # drones that can charge at a time
    energy_price: int = 0  # micro-units per Wh
    horizon: int = 86_400


@dataclass(frozen=True, slots=True)
class Drop:
    """One parcel of a flight."""

    parcel: VisitId
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Flight:
    """Out and home; `energy_wh` with the margin."""

    drone: VehicleId
    leave: int
    back: int
    drops: tuple[Drop, ...]
    energy_wh: float


@dataclass(frozen=True, slots=True)
class Charge:
    """One stay on a charger that a flight counts on."""

    drone: VehicleId
    begin: int
    end: int
    energy_wh: float


@dataclass(frozen=True, slots=True)
class FlightsPlan:
    """A plan that passed the checker. `late` are medical parcels that come after their deadline."""

    flights: tuple[Flight, ...]
    charges: tuple[Charge, ...]
    unserved: tuple[VisitId, ...]
    late: tuple[VisitId, ...]
    cost: int  # prizes that were not collected, wear, energy; micro-units


def validate_flights(problem: FlightsProblem) -> list[str]:
    """Returns what is wrong with a problem, one sentence each."""
    return list(_problems(problem))


def _problems(problem: FlightsProblem) -> Iterator[str]:
    if not 0 < problem.horizon <= HORIZON_S_MAX:
        yield f"flights: the horizon is {problem.horizon} s; 1 to {HORIZON_S_MAX} are possible"
    if len(problem.parcels) > PARCELS_MAX:
        yield f"flights: {len(problem.parcels)} parcels; at most {PARCELS_MAX} are planned at once"
    if problem.chargers < 0 or problem.energy_price < 0:
        yield "flights: chargers and energy_price must not be negative"
    air = problem.air
    yield from _numbers("air", density=air.density)
    yield from _numbers("air", zero=True, altitude_m=air.altitude_m)
    if not (isfinite(air.wind_east_mps) and isfinite(air.wind_north_mps)):
        yield "air: the wind is not a number"
    for drone in problem.drones:
        yield from _drone(f"drone {drone.id}", drone)
    for parcel in problem.parcels:
        at = f"parcel {parcel.id}"
        yield from _numbers(at, zero=True, mass_kg=parcel.mass_kg, service=parcel.service, prize=parcel.prize)
        if not 0 <= parcel.early <= parcel.late:
            yield f"{at}: the window {parcel.early} to {parcel.late} is empty or negative"
        if not (isfinite(parcel.x) and isfinite(parcel.y)):
            yield f"{at}: its place is not a number"
    names = Counter([*(drone.id for drone in problem.drones), *(parcel.id for parcel in problem.parcels)])
    yield from (f"{name}: this id stands {times} times" for name, times in names.items() if times > 1)


def _drone(at: str, drone: Drone) -> Iterator[str]:
    frame = drone.frame
    yield from _numbers(
        at, mass_kg=frame.mass_kg, speed_mps=frame.speed_mps, climb_mps=frame.climb_mps, sink_mps=frame.sink_mps
    )
    yield from _numbers(at, battery_wh=drone.battery_wh)
    yield from _numbers(
        at,
        zero=True,
        payload_kg_max=frame.payload_kg_max,
        b1=frame.b1,
        b0=frame.b0,
        margin=frame.margin,
        charge_now_wh=drone.charge_now_wh,
        reserve_wh=drone.reserve_wh,
        charge_w=drone.charge_w,
        turnaround=drone.turnaround,
        flight_price=drone.flight_price,
    )
    if drone.charge_now_wh > drone.battery_wh:
        yield f"{at}: holds {drone.charge_now_wh} Wh, its pack {drone.battery_wh}"
    if drone.reserve_wh >= drone.battery_wh:
        yield f"{at}: its reserve of {drone.reserve_wh} Wh is its whole pack"
    if not 0 <= drone.early <= drone.late:
        yield f"{at}: the shift {drone.early} to {drone.late} is empty or negative"
    if not (isfinite(drone.x) and isfinite(drone.y)):
        yield f"{at}: its place is not a number"


def _numbers(at: str, *, zero: bool = False, **values: float) -> Iterator[str]:
    for name, value in values.items():
        if not isfinite(value) or value < 0 or (value == 0 and not zero):
            yield f"{at}: {name} is {value}; it must be a number {'that is not negative' if zero else 'above 0'}"
