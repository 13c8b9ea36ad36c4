"""The hub process: one inbox, one loop; step, make durable, then send.

Threads put events in (MQTT, planner, people); only this loop touches the core, the books and the telemetry writer.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from controller import hub as core
from controller.commands import Command, CommandResult
from controller.present import Surroundings, now_view
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.broker import BrokerChild
from controller.shell.planner import Planner
from controller.shell.weather_drop import WeatherDrop
from controller.site import Site
from controller.store.belief_file import BeliefWriter
from controller.store.telemetry import TelemetryWriter
from controller.views import NowView
from devices.clock import MINUTE_MS, SLOT_MS, Instant, next_boundary
from devices.events import Tick
from devices.model import Message
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.shell.notify import Heartbeat
from devices.shell.run_clock import Clock
from optimizer.answer import Answer
from optimizer.deliveries import DeliveriesProblem
from optimizer.problem import Problem, Stop

log = logging.getLogger("hub")

FLUSH_S = 10.0
WEATHER_S = 30.0
SETTLE_AFTER_MS = 2 * MINUTE_MS
IDLE_S = 0.2
LINGER_S = 0.005
"""Under load this gathers a batch: fewer commits and wake-ups for a delay that nobody sees."""
PLAN_SECONDS = 20.0
COMMAND_WAIT_S = 3.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything the loop writes to."""

    link: Link
    books: Bookkeeper
    telemetry: TelemetryWriter
    planner: Planner
    broker: BrokerChild | None
    beliefs: BeliefWriter
    weather: WeatherDrop | None = None


