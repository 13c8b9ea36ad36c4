"""Recomputes a FlightsPlan from its problem: wind, energy, charge, chargers, windows, payload, cost. Trusts no engine.

Shares no code with optimizer/flights.py: the energy model is written here again, leg by leg along the plan's times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import atan2, cos, dist, sin

from optimizer.flight_problem import STOPS_MAX, Charge, Drone, Flight, FlightsPlan, FlightsProblem, Parcel

NEAR_WH = 0.05
NEAR_S = 1.0
LEAST_WAY_MPS = 1.0


def check_flights(problem: FlightsProblem, plan: FlightsPlan) -> list[str]:
    """Returns every rule that a plan breaks, one sentence each."""
    drones = {drone.id: drone for drone in problem.drones}
    parcels = {parcel.id: parcel for parcel in problem.parcels}
    found = [*_coverage(problem, plan)]
    for flight in plan.flights:
        drone = drones.get(flight.drone)
        cargo = [parcels[drop.parcel] for drop in flight.drops if drop.parcel in parcels]
        if drone is None or len(cargo) != len(flight.drops) or not cargo:
            found.append(f"a flight of {flight.drone} at {flight.leave}: unknown drone or parcel, or none")
        else:
            found += [
                f"flight of {drone.id} at {flight.leave}: {text}" for text in _flight(problem, drone, flight, cargo)
            ]
    for drone in problem.drones:
        flights = sorted((one for one in plan.flights if one.drone == drone.id), key=lambda one: one.leave)
        charges = sorted((one for one in plan.charges if one.drone == drone.id), key=lambda one: one.begin)
        found += [f"{drone.id}: {text}" for text in _pack(drone, flights, charges)]
    found += [f"a charge of {one.drone}: no such drone" for one in plan.charges if one.drone not in drones]
    return [*found, *_chargers(problem, plan), *_money(problem, plan)]


def _coverage(problem: FlightsProblem, plan: FlightsPlan) -> Iterator[str]:
    flown = [drop.parcel for flight in plan.flights for drop in flight.drops]
    begins = {drop.parcel: drop.begin for flight in plan.flights for drop in flight.drops}
    for parcel in problem.parcels:
        times = flown.count(parcel.id) + plan.unserved.count(parcel.id)
        if times != 1:
            yield f"parcel {parcel.id}: flown or named as unserved {times} times"
        is_late = begins.get(parcel.id, 0) > parcel.late
        if is_late != (parcel.id in plan.late):
            yield f"parcel {parcel.id}: {'late and not said so' if is_late else 'said to be late and is not'}"
        if is_late and not parcel.medical:
            yield f"parcel {parcel.id}: dropped at {begins[parcel.id]}, its window ends at {parcel.late}"
        if begins.get(parcel.id, parcel.early) < parcel.early:
            yield f"parcel {parcel.id}: dropped at {begins[parcel.id]}, its window opens at {parcel.early}"


def _flight(problem: FlightsProblem, drone: Drone, flight: Flight, cargo: Sequence[Parcel]) -> Iterator[str]:
    if len(cargo) > STOPS_MAX:
        yield f"has {len(cargo)} stops, at most {STOPS_MAX}"
    payload = sum(parcel.mass_kg for parcel in cargo)
    if payload > drone.frame.payload_kg_max + 1e-9:
        yield f"carries {payload:.2f} kg, at most {drone.frame.payload_kg_max}"
    if flight.leave < drone.early or flight.back > min(drone.late, problem.horizon):
        yield f"{flight.leave} to {flight.back} is outside its shift"
    energy, mass, clock, here = 0.0, drone.frame.mass_kg + payload, float(flight.leave), (drone.x, drone.y)
    for drop, parcel in zip(flight.drops, cargo, strict=True):
        leg = _leg_s(problem, drone, here, (parcel.x, parcel.y))
        if leg is None:
            yield f"the wind does not let it reach {parcel.id}"
            return
        if drop.begin < clock + leg - 1e-6:
            yield f"drops {parcel.id} at {drop.begin}, sooner than it can fly there ({clock + leg:.0f})"
        if drop.begin > clock + leg + NEAR_S:
            yield f"waits in the air before {parcel.id}"
        if drop.end - drop.begin != parcel.service:
            yield f"gives {parcel.id} {drop.end - drop.begin} s, it takes {parcel.service}"
        energy += _watts(problem, drone, mass) * (leg + parcel.service) / 3_600
        mass -= parcel.mass_kg
        clock, here = float(drop.end), (parcel.x, parcel.y)
    home = _leg_s(problem, drone, here, (drone.x, drone.y))
    if home is None:
        yield "the wind does not let it come home"
        return
    if flight.back < clock + home - 1e-6:
        yield f"is back at {flight.back}, sooner than it can fly"
    energy = (energy + _watts(problem, drone, mass) * home / 3_600) * (1 + drone.frame.margin)
    if abs(energy - flight.energy_wh) > NEAR_WH:
        yield f"says {flight.energy_wh:.2f} Wh, it takes {energy:.2f}"


def _watts(problem: FlightsProblem, drone: Drone, mass: float) -> float:
    frame = drone.frame
    return frame.b0 + frame.b1 * (mass**3 / problem.air.density) ** 0.5


def _leg_s(problem: FlightsProblem, drone: Drone, start: tuple[float, float], end: tuple[float, float]) -> float | None:
    """Returns the seconds of a leg, by the angle between course and wind."""
    air, frame = problem.air, drone.frame
    up_and_down = air.altitude_m * (1 / frame.climb_mps + 1 / frame.sink_mps)
    way = dist(start, end)
    if way == 0.0:
        return up_and_down
    course = atan2(end[1] - start[1], end[0] - start[0])
    blow = dist((0.0, 0.0), (air.wind_east_mps, air.wind_north_mps))
    angle = atan2(air.wind_north_mps, air.wind_east_mps) - course
    aside = blow * sin(angle)
    if abs(aside) >= frame.speed_mps:
        return None
    over_ground = (frame.speed_mps**2 - aside**2) ** 0.5 + blow * cos(angle)
    return None if over_ground < LEAST_WAY_MPS - 1e-9 else up_and_down + way / over_ground


def _pack(drone: Drone, flights: Sequence[Flight], charges: Sequence[Charge]) -> Iterator[str]:
    """Walks one drone's day: charges and flights follow each other, the pack stays between reserve and full."""
    level, free = drone.charge_now_wh, float(drone.early)
    events = sorted([*flights, *charges], key=lambda one: one.leave if isinstance(one, Flight) else one.begin)
    for one in events:
        begin, end = (one.leave, one.back) if isinstance(one, Flight) else (one.begin, one.end)
        if begin < free:
            yield f"begins something at {begin}, it is free at {free:.0f}"
        if isinstance(one, Charge):
            free = end
            level += one.energy_wh
            if one.energy_wh > drone.charge_w * (end - begin) / 3_600 + NEAR_WH:
                yield f"charges {one.energy_wh:.1f} Wh in {end - begin} s, faster than {drone.charge_w} W"
            if level > max(drone.battery_wh, drone.charge_now_wh) + NEAR_WH:
                yield f"holds {level:.1f} Wh after charging, its pack {drone.battery_wh}"
        else:
            free = end + drone.turnaround
            level -= one.energy_wh
            if level < drone.reserve_wh - NEAR_WH:
                yield f"is home with {level:.1f} Wh, its reserve is {drone.reserve_wh}"


def _chargers(problem: FlightsProblem, plan: FlightsPlan) -> Iterator[str]:
    for one in plan.charges:
        at_once = sum(1 for other in plan.charges if other.begin <= one.begin < other.end)
        if at_once > problem.chargers:
            yield f"{at_once} drones charge at {one.begin}, there are {problem.chargers} chargers"


def _money(problem: FlightsProblem, plan: FlightsPlan) -> Iterator[str]:
    wear = {drone.id: drone.flight_price for drone in problem.drones}
    cost = sum(parcel.prize for parcel in problem.parcels if parcel.id in plan.unserved)
    cost += sum(wear.get(one.drone, 0) + round(problem.energy_price * one.energy_wh) for one in plan.flights)
    if abs(cost - plan.cost) > len(plan.flights):
        yield f"cost {plan.cost} is stated, it adds up to {cost}"
