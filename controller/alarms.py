"""Alarms by ISA-18.2: a state machine per alarm, on and off delays, and one alarm for one cause.

Source: ANSI/ISA-18.2-2016 (IEC 62682) alarm states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from devices.clock import Instant


class AlarmState(StrEnum):
    """Where an alarm stands; NORMAL ones are not kept."""

    NORMAL = "normal"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED = "returned-unacknowledged"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"
    OUT_OF_SERVICE = "out-of-service"


class Priority(StrEnum):
    """How soon somebody must act."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong right now, in the words that an operator needs. `id` is stable: `offline.home-07`."""

    id: str
    priority: Priority
    device: str
    text: str
    consequence: str
    response: str
    delay_ms: int = 0  # it must last this long before anybody is called
    code: str = ""  # of `atoll help`, where there is more to say


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm that somebody has to know of."""

    condition: Condition
    state: AlarmState
    since: Instant
    acknowledged_by: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class AlarmChange:
    """A transition, for the journal."""

    id: str
    before: AlarmState
    after: AlarmState
    at: Instant
    text: str
    by: str = ""


class AlarmBook:
    """All alarms of one hub; bounded by the number of conditions that the hub can raise."""

    def __init__(self, clear_delay_ms: int) -> None:
        self._alarms: dict[str, Alarm] = {}
        self._waiting: dict[str, Instant] = {}  # condition true since, alarm not raised yet
        self._clearing: dict[str, Instant] = {}  # condition gone since, alarm still standing
        self._clear_delay_ms = clear_delay_ms

    @property
    def standing(self) -> list[Alarm]:
        """Returns the alarms, the most urgent and newest first."""
        order = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}
        return sorted(self._alarms.values(), key=lambda alarm: (order[alarm.condition.priority], -alarm.since))

    def get(self, alarm: str) -> Alarm | None:
        """Returns a standing alarm."""
        return self._alarms.get(alarm)

    def update(self, conditions: Mapping[str, Condition], now: Instant) -> list[AlarmChange]:
        """Takes what is wrong now; returns the transitions that follow."""
        changes: list[AlarmChange] = []
        for name, condition in conditions.items():
            self._clearing.pop(name, None)
            changes.extend(self._raise(name, condition, now))
        for name in [name for name in self._waiting if name not in conditions]:
            del self._waiting[name]
        for name in [name for name in self._alarms if name not in conditions]:
            changes.extend(self._clear(name, now))
        return changes

    def _raise(self, name: str, condition: Condition, now: Instant) -> list[AlarmChange]:
        standing = self._alarms.get(name)
        if standing is not None and standing.state is not AlarmState.RETURNED:
            self._alarms[name] = replace(standing, condition=condition)
            return []
        since = self._waiting.setdefault(name, now)
        if now - since < condition.delay_ms:
            return []
        del self._waiting[name]
        before = AlarmState.NORMAL if standing is None else standing.state
        self._alarms[name] = Alarm(condition, AlarmState.UNACKNOWLEDGED, now)
        return [AlarmChange(name, before, AlarmState.UNACKNOWLEDGED, now, condition.text)]

    def _clear(self, name: str, now: Instant) -> list[AlarmChange]:
        standing = self._alarms[name]
        if standing.state is AlarmState.RETURNED:
            return []
        if now - self._clearing.setdefault(name, now) < self._clear_delay_ms:
            return []
        del self._clearing[name]
        if standing.state is AlarmState.ACKNOWLEDGED:
            del self._alarms[name]
            after = AlarmState.NORMAL
        else:
            self._alarms[name] = replace(standing, state=AlarmState.RETURNED)
            after = AlarmState.RETURNED
        return [AlarmChange(name, standing.state, after, now, standing.condition.text)]

    def acknowledge(self, name: str, by: str, note: str, now: Instant) -> AlarmChange | None:
        """Returns the transition, or None when no such alarm waits for an acknowledgement."""
        standing = self._alarms.get(name)
        if standing is None or standing.state not in (AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED):
            return None
        if standing.state is AlarmState.RETURNED:
            del self._alarms[name]
            after = AlarmState.NORMAL
        else:
            after = AlarmState.ACKNOWLEDGED
            self._alarms[name] = replace(standing, state=after, acknowledged_by=by, note=note)
        return AlarmChange(name, standing.state, after, now, standing.condition.text, by)
