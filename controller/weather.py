"""The weather that the hub has been told of, and how old that is. Never needed; old or bad weather is none. Pure.

Of each hour the newest telling counts, so that a file of days to come makes a past to learn from as days go by. What
each file told is kept with its belief time (`issued`), and read back after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from controller.alarms import Condition, Priority
from controller.beliefs import KeptWeather
from controller.history import KEEP_DAYS
from controller.weather_file import Hour, WeatherTable
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS, Instant, iso
from optimizer.ridge import Weather

AHEAD_MS = 12 * HOUR_MS
"""A forecast that ends earlier than this from now tells too little of the plan's day."""
SKEW_MS = 10 * MINUTE_MS


@dataclass(slots=True)
class WeatherBook:
    """Hours as last told. `problem` says why the newest file could not be read."""

    age_ms_max: int
    issued: Instant | None = None
    until: Instant | None = None
    problem: str = ""
    hours: dict[Instant, Hour] = field(default_factory=dict[Instant, Hour])

    def take(self, told: WeatherTable | None, problem: str, now: Instant) -> KeptWeather | None:
        """Takes what a new file tells, or why it cannot be read; what it told before stays until it is too old.

        Returns what is to be kept of it: the hours that it tells otherwise than before; None where nothing is new.
        """
        self.problem = problem
        if told is None:
            return None
        if self.issued is not None and told.issued < self.issued:
            self.problem = f"it was issued {iso(told.issued)}, before the one read last ({iso(self.issued)})"
            return None
        if told.issued > now + SKEW_MS:
            self.problem = f"it says that it was issued in the future ({iso(told.issued)}): look at the clocks"
            return None
        oldest = now - KEEP_DAYS * DAY_MS
        new = tuple(hour for hour in told.hours if hour.start >= oldest and self.hours.get(hour.start) != hour)
        known = not new and told.issued == self.issued
        self._believe(told.issued, told.until, new, oldest)
        return None if known else KeptWeather(now, told.until, WeatherTable(told.issued, new))

    def recall(self, kept: Iterable[KeptWeather], now: Instant) -> None:
        """Takes what was kept before a restart, the earliest belief first."""
        for one in kept:
            self._believe(one.table.issued, one.until, one.table.hours, Instant(now - KEEP_DAYS * DAY_MS))

    def _believe(self, issued: Instant, until: Instant, new: Iterable[Hour], oldest: int) -> None:
        self.issued, self.until = issued, until
        self.hours = {start: hour for start, hour in self.hours.items() if start >= oldest}
        self.hours.update((hour.start, hour) for hour in new if hour.start >= oldest)

    def unfit(self, now: Instant) -> str:
        """Returns why the weather is not used just now, or an empty text."""
        if self.issued is None or self.until is None:
            return self.problem or "no weather has been told yet"
        if now - self.issued > self.age_ms_max:
            return f"it is of {iso(self.issued)}, older than {self.age_ms_max / HOUR_MS:g} h"
        if self.until < now + AHEAD_MS:
            return f"it ends at {iso(self.until)}, less than {AHEAD_MS / HOUR_MS:g} h from now"
        return ""

    def between(self, start: Instant, end: Instant, now: Instant) -> Weather | None:
        """Returns the weather of the slots of a span, NaN where nothing is told; None while it is not fit for use."""
        if self.unfit(now):
            return None
        at = [self.hours.get(Instant(slot - slot % HOUR_MS)) for slot in range(start, end, SLOT_MS)]
        sun = [None if hour is None else hour.sun_w_m2 for hour in at]
        air = [None if hour is None else hour.air_c for hour in at]
        return Weather(np.array(sun, dtype=np.float64), np.array(air, dtype=np.float64))

    def conditions(self, now: Instant) -> Iterator[Condition]:
        """Yields an alarm while a file that the site names cannot be used."""
        unfit = self.unfit(now)
        why = unfit or self.problem
        if why:
            yield Condition(
                "weather",
                Priority.LOW,
                "weather",
                f"the weather file is not used: {why}" if unfit else f"the newest weather file: {why}",
                "forecasts go on without it: plans are a little dearer, nothing else changes",
                "fetch a new one, or take `weather` out of [forecast]; docs/planning.md says how",
                HOUR_MS,
            )
