"""Forecasts: right on patterns, never negative or NaN, honest without history."""

from __future__ import annotations

from math import inf, isfinite, nan, pi, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.forecast import Calendar, basis, forecast_series, forecast_solar, typical_load, typical_solar

DAY = 96
MONDAY = Calendar(DAY, 0, 0)
LOAD, SUN = typical_load(2.0, DAY), typical_solar(5.0, DAY)


def test_a_day_that_repeats_is_forecast_exactly() -> None:
    day = [1.0 + sin(2 * pi * t / DAY) for t in range(DAY)]
    assert forecast_series(day * 5, MONDAY, 2 * DAY, LOAD) == pytest.approx(day * 2)


def test_a_weekend_is_forecast_from_weekends() -> None:
    week = [1.0] * (5 * DAY) + [4.0] * (2 * DAY)
    saturday = forecast_series(week + week[: 5 * DAY], Calendar(DAY, 0, 5), DAY, LOAD)
    monday = forecast_series(week * 2, MONDAY, DAY, LOAD)
    assert saturday[-1] > 2.0
    assert monday[-1] < 2.0


def test_the_error_of_the_last_hour_fades() -> None:
    history = [2.0] * (7 * DAY - 4) + [3.0] * 4
    ahead = forecast_series(history, MONDAY, DAY, LOAD)
    assert 2.5 < ahead[0] < 3.0
    assert ahead[0] > ahead[4] > ahead[12]
    assert ahead[40] == pytest.approx(2.0, abs=0.05)


def test_sun_after_dark_days_is_forecast_dark_and_after_clear_days_clear() -> None:
    clear = list(SUN)
    dark = [0.3 * kw for kw in SUN]
    sunny = sum(forecast_solar(clear * 10, MONDAY, DAY, SUN))
    cloudy = sum(forecast_solar(clear * 7 + dark * 3, MONDAY, DAY, SUN))
    assert sunny == pytest.approx(sum(SUN), rel=0.05)
    assert cloudy == pytest.approx(0.3 * sum(SUN), rel=0.1)


def test_there_is_no_sun_at_night() -> None:
    ahead = forecast_solar(list(SUN) * 4, MONDAY, DAY, SUN)
    assert all(ahead[t] == 0.0 for t in range(DAY) if SUN[t] == 0.0 and SUN[t - 1] == 0.0 and SUN[(t + 1) % DAY] == 0.0)


def test_without_history_the_typical_day_is_used_and_said() -> None:
    noon = Calendar(DAY, 48, 2)
    assert forecast_series([], noon, 3, LOAD) == LOAD[48:51]
    assert forecast_solar([None] * 30, noon, 3, SUN) == pytest.approx([0.6 * kw for kw in SUN[48:51]])
    assert "typical" in basis([None] * 200, DAY)
    assert basis([1.0] * (3 * DAY), DAY) == "3 days of history"


@given(
    st.lists(st.one_of(st.none(), st.floats(-5, 50), st.sampled_from([nan, inf, -inf])), max_size=300),
    st.integers(0, 23),
    st.integers(0, 6),
    st.integers(0, 60),
)
def test_nothing_is_ever_negative_or_nan(history: list[float | None], slot: int, weekday: int, horizon: int) -> None:
    calendar = Calendar(24, slot, weekday)
    for forecast, typical in ((forecast_series, typical_load(2.0, 24)), (forecast_solar, typical_solar(5.0, 24))):
        ahead = forecast(history, calendar, horizon, typical)
        assert len(ahead) == horizon
        assert all(isfinite(value) and value >= 0.0 for value in ahead)
