"""The community's published rules, as values. Every rule here can be recomputed by a household."""

from __future__ import annotations

from dataclasses import dataclass

from devices.clock import Instant


@dataclass(frozen=True, slots=True)
class TariffBand:
    """A price of energy from the outside in civil time: [start, end) minutes of the day, on `days` (0 = Monday)."""

    name: str
    start_minute: int
    end_minute: int  # up to 1440; a band that crosses midnight is written as two
    days: tuple[int, ...]
    import_price: int  # micro-units (1e-6 of the major unit) per kWh


@dataclass(frozen=True, slots=True)
class Charter:
    """Prices in micro-units per kWh or m3; lifelines per household and local day."""

    version: int
    valid_from: Instant
    currency: str
    minor_digits: int  # 2: cents
    timezone: str
    bands: tuple[TariffBand, ...]
    export_price: int  # what the outside pays, per kWh
    local_price: int  # between members and the community, per kWh
    sharing: str  # "proportional" to consumption in each slot
    lifeline_wh: int
    lifeline_price: int  # per kWh inside the lifeline block
    lifeline_ml: int
    lifeline_water_price: int  # per m3
    water_price: int  # per m3 beyond
    bill_period: str  # day, week or month, in local time
    rounding: str = "half-even-per-bill"


@dataclass(frozen=True, slots=True)
class Member:
    """A party with an account. `usage_points` are its energy meters, `water_points` its water meters."""

    id: str
    name: str
    usage_points: tuple[str, ...]
    water_points: tuple[str, ...]
    lifeline: bool = True  # households have one, the clinic and the community may not
    role: str = "household"  # household, clinic, community
