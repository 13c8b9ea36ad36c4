"""Irrigation by the soil's water balance: what a field's roots have used up, and how many litres to give when. Pure.

Depths are in millimetres of water over the field (1 mm on 1 m2 is 1 L), temperatures in degrees C. Depletion is how
far the root zone is below field capacity; beyond the readily available water (RAW) a crop suffers, and it wilts when
the total (TAW) is gone.

Source: Allen, Pereira, Raes, Smith: Crop evapotranspiration, FAO Irrigation and drainage paper 56 (1998); equations are
quoted by its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import acos, cos, exp, log, pi, sin, sqrt, tan

from optimizer.farm import ZoneNeed
from optimizer.names import AssetId

SOLAR_MJ_PER_M2_MIN = 0.0820
"""The solar constant of FAO-56."""


@dataclass(frozen=True, slots=True)
class Soil:
    """Water that a soil holds, as a fraction of its volume, and how fast its surface dries."""

    field_capacity: float
    wilting_point: float
    evaporable_mm: float = 20.0  # TEW of the top 10 cm: eq. 73
    easily_evaporable_mm: float = 9.0  # REW: table 19


@dataclass(frozen=True, slots=True)
class Field:
    """An irrigated field. Coefficients at the crop's stage of today."""

    id: AssetId
    area_m2: float
    soil: Soil
    root_m: float
    depletion_fraction: float  # p of table 22, at 5 mm a day
    basal: float  # Kcb
    cover: float  # fc: part of the ground that the crop covers, 0 to 0.99
    wetted: float = 1.0  # fw: part that irrigation wets (drip 0.3 to 0.4)
    efficiency: float = 0.9  # part of what is given that reaches the root zone
    kc_max: float = 1.2
    loss_price_per_mm: float = 1.0  # what a millimetre of stress costs the harvest, over the field


@dataclass(frozen=True, slots=True)
class Weather:
    """One day ahead or past."""

    t_min_c: float
    t_max_c: float
    rain_mm: float = 0.0
    et0_mm: float | None = None  # measured or forecast elsewhere; None: by Hargreaves


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a field stands at the end of a day."""

    depletion_mm: float  # of the root zone, Dr
    surface_mm: float = 0.0  # depletion of the evaporating layer, De


@dataclass(frozen=True, slots=True)
class Day:
    """What a day does to a field [mm]."""

    ground: Ground
    et0: float
    transpired: float  # Ks Kcb ET0
    evaporated: float  # Ke ET0
    drained: float  # below the roots
    stress: float  # 1 - Ks


def radiation_mm(latitude_deg: float, day_of_year: int) -> float:
    """Returns extraterrestrial radiation Ra as equivalent evaporation [mm a day] (eq. 21 to 25, 20)."""
    latitude = latitude_deg * pi / 180
    distance = 1 + 0.033 * cos(2 * pi / 365 * day_of_year)
    declination = 0.409 * sin(2 * pi / 365 * day_of_year - 1.39)
    sunset = acos(min(1.0, max(-1.0, -tan(latitude) * tan(declination))))
    spent = sunset * sin(latitude) * sin(declination) + cos(latitude) * cos(declination) * sin(sunset)
    return max(0.0, 24 * 60 / pi * SOLAR_MJ_PER_M2_MIN * distance * spent) * 0.408


def hargreaves_mm(latitude_deg: float, day_of_year: int, t_min_c: float, t_max_c: float) -> float:
    """Returns reference evapotranspiration ET0 from temperatures alone [mm a day] (eq. 52)."""
    mean = (t_min_c + t_max_c) / 2
    return max(
        0.0,
        0.0023 * (mean + 17.8) * sqrt(max(t_max_c - t_min_c, 0.0)) * radiation_mm(latitude_deg, day_of_year),
    )


def penman_monteith_mm(
    t_mean_c: float, wind_m_s: float, vapour_kpa: tuple[float, float], net_mj_m2: float, altitude_m: float
) -> float:
    """Returns ET0 of a day where a weather station gives all of it [mm] (eq. 6, 7, 8, 11, 13; soil heat flux 0).

    `vapour_kpa` is the mean saturation and the actual vapour pressure, `wind_m_s` at 2 m.
    """
    saturated, actual = vapour_kpa
    pressure = 101.3 * ((293 - 0.0065 * altitude_m) / 293) ** 5.26
    gamma = 0.000665 * pressure
    slope = 4098 * 0.6108 * exp(17.27 * t_mean_c / (t_mean_c + 237.3)) / (t_mean_c + 237.3) ** 2
    radiative = 0.408 * slope * net_mj_m2
    aerodynamic = gamma * 900 / (t_mean_c + 273) * wind_m_s * (saturated - actual)
    return max(0.0, (radiative + aerodynamic) / (slope + gamma * (1 + 0.34 * wind_m_s)))


def total_mm(field: Field) -> float:
    """Returns the total available water TAW of the root zone (eq. 82)."""
    return 1000 * (field.soil.field_capacity - field.soil.wilting_point) * field.root_m


def ready_mm(field: Field, etc_mm: float) -> float:
    """Returns the readily available water RAW (eq. 83), its fraction adjusted to the day's demand (table 22)."""
    fraction = min(0.8, max(0.1, field.depletion_fraction + 0.04 * (5 - etc_mm)))
    return fraction * total_mm(field)


