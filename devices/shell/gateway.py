"""The gateway process: inbox, core, disk, bus and broker. Everything is on disk before it is sent."""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from devices import gateway_commands
from devices.bus import BusRead, BusWrite
from devices.day_book import DayId, SignedDay
from devices.events import LinkUp, Tick
from devices.gateway import (
    Effect,
    Event,
    ForgetRecords,
    Gateway,
    GatewayConfig,
    Log,
    RecordsStored,
    Send,
    StoreEpoch,
    StoreGuard,
    StoreRecords,
    StoreSequence,
    step,
)
from devices.gateway_events import FetchRecords, RecallRecords, RecordsFetched, RecordsRecalled, Saved
from devices.gpio import ENDPOINT as GPIO
from devices.logins import gateway_login
from devices.model import DeviceId, DeviceSpec, IntervalRecord
from devices.outbox import Ack
from devices.records import MeterMark
from devices.shell.broker_login import login_of
from devices.shell.control_socket import ControlSocket
from devices.shell.data_lock import DataLock
from devices.shell.doorbell import ring
from devices.shell.gateway_key import own_key
from devices.shell.gpio import GpioWire
from devices.shell.guard_file import CountFile, GuardFile
from devices.shell.inbox import Inbox
from devices.shell.modbus import Modbus
from devices.shell.mqtt import Link
from devices.shell.notify import Heartbeat
from devices.shell.outbox_file import DayChange, OutboxFile
from devices.shell.run_clock import Clock
from devices.vda5050_codec import Kind

log = logging.getLogger("atoll.gateway")

