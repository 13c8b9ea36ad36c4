"""Shortages of water and diesel announced by the hub's own watch, from levels alone; and the bench's worlds."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest

from controller.history import History
from controller.shortage_watch import STEP_MS, WATER, ShortageWatch
from devices.clock import Instant, floor_to
from optimizer.foresight import DAY_STEPS, SAFE_H, SAFE_LOOKS, SUN, Delivery, Ledger, Outlook, Standing, outlook
from optimizer.survival import RATIONS, Future, Stores
from tests.controller.scene import NOW, snapshot, village

BENCH = Path(__file__).parents[2] / "benchmarks" / "foresight.py"


def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks.foresight", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def days(watch: ShortageWatch, levels: list[tuple[float, float]]) -> None:
    """Lets the watch see (tank level, fuel) every three hours."""
    site, begin = village(), floor_to(NOW, STEP_MS * 2)
    for number, (level, fuel) in enumerate(levels):
        seen = snapshot(
            site, {"tank-1": {"level": level}, "genset-1": {"fuel": fuel}}, Instant(begin + number * STEP_MS)
        )
        watch.look(site, seen, History(site))


def test_a_falling_stock_is_announced_more_than_a_day_ahead_and_a_steady_one_never() -> None:
    watch = ShortageWatch()
    falling = [(0.8, 0.9 - 0.02 * step) for step in range(30)]
    days(watch, falling)
    assert watch.short
    (alarm,) = watch.conditions()
    assert alarm.id == "shortage.genset-1"
    assert "diesel (genset-1) is likely short in about" in alarm.text
    hours = watch.stocks["genset-1"].seen
    assert hours is not None
    assert hours.hours is not None
    left_h = (falling[-1][1] - 0.02) / 0.02 * 3
    assert left_h >= 24
    assert abs(hours.hours - left_h) <= 6
    calm = ShortageWatch()
    days(calm, [(0.8, 0.8)] * 40)
    assert not calm.short
    assert list(calm.conditions()) == []


def test_a_tank_without_a_meter_that_is_filled_every_day_is_not_short() -> None:
    watch, begin = ShortageWatch(), floor_to(NOW, STEP_MS)
    for number in range(40):
        level = 0.8 - 0.08 * (number % DAY_STEPS)  # falls to 0.24, and is pumped full at night
        watch.take("tank-2", WATER, Instant(begin + number * STEP_MS), level, 20.0, None)
        assert not watch.short
    for number in range(40, 52):  # no more is pumped
        watch.take("tank-2", WATER, Instant(begin + number * STEP_MS), 0.8 - 0.05 * (number - 40), 20.0, None)
    assert watch.short


def test_a_gap_of_more_than_a_day_is_not_learnt_from() -> None:
    watch = ShortageWatch()
    days(watch, [(0.8, 0.8)] * 10)
    assert len(watch.stocks["tank-1"].taken) == 9
    late = snapshot(village(), {}, Instant(NOW + 20 * DAY_STEPS * STEP_MS))
    watch.look(village(), late, History(village()))
    assert watch.stocks["tank-1"].taken == []


def test_what_is_promised_counts_and_what_was_late_before_may_be_late_again() -> None:
    taken = (1.0,) * (10 * DAY_STEPS)
    alone = Ledger(10.0, 0.0, 100.0, taken)
    assert outlook(alone).chance == 1.0
    assert outlook(alone).hours == 33.0
    assert outlook(Ledger(10.0, 0.0, 100.0, taken, (), (Delivery(6, 50.0),))).chance == 0.0
    late = Ledger(10.0, 0.0, 100.0, taken, (), (Delivery(6, 50.0),), (0, 0, 0, 16))
    assert 0.1 < outlook(late).chance < 0.5, "one boat in four was two days late"
    assert outlook(Ledger(500.0, 0.0, 900.0, taken)) == Outlook(0.0, None, 60)
    assert outlook(Ledger(-1.0, 0.0, 10.0, taken)).hours == 0.0
    assert outlook(Ledger(1.0, 0.0, 10.0, taken[:5])).futures == 0, "nothing is known yet"


def test_an_announcement_does_not_flutter_and_ends_once_the_days_ahead_are_safe() -> None:
    assert Standing().after(Outlook(1.0, 5.0, 60)).announced, "who has just begun to look does not wait"
    calm = Standing().after(Outlook(0.0, None, 60))
    assert not calm.after(Outlook(1.0, 40.0, 60)).announced, "one look may err"
    standing = calm.after(Outlook(1.0, 40.0, 60)).after(Outlook(1.0, 40.0, 60))
    assert standing.announced
    put_off, safe = Outlook(0.0, None, 60, 0.3), Outlook(0.0, None, 60, 0.0)
    for seen in (safe, safe, put_off, *(safe,) * (SAFE_LOOKS - 1)):
        standing = standing.after(seen)
        assert standing.announced, "short within ten days in three futures of ten: it is put off, not away"
    assert standing.after(safe) == Standing(0.0)
    taken = (1.0,) * (10 * DAY_STEPS)
    half = outlook(Ledger(30.0, 0.0, 100.0, taken), far=True)
    assert (half.chance, half.later, half.hours) == (0.0, 1.0, 93.0)
    assert outlook(Ledger(30.0, 0.0, 100.0, taken), SUN, far=True).chance == 1.0, "of power ten days are asked about"


def test_half_of_the_futures_within_a_day_and_a_half_are_enough_to_say_of_power_alone() -> None:
    seen = Outlook(0.6, 30.0, 60, 0.6, 0.5)
    assert Standing(0.0).after(seen, SUN).announced
    assert not Standing(0.0).after(seen).announced
    assert not Standing(0.0).after(Outlook(0.6, 40.0, 60, 0.6, 0.4), SUN).announced


CLEAR = (0.0, 0.0, 1.0, 3.0, 3.0, 1.0, 0.0, 0.0)


def sun(days: Sequence[float], *, lost_from: int = 99) -> tuple[tuple[float, ...], ...]:
    """Returns what each of four plants gained; two of them bring nothing from a day on."""
    whole = [bright * part for bright in days for part in CLEAR]
    broken = [gain * (step < lost_from * DAY_STEPS) for step, gain in enumerate(whole)]
    return tuple(map(tuple, (whole, whole, broken, broken)))


def ahead(plants: tuple[tuple[float, ...], ...], *, apart: bool = True) -> Outlook:
    gained = tuple(map(sum, zip(*plants, strict=True)))
    use = (3.0,) * len(gained)
    return outlook(Ledger(40.0, 0.0, 100.0, use, gained, plants=plants if apart else ()), SUN, far=True)


def test_plants_that_are_lost_are_told_from_a_dark_sky() -> None:
    sky = [1.0, 1.0, 0.3, 1.0, 1.0, 1.0, 0.4, 0.4, 1.0, 1.0] * 2
    dark = [*sky, 0.5, 0.5, 0.5]
    assert ahead(sun([*sky, 1.0, 1.0, 1.0], lost_from=20)).chance > 0.9, "half of the plants do not bring what is used"
    assert ahead(sun(dark)).chance < 0.4, "all of them bring half: clouds go"
    assert ahead(sun(dark), apart=False).chance > 0.9, "who knows only the sum takes the one for the other"


def test_power_is_announced_where_the_futures_of_an_island_do_not_reach() -> None:
    watch = ShortageWatch()
    short = Future((2.0,) * SAFE_H, (0.0,) * SAFE_H, (0.0,) * SAFE_H, (0.0,) * SAFE_H, (0.0,) * SAFE_H)
    held = Stores(150.0, 200.0, 40.0, 1.0)
    for look in range(2):
        at = Instant(NOW + look * STEP_MS)
        assert watch.power_due(at)
        watch.look_at_power(at, held, [short] * 10, RATIONS[1])
        assert not watch.power_due(Instant(at + STEP_MS - 1))
    (said,) = watch.announced()
    assert said == "power for the lifelines is likely short in about 3 days as it is used now"
    watch.outside_is_there()
    assert not watch.short
    watch.look_at_power(
        Instant(NOW), replace(held, battery_kwh=200.0), [replace(short, critical_kw=(0.5,) * SAFE_H)], RATIONS[1]
    )
    assert not watch.short


def judged(seeds: int) -> dict[str, object]:
    found = bench().run(["--seeds", str(seeds)])
    assert isinstance(found, dict)
    return found


def test_shortages_are_announced_a_day_ahead_in_most_worlds() -> None:
    found = judged(5)
    assert int(str(found["shortages"])) >= 9
    assert float(str(found["day_ahead"])) >= 0.85
    assert float(str(found["false_share"])) <= 0.15


@pytest.mark.deep
def test_a_hundred_worlds_of_each_lifeline() -> None:
    cases = judged(100)["cases"]
    assert isinstance(cases, list)
    for case in cast("list[dict[str, float]]", cases):
        assert case["day_ahead"] >= 0.9, case
        assert case["false_share"] <= 0.1, case
