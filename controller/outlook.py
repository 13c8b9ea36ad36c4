"""The Plan page's values: forecast, plan and actual on one axis, and the best hours for a household. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controller.beliefs import Belief, DayResult, KeptPlan, Score, UnreadPlan
from controller.delivery_rows import delivery_rows
from controller.forecast_view import forecast_words
from controller.hub import Hub
from controller.outside import band_price
from controller.plan_forecast import Forecast
from controller.plan_text import quality, remarks
from controller.present import plan_rows
from controller.site import Site
from controller.store.series import Series
from controller.views import PlanDay, PlanSeries, PlanView, ScoreRow, WorkRow
from devices.clock import HOUR_MS, SLOT_MS, Instant, floor_to
from devices.model import DeviceKind, PointId, point_id
from optimizer.plan import Plan

PAST_SLOTS = 24
Actual = Callable[[Sequence[PointId], Instant, Instant], Series]
Column = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """What the file of beliefs says: the newest results, and what was known at a time that somebody asks about."""

    days: Sequence[DayResult] = ()
    scores: Sequence[Score] = ()
    belief: Belief | None = None
    plan: KeptPlan | UnreadPlan | None = None
    at: Instant | None = None


def plan_view(hub: Hub, now: Instant, actual: Actual, kept: Kept | None = None) -> PlanView:
    """Returns the Plan page: six hours back, the plan's horizon ahead. `actual` reads 15-min means.

    With `kept.at` it is about what was known then: its forecast and plan beside what has come of it.
    """
    kept = kept or Kept()
    if kept.at is not None:
        return _known_view(hub, now, actual, kept)
    planning, site = hub.planning, hub.config.site
    start = Instant(floor_to(now, SLOT_MS) - PAST_SLOTS * SLOT_MS)
    plan = planning.plan
    ahead = site.plan_slots
    times = tuple(Instant(start + slot * SLOT_MS) for slot in range(PAST_SLOTS + ahead))
    planned = [] if plan is None else _planned(hub, plan, times)
    series = [*_forecast(hub, times), *planned, *_measured(site, times, now, actual)]
    return PlanView(
        at=now,
        made_at=planning.made_at,
        status=planning.status,
        cost=None if plan is None else plan.cost,
        bound=None if plan is None else plan.bound,
        currency=site.charter.currency,
        quality="" if plan is None else quality(plan, site.charter.currency),
        times=times,
        series=tuple(series),
        rows=(*(() if plan is None else plan_rows(hub, plan)), *delivery_rows(hub.desk)),
        work=work_rows(hub, now),
        used=planning.used,
        note=planning.note,
        cause=planning.cause,
        forecast=forecast_words(hub, now),
        days=tuple(day_view(day) for day in kept.days),
        scores=score_views(kept.scores),
        remarks=_remarks(plan, site),
    )


def _known_view(hub: Hub, now: Instant, actual: Actual, kept: Kept) -> PlanView:
    """Returns the page of an earlier moment."""
    assert kept.at is not None
    site = hub.config.site
    start = Instant(floor_to(kept.at, SLOT_MS) - PAST_SLOTS * SLOT_MS)
    times = tuple(Instant(start + slot * SLOT_MS) for slot in range(PAST_SLOTS + site.plan_slots))
    series: list[PlanSeries] = []
    if kept.belief is not None:
        names = {"load": "load forecast", "pv": "solar forecast"}
        series += [
            PlanSeries(names[name], "W", "forecast", _on_axis(times, kept.belief.start, values))
            for name, values in kept.belief.values
            if name in names
        ]
    made = kept.plan if isinstance(kept.plan, KeptPlan) else None
    plan = None if made is None else made.plan
    missing = kept.plan.words() if isinstance(kept.plan, UnreadPlan) else "nothing is kept of that time"
    if plan is not None:
        series += _planned(hub, plan, times)
    series += _measured(site, times, min(now, times[-1]), actual)
    return PlanView(
        at=kept.at,
        made_at=None if made is None else made.made_at,
        status=missing if plan is None else plan.status,
        cost=None if plan is None else plan.cost,
        bound=None if plan is None else plan.bound,
        currency=site.charter.currency,
        quality="" if plan is None else quality(plan, site.charter.currency),
        times=times,
        series=tuple(series),
        rows=() if plan is None else plan_rows(hub, plan),
        used=made is not None and made.used,
        note="" if made is None else made.note,
        cause="" if made is None else made.cause,
        known=kept.at,
        remarks=_remarks(plan, site),
    )


def day_view(day: DayResult) -> PlanDay:
    """Returns a closed day as people see it."""
    return PlanDay(day.day, day.plan, day.rules, day.hindsight, day.metered, day.saving, day.regret, day.note)


def score_views(scores: Sequence[Score]) -> tuple[ScoreRow, ...]:
    """Returns forecasts' errors by horizon, means over their slots."""
    found: list[ScoreRow] = []
    for score in scores:
        if score.count:
            per = score.count * (1000.0 if score.series == "water" else 1.0)
            found.append(
                ScoreRow(
                    score.series,
                    score.lead_slots / 4,
                    score.count,
                    score.actual / per,
                    score.error_abs / per,
                    score.error / per,
                    score.naive_abs / per,
                )
            )
    return tuple(found)


