"""When to plan, the last good plan, and what happens without one."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.daybook import Closing
from controller.gate import Gate
from controller.plan_forecast import Forecast
from devices.clock import HOUR_MS, MINUTE_MS, Instant, iso, next_boundary
from devices.model import DeviceId
from optimizer.answer import Answer, Cause, Failed, Planned, Refused, Routed
from optimizer.check import with_cuts
from optimizer.check_whole import energy_of
from optimizer.plan import Plan, StorageStep, UnitStep
from optimizer.problem import Problem

PLAN_LIFE_MS = 2 * HOUR_MS
"""A plan older than this is not followed any more; the rules take over until a new one comes."""
SEARCH_MS = HOUR_MS
"""How long warm re-plans follow a whole search."""
RETRY_MS = 5 * MINUTE_MS
REFUSED_MS = HOUR_MS
"""Where nothing can serve the lifelines the wait doubles up to this: the planner worked hard to say so, and what could
change it (the grid is back, somebody declares, devices return) asks out of turn."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question that is under way."""

    id: int
    asked_at: Instant
    problem: Problem
    forecast: Forecast | None  # None: hindsight
    why: str = ""


@dataclass(slots=True)
class Planning:
    """The planning state of one hub."""

    next_at: Instant
    pending: Request | None = None
    plan: Plan | None = None
    made_at: Instant | None = None
    forecast: Forecast | None = None
    status: str = "no plan yet: rules only"
    failures: int = 0
    refusals: int = 0  # in a row: nothing can serve the lifelines
    made: int = 0
    sequence: int = 0
    gate: Gate = field(default_factory=Gate)
    used: bool = True  # whether the plan in force is followed
    note: str = ""  # why it is, or why not
    cause: str = ""  # what asked for the plan in force
    emergency: bool = False  # set by what declares one: nothing is switched then
    miss_w: float = 0.0  # by how much the net load differs from the forecast just now, when that is much
    peak_w: float | None = None  # with a capacity charge: the month's highest import when a plan was last asked for
    asked_at: Instant | None = None
    searched_at: Instant | None = None  # when a whole search was last asked for, not only a warm re-plan
    waiting_for: str = ""  # what the next plan is made for
    house_at: Instant = field(default=Instant(0))
    closing: Closing | None = None  # a day that waits for hindsight
    hindsight: Request | None = None
    tries: int = 0

    def due(self, now: Instant) -> bool:
        """Returns whether a new question should go out."""
        return self.pending is None and now >= self.next_at

    def give_up(self, now: Instant, wait_ms: int) -> None:
        """Takes a question that was never answered for failed: a lost answer must not end planning for good."""
        pending = self.pending
        if pending is not None and now - pending.asked_at > wait_ms:
            self.answered(pending.id, Failed(Cause.TIMEOUT, "no answer came back"), now)

    def current(self, now: Instant) -> tuple[Plan, int] | None:
        """Returns (plan, slot index) while the last good plan is followed, else None."""
        return self.valid(now) if self.used else None

    def valid(self, now: Instant) -> tuple[Plan, int] | None:
        """Returns (plan, slot index) while the last good plan has not expired, followed or not, else None."""
        if self.plan is None or self.made_at is None or now - self.made_at > PLAN_LIFE_MS:
            return None
        slot = self.plan.slot(now)
        return None if slot is None else (self.plan, slot)

    def steps(self, now: Instant) -> tuple[dict[DeviceId, StorageStep], dict[DeviceId, UnitStep]]:
        """Returns this slot's step per device; empty without a plan."""
        current = self.current(now)
        if current is None:
            return {}, {}
        plan, slot = current
        storages = {DeviceId(asset): steps[slot] for asset, steps in plan.storages.items()}
        units = {DeviceId(asset): steps[slot] for asset, steps in plan.units.items()}
        return storages, units

    def paid_peak_w(self, now: Instant) -> float | None:
        """Returns the import that costs no more capacity charge: the month's peak, or the plan's; None: no charge."""
        current = self.current(now)
        if current is None or self.peak_w is None:
            return None
        return max(self.peak_w, 1000 * max(current[0].grid_kw, default=0.0))

    def hasten(self, why: str, now: Instant, gap_ms: int) -> None:
        """Books a plan out of turn: at once, but `gap_ms` after the last question at the earliest."""
        soonest = now if self.asked_at is None else Instant(max(now, self.asked_at + gap_ms))
        if soonest < self.next_at or not self.waiting_for:
            self.next_at = Instant(min(self.next_at, soonest))
            self.waiting_for = why

    def number(self, problem: Problem, now: Instant) -> Request:
        """Returns a question with a number of its own, that no plan comes of."""
        self.sequence += 1
        return Request(self.sequence, now, problem, None)

    def warm(self, now: Instant) -> bool:
        """Returns whether the next question may keep the last plan's decisions.

        A whole search comes every hour, after a failure, and whenever something has happened.
        """
        lately = self.searched_at is not None and now - self.searched_at < SEARCH_MS
        return lately and not self.waiting_for and not self.failures and self.valid(now) is not None

    def ask(self, problem: Problem, forecast: Forecast, now: Instant, replan_ms: int) -> Request:
        """Notes that a question is under way and books the next one."""
        if not self.warm(now):
            self.searched_at = now
        self.sequence += 1
        why = self.waiting_for or ("the time has come" if self.made else "the first plan")
        self.pending = Request(self.sequence, now, problem, forecast, why)
        self.asked_at, self.waiting_for, self.miss_w = now, "", 0.0
        self.next_at = next_boundary(now, replan_ms)
        return self.pending

    def answered(self, request: int, answer: Answer, now: Instant) -> None:
        """Takes the planner's answer; `status` says whether the plan is used, or why it is not.

        A `Planned` has passed the independent checker; anything else leaves the last good plan in force.
        """
        pending = self.pending
        if pending is None or pending.id != request:
            return
        self.pending = None
        match answer:
            case Planned(plan=plan):
                self._adopt(plan, pending, now)
                return
            case Routed():
                cause = "the planner failed: it answered another question"
            case Refused(infeasible=infeasible):
                cause = "nothing can serve the lifelines: " + "; ".join(infeasible.reasons[:3])
            case Failed(cause=kind, message=message):
                cause = f"the planner failed ({kind}): {message}"
        self.failures += 1
        self._try_again(now, refused=isinstance(answer, Refused))
        kept = f"the plan of {iso(self.made_at)} goes on" if self.current(now) and self.made_at else "rules only"
        self.status = f"{kept}: {cause}"

    def _try_again(self, now: Instant, *, refused: bool) -> None:
        """Books the next question after one without a plan; what was booked out of turn meanwhile stays."""
        self.refusals = self.refusals + 1 if refused else 0
        wait_ms = min(RETRY_MS << min(self.refusals - 1, 8), REFUSED_MS) if refused else RETRY_MS
        if self.waiting_for or not refused:
            self.next_at = Instant(min(self.next_at, now + wait_ms))
        else:
            self.next_at = Instant(now + wait_ms)

    def _adopt(self, plan: Plan, request: Request, now: Instant) -> None:
        assert request.forecast is not None, "hindsight is nobody's plan"
        problem, energy = energy_of(request.problem, plan)
        self.used, self.note = self.gate.judge(with_cuts(problem, energy), energy, emergency=self.emergency)
        self.cause = request.why
        self.plan, self.made_at, self.forecast = plan, now, request.forecast.kept()
        self.made += 1
        self.failures = self.refusals = 0
        self.status = plan.status if self.used else f"{plan.status}, not followed: {self.note}"
