"""What a batch of a crop asks of the work plan: planting, doses, and the harvest once it is ripe. Pure.

Growth is the sum of usual temperatures since seeding. Nothing is harvested before its early date, and a harvest that
has begun is not asked for again: the batch then leaves the site file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

from controller.civil import local_instant, local_time
from controller.site_farm import BatchSpec, Climate
from controller.workbook import NotDone, WorkItem
from devices.clock import SLOT_MS, Instant
from optimizer.farm import Batch, Calendar, Harvest, Practice, batch_tasks, expected_harvest
from optimizer.problem import AssetId, Problem
from optimizer.tasks import Task, Window

AHEAD_DAYS = 120


def batch_of(spec: BatchSpec, climate: Climate, timezone: str, now: Instant) -> Batch:
    """Returns a batch with what it has grown so far."""
    if spec.seeded_at is None:
        return Batch(AssetId(spec.id), spec.crop, spec.trays, None)
    day, today = (local_time(timezone, at).date() for at in (spec.seeded_at, now))
    grown = 0.0
    while day < today:
        grown += max(climate.mean_c(day) - spec.crop.zero_c, 0.0)
        day += timedelta(days=1)
    return Batch(AssetId(spec.id), spec.crop, spec.trays, spec.seeded_at, grown)


def harvest_of(spec: BatchSpec, climate: Climate, timezone: str, now: Instant) -> Harvest:
    """Returns the band of a batch's harvest by the usual temperatures ahead."""
    today = local_time(timezone, now).date()
    ahead = [climate.mean_c(today + timedelta(days=offset)) for offset in range(AHEAD_DAYS)]
    return expected_harvest(batch_of(spec, climate, timezone, now), now, ahead)


def crop_tasks(
    spec: BatchSpec, climate: Climate, timezone: str, problem: Problem, items: Mapping[str, WorkItem], now: Instant
) -> Iterator[Task | NotDone]:
    """Yields the tasks of a batch within the plan that have not begun; people carry what they cut."""
    harvest = harvest_of(spec, climate, timezone, now)
    days = dict(_doses(spec, timezone, problem))
    practice = Practice(
        dosing_kw=spec.dosing_w / 1000,
        dosing_windows=tuple(days.values()),
        harvest_slots=-(-spec.harvest_ms // SLOT_MS),
        skip_price=spec.skip_price,
    )
    calendar = Calendar(problem.start, problem.slot_ms, problem.slots)
    names = {f"{spec.id}.dose{number}": name for number, name in enumerate(days)}
    for task in batch_tasks(batch_of(spec, climate, timezone, now), harvest, calendar, practice):
        key = names.get(task.id, task.id)
        begun = items.get(key)
        if begun is not None and begun.starts <= now:
            continue
        yield replace(task, id=AssetId(key), robot=False, robot_kwh=0.0, skills=spec.skills)


def _doses(spec: BatchSpec, timezone: str, problem: Problem) -> Iterator[tuple[str, Window]]:
    """Yields (key of the day's dose, its slots) of today and tomorrow."""
    today = local_time(timezone, problem.start).date()
    for offset in (0, 1):
        day = today + timedelta(days=offset)
        for number, span in enumerate(spec.dosing):
            first, last = ((local_instant(timezone, day, minute) - problem.start) // SLOT_MS for minute in span)
            first, last = max(first, 0), min(last, problem.slots)
            if first < last:
                yield f"{spec.id}.dose{number}.{day:%Y%m%d}", (first, last)
