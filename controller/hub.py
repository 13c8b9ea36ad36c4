"""The core's one entrance: `step(hub, event, now) -> (hub, effects)`.

The hub object is owned by one loop and updated in place; effects are values that the shell carries out in order, with
everything that must be durable committed before anything is sent. No clock, no random, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from controller import conditions, plans, rules
from controller.alarms import AlarmBook
from controller.cycle import Context, Decision, Hold, fallback, run
from controller.history import History
from controller.hub_events import (
    Accept,
    AskPlan,
    Audit,
    Booked,
    Commanded,
    Effect,
    Event,
    PlanAnswered,
    Publish,
    Reply,
    Store,
)
from controller.hub_state import Hub, HubConfig, Lease
from controller.image import Image, Snapshot
from controller.ledger.entries import derived_id
from controller.missions import Board, MissionNote
from controller.operators import give, journal
from controller.site import Site
from devices.clock import MINUTE_MS, Instant, iso, next_boundary
from devices.events import Incoming, LinkDown, LinkUp, Tick
from devices.model import DeviceKind, IntervalRecord, Setpoint
from devices.outbox import BadPayload, decode_batch
from devices.sparkplug import (
    DeviceData,
    DeviceOffline,
    DeviceOnline,
    HostEvent,
    HostSession,
    NodeOffline,
    NodeOnline,
    RecordBatch,
    Send,
)

__all__ = [
    "Accept",
    "AskPlan",
    "Audit",
    "Booked",
    "Commanded",
    "Effect",
    "Event",
    "Hub",
    "HubConfig",
    "Lease",
    "PlanAnswered",
    "Publish",
    "Reply",
    "Store",
    "health",
    "others_w",
    "start",
    "step",
]

PLAN_WAIT_MS = 10 * MINUTE_MS
ISLAND_VOLTS = 50.0


def start(
    config: HubConfig,
    now: Instant,
    records: Sequence[IntervalRecord] = (),
    holds: Iterable[Hold] = (),
    known_runs: Mapping[str, str] | None = None,
) -> Hub:
    """Returns a hub that knows the recent past: two weeks of records, standing holds, missions."""
    site = config.site
    history = History(site)
    history.add(records, now)
    period_ms = max(config.period_ms, config.cycle_ms)
    deadlines = conditions.deadlines(site, period_ms, config.floor_ms, config.slow_period_ms)
    return Hub(
        config=config,
        host=HostSession(site.id, reorder_ms=max(2_000, config.floor_ms)),
        image=Image(deadlines),
        history=history,
        planning=plans.Planning(next_at=now),
        board=Board(site, config.floor_ms, known_runs),
        alarms=AlarmBook(clear_delay_ms=max(10_000, config.floor_ms)),
        started_at=now,
        next_cycle=now,
        owner_of={device.id: device.gateway for device in site.devices},
        holds={hold.device: hold for hold in holds if hold.until > now},
    )


def step(hub: Hub, event: Event, now: Instant) -> tuple[Hub, list[Effect]]:
    """Returns the hub after one event, and what the shell has to do."""
    match event:
        case Incoming(topic=topic, payload=payload):
            return hub, _incoming(hub, topic, payload, now)
        case Tick():
            return hub, _tick(hub, now)
        case LinkUp():
            hub.link_up, hub.link_reason = True, ""
            return hub, [Publish(hub.host.birth(now))]
        case LinkDown(reason=reason):
            hub.link_up, hub.link_reason = False, reason
            return hub, []
        case PlanAnswered(request=request, answer=answer):
            hub.planning.answered(request, answer, now)
            return hub, []
        case Commanded(command=command):
            return hub, give(hub, command, now)
        case Booked():
            hub.booked = event
            return hub, []


def _incoming(hub: Hub, topic: str, payload: bytes, now: Instant) -> list[Effect]:
    if topic.startswith("vda5050/"):
        effects: list[Effect] = []
        for readings in hub.board.receive(topic, payload, now):
            hub.image.update(readings, now)
            effects.append(Store(readings))
        return effects
    return _host_events(hub, hub.host.receive(topic, payload, now), now)


def _host_events(hub: Hub, events: Iterable[HostEvent], now: Instant) -> list[Effect]:
    effects: list[Effect] = []
    for event in events:
        if _foreign(hub, event):
            continue
        match event:
            case DeviceData(readings=readings):
                hub.image.update(readings, now)
                effects.append(Store(readings))
            case RecordBatch(node=node, payload=payload):
                effects.extend(_records(hub, node, payload, now))
            case Send(message=message):
                effects.append(Publish(message))
            case NodeOnline(node=node):
                hub.gateways.add(node)
            case DeviceOnline(node=node, device=device):
                hub.node_of[device] = node
                hub.leases.pop(device, None)  # a reborn device gets its setpoint again at once
            case DeviceOffline(device=device):
                hub.image.offline(device)
            case NodeOffline(node=node):
                hub.gateways.discard(node)
                for device in hub.config.site.devices:
                    if device.gateway == node:
                        hub.image.offline(device.id)
    return effects


def _foreign(hub: Hub, event: HostEvent) -> bool:
    """Returns whether this is about a device that the site does not know or another gateway speaks for; counted."""
    if isinstance(event, DeviceData):
        device = event.readings.device
    elif isinstance(event, DeviceOnline | DeviceOffline):
        device = event.device
    else:
        return False
    owner = hub.owner_of.get(device)
    if owner is not None and owner in (event.node, ""):
        return False
    hub.host.counters["foreign_device"] = hub.host.counters.get("foreign_device", 0) + 1
    return True


def _records(hub: Hub, node: str, payload: bytes, now: Instant) -> list[Effect]:
    try:
        records = decode_batch(payload)
    except BadPayload:
        hub.bad_batches += 1
        return []
    hub.history.add(records, now)
    return [Accept(node, tuple(records))]


def _tick(hub: Hub, now: Instant) -> list[Effect]:
    effects = _host_events(hub, hub.host.due(now), now)
    if now >= hub.next_cycle:
        hub.next_cycle = _next_cycle(hub.config, now)
        effects.extend(_cycle(hub, now))
    return effects


def _next_cycle(config: HubConfig, now: Instant) -> Instant:
    return Instant(next_boundary(Instant(now - config.phase_ms), config.cycle_ms) + config.phase_ms)


def _cycle(hub: Hub, now: Instant) -> list[Effect]:
    """One control cycle: freeze, decide, send, watch, and ask for a plan when one is due."""
    snapshot = hub.image.freeze(now)
    hub.snapshot = snapshot
    hub.cycles += 1
    hub.version += 1
    effects: list[Effect] = _expire_holds(hub, now)
    _watch_island(hub, snapshot)
    context = _context(hub, snapshot)
    for decision in run(context, rules.RULES):
        hub.decisions[decision.device] = decision
        effects.extend(_actuate(hub, decision, now))
    effects.extend(_missions(hub, snapshot, now))
    effects.extend(_watch(hub, snapshot, now))
    hub.planning.give_up(now, max(PLAN_WAIT_MS, 240 * hub.config.floor_ms))
    if hub.config.plans and hub.planning.due(now) and _may_plan(hub, snapshot):
        effects.append(_ask(hub, snapshot, now))
    return effects


def _expire_holds(hub: Hub, now: Instant) -> list[Effect]:
    effects: list[Effect] = []
    for device in [device for device, hold in hub.holds.items() if hold.until <= now]:
        hold = hub.holds.pop(device)
        body = (("device", device), ("by", hold.by), ("until", iso(hold.until)))
        effects.append(Audit("hold-expired", derived_id(now, "hold-expired", device, hold.until), body))
    return effects


def _watch_island(hub: Hub, snapshot: Snapshot) -> None:
    """Notes whether the outside is there; a silent grid meter says nothing and changes nothing."""
    for grid in hub.config.site.of_kind(DeviceKind.GRID):
        volts = snapshot.value(grid.id, "V")
        if volts is None:
            continue
        island = volts < ISLAND_VOLTS
        if island != hub.island:
            hub.planning.next_at = snapshot.now
        hub.island = island


def _context(hub: Hub, snapshot: Snapshot) -> Context:
    site = hub.config.site
    storages, units = hub.planning.steps(snapshot.now)
    return Context(
        site=site,
        snapshot=snapshot,
        island=hub.island,
        others_w=others_w(site, snapshot),
        storage_steps=storages,
        unit_steps=units,
        holds=hub.holds,
        previous={device: lease.value for device, lease in hub.leases.items()},
    )


def others_w(site: Site, snapshot: Snapshot) -> float | None:
    """Returns the power of everything on the bus but grid and batteries [W]; None when a meter of those is silent.

    The powers of all devices on the bus sum to zero (devices/units.py), so two meters tell it.
    """
    total = 0.0
    for device in (*site.of_kind(DeviceKind.GRID), *site.of_kind(DeviceKind.BATTERY)):
        power = snapshot.value(device.id, "W")
        if power is None:
            return None
        total -= power
    return total


def _actuate(hub: Hub, decision: Decision, now: Instant) -> list[Effect]:
    """Sends a setpoint when it changed enough or a third of its lease is used up.

    Where the value is what the device falls back to anyway, two thirds: a lost renewal changes nothing there.
    """
    node = hub.node_of.get(decision.device)
    device = hub.config.site.device(decision.device)
    if node is None or device is None or not hub.link_up:
        return []
    value = round(decision.value, 4) if device.kind is DeviceKind.PV else float(round(decision.value))
    lease = hub.leases.get(decision.device)
    valid_ms = max(60_000, 15 * hub.config.cycle_ms, 20 * hub.config.floor_ms)
    step_size = 0.01 if device.kind is DeviceKind.PV else 25.0 if device.kind is not DeviceKind.PUMP else 0.5
    changed = lease is None or abs(value - lease.value) >= step_size or (value == 0.0) != (lease.value == 0.0)
    back = fallback(device)
    renew_ms = valid_ms * 2 // 3 if value == back else valid_ms // 3
    if not changed and lease is not None and now - lease.sent_at < renew_ms:
        lease.reason = decision.reason
        return []
    hub.sequence += 1
    hub.leases[decision.device] = Lease(value, now, decision.reason)
    setpoint = Setpoint(
        device=decision.device,
        point=decision.point,
        value=value,
        epoch=hub.config.epoch,
        sequence=hub.sequence,
        valid_ms=valid_ms,
        fallback=back,
        reason=decision.reason,
    )
    return [Publish(hub.host.setpoint(node, setpoint, now))]


def _missions(hub: Hub, snapshot: Snapshot, now: Instant) -> list[Effect]:
    current = hub.planning.current(now)
    messages, notes = hub.board.tick(None if current is None else current[0], snapshot, now)
    effects: list[Effect] = [Publish(message) for message in messages]
    effects.extend(_note(note, now) for note in notes)
    return effects


def _note(note: MissionNote, now: Instant) -> Audit:
    body = (("run", note.run), ("state", note.state), ("device", note.device), ("text", note.text))
    return Audit("mission", derived_id(now, "mission", note.run, note.state), body)


def health(hub: Hub) -> conditions.Health:
    """Returns what the alarm conditions need beside the image."""
    return conditions.Health(
        link_up=hub.link_up,
        link_reason=hub.link_reason,
        gateways_online=frozenset(hub.gateways),
        watch_from=hub.watch_from(),
        island=hub.island,
        planner_failures=hub.planning.failures,
        planner_status=hub.planning.status,
        records_rejected=hub.booked.rejected_records + hub.bad_batches,
        failed_missions=hub.board.failed(),
        quarantined=dict(hub.booked.quarantined),
        settle_ms=max(10_000, 6 * hub.config.floor_ms),
    )


def _watch(hub: Hub, snapshot: Snapshot, now: Instant) -> list[Effect]:
    found = conditions.find(hub.config.site, snapshot, health(hub))
    return [journal(change) for change in hub.alarms.update(found, now)]


def _may_plan(hub: Hub, snapshot: Snapshot) -> bool:
    """Returns whether enough is known to ask: the storages have reported or have had the time to."""
    known = all(snapshot.online(battery.id) for battery in hub.config.site.of_kind(DeviceKind.BATTERY))
    return known or snapshot.now >= hub.watch_from()


def _ask(hub: Hub, snapshot: Snapshot, now: Instant) -> AskPlan:
    site = hub.config.site
    outlook = plans.forecast(site, hub.history, now)
    problem = plans.build_problem(site, snapshot, hub.board, outlook, hub.island)
    request = hub.planning.ask(problem, outlook, now, hub.config.replan_ms)
    return AskPlan(request.id, problem)
