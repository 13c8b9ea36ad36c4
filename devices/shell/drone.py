"""The drone process: radio, pilot and broker. One per aircraft, so that none of them shares a fault."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import Any

from devices.clock import Instant
from devices.events import Incoming, LinkDown, LinkUp
from devices.mavlink_codec import Frame
from devices.mavlink_pilot import Pilot
from devices.shell.broker_login import Logins, nobody
from devices.shell.doorbell import Doorbell
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.shell.notify import Heartbeat
from devices.shell.radio import Radio
from devices.shell.run_clock import Clock

log = logging.getLogger("atoll.drone")

KEEPALIVE_S = 15
WAKE_S = 0.5


class DroneShell:
    """The imperative side of one pilot."""

    def __init__(
        self,
        pilot: Pilot,
        endpoint: str,
        broker: str | None,
        clock: Clock,
        bell: Path | None = None,
        logins: Logins = nobody,
    ) -> None:
        """Binds the radio; `broker` is host:port, None only to look at the aircraft; at `bell` its gateway stops it.

        Raises:
            BadEndpoint: the endpoint names no wire.
            OSError: its UDP port is taken.
        """
        self.pilot, self.clock = pilot, clock
        self.heart = Heartbeat()
        self.inbox: Inbox[Any] = Inbox()
        self.radio = Radio(endpoint, self.inbox)
        self.bell = None if bell is None else Doorbell(bell, self.inbox)
        self.link = None if broker is None else self._link(broker, logins)

    def _link(self, broker: str, logins: Logins) -> Link:
        session, address = self.pilot.vehicle, self.pilot.vehicle.address
        host, _, port = broker.rpartition(":")
        return Link(
            f"{address.manufacturer}-{address.serial}",
            host or "127.0.0.1",
            int(port),
            will=lambda: session.will(self.clock.now()),
            subscriptions=session.subscriptions(),
            inbox=self.inbox,
            keepalive=KEEPALIVE_S,
            logins=logins,
        )

    def run(self, stopping: threading.Event) -> None:
        """Flies until `stopping`; an aircraft in the air then goes on by its own mission and fail-safes."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda _number, _frame: stopping.set())
        self.radio.start()
        if self.bell is not None:
            self.bell.start()
        if self.link is not None:
            self.link.start()
        log.info("event=started drone=%s", self.pilot.vehicle.address.serial)
        phase, paused = self.pilot.craft.phase, False
        try:
            while not stopping.is_set():
                now = self.clock.now()
                wait_s = min(self.clock.real_seconds_until(self.pilot.next_deadline(now)), WAKE_S)
                self.turn(self.inbox.get(wait_s))
                self.heart.cycle()
                if self.pilot.craft.phase is not phase:
                    phase = self.pilot.craft.phase
                    log.info("event=phase drone=%s phase=%s", self.pilot.vehicle.address.serial, phase)
                if self.pilot.vehicle.paused is not paused:
                    paused = self.pilot.vehicle.paused
                    log.info("event=%s drone=%s", "paused" if paused else "goes-on", self.pilot.vehicle.address.serial)
        finally:
            self.heart.stopping()
            self.radio.stop()
            if self.bell is not None:
                self.bell.stop()
            if self.link is not None:
                self.link.stop(self.pilot.vehicle.offline(self.clock.now()))
            log.info("event=stopped drone=%s", self.pilot.vehicle.address.serial)

    def turn(self, events: list[Frame | Incoming | LinkUp | LinkDown]) -> None:
        """Steps the pilot through a batch and sends what it says."""
        now: Instant = self.clock.now()
        self.pilot.frames([event for event in events if isinstance(event, Frame)], now)
        for event in events:
            match event:
                case Incoming(topic, payload):
                    self.pilot.message(topic, payload, now)
                case LinkUp():
                    self.pilot.connected(now)
                case LinkDown(reason):
                    log.warning("event=broker-gone reason=%s", reason)
                case _:
                    pass
        self.pilot.due(now)
        frames, messages = self.pilot.take()
        self.radio.send(frames)
        if self.link is not None:
            for message in messages:
                self.link.publish(message)
