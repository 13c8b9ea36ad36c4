"""The answer: modes and bands per slot, with reasons; or why nothing is possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from devices.clock import Instant
from optimizer.problem import AssetId, Departure, Feeder, Series
from optimizer.tasks import WorkPlan
from optimizer.waste import EnginePlan
from optimizer.zone_ask import ZoneRun


class Mode(StrEnum):
    """What a storage does in a slot; the 1 s loop turns it into watts from the actual net load."""

    FOLLOW = "follow"  # keep the community's grid exchange at zero within the band
    HOLD = "hold"  # neither charge nor discharge
    CHARGE = "charge"  # charge with up to `limit_w`, from the grid if need be
    DISCHARGE = "discharge"  # follow the load down to zero import, at most `limit_w`, never export


class Limit(StrEnum):
    """What a reason can name as binding. In kWh, a tank in kL; in one slot unless said otherwise."""

    LOAD = "load"  # what is asked of the community's bus
    IMPORT = "import"  # the grid connection's import limit
    EXPORT = "export"
    STORED = "stored"  # what a storage holds at the end of the slot
    FULL = "full"  # a storage's capacity at the end of the slot
    CHARGE_POWER = "charge_power"
    DISCHARGE_POWER = "discharge_power"
    TANK = "tank"  # what a tank holds
    NEED = "need"  # what a vehicle wants until it leaves; no slot


@dataclass(frozen=True, slots=True)
class Binding:
    """The limit that makes a step what it is, by name, so that it can be moved and the plan solved again."""

    limit: Limit
    asset: AssetId  # empty for the community's own limits
    slot: int  # of the plan; may lie after the step that it explains
    price: float  # money saved by one unit more of it (one unit less load), integers fixed


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a step is as it is, in words an operator understands."""

    constraint: str  # the binding one: "cheap hours end at 07:00", "import limit 40 kW"
    marginal_price: float | None = None  # what one kWh more costs in this slot, integers fixed
    alternative: str = ""  # what was rejected
    alternative_cost: float | None = None  # what each kWh of it would cost more than the plan, at least
    binding: Binding | None = None  # the constraint as a limit that can be moved; None: nothing that has a price


@dataclass(frozen=True, slots=True)
class StorageStep:
    """One slot of one storage."""

    mode: Mode
    limit_w: int
    expected_w: int  # by the sign rule: positive charges
    expected_soc: float  # fraction at the end of the slot
    reason: Reason
    away: bool = False  # a vehicle that is not plugged in


@dataclass(frozen=True, slots=True)
class UnitStep:
    """One slot of a genset, pump, charger or job: power by the sign rule (a running genset is negative)."""

    on: bool
    power_w: int
    reason: Reason
    speed: float = 1.0  # part of full speed, of a pump in a pressure zone


class AssetKind(StrEnum):
    """What an asset of a plan is to people."""

    BATTERY = "battery"
    VEHICLE = "vehicle"  # a pack, or a charger with what stands at it
    GENSET = "genset"
    PUMP = "pump"  # pumps and water plants
    THERMAL = "thermal"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Role:
    """An asset of a plan in words."""

    kind: AssetKind
    does: str = ""  # while it is on: "pump into tank-1"; empty of storages
    device: str = ""  # of a job: what runs
    departures: tuple[Departure, ...] = ()  # of a vehicle: when it is to be ready, and what it wants then


ROUNDING_KW = 0.001
"""Powers are whole watts: every balance and limit of a plan holds within this much per asset taking part."""

ROUNDING_KWH = 0.002
"""A storage's charge may pass a limit by this much over an hour or less: whole watts cannot hit it exactly."""


@dataclass(frozen=True, slots=True)
class Basis:
    """Where a simplex method stands, one letter per column and row: free, at lower, at upper, fixed, basic."""

    columns: str
    rows: str


STATUS = ("optimal", "feasible", "hedged", "limit")
"""Of a plan: proven within the asked gap under the forecast; not proven; dearer under the forecast because the first
slot was chosen over scenarios; time or nodes ran out."""


