"""Daily jobs as VDA 5050 orders: when each is due, who does it, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from itertools import pairwise

from controller.civil import clock_text, local_instant, local_time
from controller.image import Snapshot
from controller.site import DailyJob, Place, Site
from controller.storm import HOME_MS
from controller.zone_orders import for_vehicle
from devices.clock import MINUTE_MS, Instant
from devices.model import DeviceId, DeviceKind, DeviceSpec, Message, Quality, Readings
from devices.vda5050 import (
    Action,
    ActionParameter,
    BlockingType,
    Edge,
    Kind,
    MasterEvent,
    MasterSession,
    Node,
    NodePosition,
    OperatingMode,
    Order,
    State,
    master,
)
from optimizer.plan import Plan
from optimizer.problem import AssetId

VEHICLE_KINDS = (DeviceKind.ROBOT, DeviceKind.DRONE)
MAP = "site"
POINTS = ("soc", "state", "x", "y")
LATE_MS = 60 * MINUTE_MS
"""A run that is not done this long after its window and duration has failed."""
KEEP_DAYS_MS = 3 * 86_400_000
ACTIONS = {"irrigation": "irrigate", "parcel": "dropParcel"}


class RunState(StrEnum):
    """Where one day's run of a job stands."""

    WAITING = "waiting"
    SENT = "sent"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    MISSED = "missed"
    SPARED = "spared"  # its field's soil holds enough water


class VehicleCode(StrEnum):
    """What a vehicle is doing, in the hub's words."""

    IDLE = "idle"
    DRIVING = "driving"
    WORKING = "working"
    CHARGING = "charging"
    ERROR = "error"


CODES = tuple(VehicleCode)
"""The point `state` of a vehicle is the index in this tuple."""


@dataclass(slots=True)
class Run:
    """One job on one local day."""

    key: str
    job: DailyJob
    opens: Instant
    closes: Instant
    state: RunState = RunState.WAITING
    planned: Instant | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class MissionNote:
    """A change for the ledger's log."""

    run: str
    state: str
    device: str
    text: str


def run_key(site: Site, job: DailyJob, opens: Instant) -> str:
    """Returns the id of the run of a job whose window opens then."""
    return day_key(job, local_time(site.timezone, opens))


def day_key(job: DailyJob, day: date) -> str:
    """Returns the id of one local day's run of a job: `irrigation.20260603`."""
    return f"{job.id}.{day:%Y%m%d}"


