"""The edge gateway's core: poll, protect, publish, keep records until they are acknowledged.

`step(gateway, event, now) -> (gateway, effects)`; the gateway is owned by one loop and updated in place.
Inside, every timer counts elapsed milliseconds, which never run back: a clock that is set back delays
nothing and prolongs no lease, and moves only time stamps.
"""

from __future__ import annotations

from collections.abc import Iterable

from devices.backfill import PER_SECOND, PER_TICK_MAX
from devices.bus import BusAnswer, BusWritten
from devices.clock import ClockQuality, Instant
from devices.events import Incoming, LinkDown, LinkUp, Tick
from devices.gateway_events import (
    SLOW_KINDS,
    Effect,
    Event,
    ForgetRecords,
    GatewayConfig,
    Log,
    RecordsFetched,
    RecordsRecalled,
    RecordsStored,
    Saved,
    Send,
    StoreEpoch,
    StoreGuard,
    StoreRecords,
    StoreSequence,
)
from devices.gateway_records import days_acked, forget_flights, records_acked, send_records
from devices.gateway_state import Gateway
from devices.model import DeviceId, Message, Quality, Readings
from devices.mqtt_units import MqttUnit
from devices.outputs import STATE_POINTS, Report, drive, read_back, state_of, written
from devices.poll import DEAD_AFTER, Unit
from devices.sparkplug import (
    DataType,
    DaysAcked,
    HostOnline,
    Metric,
    RebirthRequested,
    RecordsAcked,
    Rejected,
    SetpointReceived,
)
from devices.sparkplug_codec import SETPOINT_SUFFIX, SIMULATED

__all__ = [
    "Effect",
    "Event",
    "ForgetRecords",
    "Gateway",
    "GatewayConfig",
    "Log",
    "RecordsStored",
    "Saved",
    "Send",
    "StoreEpoch",
    "StoreGuard",
    "StoreRecords",
    "StoreSequence",
    "drive_output",
    "publish_state",
    "step",
    "store_guard",
]

_WHOLE = ("_wh", "_ml")


def step(gateway: Gateway, event: Event, now: Instant) -> tuple[Gateway, list[Effect]]:
    """Takes one event at `now` and returns what must happen next."""
    effects: list[Effect] = []
    if now >= gateway.now:
        gateway.elapsed += now - gateway.now
    else:
        gateway.count("clock_back")
        gateway.clock_unsure_until = max(gateway.clock_unsure_until, Instant(gateway.now + gateway.config.slot_ms))
        effects.append(Log("clock-back", f"the clock went back by {gateway.now - now} ms; records are marked"))
    gateway.now = now
    match event:
        case BusAnswer():
            _answered(gateway, event, effects)
        case Tick():
            _tick(gateway, effects)
        case BusWritten():
            _written(gateway, event, effects)
        case Incoming():
            _arrived(gateway, event, effects)
        case RecordsStored():
            gateway.outbox.add(event.records, gateway.elapsed)
            gateway.days.stored(event.days)
        case RecordsRecalled():
            gateway.outbox.put_back(event.gaps, gateway.elapsed)
            send_records(gateway, effects)
        case RecordsFetched():
            gateway.outbox.fetched(event.fetches, event.records, gateway.elapsed)
            send_records(gateway, effects)
        case LinkUp():
            gateway.link_up = True
            forget_flights(gateway)
            _birth(gateway, effects)
            effects.extend(Send(message) for unit in gateway.plain.units for message in unit.start())
            send_records(gateway, effects)
        case LinkDown():
            gateway.link_up = False
            gateway.born.clear()
    return gateway, effects


