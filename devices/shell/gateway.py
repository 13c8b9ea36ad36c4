"""The gateway process: inbox, core, disk, bus and broker. Everything is on disk before it is sent."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from devices.bus import BusRead, BusWrite
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
    StoreRecords,
    step,
)
from devices.model import IntervalRecord
from devices.outbox import Ack
from devices.records import MeterMark
from devices.shell.data_lock import DataLock
from devices.shell.inbox import Inbox
from devices.shell.modbus import Modbus
from devices.shell.mqtt import Link
from devices.shell.outbox_file import OutboxFile
from devices.shell.run_clock import Clock

log = logging.getLogger("atoll.gateway")

KEEPALIVE_S = 15
_WAKE_S = 1.0
"""The loop looks around at least this often (real time), so that a stop is never late."""
_QUIET = {"interlock-clear", "follows"}


def run_gateway(
    config: GatewayConfig,
    data_dir: Path,
    broker: str,
    clock: Clock,
    endpoints: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Runs a gateway until SIGTERM, SIGINT or `stop`; `broker` is host:port, `endpoints` as in run.json.

    Raises:
        AlreadyRunning: another gateway works on this data directory.
        OutboxDamaged: outbox.db is broken.
        BadProfile: a device names a profile that does not exist or has faults.
    """
    stopping = stop or threading.Event()
    lock = DataLock(data_dir, "gateway")
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda _number, _frame: stopping.set())
        shell = _Shell(config, data_dir, broker, clock, endpoints or {})
        shell.run(stopping)
    finally:
        lock.close()


class _Shell:
    """The imperative side of one gateway: does what the core's effects say, in a safe order."""

    def __init__(
        self, config: GatewayConfig, data_dir: Path, broker: str, clock: Clock, endpoints: Mapping[str, str]
    ) -> None:
        self.clock = clock
        self.inbox: Inbox[Event] = Inbox()
        self.disk = OutboxFile(data_dir / "outbox.db")
        self.gateway = Gateway(config, clock.now(), self.disk.load())
        read_only = frozenset((device.endpoint, device.unit) for device in config.devices if device.read_only)
        self.bus = Modbus(self.inbox.put, endpoints, read_only)
        host, _, port = broker.rpartition(":")
        session = self.gateway.session
        self.link = Link(
            f"{config.site_id}-{config.id}",
            host or "127.0.0.1",
            int(port),
            will=lambda: session.will(clock.now()),
            subscriptions=session.subscriptions(),
            inbox=self.inbox,
            keepalive=KEEPALIVE_S,
        )

    def run(self, stopping: threading.Event) -> None:
        self.link.start()
        log.info("event=started gateway=%s unsent=%d", self.gateway.config.id, len(self.gateway.outbox))
        try:
            while not stopping.is_set():
                wait_s = min(self.clock.real_seconds_until(self.gateway.next_deadline()), _WAKE_S)
                self.turn(self.inbox.get(wait_s))
        finally:
            self.link.stop(self.gateway.session.death(self.clock.now()))
            self.bus.stop()
            self.disk.close()
            log.info("event=stopped gateway=%s unsent=%d", self.gateway.config.id, len(self.gateway.outbox))

    def turn(self, events: Iterable[Event]) -> None:
        """Steps the core through a batch, commits, and only then sends."""
        now = self.clock.now()
        self.gateway.clock_quality = self.clock.quality()
        effects: list[Effect] = []
        for event in events:
            effects += step(self.gateway, event, now)[1]
            if isinstance(event, LinkUp):
                self.disk.write(meta=[("bd_seq", (self.gateway.session.bd_seq + 1) & 0xFF)])
        if now >= self.gateway.next_deadline():
            effects += step(self.gateway, Tick(), now)[1]
        while effects:
            stored = self.persist(effects)
            self.emit(effects)
            effects = step(self.gateway, RecordsStored(stored), now)[1] if stored else []

    def persist(self, effects: Iterable[Effect]) -> tuple[IntervalRecord, ...]:
        """Puts everything that must last on disk in one transaction; returns the records that are now safe."""
        records: list[IntervalRecord] = []
        marks: list[MeterMark] = []
        acks: list[Ack] = []
        meta: list[tuple[str, int]] = []
        for effect in effects:
            match effect:
                case StoreRecords():
                    records += effect.records
                    marks += effect.marks
                case ForgetRecords():
                    acks += effect.acks
                case StoreEpoch():
                    meta.append(("hub_epoch", effect.epoch))
                case _:
                    pass
        if records or marks or acks or meta:
            self.disk.write(records, marks, acks, meta)
        return tuple(records)

    def emit(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case BusRead() | BusWrite():
                    self.bus.submit(effect)
                case Send():
                    self.link.publish(effect.message)
                case Log():
                    level = logging.INFO if effect.code in _QUIET else logging.WARNING
                    log.log(level, "event=%s %s", effect.code, effect.text)
                case _:
                    pass
