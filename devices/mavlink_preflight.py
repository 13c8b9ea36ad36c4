"""What must hold before a drone is sent: fail-safes read back from the aircraft, charge, zones, authorisation. Pure.

Containment is the autopilot's: fence, lost link and low battery must be armed there, because nobody else is near when
the link is gone. Every refusal says what, where, what was seen and what to do; all are given at once.

Source: ArduCopter parameters (AC_Fence, AP_BattMonitor_Params, Copter FS_*: FS_OPTIONS bit 1 goes on with a mission
without a link; AP_BattMonitor actions default to 0 = none); PX4 parameter reference (GF_ACTION, NAV_DLL_ACT,
COM_LOW_BAT_ACT: 0 or 1 only warn).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devices.clock import Instant, iso
from devices.flight_rules import FlightRules
from devices.mavlink_flight import Flight, energy_wh
from devices.mavlink_values import GROUND, Autopilot
from devices.zones import ZoneKind, air_conflicts

CONTINUE_IN_AUTO = 2
POLYGON_FENCE, HEIGHT_FENCE = 4, 1


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason not to fly."""

    code: str
    where: str
    seen: str
    fix: str

    def text(self) -> str:
        """Returns the refusal in one line."""
        return f"{self.where}: {self.seen}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that the aircraft's parameters must say. Names of later firmware come after the first."""

    code: str
    names: tuple[str, ...]
    holds: Callable[[float], bool]
    fix: str


def _on(value: float) -> bool:
    return value != 0


ARDUPILOT = (
    Condition("fenceOff", ("FENCE_ENABLE",), _on, "set it to 1"),
    Condition("fenceOff", ("FENCE_ACTION",), _on, "0 only reports a breach: set 1 (RTL or land)"),
    Condition("fenceOff", ("FENCE_TYPE",), lambda v: bool(int(v) & POLYGON_FENCE), "add 4 (polygons)"),
    Condition("lostLinkOff", ("FS_GCS_ENABLE",), lambda v: v not in (0, 2), "set 1 (RTL)"),
    Condition(
        "lostLinkOff",
        ("FS_OPTIONS",),
        lambda v: not int(v) & CONTINUE_IN_AUTO,
        "take 2 away: it flies missions on without a link",
    ),
    Condition(
        "lostLinkOff",
        ("SYSID_MYGCS", "MAV_GCS_SYSID"),
        lambda v: int(v) == GROUND[0],
        f"set {GROUND[0]}: it watches another ground station's heartbeat than ours",
    ),
    Condition("batteryOff", ("BATT_FS_LOW_ACT",), _on, "0 does nothing: set 2 (RTL)"),
    Condition("batteryOff", ("BATT_FS_CRT_ACT",), _on, "0 does nothing: set 1 (land)"),
)
PX4 = (
    Condition("fenceOff", ("GF_ACTION",), lambda v: v >= 2, "0 and 1 only warn: set 3 (return)"),
    Condition("lostLinkOff", ("NAV_DLL_ACT",), _on, "set 2 (return)"),
    Condition("lostLinkOff", ("COM_DL_LOSS_T",), lambda v: 0 < v <= 60, "set 10 (s)"),
    Condition("batteryOff", ("COM_LOW_BAT_ACT",), _on, "0 only warns: set 3 (return, then land)"),
)
CONDITIONS = {Autopilot.ARDUPILOT: ARDUPILOT, Autopilot.PX4: PX4}
# One of each pair must be above 0, or the battery's fail-safe never comes.
LEVELS = {
    Autopilot.ARDUPILOT: (("BATT_LOW_VOLT", "BATT_LOW_MAH"), ("BATT_CRT_VOLT", "BATT_CRT_MAH")),
    Autopilot.PX4: (("BAT_LOW_THR",), ("BAT_CRIT_THR",)),
}
CEILING = {Autopilot.ARDUPILOT: "FENCE_ALT_MAX", Autopilot.PX4: "GF_MAX_VER_DIST"}


