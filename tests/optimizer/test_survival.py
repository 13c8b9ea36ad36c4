"""Survival: hours by hand, order of rations, choice of the mildest, and the restart's stages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.futures import Ask, Day, draw
from optimizer.restart import Load, Restart, Stage, check_restart, restart_order
from optimizer.survival import (
    FUEL_L_PER_KWH,
    FUEL_L_PER_RATED_KW_H,
    RATIONS,
    Future,
    Stores,
    curve,
    lasts,
    mildest,
)

NONE, MACHINES, HALF, LIFELINES = RATIONS
BATTERY = Stores(30.0, 100.0, 40.0, 1.0)


def steady(hours: int = 48, critical: float = 1.0, other: float = 2.0, pv: float = 0.0, water: float = 0.0) -> Future:
    return Future((critical,) * hours, (other,) * hours, (pv,) * hours, (water,) * hours, (water,) * hours)


def test_a_battery_alone_lasts_as_long_as_its_energy() -> None:
    there = [False] * 48
    assert lasts(BATTERY, steady(), NONE, there).energy == 10, "30 kWh at 3 kW"
    assert lasts(BATTERY, steady(), HALF, there).energy == 15, "at 2 kW"
    assert lasts(BATTERY, steady(), LIFELINES, there).energy == 30, "at 1 kW"
    assert lasts(BATTERY, steady(pv=3.0), NONE, there).energy == 48, "the sun carries it"


def test_a_litre_of_diesel_is_worth_what_its_curve_says() -> None:
    litres = 10 * (FUEL_L_PER_RATED_KW_H * 10 + FUEL_L_PER_KWH * 4)
    alone = Stores(0.0, 0.0, 0.0, 1.0, genset_kw=10.0, fuel_l=litres)
    assert lasts(alone, steady(critical=4.0, other=0.0), NONE, [False] * 48).energy == 10
    assert lasts(replace(alone, fuel_l=litres * 2), steady(critical=4.0, other=0.0), NONE, [False] * 48).energy == 20


def test_a_dry_well_leaves_the_tank_and_only_a_ration_keeps_it_for_lifelines() -> None:
    dry = replace(BATTERY, battery_kwh=100.0, tank_kl=10.0, tank_kl_max=10.0)
    future = steady(critical=0.1, other=0.0, water=1.0)
    rationed = lasts(dry, future, LIFELINES, [False] * 48).water
    assert rationed == 10, "a kL an hour and nothing else"
    free = lasts(dry, future, NONE, [False] * 48).water
    assert free == 5, "two an hour: who opens a tap does not know that the tank is low"
    pumped = replace(dry, pump_kw=1.0, pump_kl_per_h=5.0)
    assert lasts(pumped, future, NONE, [False] * 48).water == 48


def test_the_grid_until_a_storm_fills_the_store_first() -> None:
    there = [True] * 5 + [False] * 43
    assert lasts(replace(BATTERY, battery_kwh=0.0), steady(), NONE, there).energy == 5 + 33 + 1, (
        "100 kWh at 3 kW, and 1 kW"
    )


def test_a_curve_falls_and_stricter_rations_never_shorten_it() -> None:
    futures = [steady(48, critical=1.0 + k / 8, other=2.0 + k / 4) for k in range(16)]
    curves = [curve(BATTERY, futures, ration, [False] * 48) for ration in RATIONS]
    for one in curves:
        assert one.all[0] == 1.0
        assert list(one.all) == sorted(one.all, reverse=True)
        assert one.at(10_000) == one.all[-1]
    assert [one.mean_hours for one in curves] == sorted(one.mean_hours for one in curves)
    assert mildest(curves, 4, 0.95) == 0
    assert mildest(curves, 9, 0.95) == RATIONS.index(LIFELINES)
    assert mildest(curves, 47, 0.95) == len(RATIONS) - 1, "none does: the one that lasts longest"


@given(st.floats(0, 60), st.floats(0, 60), st.floats(0, 200), st.floats(0, 6), st.floats(0, 6))
def test_more_in_store_never_means_less(kwh: float, more: float, fuel: float, critical: float, pv: float) -> None:
    one = Stores(kwh, 130.0, 20.0, 0.95, genset_kw=8.0, fuel_l=0.0)
    future = steady(30, critical=critical, other=1.0, pv=pv)
    there = [False] * 30
    assert (
        lasts(replace(one, battery_kwh=kwh + more), future, NONE, there).energy
        >= lasts(one, future, NONE, there).energy
    )
    assert lasts(replace(one, fuel_l=fuel), future, NONE, there).energy >= lasts(one, future, NONE, there).energy


def test_futures_are_whole_past_days_from_the_hour_asked_and_a_storm_takes_the_sun() -> None:
    days = [Day((k + 1.0,) * 24, (0.5,) * 24, tuple(float(h) for h in range(24)), (0.2,) * 24) for k in range(4)]
    ask = Ask(first_hour=22, hours=30, count=8, lifeline_kl_per_h=0.05, sun_share=(1.0, 0.5))
    futures = draw(days, ask)
    assert futures == draw(days, ask), "equal pasts, equal futures"
    assert len({future.other_kw for future in futures}) > 4, "they differ"
    for future in futures:
        assert future.pv_kw[:4] == (22.0, 11.5, 0.0, 1.0)
        assert set(future.other_kw[2:26]) <= {k + 0.5 for k in range(4)}
        assert len(set(future.other_kw[2:26])) == 1, "a day stays whole"
        assert future.lifeline_kl[0] == 0.05
        assert future.other_kl[0] == pytest.approx(0.15)
    assert draw([], ask) == ()


LOADS = st.lists(
    st.builds(
        lambda rank, running, factor: (rank, running, factor),
        st.integers(0, 3),
        st.floats(0, 20_000),
        st.floats(1, 8),
    ),
    max_size=12,
).map(lambda rows: [Load(f"load-{i}", rank, watts, watts * factor) for i, (rank, watts, factor) in enumerate(rows)])


@given(LOADS, st.floats(0, 80_000), st.floats(0, 30_000))
def test_every_restart_stays_under_its_limit_and_in_rank(loads: list[Load], limit: float, base: float) -> None:
    order = restart_order(loads, limit, base)
    assert check_restart(order, loads, limit, base) == []


def test_a_restart_by_hand() -> None:
    loads = [Load("pump", 0, 3_000, 15_000), Load("car", 2, 11_000, 11_000), Load("mill", 1, 9_000, 54_000)]
    order = restart_order(loads, 40_000, 10_000)
    assert order.stages == (Stage(("pump",), 25_000), Stage(("car",), 24_000))
    assert order.refused == (("mill", "its start needs 54000 W and 27000 W are left"),)


def test_the_check_of_a_restart_sees_each_fault() -> None:
    loads = [Load("pump", 0, 3_000, 15_000), Load("car", 2, 11_000, 11_000)]
    assert "the limit is" in check_restart(Restart((Stage(("pump", "car"), 26_000),)), loads, 20_000)[0]
    assert "it is" in check_restart(Restart((Stage(("pump", "car"), 1.0),)), loads, 40_000)[0]
    late = Restart((Stage(("car",), 11_000), Stage(("pump",), 26_000)))
    assert "matters less" in check_restart(late, loads, 40_000)[0]
    assert "every load once" in check_restart(Restart((Stage(("car",), 11_000),)), loads, 40_000)[0]


def test_a_future_begins_with_days_that_followed_days_like_today() -> None:
    days = [Day((float(day),) * 24, (0.0,) * 24, (0.0,) * 24, (0.0,) * 24) for day in range(8)]
    alike = draw(days, Ask(0, 72, 30, 0.0, order=(6, 2, 4, 0, 1, 3, 5, 7)))
    assert {future.other_kw[0] for future in alike} == {6.0, 2.0, 4.0}
    assert {future.other_kw[24] for future in alike} == {7.0, 3.0, 5.0}, "and goes on as it went on then"
    assert len({future.other_kw[48] for future in alike}) > 4
    assert {future.other_kw[0] for future in draw(days, Ask(0, 72, 30, 0.0))} == set(map(float, range(8)))