class Board:
    """The daily jobs of one site and the vehicles that do them."""

    def __init__(self, site: Site, floor_ms: int = 0, known: Mapping[str, str] | None = None) -> None:
        """`known` holds (run key -> state) from the log: what is over is not sent again, what runs is followed on."""
        self._site = site
        self._runs: dict[str, Run] = {}
        self._known = dict(known or {})
        self._first: Instant | None = None
        self._addresses = {spec.id: site.sky.address(spec.id) for spec in site.devices if spec.kind in VEHICLE_KINDS}
        answer_ms, silence_ms = max(5_000, 6 * floor_ms), max(65_000, 6 * floor_ms)
        self.sessions = {
            device: MasterSession(address, answer_ms, silence_ms) for device, address in self._addresses.items()
        }
        self._by_prefix = {
            address.topic(Kind.STATE).removesuffix(Kind.STATE): device for device, address in self._addresses.items()
        }
        self._prefixes = tuple(self._by_prefix)
        self.others: dict[str, tuple[RunState, str]] = {}  # orders of somebody else: state and why, for them to take
        self.closed: tuple[Instant, Instant] | None = None  # a storm: nobody is out then
        self.litres: Mapping[str, float] = {}  # of runs that water a field, by key; 0: it needs none that day
        self._notes: list[MissionNote] = []
        self._messages: list[Message] = []

    def subscriptions(self) -> list[tuple[str, int]]:
        """Returns (topic, QoS) of every vehicle's reports."""
        return [topic for session in self.sessions.values() for topic in session.subscriptions()]

    # -- vehicles --------------------------------------------------------------------------------------------------

    def concerns(self, topic: str) -> bool:
        """Returns whether a topic is one of a vehicle's."""
        return topic.startswith(self._prefixes)

    def receive(self, topic: str, payload: bytes, now: Instant) -> list[Readings]:
        """Returns the readings that a vehicle's message brings; malformed ones are counted in its session."""
        device = next((found for prefix, found in self._by_prefix.items() if topic.startswith(prefix)), None)
        if device is None:
            return []
        events = self.sessions[device].receive(topic, payload, now)
        self._follow(device, events)
        return [_readings(device, event.state, now) for event in events if isinstance(event, master.StateReceived)]

    def _follow(self, device: DeviceId, events: list[MasterEvent]) -> None:
        for event in events:
            match event:
                case master.Publish(message=message):
                    self._messages.append(message)
                case master.OrderStarted(order_id=order):
                    self._change(order, RunState.RUNNING, "")
                case master.OrderDone(order_id=order):
                    self._change(order, RunState.DONE, "")
                case master.OrderFailed(order_id=order, reason=reason):
                    self._change(order, RunState.FAILED, reason)
                case master.OrderCancelled(order_id=order):
                    self._change(order, RunState.FAILED, "cancelled")
                case _:
                    pass

    def _change(self, key: str, state: RunState, why: str) -> None:
        run = self._runs.get(key)
        if run is None:
            self.others[key] = (state, why)
            return
        if run.state is state:
            return
        run.state, run.why = state, why
        text = f"{run.job.kind} at {run.job.place}: {state}" + (f" ({why})" if why else "")
        self._notes.append(MissionNote(run.key, state, run.job.device, text))

    # -- the day's runs --------------------------------------------------------------------------------------------

    def open_windows(self, job: DailyJob, now: Instant) -> list[tuple[Instant, Instant]]:
        """Returns (opens, closes) of today's and tomorrow's run while they still wait for their start."""
        today = local_time(self._site.timezone, now).date()
        found: list[tuple[Instant, Instant]] = []
        for offset in (0, 1):
            day = today + timedelta(days=offset)
            opens, closes = (local_instant(self._site.timezone, day, minute) for minute in job.window)
            run = self._run(job, opens, closes)
            if run.state is RunState.WAITING and closes - job.duration_ms >= now and self.water_l(run) is not None:
                found.append((opens, closes))
        return found

    def _run(self, job: DailyJob, opens: Instant, closes: Instant) -> Run:
        key = run_key(self._site, job, opens)
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = Run(key, job, opens, closes, RunState(self._known.get(key, RunState.WAITING)))
            if run.state in (RunState.SENT, RunState.RUNNING):
                self.sessions[job.device].adopt(self._order(run), self._until(run))
        return run

    def water_l(self, run: Run) -> float | None:
        """Returns what a run takes from the tank [L]; None where its field needs nothing that day."""
        litres = self.litres.get(run.key, run.job.water_l)
        return None if run.key in self.litres and litres == 0.0 else litres

    def done(self, key: str) -> bool:
        """Returns whether a run is known to have been done."""
        run = self._runs.get(key)
        return (RunState(self._known.get(key, RunState.WAITING)) if run is None else run.state) is RunState.DONE

    def _until(self, run: Run) -> Instant:
        """Returns when a run has failed if it is not done."""
        return Instant(run.closes + run.job.duration_ms + LATE_MS)

    def tick(self, plan: Plan | None, snapshot: Snapshot, now: Instant) -> tuple[list[Message], list[MissionNote]]:
        """Returns what to publish and what to note: orders whose start has come, resends, missed runs."""
        self._first = now if self._first is None else self._first
        for device, session in self.sessions.items():
            self._follow(device, session.due(now))
        for job in self._site.jobs:
            self.open_windows(job, now)
        for run in self._runs.values():
            if run.state is RunState.WAITING:
                self._maybe_start(run, plan, snapshot, now)
        self._runs = {key: run for key, run in self._runs.items() if now - run.closes < KEEP_DAYS_MS}
        messages, self._messages = self._messages, []
        notes, self._notes = self._notes, []
        return messages, notes

    def _maybe_start(self, run: Run, plan: Plan | None, snapshot: Snapshot, now: Instant) -> None:
        latest = Instant(run.closes - run.job.duration_ms)
        if self.water_l(run) is None:
            if now > latest:
                self._change(run.key, RunState.SPARED, "the soil holds enough water")
            return
        run.planned = _planned_start(plan, run) or run.planned
        start = latest if run.planned is None else min(run.planned, latest)
        if now < max(start, run.opens):
            return
        if not self._known and self._first is not None and latest < self._first:
            return  # over before this village first ran: nobody missed it
        if now > latest + LATE_MS:
            self._change(run.key, RunState.MISSED, run.why or "no vehicle was ready in time")
            return
        why = self.storm_bars(now, run.job.duration_ms) or self.not_ready(run.job.device, snapshot)
        if why:
            run.why = why
            return
        session, spec = self.sessions[run.job.device], self._site.device(run.job.device)
        assert spec is not None, "a session has a device"
        order = for_vehicle(self._site, self._order(run), spec)
        if isinstance(order, str):
            run.why = order
            return
        self._messages.append(session.send(order, now, self._until(run)))
        self._change(run.key, RunState.SENT, "")

    def _order(self, run: Run) -> Order:
        """Returns dock -> place -> dock with the job's action at the place."""
        job, place = run.job, self._site.place(run.job.place)
        dock = self._site.place("dock") or Place("dock", 0.0, 0.0)
        assert place is not None, "a checked site file names only places that exist"
        parameters = (
            ActionParameter("duration_ms", job.duration_ms),
            ActionParameter("water_l", self.water_l(run) or 0.0),
        )
        action = Action(ACTIONS[job.kind], f"{run.key}.do", BlockingType.HARD, parameters)
        nodes = tuple(
            Node(spot.id, 2 * index, True, (action,) if index == 1 else (), NodePosition(spot.x, spot.y, MAP))
            for index, spot in enumerate((dock, place, dock))
        )
        edges = tuple(
            Edge(f"{start.nodeId}-{end.nodeId}", start.sequenceId + 1, True, start.nodeId, end.nodeId, ())
            for start, end in pairwise(nodes)
        )
        return Order(run.key, 0, nodes, edges)

    # -- what people see -------------------------------------------------------------------------------------------

    def not_ready(self, device: str, snapshot: Snapshot) -> str:
        """Returns the first reason why a vehicle may not be sent now, or an empty text."""
        spec, session = self._site.device(device), self.sessions.get(DeviceId(device))
        if spec is None or session is None:
            return "unknown vehicle"
        state = session.state
        if state is None or not session.online:
            return "not reporting"
        charge = snapshot.value(device, "soc")
        if charge is None:
            return "charge unknown"
        if state.operatingMode is not OperatingMode.AUTOMATIC:
            return f"in {state.operatingMode.lower()} mode"
        if state.errors:
            why = state.errors[0].errorDescription
            return f"error {state.errors[0].errorType}" + (f": {why}" if why else "")
        if session.order is not None or state.nodeStates:
            return "on a mission"
        if charge < _needed_charge(spec):
            return f"charging ({charge:.0%}, needs {_needed_charge(spec):.0%})"
        return ""

    def storm_bars(self, now: Instant, lasting_ms: int) -> str:
        """Returns why nobody leaves now for so long, where a storm is declared, or an empty text."""
        if self.closed is None or now >= self.closed[1] or now + lasting_ms <= self.closed[0] - HOME_MS:
            return ""
        return "a storm is declared: nobody would be back in time"

    def ready_text(self, device: str, snapshot: Snapshot) -> str:
        """Returns `ready`, or the first reason why not."""
        return self.not_ready(device, snapshot) or "ready"

    def failed(self) -> Mapping[str, str]:
        """Returns the runs that ended badly, with why; a run of yesterday no longer counts."""
        bad = (RunState.FAILED, RunState.MISSED)
        newest: dict[str, Run] = {}
        for run in self._runs.values():
            if run.state is not RunState.WAITING:
                newest[run.job.id] = run
        return {run.key: run.why or run.state for run in newest.values() if run.state in bad}

    def runs(self) -> list[Run]:
        """Returns the runs of the last and next days, oldest first."""
        return sorted(self._runs.values(), key=lambda run: (run.opens, run.key))

    def waiting_text(self, run: Run) -> str:
        """Returns when a run starts, as far as the plan knows."""
        if run.planned is None:
            return "waits for the plan"
        return f"starts {clock_text(self._site.timezone, run.planned)}"


