"""Forecasts and futures from a metered past."""

from __future__ import annotations

from dataclasses import replace
from math import pi, sin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer import ridge
from optimizer.ridge import Past, Weather, outlook

PER_DAY = 24


def sun(hour: int) -> float:
    return max(0.0, 50 * sin(pi * (hour % 24 - 6) / 12))


def use(hour: int) -> float:
    return 20 + 8 * sin(2 * pi * hour / 24) + (5 if hour // 24 % 7 >= 5 else 0)


def past(days: int, noise: float = 0.0, seed: int = 1) -> Past:
    random = np.random.default_rng(seed)
    cloud = 1 - noise * random.uniform(0, 1, days)
    load = [use(t) * (1 + noise * random.normal(0, 0.2)) for t in range(24 * days)]
    return Past(PER_DAY, np.array(load), np.array([sun(t) * float(cloud[t // 24]) for t in range(24 * days)]))


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
    load = np.array([np.nan if t in holes else kw for t, kw in enumerate(known.load_kw[:slots])])
    expected, futures = outlook(Past(PER_DAY, load, known.pv_kw[:slots]), horizon)
    for one in (expected, *futures):
        for series in (one.load_kw, one.pv_kw):
            assert len(series) == horizon
            assert np.isfinite(series).all()
            assert min(series) >= 0.0


def test_nothing_known_means_no_futures_and_two_days_make_one() -> None:
    assert outlook(Past(PER_DAY, np.zeros(0), np.zeros(0)), 24)[1] == ()
    assert outlook(Past(PER_DAY, np.full(24, np.nan), np.full(24, np.nan)), 24)[1] == ()
    assert len(outlook(past(2), 24)[1]) == 1


def test_bands_hold_four_futures_of_five() -> None:
    _, futures = outlook(past(70, noise=0.6), 24)
    load, pv = ridge.bands(futures)
    assert (load.name, pv.name) == ("load", "pv")
    rows = np.array([future.pv_kw for future in futures])
    share = ((rows >= np.array(pv.low) - 1e-4) & (rows <= np.array(pv.high) + 1e-4)).mean()
    assert 0.75 < share <= 1.0
    assert ridge.bands(()) == ()


def test_weather_that_tells_of_clouds_betters_the_sun_and_wrong_weather_does_no_harm() -> None:
    known = past(60, noise=0.9)
    truth = np.array([1000.0 * kw / 50.0 for kw in known.pv_kw])
    random = np.random.default_rng(5)
    scrambled = truth.reshape(60, 24)[random.permutation(60)].ravel()
    errors: dict[str, float] = dict.fromkeys(("none", "told", "scrambled", "unknown ahead"), 0.0)
    for day in range(40, 60):
        until = 24 * day
        actual = known.pv_kw[until : until + 24]
        hidden = np.where(np.arange(len(truth)) < until, truth, np.nan)
        for name, sun_w_m2 in (("none", None), ("told", truth), ("scrambled", scrambled), ("unknown ahead", hidden)):
            told = None if sun_w_m2 is None else Weather(sun_w_m2[: until + 24], np.full(until + 24, np.nan))
            seen = Past(PER_DAY, known.load_kw[:until], known.pv_kw[:until], weather=told)
            errors[name] += float(np.abs(np.array(outlook(seen, 24)[0].pv_kw) - actual).mean()) / 20
    assert errors["told"] < 0.35 * errors["none"]
    assert errors["scrambled"] < 1.15 * errors["none"]
    assert errors["unknown ahead"] < 1.3 * errors["none"]


def test_load_that_follows_the_heat_is_forecast_by_temperature() -> None:
    random = np.random.default_rng(7)
    heat = np.repeat(random.normal(0.0, 5.0, 61), 24) + 25.0
    load = np.array([use(t) for t in range(61 * 24)]) + 0.8 * (heat - 25.0)
    errors = {True: 0.0, False: 0.0}
    for day in range(41, 61):
        until = 24 * day
        for told in errors:
            weather = Weather(np.full(until + 24, np.nan), heat[: until + 24]) if told else None
            seen = Past(PER_DAY, load[:until], np.zeros(until), weather=weather)
            errors[told] += float(np.abs(np.array(outlook(seen, 24)[0].load_kw) - load[until : until + 24]).mean())
    assert errors[True] < 0.6 * errors[False]
