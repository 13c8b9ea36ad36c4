"""The values that cross every seam: devices, points, readings, setpoints, interval records, messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NewType

from devices.clock import ClockQuality, Instant

DeviceId = NewType("DeviceId", str)
"""`[a-z0-9_.-]+`, no spaces: it is also an MQTT topic level."""

PointId = NewType("PointId", str)
"""`<device>/<point>`, for example `home-07/W`."""

UsagePointId = NewType("UsagePointId", str)
"""Where a commodity is metered (IEC 61968): `home-07` for energy, `home-07.water` for water."""


def point_id(device: str, point: str) -> PointId:
    """Returns the id of one point of a device."""
    return PointId(f"{device}/{point}")


def split_point(point: PointId) -> tuple[DeviceId, str]:
    """Returns (device, point name)."""
    device, _, name = point.partition("/")
    return DeviceId(device), name


class DeviceKind(StrEnum):
    """What a device can do; never what brand it is. The standard points of each kind stand in `POINTS`."""

    GRID = "grid"
    METER = "meter"
    PV = "pv"
    BATTERY = "battery"
    GENSET = "genset"
    PUMP = "pump"
    TANK = "tank"
    WATER_METERS = "water_meters"
    CHARGER = "charger"
    SWITCH = "switch"
    RELAY = "relay"
    BREAKER = "breaker"
    FLOW_METER = "flow_meter"
    SENSOR = "sensor"
    THERMAL = "thermal"
    ROBOT = "robot"
    DRONE = "drone"


POINTS: Mapping[DeviceKind, tuple[str, ...]] = {
    DeviceKind.GRID: ("W", "import_wh", "export_wh", "V", "hz"),
    DeviceKind.METER: ("W", "import_wh", "export_wh", "V"),
    DeviceKind.PV: ("W", "export_wh", "limit"),
    DeviceKind.BATTERY: ("W", "soc", "import_wh", "export_wh", "setpoint"),
    DeviceKind.GENSET: ("W", "export_wh", "running", "fuel", "setpoint"),
    DeviceKind.PUMP: ("W", "import_wh", "flow_lpm", "on"),
    DeviceKind.TANK: ("level",),
    DeviceKind.WATER_METERS: (),  # one point per channel: `<usage point>_ml`, cumulative mL
    DeviceKind.CHARGER: ("W", "import_wh", "soc", "connected", "setpoint"),
    DeviceKind.SWITCH: ("on",),
    DeviceKind.RELAY: ("on",),
    DeviceKind.BREAKER: ("closed",),
    DeviceKind.FLOW_METER: ("flow_lpm", "volume_ml"),
    DeviceKind.THERMAL: ("W", "import_wh", "celsius", "setpoint"),
    DeviceKind.SENSOR: (),  # those of its profile: `celsius`, `level`, `moisture`, ...
    DeviceKind.ROBOT: ("soc", "state", "x", "y"),
    DeviceKind.DRONE: ("soc", "state", "x", "y"),
}
"""Point names per kind. W by the sign rule; `soc`, `level`, `fuel` fractions 0-1; `V` volts; `hz` hertz;
`limit` fraction of rated PV power that may be produced; `setpoint` W by the sign rule; `on`, `running`,
`connected`, `closed` 0 or 1 (`on` of a pump with a drive: its part of full speed); registers whole Wh and mL.
Beside them a device may show others: `clock_s` (seconds since 1970 by its own clock), what its profile names."""

WRITABLE: Mapping[DeviceKind, str] = {
    DeviceKind.PV: "limit",
    DeviceKind.BATTERY: "setpoint",
    DeviceKind.GENSET: "setpoint",
    DeviceKind.PUMP: "on",
    DeviceKind.CHARGER: "setpoint",
    DeviceKind.THERMAL: "setpoint",
    DeviceKind.RELAY: "on",
    DeviceKind.BREAKER: "closed",
}
"""The one point of each kind that a setpoint may name."""

TWO_STEP = frozenset({DeviceKind.BREAKER})
"""Kinds that are operated only after a selection (island, reconnect): no rule or plan moves them."""


@dataclass(frozen=True, slots=True)
class PinSpec:
    """One pin of the gateway's own header (BCM number) behind a point of a device.

    `use` is `relay` (output), `switch` (input), `counter` (pulses as a volume, `ml_per_pulse`) or `flow` (pulses as
    L/min). `boot` and `fail` are what a relay is set to at the start, and at the end or when its gateway fails.
    `direction` is the input (BCM number) on which a pulse meter tells which way the water runs: backward while it is
    high, with `reverse_low` while it is low.
    """

    point: str
    pin: int
    use: str
    active_low: bool = False
    pull: str = "none"  # none, up, down
    debounce_ms: int = 0
    boot: bool = False
    fail: bool = False
    ml_per_pulse: float = 0.0
    flow_lpm_max: float = 0.0  # faster pulses are noise; 0 = not judged
    direction: int | None = None
    reverse_low: bool = False


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device as the gateway and the simulator need to know it; made from the site file.

    `driver` is `sunspec`, `profile:<name>` (a file in devices/profiles), `gpio:header` (`pins`) or `vda5050`.
    `endpoint` is `host:port` of the Modbus TCP server, a serial port, or of a maker's vehicle
    `interface/manufacturer/serial/version`; `unit` its Modbus unit id. The leases of a
    `hazardous` output last 3 s at most. `ratings` holds numbers by name (`power_w_max`, `energy_wh`, `volume_l`,
    ...); `simulate` what only the simulator reads.
    `behind` names the meter that this device sits behind (its power is inside that meter's reading).
    """

    id: DeviceId
    kind: DeviceKind
    driver: str
    gateway: str
    endpoint: str = ""
    unit: int = 0
    behind: DeviceId | None = None
    read_only: bool = False
    hazardous: bool = False
    pins: tuple[PinSpec, ...] = ()
    channels: tuple[str, ...] = ()
    ratings: Mapping[str, float] = field(default_factory=dict[str, float])
    simulate: Mapping[str, str | float] = field(default_factory=dict[str, str | float])


