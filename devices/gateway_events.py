"""What goes into the gateway's core and what comes out: configuration, events, effects. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from devices.bus import BusAnswer, BusRead, BusWrite, BusWritten
from devices.clock import SLOT_MS, ClockQuality, Instant
from devices.day_book import DayId, SignedDay
from devices.events import Incoming, LinkDown, LinkUp, Tick
from devices.interlock_watch import Declared
from devices.model import DeviceId, DeviceKind, DeviceSpec, IntervalRecord, Message, UsagePointId
from devices.ocmf_keys import SigningKey
from devices.outbox import Ack, Fetch, Gap, Waiting
from devices.records import MeterMark
from devices.vda5050_codec import Address

SLOW_KINDS = (DeviceKind.METER, DeviceKind.PV, DeviceKind.WATER_METERS, DeviceKind.SENSOR)


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """What one gateway needs to know. `deadline_floor_ms` is 500 ms of real time in simulated ms.

    `tank_of` names the tank that each pump fills, `tank_high` the fraction above which it must not. With `slow_poll_ms`
    (a multiple of `poll_ms`; 0: off) devices that nothing is steered by at once (`SLOW_KINDS`) are read only so often,
    unless an interlock watches them.
    `timezone` says when a meter-day ends, `key` signs it (None: days are not signed).
    """

    id: str
    site_id: str
    devices: tuple[DeviceSpec, ...]
    poll_ms: int = 1000
    slow_poll_ms: int = 0
    slot_ms: int = SLOT_MS
    deadline_floor_ms: int = 500
    tank_of: Mapping[DeviceId, DeviceId] = field(default_factory=dict[DeviceId, DeviceId])
    flow_of: Mapping[DeviceId, DeviceId] = field(default_factory=dict[DeviceId, DeviceId])  # pump -> its flow meter
    tank_high: float = 0.95
    clock: ClockQuality = ClockQuality.SYNCHRONISED
    simulated: bool = False
    timezone: str = "UTC"
    key: SigningKey | None = None
    interlocks: tuple[Declared, ...] = ()
    vehicles: Mapping[DeviceId, Address] = field(default_factory=dict[DeviceId, Address])  # that interlocks may stop


@dataclass(frozen=True, slots=True)
class Tag:
    """A lock-out tag: who put it on which output, why and when. Only at the gateway is it put on and taken off."""

    device: DeviceId
    holder: str
    reason: str
    at: Instant


@dataclass(frozen=True, slots=True)
class Saved:
    """What the outbox file brings back after a restart."""

    waiting: tuple[Waiting, ...] = ()  # unsent pages
    marks: tuple[MeterMark, ...] = ()
    epoch: int = 0
    bd_seq: int = 0
    unsigned: tuple[IntervalRecord, ...] = ()  # whose day is not over
    day_pages: tuple[tuple[UsagePointId, int], ...] = ()
    days: tuple[SignedDay, ...] = ()
    sequence: int = -1  # of the last setpoint that was taken within `epoch`
    tags: tuple[Tag, ...] = ()
    latched: frozenset[str] = frozenset()  # ids of interlocks that wait for a person


@dataclass(frozen=True, slots=True)
class RecordsStored:
    """Event: these records and signed days are safe on disk and may be sent."""

    records: tuple[IntervalRecord, ...]
    days: tuple[SignedDay, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordsRecalled:
    """Event: acknowledged once, lacked by the hub of now, and unsent again on disk: as far as they were kept."""

    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class RecordsFetched:
    """Event: what the disk has of the pages that were asked for, each meter's in order."""

    fetches: tuple[Fetch, ...]
    records: tuple[IntervalRecord, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: publish."""

    message: Message


@dataclass(frozen=True, slots=True)
class StoreRecords:
    """Effect: put records and marks on disk in one transaction, then hand over `RecordsStored`."""

    records: tuple[IntervalRecord, ...]
    marks: tuple[MeterMark, ...]
    days: tuple[SignedDay, ...] = ()


@dataclass(frozen=True, slots=True)
class ForgetRecords:
    """Effect: the hub has committed these pages and signed days; they may be deleted."""

    acks: tuple[Ack, ...] = ()
    days: tuple[DayId, ...] = ()


@dataclass(frozen=True, slots=True)
class RecallRecords:
    """Effect: make these pages unsent again, as far as they are kept, then hand over `RecordsRecalled`."""

    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class FetchRecords:
    """Effect: read these unsent pages from disk, then hand over `RecordsFetched`."""

    fetches: tuple[Fetch, ...]


@dataclass(frozen=True, slots=True)
class StoreEpoch:
    """Effect: remember the highest hub epoch, so that a restart does not listen to an older hub."""

    epoch: int


@dataclass(frozen=True, slots=True)
class StoreSequence:
    """Effect: remember the last setpoint taken, so that a restart does not take it again (a replay)."""

    epoch: int
    sequence: int


@dataclass(frozen=True, slots=True)
class StoreGuard:
    """Effect: put lock-out tags and latched interlocks on disk before anything else happens."""

    tags: tuple[Tag, ...]
    latched: frozenset[str]


@dataclass(frozen=True, slots=True)
class Log:
    """Effect: one line for the log; `code` is stable."""

    code: str
    text: str


Event = BusAnswer | BusWritten | Tick | Incoming | LinkUp | LinkDown | RecordsStored | RecordsRecalled | RecordsFetched
Effect = (
    BusRead
    | BusWrite
    | Send
    | StoreRecords
    | ForgetRecords
    | RecallRecords
    | FetchRecords
    | StoreEpoch
    | StoreSequence
    | StoreGuard
    | Log
)
