"""What people may ask of the hub; every command carries who, why and until when, and is audited."""

from __future__ import annotations

from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class OperateDevice:
    """One of two steps: `select` asks what would happen, `operate` names that selection and does it."""

    id: str
    actor: Actor
    device: str
    value: float  # a breaker: 0 open, 1 close; a drone: 1 launch
    step: str  # select, operate
    reason: str
    selection: str = ""  # of the second step: the id of the first


@dataclass(frozen=True, slots=True)
class MoneyRequest:
    """Something asked of the treasurer's desk: `controller/money/desk.py` knows what a request may say."""

    id: str
    actor: Actor
    request: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class DeclareStorm:
    """Somebody expects a storm: the hub prepares for it; a later declaration takes an earlier one's place."""

    id: str
    actor: Actor
    start: Instant
    end: Instant
    reason: str


@dataclass(frozen=True, slots=True)
class CancelStorm:
    """Takes a declaration back."""

    id: str
    actor: Actor
    reason: str


Command = AcknowledgeAlarm | HoldDevice | ReleaseDevice | OperateDevice | MoneyRequest | DeclareStorm | CancelStorm


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The hub's answer: accepted, or refused with a code and words that say what to do."""

    id: str
    accepted: bool
    code: str  # `ok`, `duplicate`, `forbidden`, `unknown-device`, `not-writable`, `out-of-range`, ...
    message: str


def command_id(at_ms: int, random_bits: int) -> str:
    """Returns a UUIDv7 of a time and 74 random bits: made when the form is shown, so a second submit is a repeat."""
    high, low = random_bits >> 62 & 0xFFF, random_bits & (1 << 62) - 1
    number = (at_ms & (1 << 48) - 1) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
    text = f"{number:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