STAYS = "stays"
"""Marks a field that is of use only to the planner that made the value: `codec` leaves it out."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked schedule. All series start at `start` and have one entry per slot.

    `cost` is the whole objective: energy, wear, fuel, starts and the money of every violation, less the
    value of what is left in storages and tanks. `violations` holds money by name:
    `shed`, `import_limit`, `export_limit`, and by asset `reserve:`, `final:`, `soc_limit:`, `min_load:`, `water:` (with
    the tier), `water_reserve:`, `water_margin:`, `stopped:`, `charge:`, `skipped:`, `trip:`, `departure:`, `comfort:`,
    `heat:`, `ramp:`, `feeder:`, by tier `shed:`, and `spinning`, `outage`; amounts below a watt-hour, a litre or a watt
    are not listed.
    """

    start: Instant
    slot_ms: int
    storages: Mapping[AssetId, tuple[StorageStep, ...]]
    units: Mapping[AssetId, tuple[UnitStep, ...]]  # gensets, pumps, chargers, jobs, thermal stores
    grid_kw: Series  # positive = import from outside
    curtailed_kw: Series
    shed_kw: Series
    tank_kl: Mapping[AssetId, Series]  # at the end of each slot
    water_unserved_kl: Mapping[AssetId, Series]
    soc_kwh: Mapping[AssetId, Series]  # at the end of each slot
    cost: float  # objective in money, terminal values credited
    bound: float  # best proven lower bound on cost
    violations: Mapping[str, float] = field(default_factory=dict[str, float])  # named slack -> priced amount
    status: str = "optimal"  # one of `STATUS`
    seconds: float = 0.0
    trip_unserved_kwh: Mapping[AssetId, Series] = field(default_factory=dict[AssetId, Series])
    """Of batteries with trips: what each slot's trip lacks."""
    heat_kwh: Mapping[AssetId, Series] = field(default_factory=dict[AssetId, Series])  # at the end of each slot
    heat_unserved_kwh: Mapping[AssetId, Series] = field(default_factory=dict[AssetId, Series])
    shed_by_tier_kw: Mapping[str, Series] = field(default_factory=dict[str, Series])
    """Parts of `shed_kw`; the rest of it has the problem's own price."""
    feeder_curtailed_kw: Mapping[AssetId, Series] = field(default_factory=dict[AssetId, Series])
    """Parts of `curtailed_kw` that are taken off on each feeder."""
    well_kl: Mapping[AssetId, Series] = field(default_factory=dict[AssetId, Series])  # at the end of each slot
    engines: Mapping[AssetId, EnginePlan] = field(default_factory=dict[AssetId, EnginePlan])
    """Of gas plants, by digester; their power is part of what the sun offers, and what they run is among `units`."""
    zones: Mapping[AssetId, ZoneRun] = field(default_factory=dict[AssetId, ZoneRun])
    """Of pressure zones; their pumps are among `units`, their tanks in `tank_kl`."""
    leaves: Mapping[AssetId, Instant] = field(default_factory=dict[AssetId, Instant])
    """When each trip that could be moved leaves; the vehicles' packs are among `storages`."""
    work: WorkPlan | None = None  # who does what when, where work was asked; its power is among `units`
    roles: Mapping[AssetId, Role] = field(default_factory=dict[AssetId, Role])  # of storages and units
    basis: Basis | None = None  # of the LP behind it, for a warm re-plan
    notices: tuple[str, ...] = ()  # what was odd about the problem, in words (`validation.notices`)
    cuts: tuple[Feeder, ...] = ()  # limits that the check of the network added to the problem's feeders
    bound_prices: Series = field(default=(), compare=False, repr=False, metadata={STAYS: True})
    """Of the relaxation's rows, for the bound of a re-plan from the same slot on."""

    @property
    def job_devices(self) -> tuple[str, ...]:
        """Returns the devices that jobs run on, each once."""
        return tuple(dict.fromkeys(role.device for role in self.roles.values() if role.device))

    def slot(self, now: Instant) -> int | None:
        """Returns the index of the slot that holds `now`, or None outside the plan."""
        index = (now - self.start) // self.slot_ms
        return index if 0 <= index < len(self.grid_kw) else None


@dataclass(frozen=True, slots=True)
class Infeasible:
    """Nothing can serve the lifelines, or the problem itself is broken; `reasons` in words, minimal."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that the checker found wrong with a plan."""

    rule: str
    slot: int | None
    seen: float
    limit: float
    message: str
