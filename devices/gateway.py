"""The edge gateway's core: poll, protect, publish, keep records until they are acknowledged.

`step(gateway, event, now) -> (gateway, effects)`; the gateway is owned by one loop and updated in place.
Inside, every timer counts elapsed milliseconds, which never run back: a clock that is set back delays
nothing and prolongs no lease, and moves only time stamps.
"""

from __future__ import annotations

from collections.abc import Iterable

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
    RecordsStored,
    Saved,
    Send,
    StoreEpoch,
    StoreRecords,
)
from devices.interlocks import NO_FLOW_MS, Guarded, guard
from devices.leases import BOOT_GRACE_MS, DEFAULTS, Leases, Output
from devices.metering import Metering
from devices.model import WRITABLE, DeviceId, Message, Readings
from devices.outbox import RESEND_MS, BadPayload, Outbox, decode_acks, encode_batch
from devices.outputs import Report, drive, read_back, written
from devices.poll import DEAD_AFTER, Unit, make_units
from devices.sparkplug import (
    DataType,
    EdgeSession,
    HostOnline,
    Metric,
    RebirthRequested,
    RecordsAcked,
    Rejected,
    SetpointReceived,
)
from devices.sparkplug_codec import RECORDS_BATCH, RECORDS_DEVICE, SETPOINT_SUFFIX, SIMULATED

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
    "StoreRecords",
    "step",
]

_WHOLE = ("_wh", "_ml")
LATE_MS = 60_000
ANSWER_MS_MAX = 10_000
"""A read or write unanswered by the shell for so long counts as silence."""


class Gateway:
    """The state of one gateway."""

    def __init__(self, config: GatewayConfig, now: Instant, saved: Saved | None = None) -> None:
        """Sets everything up as after a start: nothing scanned, outputs left alone for a grace time.

        Raises:
            BadProfile: a device names a profile that does not exist or has faults.
            ValueError: a device names no driver.
        """
        saved = saved or Saved()
        self._config = config
        self.now = now
        self.elapsed = 0
        self.units = make_units(config.devices)
        self.session = EdgeSession(config.site_id, config.id, bd_seq=saved.bd_seq)
        self.outbox = Outbox()
        self.outbox.add(saved.records, 0)
        self.metering = Metering(config.devices, saved.marks, LATE_MS, config.slot_ms)
        self.leases = Leases(_outputs(config), saved.epoch)
        self.guards = _guards(config)
        self.watched = _watched(config)
        self.stored_epoch = saved.epoch
        self.next_poll = 0
        self.link_up = False
        self.host_online = True
        self.born: set[DeviceId] = set()  # devices that the host was told of and not told to forget
        self.counters: dict[str, int] = {}
        self.clock_quality = config.clock  # the shell may change it at any time
        self.clock_unsure_until = Instant(0)
        self.age_ms_max = 0
        self.answer_ms_max = 0
        self.config = config

    @property
    def config(self) -> GatewayConfig:
        """Returns the configuration in force. Its periods may be changed while it runs, its devices may not."""
        return self._config

    @config.setter
    def config(self, config: GatewayConfig) -> None:
        self._config = config
        poll_ms, floor_ms = config.poll_ms, config.deadline_floor_ms
        self.age_ms_max = max(3 * poll_ms, 3000, 2 * floor_ms)
        self.answer_ms_max = max(ANSWER_MS_MAX, 4 * floor_ms)
        self.outbox.resend_ms = max(RESEND_MS, floor_ms)
        self.next_poll = min(self.next_poll, self.elapsed + poll_ms)
        for meter in self.metering.meters:
            meter.late_ms = max(LATE_MS, 2 * poll_ms, floor_ms)
        for guarded in self.guards.values():
            guarded.reaction_ms = max(NO_FLOW_MS, 2 * poll_ms, floor_ms)

    def value(self, device: DeviceId, point: str) -> float | None:
        """Returns a reading for the interlocks: the number if it is good and young enough, else None."""
        unit = self.units.get(device)
        if unit is None or unit.good_at < 0 or self.elapsed - unit.good_at > self.age_ms_max:
            return None
        return unit.value(point)

    def next_deadline(self) -> Instant:
        """Returns when the next Tick is due."""
        due = self.next_poll
        lease = self.leases.next_deadline()
        if lease is not None and lease < due:
            due = lease
        resend = self.outbox.next_deadline() if self.link_up and self.host_online else None
        if resend is not None and resend < due:
            due = resend
        return Instant(self.now + max(0, due - self.elapsed))

    def count(self, name: str) -> None:
        """Adds one to a counter."""
        self.counters[name] = self.counters.get(name, 0) + 1


