"""Puts one hub together: lock, books, telemetry, planner, broker, MQTT link, control socket, console; then runs it."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from controller import hub as core
from controller.commands import AcknowledgeAlarm, Actor, Command, HoldDevice, ReleaseDevice, Role, command_id
from controller.cycle import Hold
from controller.plans import HISTORY_DAYS
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.books import Books
from controller.shell.broker import BrokerChild, NoFreePort, choose, free_port
from controller.shell.children import wait_until
from controller.shell.control import SOCKET_NAME, ControlSocket
from controller.shell.data_dir import CONSOLE, LEDGER, OPERATOR_CODE, next_epoch
from controller.shell.hub import LiveHub, Ports, stop_on_signals
from controller.shell.planner import Planner
from controller.shell.simulation import books_rules
from controller.site import Site
from controller.store.telemetry import TelemetryWriter
from devices.clock import DAY_MS, Instant, parse_iso
from devices.model import DeviceId
from devices.shell.data_lock import DataLock
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.shell.run_clock import FLOOR_REAL_MS, Clock

if TYPE_CHECKING:
    from uvicorn import Server

log = logging.getLogger("hub")

PORT_FREE_S = 3.0
LIVE_CYCLE_REAL_MS = 250
REMEMBERED = 1_000
"""Entries of a kind that a restarted hub reads back; other kinds, however many, hide none of them."""
NUMBER_MAX = 2**53


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Where one hub runs. `broker` is host:port; `own_broker` starts and watches one there."""

    data_dir: Path
    broker: str
    own_broker: bool
    listen: str
    console_port: int
    simulated: bool
    site_file: str = ""


def run_hub(site: Site, options: HubOptions, clock: Clock) -> None:
    """Runs a hub until SIGTERM or SIGINT.

    Raises:
        AlreadyRunning: another hub works on this data directory.
        BrokerPortTaken, ConsolePortTaken: somebody else listens there.
        BrokerFailed: the broker cannot be started.
    """
    lock = DataLock(options.data_dir, "hub")
    try:
        if options.own_broker:
            await_port(int(options.broker.rpartition(":")[2]))
        _Process(site, options, clock).run()
    finally:
        lock.close()


class BrokerPortTaken(OSError):
    """Somebody else listens where the gateways expect our broker."""


def await_port(port: int) -> None:
    """Waits for our last broker to end; the gateways know this port, so no other one will do.

    Raises:
        BrokerPortTaken: somebody else keeps it.
    """

    def free() -> bool:
        try:
            return free_port("127.0.0.1", port, tried=1) == port
        except NoFreePort:
            return False

    if not wait_until(free, PORT_FREE_S):
        raise BrokerPortTaken(f"port {port} for the broker is in use by another program")


class ConsolePortTaken(OSError):
    """Nobody can reach the console where it was asked to listen."""


