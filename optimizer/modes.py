"""The rule that turns planned power into a mode for the 1 s loop.

A setpoint is right only if the forecast is; a mode stays right when it is not: 17 real homes over a year kept
80 % of the possible saving with setpoints and 97 % with modes. So the plan says what it is *for*:

| planned storage | grid exchange in the plan | mode | limit |
|---|---|---|---|
| any | island (no grid) | FOLLOW: the storage holds the balance | largest rating |
| charges | importing | CHARGE: buys on purpose | planned power |
| charges | exporting, power below what it could take | FOLLOW: takes part of the surplus | planned power |
| charges | zero, or exporting at full power or up to full charge | FOLLOW | largest rating |
| discharges | importing | DISCHARGE: rations what is stored | planned power |
| discharges | zero | FOLLOW | largest rating |
| rests | importing, and there is something to save | HOLD: saved for a dearer hour | 0 |
| rests | exporting, and there is room | HOLD: room kept for later surplus | 0 |
| rests | zero, or empty while importing, or full while exporting | FOLLOW: errors are absorbed | largest rating |
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.units import W_PER_KW
from optimizer.plan import Mode

_NEAR_KW = 0.01
_NEAR_KWH = 0.01


@dataclass(frozen=True, slots=True)
class Flow:
    """One slot of one storage as planned."""

    power_kw: float  # positive charges
    grid_kw: float  # positive imports
    island: bool
    soc_kwh: float  # at the end of the slot
    soc_low_kwh: float
    soc_high_kwh: float
    charge_kw_max: float
    discharge_kw_max: float


def decide(flow: Flow) -> tuple[Mode, int]:
    """Returns the mode and its limit [W] for one planned slot; the table above is the whole rule."""
    whole = _watts(max(flow.charge_kw_max, flow.discharge_kw_max))
    if flow.island:
        return Mode.FOLLOW, whole
    importing, exporting = flow.grid_kw > _NEAR_KW, flow.grid_kw < -_NEAR_KW
    full = flow.soc_kwh > flow.soc_high_kwh - _NEAR_KWH
    empty = flow.soc_kwh < flow.soc_low_kwh + _NEAR_KWH
    if flow.power_kw > _NEAR_KW:
        if importing:
            return Mode.CHARGE, _watts(flow.power_kw)
        partly = exporting and not full and flow.power_kw < flow.charge_kw_max - _NEAR_KW
        return Mode.FOLLOW, _watts(flow.power_kw) if partly else whole
    if flow.power_kw < -_NEAR_KW:
        return (Mode.DISCHARGE, _watts(-flow.power_kw)) if importing else (Mode.FOLLOW, whole)
    if (importing and not empty) or (exporting and not full):
        return Mode.HOLD, 0
    return Mode.FOLLOW, whole


def allows(flow: Flow, mode: Mode, limit_w: int) -> bool:
    """Returns whether a mode would do what is planned, were the forecast right."""
    limit = limit_w / W_PER_KW + _NEAR_KW / 2
    match mode:
        case Mode.FOLLOW:
            return abs(flow.power_kw) <= limit
        case Mode.HOLD:
            return abs(flow.power_kw) < _NEAR_KW / 2
        case Mode.CHARGE:  # more than the limit only from surplus
            return flow.power_kw > -_NEAR_KW / 2 and (flow.power_kw <= limit or flow.grid_kw < _NEAR_KW / 2)
        case Mode.DISCHARGE:
            return -limit <= flow.power_kw < _NEAR_KW / 2 and flow.grid_kw > -_NEAR_KW / 2


def _watts(kw: float) -> int:
    return round(kw * W_PER_KW)
