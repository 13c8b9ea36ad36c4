"""The storm page's values: what is declared, how long the lifelines last, what is ready, who gets what. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from controller import recall
from controller.hub import Hub
from controller.missions import RunState
from controller.recall import HOME_MS
from controller.shedding import by_ration
from controller.storm import Check, Storm, checklist, not_done, vehicles_home
from controller.storm_values import CurvePoint, RationRow, StormView
from devices.clock import Instant, iso
from devices.model import DeviceKind
from optimizer.survival import RATIONS


def storm_view(hub: Hub, now: Instant) -> StormView:
    """Returns the Storm page as of the last cycle."""
    state, site = hub.emergency, hub.config.site
    storm = state.storm
    return StormView(
        at=now,
        timezone=site.timezone,
        storm=storm,
        phase="none" if storm is None else "ahead" if now < storm.start else "during",
        causes=state.causes,
        ration=RATIONS[state.ration].name,
        why=_why(hub),
        needed_h=round(state.needed_h, 2),
        curve_from=state.curves_from if state.curves else None,
        curve=_curve(hub),
        rations=_rations(hub),
        checklist=() if storm is None else _checklist(hub, storm, now),
        restart=() if state.restart is None else tuple(stage.loads for stage in state.restart.stages),
        restart_refused=() if state.restart is None else state.restart.refused,
        futures=state.curves[0].futures if state.curves else 0,
        supposed=state.storm is None and not state.dry and state.island_since is None,
        shortages=(*state.shortages.announced(), *hub.food.watch.announced()),
    )


def _why(hub: Hub) -> str:
    state = hub.emergency
    if not state.curves:
        return ""
    wanted, hours = hub.config.site.emergency.confidence, state.needed_h
    held = state.curves[state.ration]
    chance = held.at(hours)
    parts = f"power {held.energy_at(hours):.0%}, water {held.water_at(hours):.0%}"
    if chance >= wanted and not state.ration:
        return f"without any ration every lifeline is served for {hours:.0f} h with {chance:.0%} ({parts})"
    if chance >= wanted:
        return (
            f"the mildest that serves every lifeline for {hours:.0f} h with {wanted:.0%} ({parts});"
            f" one step milder: {state.curves[state.ration - 1].at(hours):.0%}"
        )
    lasts = "no ration makes it last longer" if not state.ration else "this lasts longest"
    return (
        f"none serves every lifeline for {hours:.0f} h with {wanted:.0%} ({parts});"
        f" {lasts}: {held.mean_hours:.0f} h on the mean"
    )


def _curve(hub: Hub) -> tuple[CurvePoint, ...]:
    state = hub.emergency
    if not state.curves:
        return ()
    held, free = state.curves[state.ration], state.curves[0]
    rows = zip(held.hours, held.all, held.energy, held.water, free.all, strict=True)
    return tuple(CurvePoint(*row) for row in rows)


def _rations(hub: Hub) -> tuple[RationRow, ...]:
    state = hub.emergency
    found: list[RationRow] = []
    for index, ration in enumerate(RATIONS):
        known = state.curves[index] if state.curves else None
        off, asked = _who(hub, index)
        found.append(
            RationRow(
                ration.name,
                state.ration_words(index),
                off,
                asked,
                None if known is None else round(known.at(state.needed_h), 4),
                None if known is None else round(known.mean_hours, 2),
                index == state.ration and (bool(state.causes) or known is not None),
            )
        )
    return tuple(found)


def _who(hub: Hub, index: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns (what the hub switches off by itself, what is asked of people) in one step."""
    site, name = hub.config.site, RATIONS[index].name
    litres, kwh = site.charter.lifeline_ml / 1000, site.charter.lifeline_wh / 1000
    critical = ", ".join(sorted(site.critical)) or "critical buildings"
    water_only = hub.emergency.water_only
    off = () if water_only else tuple(by_ration(site.energy.switches, RATIONS[index]))
    share = (
        f"every household: {litres:g} L a day" if water_only else f"every household: {kwh:g} kWh and {litres:g} L a day"
    )
    match name:
        case "machines" if water_only:
            return (), ("nothing is watered, nothing is washed but people and dishes",)
        case "machines":
            kinds = (DeviceKind.CHARGER, DeviceKind.RELAY, DeviceKind.THERMAL)
            switched = {switch.device for switch in site.energy.switches}
            devices = tuple(one.id for kind in kinds for one in site.of_kind(kind) if one.id not in switched)
            return (*devices, *(job.id for job in site.jobs)), ("workshops and field work rest",)
        case "half":
            return off, (f"{share}, and half of its use beyond that",)
        case "lifelines":
            first = critical if water_only else f"{critical} and the well pump"
            return off, (f"{share} and no more", f"served first: {first}")
        case _:
            return (), ()


def _checklist(hub: Hub, storm: Storm, now: Instant) -> tuple[Check, ...]:
    site, snapshot = hub.config.site, hub.snapshot or hub.image.freeze(now)
    valid = hub.planning.valid(now)
    items = list(checklist(site, snapshot, None if valid is None else valid[0], storm, hub.work))
    items += vehicles_home(
        tuple((device, recall.out(site, hub.board, snapshot, device)) for device in hub.board.sessions),
        storm,
        site.timezone,
    )
    jobs = tuple(
        (run.key, Instant(max(run.opens, now)), run.closes, run.job.duration_ms)
        for run in hub.board.runs()
        if run.state is RunState.WAITING
    )
    trips = tuple(
        (run.waiting.key, Instant(max(run.waiting.opens, now)), run.waiting.closes, HOME_MS)
        for run in hub.desk.runs.values()
        if run.state is RunState.WAITING
    )
    items += not_done(storm, (*jobs, *trips))
    return tuple(sorted(items, key=lambda item: item.ready))


def storm_document(view: StormView) -> Mapping[str, object]:
    """Returns the page as JSON; times also as ISO 8601."""
    document = asdict(view)
    if view.storm is not None:
        document["storm"] |= {"from": iso(view.storm.start), "until": iso(view.storm.end)}
    return document
