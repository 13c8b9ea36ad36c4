"""Whether the plan is followed: only while it beats the simple rules, on the objective in force. Pure.

Two questions. Of each new plan: played by the quarter-hour model on its own forecast, is it at least as good as the
rules? And of planning as such: over the last closed days, on what really happened, was it? A plan that is not followed
goes on in shadow, is judged all the same, and so can win its place back. In emergency mode nothing is switched.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from controller.beliefs import DayResult
from controller.shadow import play, play_rules, steps_of
from optimizer.plan import Plan
from optimizer.problem import Problem

DAYS = 7
DAYS_MIN = 3
"""Closed days that must speak against the plan before the rules take over."""

MARGIN = 0.01
"""Share of the rules' money by which a plan may seem dearer: hedging costs a little under the forecast itself."""

MARGIN_MIN = 0.02
"""Money by which it may, whatever the rules cost."""


@dataclass(slots=True)
class Gate:
    """What is known for and against following plans."""

    days: deque[DayResult] = field(default_factory=lambda: deque[DayResult](maxlen=DAYS))
    advisory: bool = False

    def judge(self, problem: Problem, plan: Plan, *, emergency: bool = False) -> tuple[bool, str]:
        """Returns (whether to follow a new plan, why) in words."""
        if self.advisory:
            return False, "advisory: planned in shadow, nothing is sent"
        if emergency:
            return True, "emergency: the plan is followed as it is"
        against = self._record()
        if against:
            return False, against
        rules, planned = play_rules(problem).cost, play(problem, steps_of(plan)).cost
        if planned > rules + max(MARGIN_MIN, MARGIN * abs(rules)):
            return False, f"rules: by the forecast they cost {rules:.2f}, the plan {planned:.2f}"
        return True, f"plan: by the forecast it costs {planned:.2f}, rules {rules:.2f}"

    def _record(self) -> str:
        """Returns what the last closed days say against planning, or an empty text."""
        known = [(day.plan, day.rules) for day in self.days if day.plan is not None and day.rules is not None]
        if len(known) < DAYS_MIN:
            return ""
        planned, rules = sum(plan for plan, _ in known), sum(rules for _, rules in known)
        if planned <= rules + MARGIN * sum(abs(money) for _, money in known):
            return ""
        return f"rules: over the last {len(known)} days they cost {rules:.2f}, plans {planned:.2f}"

    def take(self, day: DayResult) -> None:
        """Takes a closed day."""
        self.days.append(day)
