"""Trips of vehicles in a problem, and the packs that they take their energy from: plain values."""

from __future__ import annotations

from dataclasses import dataclass

from devices.clock import Instant
from optimizer.names import AssetId


@dataclass(frozen=True, slots=True)
class Pack:
    """A vehicle's pack at its dock. Energies are inside the cells, `charge_kw` is taken from the bus."""

    vehicle: AssetId
    energy_kwh: float
    charge_now_kwh: float
    charge_kw: float
    efficiency: float
    floor_kwh: float  # left in it when it comes home
    ready_kwh: float  # wanted in it at any time, softly
    worth: float  # money per kWh left at the end
    full_by: tuple[Instant, ...] = ()  # other work begins: the pack should be full


@dataclass(frozen=True, slots=True)
class TripAsk:
    """A trip or flight that somebody has planned: gone from `leave` to `back`, taking `energy_kwh` out of the cells.

    It may leave at `earliest`, at `latest` and at whole slots from `leave` between them; its length stays.
    """

    id: AssetId
    vehicle: AssetId
    leave: Instant  # loading at the dock begins
    back: Instant
    energy_kwh: float
    earliest: Instant
    latest: Instant
    what: str = ""  # in words: "round of 3 stops: school, clinic"

    @property
    def movable(self) -> bool:
        """Returns whether it may leave at another time at all."""
        return self.earliest < self.latest

    def moved(self, leave: Instant) -> tuple[Instant, Instant]:
        """Returns (leave, back) when it leaves then."""
        return leave, Instant(self.back + leave - self.leave)
