"""The delivery desk: what is to be brought today and tomorrow, the plan of rounds and flights, and what became of it.

A delivery's run of one day is `<id>.<YYYYMMDD>`. Rounds are planned anew when the runs that wait or the vehicles
change, when one is late, and every two hours. A trip is sent only if the vehicle's measured charge does it with its
reserve; what is done is read from the action states in the vehicle's own reports, so that a hub that starts anew
knows it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from controller.civil import clock_text, local_instant, local_time
from controller.delivery_problem import HORIZON_MS, LOADING_S, Waiting, build, usable
from controller.delivery_rules import trips_by_rule
from controller.delivery_trips import PlannedTrip, action_id, order, trips_of
from controller.image import Snapshot
from controller.missions import Board, RunState
from controller.site import Site
from controller.site_deliveries import Delivery
from controller.trip_windows import at_once, window
from controller.zone_orders import for_vehicle
from devices.clock import HOUR_MS, MINUTE_MS, Instant
from devices.model import DeviceId, DeviceKind, Message
from devices.vda5050_values import ActionStatus
from optimizer.answer import Answer, Cause, Failed, Refused, Routed
from optimizer.deliveries import DeliveriesProblem
from optimizer.problem import AssetId
from optimizer.trip_packs import Leaves

LATE_MS = 60 * MINUTE_MS
REPLAN_MS = 2 * HOUR_MS
RETRY_MS = 10 * MINUTE_MS
UNSENT_MS = 10 * MINUTE_MS
"""A trip that could not leave this long after its time makes a new plan."""
ATTEMPTS_MAX = 2
KEEP_MS = 2 * 24 * HOUR_MS
KNOWN_DAYS = 16
"""Until then the ends of past runs are remembered: a food store's count may be two weeks old."""
OPEN = (RunState.SENT, RunState.RUNNING)
OVER = (RunState.DONE, RunState.FAILED, RunState.MISSED)


@dataclass(slots=True)
class Run:
    """One delivery on one local day."""

    waiting: Waiting
    state: RunState = RunState.WAITING
    vehicle: str = ""
    planned: Instant | None = None
    why: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryNote:
    """A change for the ledger's log; settlement reads what was delivered to whom from it."""

    run: str
    state: str
    device: str
    delivery: Delivery
    text: str


@dataclass(slots=True)
class _Out:
    """A trip on its way, by its order's id."""

    trip: PlannedTrip
    until: Instant


