"""The question put to the planner: frozen values only, kW, kWh, kL and plain floats.

Series have one entry per slot. Powers are positive numbers in the direction their name says
(`load_kw` consumed, `pv_kw` available for production); the hub's sign rule stays in the hub.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.clock import Instant
from optimizer.names import AssetId, Series
from optimizer.network import Network
from optimizer.tasks import WorkProblem
from optimizer.trip_ask import Pack, TripAsk
from optimizer.waste import GasPlant
from optimizer.zone_ask import ZoneAsk


@dataclass(frozen=True, slots=True)
class Grid:
    """The connection to the outside. `available[t]` False means the community is an island in slot t."""

    import_limit_kw: Series
    export_limit_kw: Series
    import_price: Series  # money (major units) per kWh
    export_price: Series
    available: tuple[bool, ...]
    over_limit_price: float  # per kWh above a limit: a soft limit with a price, never "infeasible"
    peak_price: float = 0.0  # capacity charge: money per kW of the plan's import peak above `peak_kw_so_far`
    peak_kw_so_far: float = 0.0  # already reached in the billing period: paid for anyway


@dataclass(frozen=True, slots=True)
class Departure:
    """A vehicle leaves at the beginning of `slot` and should then have `energy_kwh` in its cells."""

    slot: int  # 1 to the number of slots
    energy_kwh: float
    price: float  # per kWh missing


@dataclass(frozen=True, slots=True)
class Errand:
    """Why a vehicle is away in [first_slot, until_slot): for people only, `present` is what is planned by."""

    first_slot: int
    until_slot: int
    what: str


@dataclass(frozen=True, slots=True)
class Battery:
    """A storage. Energies are inside the cells; efficiencies apply on the way in and out.

    A vehicle's pack (car, boat, robot, drone) is a battery with `present`, `trip_kwh` and `departures`; without
    them it is always there. Trips take energy out of the cells; what a trip lacks is priced as `trip:<id>`.

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
    present: tuple[bool, ...] = ()  # per slot: plugged in; empty: always
    trip_kwh: Series = ()  # per slot: taken from the cells by driving; empty: nothing
    trip_price: float = 0.0  # per kWh of a trip that is not in the cells
    departures: tuple[Departure, ...] = ()
    forms_grid: bool = True  # counts for the spinning reserve of an island
    errands: tuple[Errand, ...] = ()

    @property
    def vehicle(self) -> bool:
        """Returns whether it is on wheels, wings or a keel: something that goes, or that only takes."""
        return not self.stationary or self.discharge_kw_max <= 0.0

    @property
    def stationary(self) -> bool:
        """Returns whether it is there in every slot and nothing but the bus changes its charge."""
        return all(self.present) and not any(self.trip_kwh) and not self.departures


@dataclass(frozen=True, slots=True)
class ThermalStore:
    """Heat (or cold) kept by an electric device: a hot-water tank, a house with a heat pump, a cold store.

    level = level before x (1 - loss_per_h x hours) + cop x kWh - demand. The level is energy above the point at which
    the store is of no use; the comfort band is soft, and demand that the store cannot give is priced.
    """

    id: AssetId
    power_kw_max: float
    cop: Series  # kWh of heat per kWh of electricity, per slot
    level_now_kwh: float
    low_kwh: float  # comfort: soft with `comfort_price`
    high_kwh: float  # a level above it at the start may only fall
    loss_per_h: float  # part of the level that is lost in an hour
    demand_kwh: Series  # taken out per slot
    comfort_price: float  # per kWh and slot below `low_kwh`
    unserved_price: float  # per kWh of demand not served
    terminal_value: float = 0.0  # per kWh left at the end
    cold: bool = False  # a cold store: its level is cold


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
    ramp_kw: float | None = None  # most change from one slot to the next while it runs; soft with `ramp_price`
    ramp_price: float = 100.0  # per kW beyond the ramp and hour
    power_now_kw: float | None = None  # where the ramp of the first slot begins; None: free
    fuel_kwh: float | None = None  # what its tank still gives within the plan; None: enough


@dataclass(frozen=True, slots=True)
class WaterTier:
    """A part of the demand above the lifeline that may be rationed at a price of its own, cheapest first."""

    name: str
    kl: Series
    price: float  # per kL