def _outputs(config: GatewayConfig) -> dict[DeviceId, Output]:
    outputs: dict[DeviceId, Output] = {}
    grace = max(BOOT_GRACE_MS, config.deadline_floor_ms)
    for spec in config.devices:
        point = WRITABLE.get(spec.kind)
        if point is not None and spec.driver != "vda5050":
            default = DEFAULTS[spec.kind]
            outputs[spec.id] = Output(spec.id, point, default, spec.read_only, fallback=default, until=grace)
    return outputs


def _guards(config: GatewayConfig) -> dict[DeviceId, Guarded]:
    return {
        spec.id: guard(spec, config.tank_of.get(spec.id), config.tank_high, NO_FLOW_MS)
        for spec in config.devices
        if spec.kind in WRITABLE and spec.driver != "vda5050"
    }


def _watched(config: GatewayConfig) -> dict[DeviceId, tuple[DeviceId, ...]]:
    """Returns the outputs to look at again when a device has been read: its own, and a tank's pumps."""
    watched: dict[DeviceId, list[DeviceId]] = {}
    for device in _outputs(config):
        watched.setdefault(device, []).append(device)
        tank = config.tank_of.get(device)
        if tank is not None:
            watched.setdefault(tank, []).append(device)
    return {device: tuple(outputs) for device, outputs in watched.items()}


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
            _incoming(gateway, event, effects)
        case RecordsStored():
            gateway.outbox.add(event.records, gateway.elapsed)
        case LinkUp():
            gateway.link_up = True
            gateway.outbox.forget_flights(gateway.elapsed)
            _birth(gateway, effects)
            _send_records(gateway, effects)
        case LinkDown():
            gateway.link_up = False
            gateway.born.clear()
    return gateway, effects


def _tick(gateway: Gateway, effects: list[Effect]) -> None:
    elapsed, config = gateway.elapsed, gateway.config
    for output in gateway.leases.expire(elapsed):
        gateway.count("leases_lapsed")
        effects.append(
            Log("lease-lapsed", f"{output.device}/{output.point}: lease over, falls back to {output.fallback:g}")
        )
        _drive(gateway, output.device, effects)
    if elapsed >= gateway.next_poll:
        gateway.next_poll = elapsed + config.poll_ms - gateway.now % config.poll_ms
        fast_only = bool(config.slow_poll_ms) and gateway.now % config.slow_poll_ms >= config.poll_ms
        for device, unit in gateway.units.items():
            # What is read now drives its outputs when it has been read; a device that is not read must not wait.
            waits = fast_only and unit.spec.kind in SLOW_KINDS
            if waits or not _poll(gateway, unit, effects):
                for watched in gateway.watched.get(device, ()):
                    _drive(gateway, watched, effects)
    _send_records(gateway, effects)


def _poll(gateway: Gateway, unit: Unit, effects: list[Effect]) -> bool:
    """Begins a poll; returns False where the device is busy or backed off."""
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
        _drive(gateway, watched, effects)


