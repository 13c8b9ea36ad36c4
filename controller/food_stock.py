"""Food stores: what they hold, which deliveries they allow, and a shortage seen coming. Pure.

A stock is its last count, what was harvested into it since (the low end of what was expected), less what was delivered
since. A count older than two weeks is no number any more: deliveries of that store wait for a new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from controller.civil import local_time
from controller.crop_work import harvest_of
from controller.deliveries import Desk, Run
from controller.missions import RunState
from controller.shortage_watch import STEP_MS, ShortageWatch
from controller.site import Site
from controller.site_farm import StoreSpec
from controller.workbook import WorkItem
from devices.clock import DAY_MS, MINUTE_MS, SLOT_MS, Instant, floor_to
from optimizer.farm import Order, deliveries, pull_down_kwh
from optimizer.problem import Problem, ThermalStore

COUNT_LIFE_MS = 14 * DAY_MS
LOOK_MS = 10 * MINUTE_MS


@dataclass(slots=True)
class FoodStock:
    """The food stores of one hub."""

    held_kg: dict[str, float | None] = field(default_factory=dict[str, float | None])
    watch: ShortageWatch = field(default_factory=ShortageWatch)
    looked_at: Instant = field(default=Instant(0))

    def look(self, site: Site, desk: Desk, items: Mapping[str, WorkItem], now: Instant) -> None:
        """Counts the stores every ten minutes, and lets the desk plan only what they will hold in time."""
        if not site.farm.stores or now - self.looked_at < LOOK_MS:
            return
        self.looked_at = now
        desk.short = {}
        for store in site.farm.stores:
            arrivals = dict(_arrivals(site, store, items))
            held = self.held_kg[store.id] = _held_kg(store, desk, arrivals, now)
            level = None if held is None else held / store.capacity_kg
            self.watch.take(store.id, "food", floor_to(now, STEP_MS), level, store.capacity_kg, None)
            _promise(store, desk, held, arrivals, now)


def _held_kg(store: StoreSpec, desk: Desk, arrivals: Mapping[Instant, float], now: Instant) -> float | None:
    if now - store.counted_at > COUNT_LIFE_MS:
        return None
    came = sum(kg for at, kg in arrivals.items() if store.counted_at <= at <= now)
    return min(max(store.held_kg + came - desk.brought_kg(store.id, store.counted_at), 0.0), store.capacity_kg)


def _arrivals(site: Site, store: StoreSpec, items: Mapping[str, WorkItem]) -> Iterator[tuple[Instant, float]]:
    """Yields (when, kg) of the harvests on the work list that go into a store; the low end of what is expected."""
    for batch in site.farm.batches:
        item = items.get(f"{batch.id}.carry")
        if batch.store == store.id and item is not None and site.farm.climate is not None:
            yield item.ends, harvest_of(batch, site.farm.climate, site.timezone, item.starts).kg_low


def with_harvests(site: Site, items: Mapping[str, WorkItem], problem: Problem) -> Problem:
    """Returns the energy question with the heat that harvests bring into cold rooms, from when they are carried in."""
    climate = site.farm.climate
    rooms = {store.room: store for store in site.farm.stores if store.room is not None}
    if climate is None or not rooms:
        return problem
    field_c = climate.day(local_time(site.timezone, problem.start).date()).t_max_c
    thermal: list[ThermalStore] = []
    for room in problem.thermal:
        store, device = rooms.get(room.id), site.device(room.id)
        if store is None or device is None:
            thermal.append(room)
            continue
        came = {(at - problem.start) // SLOT_MS: kg for at, kg in _arrivals(site, store, items)}
        heat = pull_down_kwh(came, field_c, device.ratings["high_c"], problem.slots)
        thermal.append(replace(room, demand_kwh=tuple(a + b for a, b in zip(room.demand_kwh, heat, strict=True))))
    return replace(problem, thermal=tuple(thermal))


def _promise(store: StoreSpec, desk: Desk, held: float | None, arrivals: Mapping[Instant, float], now: Instant) -> None:
    """Tells the desk which runs wait for food, and from when on the others are ready."""
    runs = {
        key: run
        for key, run in desk.runs.items()
        if run.state is RunState.WAITING and run.waiting.delivery.store == store.id
    }
    if held is None:
        desk.short |= dict.fromkeys(runs, f"{store.id} was counted more than 14 days ago: count it anew")
        return
    coming = {max((at - now) // SLOT_MS, 0): kg for at, kg in arrivals.items() if at > now}
    orders = [_order(key, run, now) for key, run in runs.items()]
    found, short = deliveries(held, coming, orders)
    for one in found:
        run = runs[one.order]
        ready = Instant(now + one.ready_slot * SLOT_MS) if one.ready_slot else run.waiting.opens
        if ready > run.waiting.ready:
            run.waiting = replace(run.waiting, ready=ready)
    desk.short |= {one.id: f"{store.id} will not have {one.kg:g} kg in time: it holds {held:.0f} kg" for one in short}


def _order(key: str, run: Run, now: Instant) -> Order:
    delivery = run.waiting.delivery
    return Order(key, delivery.place, delivery.mass_kg, max((run.waiting.closes - now) // SLOT_MS, 0))
