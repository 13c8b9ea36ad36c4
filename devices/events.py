"""Events that every core of ours understands: the cycle's tick and what the MQTT link tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tick:
    """The time that `next_deadline()` named has come."""


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The MQTT session stands and is subscribed."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The MQTT session is gone."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One MQTT publish that arrived."""

    topic: str
    payload: bytes