def work_rows(hub: Hub, now: Instant) -> tuple[WorkRow, ...]:
    """Returns the work list: what is under way and comes, then what is left out and why."""
    coming = [WorkRow(item.key, item.starts, item.ends, item.crew, item.machine) for item in hub.work.list(now)]
    left = [WorkRow(one.key, None, None, "", "", one.why) for one in hub.work.left_out]
    return (*coming, *left)


def _on_axis(times: Sequence[Instant], start: Instant, values: Sequence[float], factor: float = 1.0) -> Column:
    found: list[float | None] = []
    for at in times:
        slot = (at - start) // SLOT_MS
        found.append(factor * values[slot] if 0 <= slot < len(values) else None)
    return tuple(found)


def _forecast(hub: Hub, times: Sequence[Instant]) -> list[PlanSeries]:
    outlook = hub.planning.forecast
    if outlook is None:
        return []
    return [
        PlanSeries("load forecast", "W", "forecast", _on_axis(times, outlook.start, outlook.load_kw, 1000)),
        PlanSeries("solar forecast", "W", "forecast", _on_axis(times, outlook.start, outlook.pv_kw, 1000)),
        *_bands(outlook, times),
    ]


def _bands(outlook: Forecast, times: Sequence[Instant]) -> list[PlanSeries]:
    """Returns between what load and sun lie in four futures of five, of those that the plan was made over."""
    found: list[PlanSeries] = []
    for band in outlook.bands:
        word = {"load": "load", "pv": "solar"}.get(band.name)
        if word is not None:
            found.append(PlanSeries(f"{word} low", "W", "band", _on_axis(times, outlook.start, band.low, 1000)))
            found.append(PlanSeries(f"{word} high", "W", "band", _on_axis(times, outlook.start, band.high, 1000)))
    return found


def _planned(hub: Hub, plan: Plan, times: Sequence[Instant]) -> list[PlanSeries]:
    found = [PlanSeries("grid plan", "W", "plan", _on_axis(times, plan.start, plan.grid_kw, 1000))]
    for asset, steps in plan.storages.items():
        watts = [float(step.expected_w) for step in steps]
        found.append(PlanSeries(f"{asset} plan", "W", "plan", _on_axis(times, plan.start, watts)))
        charge = [step.expected_soc for step in steps]
        found.append(PlanSeries(f"{asset} charge plan", "fraction", "plan", _on_axis(times, plan.start, charge)))
    for asset, levels in plan.tank_kl.items():
        tank = hub.config.site.device(asset)
        if tank is not None:
            share = [level * 1000 / tank.ratings["volume_l"] for level in levels]
            found.append(PlanSeries(f"{asset} level plan", "fraction", "plan", _on_axis(times, plan.start, share)))
    return found


