"""The soil's water balance against the worked examples of FAO-56, and as a balance whatever comes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.farm import irrigation_tasks
from optimizer.irrigation import (
    Field,
    Ground,
    Soil,
    Weather,
    evaporation_coefficient,
    hargreaves_mm,
    needs,
    penman_monteith_mm,
    radiation_mm,
    ready_mm,
    schedule,
    step,
    stress_coefficient,
    total_mm,
    wind_at_2m,
)
from optimizer.names import AssetId

LOAM = Soil(0.25, 0.12)
MAIZE = Field(AssetId("maize"), 5_000.0, LOAM, 1.0, 0.55, 1.1, 0.9)


def test_radiation_of_example_8() -> None:
    # 20 degrees south, 3 September (day 246): Ra = 32.2 MJ/m2, 13.1 mm a day.
    assert radiation_mm(-20, 246) == pytest.approx(13.1, abs=0.05)


@pytest.mark.parametrize(("latitude", "day", "mj"), [(0, 15, 36.2), (-34, 45, 39.2), (-36, 45, 38.9)])
def test_radiation_of_annex_2(latitude: float, day: int, mj: float) -> None:
    # Table A2.6: Ra of the middle of January and February [MJ/m2].
    assert radiation_mm(latitude, day) / 0.408 == pytest.approx(mj, rel=0.01)


def test_hargreaves_of_example_20() -> None:
    # Lyon (45 degrees 43 minutes north), July: 14.8 and 26.6 degrees, Ra 40.6 MJ/m2: ET0 = 5.0 mm a day.
    assert hargreaves_mm(45.72, 196, 14.8, 26.6) == pytest.approx(5.0, abs=0.1)


def test_penman_monteith_of_example_18() -> None:
    # Brussels, 6 July, 100 m: 16.9 degrees, u2 2.078 m/s, es 1.997, ea 1.409 kPa, Rn 13.28 MJ/m2: ET0 = 3.9 mm.
    assert wind_at_2m(10 / 3.6, 10) == pytest.approx(2.078, abs=0.005)
    assert penman_monteith_mm(16.9, 2.078, (1.997, 1.409), 13.28, 100) == pytest.approx(3.88, abs=0.05)


def test_available_water_of_equations_82_and_83() -> None:
    # TAW = 1000 (fc - wp) Zr; RAW = p TAW, p adjusted to the day's demand.
    tomato = Field(AssetId("tomato"), 1_000.0, Soil(0.32, 0.12), 0.8, 0.40, 1.1, 0.9)
    assert total_mm(tomato) == pytest.approx(160)
    assert ready_mm(tomato, 5.0) == pytest.approx(64)
    assert ready_mm(tomato, 3.0) == pytest.approx(0.48 * 160)


def test_stress_of_equation_84() -> None:
    # Tomatoes with TAW 160 and p 0.40, in the manner of example 37: Ks = (TAW - Dr) / (0.6 TAW).
    tomato = Field(AssetId("tomato"), 1_000.0, Soil(0.32, 0.12), 0.8, 0.40, 1.1, 0.9)
    for depletion, ks in ((55.0, 1.0), (70.0, 0.94), (80.0, 0.83), (112.0, 0.5), (160.0, 0.0)):
        assert stress_coefficient(tomato, depletion, 5.0) == pytest.approx(ks, abs=0.01)


def test_evaporation_falls_as_the_surface_dries() -> None:
    # In the manner of example 35: sandy loam, TEW 18, REW 8, cover 0.08, Kcb 0.3, Kc max 1.21, all wetted.
    young = Field(AssetId("cotton"), 1.0, Soil(0.23, 0.10, 18.0, 8.0), 0.3, 0.5, 0.3, 0.08, kc_max=1.21)
    assert evaporation_coefficient(young, 0.0) == pytest.approx(0.91)  # stage 1: Kc max - Kcb
    assert evaporation_coefficient(young, 13.0) == pytest.approx(0.91 / 2)  # Kr (18 - 13) / (18 - 8)
    assert evaporation_coefficient(young, 18.0) == 0.0
    assert evaporation_coefficient(replace(young, wetted=0.4), 0.0) == pytest.approx(0.4 * 1.21)  # few * Kc max


@given(st.floats(0, 130), st.floats(0, 20), st.floats(0, 12), st.floats(0, 80), st.floats(0, 80), st.floats(0.0, 0.99))
def test_no_millimetre_is_made_or_lost(
    depletion: float, surface: float, et0: float, rain: float, given_mm: float, cover: float
) -> None:
    field = replace(MAIZE, cover=cover)
    day = step(field, Ground(depletion, surface), et0, rain, given_mm)
    in_ = rain + given_mm * field.efficiency
    out = day.transpired + day.evaporated + day.drained
    assert depletion - day.ground.depletion_mm == pytest.approx(in_ - out, abs=1e-9)
    assert 0 <= day.ground.depletion_mm <= total_mm(field) + 1e-9
    assert 0 <= day.ground.surface_mm <= field.soil.evaporable_mm
    assert min(day.transpired, day.evaporated, day.drained, day.stress) >= 0
    assert day.stress <= 1


def test_a_schedule_keeps_out_of_stress_and_waits_for_rain() -> None:
    dry = [Weather(14, 31)] * 20
    plan = schedule(MAIZE, Ground(30.0), 44.0, 190, dry)
    assert plan.stress_days == pytest.approx(0.0, abs=0.01)
    assert 1 <= sum(depth > 0 for depth in plan.given_mm) <= 4  # few and deep, not a little every day
    used = sum(day.transpired + day.evaporated for day in plan.days)
    gained = 30.0 - plan.days[-1].ground.depletion_mm
    assert sum(plan.given_mm) * 0.9 == pytest.approx(used + gained, abs=1e-6)  # nothing drains
    first = next(at for at, depth in enumerate(plan.given_mm) if depth > 0)
    wet = [replace(day, rain_mm=40.0) if at == first else day for at, day in enumerate(dry)]
    assert schedule(MAIZE, Ground(30.0), 44.0, 190, wet).given_mm[first] == 0.0
    # Without water it would have suffered.
    ground, lost = Ground(30.0), 0.0
    for at in range(20):
        day = step(MAIZE, ground, hargreaves_mm(44.0, 190 + at, 14, 31), 0.0, 0.0)
        ground, lost = day.ground, lost + day.stress
    assert lost > 1.0


def test_a_watering_becomes_work_that_takes_water_from_the_tank() -> None:
    plan = schedule(MAIZE, Ground(70.0), 44.0, 190, [Weather(14, 31, et0_mm=6.0)] * 2)
    wanted = needs(MAIZE, plan, -20, 96, 96)
    assert [need.window for need in wanted] == [(0, 76)]
    assert wanted[0].kl == pytest.approx(plan.given_mm[0] * 5.0)
    (task,) = irrigation_tasks(wanted, 20.0, 0.8, 0.1)
    assert sum(task.water_kl) == pytest.approx(wanted[0].kl)
    assert task.deadline_slot == 76
