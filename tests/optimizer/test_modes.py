"""The rule that turns planned power into a mode, as the table in modes.py says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.modes import Flow, decide
from optimizer.plan import Mode

TABLE = [
    # power, grid, island, soc -> mode, limit
    (5.0, 3.0, False, 50.0, Mode.CHARGE, 5_000),  # buys on purpose
    (5.0, 0.0, False, 50.0, Mode.FOLLOW, 40_000),  # takes all surplus
    (5.0, -8.0, False, 50.0, Mode.FOLLOW, 5_000),  # takes part of it
    (40.0, -8.0, False, 50.0, Mode.FOLLOW, 40_000),  # takes what it can
    (5.0, -8.0, False, 97.0, Mode.FOLLOW, 40_000),  # becomes full
    (-5.0, 3.0, False, 50.0, Mode.DISCHARGE, 5_000),  # rations
    (-5.0, 0.0, False, 50.0, Mode.FOLLOW, 40_000),  # carries the load
    (0.0, 3.0, False, 50.0, Mode.HOLD, 0),  # saves for later
    (0.0, 3.0, False, 10.0, Mode.FOLLOW, 40_000),  # empty: nothing to save
    (0.0, -3.0, False, 50.0, Mode.HOLD, 0),  # keeps room
    (0.0, -3.0, False, 97.0, Mode.FOLLOW, 40_000),  # full
    (0.0, 0.0, False, 50.0, Mode.FOLLOW, 40_000),
    (5.0, 0.0, True, 50.0, Mode.FOLLOW, 40_000),  # an island has nothing else to hold it
    (0.0, 0.0, True, 50.0, Mode.FOLLOW, 40_000),
]


@pytest.mark.parametrize(("power", "grid", "island", "soc", "mode", "limit"), TABLE)
def test_the_table(power: float, grid: float, island: bool, soc: float, mode: Mode, limit: int) -> None:
    assert decide(Flow(power, grid, island, soc, 10.0, 97.0, 40.0, 30.0)) == (mode, limit)


@given(st.floats(-30, 40), st.floats(-60, 60), st.booleans(), st.floats(10, 97))
def test_a_mode_always_allows_the_power_that_it_came_from(power: float, grid: float, island: bool, soc: float) -> None:
    mode, limit = decide(Flow(power, grid, island, soc, 10.0, 97.0, 40.0, 30.0))
    near = 0.011
    low = -limit / 1000 if mode in (Mode.FOLLOW, Mode.DISCHARGE) else 0.0
    high = limit / 1000 if mode in (Mode.FOLLOW, Mode.CHARGE) else 0.0
    assert low - near <= power <= high + near
