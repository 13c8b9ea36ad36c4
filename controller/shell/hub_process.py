"""Puts one hub together: lock, books, telemetry, planner, broker, MQTT link, control socket, console; then runs it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import socket
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from controller import hub as core
from controller.beliefs import UnreadPlan
from controller.broker_access import HUB
from controller.commands import (
    AcknowledgeAlarm,
    Actor,
    Command,
    HoldDevice,
    MoneyRequest,
    OperateDevice,
    ReleaseDevice,
    Role,
    command_id,
)
from controller.cycle import Hold
from controller.deliveries import KNOWN_DAYS
from controller.forecast_view import forecast_document
from controller.gate import DAYS as GATE_DAYS
from controller.history import KEEP_DAYS
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.books import Books
from controller.shell.broker import NoFreePort, free_port, own_broker
from controller.shell.broker_access import prepare_access
from controller.shell.children import wait_until
from controller.shell.control import SOCKET_NAME, ControlSocket
from controller.shell.data_dir import CONSOLE, LEDGER, OPERATOR_CODE, next_epoch
from controller.shell.gateway_setup import live_periods
from controller.shell.hub import LiveHub, Ports, stop_on_signals
from controller.shell.planner import Planner
from controller.shell.simulation import books_rules
from controller.shell.start_budget import SAFE_S
from controller.shell.storm_requests import standing_storm, storm_command
from controller.shell.tile_shelf import TILES
from controller.shell.weather_drop import WeatherDrop
from controller.shell.witness_watch import Witnessing, WitnessWatch, lift_where_nobody_is_asked
from controller.shell.witnesses import WitnessAddress
from controller.site import Site
from controller.store.belief_file import BeliefReader, BeliefWriter
from controller.store.telemetry import TelemetryWriter
from controller.storm_view import storm_document, storm_view
from devices.clock import DAY_MS, Instant, iso, parse_iso
from devices.model import DeviceId, PointId
from devices.shell.broker_login import FOLDER as LOGINS
from devices.shell.broker_login import login_of
from devices.shell.data_lock import DataLock
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.shell.read_only import only_look
from devices.shell.run_clock import FLOOR_REAL_MS, Clock
from optimizer.codec import encode

if TYPE_CHECKING:
    from uvicorn import Server

log = logging.getLogger("hub")

PORT_FREE_S = 3.0
MIRROR_REAL_MS = 5_000
"""A changed value is told on its readable topic at most so often."""
REMEMBERED = 1_000
"""Entries of a kind that a restarted hub reads back; other kinds, however many, hide none of them."""
ENTRIES_PER_RUN = 5
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
    advisory: bool = False  # look and plan in shadow only
    safe: bool = False  # after too many starts: look only, plan nothing, end after a while to try again


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


class _Process:
    """Everything that one hub process owns, opened in order and closed in reverse."""

    def __init__(self, site: Site, options: HubOptions, clock: Clock) -> None:
        self.site, self.options, self.clock = site, options, clock
        self.witnesses = watch(site, options.data_dir / LEDGER)  # first: an old copy of a ledger does nothing at all
        self.door = console_door(options.listen, options.console_port)
        host, _, port = options.broker.rpartition(":")
        self.broker = own_broker(site, int(port), options.data_dir, host) if options.own_broker else None
        if self.broker is not None:
            self.broker.start()
        elif (options.data_dir / LOGINS).exists():
            prepare_access(site, options.data_dir)  # for a broker that reads them by itself
        self.books = Books.open(options.data_dir / LEDGER, books_rules(site))
        self.books.commit(clock.now())
        self.telemetry = TelemetryWriter(options.data_dir)
        self.beliefs = BeliefWriter(options.data_dir)
        self.planner = Planner()
        self.inbox: Inbox[core.Event] = Inbox()
        self.hub = self._start_core()
        self.link = Link(
            f"{site.id}-{'adviser' if options.advisory else 'hub'}",  # the same name would throw the live hub out
            host or "127.0.0.1",
            int(port) if self.broker is None else self.broker.port,
            will=lambda: self.hub.host.will(clock.now()),
            subscriptions=[*self.hub.host.subscriptions(), *self.hub.board.subscriptions()],
            inbox=self.inbox,
            may_send=only_look(site.id, self.hub.config.host_id) if options.advisory else None,
            logins=login_of(options.data_dir, HUB),
        )
        keeper = Bookkeeper(self.books, self.witnesses, self.books.tiles(options.data_dir / TILES).advance)
        named = site.energy.weather
        drop = WeatherDrop(options.data_dir / named, simulated=options.simulated) if named else None
        ports = Ports(self.link, keeper, self.telemetry, self.planner, self.broker, self.beliefs, drop)
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
            advisory=self.options.advisory,
            safe=self.options.safe,
            plans=not self.options.safe,
            mirror_ms=round(MIRROR_REAL_MS * speed),
            erased=tuple(PointId(point) for point in self.books.reader().erased_points()),
        )
        days = (Instant(now - back * DAY_MS) for back in range(KEEP_DAYS, 0, -1))
        past = (one for day in days for one in self.books.records(day, Instant(day + DAY_MS)))
        hub = core.start(
            config, now, past, standing_holds(self.books, now), known_runs(self.books, len(self.site.deliveries))
        )
        remember_plans(hub, BeliefReader(self.options.data_dir), now)
        hub.emergency.storm = standing_storm(self.books.reader(), now)
        booked = core.Booked(self.books.size, self.books.root(), charters=self.books.charters())
        return core.step(hub, booked, now)[0]

    def run(self) -> None:
        """Opens the doors, runs the loop in this thread, closes everything."""
        stop_on_signals(self.live.stop)
        try:
            if self.witnesses is not None:
                self.witnesses.start()
            self.link.start()
            self.control.start()
            self._serve_console()
            if self.options.safe:
                again = threading.Timer(SAFE_S, self.live.stop)
                again.daemon = True
                again.start()
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
        tiles = self.options.data_dir / TILES
        config = ConsoleConfig(sessions=sessions, hosts=frozenset(hosts), open_viewing=local, tiles=tiles)
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
        if self.witnesses is not None:
            self.witnesses.stop()
        self.link.stop(self.hub.host.will(self.clock.now()))
        self.planner.close()
        now = self.clock.now()
        self.telemetry.close(now)
        self.beliefs.close()
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
        if ask == "health":
            return health_document(self.live.hub)
        if ask == "plan":
            return plan_document(self.live.hub, self.clock.now())
        if ask == "forecast":
            return forecast_document(self.live.hub, self.clock.now())
        if ask == "storm":
            return storm_document(storm_view(self.live.hub, self.clock.now()))
        actor = Actor(str(request.get("user", "operator"))[:40], Role.OPERATOR, "cli")
        command = self._command(ask, request, actor)
        if isinstance(command, str):
            return {"error": command}
        return asdict(self.live.command(command))

    def _command(self, ask: object, request: Mapping[str, object], actor: Actor) -> Command | str:
        now = self.clock.now()
        name = command_id(now, secrets.randbits(74))
        storm = storm_command(request, name, actor, self.site.timezone, now)
        if storm is not None:
            return storm
        match ask, request:
            case (
                "hold",
                {"device": str() as device, "value": int() | float() as value, "for_ms": int() as lasting},
            ) if max(abs(value), abs(lasting)) < NUMBER_MAX:
                until, reason = Instant(now + lasting), str(request.get("reason", ""))
                return HoldDevice(name, actor, device, float(value), until, reason)
            case (
                "operate",
                {"device": str() as device, "value": int() | float() as value, "step": str() as step},
            ) if abs(value) < NUMBER_MAX:
                reason, selection = str(request.get("reason", "")), str(request.get("selection", ""))
                return OperateDevice(name, actor, device, float(value), step, reason, selection)
            case "release", {"device": str() as device}:
                return ReleaseDevice(name, actor, device, str(request.get("reason", "")))
            case "money", {"id": str() as own, "request": dict()}:
                return MoneyRequest(own, actor, cast("dict[str, object]", request["request"]))
            case "acknowledge", {"alarm": str() as alarm}:
                return AcknowledgeAlarm(name, actor, alarm, str(request.get("note", "")))
            case _:
                return f"no such request: {ask!r}"


def watch(site: Site, ledger: Path) -> WitnessWatch | None:
    """Returns who shows checkpoints to the site's witnesses, all of whom have been asked once.

    Raises:
        WouldFork: one has seen another log under our name: the ledger is an old copy.
    """
    if not site.ledger.witnesses:
        lift_where_nobody_is_asked(ledger)
        return None
    addresses = tuple(WitnessAddress(url, keys) for url, keys in site.ledger.witnesses.items())
    found = WitnessWatch(ledger, Witnessing(addresses, site.ledger.policy(), site.ledger.alarm_after_min * 60.0))
    if ledger.exists():
        found.ask()
    return found


def remember_plans(hub: core.Hub, beliefs: BeliefReader, now: Instant) -> None:
    """Gives a restarted hub its last good plan, while that has not expired, and the days that speak for or against.

    The days also say who has forecast best. The work list tells what yards, stores and machines have seen since they
    were counted; the weather told so far is what the regression learns from.
    """
    planning = hub.planning
    work = beliefs.work(now)
    if work is not None:
        hub.work.items = {item.key: item for item in work.items}
    if hub.config.site.energy.weather:
        hub.weather.recall(beliefs.weather(now), now)
    hub.scores.judge(beliefs.member_scores())
    for day in reversed(beliefs.days(GATE_DAYS)):
        planning.gate.take(day)
    kept = beliefs.plan(now)
    if kept is None or hub.config.advisory:
        return
    if isinstance(kept, UnreadPlan):
        planning.status = f"no plan yet: {kept.words()}; a new one is being made"
        log.warning("event=plan-unread made_at=%s why=%s", iso(kept.made_at), kept.why)
        return
    planning.plan, planning.made_at, planning.used = kept.plan, kept.made_at, kept.used
    planning.cause, planning.note = kept.cause, kept.note
    if planning.valid(now) is None:
        planning.plan = planning.made_at = None
        planning.used = True
    else:
        planning.status = f"{kept.plan.status}, of {iso(kept.made_at)}, from before the restart"


def health_document(hub: core.Hub) -> Mapping[str, object]:
    """Returns what an upgrade judges a hub by."""
    return {
        "epoch": hub.config.epoch,
        "cycles": hub.cycles,
        "link": hub.link_up,
        "gateways": sorted(hub.gateways),
        "entries": hub.booked.entries,
        "safe": hub.config.safe,
    }


def plan_document(hub: core.Hub, now: Instant) -> Mapping[str, object]:
    """Returns the plan in force as the command line gets it."""
    planning = hub.planning
    plan = planning.plan
    return {
        "at": now,
        "made_at": planning.made_at,
        "status": planning.status,
        "used": planning.used and planning.current(now) is not None,
        "cause": planning.cause,
        "note": planning.note,
        "timezone": hub.config.site.timezone,
        "currency": hub.config.site.charter.currency,
        "plan": None if plan is None else json.loads(encode(plan)),
    }


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


def known_runs(books: Books, deliveries: int = 0) -> dict[str, str]:
    """Returns the newest state of the missions and deliveries that the log knows; of `deliveries` a day all."""
    reader, many = books.reader(), max(REMEMBERED, deliveries * ENTRIES_PER_RUN * KNOWN_DAYS)
    entries = [
        entry
        for kind, limit in (("mission", REMEMBERED), ("delivery", many))
        for entry in reversed(reader.of_kind(kind, limit))
    ]
    return {str(entry.body["run"]): str(entry.body["state"]) for entry in entries}


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
