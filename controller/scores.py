"""How good the forecasts are, by horizon: each is held against what the meters said when its slot was over. Pure.

The forecast in force is scored under its series' name, and each member that could have made it as `load by ridge`: the
member that was nearest to the meters over the last closed days forecasts next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from controller.beliefs import Score
from controller.civil import local_time
from controller.history import History
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant

LEADS = (1, 4, 12, 24, 48, 92)
"""Slots ahead at which forecasts are scored: a quarter of an hour, 1, 3, 6, 12 and 23 hours."""

FIELDS = (("load", "load_wh", 4.0), ("pv", "pv_wh", 4.0), ("water", "water_ml", 1.0))
"""Series, the history's field, and what turns that into the series' unit (W, or mL per slot)."""

JUDGED_DAYS, JUDGED_MIN = 14, 3
"""Closed days that choose a member, and how many of them all members must have been scored on."""

LATE_MS = 6 * HOUR_MS
"""A slot whose meters have not reported so long after its end is not scored any more."""


@dataclass(slots=True)
class _Sums:
    count: int = 0
    error_abs: float = 0.0
    error: float = 0.0
    naive_abs: float = 0.0
    actual: float = 0.0


def rival_name(series: str, member: str) -> str:
    """Returns the name under which a member's forecasts of a series are scored."""
    return f"{series} by {member}"


@dataclass(slots=True)
class Scorebook:
    """Forecasts that wait for their slot, the sums of the days under way, and how members did on closed days."""

    timezone: str
    waiting: dict[tuple[str, int, Instant], float] = field(default_factory=dict[tuple[str, int, Instant], float])
    sums: dict[tuple[str, str, int], _Sums] = field(default_factory=dict[tuple[str, str, int], _Sums])
    judged: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """Day -> name of a rival -> mean absolute error over all leads."""

    def expect(self, series: str, start: Instant, values: tuple[float, ...]) -> None:
        """Notes what a forecast that begins at `start` says at each lead; of one slot the first forecast counts."""
        for lead in LEADS:
            if lead < len(values):
                self.waiting.setdefault((series, lead, Instant(start + lead * SLOT_MS)), values[lead])

    def settle(self, history: History, now: Instant) -> None:
        """Scores what the meters have told of by now; a slot that stays unknown is dropped."""
        due = [key for key in self.waiting if key[2] + SLOT_MS <= now]
        for key in due:
            series, lead, slot = key
            actual, naive = self._known(history, series, slot), self._known(history, series, Instant(slot - DAY_MS))
            if actual is not None:
                expected = self.waiting.pop(key)
                self._add(series, lead, slot, (expected, actual, naive))
            elif now - slot > LATE_MS:
                del self.waiting[key]

    @staticmethod
    def _known(history: History, series: str, slot: Instant) -> float | None:
        whose = series.partition(" by ")[0]
        name, factor = next((name, factor) for one, name, factor in FIELDS if one == whose)
        value = history.value(name, slot)
        return None if value is None or value < 0 else value * factor

    def _add(self, series: str, lead: int, slot: Instant, values: tuple[float, float, float | None]) -> None:
        expected, actual, naive = values
        day = local_time(self.timezone, slot).date().isoformat()
        sums = self.sums.setdefault((day, series, lead), _Sums())
        sums.count += 1
        sums.error += actual - expected
        sums.error_abs += abs(actual - expected)
        sums.naive_abs += abs(actual - (expected if naive is None else naive))
        sums.actual += actual

    def take(self, before: str) -> list[Score]:
        """Returns and forgets the scores of the local days before `before` (ISO)."""
        done = sorted(key for key in self.sums if key[0] < before)
        found = [_score(key, self.sums.pop(key)) for key in done]
        self.judge(found)
        return found

    def judge(self, scores: Iterable[Score]) -> None:
        """Takes what closed days say of the members; the oldest days are forgotten."""
        sums: dict[tuple[str, str], tuple[int, float]] = {}
        for score in scores:
            if " by " in score.series:
                count, error = sums.get((score.day, score.series), (0, 0.0))
                sums[score.day, score.series] = (count + score.count, error + score.error_abs)
        for (day, name), (count, error) in sums.items():
            self.judged.setdefault(day, {})[name] = error / max(1, count)
        for day in sorted(self.judged)[:-JUDGED_DAYS]:
            del self.judged[day]

    def choice(self, members: Sequence[str]) -> dict[str, str]:
        """Returns who was nearest to the meters per series, over the days on which all members were scored.

        A series is left out until there are `JUDGED_MIN` such days.
        """
        found: dict[str, str] = {}
        for series, _, _ in FIELDS:
            names = [rival_name(series, member) for member in members]
            days = [day for day in self.judged.values() if all(name in day for name in names)]
            if len(days) >= JUDGED_MIN:
                error = {member: sum(day[name] for day in days) for member, name in zip(members, names, strict=True)}
                found[series] = min(members, key=error.__getitem__)
        return found

    def so_far(self) -> list[Score]:
        """Returns the scores of the days that are not closed yet."""
        return [_score(key, sums) for key, sums in sorted(self.sums.items())]


def _score(key: tuple[str, str, int], sums: _Sums) -> Score:
    return Score(*key, sums.count, sums.error_abs, sums.error, sums.naive_abs, sums.actual)
