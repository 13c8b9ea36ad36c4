"""The fleet on real wires: Modbus TCP, MQTT, the run's clock, a state file. The only module here with a real clock."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from pathlib import Path
from typing import Protocol

from devices.clock import Instant
from devices.events import Incoming, LinkUp
from devices.logins import device_login
from devices.model import DeviceSpec, Message
from devices.shell.broker_login import login_of
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.shell.run_clock import RunClock, RunFile, write_whole
from devices.simulated import Fleet
from firmware_sim.server import Servers
from firmware_sim.state import ForeignState

TICK_S = 0.02
"""How often vehicles move and messages are taken in."""
SAVE_S = 1.0
BIND_TRIES_S = 5.0
"""For so long a port that a killed predecessor still holds is tried again."""
INBOX_MAX = 1000

_log = logging.getLogger("atoll.fleet")


class Speaker(Protocol):
    """A vehicle as the wire needs it: it speaks MQTT itself."""

    @property
    def spec(self) -> DeviceSpec:
        """Returns the device of the site."""
        ...

    @property
    def client_id(self) -> str:
        """Returns its MQTT client id."""
        ...

    def will(self) -> Message:
        """Returns what the broker says when the connection breaks."""
        ...

    def subscriptions(self) -> list[tuple[str, int]]:
        """Returns its topics."""
        ...

    def link_up(self, now: Instant) -> None:
        """Queues what a vehicle says when its connection stands."""
        ...

    def take_messages(self) -> list[Message]:
        """Returns and forgets what it wants published."""
        ...

    def farewell(self, now: Instant) -> Message:
        """Returns its last message before it disconnects."""
        ...


class LiveFleet(Fleet, Protocol):
    """A fleet that can be served."""

    def endpoints(self) -> set[str]:
        """Returns the Modbus endpoints of the site."""
        ...

    def speakers(self) -> list[Speaker]:
        """Returns the vehicles."""
        ...


def serve(fleet: LiveFleet, run_json: str, broker: str, state_file: str) -> None:
    """Runs the fleet until SIGTERM or SIGINT, then saves it and ends within a second.

    Raises:
        FileNotFoundError, BadRunFile: there is no run to join.
        ForeignState: the state file is of another site.
        OSError: an endpoint's port is taken.
    """
    clock, run = RunClock.join(Path(run_json))
    state = Path(state_file)
    if state.exists():
        try:
            fleet.load(state.read_text(encoding="utf-8"))
        except ForeignState as error:
            raise ForeignState(f"{error}: {state.resolve()}") from error
    asyncio.run(_Live(fleet, clock, state, Path(run_json).parent).run(run, broker or run.broker))


class _Live:
    """One run of the server."""

    def __init__(self, fleet: LiveFleet, clock: RunClock, state: Path, folder: Path) -> None:
        self._fleet = fleet
        self._clock = clock
        self._state = state
        self._folder = folder  # the run's data directory, where the logins are
        self._stop = asyncio.Event()
        self._radios: list[tuple[Speaker, Link, Inbox[object]]] = []

    async def run(self, run: RunFile, broker: str) -> None:
        """Serves until told to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        servers = Servers()
        await self._listen(servers, run)
        self._connect(broker)
        saved_at = time.monotonic()
        try:
            while not self._stop.is_set():
                self._tick()
                if time.monotonic() - saved_at >= SAVE_S:
                    saved_at = time.monotonic()
                    self._save()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), TICK_S)
        finally:
            servers.close()
            self._end()

    async def _listen(self, servers: Servers, run: RunFile) -> None:
        until = time.monotonic() + BIND_TRIES_S
        while True:
            try:
                await servers.listen(self._fleet, self._fleet.endpoints(), run.endpoints, self._clock.now)
            except OSError:
                servers.close()
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.1)
            else:
                _log.info("fleet_listens addresses=%s", ",".join(servers.addresses()))
                return

    def _connect(self, broker: str) -> None:
        host, _, port = broker.rpartition(":")
        for speaker in self._fleet.speakers():
            inbox: Inbox[object] = Inbox(INBOX_MAX)
            link = Link(
                speaker.client_id,
                host or "127.0.0.1",
                int(port),
                will=speaker.will,
                subscriptions=speaker.subscriptions(),
                inbox=inbox,
                logins=login_of(self._folder, device_login(speaker.spec.id)),
            )
            self._radios.append((speaker, link, inbox))
            link.start()

    def _tick(self) -> None:
        """Takes in what came, moves the fleet to now, sends what it has to say."""
        now = self._clock.now()
        self._fleet.advance(now)
        for speaker, link, inbox in self._radios:
            for event in inbox.get(0):
                if isinstance(event, LinkUp):
                    speaker.link_up(now)
                elif isinstance(event, Incoming):
                    self._fleet.receive(Message(event.topic, event.payload))
            for message in speaker.take_messages():
                link.publish(message)

    def _save(self) -> None:
        try:
            write_whole(self._state, self._fleet.save())
        except OSError as error:
            _log.warning("fleet_state_not_saved file=%s error=%s", self._state, error)

    def _end(self) -> None:
        now = self._clock.now()
        self._fleet.advance(now)
        self._save()
        for speaker, link, _ in self._radios:
            link.stop(speaker.farewell(now), timeout_s=0.3)