KEEPALIVE_S = 15
SOCKET_NAME = "gateway.sock"
ANSWER_S = 5.0
SEQUENCE = "hub/sequence"
_WAKE_S = 1.0
"""The loop looks around at least this often (real time), so that a stop is never late."""
_QUIET = {"interlock-clear", "follows"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request from gateway.sock and where its answer goes."""

    request: Mapping[str, object]
    answer: queue.SimpleQueue[Mapping[str, object]] = field(default_factory=queue.SimpleQueue)


def run_gateway(
    config: GatewayConfig,
    data_dir: Path,
    broker: str,
    clock: Clock,
    endpoints: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
    beside: Mapping[DeviceId, Path] | None = None,
) -> None:
    """Runs a gateway until SIGTERM, SIGINT or `stop`; `broker` is host:port, `endpoints` as in run.json.

    `beside` names the doorbell of each vehicle whose process may be on this machine: it is told there too, so that an
    interlock stops it without a broker. Its login at the broker stands beside `data_dir` (`broker_login`).

    Raises:
        AlreadyRunning: another gateway works on this data directory.
        OutboxDamaged: outbox.db is broken.
        GuardDamaged: guard.json is broken.
        BadProfile: a device names a profile that does not exist or has faults.
    """
    stopping = stop or threading.Event()
    lock = DataLock(data_dir, "gateway")
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda _number, _frame: stopping.set())
        shell = _Shell(config, data_dir, broker, clock, endpoints or {}, beside or {})
        shell.run(stopping)
    finally:
        lock.close()


def never_written(devices: Iterable[DeviceSpec]) -> frozenset[tuple[str, int]]:
    """Returns (endpoint, unit) of what is never written; unit -1 where that holds for all of an endpoint."""
    devices = tuple(devices)
    written = {device.endpoint for device in devices if not device.read_only}
    units = {(device.endpoint, device.unit) for device in devices if device.read_only}
    return frozenset(units | {(endpoint, -1) for endpoint, _ in units if endpoint not in written})


class _Shell:
    """The imperative side of one gateway: does what the core's effects say, in a safe order."""

    def __init__(
        self,
        config: GatewayConfig,
        data_dir: Path,
        broker: str,
        clock: Clock,
        endpoints: Mapping[str, str],
        beside: Mapping[DeviceId, Path],
    ) -> None:
        self.clock = clock
        self.inbox: Inbox[Event | Asked] = Inbox()
        self.disk = OutboxFile(data_dir / "outbox.db")
        config = replace(config, key=own_key(data_dir))
        self.guard = GuardFile(data_dir / "guard.json")
        self.counts = CountFile(data_dir / "counts.bin")
        self.heart = Heartbeat()
        self.gateway = Gateway(config, clock.now(), self._saved())
        self.control = ControlSocket(data_dir / SOCKET_NAME, self.ask)
        read_only = never_written(config.devices)
        pins = [device for device in config.devices if device.pins]
        wires = {GPIO: GpioWire(pins, self.counts)} if pins else {}
        self.bus = Modbus(self.inbox.put, endpoints, read_only, wires=wires)
        host, _, port = broker.rpartition(":")
        session, stops = self.gateway.session, self.gateway.stops
        vehicles = [one for one in stops.vehicles if one.device in beside]
        self.beside = {one.address.topic(Kind.INSTANT_ACTIONS): beside[one.device] for one in vehicles}
        self.link = Link(
            f"{config.site_id}-{config.id}",
            host or "127.0.0.1",
            int(port),
            will=lambda: session.will(clock.now()),
            subscriptions=[*session.subscriptions(), *self.gateway.plain.subscriptions(), *stops.subscriptions()],
            inbox=self.inbox,
            keepalive=KEEPALIVE_S,
            logins=login_of(data_dir.parent, gateway_login(config.id)),
        )

    def _saved(self) -> Saved:
        """Returns what the three files bring back."""
        kept, guard = self.disk.load(), self.guard.load()
        epoch, sequence = self.counts.get(SEQUENCE, (kept.epoch, -1))
        if epoch < kept.epoch:
            epoch, sequence = kept.epoch, -1
        return replace(kept, epoch=epoch, sequence=sequence, tags=guard.tags, latched=guard.latched)

    def ask(self, request: Mapping[str, object]) -> Mapping[str, object]:
        """Answers one request of gateway.sock, in the loop's own time; called in the connection's thread."""
        asked = Asked(request)
        self.inbox.force(asked)
        try:
            return asked.answer.get(timeout=ANSWER_S)
        except queue.Empty:
            return {"error": f"the gateway did not come to it within {ANSWER_S:g} s"}

    def run(self, stopping: threading.Event) -> None:
        self.link.start()
        self.control.start()
        log.info("event=started gateway=%s unsent=%d", self.gateway.config.id, len(self.gateway.outbox))
        try:
            while not stopping.is_set():
                wait_s = min(self.clock.real_seconds_until(self.gateway.next_deadline()), _WAKE_S)
                self.turn(self.inbox.get(wait_s))
        finally:
            self.heart.stopping()
            self.control.stop()
            self.link.stop(self.gateway.session.death(self.clock.now()))
            self.bus.stop()
            self.disk.close()
            self.counts.close()
            log.info("event=stopped gateway=%s unsent=%d", self.gateway.config.id, len(self.gateway.outbox))

    def turn(self, events: Iterable[Event | Asked]) -> None:
        """Steps the core through a batch, commits, and only then sends."""
        now, poll = self.clock.now(), self.gateway.next_poll
        self.gateway.clock_quality = self.clock.quality()
        effects: list[Effect] = []
        answers: list[tuple[Asked, Mapping[str, object]]] = []
        for event in events:
            if isinstance(event, Asked):
                answer, more = gateway_commands.ask(self.gateway, event.request)
                answer = {**answer, "pid": os.getpid()}
                answers.append((event, answer))
                effects += more
                continue
            effects += step(self.gateway, event, now)[1]
            if isinstance(event, LinkUp):
                self.disk.write(meta=[("bd_seq", (self.gateway.session.bd_seq + 1) & 0xFF)])
        if now >= self.gateway.next_deadline():
            effects += step(self.gateway, Tick(), now)[1]
        while effects:
            stored = self.persist(effects)
            self.emit(effects)
            asked_for = [effect for effect in effects if isinstance(effect, RecallRecords | FetchRecords)]
            effects = step(self.gateway, stored, now)[1] if stored.records or stored.days else []
            for effect in asked_for:
                effects += step(self.gateway, self.read(effect), now)[1]
        for asked, answer in answers:
            asked.answer.put(answer)
        if self.gateway.next_poll != poll:  # every device was asked, outputs driven, all of it on disk and sent
            self.heart.cycle()

    def read(self, effect: RecallRecords | FetchRecords) -> RecordsRecalled | RecordsFetched:
        """Returns what the disk has of pages that are wanted again, or wanted in memory."""
        if isinstance(effect, RecallRecords):
            return RecordsRecalled(tuple(self.disk.recall(effect.gaps)))
        return RecordsFetched(effect.fetches, tuple(self.disk.fetch(effect.fetches)))

    def persist(self, effects: Iterable[Effect]) -> RecordsStored:
        """Puts everything that must last on disk in one transaction; returns what is now safe to send."""
        records: list[IntervalRecord] = []
        marks: list[MeterMark] = []
        acks: list[Ack] = []
        days: list[SignedDay] = []
        acked: list[DayId] = []
        meta: list[tuple[str, int]] = []
        for effect in effects:
            match effect:
                case StoreRecords():
                    records += effect.records
                    marks += effect.marks
                    days += effect.days
                case ForgetRecords():
                    acks += effect.acks
                    acked += effect.days
                case StoreEpoch():
                    meta.append(("hub_epoch", effect.epoch))
                case StoreSequence():
                    self.counts.put(SEQUENCE, effect.epoch, effect.sequence)
                case StoreGuard():
                    self.guard.save(effect.tags, effect.latched)
                case _:
                    pass
        if records or marks or acks or meta or acked:
            signs = self.gateway.config.key is not None
            self.disk.write(records, marks, acks, meta, DayChange(days, acked, signs=signs))
        return RecordsStored(tuple(records), tuple(days))

    def emit(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case BusRead() | BusWrite():
                    self.bus.submit(effect)
                case Send(message):
                    if message.topic in self.beside:
                        ring(self.beside[message.topic], message)
                    self.link.publish(message)
                case Log():
                    level = logging.INFO if effect.code in _QUIET else logging.WARNING
                    log.log(level, "event=%s %s", effect.code, effect.text)
                case _:
                    pass