def _publish(gateway: Gateway, unit: Unit, readings: Readings, effects: list[Effect]) -> None:
    """Sends data, a birth for a device that has answered for the first time or again, a death for a silent one."""
    device = unit.spec.id
    if not gateway.link_up:
        return
    if device in gateway.born:
        if unit.dead:
            gateway.born.discard(device)
            effects.append(Send(gateway.session.device_death(device, gateway.now)))
        else:
            effects.append(Send(gateway.session.data(readings)))
    elif not unit.failures:
        gateway.born.add(device)
        effects.append(Send(gateway.session.device_birth(device, _metrics(gateway, unit), gateway.now)))


def _meter(gateway: Gateway, unit: Unit, effects: list[Effect]) -> None:
    clock = ClockQuality.UNKNOWN if gateway.now < gateway.clock_unsure_until else gateway.clock_quality
    records, marks, texts = gateway.metering.take(unit, gateway.now, clock)
    if marks:
        gateway.counters["records"] = gateway.counters.get("records", 0) + len(records)
        effects.append(StoreRecords(tuple(records), tuple(marks)))
    for text in texts:
        gateway.count("meter_epochs")
        effects.append(Log("meter-epoch", text))


def _drive(gateway: Gateway, device: DeviceId, effects: list[Effect]) -> None:
    output, unit = gateway.leases.outputs[device], gateway.units[device]
    if output.waiting and gateway.elapsed - output.written_at > gateway.answer_ms_max:
        output.waiting, output.written = 0, None
    retry_ms = max(gateway.config.poll_ms, 1000)
    writes, reports = drive(output, unit, gateway.guards[device], gateway, gateway.elapsed, retry_ms)
    effects.extend(writes)
    if reports:
        _report(gateway, reports, effects)


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


def _incoming(gateway: Gateway, event: Incoming, effects: list[Effect]) -> None:
    for found in gateway.session.receive(Message(event.topic, event.payload), gateway.now):
        match found:
            case SetpointReceived(setpoint=setpoint):
                refusal = gateway.leases.accept(setpoint, gateway.elapsed, gateway.config.deadline_floor_ms)
                if refusal:
                    gateway.count("setpoints_refused")
                    effects.append(Log("setpoint-refused", refusal))
                    continue
                if setpoint.epoch > gateway.stored_epoch:
                    gateway.stored_epoch = setpoint.epoch
                    effects.append(StoreEpoch(setpoint.epoch))
                _drive(gateway, setpoint.device, effects)
            case RecordsAcked(payload=payload):
                _acked(gateway, payload, effects)
            case RebirthRequested():
                _birth(gateway, effects)
            case HostOnline(online=online):
                if online and not gateway.host_online:
                    gateway.outbox.forget_flights(gateway.elapsed)
                gateway.host_online = online
                _send_records(gateway, effects)
            case Rejected(reason=reason):
                gateway.count("messages_rejected")
                effects.append(Log("message-rejected", reason))


def _acked(gateway: Gateway, payload: bytes, effects: list[Effect]) -> None:
    try:
        acks = decode_acks(payload)
    except BadPayload as problem:
        gateway.count("acks_rejected")
        effects.append(Log("ack-rejected", str(problem)))
        return
    refused = gateway.outbox.rejected_acks
    freed = gateway.outbox.acknowledge(acks, gateway.elapsed)
    if gateway.outbox.rejected_acks != refused:
        gateway.count("acks_rejected")
        effects.append(Log("ack-rejected", "a page was acknowledged that was never sent: that hub keeps other books"))
    if freed:
        effects.append(ForgetRecords(tuple(freed)))
        _send_records(gateway, effects)


def _send_records(gateway: Gateway, effects: list[Effect]) -> None:
    if not gateway.link_up or not gateway.host_online or not len(gateway.outbox):
        return
    for batch in gateway.outbox.due(gateway.elapsed):
        gateway.count("batches_sent")
        payload = encode_batch(batch)
        effects.append(Send(gateway.session.data_bytes(DeviceId(RECORDS_DEVICE), RECORDS_BATCH, payload, gateway.now)))


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
    if gateway.config.simulated:
        metrics.append(Metric(SIMULATED, DataType.BOOLEAN, value=True))
    return metrics
