"""Rounds and flights of one community in one question. Pure.

Times are seconds from `start`, distances metres, loads grams, money micro-units of the currency.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.clock import Instant
from optimizer.check_flights import check_flights
from optimizer.check_rounds import check_rounds
from optimizer.flight_problem import FlightsPlan, FlightsProblem
from optimizer.logistics import RoundsPlan, RoundsProblem, RoundsStop
from optimizer.plan import Infeasible


@dataclass(frozen=True, slots=True)
class DeliveriesProblem:
    """What is to be brought by ground and by air; either may be nothing."""

    start: Instant
    rounds: RoundsProblem | None = None
    flights: FlightsProblem | None = None


@dataclass(frozen=True, slots=True)
class DeliveriesPlan:
    """The checked answer."""

    start: Instant
    rounds: RoundsPlan | None = None
    flights: FlightsPlan | None = None


def solve_deliveries(problem: DeliveriesProblem, stop: RoundsStop, seed: int) -> DeliveriesPlan | Infeasible:
    """Returns both plans, or every reason why there is none.

    Raises:
        NoRounds: an engine found nothing within its limits.
    """
    from optimizer.flights import solve_flights  # noqa: PLC0415 - engines are loaded where they are needed
    from optimizer.solve_rounds import solve_rounds  # noqa: PLC0415

    rounds = None if problem.rounds is None else solve_rounds(problem.rounds, stop, seed)
    flights = None if problem.flights is None else solve_flights(problem.flights, stop, seed)
    reasons = [reason for part in (rounds, flights) if isinstance(part, Infeasible) for reason in part.reasons]
    if isinstance(rounds, Infeasible) or isinstance(flights, Infeasible):
        return Infeasible(tuple(reasons))
    return DeliveriesPlan(problem.start, rounds, flights)


def check_deliveries(problem: DeliveriesProblem, plan: DeliveriesPlan) -> list[str]:
    """Returns every rule that a plan breaks; shares no code with the engines."""
    found: list[str] = []
    if plan.start != problem.start:
        found.append(f"the plan starts at {plan.start}, the question at {problem.start}")
    for name, asked, made in (("rounds", problem.rounds, plan.rounds), ("flights", problem.flights, plan.flights)):
        if (asked is None) != (made is None):
            found.append(f"{name}: {'not asked for' if asked is None else 'missing'}")
    if problem.rounds is not None and plan.rounds is not None:
        found += check_rounds(problem.rounds, plan.rounds)
    if problem.flights is not None and plan.flights is not None:
        found += check_flights(problem.flights, plan.flights)
    return found
