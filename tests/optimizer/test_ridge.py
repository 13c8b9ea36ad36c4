"""Forecasts and futures from a metered past."""

from __future__ import annotations

from dataclasses import replace
from math import pi, sin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer import ridge
from optimizer.problem import Past
from optimizer.ridge import outlook, with_futures
from tests.optimizer.problems import village

PER_DAY = 24


def sun(hour: int) -> float:
    return max(0.0, 50 * sin(pi * (hour % 24 - 6) / 12))


def use(hour: int) -> float:
    return 20 + 8 * sin(2 * pi * hour / 24) + (5 if hour // 24 % 7 >= 5 else 0)


def past(days: int, noise: float = 0.0, seed: int = 1) -> Past:
    random = np.random.default_rng(seed)
    cloud = 1 - noise * random.uniform(0, 1, days)
    load = tuple(use(t) * (1 + noise * random.normal(0, 0.2)) for t in range(24 * days))
    return Past(PER_DAY, load, tuple(sun(t) * float(cloud[t // 24]) for t in range(24 * days)))


def test_a_week_that_repeats_is_forecast_as_it_is() -> None:
    expected, futures = outlook(past(70), 24)
    assert expected.load_kw == pytest.approx([use(70 * 24 + t) for t in range(24)], abs=0.2)
    assert expected.pv_kw == pytest.approx([sun(t) for t in range(24)], abs=2.5)  # dawn and dusk are smoothed
    assert len(futures) == ridge.FUTURES_MAX
    for future in futures:
        assert future.pv_kw == pytest.approx(expected.pv_kw, abs=2.5)


def test_noise_is_forecast_better_than_by_yesterday_and_the_futures_spread_like_it() -> None:
    known = past(90, noise=0.6)
    errors, yesterday, spread = list[float](), list[float](), list[float]()
    for day in range(60, 89):
        until = day * 24
        seen = replace(known, load_kw=known.load_kw[:until], pv_kw=known.pv_kw[:until])
        expected, futures = outlook(seen, 24)
        actual = np.array(known.pv_kw[until : until + 24])
        errors.append(float(((np.array(expected.pv_kw) - actual) ** 2).mean()))
        yesterday.append(float(((np.array(known.pv_kw[until - 24 : until]) - actual) ** 2).mean()))
        spread.append(float(np.array([f.pv_kw for f in futures]).var(axis=0).mean()))
    assert sum(errors) < 0.8 * sum(yesterday)
    assert 0.5 < sum(spread) / sum(errors) < 2.0


def test_what_comes_later_changes_nothing() -> None:
    known = past(40, noise=0.5)
    until = 30 * 24
    seen = replace(known, load_kw=known.load_kw[:until], pv_kw=known.pv_kw[:until])
    assert outlook(seen, 24) == outlook(replace(seen), 24)
    days = ridge._Days(np.arange(until, dtype=np.float64), PER_DAY, 24, until - 24 * np.arange(10))
    for row, issue in enumerate(days.issue):
        assert np.nanmax(days.lagged(14, 1)[row]) < issue
        assert days.before(24)[row].max() < issue
    assert (days.actual()[0] == np.arange(until - 24, until)).all()


def test_the_error_of_a_value_is_that_of_a_fit_without_it() -> None:
    random = np.random.default_rng(3)
    features, actual = random.normal(size=(21, 1, 4)), random.normal(size=(20, 1))
    base = np.zeros((21, 1))
    whole = ridge._regressed(features, actual, base, 2.0)
    weight = 0.5 ** (np.arange(1, 21) / ridge.HALF_LIFE_DAYS)
    for day in range(20):
        kept = np.arange(20) != day
        x, y, w = features[1:, 0][kept], actual[kept, 0], weight[kept]
        beta = np.linalg.solve((x * w[:, None]).T @ x + 2.0 * np.eye(4), (x * w[:, None]).T @ y)
        assert whole.error[day, 0] == pytest.approx(actual[day, 0] - features[day + 1, 0] @ beta)


@settings(max_examples=30)
@given(
    st.integers(0, 20 * 24),
    st.integers(1, 60),
    st.lists(st.integers(0, 20 * 24), max_size=60),
    st.sampled_from([0.0, 0.9]),
)
def test_any_past_gives_numbers_that_are_not_negative(slots: int, horizon: int, holes: list[int], noise: float) -> None:
    known = past(20, noise)
    load = tuple(None if t in holes else kw for t, kw in enumerate(known.load_kw[:slots]))
    expected, futures = outlook(Past(PER_DAY, load, known.pv_kw[:slots]), horizon)
    for one in (expected, *futures):
        for series in (one.load_kw, one.pv_kw):
            assert len(series) == horizon
            assert np.isfinite(series).all()
            assert min(series) >= 0.0


def test_nothing_known_means_no_futures_and_two_days_make_one() -> None:
    assert outlook(Past(PER_DAY, (), ()), 24)[1] == ()
    assert outlook(Past(PER_DAY, (None,) * 24, (None,) * 24), 24)[1] == ()
    assert len(outlook(past(2), 24)[1]) == 1


def test_a_problem_gets_futures_from_its_past_unless_it_has_its_own() -> None:
    problem = replace(village(), past=Past(96, village().load_kw * 5, village().pv_kw * 5))
    assert len(with_futures(problem).scenarios) == 4
    own = with_futures(problem).scenarios[:1]
    assert with_futures(replace(problem, scenarios=own)).scenarios == own
    assert with_futures(village()).scenarios == ()