class Desk:
    """The deliveries of one site."""

    def __init__(self, site: Site, known: Mapping[str, str] | None = None) -> None:
        """`known` holds (run -> state) from the log."""
        self.site = site
        self.runs: dict[str, Run] = {}
        self.trips: list[PlannedTrip] = []  # planned, not sent yet
        self.out: dict[str, _Out] = {}
        self.status = "" if site.deliveries else "no deliveries"
        self.made_at: Instant | None = None
        self.held: dict[tuple[str, str], Instant] = {}  # stops that wait for cheaper power, by run and part
        self.unplanned = False  # the last question brought no plan
        self.short: dict[str, str] = {}  # runs whose goods will not be there in time, and why
        self._known = dict(known or {})
        self._first: Instant | None = None
        self._today: date | None = None  # the day whose runs, and those of the next, are open
        self._asked: dict[str, Waiting] = {}
        self._pending: tuple[int, Instant] | None = None
        self._signature: tuple[object, ...] = ()
        self._fleet: tuple[str, ...] = ()
        self._hopeless: set[str] = set()  # runs that were left out when nothing was held
        self._next_at = Instant(0)
        self._number = 0
        self._notes: list[DeliveryNote] = []

    # -- planning --------------------------------------------------------------------------------------------------

    def ask(self, board: Board, snapshot: Snapshot, now: Instant) -> tuple[int, DeliveriesProblem] | None:
        """Returns (request, question) when a plan is due; requests count down from -1."""
        if not self.site.deliveries or self._pending is not None:
            return None
        waiting = self._waiting(now)
        fleet = [*usable(self.site, board, snapshot, DeviceKind.ROBOT)]
        fleet += usable(self.site, board, snapshot, DeviceKind.DRONE)
        signature = (tuple(one.key for one in waiting), tuple(spec.id for spec in fleet))
        late = any(now > trip.leave + UNSENT_MS for trip in self.trips)
        if signature == self._signature and now < self._next_at and not (late and now >= self._next_at - REPLAN_MS):
            return None
        if signature[1] != self._fleet:  # fewer vehicles may need every hour there is
            self._fleet = signature[1]
            self.held.clear()
        self._signature, self._next_at = signature, Instant(now + REPLAN_MS + RETRY_MS)
        busy = {out.trip.vehicle: max(out.trip.back, Instant(now + MINUTE_MS)) for out in self.out.values()}
        problem = build(self.site, board, snapshot, waiting, busy, self.held, now)
        if problem is None:
            self.trips = []
            self.status = "no vehicle reports" if waiting else "nothing waits"
            return None
        self._number -= 1
        self._pending = (self._number, now)
        self._asked = {one.key: one for one in waiting}
        return self._number, problem

    def _waiting(self, now: Instant) -> list[Waiting]:
        """Returns what is to be planned now; what would end after the plan does waits for the next one."""
        end = now + HORIZON_MS - HOUR_MS
        runs = (run for key, run in self.runs.items() if run.state is RunState.WAITING and key not in self.short)
        return [run.waiting for run in runs if run.waiting.closes <= end]

    def by_rule(self, board: Board, snapshot: Snapshot, now: Instant) -> None:
        """Gives vehicles without a trip the next delivery, most urgent first: what happens while nobody plans."""
        self.status = "without a plan: the most urgent first"
        planned = {run for trip in self.trips for run in trip.runs}
        waiting = [one for one in self._waiting(now) if one.key not in planned]
        taken = {trip.vehicle for trip in (*self.trips, *(out.trip for out in self.out.values()))}
        for trip in trips_by_rule(self.site, board, snapshot, waiting, taken, now):
            self.trips.append(trip)
            for stop in trip.stops:
                run = self.runs[stop.run]
                self._asked[stop.run] = run.waiting
                run.vehicle, run.planned, run.why = trip.vehicle, stop.begin, self.status

    def give_up(self, now: Instant, wait_ms: int) -> None:
        """Takes a question that was never answered for failed."""
        if self._pending is not None and now - self._pending[1] > wait_ms:
            self.answered(self._pending[0], Failed(Cause.TIMEOUT, "no answer came back"), now)

    def answered(self, request: int, answer: Answer, now: Instant) -> None:
        """Takes the planner's answer: a checked plan, or why the last one stays."""
        if self._pending is None or self._pending[0] != request:
            return
        self._pending = None
        self.unplanned = not isinstance(answer, Routed)
        if not isinstance(answer, Routed):
            cause = "; ".join(answer.infeasible.reasons[:3]) if isinstance(answer, Refused) else ""
            cause = f"{answer.cause}: {answer.message}" if isinstance(answer, Failed) else cause
            self.status, self._next_at = f"the last plan stays: {cause}", Instant(now + RETRY_MS)
            return
        self.made_at, self.status = now, "planned"
        still = {key for key, run in self.runs.items() if run.state is RunState.WAITING}
        trips = trips_of(self.site, answer.plan, self._asked, LOADING_S)
        self.trips = [trip for trip in trips if still.issuperset(trip.runs)]
        planned = {stop.run: (trip, stop) for trip in self.trips for stop in trip.stops}
        for key in still:
            run = self.runs[key]
            trip, stop = planned.get(key, (None, None))
            run.vehicle = "" if trip is None else trip.vehicle
            run.planned = None if stop is None else stop.begin
            if key in self._asked:
                run.why = "" if trip else "left out: no vehicle can be there in its window at less than its worth"
        left = {key for key in still if key in self._asked and key not in planned}
        if not self.held:
            self._hopeless = left
        elif not left <= self._hopeless:  # what waits for cheaper power must not cost a delivery
            self.held.clear()
            self._next_at = now

    def window(self, trip: PlannedTrip, board: Board, now: Instant) -> tuple[Instant, Instant]:
        """Returns when a trip's loading may begin (`controller.trip_windows`); one that has been sent has begun."""
        return window(trip, self._asked, board, now) if trip in self.trips else (trip.begin, trip.begin)

    def move(self, leaves: Leaves, board: Board, now: Instant) -> None:
        """Moves trips to when the energy plan lets them leave, by their ids; later plans keep their stops there.

        A time outside what a trip's windows now allow is not taken.
        """
        moved: list[PlannedTrip] = []
        for trip in self.trips:
            first, last = self.window(trip, board, now)
            begin = leaves.get(AssetId(trip.id), trip.begin)
            moved.append(trip.moved(begin) if first <= begin <= last else trip)
        if at_once(moved):
            return
        for was, trip in zip(self.trips, moved, strict=True):
            for stop in trip.stops if trip.begin != was.begin else ():
                self.held[stop.run, stop.part] = stop.begin
                self.runs[stop.run].planned = stop.begin
        self.trips = sorted(moved, key=lambda trip: (trip.leave, trip.vehicle))

    # -- the day ---------------------------------------------------------------------------------------------------

    def tick(self, board: Board, snapshot: Snapshot, now: Instant) -> tuple[list[Message], list[DeliveryNote]]:
        """Returns what to publish and what to note: trips whose time has come, runs that are done or missed."""
        if not self.site.deliveries:
            return [], []
        self._first = now if self._first is None else self._first
        self._open_days(now)
        self._follow(board)
        for key in list(self.out):
            self._end_of_order(board, key, now)
        for key, run in self.runs.items():
            run.why = self.short.get(key, run.why)
            if run.state is RunState.WAITING and now > run.waiting.closes:
                self._change(run, RunState.MISSED, run.why or "no vehicle could go in time")
        messages = [
            message for trip in list(self.trips) if (message := self._send(board, snapshot, trip, now)) is not None
        ]
        self._forget(now)
        notes, self._notes = self._notes, []
        return messages, notes

    def _forget(self, now: Instant) -> None:
        """Lets go of the runs of past days; of those that are over, the end stays known for some days."""
        past = {key: run for key, run in self.runs.items() if now - run.waiting.closes >= KEEP_MS}
        if not past:
            return
        self.runs = {key: run for key, run in self.runs.items() if key not in past}
        self.held = {stop: at for stop, at in self.held.items() if stop[0] in self.runs}
        oldest = f"{local_time(self.site.timezone, now).date() - timedelta(days=KNOWN_DAYS):%Y%m%d}"
        self._known |= {key: run.state.value for key, run in past.items()}
        self._known = {key: state for key, state in self._known.items() if key.rpartition(".")[2] >= oldest}

    def _open_days(self, now: Instant) -> None:
        zone = self.site.timezone
        today = local_time(zone, now).date()
        if today == self._today:
            return
        self._today = today
        for delivery in self.site.deliveries:
            for day in (today, today + timedelta(days=1)):
                key = f"{delivery.id}.{day:%Y%m%d}"
                if key in self.runs or day.weekday() not in delivery.days:
                    continue
                opens, closes = (local_instant(zone, day, minute) for minute in delivery.window)
                state = RunState(self._known.get(key, RunState.WAITING))
                if state is RunState.WAITING and closes < now and not self._known:
                    continue  # over before this village first ran: nobody missed it
                ready = local_instant(zone, day, delivery.ready)
                self.runs[key] = Run(Waiting(key, delivery, opens, closes, ready), state)

    def _follow(self, board: Board) -> None:
        """Reads what is done from the vehicles' action states."""
        states = {
            entry.actionId: (entry, device)
            for device, session in board.sessions.items()
            if session.state is not None
            for entry in session.state.actionStates
        }
        heard = all(session.state is not None for session in board.sessions.values())
        out = {run for one in self.out.values() for run in one.trip.runs}
        for key, run in self.runs.items():
            if run.state not in OPEN:
                continue
            entry, device = states.get(action_id(key, "serve"), (None, ""))
            if entry is None:
                if heard and key not in out:  # a hub that started anew, and no vehicle knows of it
                    run.state = RunState.WAITING
                continue
            run.vehicle = run.vehicle or device
            if entry.actionStatus is ActionStatus.FINISHED:
                self._change(run, RunState.DONE, "")
            elif entry.actionStatus is ActionStatus.FAILED:
                self._change(run, RunState.FAILED, entry.resultDescription or "the action failed")

    def _end_of_order(self, board: Board, key: str, now: Instant) -> None:
        state, why = board.others.get(key, (RunState.SENT, ""))
        trip = self.out[key].trip
        for name in trip.runs:
            run = self.runs.get(name)
            if run is None:
                continue
            if state is RunState.RUNNING and run.state is RunState.SENT:
                self._change(run, RunState.RUNNING, "")
            elif state is RunState.DONE and run.state in OPEN:
                self._change(run, RunState.DONE, "")
            elif state is RunState.FAILED and run.state in OPEN:
                again = run.attempts < ATTEMPTS_MAX and now < run.waiting.closes
                self._change(run, RunState.WAITING if again else RunState.FAILED, why)
        if state in OVER:
            del self.out[key]
            board.others.pop(key, None)

    def _send(self, board: Board, snapshot: Snapshot, trip: PlannedTrip, now: Instant) -> Message | None:
        if now < trip.leave - trip.loading_ms:
            return None
        if any(self.runs[name].state is not RunState.WAITING for name in trip.runs):
            self.trips.remove(trip)  # missed or done meanwhile: the rest is planned anew
            self._signature = ()
            return None
        why = board.storm_bars(now, trip.back - trip.leave + trip.loading_ms)
        why = why or board.not_ready(trip.vehicle, snapshot) or self._too_far(trip, snapshot)
        if why:
            for name in trip.runs:
                self.runs[name].why = f"{trip.vehicle}: {why}"
            return None
        local = local_time(self.site.timezone, now)
        key = f"trip.{trip.vehicle}.{local:%Y%m%d-%H%M%S}"
        until = Instant(max(trip.back, now + trip.back - trip.leave) + LATE_MS)
        spec = self.site.device(trip.vehicle)
        assert spec is not None, "a trip has a vehicle of the site"
        found = for_vehicle(self.site, order(self.site, trip, key, self._asked), spec)
        if isinstance(found, str):
            for name in trip.runs:
                self.runs[name].why = f"{trip.vehicle}: {found}"
            return None
        message = board.sessions[DeviceId(trip.vehicle)].send(found, now, until)
        self.trips.remove(trip)
        self.out[key] = _Out(trip, until)
        for name in trip.runs:
            self.runs[name].attempts += 1
            self._change(self.runs[name], RunState.SENT, "", trip.vehicle)
        return message

    def _too_far(self, trip: PlannedTrip, snapshot: Snapshot) -> str:
        """Returns what the pack lacks for a trip with its reserve, or an empty text."""
        spec, soc = self.site.device(trip.vehicle), snapshot.value(trip.vehicle, "soc")
        if spec is None or soc is None:
            return "charge unknown"
        need = spec.ratings["soc_reserve"] + trip.energy_wh / spec.ratings["energy_wh"]
        return f"charging ({soc:.0%}, the trip needs {need:.0%})" if soc < need else ""

    def _change(self, run: Run, state: RunState, why: str, vehicle: str = "") -> None:
        run.state, run.why, run.vehicle = state, why, vehicle or run.vehicle
        delivery = run.waiting.delivery
        text = f"{delivery.kind} for {delivery.place}: {state}" + (f" ({why})" if why else "")
        self._notes.append(DeliveryNote(run.waiting.key, state, run.vehicle, delivery, text))

    def brought_kg(self, store: str, since: Instant) -> float:
        """Returns what was delivered out of a food store on the days since then, as far as the log remembers [kg]."""
        day = f"{local_time(self.site.timezone, since):%Y%m%d}"
        states = {**self._known, **{key: run.state.value for key, run in self.runs.items()}}
        masses = {one.id: one.mass_kg for one in self.site.deliveries if one.store == store}
        done = [key.rpartition(".") for key, state in states.items() if state == RunState.DONE.value]
        return sum(masses[name] for name, _, on in done if name in masses and on >= day)

    # -- what people see -------------------------------------------------------------------------------------------

    def failed(self) -> Mapping[str, str]:
        """Returns the runs of the newest day of each delivery that ended badly, with why."""
        newest = {run.waiting.delivery.id: run for run in self.runs.values() if run.state is not RunState.WAITING}
        bad = (RunState.FAILED, RunState.MISSED)
        return {run.waiting.key: run.why or run.state for run in newest.values() if run.state in bad}

    def reason(self, run: Run) -> str:
        """Returns why a stop is when it is, in a few words."""
        waiting, zone = run.waiting, self.site.timezone
        parts = [f"window {clock_text(zone, waiting.opens)[-5:]} to {clock_text(zone, waiting.closes)[-5:]}"]
        if waiting.ready > waiting.opens:
            parts.append(f"ready {clock_text(zone, waiting.ready)[-5:]}")
        delivery = waiting.delivery
        parts.append(
            "medicine: before every parcel" if delivery.kind == "medicine" else f"priority {delivery.priority}"
        )
        if any(stop[0] == waiting.key for stop in self.held):
            parts.append("moved to where the pack charges at the lowest cost")
        return ", ".join(parts) + (f"; {run.why}" if run.why else "")