def _tick(gateway: Gateway, effects: list[Effect]) -> None:
    elapsed, config = gateway.elapsed, gateway.config
    for output in gateway.leases.expire(elapsed):
        gateway.count("leases_lapsed")
        then = "stays as it is" if output.two_step else f"falls back to {output.fallback:g}"
        effects.append(Log("lease-lapsed", f"{output.device}/{output.point}: lease over, {then}"))
        publish_state(gateway, output.device, effects)
        drive_output(gateway, output.device, effects)
    if elapsed >= gateway.next_poll:
        gateway.next_poll = elapsed + config.poll_ms - gateway.now % config.poll_ms
        fast_only = bool(config.slow_poll_ms) and gateway.now % config.slow_poll_ms >= config.poll_ms
        for device, unit in gateway.units.items():
            # What is read now drives its outputs when it has been read; a device that is not read must not wait.
            waits = fast_only and unit.spec.kind in SLOW_KINDS and device not in gateway.watched
            if waits or not _poll(gateway, unit, effects):
                for watched in gateway.watched.get(device, ()):
                    drive_output(gateway, watched, effects)
        stop_vehicles(gateway, effects)
        _tell_history(gateway, effects)
    send_records(gateway, effects)


def _tell_history(gateway: Gateway, effects: list[Effect]) -> None:
    """Sends some of what could not be told live, marked as history, beside the live data."""
    if gateway.link_up and gateway.host_online and len(gateway.backfill):
        count = min(PER_TICK_MAX, max(1, PER_SECOND * gateway.config.poll_ms // 1000))
        told = gateway.backfill.take(count, gateway.born)
        effects.extend(Send(gateway.session.data(readings)) for readings in told)


def _poll(gateway: Gateway, unit: Unit, effects: list[Effect]) -> bool:
    """Begins a poll; returns False where the device is busy or backed off, or speaks by itself."""
    if isinstance(unit, MqttUnit):
        readings = unit.look(gateway.now, gateway.elapsed)
        if readings is not None and unit.failures:
            _finished(gateway, unit, readings, effects)
        elif readings is not None:
            _publish(gateway, unit, readings, effects)
        return False
    read = unit.begin(gateway.elapsed)
    if read is not None:
        effects.append(read)
        return True
    if not unit.idle:
        gateway.count("overruns")
        if gateway.elapsed - unit.asked_at > gateway.answer_ms_max:
            gateway.count("unanswered")
            _finished(gateway, unit, unit.give_up(gateway.now, gateway.elapsed, gateway.config.poll_ms), effects)
    return False


def _answered(gateway: Gateway, event: BusAnswer, effects: list[Effect]) -> None:
    unit = gateway.units.get(event.request.device)
    if unit is None:
        return
    outcome = unit.answer(event.request, event.registers, gateway.now, gateway.elapsed, gateway.config.poll_ms)
    if isinstance(outcome, Readings):
        _finished(gateway, unit, outcome, effects)
    elif outcome is not None:
        effects.append(outcome)


def _finished(gateway: Gateway, unit: Unit, readings: Readings, effects: list[Effect]) -> None:
    device = unit.spec.id
    _publish(gateway, unit, readings, effects)
    if unit.failures:
        gateway.count("polls_failed")
        if unit.failures == DEAD_AFTER:
            effects.append(Log("unit-silent", f"{device}: {unit.failures} polls without an answer. {unit.problem}"))
    else:
        _meter(gateway, unit, effects)
    output = gateway.leases.outputs.get(device)
    if output is not None:
        if unit.dead:
            output.written = None
        else:
            _report(gateway, read_back(output, unit), effects)
    for watched in gateway.watched.get(device, ()):
        drive_output(gateway, watched, effects)
    if device in gateway.stopping:
        stop_vehicles(gateway, effects)


def _publish(gateway: Gateway, unit: Unit, readings: Readings, effects: list[Effect]) -> None:
    """Sends data, a birth for a device that has answered for the first time or again, a death for a silent one."""
    device = unit.spec.id
    heard = gateway.link_up and gateway.host_online
    if not heard and not unit.failures:
        gateway.backfill.keep(_with_state(gateway, readings))
    if not gateway.link_up:
        return
    if device in gateway.born:
        if unit.dead:
            gateway.born.discard(device)
            effects.append(Send(gateway.session.device_death(device, gateway.now)))
        elif heard:
            effects.append(Send(gateway.session.data(_with_state(gateway, readings))))
    elif not unit.failures:
        gateway.born.add(device)
        effects.append(Send(gateway.session.device_birth(device, _metrics(gateway, unit), gateway.now)))


def _with_state(gateway: Gateway, readings: Readings) -> Readings:
    """Returns an output's readings with its state beside them, so that it is as fresh as they are."""
    output = gateway.leases.outputs.get(readings.device)
    if output is None:
        return readings
    state = state_of(output)
    points, qualities = (*readings.points, *STATE_POINTS), (*readings.qualities, *[Quality.GOOD] * len(state))
    return Readings(readings.device, readings.at, points, (*readings.values, *state), qualities)


def _meter(gateway: Gateway, unit: Unit, effects: list[Effect]) -> None:
    clock = ClockQuality.UNKNOWN if gateway.now < gateway.clock_unsure_until else gateway.clock_quality
    records, marks, texts = gateway.metering.take(unit, gateway.now, clock)
    if marks:
        gateway.counters["records"] = gateway.counters.get("records", 0) + len(records)
        effects.append(StoreRecords(tuple(records), tuple(marks), gateway.days.take(records)))
    for text in texts:
        gateway.count("meter_epochs")
        effects.append(Log("meter-epoch", text))


def drive_output(gateway: Gateway, device: DeviceId, effects: list[Effect]) -> None:
    """Makes an output what leases, interlocks and tags say, now."""
    output, unit = gateway.leases.outputs[device], gateway.units[device]
    if output.waiting and gateway.elapsed - output.written_at > gateway.answer_ms_max:
        output.waiting, output.written = 0, None
    retry_ms = max(gateway.config.poll_ms, 1000)
    writes, reports = drive(output, unit, gateway.guards[device], gateway, gateway.elapsed, retry_ms)
    if isinstance(unit, MqttUnit):
        effects.extend(Send(message) for _ in writes for message in unit.commands(output))
    else:
        effects.extend(writes)
    if reports:
        _report(gateway, reports, effects)
    if gateway.guards[device].watches and gateway.latched != gateway.stored_latched:
        store_guard(gateway, effects)


def stop_vehicles(gateway: Gateway, effects: list[Effect]) -> None:
    """Pauses the vehicles that an interlock stops, and lets the others go on; a shell may reach them without broker."""
    messages, reports = gateway.stops.look(gateway, gateway.now, gateway.elapsed)
    effects.extend(Send(message) for message in messages)
    if reports:
        _report(gateway, reports, effects)
    if gateway.stops.vehicles and gateway.latched != gateway.stored_latched:
        store_guard(gateway, effects)


def store_guard(gateway: Gateway, effects: list[Effect]) -> None:
    """Keeps tags and latched interlocks over a restart; ahead of the writes that they led to."""
    gateway.stored_latched = gateway.latched
    effects.insert(0, StoreGuard(tuple(gateway.tags.values()), gateway.stored_latched))


def publish_state(gateway: Gateway, device: DeviceId, effects: list[Effect]) -> None:
    """Tells the host at once what the gateway knows of an output: it must not wait for the next reading."""
    if gateway.link_up and device in gateway.born:
        state = state_of(gateway.leases.outputs[device])
        readings = Readings(device, gateway.now, STATE_POINTS, state, (Quality.GOOD,) * len(state))
        effects.append(Send(gateway.session.data(readings)))


def _report(gateway: Gateway, reports: Iterable[Report], effects: list[Effect]) -> None:
    for report in reports:
        gateway.count(report.code)
        effects.append(Log(report.code, report.text))


def _written(gateway: Gateway, event: BusWritten, effects: list[Effect]) -> None:
    output = gateway.leases.outputs.get(event.request.device)
    if output is None:
        return
    if event.fault is not None:
        gateway.count("writes_failed")
        where = f"{event.request.device}/{event.request.point}"
        effects.append(Log("write-failed", f"{where}: {event.fault} at {event.request.address}"))
    written(output, event.fault is not None, gateway.elapsed, max(gateway.config.poll_ms, 1000))


def _arrived(gateway: Gateway, event: Incoming, effects: list[Effect]) -> None:
    if gateway.stops.receive(event.topic, event.payload):
        stop_vehicles(gateway, effects)
        return
    speakers = gateway.plain.speakers(event.topic)
    for unit in speakers:
        _heard(gateway, unit, event, effects)
    if not speakers:
        _incoming(gateway, event, effects)


def _incoming(gateway: Gateway, event: Incoming, effects: list[Effect]) -> None:
    for found in gateway.session.receive(Message(event.topic, event.payload), gateway.now):
        match found:
            case SetpointReceived(setpoint=setpoint):
                output = gateway.leases.outputs.get(setpoint.device)
                had_lapsed = output is not None and output.lapsed
                refusal = gateway.leases.accept(setpoint, gateway.elapsed, gateway.config.deadline_floor_ms)
                if refusal:
                    gateway.count("setpoints_refused")
                    effects.append(Log("setpoint-refused", refusal))
                    continue
                effects.append(StoreSequence(setpoint.epoch, setpoint.sequence))
                if setpoint.epoch > gateway.stored_epoch:
                    gateway.stored_epoch = setpoint.epoch
                    effects.append(StoreEpoch(setpoint.epoch))
                if had_lapsed:
                    publish_state(gateway, setpoint.device, effects)
                drive_output(gateway, setpoint.device, effects)
            case RecordsAcked(payload=payload):
                records_acked(gateway, payload, effects)
            case DaysAcked(payload=payload):
                days_acked(gateway, payload, effects)
            case RebirthRequested():
                _birth(gateway, effects)
            case HostOnline(online=online):
                if online and not gateway.host_online:
                    forget_flights(gateway)
                gateway.host_online = online
                send_records(gateway, effects)
            case Rejected(reason=reason):
                gateway.count("messages_rejected")
                effects.append(Log("message-rejected", reason))


def _heard(gateway: Gateway, unit: MqttUnit, event: Incoming, effects: list[Effect]) -> None:
    was_silent = unit.heard_at < 0
    readings = unit.hear(event.topic, event.payload, gateway.now, gateway.elapsed)
    if readings is None:
        return
    if was_silent:
        effects.extend(Send(message) for message in unit.start())
    _finished(gateway, unit, readings, effects)


def _birth(gateway: Gateway, effects: list[Effect]) -> None:
    """Tells the host everything: the node, and each device that has answered; the others follow when they do."""
    if not gateway.link_up:
        return
    alive = {unit.spec.id: unit for unit in gateway.units.values() if unit.good_at >= 0 and not unit.dead}
    gateway.born = set(alive)
    devices = {device: _metrics(gateway, unit) for device, unit in alive.items()}
    effects.extend(Send(message) for message in gateway.session.birth(gateway.now, devices))


def _metrics(gateway: Gateway, unit: Unit) -> list[Metric]:
    metrics = [
        Metric(point, DataType.INT64 if point.endswith(_WHOLE) else DataType.DOUBLE, value)
        for point, value in zip(unit.points, unit.values, strict=True)
    ]
    output = gateway.leases.outputs.get(unit.spec.id)
    if output is not None:
        metrics.append(Metric(f"{output.point}{SETPOINT_SUFFIX}", DataType.BYTES))
        state = zip(STATE_POINTS, state_of(output), strict=True)
        metrics += [Metric(point, DataType.DOUBLE, value) for point, value in state]
    if gateway.config.simulated:
        metrics.append(Metric(SIMULATED, DataType.BOOLEAN, value=True))
    return metrics
