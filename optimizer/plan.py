"""The answer: modes and bands per slot, with reasons; or why nothing is possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from devices.clock import Instant
from optimizer.problem import AssetId, Series


class Mode(StrEnum):
    """What a storage does in a slot; the 1 s loop turns it into watts from the actual net load."""

    FOLLOW = "follow"  # keep the community's grid exchange at zero within the band
    HOLD = "hold"  # neither charge nor discharge
    CHARGE = "charge"  # charge with up to `limit_w`, from the grid if need be
    DISCHARGE = "discharge"  # follow the load down to zero import, at most `limit_w`, never export


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a step is as it is, in words an operator understands."""

    constraint: str  # the binding one: "cheap hours end at 07:00", "import limit 40 kW"
    marginal_price: float | None = None  # what one kWh more costs in this slot, integers fixed
    alternative: str = ""  # what was rejected
    alternative_cost: float | None = None  # what each kWh of it would cost more than the plan


@dataclass(frozen=True, slots=True)
class StorageStep:
    """One slot of one storage."""

    mode: Mode
    limit_w: int
    expected_w: int  # by the sign rule: positive charges
    expected_soc: float  # fraction at the end of the slot
    reason: Reason


@dataclass(frozen=True, slots=True)
class UnitStep:
    """One slot of a genset, pump, charger or job: power by the sign rule (a running genset is negative)."""

    on: bool
    power_w: int
    reason: Reason


ROUNDING_KW = 0.001
"""Powers are whole watts: every balance and limit of a plan holds within this much per asset taking part."""

ROUNDING_KWH = 0.002
"""A storage's charge may pass a limit by this much over an hour or less: whole watts cannot hit it exactly."""


STATUS = ("optimal", "feasible", "hedged", "limit")
"""Of a plan: proven within the asked gap under the forecast; not proven; dearer under the forecast because the first
slot was chosen over scenarios; time or nodes ran out."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked schedule. All series start at `start` and have one entry per slot.

    `cost` is the whole objective: energy, wear, fuel, starts and the money of every violation, less the
    value of what is left in storages and tanks. `violations` holds money by name:
    `shed`, `import_limit`, `export_limit`, and by asset `reserve:`, `final:`, `soc_limit:`, `min_load:`, `water:`,
    `water_reserve:`, `charge:`, `skipped:`; amounts below a watt-hour, a litre or a watt are not listed.
    """

    start: Instant
    slot_ms: int
    storages: Mapping[AssetId, tuple[StorageStep, ...]]
    units: Mapping[AssetId, tuple[UnitStep, ...]]  # gensets, pumps, chargers, jobs
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
