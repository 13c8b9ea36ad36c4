"""Work: chargers with a deadline, and jobs that run once without a break (one binary per possible start)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.arrays import Assembly, Coupling, IntArray
from optimizer.problem import Charger, Job, Problem, SplitJob


@dataclass(frozen=True, slots=True)
class ChargerColumns:
    """kW in each slot of the window, and the kWh that stay undelivered."""

    power: IntArray
    unserved: IntArray


@dataclass(frozen=True, slots=True)
class JobColumns:
    """One binary per start slot from `earliest_slot` to `latest_slot`, and 1.0 for skipped."""

    start: IntArray
    skipped: IntArray


@dataclass(frozen=True, slots=True)
class SplitJobColumns:
    """One binary per slot of the window, and the slots that never run."""

    run: IntArray
    skipped: IntArray


def add_charger(assembly: Assembly, coupling: Coupling, problem: Problem, charger: Charger) -> ChargerColumns:
    """Adds one charger; its power is continuous, the charger itself rounds to what the vehicle takes."""
    count = charger.until_slot - charger.from_slot
    power = assembly.columns(count, 0, charger.power_kw_max)
    unserved = assembly.columns(1, 0, charger.energy_kwh, charger.unserved_price)
    assembly.add(coupling.balance[charger.from_slot : charger.until_slot], power, -1.0)
    row = assembly.rows(1, charger.energy_kwh, charger.energy_kwh)
    assembly.add(np.repeat(row, count), power, problem.slot_h)
    assembly.add(row, unserved, 1.0)
    return ChargerColumns(power, unserved)


def add_job(assembly: Assembly, coupling: Coupling, problem: Problem, job: Job) -> JobColumns:
    """Adds one job: it starts in exactly one slot of its window or is skipped at its price."""
    starts = np.arange(job.earliest_slot, job.latest_slot + 1)
    start = assembly.columns(len(starts), 0, 1, integer=True)
    skipped = assembly.columns(1, 0, 1, job.skip_price)
    once = assembly.rows(1, 1.0, 1.0)
    assembly.add(np.repeat(once, len(starts)), start, 1.0)
    assembly.add(once, skipped, 1.0)
    for offset, kw in enumerate(job.power_kw):
        assembly.add(coupling.balance[starts + offset], start, -kw)
    if any(job.water_kl):
        tank = coupling.tanks[problem.water[0].tank_id]
        for offset, kl in enumerate(job.water_kl):
            assembly.add(tank[starts + offset], start, -kl)
    return JobColumns(start, skipped)


def add_split_job(assembly: Assembly, coupling: Coupling, problem: Problem, job: SplitJob) -> SplitJobColumns:
    """Adds one job that may pause: any `slots` of its window, fewer at a price."""
    slots = np.arange(job.earliest_slot, job.until_slot)
    run = assembly.columns(len(slots), 0, 1, integer=True)
    skipped = assembly.columns(1, 0, job.slots, job.skip_price / job.slots)
    row = assembly.rows(1, job.slots, job.slots)
    assembly.add(np.repeat(row, len(slots)), run, 1.0)
    assembly.add(row, skipped, 1.0)
    assembly.add(coupling.balance[slots], run, -job.power_kw)
    if job.water_kl:
        assembly.add(coupling.tanks[problem.water[0].tank_id][slots], run, -job.water_kl)
    return SplitJobColumns(run, skipped)
