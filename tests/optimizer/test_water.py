"""Whole pump slots against trying every schedule."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.problem import WaterSystem
from optimizer.water import whole_slots
from tests.optimizer.problems import water

SLOTS = 7


def cost_of(system: WaterSystem, schedule: tuple[int, ...], drawn: list[float], price: list[float]) -> float:
    level, was, money = system.level_now_kl, system.running, 0.0
    for t, on in enumerate(schedule):
        level += system.pump_flow_kl_per_h / 4 * on - drawn[t]
        if not -1e-9 <= level <= max(system.high_kl, system.level_now_kl) + 1e-9:
            return float("inf")
        money += price[t] * system.pump_kw / 4 * on + system.start_price * (on and not was)
        money += system.reserve_price * max(0.0, system.reserve_kl - level)
        was = bool(on)
    return money - system.terminal_value * level


@given(
    st.lists(st.floats(0, 2), min_size=SLOTS, max_size=SLOTS),
    st.lists(st.floats(-0.1, 0.6), min_size=SLOTS, max_size=SLOTS),
    st.floats(0.2, 6),
    st.booleans(),
)
def test_the_schedule_is_the_cheapest_of_all(
    drawn: list[float], price: list[float], level: float, running: bool
) -> None:
    system = replace(water(SLOTS), volume_kl=7.0, high_kl=6.5, reserve_kl=2.0, level_now_kl=level, running=running)
    best = min(cost_of(system, schedule, drawn, price) for schedule in product((0, 1), repeat=SLOTS))
    found = whole_slots(system, 0.25, np.array(drawn), np.array(price))
    if found is None:
        assert best == float("inf")
    else:
        assert cost_of(system, tuple(found.astype(int).tolist()), drawn, price) == pytest.approx(best)


def test_a_tank_too_small_for_a_whole_slot_has_none() -> None:
    tiny = replace(water(4), volume_kl=0.5, high_kl=0.4, reserve_kl=0.0, level_now_kl=0.1)
    assert whole_slots(tiny, 0.25, np.full(4, 0.1), np.zeros(4)) is None