def wanted(autopilot: Autopilot) -> tuple[str, ...]:
    """Returns the parameters to read back, by name."""
    names = [name for condition in CONDITIONS[autopilot] for name in condition.names]
    names += [name for pair in LEVELS[autopilot] for name in pair]
    return tuple(dict.fromkeys([*names, CEILING[autopilot]]))


def complete(autopilot: Autopilot, params: Mapping[str, float | None]) -> bool:
    """Returns whether enough is read back to judge: of names that replace each other one will do."""
    conditions = all(any(name in params for name in condition.names) for condition in CONDITIONS[autopilot])
    levels = all(name in params for pair in LEVELS[autopilot] for name in pair)
    return conditions and levels and CEILING[autopilot] in params


def failsafe_refusals(autopilot: Autopilot, params: Mapping[str, float | None], rules: FlightRules) -> list[Refusal]:
    """Returns the fail-safes that are off; `params` holds None for what the aircraft did not answer."""
    found: list[Refusal] = []
    for condition in CONDITIONS[autopilot]:
        values = {name: value for name in condition.names if (value := params.get(name)) is not None}
        name, value = next(iter(values.items()), (condition.names[0], None))
        if value is None:
            found.append(Refusal(condition.code, name, "the aircraft does not answer", "check firmware and radio"))
        elif not condition.holds(value):
            found.append(Refusal(condition.code, name, f"is {value:g}", condition.fix))
    found += [
        Refusal("batteryOff", " and ".join(pair), "0 or unknown: it never acts", f"set {pair[0]} for the pack")
        for pair in LEVELS[autopilot]
        if not any((params.get(name) or 0) > 0 for name in pair)
    ]
    return [*found, *_ceiling(autopilot, params, rules)]


def _ceiling(autopilot: Autopilot, params: Mapping[str, float | None], rules: FlightRules) -> list[Refusal]:
    limits = [zone.ceiling_m for zone in rules.zones if zone.kind is ZoneKind.GEOFENCE and zone.ceiling_m is not None]
    if not limits:
        return []
    name, value = CEILING[autopilot], params.get(CEILING[autopilot])
    off = autopilot is Autopilot.ARDUPILOT and not int(params.get("FENCE_TYPE") or 0) & HEIGHT_FENCE
    if value is None or value <= 0 or off:
        seen = "no height fence (FENCE_TYPE lacks 1)" if off else f"is {value}"
        return [Refusal("fenceOff", name, seen, f"set it to at most {min(limits):g} m")]
    if value > min(limits) + 1.0:
        return [Refusal("fenceOff", name, f"is {value:g} m", f"the geofence's ceiling is {min(limits):g} m: set that")]
    return []


def flight_refusals(flight: Flight, rules: FlightRules, charge: float | None, now: Instant) -> list[Refusal]:
    """Returns why this very flight may not begin: authorisation, zones, charge.

    Args:
        flight: what is to be flown.
        rules: the site's and the drone's.
        charge: state of charge as a fraction, None if unknown.
        now: for the authorisation's end.
    """
    found: list[Refusal] = []
    record = rules.authorisation
    if record is None:
        fix = "enter the operator's under [[flight_authorisation]] in the site file"
        found.append(Refusal("noAuthorisation", "site file", "no authorisation record for this drone", fix))
    elif now >= record.until:
        seen = f"authorisation {record.reference} ended at {iso(record.until)}"
        found.append(Refusal("noAuthorisation", "site file", seen, "renew it and change `until`"))
    found += [
        Refusal("zoneConflict", "site file", conflict, "move the place or the zone")
        for conflict in air_conflicts(rules.zones, flight.path, rules.height_m, rules.margin_m)
    ]
    need = energy_wh(rules, flight) / rules.energy_wh + rules.soc_reserve
    if charge is None:
        found.append(Refusal("chargeUnknown", "battery", "the aircraft reports no charge", "set up its monitor"))
    elif charge < need:
        way = f"{flight.length_m / 1000:.2f} km need {need - rules.soc_reserve:.0%} and {rules.soc_reserve:.0%} stay"
        seen = f"charge {charge:.0%}, {way}"
        fix = "charge first" if need <= 1 else "the way is too long for this pack"
        found.append(Refusal("chargeLow", "battery", seen, fix))
    return found
