"""Condition-based due dates: running hours and wear say when a machine must be serviced. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from devices.clock import DAY_MS, HOUR_MS, Instant
from optimizer.tasks import Machine


@dataclass(frozen=True, slots=True)
class Condition:
    """What is known of a machine's state. Wear is 0 new to 1 worn out, where somebody or something measures it."""

    running_h: float  # since new
    serviced_h: float  # running hours at the last service
    service_every_h: float
    use_h_per_day: float  # as it is used now
    wear: float | None = None
    wear_at_service: float = 0.0


@dataclass(frozen=True, slots=True)
class Due:
    """When a service is due by use, in hours still to run and as a date."""

    hours_left: float
    at: Instant
    why: str


def due(condition: Condition, now: Instant) -> Due:
    """Returns when the machine must be serviced: the sooner of its interval and its measured wear.

    Wear is carried on at its own rate since the last service, so a machine that ages fast is due before its interval.
    """
    since = max(condition.running_h - condition.serviced_h, 0.0)
    left = max(condition.service_every_h - since, 0.0)
    why = f"{since:.0f} of {condition.service_every_h:.0f} running hours since the last service"
    if condition.wear is not None and since > 0.0:
        rate = (condition.wear - condition.wear_at_service) / since
        by_wear = (1.0 - condition.wear) / rate if rate > 0.0 else left
        if by_wear < left:
            left, why = max(by_wear, 0.0), f"wear {condition.wear:.0%} grows by {rate * 100:.2f} % per running hour"
    days = left / condition.use_h_per_day if condition.use_h_per_day > 0.0 else 3_650.0
    return Due(left, Instant(now + round(min(days, 3_650.0) * DAY_MS)), why)


def slots_left(machine: Machine, slot_h: float) -> int | None:
    """Returns how many whole slots a machine may run before its service, or None without a limit."""
    return None if machine.hours_left is None else int(machine.hours_left / slot_h + 1e-9)


def due_slot(found: Due, start: Instant, slot_ms: int, slots: int) -> int:
    """Returns the slot by whose start the service should be done, within the plan."""
    return min(max((found.at - start) // slot_ms, 1), slots)


def running_hours(power_w: list[float | None], slot_ms: int, idle_w: float) -> float:
    """Returns the hours in which a machine drew more than idle power; slots without a value count as idle."""
    return sum(1 for watts in power_w if watts is not None and watts > idle_w) * slot_ms / HOUR_MS
