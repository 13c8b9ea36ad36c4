"""What holds for one drone on one site, and who has allowed its flights. Plain values: the site reads them too."""

from __future__ import annotations

from dataclasses import dataclass

from devices.clock import Instant
from devices.polygons import Point
from devices.zones import Zone

TILT_DECELERATION_MPS2 = 2.5
POSITION_ERROR_M = 3.0
REACTION_S = 1.0


@dataclass(frozen=True, slots=True)
class Authorisation:
    """Who has allowed these flights: the authority's or the club's reference, and until when."""

    reference: str
    operator_id: str
    until: Instant


@dataclass(frozen=True, slots=True)
class FlightRules:
    """What holds for one drone on one site.

    Energies in Wh, `wh_per_km` at cruise, `climb_wh` for one take-off and landing, `soc_reserve` a share of the pack
    that must be left after landing, `wind_mps` the wind that flights are planned for.
    """

    origin: Point  # latitude, longitude of the map's (0, 0)
    zones: tuple[Zone, ...]
    height_m: float
    speed_mps: float
    energy_wh: float
    wh_per_km: float
    climb_wh: float
    soc_reserve: float
    wind_mps: float = 5.0
    authorisation: Authorisation | None = None
    serial: str = ""  # Remote ID serial number of the aircraft

    @property
    def margin_m(self) -> float:
        """Returns how near a fence a flight may come: stopping way v^2/2a, wind during the reaction, position error."""
        return self.speed_mps**2 / (2 * TILT_DECELERATION_MPS2) + self.wind_mps * REACTION_S + POSITION_ERROR_M
