"""Are an inverter's own trip settings inside what the site states? Read and judged; nothing here writes any. Pure.

A limit names a voltage or a frequency and between which times a device must leave the line there: too early and a small
dip darkens the village, too late and it keeps a fault alive. Source of the idea: IEEE 1547-2018 clauses 6.4 and 6.5
(trip and ride-through); the numbers are the grid operator's, this file has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from devices.commissioning import Check, State
from devices.sunspec_curves import TRIPS, Curve, trips_after_s


@dataclass(frozen=True, slots=True)
class TripLimit:
    """At `at_pct` of the nominal voltage, or at `at_hz`, a device trips after `ms_min` to `ms_max` (None: may never).

    `side` is `low` or `high`: on which side of nominal that lies. Exactly one of `at_pct` and `at_hz` is a number.
    """

    side: str
    at_pct: float | None
    at_hz: float | None
    ms_min: int
    ms_max: int | None

    @property
    def curve(self) -> str:
        """Returns the name of the curve that says it."""
        return f"trip_{self.side[0]}{'v' if self.at_pct is not None else 'f'}"

    @property
    def level(self) -> float:
        """Returns the voltage [% of nominal] or the frequency [Hz]."""
        level = self.at_pct if self.at_pct is not None else self.at_hz
        assert level is not None, "the site's check lets none pass without"
        return level

    @property
    def text(self) -> str:
        """Returns `trip at 45 %`."""
        return f"trip at {self.level:g} {'%' if self.at_pct is not None else 'Hz'}"

    @property
    def allowed(self) -> str:
        """Returns `allowed: 1.5 s to 2.5 s`."""
        most = "never" if self.ms_max is None else f"{self.ms_max / 1000:g} s"
        return f"allowed: {self.ms_min / 1000:g} s to {most}"


SHOWN = {"inside": State.PASSED, "outside": State.FAILED}
"""What a technician read off a display or a certificate, where the wire shows no trip settings."""


def check_trips(limits: Sequence[TripLimit], curves: Sequence[Curve], shown: str = "") -> list[Check]:
    """Returns a check per limit of the site; none where it states none.

    `shown` (`inside`, `outside` or empty) settles the limits whose curve the device does not show on the wire.
    """
    found = {curve.name: curve for curve in curves if curve.name in TRIPS}
    return [_checked(limit, found.get(limit.curve), shown) for limit in limits]


def _checked(limit: TripLimit, curve: Curve | None, shown: str) -> Check:
    if curve is None or curve.enabled is None or curve.problem:
        why = "no such model" if curve is None else curve.problem or "on or off is not told"
        said = f"{limit.curve} cannot be read ({why}); read off its display or certificate: {shown or 'nobody did'}"
        return Check(limit.text, SHOWN.get(shown, State.OPEN), said)
    if None in curve.points.values():
        return Check(limit.text, State.FAILED, f"{limit.curve} has a point that is no number")
    must = trips_after_s(curve, limit.level) if curve.enabled else None
    may = trips_after_s(curve, limit.level, "may") if curve.enabled else None
    earliest = min((one for one in (must, may) if one is not None), default=None)
    said = f"{'never trips' if must is None else f'trips after {must:g} s'}"
    said += "" if curve.enabled else f" ({limit.curve} is off)"
    said += f", may from {may:g} s" if may is not None and earliest == may != must else ""
    late = limit.ms_max is not None and (must is None or must * 1000 > limit.ms_max)
    early = earliest is not None and earliest * 1000 < limit.ms_min
    wrong = "; too late" if late else "; too early" if early else ""
    state = State.FAILED if wrong else State.PASSED
    return Check(limit.text, state, f"{said}; {limit.allowed}{wrong}")