@dataclass(frozen=True, slots=True)
class Well:
    """A borehole: water that stands above the pump's intake, and what flows in. Dry, it gives no more than that."""

    id: AssetId
    storage_kl: float  # between the intake and the level at rest
    level_now_kl: float  # above the intake
    yield_kl_per_h: float
    limit_kl: float | None = None  # what may be taken within the plan (licence, salt); None: no limit


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a plant gives and takes in one state."""

    flow_kl_per_h: float
    power_kw: float


@dataclass(frozen=True, slots=True)
class WaterPlant:
    """A pump, filter or desalination plant that brings water into a tank of the problem.

    With one point it is on or off, with more it runs anywhere between the first and the last (a drive with variable
    speed; power has to rise faster than flow). With `phases` it runs in whole batches, one phase per slot.
    """

    id: AssetId
    tank: AssetId
    source: AssetId | None  # a well, or another tank; None: never short (the sea)
    points: tuple[OperatingPoint, ...] = ()
    phases: tuple[OperatingPoint, ...] = ()
    recovery: float = 1.0  # part of what it takes that reaches the tank
    min_run_slots: int = 1
    start_price: float = 0.0  # of each start, of each batch
    running: bool = False
    keep_slots: int = 0  # it should run on for so long; soft, with `stop_price` per slot
    stop_price: float = 0.0
    phase_now: int = 0  # phases that a batch under way has done; it goes on to its end

    @property
    def rest_slots(self) -> int:
        """Returns how many slots a batch under way still needs."""
        return len(self.phases) - self.phase_now if self.phase_now else 0


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
    margin_kl: Series = ()  # planned above the reserve at the end of each slot, for what the forecast may miss; none
    margin_price: float = 0.0  # per kL and slot below reserve and margin, beside `reserve_price`
    well: AssetId | None = None  # what the pump takes from; None: never short
    tiers: tuple[WaterTier, ...] = ()  # what they leave of the demand above the lifeline has `unserved_price`

    @property
    def pumped(self) -> bool:
        """Returns whether the pump brings anything; one that does not stands in for none, and never runs."""
        return self.pump_flow_kl_per_h > 0.0


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
    device: str = ""  # what runs, where that is not the job's own name
    what: str = ""  # in words, while it runs: "water the field"


@dataclass(frozen=True, slots=True)
class SplitJob:
    """A job that may pause: `slots` slots of `power_kw`, anywhere in [earliest_slot, until_slot)."""

    id: AssetId
    power_kw: float
    slots: int
    earliest_slot: int
    until_slot: int  # exclusive
    skip_price: float  # for all of it; slots that do not run cost their part
    water_kl: float = 0.0  # taken from the (first) tank in each slot that runs
    device: str = ""  # as of a `Job`
    what: str = ""


@dataclass(frozen=True, slots=True)
class ShedTier:
    """A part of the load above critical that may be shed at a price of its own, cheapest first."""

    name: str
    kw: Series
    price: float  # per kWh


@dataclass(frozen=True, slots=True)
class Feeder:
    """A line to some of the load, solar and assets, with limits of its own. Shed load is not credited to it."""

    id: AssetId
    load_kw: Series  # its part of the uncontrolled load
    pv_kw: Series  # its part of the solar power on offer
    assets: tuple[AssetId, ...]  # by id; a water system by its pump
    import_limit_kw: Series
    export_limit_kw: Series
    price: float  # per kWh above a limit
    inner: tuple[AssetId, ...] = ()  # feeders that lie beyond it: solar curtailed on them is curtailed on this one too


@dataclass(frozen=True, slots=True)
class Reserve:
    """What is kept ready for what no forecast knows. Both parts are soft.

    In slots without grid, running gensets and grid-forming batteries together keep `spinning_kw` of headroom. In
    slots with grid, those batteries (and running gensets) could carry the critical load of the `outage_slots`
    following slots alone, should the grid go at the end of the slot.
    """

    spinning_kw: Series
    spinning_price: float  # per kW and hour missing
    outage_slots: int = 0
    outage_price: float = 0.0  # per kWh missing and slot


@dataclass(frozen=True, slots=True)
class Scenario:
    """One future that may come instead of the forecast; all of a problem's scenarios are equally likely."""

    load_kw: Series
    pv_kw: Series
    water_kl: Series = ()  # demand per slot; empty: as forecast


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
    thermal: tuple[ThermalStore, ...] = ()
    split_jobs: tuple[SplitJob, ...] = ()
    shed_tiers: tuple[ShedTier, ...] = ()  # what they leave of the load above critical has `shed_price`
    feeders: tuple[Feeder, ...] = ()
    reserve: Reserve | None = None
    wells: tuple[Well, ...] = ()
    plants: tuple[WaterPlant, ...] = ()
    network: Network | None = None  # checked, and its limits brought into the plan, by `optimizer.network_plan`
    gas: tuple[GasPlant, ...] = ()  # planned together with the rest by `optimizer.whole`
    zones: tuple[ZoneAsk, ...] = ()  # likewise
    packs: tuple[Pack, ...] = ()  # of vehicles whose trips the plan may move; likewise
    trips: tuple[TripAsk, ...] = ()
    work: WorkProblem | None = None  # planned together with the rest by `optimizer.whole`; its supply is found there

    @property
    def slots(self) -> int:
        """Returns the number of slots."""
        return len(self.load_kw)

    @property
    def stores(self) -> tuple[Battery, ...]:
        """Returns the batteries that are always there and that nothing but the bus changes."""
        return tuple(b for b in self.batteries if b.stationary)

    @property
    def steered(self) -> tuple[AssetId, ...]:
        """Returns the ids of the devices that the plan steers: what a feeder may name beside jobs."""
        devices = (*self.batteries, *self.gensets, *self.chargers, *self.plants, *self.thermal)
        return (*(device.id for device in devices), *(water.pump_id for water in self.water))

    @property
    def slot_h(self) -> float:
        """Returns the slot length in hours."""
        return self.slot_ms / 3_600_000

    @property
    def price_beyond(self) -> Series:
        """Returns per slot what a kWh costs when all that is cheaper has gone: the tariff, as an island diesel."""
        diesel = min((g.energy_price for g in self.gensets), default=self.shed_price)
        there = zip(self.grid.import_price, self.grid.available, strict=True)
        return tuple(price if connected else diesel for price, connected in there)


@dataclass(frozen=True, slots=True)
class Stop:
    """When to stop looking. Simulations and tests set `seconds` None: node and gap limits only."""

    seconds: float | None = 10.0
    gap: float = 0.005
    nodes: int | None = 2_000
    worth: float = 0.0  # plans that differ by no more than this are as good [money]
