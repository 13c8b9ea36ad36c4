"""What a yard's waste asks of the work plan: runs of its machine before it is full. Pure.

What waits is reckoned from the last weighing: what comes every day, less the runs that this hub has seen begin. A
weighing older than two weeks says nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from controller.site_waste import YardSpec
from controller.workbook import NotDone, WorkItem
from devices.clock import DAY_MS, SLOT_MS, Instant
from optimizer.problem import AssetId, Problem
from optimizer.tasks import Task, TaskKind
from optimizer.waste import Yard, processing

COUNT_LIFE_MS = 14 * DAY_MS


def yard_tasks(
    spec: YardSpec, problem: Problem, items: Mapping[str, WorkItem], now: Instant
) -> Iterator[Task | NotDone]:
    """Yields the runs that the yard needs within the plan, or why nobody knows."""
    if now - spec.counted_at > COUNT_LIFE_MS:
        yield NotDone(
            spec.id, TaskKind.WASTE, "weighed more than 14 days ago: weigh it, then write held_kg and counted_at"
        )
        return
    begun = [key for key, item in items.items() if key.startswith(f"{spec.id}.") and item.starts <= now]
    batch_slots = max(1, -(-spec.batch_ms // SLOT_MS))
    batch_kg = spec.kg_per_h * batch_slots * problem.slot_h
    came = spec.arrives_kg_per_day * max(now - spec.counted_at, 0) / DAY_MS
    done = sum(items[key].starts >= spec.counted_at for key in begun)
    yard = Yard(
        AssetId(spec.id),
        max(spec.held_kg + came - done * batch_kg, 0.0),
        spec.most_kg,
        (spec.arrives_kg_per_day * problem.slot_ms / DAY_MS,) * problem.slots,
        spec.machine,
        spec.power_w / 1000,
        spec.kg_per_h,
        spec.skills,
    )
    # A run keeps its number while it waits, and no number comes twice.
    first = max((int(key.rpartition(".")[2]) + 1 for key in begun), default=0)
    for number, task in enumerate(processing(yard, problem.slot_h, batch_slots, spec.skip_price), first):
        yield replace(task, id=AssetId(f"{spec.id}.{number}"))