def stress_coefficient(field: Field, depletion_mm: float, etc_mm: float) -> float:
    """Returns Ks: 1 while the roots find water easily, 0 at the wilting point (eq. 84)."""
    whole, ready = total_mm(field), ready_mm(field, etc_mm)
    return min(1.0, max(0.0, (whole - depletion_mm) / (whole - ready)))


def evaporation_coefficient(field: Field, surface_mm: float) -> float:
    """Returns Ke of the bare, wetted soil at a depletion of its top layer (eq. 71, 74, 75)."""
    soil = field.soil
    drying = 1.0
    if surface_mm > soil.easily_evaporable_mm:
        drying = max(0.0, (soil.evaporable_mm - surface_mm) / (soil.evaporable_mm - soil.easily_evaporable_mm))
    bare = max(0.01, min(1.0 - field.cover, field.wetted))
    return max(0.0, min(drying * (field.kc_max - field.basal), bare * field.kc_max))


def step(field: Field, ground: Ground, et0_mm: float, rain_mm: float, given_mm: float) -> Day:
    """Returns a field's day: rain and irrigation first, then evaporation and transpiration (eq. 77, 85).

    `given_mm` is over the whole field, before losses. What is more than the root zone holds drains.
    """
    gross = rain_mm + given_mm * field.efficiency
    bare = max(0.01, min(1.0 - field.cover, field.wetted))
    surface = max(0.0, ground.surface_mm - rain_mm - given_mm * field.efficiency / field.wetted)
    evaporation = evaporation_coefficient(field, surface)
    etc = (field.basal + evaporation) * et0_mm
    before = ground.depletion_mm - gross
    drained, wet = max(0.0, -before), max(0.0, before)
    left = total_mm(field) - wet
    stress = stress_coefficient(field, wet, etc)
    evaporated = min(evaporation * et0_mm, left)
    transpired = min(stress * field.basal * et0_mm, left - evaporated)
    surface = min(field.soil.evaporable_mm, surface + evaporated / bare)
    return Day(Ground(wet + transpired + evaporated, surface), et0_mm, transpired, evaporated, drained, 1.0 - stress)


@dataclass(frozen=True, slots=True)
class Irrigation:
    """When a field is to be watered and with how much; `days` are the field's days with it."""

    field: AssetId
    given_mm: tuple[float, ...]  # per day, before losses
    days: tuple[Day, ...]

    @property
    def stress_days(self) -> float:
        """Returns the sum of 1 - Ks: days of growth lost."""
        return sum(day.stress for day in self.days)


def schedule(
    field: Field, ground: Ground, latitude_deg: float, first_day_of_year: int, weather: Sequence[Weather]
) -> Irrigation:
    """Returns the fewest waterings that keep a field out of stress, each only as much as coming rain leaves room for.

    Water is given on the last morning before the day's end would pass the readily available water.
    """
    given: list[float] = []
    days: list[Day] = []
    for at, day in enumerate(weather):
        et0 = day.et0_mm
        if et0 is None:
            et0 = hargreaves_mm(latitude_deg, (first_day_of_year + at - 1) % 365 + 1, day.t_min_c, day.t_max_c)
        dry = step(field, ground, et0, day.rain_mm, 0.0)
        depth = 0.0
        if dry.ground.depletion_mm > ready_mm(field, dry.transpired + dry.evaporated):
            soon = sum(next_.rain_mm for next_ in weather[at : at + 2])
            depth = max(0.0, ground.depletion_mm - soon) / field.efficiency
            wanted = dry.ground.depletion_mm - ready_mm(field, field.basal * et0)
            depth = max(depth, wanted / field.efficiency, 0.0)
        done = step(field, ground, et0, day.rain_mm, depth) if depth > 0 else dry
        given.append(depth)
        days.append(done)
        ground = done.ground
    return Irrigation(field.id, tuple(given), tuple(days))


def needs(field: Field, plan: Irrigation, morning_slot: int, slots_per_day: int, slots: int) -> tuple[ZoneNeed, ...]:
    """Returns each watering within a plan of `slots` as work: kL, and the window until the evening of its day.

    `morning_slot` is the plan's slot in which the first day of the schedule begins (negative: it has begun already).
    """
    found: list[ZoneNeed] = []
    for at, depth in enumerate(plan.given_mm):
        begins = max(0, morning_slot + at * slots_per_day)
        ends = min(slots, morning_slot + (at + 1) * slots_per_day)
        if depth <= 0 or begins >= ends:
            continue
        name = AssetId(field.id if not found else f"{field.id}.{at}")
        kl = depth * field.area_m2 / 1000
        found.append(ZoneNeed(name, kl, (begins, ends), field.loss_price_per_mm * depth))
    return tuple(found)


def wind_at_2m(wind_m_s: float, height_m: float) -> float:
    """Returns the wind at 2 m from that at another height (eq. 47)."""
    return wind_m_s * 4.87 / log(67.8 * height_m - 5.42)
