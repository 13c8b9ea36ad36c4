"""Drone flights: every flight of up to three stops that the pack can do, then chosen and timed by CP-SAT.

Medical parcels come first, whatever that costs the others: they are decided in a solve of their own, whose result
binds the second one. Energies are whole joules in the model, needs rounded up and packs rounded down.
"""

# pyright: reportUnknownMemberType=false
# Part of what OR-Tools says of CP-SAT is untyped.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations
from math import ceil, floor, hypot, sqrt

from ortools.sat.python import cp_model

from optimizer.check_flights import check_flights
from optimizer.flight_problem import (
    STOPS_MAX,
    Air,
    Charge,
    Drone,
    Drop,
    Flight,
    FlightsPlan,
    FlightsProblem,
    Frame,
    Parcel,
    validate_flights,
)
from optimizer.logistics import NoRounds, RoundsStop
from optimizer.plan import Infeasible

FLIGHTS_MAX = 6
"""Flights of one drone in one plan."""
SLOWEST_MPS = 1.0
"""Against the wind a drone must still make this much way."""
JOULES_PER_WH = 3_600
DETERMINISTIC_PER_ITERATION = 0.002


@dataclass(frozen=True, slots=True)
class Option:
    """One flight that a drone could do: drops at fixed offsets from leaving, between `earliest` and `latest`."""

    parcels: tuple[Parcel, ...]
    offsets: tuple[int, ...]
    duration: int
    energy_wh: float
    earliest: int
    latest: int


def solve_flights(problem: FlightsProblem, stop: RoundsStop, seed: int) -> FlightsPlan | Infeasible:
    """Returns a checked plan. Everything may be left out at a price, so a sound problem always has one.

    Raises:
        NoRounds: CP-SAT found nothing within its limits, or the checker refuses what it found.
    """
    wrong = validate_flights(problem)
    if wrong:
        return Infeasible(tuple(wrong))
    plan = _Model(problem).solve(stop, seed)
    broken = check_flights(problem, plan)
    if broken:
        raise NoRounds(f"flights: {'; '.join(broken[:3])}")
    return plan


def options_of(problem: FlightsProblem, drone: Drone) -> list[Option]:
    """Returns the flights that a full pack can do, those left out that another of the same parcels is better than."""
    best: dict[frozenset[str], list[Option]] = {}
    for count in range(1, STOPS_MAX + 1):
        for order in permutations(problem.parcels, count):
            if sum(parcel.mass_kg for parcel in order) > drone.frame.payload_kg_max:
                continue
            option = _option(problem, drone, order)
            if option is not None:
                best.setdefault(frozenset(parcel.id for parcel in order), []).append(option)
    kept: list[Option] = []
    for same in best.values():
        chosen: list[Option] = []
        for option in sorted(same, key=lambda one: (one.energy_wh, one.duration)):
            if not any(one.earliest <= option.earliest and option.latest <= one.latest for one in chosen):
                chosen.append(option)
        kept += chosen
    return kept


def _option(problem: FlightsProblem, drone: Drone, order: Sequence[Parcel]) -> Option | None:
    """Returns one order of drops as a flight, or None where wind, pack or windows do not allow it."""
    frame, air = drone.frame, problem.air
    mass = frame.mass_kg + sum(parcel.mass_kg for parcel in order)
    x, y, clock, energy, offsets = drone.x, drone.y, 0.0, 0.0, list[int]()
    for parcel in (*order, None):
        to_x, to_y = (drone.x, drone.y) if parcel is None else (parcel.x, parcel.y)
        seconds = leg_seconds(frame, air, to_x - x, to_y - y)
        if seconds is None:
            return None
        clock += seconds
        energy += seconds * power_w(frame, air, mass) / 3_600
        x, y = to_x, to_y
        if parcel is not None:
            clock = float(ceil(clock))
            offsets.append(int(clock))
            clock += parcel.service
            energy += parcel.service * power_w(frame, air, mass) / 3_600
            mass -= parcel.mass_kg
    energy *= 1 + frame.margin
    if energy > drone.battery_wh - drone.reserve_wh:
        return None
    duration = ceil(clock)
    earliest = max(drone.early, *(parcel.early - at for parcel, at in zip(order, offsets, strict=True)))
    latest = min(drone.late, problem.horizon) - duration
    latest = min([latest, *(one.late - at for one, at in zip(order, offsets, strict=True) if not one.medical)])
    return Option(tuple(order), tuple(offsets), duration, energy, earliest, latest) if earliest <= latest else None


