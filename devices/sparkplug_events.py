"""What the two Sparkplug sessions report: `EdgeEvent` to a gateway, `HostEvent` to the hub."""

from __future__ import annotations

from dataclasses import dataclass

from devices.clock import Instant
from devices.model import DeviceId, Message, Readings, Setpoint


@dataclass(frozen=True, slots=True)
class RebirthRequested:
    """Send `birth()` again: the host asked, or a host has come that cannot know us."""


@dataclass(frozen=True, slots=True)
class SetpointReceived:
    """The host leases a point."""

    setpoint: Setpoint


@dataclass(frozen=True, slots=True)
class RecordsAcked:
    """The hub has committed records; `payload` is for `devices.outbox.decode_acks`."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class DaysAcked:
    """The hub has committed signed days; `payload` is for `devices.day_book.decode_day_acks`."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class HostOnline:
    """The host application came or went; older news than the last is never reported."""

    online: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message was dropped."""

    reason: str


EdgeEvent = RebirthRequested | SetpointReceived | RecordsAcked | DaysAcked | HostOnline | Rejected


@dataclass(frozen=True, slots=True)
class NodeOnline:
    """An edge node was born (also: reborn)."""

    node: str
    at: Instant


@dataclass(frozen=True, slots=True)
class NodeOffline:
    """An edge node's session ended; all its devices are stale."""

    node: str
    at: Instant


@dataclass(frozen=True, slots=True)
class DeviceOnline:
    """A device was born; `points` are its numeric metrics. Its values follow as DeviceData."""

    node: str
    device: DeviceId
    points: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeviceOffline:
    """A device was lost by its edge node; its points are stale."""

    node: str
    device: DeviceId
    at: Instant


@dataclass(frozen=True, slots=True)
class DeviceData:
    """Values of one device."""

    node: str
    readings: Readings


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Interval records, for `devices.outbox.decode_batch`; answer with `ack` after the commit."""

    node: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class NodeKey:
    """The public key that an edge node's birth names for its signed days (hex of SubjectPublicKeyInfo)."""

    node: str
    key: str


@dataclass(frozen=True, slots=True)
class RecordDay:
    """One signed meter-day (OCMF text, `devices.meter_day`); answer with `ack_days` after the commit."""

    node: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Publish this."""

    message: Message


HostEvent = (
    NodeOnline | NodeOffline | NodeKey | DeviceOnline | DeviceOffline | DeviceData | RecordBatch | RecordDay | Send
)
