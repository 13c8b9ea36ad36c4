"""What the hub's cycle does about emergencies: look, say, shape the planner's question, call the vehicles home."""

from __future__ import annotations

from dataclasses import replace

from controller import recall
from controller.emergency import Seen
from controller.hub_events import Audit, Effect, Publish
from controller.hub_state import Hub
from controller.image import Snapshot
from controller.ledger.entries import derived_id
from devices.clock import SLOT_MS, Instant
from devices.model import DeviceId, DeviceKind
from optimizer.autonomy import Outage, for_autonomy
from optimizer.problem import Problem, Series
from optimizer.survival import RATIONS


def tick(hub: Hub, snapshot: Snapshot, now: Instant) -> list[Effect]:
    """Brings the emergency up to the snapshot before the rules run; returns what to note and to send."""
    state, site = hub.emergency, hub.config.site
    before = state.causes
    pumps = {pump.id for pump in site.of_kind(DeviceKind.PUMP)}
    on = frozenset(DeviceId(name) for name, lease in hub.leases.items() if name in pumps and lease.value > 0.0)
    state.look(Seen(site, snapshot, hub.history, hub.island, on, hub.config.plans, hub.planning.current(now)))
    hub.planning.emergency = bool(state.causes)
    if state.causes != before:
        hub.planning.hasten("; ".join(state.causes) or "the emergency is over", now, 0)
        hub.work.next_at = Instant(min(hub.work.next_at, now))
    storm = state.storm
    hub.board.closed = None if storm is None else (storm.start, storm.end)
    hub.work.storm = None if storm is None else (storm.start, storm.end)
    effects: list[Effect] = [Audit(kind, derived_id(now, kind, text), (("text", text),)) for kind, text in state.news]
    state.news.clear()
    if storm is not None and not hub.config.advisory:
        effects += [Publish(message) for message in recall.home(site, hub.board, snapshot, storm, now)]
    return effects


def shaped(hub: Hub, problem: Problem) -> Problem:
    """Returns the energy question with the objective in force: hours of lifelines in an emergency, else as it is.

    A storm that begins after the plan's end changes nothing yet.
    """
    state = hub.emergency
    if not state.causes:
        return problem
    storm = state.storm
    outage = None
    if hub.island:
        outage = Outage(0, problem.slots)
    elif storm is not None:
        first = (storm.start - problem.start) // SLOT_MS
        outage = Outage(first, -(-(storm.end - problem.start) // SLOT_MS))
        if first >= problem.slots and len(state.causes) == 1:
            return problem
    if storm is not None:
        problem = _dimmed(hub, problem, storm.start, storm.end)
    return for_autonomy(replace(problem, scenarios=()), RATIONS[state.ration], outage)


def _dimmed(hub: Hub, problem: Problem, start: Instant, end: Instant) -> Problem:
    share = hub.config.site.emergency.sun_share

    def dimmed(series: Series) -> Series:
        return tuple(
            kw * (share if start <= problem.start + slot * problem.slot_ms < end else 1.0)
            for slot, kw in enumerate(series)
        )

    feeders = tuple(replace(feeder, pv_kw=dimmed(feeder.pv_kw)) for feeder in problem.feeders)
    web = problem.network
    if web is not None:
        web = replace(web, nodes=tuple(replace(node, pv_kw=dimmed(node.pv_kw)) for node in web.nodes))
    return replace(problem, pv_kw=dimmed(problem.pv_kw), feeders=feeders, network=web)
