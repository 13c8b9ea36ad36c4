"""What an emergency asks of the rules, frozen for one cycle. See `controller.emergency`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from devices.clock import Instant
from devices.model import DeviceId


@dataclass(frozen=True, slots=True)
class Orders:
    """Nothing by default: on an ordinary day the emergency rule is silent."""

    active: bool = False  # hours of lifelines come before money
    top_up: bool = False  # a storm is near: every store takes what the feeder leaves
    keep: bool = False  # a storm blows and the grid is still there: what is stored stays
    vehicles: bool = True  # whether vehicles may charge where there is no grid
    machines: bool = True  # whether relays and other loads beyond the lifelines may run where there is no grid
    ration: str = "none"
    shed: Mapping[DeviceId, str] = field(default_factory=dict[DeviceId, str])  # switches of tiers that are off, and why
    waits: Mapping[DeviceId, Instant] = field(default_factory=dict[DeviceId, Instant])  # restart: off until then
