"""The hub's planning, cycle by cycle: what asks for a plan, what is kept of it, and the accounts of the days.

Called by `controller.hub` only; like that it updates the hub in place and returns effects.
"""

from __future__ import annotations

from dataclasses import replace

from controller import hub_deliveries, hub_emergency
from controller.beliefs import Belief, DayResult, KeptPlan, KeptWork
from controller.civil import local_time
from controller.food_stock import with_harvests
from controller.hub_events import AskPlan, Audit, Effect, Keep
from controller.hub_state import Hub
from controller.image import Snapshot
from controller.ledger.entries import derived_id
from controller.plan_forecast import HISTORY_DAYS, MEMBERS, PER_UNIT, Forecast, Helps, forecast
from controller.plan_problem import build_problem
from controller.scores import Scorebook, rival_name
from controller.shadow import Steps, steps_at
from controller.site import Site
from controller.triggers import EVENT_GAP_MS
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS, Instant, floor_to, next_boundary
from devices.model import DeviceKind
from optimizer.answer import Answer, Planned

PLAN_WAIT_MS = 10 * MINUTE_MS
HINDSIGHT_TRIES = 5
OTHERS = (
    DeviceKind.GRID,
    DeviceKind.BATTERY,
    DeviceKind.PUMP,
    DeviceKind.CHARGER,
    DeviceKind.THERMAL,
    DeviceKind.GENSET,
)
"""What the forecast of the net load leaves out: what a plan steers, and the meter to the outside."""


def run(hub: Hub, snapshot: Snapshot, now: Instant) -> list[Effect]:
    """Does what a cycle owes to planning: watch, ask, mark the slot, close the day."""
    planning = hub.planning
    planning.give_up(now, max(PLAN_WAIT_MS, 240 * hub.config.floor_ms))
    if not hub.config.plans:
        return []
    happened = hub.watch.look(hub.config.site, snapshot)
    missed = _missed(hub, snapshot, now)
    if now >= hub.watch_from():
        for word in (*happened, *((missed,) if missed else ())):
            planning.hasten(word, now, EVENT_GAP_MS)
    effects: list[Effect] = []
    if planning.due(now) and _may_plan(hub, snapshot):
        effects += _ask(hub, snapshot, now)
    elif planning.made and planning.pending is None and hub.work.due(now):
        effects += _ask_work(hub, now)
    hub.days.mark(snapshot, hub.island or planning.emergency, _shadow_steps(hub, now))
    if now >= planning.house_at:
        planning.house_at = Instant(next_boundary(now, 5 * MINUTE_MS))
        effects += _close(hub, now)
    return effects


def answered(hub: Hub, request: int, answer: Answer, now: Instant) -> list[Effect]:
    """Takes an answer of the planner: a plan, or the hindsight of a day."""
    if hub.planning.hindsight is not None and request == hub.planning.hindsight.id:
        return _hindsight(hub, answer, now)
    if request == hub.work.pending:
        if hub.work.answered(answer, now):
            hub.planning.hasten("the work is planned anew", now, 0)
            return [Keep(KeptWork(now, tuple(hub.work.items.values())))]
        return []
    planning, pending = hub.planning, hub.planning.pending
    made = planning.made
    planning.answered(request, answer, now)
    if planning.made == made or planning.plan is None or pending is None:
        return []
    if planning.used:
        hub.desk.move(planning.plan.leaves, hub.board, now)
    site = hub.config.site
    said = (planning.cause, planning.note, site.timezone, site.charter.currency)
    kept = KeptPlan(now, planning.plan, planning.used, *said)
    return [Keep(kept)] if pending.forecast is None else [Keep(kept), Keep(_belief(pending.forecast))]


def _belief(outlook: Forecast) -> Belief:
    said = outlook.series().items()
    values = tuple((name, tuple(round(value * PER_UNIT[name]) for value in row)) for name, row in said)
    return Belief(outlook.made_at, outlook.start, SLOT_MS, values)


def _shadow_steps(hub: Hub, now: Instant) -> Steps | None:
    """Returns what the last good plan asks in this slot, followed or not."""
    current = hub.planning.valid(now)
    return None if current is None else steps_at(*current)


# -- asking ------------------------------------------------------------------------------------------------------


def watch_island(hub: Hub, snapshot: Snapshot, volts_min: float) -> None:
    """Notes whether the outside is there; a silent grid meter says nothing and changes nothing."""
    for grid in hub.config.site.of_kind(DeviceKind.GRID):
        volts = snapshot.value(grid.id, "V")
        if volts is None:
            continue
        island = volts < volts_min
        if island != hub.island:
            hub.planning.hasten("the outside is gone" if island else "the outside is back", snapshot.now, 0)
        hub.island = island


def _may_plan(hub: Hub, snapshot: Snapshot) -> bool:
    """Returns whether enough is known to ask: the storages have reported or have had the time to."""
    known = all(snapshot.online(battery.id) for battery in hub.config.site.of_kind(DeviceKind.BATTERY))
    return known or snapshot.now >= hub.watch_from()


