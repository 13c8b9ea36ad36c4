"""The question put to the planner: frozen values only, kW, kWh, kL and plain floats.

Series have one entry per slot. Powers are positive numbers in the direction their name says
(`load_kw` consumed, `pv_kw` available for production); the hub's sign rule stays in the hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from devices.clock import Instant

Series = tuple[float, ...]
AssetId = NewType("AssetId", str)


@dataclass(frozen=True, slots=True)
class Grid:
    """The connection to the outside. `available[t]` False means the community is an island in slot t."""

    import_limit_kw: Series
    export_limit_kw: Series
    import_price: Series  # money (major units) per kWh
    export_price: Series
    available: tuple[bool, ...]
    over_limit_price: float  # per kWh above a limit: a soft limit with a price, never "infeasible"


@dataclass(frozen=True, slots=True)
class Battery:
    """A storage. Energies are inside the cells; efficiencies apply on the way in and out.

    A charge measured outside [soc_min, soc_max] (but inside the cells) widens that limit to itself for
    the whole plan, so that there always is one; the amount outside is priced as `soc_limit:<id>`.
    """

    id: AssetId
    energy_kwh: float
    charge_kw_max: float
    discharge_kw_max: float
    charge_efficiency: float
    discharge_efficiency: float
    soc_now_kwh: float
    soc_min_kwh: float
    soc_max_kwh: float
    reserve_kwh: float  # kept for lifelines while the grid is there; soft with `reserve_price`
    reserve_price: float  # per kWh and slot below the reserve
    terminal_value: float  # money per kWh left at the end
    wear_price: float  # money per kWh discharged
    final_kwh: float = 0.0  # wanted in the cells at the end of the plan; soft, priced as a limit


@dataclass(frozen=True, slots=True)
class Genset:
    """A diesel set: off, or between minimum load and its maximum."""

    id: AssetId
    power_kw_max: float
    power_kw_min: float
    fixed_price_per_h: float
    energy_price: float  # money per kWh
    start_price: float
    min_up_slots: int
    min_down_slots: int
    running: bool
    slots_in_state: int


@dataclass(frozen=True, slots=True)
class WaterSystem:
    """One tank filled by one on/off pump. Levels above `high_kl` at the start may only fall."""

    pump_id: AssetId
    tank_id: AssetId
    pump_kw: float
    pump_flow_kl_per_h: float
    volume_kl: float
    level_now_kl: float
    reserve_kl: float  # drinking reserve: hard for lifelines, see `lifeline_kl`
    high_kl: float  # do not pump above
    demand_kl: Series  # per slot
    lifeline_kl: Series  # part of demand that must be served whatever it costs, per slot
    unserved_price: float  # per kL of demand beyond the lifeline
    reserve_price: float  # per kL and slot below the reserve
    terminal_value: float  # per kL left at the end
    start_price: float
    running: bool = False  # the pump now: starting it again would cost nothing


@dataclass(frozen=True, slots=True)
class Charger:
    """A vehicle charger that must deliver `energy_kwh` between `from_slot` and `until_slot`."""

    id: AssetId
    power_kw_max: float
    energy_kwh: float
    from_slot: int
    until_slot: int  # exclusive
    unserved_price: float


@dataclass(frozen=True, slots=True)
class Job:
    """An uninterruptible run of `len(power_kw)` slots that starts once in [earliest, latest] or is skipped."""

    id: AssetId
    power_kw: Series
    water_kl: Series  # taken from the (first) tank in each slot of the run
    earliest_slot: int
    latest_slot: int
    skip_price: float


PastSeries = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Past:
    """What was metered until `Problem.start`, the newest slot last; None marks a slot without a value to trust."""

    slots_per_day: int
    load_kw: PastSeries
    pv_kw: PastSeries


@dataclass(frozen=True, slots=True)
class Scenario:
    """One future that may come instead of the forecast; all of a problem's scenarios are equally likely."""

    load_kw: Series
    pv_kw: Series


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything the planner may know; equal problems get equal plans (1 worker, same limits and seed)."""

    start: Instant
    slot_ms: int
    load_kw: Series  # all uncontrolled load, critical included
    critical_kw: Series  # part of load that may never be shed (clinic, water, comms, household lifelines)
    pv_kw: Series  # what the sun offers
    shed_price: float  # per kWh of load above critical that is not served
    grid: Grid
    batteries: tuple[Battery, ...] = ()
    gensets: tuple[Genset, ...] = ()
    water: tuple[WaterSystem, ...] = ()
    chargers: tuple[Charger, ...] = ()
    jobs: tuple[Job, ...] = ()
    scenarios: tuple[Scenario, ...] = ()  # what the first slot's modes are hedged against; none: the forecast alone
    past: Past | None = None  # the planner makes scenarios of it when there are none

    @property
    def slots(self) -> int:
        """Returns the number of slots."""
        return len(self.load_kw)

    @property
    def slot_h(self) -> float:
        """Returns the slot length in hours."""
        return self.slot_ms / 3_600_000


@dataclass(frozen=True, slots=True)
class Stop:
    """When to stop looking. Simulations and tests set `seconds` None: node and gap limits only."""

    seconds: float | None = 10.0
    gap: float = 0.005
    nodes: int | None = 2_000
