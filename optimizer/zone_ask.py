"""A pressure zone in a problem, and what a plan makes of it: plain values. The table travels as its file's text."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.names import AssetId, Series


@dataclass(frozen=True, slots=True)
class PumpSpeed:
    """A pump that runs at a part of full speed."""

    pump: AssetId
    speed: float


@dataclass(frozen=True, slots=True)
class ZoneAsk:
    """One pressure zone, planned by its table; tanks in the table's order."""

    id: AssetId
    table: str  # the JSON text of `atoll water table`
    demand_kl_per_h: Series
    level_now_kl: tuple[float, ...]
    reserve_kl: tuple[float, ...]  # soft
    final_kl: tuple[float, ...]  # wanted at the end; soft
    start_price: float = 0.0
    now: tuple[PumpSpeed, ...] = ()


@dataclass(frozen=True, slots=True)
class ZoneRun:
    """What a zone's pumps do: the configuration of each slot as its index and as speeds, and what comes of it."""

    choice: tuple[int, ...]
    speeds: tuple[tuple[PumpSpeed, ...], ...]
    power_kw: Series
    pumps: tuple[AssetId, ...]  # all of the zone's
    tanks: tuple[AssetId, ...]
    level_kl: tuple[Series, ...]  # by tank, at the end of each slot
    starts: int
    own_cost: float  # starts and what soft limits cost; energy is the energy plan's
