"""What one hub knows: made by `controller.hub.start`, changed only by its step."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller import plans
from controller.alarms import AlarmBook
from controller.appliances import Appliances
from controller.cold_chain import ColdChain
from controller.commands import CommandResult
from controller.cycle import Decision, Hold
from controller.daybook import Daybook
from controller.deliveries import Desk
from controller.emergency import Emergency
from controller.food_stock import FoodStock
from controller.history import History
from controller.hub_events import Booked
from controller.image import Image, Snapshot
from controller.mirror import Mirror
from controller.missions import Board
from controller.scores import Scorebook
from controller.sensor_watch import SensorWatch
from controller.site import Site
from controller.triggers import Watch
from controller.vehicle_charging import Charging
from controller.weather import WeatherBook
from controller.workbook import Workbook
from devices.clock import MINUTE_MS, Instant
from devices.model import DeviceId, PointId
from devices.sparkplug import HostSession

COMMANDS_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True)
class HubConfig:
    """How this hub runs. `epoch` counts starts and fences setpoints; `floor_ms` is 500 ms real at the run's speed."""

    site: Site
    epoch: int
    cycle_ms: int
    period_ms: int  # how often gateways publish
    floor_ms: int
    replan_ms: int
    plans: bool = True  # False: rules only
    simulated: bool = False
    slow_period_ms: int = 0  # how often meters and solar are read, where that is less often
    phase_ms: int = 0  # how long after each boundary the cycle runs
    advisory: bool = False  # read only: plans are made in shadow, nothing is sent to any device
    safe: bool = False  # after too many starts: as `advisory`, and it says why

    @property
    def host_id(self) -> str:
        """Returns the Sparkplug host id: an adviser never speaks for the hub whose STATE gateways wait for."""
        return "atoll-adviser" if self.advisory else "atoll"

    mirror_ms: int = 0  # a changed value is mirrored as JSON at most so often; 0: never
    erased: tuple[PointId, ...] = ()  # points whose retained values are taken back from the broker


TOLD = "told"
"""Point in the telemetry, beside those that a device reports: the value that the hub has told it."""
TOLD_EVERY_MS = 5 * MINUTE_MS
"""A setpoint that is renewed unchanged is noted so often."""


@dataclass(slots=True)
class Lease:
    """The setpoint that a device was last sent."""

    value: float
    sent_at: Instant
    reason: str
    kept_at: int = 0  # when it was last noted in the telemetry


@dataclass(frozen=True, slots=True)
class Selected:
    """The first of two steps: somebody means to operate this next."""

    id: str  # the command's, and the selection's at the gateway
    value: float
    by: str
    until: Instant
    order: str = ""  # of a drone: the flight that is meant


@dataclass(slots=True)
class Hub:
    """Everything that one hub knows. Made by `start`; changed only by `step`."""

    config: HubConfig
    host: HostSession
    image: Image
    history: History
    planning: plans.Planning
    board: Board
    desk: Desk
    alarms: AlarmBook
    started_at: Instant
    next_cycle: Instant
    days: Daybook
    scores: Scorebook
    owner_of: Mapping[DeviceId, str]  # the site's devices and the gateway that may speak for each
    work: Workbook
    appliances: Appliances
    weather: WeatherBook
    watch: Watch = field(default_factory=Watch)
    emergency: Emergency = field(default_factory=Emergency)
    sensors: SensorWatch = field(default_factory=SensorWatch)
    charging: Charging = field(default_factory=Charging)
    cold: ColdChain = field(default_factory=ColdChain)
    fields_at: Instant = field(default=Instant(0))  # when the fields' soils are reckoned again
    food: FoodStock = field(default_factory=FoodStock)
    link_up: bool = False
    link_reason: str = "not connected yet"
    gateways: set[str] = field(default_factory=set[str])
    node_of: dict[DeviceId, str] = field(default_factory=dict[DeviceId, str])
    holds: dict[DeviceId, Hold] = field(default_factory=dict[DeviceId, Hold])
    selections: dict[DeviceId, Selected] = field(default_factory=dict[DeviceId, Selected])
    leases: dict[DeviceId, Lease] = field(default_factory=dict[DeviceId, Lease])
    decisions: dict[DeviceId, Decision] = field(default_factory=dict[DeviceId, Decision])
    snapshot: Snapshot | None = None
    island: bool = False
    sequence: int = 0
    version: int = 0
    cycles: int = 0
    booked: Booked = field(default_factory=lambda: Booked(0, ""))
    answered: deque[CommandResult] = field(default_factory=lambda: deque[CommandResult](maxlen=COMMANDS_REMEMBERED))
    bad_batches: int = 0
    mirror: Mirror = field(default_factory=lambda: Mirror(""))

    def next_deadline(self) -> Instant:
        """Returns when `step` wants a Tick at the latest."""
        reorder = self.host.next_deadline()
        return self.next_cycle if reorder is None else Instant(min(self.next_cycle, reorder))

    def watch_from(self) -> Instant:
        """Returns from when on silence is an alarm: start-up gives every device one deadline, at least ten seconds."""
        return Instant(self.started_at + max(10_000, 10 * self.config.floor_ms, 3 * self.config.period_ms))