def console_door(listen: str, port: int) -> socket.socket:
    """Returns the console's listening socket, opened before anything else so that a taken port stops the start.

    Raises:
        ConsolePortTaken: the port is in use, or `listen` is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    try:
        return socket.create_server((listen, port), family=family)
    except OSError as error:
        raise ConsolePortTaken(f"the console cannot listen on {listen}:{port}: {error.strerror or error}") from error


def live_periods(site: Site, speed: float) -> tuple[int, int]:
    """Returns (control cycle, poll period) in ms of the run: never below a quarter of a real second."""
    floor = round(LIVE_CYCLE_REAL_MS * speed)
    poll = max((gateway.poll_ms for gateway in site.gateways), default=1_000)
    return max(site.cycle_ms, floor), max(poll, floor)


class _Process:
    """Everything that one hub process owns, opened in order and closed in reverse."""

    def __init__(self, site: Site, options: HubOptions, clock: Clock) -> None:
        self.site, self.options, self.clock = site, options, clock
        self.door = console_door(options.listen, options.console_port)
        host, _, port = options.broker.rpartition(":")
        self.broker = BrokerChild(choose(None), int(port), options.data_dir, host) if options.own_broker else None
        if self.broker is not None:
            self.broker.start()
        self.books = Books.open(options.data_dir / LEDGER, books_rules(site))
        self.books.commit(clock.now())
        self.telemetry = TelemetryWriter(options.data_dir)
        self.planner = Planner()
        self.inbox: Inbox[core.Event] = Inbox()
        self.hub = self._start_core()
        self.link = Link(
            f"{site.id}-hub",
            host or "127.0.0.1",
            int(port) if self.broker is None else self.broker.port,
            will=lambda: self.hub.host.will(clock.now()),
            subscriptions=[*self.hub.host.subscriptions(), *self.hub.board.subscriptions()],
            inbox=self.inbox,
        )
        ports = Ports(self.link, Bookkeeper(self.books), self.telemetry, self.planner, self.broker)
        self.live = LiveHub(site, self.hub, clock, self.inbox, ports)
        self.control = ControlSocket(options.data_dir / SOCKET_NAME, self.answer)
        self.console: Server | None = None

    def _start_core(self) -> core.Hub:
        now, speed = self.clock.now(), self.clock.speed
        cycle_ms, period_ms = live_periods(self.site, speed)
        config = core.HubConfig(
            site=self.site,
            epoch=next_epoch(self.options.data_dir, now),
            cycle_ms=cycle_ms,
            period_ms=period_ms,
            floor_ms=round(FLOOR_REAL_MS * speed),
            replan_ms=self.site.replan_ms,
            simulated=self.options.simulated,
        )
        past = self.books.records(Instant(now - (HISTORY_DAYS + 1) * DAY_MS), now)
        hub = core.start(config, now, past, standing_holds(self.books, now), known_runs(self.books))
        hub.booked = core.Booked(self.books.size, self.books.root())
        return hub

    def run(self) -> None:
        """Opens the doors, runs the loop in this thread, closes everything."""
        stop_on_signals(self.live.stop)
        try:
            self.link.start()
            self.control.start()
            self._serve_console()
            self.live.run()
        finally:
            self._close()

    def _serve_console(self) -> None:
        """Runs the console in a thread with its own event loop; imported here so that a failure names itself."""
        import uvicorn

        from controller.console.app import make_app
        from controller.console.config import LOOPBACK, ConsoleConfig
        from controller.console.session_file import SessionFile
        from controller.shell.console_source import HubSource
        from controller.shell.places import own_names

        sessions = SessionFile(self.options.data_dir / CONSOLE)
        code = sessions.first_code()
        if code is not None:  # whoever owns the data directory may command anyway (hub.sock)
            write_private(self.options.data_dir / OPERATOR_CODE, code + "\n")
        local = self.options.listen in ("127.0.0.1", "localhost", "::1")
        hosts = LOOPBACK | {self.options.listen} if local else own_names(self.options.listen)
        config = ConsoleConfig(sessions=sessions, hosts=frozenset(hosts), open_viewing=local)
        app = make_app(HubSource(self.live, self.options.data_dir), config)
        server = self.console = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, access_log=False)
        )
        doors = [self.door]
        threading.Thread(target=lambda: asyncio.run(server.serve(doors)), name="console", daemon=True).start()

    def _close(self) -> None:
        if self.console is not None:
            self.console.should_exit = True
        self.control.stop()
        self.link.stop(self.hub.host.will(self.clock.now()))
        self.planner.close()
        now = self.clock.now()
        self.telemetry.close(now)
        try:
            self.books.close(now)
        finally:  # a full disk must not leave the broker behind
            if self.broker is not None:
                self.broker.stop()

    # -- hub.sock --------------------------------------------------------------------------------------------------

    def answer(self, request: Mapping[str, object]) -> Mapping[str, object]:
        """Answers one request of the command line; who may open the socket is an operator."""
        ask = request.get("ask")
        if ask == "status":
            return {**asdict(self.live.view()), "now": self.live.view().at}
        actor = Actor(str(request.get("user", "operator"))[:40], Role.OPERATOR, "cli")
        command = self._command(ask, request, actor)
        if isinstance(command, str):
            return {"error": command}
        return asdict(self.live.command(command))

    def _command(self, ask: object, request: Mapping[str, object], actor: Actor) -> Command | str:
        now = self.clock.now()
        name = command_id(now, secrets.randbits(74))
        match ask, request:
            case (
                "hold",
                {"device": str() as device, "value": int() | float() as value, "for_ms": int() as lasting},
            ) if max(abs(value), abs(lasting)) < NUMBER_MAX:
                until, reason = Instant(now + lasting), str(request.get("reason", ""))
                return HoldDevice(name, actor, device, float(value), until, reason)
            case "release", {"device": str() as device}:
                return ReleaseDevice(name, actor, device, str(request.get("reason", "")))
            case "acknowledge", {"alarm": str() as alarm}:
                return AcknowledgeAlarm(name, actor, alarm, str(request.get("note", "")))
            case _:
                return f"no such request: {ask!r}"


def standing_holds(books: Books, now: Instant) -> list[Hold]:
    """Returns the operator holds that outlive the restart, read back from the log."""
    reader = books.reader()
    holds: dict[str, Hold] = {}
    asked = sorted((*reader.of_kind("hold", REMEMBERED), *reader.of_kind("release", REMEMBERED)), key=lambda e: e.seq)
    for entry in asked:
        body = entry.body
        if body.get("result") != "ok":
            continue
        device = DeviceId(str(body["device"]))
        if entry.kind == "release":
            holds.pop(device, None)
        else:
            until = parse_iso(str(body["until"]))
            holds[device] = Hold(device, float(str(body["value"])), until, str(body["reason"]), str(body["by"]))
    return [hold for hold in holds.values() if hold.until > now]


def known_runs(books: Books) -> dict[str, str]:
    """Returns the newest state of the missions that the log knows."""
    entries = reversed(books.reader().of_kind("mission", REMEMBERED))
    return {str(entry.body["run"]): str(entry.body["state"]) for entry in entries}


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