def power_w(frame: Frame, air: Air, mass_kg: float) -> float:
    """Returns what flying takes with this mass [W]."""
    return frame.b1 * mass_kg**1.5 / sqrt(air.density) + frame.b0


def leg_seconds(frame: Frame, air: Air, east: float, north: float) -> float | None:
    """Returns climb, way and landing of a leg [s]; None where the wind is too strong."""
    distance = hypot(east, north)
    vertical = air.altitude_m / frame.climb_mps + air.altitude_m / frame.sink_mps
    if distance == 0.0:
        return vertical
    along = (air.wind_east_mps * east + air.wind_north_mps * north) / distance
    across = (air.wind_north_mps * east - air.wind_east_mps * north) / distance
    if abs(across) >= frame.speed_mps:
        return None
    way = sqrt(frame.speed_mps**2 - across**2) + along
    return None if way < SLOWEST_MPS else vertical + distance / way


@dataclass(slots=True)
class _Turn:
    """One flight position of a drone: a choice of options, and the charging before it."""

    drone: Drone
    options: list[Option]
    choice: list[cp_model.IntVar]
    leave: cp_model.IntVar
    back: cp_model.LinearExpr
    charge_from: cp_model.IntVar
    charge_s: cp_model.IntVar


@dataclass(slots=True)
class _Model:
    """The choice of flights as a CP-SAT model."""

    problem: FlightsProblem
    model: cp_model.CpModel = field(default_factory=cp_model.CpModel)
    turns: list[_Turn] = field(default_factory=list[_Turn])
    charging: list[cp_model.IntervalVar] = field(default_factory=list[cp_model.IntervalVar])
    unserved: dict[str, cp_model.IntVar] = field(default_factory=dict[str, cp_model.IntVar])
    lateness: dict[str, cp_model.IntVar] = field(default_factory=dict[str, cp_model.IntVar])
    arrival: dict[str, cp_model.IntVar] = field(default_factory=dict[str, cp_model.IntVar])

    def solve(self, stop: RoundsStop, seed: int) -> FlightsPlan:
        """Returns the plan of two solves: medical parcels first, then money."""
        horizon = self.problem.horizon
        for parcel in self.problem.parcels:
            self.unserved[parcel.id] = self.model.new_bool_var(f"unserved {parcel.id}")
            if parcel.medical:
                self.lateness[parcel.id] = self.model.new_int_var(0, horizon, f"late {parcel.id}")
                self.arrival[parcel.id] = self.model.new_int_var(0, horizon, f"arrival {parcel.id}")
        for drone in self.problem.drones:
            self._drone(drone)
        self._cover()
        self.model.add_cumulative(self.charging, [1] * len(self.charging), self.problem.chargers)
        medical = [parcel for parcel in self.problem.parcels if parcel.medical]
        if medical:
            loss = sum((horizon + 1) * self.unserved[one.id] + self.lateness[one.id] for one in medical)
            self.model.minimize(loss)
            solver = self._run(stop, seed)
            self.model.add(loss <= round(solver.objective_value))
            for turn in self.turns:  # the second solve starts from what the first one found
                for variable in (*turn.choice, turn.leave, turn.charge_from, turn.charge_s):
                    self.model.add_hint(variable, solver.value(variable))
        self.model.minimize(self._money())
        return self._plan(self._run(stop, seed))

    def _drone(self, drone: Drone) -> None:
        """Adds the flights that one drone may do one after the other, and the charge of its pack between them."""
        model, horizon, options = self.model, self.problem.horizon, options_of(self.problem, drone)
        store = floor(drone.battery_wh * JOULES_PER_WH)
        charge_w = floor(drone.charge_w)
        level: cp_model.LinearExprT = floor(drone.charge_now_wh * JOULES_PER_WH)
        free: cp_model.LinearExprT = drone.early
        before: cp_model.LinearExprT = 1
        for number in range(min(FLIGHTS_MAX, len(self.problem.parcels)) if options else 0):
            name = f"{drone.id} {number}"
            choice = [model.new_bool_var(f"{name} {at}") for at in range(len(options))]
            leave = model.new_int_var(0, horizon, f"leave {name}")
            charge_from = model.new_int_var(0, horizon, f"charge {name}")
            charge_s = model.new_int_var(0, horizon if charge_w else 0, f"charge for {name}")
            used = sum(choice)
            model.add(used <= before)
            model.add(charge_from >= free)
            charged = model.new_int_var(0, horizon, f"charged {name}")
            model.add(charged <= leave)
            self.charging.append(model.new_interval_var(charge_from, charge_s, charged, f"charging {name}"))
            for option, taken in zip(options, choice, strict=True):
                model.add(leave >= option.earliest).only_enforce_if(taken)
                model.add(leave <= option.latest).only_enforce_if(taken)
            needs = [ceil(option.energy_wh * JOULES_PER_WH) for option in options]
            full = level + charge_w * charge_s
            model.add(full <= max(store, floor(drone.charge_now_wh * JOULES_PER_WH)))
            level = full - cp_model.LinearExpr.weighted_sum(choice, needs)
            flies = model.new_bool_var(f"flies {name}")
            model.add(used == flies)
            model.add(level >= ceil(drone.reserve_wh * JOULES_PER_WH)).only_enforce_if(flies)
            durations = [option.duration for option in options]
            back = leave + cp_model.LinearExpr.weighted_sum(choice, durations)
            self.turns.append(_Turn(drone, options, choice, leave, back, charge_from, charge_s))
            free, before = back + drone.turnaround, used

    def _cover(self) -> None:
        """Each parcel is flown once or left out; medical ones tell when they come and how late that is."""
        for parcel in self.problem.parcels:
            taken: list[cp_model.IntVar] = []
            for turn in self.turns:
                for option, chosen in zip(turn.options, turn.choice, strict=True):
                    if parcel not in option.parcels:
                        continue
                    taken.append(chosen)
                    if parcel.medical:
                        arrival = turn.leave + option.offsets[option.parcels.index(parcel)]
                        self.model.add(self.arrival[parcel.id] >= arrival).only_enforce_if(chosen)
                        self.model.add(self.lateness[parcel.id] >= arrival - parcel.late).only_enforce_if(chosen)
            self.model.add(sum(taken) + self.unserved[parcel.id] == 1)

    def _money(self) -> cp_model.LinearExprT:
        """Returns the money, in thousandths of micro-units; the rest is for ties: medicine early, little charging."""
        terms: list[cp_model.LinearExprT] = [
            1_000 * parcel.prize * self.unserved[parcel.id] for parcel in self.problem.parcels
        ]
        for turn in self.turns:
            prices = [1_000 * self._price(turn.drone, option) for option in turn.options]
            terms.append(cp_model.LinearExpr.weighted_sum(turn.choice, prices))
            terms.append(turn.charge_s)
        terms += list(self.arrival.values())
        return sum(terms)

    def _price(self, drone: Drone, option: Option) -> int:
        return drone.flight_price + round(self.problem.energy_price * option.energy_wh)

    def _run(self, stop: RoundsStop, seed: int) -> cp_model.CpSolver:
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = seed
        if stop.seconds is None:
            solver.parameters.max_deterministic_time = DETERMINISTIC_PER_ITERATION * stop.iterations
        else:
            solver.parameters.max_time_in_seconds = stop.seconds
        status = solver.solve(self.model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            raise NoRounds(f"CP-SAT ended with {solver.status_name(status)} and no choice of flights")
        return solver

    def _plan(self, solver: cp_model.CpSolver) -> FlightsPlan:
        flights: list[Flight] = []
        charges: list[Charge] = []
        cost = 0
        for turn in self.turns:
            option = next(
                (one for one, taken in zip(turn.options, turn.choice, strict=True) if solver.boolean_value(taken)), None
            )
            if option is None:
                continue
            leave = solver.value(turn.leave)
            drops = tuple(
                Drop(parcel.id, leave + at, leave + at + parcel.service)
                for parcel, at in zip(option.parcels, option.offsets, strict=True)
            )
            flights.append(Flight(turn.drone.id, leave, leave + option.duration, drops, option.energy_wh))
            cost += self._price(turn.drone, option)
            seconds, begin = solver.value(turn.charge_s), solver.value(turn.charge_from)
            if seconds:
                energy = seconds * floor(turn.drone.charge_w) / JOULES_PER_WH
                charges.append(Charge(turn.drone.id, begin, begin + seconds, energy))
        unserved = tuple(one.id for one in self.problem.parcels if solver.boolean_value(self.unserved[one.id]))
        begins = {drop.parcel: drop.begin for flight in flights for drop in flight.drops}
        late = tuple(one.id for one in self.problem.parcels if begins.get(one.id, 0) > one.late)
        cost += sum(parcel.prize for parcel in self.problem.parcels if parcel.id in unserved)
        return FlightsPlan(tuple(flights), tuple(charges), unserved, late, cost)
