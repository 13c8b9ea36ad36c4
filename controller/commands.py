"""What people may ask of the hub; every command carries who, why and until when, and is audited."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from devices.clock import Instant


class Role(StrEnum):
    """Who somebody is to the hub; later roles may do what earlier ones may."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks, with which right, and by which way (`console`, `cli`)."""

    name: str
    role: Role
    via: str


@dataclass(frozen=True, slots=True)
class AcknowledgeAlarm:
    """Somebody has seen the alarm and answers for it."""

    id: str  # made by the sender (UUIDv7), so a repeat is harmless
    actor: Actor
    alarm: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class HoldDevice:
    """An operator override of a device's writable point until `until` (never without an end)."""

    id: str
    actor: Actor
    device: str
    value: float  # in the unit and sign of the writable point
    until: Instant
    reason: str


@dataclass(frozen=True, slots=True)
class ReleaseDevice:
    """Ends an operator hold before its expiry."""

    id: str
    actor: Actor
    device: str
    reason: str


Command = AcknowledgeAlarm | HoldDevice | ReleaseDevice


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The hub's answer: accepted, or refused with a code and words that say what to do."""

    id: str
    accepted: bool
    code: str  # `ok`, `duplicate`, `forbidden`, `unknown-device`, `not-writable`, `out-of-range`, ...
    message: str