def _measured(site: Site, times: Sequence[Instant], now: Instant, actual: Actual) -> list[PlanSeries]:
    """Returns what happened, from the telemetry store; load is what homes used behind their meters."""
    meters = [point_id(device.id, "W") for device in site.of_kind(DeviceKind.METER)]
    plants = [point_id(device.id, "W") for device in site.of_kind(DeviceKind.PV)]
    hidden = [point_id(device.id, "W") for device in site.of_kind(DeviceKind.PV) if device.behind is not None]
    grids = [point_id(device.id, "W") for device in site.of_kind(DeviceKind.GRID)]
    batteries = site.of_kind(DeviceKind.BATTERY)
    tanks = site.of_kind(DeviceKind.TANK)
    single = [point_id(b.id, name) for b in batteries for name in ("W", "soc")] + [
        point_id(t.id, "level") for t in tanks
    ]
    past = actual([*meters, *plants, *grids, *single], times[0], Instant(floor_to(now, SLOT_MS) + SLOT_MS))

    def column(points: Sequence[PointId], factor: float, minus: Sequence[PointId] = ()) -> Column:
        rows: list[float | None] = []
        for index in range(len(times)):
            cells = [_cell(past, point, index) for point in points]
            less = [_cell(past, point, index) for point in minus]
            if not cells or None in cells or None in less:
                rows.append(None)
            else:
                rows.append(factor * (sum(c for c in cells if c is not None) - sum(c for c in less if c is not None)))
        return tuple(rows)

    found = [
        PlanSeries("load actual", "W", "actual", column(meters, 1, hidden)),
        PlanSeries("solar actual", "W", "actual", column(plants, -1)),
        PlanSeries("grid actual", "W", "actual", column(grids, -1)),
    ]
    for battery in batteries:
        found.append(PlanSeries(f"{battery.id} actual", "W", "actual", column([point_id(battery.id, "W")], 1)))
        found.append(
            PlanSeries(f"{battery.id} charge actual", "fraction", "actual", column([point_id(battery.id, "soc")], 1))
        )
    found.extend(
        PlanSeries(f"{tank.id} level actual", "fraction", "actual", column([point_id(tank.id, "level")], 1))
        for tank in tanks
    )
    return found


def _cell(past: Series, point: PointId, index: int) -> float | None:
    column = past.columns.get(point)
    return column[index] if column is not None and index < len(column) else None


def best_hours(hub: Hub, now: Instant) -> tuple[tuple[Instant, Instant, str], ...]:
    """Returns up to three spans of the next day in which using power is cheapest for the community, with why."""
    planning, site = hub.planning, hub.config.site
    plan, outlook = planning.plan, planning.forecast
    if plan is None or outlook is None:
        return ()
    spans: list[tuple[float, Instant, Instant, str]] = []
    for start in range(floor_to(now, HOUR_MS) + HOUR_MS, now + 24 * HOUR_MS, HOUR_MS):
        found = _hour(plan, site, Instant(start))
        if found is not None:
            spans.append((found[0], Instant(start), Instant(start + HOUR_MS), found[1]))
    best = sorted(sorted(spans)[:6], key=lambda span: span[1])
    merged: list[tuple[Instant, Instant, str]] = []
    for _, start, end, why in best:
        if merged and merged[-1][1] == start and merged[-1][2] == why:
            merged[-1] = (merged[-1][0], end, why)
        else:
            merged.append((start, end, why))
    return tuple(merged[:3])


def _hour(plan: Plan, site: Site, start: Instant) -> tuple[float, str] | None:
    """Returns (what one more kWh costs in that hour, why), or None outside the plan."""
    slots = [slot for at in range(start, start + HOUR_MS, SLOT_MS) if (slot := plan.slot(Instant(at))) is not None]
    if len(slots) < HOUR_MS // SLOT_MS:
        return None
    grid = sum(plan.grid_kw[slot] for slot in slots) / len(slots)
    curtailed = sum(plan.curtailed_kw[slot] for slot in slots)
    if curtailed > 0.1:
        return 0.0, "solar would be cut"
    if grid < -0.1:
        return site.charter_at(start).export_price / 1e6, "solar is left over"
    price = band_price(site, start) / 1e6
    if grid < 0.1:
        return min(price, site.charter_at(start).local_price / 1e6), "the village runs on its own energy"
    return price, f"grid price {price:.2f} {site.charter.currency} per kWh"


def _remarks(plan: Plan | None, site: Site) -> tuple[str, ...]:
    return () if plan is None else tuple(remarks(plan, site.timezone, site.charter.currency))
