"""What one hub knows: made by `controller.hub.start`, changed only by its step."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller import plans
from controller.alarms import AlarmBook
from controller.commands import CommandResult
from controller.cycle import Decision, Hold
from controller.history import History
from controller.hub_events import Booked
from controller.image import Image, Snapshot
from controller.missions import Board
from controller.site import Site
from devices.clock import Instant
from devices.model import DeviceId
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


@dataclass(slots=True)
class Lease:
    """The setpoint that a device was last sent."""

    value: float
    sent_at: Instant
    reason: str


@dataclass(slots=True)
class Hub:
    """Everything that one hub knows. Made by `start`; changed only by `step`."""

    config: HubConfig
    host: HostSession
    image: Image
    history: History
    planning: plans.Planning
    board: Board
    alarms: AlarmBook
    started_at: Instant
    next_cycle: Instant
    owner_of: Mapping[DeviceId, str]  # the site's devices and the gateway that may speak for each
    link_up: bool = False
    link_reason: str = "not connected yet"
    gateways: set[str] = field(default_factory=set[str])
    node_of: dict[DeviceId, str] = field(default_factory=dict[DeviceId, str])
    holds: dict[DeviceId, Hold] = field(default_factory=dict[DeviceId, Hold])
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

    def next_deadline(self) -> Instant:
        """Returns when `step` wants a Tick at the latest."""
        reorder = self.host.next_deadline()
        return self.next_cycle if reorder is None else Instant(min(self.next_cycle, reorder))

    def watch_from(self) -> Instant:
        """Returns from when on silence is an alarm: start-up gives every device one deadline, at least ten seconds."""
        return Instant(self.started_at + max(10_000, 10 * self.config.floor_ms, 3 * self.config.period_ms))
