"""What goes into the gateway's core and what comes out: configuration, events, effects. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from devices.bus import BusAnswer, BusRead, BusWrite, BusWritten
from devices.clock import SLOT_MS, ClockQuality
from devices.events import Incoming, LinkDown, LinkUp, Tick
from devices.model import DeviceId, DeviceKind, DeviceSpec, IntervalRecord, Message
from devices.outbox import Ack
from devices.records import MeterMark

SLOW_KINDS = (DeviceKind.METER, DeviceKind.PV, DeviceKind.WATER_METERS)


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """What one gateway needs to know. `deadline_floor_ms` is 500 ms of real time in simulated ms.

    `tank_of` names the tank that each pump fills, `tank_high` the fraction above which it must not. With `slow_poll_ms`
    (a multiple of `poll_ms`; 0: off) devices that nothing is steered by at once (`SLOW_KINDS`) are read only so often.
    """

    id: str
    site_id: str
    devices: tuple[DeviceSpec, ...]
    poll_ms: int = 1000
    slow_poll_ms: int = 0
    slot_ms: int = SLOT_MS
    deadline_floor_ms: int = 500
    tank_of: Mapping[DeviceId, DeviceId] = field(default_factory=dict[DeviceId, DeviceId])
    tank_high: float = 0.95
    clock: ClockQuality = ClockQuality.SYNCHRONISED
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Saved:
    """What the outbox file brings back after a restart."""

    records: tuple[IntervalRecord, ...] = ()
    marks: tuple[MeterMark, ...] = ()
    epoch: int = 0
    bd_seq: int = 0


@dataclass(frozen=True, slots=True)
class RecordsStored:
    """Event: these records are safe on disk and may be sent."""

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


@dataclass(frozen=True, slots=True)
class ForgetRecords:
    """Effect: the hub has committed these pages; they may be deleted."""

    acks: tuple[Ack, ...]


@dataclass(frozen=True, slots=True)
class StoreEpoch:
    """Effect: remember the highest hub epoch, so that a restart does not listen to an older hub."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Log:
    """Effect: one line for the log; `code` is stable."""

    code: str
    text: str


Event = BusAnswer | BusWritten | Tick | Incoming | LinkUp | LinkDown | RecordsStored
Effect = BusRead | BusWrite | Send | StoreRecords | ForgetRecords | StoreEpoch | Log