class Quality(IntEnum):
    """OPC-style quality; anything but GOOD and UNCERTAIN has no usable number."""

    GOOD = 0
    UNCERTAIN = 1
    STALE = 2
    BAD = 3


@dataclass(frozen=True, slots=True)
class Readings:
    """One device's values of one poll, as columns (ten objects would cost as much as the decode).

    `values[i]` is None exactly when `qualities[i]` is BAD. `historical` marks back-fill that must not
    touch the live image.
    """

    device: DeviceId
    at: Instant
    points: tuple[str, ...]
    values: tuple[float | None, ...]
    qualities: tuple[Quality, ...]
    simulated: bool = False
    historical: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """The last value of one point, as the image hands it out."""

    point: PointId
    value: float | None
    quality: Quality
    at: Instant
    simulated: bool = False
    forced: bool = False

    def age_ms(self, now: Instant) -> int:
        """Returns the age in ms, never below zero."""
        return max(0, now - self.at)


@dataclass(frozen=True, slots=True)
class Setpoint:
    """A lease on one writable point. After `valid_ms` from receipt the receiver applies `fallback` itself.

    `epoch` counts hub starts and is fencing: a receiver refuses an epoch below the highest it has seen,
    and within one epoch a sequence that is not higher.
    """

    device: DeviceId
    point: str
    value: float
    epoch: int
    sequence: int
    valid_ms: int
    fallback: float
    reason: str
    step: str = ""  # "", or `select` and then `operate` for kinds in TWO_STEP
    selection: str = ""  # the selection's id, made by whoever selects


class Commodity(StrEnum):
    """What a register counts."""

    ENERGY = "energy"  # Wh
    WATER = "water"  # mL


class RecordQuality(StrEnum):
    """How an interval came about (OCMF status letters in brackets)."""

    MEASURED = "measured"  # G
    ESTIMATED = "estimated"  # S: registers bracket a gap, split evenly
    SUSPECT = "suspect"  # registers went backwards or jumped: held, not settled


@dataclass(frozen=True, slots=True)
class IntervalRecord:
    """Cumulative registers at both ends of one market period.

    Registers are whole Wh (energy) or mL (water); import is what the usage point took. `page` is
    gap-free per (usage_point, meter_epoch) and starts at 1; `meter_epoch` counts meters at that point.
    """

    usage_point: UsagePointId
    commodity: Commodity
    meter_epoch: int
    page: int
    start: Instant
    end: Instant
    import_start: int
    import_end: int
    export_start: int
    export_end: int
    quality: RecordQuality = RecordQuality.MEASURED
    clock: ClockQuality = ClockQuality.SYNCHRONISED

    @property
    def import_delta(self) -> int:
        """Returns what the usage point took in this interval [Wh or mL]."""
        return self.import_end - self.import_start

    @property
    def export_delta(self) -> int:
        """Returns what the usage point gave in this interval [Wh or mL]."""
        return self.export_end - self.export_start


@dataclass(frozen=True, slots=True)
class Message:
    """One MQTT publish, in either direction."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class BusFault(StrEnum):
    """Why a bus transaction gave no registers."""

    TIMEOUT = "timeout"
    EXCEPTION = "exception"  # the device answered with a Modbus exception
    DISCONNECTED = "disconnected"
    GARBLED = "garbled"  # something was heard that is no answer: noise, a wrong CRC, a jammed bus