class LiveHub:
    """The hub's loop and what other threads may ask of it: the last view, a command, news."""

    def __init__(self, site: Site, hub: core.Hub, clock: Clock, inbox: Inbox[core.Event], ports: Ports) -> None:
        self.site = site
        self.hub = hub
        self._clock = clock
        self._inbox = inbox
        self._ports = ports
        self._waiting: dict[str, list[Future[CommandResult]]] = {}
        self._lock = threading.Lock()  # of `_waiting`: the same command may come twice while it is answered
        self._news = threading.Condition()
        self._stopping = threading.Event()
        self._flush_at = time.monotonic() + FLUSH_S
        self._settle_at = Instant(next_boundary(clock.now(), SLOT_MS) + SETTLE_AFTER_MS)
        self._weather_at = time.monotonic()
        self._shown_version = -1
        self._heart = Heartbeat()
        self._counted = hub.cycles
        self._view = self._look(clock.now())

    # -- for other threads -----------------------------------------------------------------------------------------

    def view(self) -> NowView:
        """Returns the view of the last cycle."""
        return self._view

    def changed(self, version: int, timeout_s: float) -> int:
        """Waits for a view newer than `version`; returns the version then."""
        with self._news:
            self._news.wait_for(lambda: self._stopping.is_set() or self._version() > version, timeout_s)
            return self._version()

    def command(self, command: Command) -> CommandResult:
        """Hands a command to the loop and returns its answer."""
        answer: Future[CommandResult] = Future()
        with self._lock:
            self._waiting.setdefault(command.id, []).append(answer)
        self._inbox.force(core.Commanded(command))
        try:
            return answer.result(COMMAND_WAIT_S)
        except TimeoutError:
            return CommandResult(
                command.id, False, "no-answer", "the hub is busy: look whether it happened, then try again"
            )

    def stop(self) -> None:
        """Ends the loop within a fifth of a second. Safe in a signal handler: it takes no lock of ours."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Returns whether the hub is on its way out."""
        return self._stopping.is_set()

    def _version(self) -> int:
        return self._view.version

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Runs until `stop`. A broken invariant raises: the process ends and its supervisor starts a new one."""
        while not self._stopping.is_set():
            wait_s = min(IDLE_S, max(0.0, self._clock.real_seconds_until(self.hub.next_deadline())))
            self.batch(self._inbox.get(wait_s, linger_s=LINGER_S))
        self._heart.stopping()
        with self._news:
            self._news.notify_all()

    def batch(self, events: Sequence[core.Event]) -> None:
        """Steps the events of one batch, commits what must be durable, and only then sends."""
        now = self._clock.now()
        effects: list[core.Effect] = []
        for event in events:
            self.hub, more = core.step(self.hub, event, now)
            effects += more
        if now >= self.hub.next_deadline():
            self.hub, more = core.step(self.hub, Tick(), now)
            effects += more
        self._carry_out(effects, now)
        self._house(now)
        if self.hub.version != self._shown_version:
            self._show(now)
        if self.hub.cycles != self._counted:  # stepped, committed and sent: only this feeds the watchdog
            self._counted = self.hub.cycles
            self._heart.cycle("safe mode: telemetry and console only" if self.hub.config.safe else "")

    def _carry_out(self, effects: Sequence[core.Effect], now: Instant) -> None:
        later: list[core.Effect] = []
        dirty = False
        telemetry, books = self._ports.telemetry, self._ports.books
        for effect in effects:
            match effect:
                case core.Store(readings=readings):
                    telemetry.add(readings)
                case core.Accept() | core.PinKey() | core.AcceptDay():
                    books.take(effect, now)
                    dirty = True
                case core.Audit(kind=kind, id=name, body=body):
                    books.append(kind, name, dict(body), now)
                    dirty = True
                case core.Bookkeep(command=command):
                    later.append(core.Reply(books.money(command, now)))
                    dirty = True
                case _:
                    later.append(effect)
        if dirty:
            self._commit(now)
        self._hand_out(later, now)

    def _hand_out(self, effects: Sequence[core.Effect], now: Instant) -> None:
        """Does what may follow once everything durable of the batch is committed."""
        for effect in effects:
            match effect:
                case core.Publish(message=message):
                    self._publish(message)
                case core.AskPlan(request=request, problem=problem, warm=warm):
                    self._ask(request, problem, warm=warm)
                case core.Keep(item=item):
                    self._ports.beliefs.keep(item, now)
                case core.Reply(result=result):
                    with self._lock:
                        answers = self._waiting.pop(result.id, [])
                    for answer in answers:
                        answer.set_result(result)
                case _:
                    raise AssertionError(effect)

    def _publish(self, message: Message) -> None:
        self._ports.link.publish(message)

    def _ask(self, request: int, problem: Problem | DeliveriesProblem, *, warm: bool) -> None:
        def done(answer: Answer) -> None:
            self._inbox.force(core.PlanAnswered(request, answer))

        self._ports.planner.submit(problem, Stop(seconds=PLAN_SECONDS), 0, done, warm=warm)

    def _commit(self, now: Instant) -> None:
        booked, acks = self._ports.books.commit(now)
        self.hub, _ = core.step(self.hub, booked, now)
        for node, payload in acks.items():
            self._publish(self.hub.host.ack(node, payload, now))
        for node, payload in self._ports.books.day_acks().items():
            self._publish(self.hub.host.ack_days(node, payload, now))

    def _house(self, now: Instant) -> None:
        """What is due now and then: telemetry to disk, settlement, the broker's health."""
        if now >= self._settle_at:
            self._settle_at = Instant(next_boundary(now, SLOT_MS) + SETTLE_AFTER_MS)
            self._ports.books.settle(now)
            self._commit(now)
        if time.monotonic() >= self._flush_at:
            self._flush_at = time.monotonic() + FLUSH_S
            self._ports.telemetry.flush(now)
        if self._ports.broker is not None:
            self._ports.broker.poll()
        if self._ports.weather is not None and time.monotonic() >= self._weather_at:
            self._weather_at = time.monotonic() + WEATHER_S
            told = self._ports.weather.look()
            if told is not None:
                self.hub, effects = core.step(self.hub, told, now)
                self._hand_out(effects, now)

    def _show(self, now: Instant) -> None:
        view = self._look(now)
        with self._news:
            self._view = view
            self._news.notify_all()

    def _look(self, now: Instant) -> NowView:
        broker = "" if self._ports.broker is None else self._ports.broker.describe()
        dropped = (("inbox_dropped", self._inbox.dropped),)
        view = now_view(self.hub, now, Surroundings(self._clock.speed, self._clock.quality(), broker, dropped))
        self._shown_version = view.version
        return view


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Makes SIGTERM and SIGINT end the process cleanly."""

    def handle(number: int, _frame: object) -> None:
        log.info("event=stop signal=%s", signal.Signals(number).name)
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
