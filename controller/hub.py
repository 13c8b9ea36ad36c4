"""The core's one entrance: `step(hub, event, now) -> (hub, effects)`.

The hub object is owned by one loop and updated in place; effects are values that the shell carries out in order, with
everything that must be durable committed before anything is sent. No clock, no random, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from controller import conditions, emergency, hub_deliveries, hub_emergency, hub_plans, plans, rules
from controller.alarms import AlarmBook, AlarmState
from controller.appliances import Appliances
from controller.cycle import Context, Decision, Hold, fallback, run
from controller.daybook import Daybook
from controller.deliveries import Desk
from controller.field_water import wanted_l
from controller.gate import Gate
from controller.history import History
from controller.hub_events import (
    Accept,
    AcceptDay,
    AskPlan,
    Audit,
    Booked,
    Bookkeep,
    Commanded,
    Effect,
    Event,
    Keep,
    PinKey,
    PlanAnswered,
    Publish,
    Reply,
    Store,
    WeatherTold,
)
from controller.hub_state import TOLD, TOLD_EVERY_MS, Hub, HubConfig, Lease
from controller.image import Image, Snapshot
from controller.ledger.entries import derived_id
from controller.mirror import Mirror
from controller.missions import Board, MissionNote
from controller.operators import give, journal
from controller.plan_network import line_limits
from controller.scores import Scorebook
from controller.site import Site
from controller.weather import WeatherBook
from controller.work_sources import sources
from controller.workbook import Workbook
from devices.clock import SLOT_MS, Instant, iso, next_boundary
from devices.events import Incoming, LinkDown, LinkUp, Tick
from devices.model import DeviceKind, IntervalRecord, Quality, Readings, Setpoint
from devices.outbox import BadPayload, decode_batch
from devices.outputs import LAPSED, LOCKED_OUT
from devices.sparkplug import (
    DeviceData,
    DeviceOffline,
    DeviceOnline,
    HostEvent,
    HostSession,
    NodeKey,
    NodeOffline,
    NodeOnline,
    RecordBatch,
    RecordDay,
    Send,
)

__all__ = [
    "Accept",
    "AcceptDay",
    "AskPlan",
    "Audit",
    "Booked",
    "Bookkeep",
    "Commanded",
    "Effect",
    "Event",
    "Hub",
    "HubConfig",
    "Keep",
    "Lease",
    "PinKey",
    "PlanAnswered",
    "Publish",
    "Reply",
    "Store",
    "WeatherTold",
    "health",
    "others_w",
    "start",
    "step",
]

ISLAND_VOLTS = 50.0
LEASE_MS = 58_000
"""How long a setpoint stands without renewal: with the write at the device, all have lapsed 60 s after the hub died."""


def start(
    config: HubConfig,
    now: Instant,
    records: Iterable[IntervalRecord] = (),
    holds: Iterable[Hold] = (),
    known_runs: Mapping[str, str] | None = None,
) -> Hub:
    """Returns a hub that knows the recent past: six weeks of records, standing holds, missions."""
    site = config.site
    history = History(site)
    history.add(records, now)
    period_ms = max(config.period_ms, config.cycle_ms)
    deadlines = conditions.deadlines(site, period_ms, config.floor_ms, config.slow_period_ms)
    return Hub(
        config=config,
        host=HostSession(site.id, config.host_id, reorder_ms=max(2_000, config.floor_ms)),
        image=Image(deadlines),
        history=history,
        weather=WeatherBook(site.energy.weather_age_ms_max),
        work=Workbook(site.work, site.timezone, now, sources=sources(site)),
        appliances=Appliances(site),
        planning=plans.Planning(next_at=now, house_at=now, gate=Gate(advisory=config.advisory)),
        mirror=Mirror(site.id, config.mirror_ms, config.erased),
        board=Board(site, config.floor_ms, known_runs),
        desk=Desk(site, known_runs),
        alarms=AlarmBook(clear_delay_ms=max(10_000, config.floor_ms)),
        started_at=now,
        next_cycle=now,
        days=Daybook(site, config.advisory),
        scores=Scorebook(site.timezone),
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
            hub.mirror.forget()
            hub.link_up, hub.link_reason = True, ""
            return hub, [Publish(hub.host.birth(now))]
        case LinkDown(reason=reason):
            hub.link_up, hub.link_reason = False, reason
            return hub, []
        case PlanAnswered(request=request, answer=answer):
            if request < 0:
                hub.desk.answered(request, answer, now)
                return hub, []
            return hub, hub_plans.answered(hub, request, answer, now)
        case Commanded(command=command):
            return hub, give(hub, command, now)
        case Booked():
            hub.booked = event
            _follow(hub, event, now)
            return hub, []
        case WeatherTold(table=table, problem=problem):
            news = hub.weather.take(table, problem, now)
            return hub, [] if news is None else [Keep(news)]


def _follow(hub: Hub, booked: Booked, now: Instant) -> None:
    """Plans and compares by the charters that the ledger holds: a vote may have changed prices and lifelines."""
    site = hub.config.site.under(booked.charters, now)
    if site is not hub.config.site:
        hub.config = replace(hub.config, site=site)
        hub.days.site = site


def _incoming(hub: Hub, topic: str, payload: bytes, now: Instant) -> list[Effect]:
    if hub.board.concerns(topic):
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
            case RecordBatch() | RecordDay() | NodeKey():
                effects.extend(_for_the_books(hub, event, now))
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


def _for_the_books(hub: Hub, event: RecordBatch | RecordDay | NodeKey, now: Instant) -> list[Effect]:
    match event:
        case RecordBatch(node=node, payload=payload):
            return _records(hub, node, payload, now)
        case RecordDay(node=node, text=text):
            return [AcceptDay(node, text)]
        case NodeKey(node=node, key=key):
            return [PinKey(node, key)]


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
    hub_plans.watch_island(hub, snapshot, ISLAND_VOLTS)
    effects += hub_emergency.tick(hub, snapshot, now)
    context = _context(hub, snapshot)
    for decision in run(context, rules.RULES):
        hub.decisions[decision.device] = decision
        if snapshot.value(decision.device, LAPSED) == 1.0:
            hub.leases.pop(decision.device, None)  # its gateway has let the last one go: it is told again at once
        effects.extend(_actuate(hub, decision, now))
    effects.extend(_missions(hub, snapshot, now))
    effects.extend(_watch(hub, snapshot, now))
    effects.extend(Publish(message) for message in hub.mirror.take(snapshot, now))
    effects.extend(hub_plans.run(hub, snapshot, now))
    return effects


def _expire_holds(hub: Hub, now: Instant) -> list[Effect]:
    effects: list[Effect] = []
    for device in [device for device, hold in hub.holds.items() if hold.until <= now]:
        hold = hub.holds.pop(device)
        body = (("device", device), ("by", hold.by), ("until", iso(hold.until)))
        effects.append(Audit("hold-expired", derived_id(now, "hold-expired", device, hold.until), body))
    return effects


def _context(hub: Hub, snapshot: Snapshot) -> Context:
    site = hub.config.site
    storages, units = hub.planning.steps(snapshot.now)
    hub.appliances.look(snapshot)
    return Context(
        site=site,
        snapshot=snapshot,
        island=hub.island,
        others_w=others_w(site, snapshot),
        storage_steps=storages,
        unit_steps={**units, **hub.appliances.steps(units, snapshot.now)},
        holds=hub.holds,
        locked_out=frozenset(d.id for d in site.devices if snapshot.value(d.id, LOCKED_OUT) == 1.0),
        previous={device: lease.value for device, lease in hub.leases.items()},
        orders=hub.emergency.orders,
        peak_w=hub.planning.paid_peak_w(snapshot.now),
        due=hub.appliances.due(snapshot.now),
        lines=line_limits(site, hub.planning.current(snapshot.now)),
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
    if node is None or device is None or not hub.link_up or hub.config.advisory:
        return []
    fine = device.kind in (DeviceKind.PV, DeviceKind.PUMP)  # fractions: a limit, a drive's speed
    value = round(decision.value, 4) if fine else float(round(decision.value))
    lease = hub.leases.get(decision.device)
    valid_ms = max(LEASE_MS, 15 * hub.config.cycle_ms, 20 * hub.config.floor_ms)
    if device.hazardous and value != fallback(device):  # told again every cycle, or it falls back
        valid_ms = max(3_000, 3 * hub.config.cycle_ms, 4 * hub.config.floor_ms)
    step_size = 0.01 if fine else 0.5 if device.kind is DeviceKind.RELAY else 25.0
    changed = lease is None or abs(value - lease.value) >= step_size or (value == 0.0) != (lease.value == 0.0)
    back = fallback(device)
    renew_ms = valid_ms * 2 // 3 if value == back else valid_ms // 3
    if not changed and lease is not None and now - lease.sent_at < renew_ms:
        lease.reason = decision.reason
        return []
    hub.sequence += 1
    kept_at = 0 if changed or lease is None else lease.kept_at
    hub.leases[decision.device] = new = Lease(value, now, decision.reason, kept_at)
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
    sent: list[Effect] = [Publish(hub.host.setpoint(node, setpoint, now))]
    if now - kept_at >= TOLD_EVERY_MS:
        new.kept_at = now
        sent.append(Store(Readings(decision.device, now, (TOLD,), (value,), (Quality.GOOD,))))
    return sent


def _missions(hub: Hub, snapshot: Snapshot, now: Instant) -> list[Effect]:
    if hub.config.advisory:
        return []
    if hub.config.site.farm.fields and now >= hub.fields_at:
        hub.fields_at = Instant(next_boundary(now, SLOT_MS))
        hub.board.litres = wanted_l(hub.config.site, hub.board.done, now)
    current = hub.planning.current(now)
    messages, notes = hub.board.tick(None if current is None else current[0], snapshot, now)
    effects: list[Effect] = [Publish(message) for message in messages]
    effects.extend(_note(note, now) for note in notes)
    return effects + hub_deliveries.tick(hub, snapshot, now)


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
        failed_missions={**hub.board.failed(), **hub.desk.failed()},
        quarantined=dict(hub.booked.quarantined),
        safe_mode=hub.config.safe,
        unwitnessed=hub.booked.unwitnessed,
        restored=hub.booked.restored,
        standing=frozenset(a.condition.id for a in hub.alarms.standing if a.state is not AlarmState.RETURNED),
        commands=not hub.config.advisory,
        settle_ms=max(10_000, 6 * hub.config.floor_ms),
    )


def _watch(hub: Hub, snapshot: Snapshot, now: Instant) -> list[Effect]:
    site = hub.config.site
    here = health(hub)
    found = conditions.find(site, snapshot, here)
    hub.cold.look(site, snapshot, here)
    hub.sensors.look(site, snapshot)
    more = [*hub.cold.conditions(site, snapshot, here), *hub.food.watch.conditions(), *hub.sensors.conditions()]
    more += emergency.conditions(hub.emergency, site)
    if site.energy.weather and snapshot.now >= here.watch_from:
        more += hub.weather.conditions(now)
    found |= {one.id: one for one in more}
    return [journal(change) for change in hub.alarms.update(found, now)]
