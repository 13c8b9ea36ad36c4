"""Cold chains for vaccines and medicine: a hard load, how long a box lasts, and a warning before its limit is reached.

One temperature per box: C dT/dt = UA (ambient - T) - COP x P. Times to a limit are exact for constant power.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log

from devices.clock import HOUR_MS
from optimizer.problem import AssetId, Series
from optimizer.tasks import Task, TaskKind

LEAD_MS = 2 * HOUR_MS
"""How long before a limit people should know: time to bring ice, a genset or a drone."""


@dataclass(frozen=True, slots=True)
class ColdBox:
    """A fridge, cold box or cold room as a thermal model."""

    id: AssetId
    ua_w_per_k: float  # heat that comes in per degree of difference
    capacity_wh_per_k: float  # box and contents
    power_w_max: float  # electrical, while the compressor runs
    cop: float
    low_c: float  # vaccines spoil by frost too
    high_c: float
    target_c: float


@dataclass(frozen=True, slots=True)
class ColdWarning:
    """A limit that will be passed, and when."""

    box: AssetId
    limit_c: float
    in_ms: int
    temperature_c: float
    why: str


def settles_at(box: ColdBox, ambient_c: float, power_w: float) -> float:
    """Returns the temperature that the box would reach in the end [degrees C]."""
    return ambient_c - box.cop * power_w / box.ua_w_per_k


def after(box: ColdBox, temperature_c: float, ambient_c: float, power_w: float, hours: float) -> float:
    """Returns the temperature after some hours at constant power [degrees C]."""
    end = settles_at(box, ambient_c, power_w)
    return end + (temperature_c - end) * exp(-box.ua_w_per_k * hours / box.capacity_wh_per_k)


def time_to(box: ColdBox, limit_c: float, temperature_c: float, ambient_c: float, power_w: float) -> float | None:
    """Returns the hours until the box passes `limit_c` at constant power; 0 where it has, None where it never will."""
    end = settles_at(box, ambient_c, power_w)
    rising = limit_c >= box.target_c
    if (temperature_c >= limit_c) if rising else (temperature_c <= limit_c):
        return 0.0
    if (end <= limit_c) if rising else (end >= limit_c):
        return None
    return box.capacity_wh_per_k / box.ua_w_per_k * log((temperature_c - end) / (limit_c - end))


def warning(
    box: ColdBox,
    temperature_c: float,
    ambient_c: float,
    power_w: float,
    trend_c_per_h: float | None = None,
    lead_ms: int = LEAD_MS,
) -> ColdWarning | None:
    """Returns what to tell people now, or None while both limits are further away than `lead_ms`.

    `power_w` is the mean that the compressor draws now. A measured trend counts where it is worse than the model:
    an open door and a dying compressor stand in no model.
    """
    found: list[tuple[float, float, str]] = []
    for limit in (box.low_c, box.high_c):
        by_model = time_to(box, limit, temperature_c, ambient_c, power_w)
        if by_model is not None:
            found.append((by_model, limit, f"at {power_w:.0f} W and {ambient_c:.0f} °C around it"))
        if trend_c_per_h and (limit - temperature_c) / trend_c_per_h >= 0.0:
            why = f"it changes by {trend_c_per_h:+.1f} °C per hour"
            found.append(((limit - temperature_c) / trend_c_per_h, limit, why))
    if not found:
        return None
    hours, limit, why = min(found)
    if hours * HOUR_MS > lead_ms:
        return None
    return ColdWarning(box.id, limit, round(hours * HOUR_MS), temperature_c, why)


def holding_w(box: ColdBox, ambient_c: float) -> float:
    """Returns the mean electrical power that keeps the target [W]; never more than the compressor has."""
    return min(max(box.ua_w_per_k * (ambient_c - box.target_c) / box.cop, 0.0), box.power_w_max)


def hard_load_kw(boxes: Iterable[ColdBox], ambient_c: Sequence[float]) -> Series:
    """Returns what all boxes need per slot: it belongs into load and critical load alike, and is never shed."""
    kept = tuple(boxes)
    return tuple(sum(holding_w(box, ambient) for box in kept) / 1000 for ambient in ambient_c)


def outranking(parcel_prizes: Iterable[float]) -> float:
    """Returns a prize that no set of parcels can outbid: flights of care are planned as if alone."""
    return 2.0 * sum(parcel_prizes) + 1.0


def medicine_flight(
    name: str, parcels: Iterable[Task], window: tuple[int, int], slots: int, kwh: float, ready_slot: int = 0
) -> Task:
    """Returns a flight that must be back by the end of `window`, worth more than every parcel together."""
    return Task(
        AssetId(name),
        TaskKind.MEDICINE,
        (0.0,) * slots,
        earliest_slot=max(window[0], ready_slot),
        due_slot=window[1],
        deadline_slot=window[1],
        late_price_per_h=0.0,
        skip_price=outranking(parcel.skip_price + parcel.late_price_per_h * parcel.deadline_slot for parcel in parcels),
        robot=True,
        robot_kwh=kwh,
    )
