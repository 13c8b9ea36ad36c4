"""Cold boxes watched minute by minute: an alarm before a limit is passed, while there is time to act. Pure.

Compressors go on and off, so neither one reading nor one minute says anything: power is a mean over one to two hours,
the trend is the last half hour's mean against that of the half hour before. A hub that starts anew learns for an hour;
a temperature that is outside already is told at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.alarms import Condition, Priority
from controller.conditions import Health
from controller.image import Snapshot
from controller.site import Site
from controller.site_care import ColdBoxSpec
from devices.clock import MINUTE_MS, Instant
from optimizer.care import ColdWarning, holding_w, warning

HALF = 30
"""Minutes whose means are compared."""

POWER_MIN, POWER_MAX = 60, 120
"""Minutes of power that must be known before a mean counts, and that it is taken over: good fridges rest an hour."""

SILENT_MS = 15 * MINUTE_MS
DEAD_V = 50.0
HOLDS = 1.5
"""An alarm that stands holds until the limit is so much further away than what raised it."""


@dataclass(slots=True)
class _Seen:
    """The last hours of one box, a value a minute."""

    celsius: deque[float] = field(default_factory=lambda: deque[float](maxlen=2 * HALF))
    watts: deque[float] = field(default_factory=lambda: deque[float](maxlen=POWER_MAX))
    at: Instant = field(default=Instant(0))
    silent_since: Instant | None = None

    def trend_c_per_h(self) -> float | None:
        """Returns by how much it changes, or None before an hour is known."""
        if len(self.celsius) < 2 * HALF:
            return None
        values = list(self.celsius)
        return (sum(values[HALF:]) - sum(values[:HALF])) / HALF * 60 / HALF


@dataclass(slots=True)
class ColdChain:
    """What one hub has seen of its cold boxes."""

    boxes: dict[str, _Seen] = field(default_factory=dict[str, _Seen])

    def look(self, site: Site, snapshot: Snapshot, health: Health) -> None:
        """Takes temperatures and powers, once a minute; a dead broker or gateway is no silence of a thermometer."""
        now = snapshot.now
        for spec in site.cold_boxes:
            seen = self.boxes.setdefault(spec.box.id, _Seen())
            celsius, watts = snapshot.value(spec.sensor, "celsius"), snapshot.value(spec.sensor, "W")
            if celsius is None:
                since = now if seen.silent_since is None else seen.silent_since
                seen.silent_since = since if _heard(site, spec, health) else None
                continue
            if seen.silent_since is not None and now - seen.silent_since >= SILENT_MS:
                seen.celsius.clear()  # what was before the silence says nothing of the trend now
                seen.watts.clear()
            seen.silent_since = None
            if now - seen.at < MINUTE_MS:
                continue
            seen.at = now
            seen.celsius.append(celsius)
            if watts is not None:
                seen.watts.append(watts)

    def conditions(self, site: Site, snapshot: Snapshot, health: Health) -> Iterator[Condition]:
        """Yields what is wrong with the cold chain now."""
        for spec in site.cold_boxes:
            seen = self.boxes.get(spec.box.id)
            celsius = snapshot.value(spec.sensor, "celsius")
            if seen is None:
                continue
            if celsius is None:
                if seen.silent_since is not None and snapshot.now - seen.silent_since >= SILENT_MS:
                    yield _silent(spec)
                continue
            found = self._warning(spec, seen, snapshot, celsius, f"cold.{spec.box.id}" in health.standing)
            if found is not None:
                yield _condition(spec, found)

    def _warning(
        self, spec: ColdBoxSpec, seen: _Seen, snapshot: Snapshot, celsius: float, standing: bool
    ) -> ColdWarning | None:
        watts = holding_w(spec.box, spec.ambient_c)
        if len(seen.watts) >= POWER_MIN:
            watts = sum(seen.watts) / len(seen.watts)
        volts = None if spec.behind is None else snapshot.value(spec.behind, "V")
        if volts is not None and volts < DEAD_V:
            watts = 0.0  # the house has no power
        lead = round(spec.warn_before_ms * (HOLDS if standing else 1.0))
        return warning(spec.box, celsius, spec.ambient_c, watts, seen.trend_c_per_h(), lead)


def _heard(site: Site, spec: ColdBoxSpec, health: Health) -> bool:
    sensor = site.device(spec.sensor)
    return sensor is not None and health.link_up and sensor.gateway in health.gateways_online


def _condition(spec: ColdBoxSpec, found: ColdWarning) -> Condition:
    hours, minutes = divmod(found.in_ms // MINUTE_MS, 60)
    when = (
        f"will pass {found.limit_c:g} °C in {hours} h {minutes:02d} min"
        if found.in_ms
        else f"is past {found.limit_c:g} °C"
    )
    return Condition(
        f"cold.{spec.box.id}",
        Priority.HIGH,
        spec.sensor,
        f"{spec.box.id} {when}: {found.temperature_c:.1f} °C, {found.why}",
        "vaccines and medicine in it spoil",
        "door, plug, compressor; else move them into a box with ice: atoll help COLD-001",
    )


def _silent(spec: ColdBoxSpec) -> Condition:
    return Condition(
        f"cold.{spec.box.id}",
        Priority.HIGH,
        spec.sensor,
        f"nobody knows how cold {spec.box.id} is: its thermometer does not report",
        "vaccines and medicine in it may spoil unseen",
        "look at the thermometer in the box; then at its wires: atoll help COLD-002",
    )