def _needed_charge(spec: DeviceSpec) -> float:
    """Returns the charge below which a vehicle stays: its reserve and a quarter more for the job."""
    return min(0.95, spec.ratings["soc_reserve"] + 0.25)


def _planned_start(plan: Plan | None, run: Run) -> Instant | None:
    if plan is None:
        return None
    steps = plan.units.get(AssetId(run.key))
    if steps is None:
        return None
    slot = next((index for index, step in enumerate(steps) if step.on), None)
    return None if slot is None else Instant(plan.start + slot * plan.slot_ms)


def _readings(device: DeviceId, state: State, now: Instant) -> Readings:
    """Returns a vehicle's state as columns; a position that is not initialised is BAD."""
    position = state.agvPosition if state.agvPosition is not None and state.agvPosition.positionInitialized else None
    values = (
        state.batteryState.batteryCharge / 100,
        float(CODES.index(_code(state))),
        None if position is None else position.x,
        None if position is None else position.y,
    )
    qualities = tuple(Quality.BAD if value is None else Quality.GOOD for value in values)
    return Readings(device, now, POINTS, values, qualities)


def _code(state: State) -> VehicleCode:
    if state.errors:
        return VehicleCode.ERROR
    if state.driving:
        return VehicleCode.DRIVING
    if any(entry.actionStatus in ("RUNNING", "INITIALIZING") for entry in state.actionStates):
        return VehicleCode.WORKING
    return VehicleCode.CHARGING if state.batteryState.charging else VehicleCode.IDLE