def _ask(hub: Hub, snapshot: Snapshot, now: Instant) -> list[Effect]:
    site, planning = hub.config.site, hub.planning
    start = floor_to(now, SLOT_MS)
    known = Instant(start - HISTORY_DAYS * DAY_MS), Instant(start + site.plan_slots * SLOT_MS)
    helps = Helps(planning.miss_w, hub.scores.choice(MEMBERS), hub.weather.between(*known, now))
    outlook = forecast(site, hub.history, now, helps)
    if not planning.miss_w:  # the ordinary forecast is what is scored
        expect(hub.scores, outlook)
    machines = (*site.of_kind(DeviceKind.GENSET), *site.of_kind(DeviceKind.PUMP))
    in_state = {device.id: hub.watch.slots_in_state(device.id, now) for device in machines}
    problem = build_problem(site, snapshot, hub.board, outlook, hub.island, in_state, peak_w=hub.history.peak_w(now))
    problem = with_harvests(site, hub.work.items, problem)
    planning.peak_w = problem.grid.peak_kw_so_far * 1000 if problem.grid.peak_price else None
    hub.work.energy = problem
    whole, split = hub.appliances.jobs(problem.start, now, problem.slots)
    jobs = (*problem.jobs, *hub.work.jobs(problem.start, problem.slots), *whole)
    problem = replace(problem, jobs=jobs, split_jobs=split)
    hub.days.asked(problem)
    problem = hub_emergency.shaped(hub, problem)
    warm = planning.warm(now)
    request = planning.ask(problem, outlook, now, hub.config.replan_ms)
    return [AskPlan(request.id, hub_deliveries.with_vehicles(hub, problem), warm=warm)]


def expect(scores: Scorebook, outlook: Forecast) -> None:
    """Notes what is to be scored: the forecast in force, and once an hour what each member says."""
    said = [(name, name, values) for name, values in outlook.series().items()]
    if not outlook.start % HOUR_MS:
        said += [(rival_name(series, member), series, values) for series, member, values in outlook.rivals]
    for name, series, values in said:
        scores.expect(name, outlook.start, tuple(value * PER_UNIT[series] for value in values))


def _ask_work(hub: Hub, now: Instant) -> list[Effect]:
    """Asks for a work plan with the energy problem of the plan that has just come."""
    energy = hub.work.energy
    if energy is None or energy.start != floor_to(now, SLOT_MS):
        return []
    begun = hub.work.jobs(energy.start, energy.slots, begun_by=now)
    problem = hub.work.question(replace(energy, jobs=(*energy.jobs, *begun), scenarios=(), network=None), now)
    if problem is None:
        return []
    hub.work.pending = hub.planning.number(problem, now).id
    return [AskPlan(hub.work.pending, problem, hindsight=True)]


def _missed(hub: Hub, snapshot: Snapshot, now: Instant) -> str:
    """Returns in words that the forecast of the net load is badly missed, or an empty text."""
    outlook = hub.planning.forecast
    slot = -1 if outlook is None else (now - outlook.start) // SLOT_MS
    if outlook is None or not 0 <= slot < len(outlook.load_kw):
        return hub.watch.miss(None, None, 0.0, now)
    largest = max(abs(load - pv) for load, pv in zip(outlook.load_kw, outlook.pv_kw, strict=True))
    expected = (outlook.load_kw[slot] - outlook.pv_kw[slot]) * 1000
    words = hub.watch.miss(_net_load_w(hub.config.site, snapshot), expected, largest * 1000, now)
    if words:
        hub.planning.miss_w = hub.watch.miss_w
    return words


def _net_load_w(site: Site, snapshot: Snapshot) -> float | None:
    """Returns what everything that no plan steers takes from the bus [W]; None when a meter of the rest is silent."""
    total = 0.0
    for kind in OTHERS:
        for device in site.of_kind(kind):
            power = snapshot.value(device.id, "W")
            if power is None and snapshot.online(device.id):
                continue  # it has no meter of its own
            if power is None:
                return None
            total -= power
    return total


# -- days --------------------------------------------------------------------------------------------------------


def _close(hub: Hub, now: Instant) -> list[Effect]:
    """Scores what the meters have told of, closes a day that is over, and asks for its hindsight."""
    hub.scores.settle(hub.history, now)
    planning = hub.planning
    if planning.hindsight is not None or planning.pending is not None:
        return []
    if planning.closing is None:
        closing = hub.days.close(hub.history, now)
        if closing is None:
            return []
        if closing.problem is None:
            return _result(hub, closing.result, now)
        planning.closing, planning.tries = closing, 0
    problem = planning.closing.problem
    assert problem is not None, "only a day that can be compared waits for hindsight"
    planning.tries += 1
    planning.hindsight = planning.number(problem, now)
    return [AskPlan(planning.hindsight.id, problem, hindsight=True)]


def _hindsight(hub: Hub, answer: Answer, now: Instant) -> list[Effect]:
    planning, closing = hub.planning, hub.planning.closing
    planning.hindsight = None
    if closing is None:
        return []
    if not isinstance(answer, Planned) and planning.tries < HINDSIGHT_TRIES:
        return []  # asked again with the next housekeeping
    planning.closing = None
    cost = answer.plan.cost if isinstance(answer, Planned) else None
    note = "" if cost is not None else "hindsight is not known: the planner gave no answer"
    return _result(hub, replace(closing.result, hindsight=cost, note=note), now)


def _result(hub: Hub, result: DayResult, now: Instant) -> list[Effect]:
    hub.planning.gate.take(result)
    today = local_time(hub.config.site.timezone, now).date().isoformat()
    effects: list[Effect] = [Keep(result), *(Keep(score) for score in hub.scores.take(today))]
    if hub.config.advisory:
        body = tuple((name, _money(value)) for name, value in _advice(result))
        effects.append(Audit("advice", derived_id(now, "advice", result.day), (("day", result.day), *body)))
    return effects


def _advice(result: DayResult) -> tuple[tuple[str, float | None], ...]:
    saved = None if result.metered is None or result.plan is None else result.metered - result.plan
    return (("metered", result.metered), ("plan", result.plan), ("saved", saved))


def _money(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
