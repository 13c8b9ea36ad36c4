"""Who forecasts: like days at first, then whoever was nearest to the meters; the futures that come with it."""

from __future__ import annotations

from dataclasses import replace
from math import pi, sin
from random import Random

import pytest

from controller.beliefs import SERIES, Score
from controller.history import DAY_SLOTS, History
from controller.hub_plans import expect
from controller.plan_forecast import LIKE, MEAN, MEMBERS, RIDGE, Helps, forecast
from controller.scores import JUDGED_MIN, Scorebook, rival_name
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant
from devices.model import Commodity, DeviceKind, IntervalRecord, UsagePointId
from tests.controller.scene import village

SITE = village()
START = Instant(1_780_264_800_000)  # Monday 2026-06-01 in Berlin
METERS = [device.id for device in SITE.of_kind(DeviceKind.METER)]
PLANTS = [device.id for device in SITE.of_kind(DeviceKind.PV)]
TAPS = [channel for device in SITE.of_kind(DeviceKind.WATER_METERS) for channel in device.channels]
RATED_KW = sum(device.ratings["power_w_max"] for device in SITE.of_kind(DeviceKind.PV)) / 1000


def history(days: int) -> History:
    """Returns days of a village: the sun of each is as clear as it happens, the water as much as the day before."""
    rng, found, thirst, records = Random(3), History(SITE), 1.0, list[IntervalRecord]()
    for day in range(days):
        clear = rng.uniform(0.2, 1.0)
        thirst = min(2.0, max(0.4, thirst * rng.uniform(0.7, 1.4)))
        for slot in range(DAY_SLOTS):
            at = Instant(START + day * DAY_MS + slot * SLOT_MS)
            sun = max(0.0, sin(pi * (slot - 24) / 48)) * clear
            used = 200 + round(150 * sin(2 * pi * slot / 96)) + rng.randrange(40)
            records += [record(point, at, used, 0) for point in METERS]
            records += [record(point, at, 0, round(900 * sun)) for point in PLANTS]
            records += [record(tap, at, round(4_000 * thirst), 0, Commodity.WATER) for tap in TAPS]
    found.add(records, Instant(START + days * DAY_MS))
    return found


def record(point: str, at: Instant, came: int, went: int, commodity: Commodity = Commodity.ENERGY) -> IntervalRecord:
    return IntervalRecord(UsagePointId(point), commodity, 1, 1, at, Instant(at + SLOT_MS), 0, came, 0, went)


@pytest.fixture(scope="module")
def known() -> History:
    return history(30)


def test_like_days_forecast_until_there_is_enough_to_learn_from(known: History) -> None:
    wish = dict.fromkeys(SERIES, RIDGE)
    young = forecast(SITE, known, Instant(START + 5 * DAY_MS), Helps(choice=wish))
    assert dict(young.by) == dict.fromkeys(SERIES, LIKE)
    assert len(young.futures) == 4, "how each of five days differed from the one before"
    assert {member for _, member, _ in young.rivals} == {LIKE}
    old = forecast(SITE, known, Instant(START + 30 * DAY_MS), Helps(choice=wish))
    assert dict(old.by) == wish
    assert {member for _, member, _ in old.rivals} == set(MEMBERS)
    assert len(old.futures) > 16
    assert not forecast(SITE, History(SITE), START).futures


def test_what_is_forecast_is_within_what_can_be(known: History) -> None:
    for choice in (LIKE, RIDGE, MEAN):
        found = forecast(SITE, known, Instant(START + 30 * DAY_MS), Helps(3_000.0, dict.fromkeys(SERIES, choice)))
        calm = forecast(SITE, known, Instant(START + 30 * DAY_MS), Helps(choice=dict.fromkeys(SERIES, choice)))
        assert found.load_kw[0] - calm.load_kw[0] == pytest.approx(3.0, abs=0.01), "the miss is added and fades"
        assert found.futures[0].load_kw[0] - calm.futures[0].load_kw[0] == pytest.approx(3.0, abs=0.01)
        assert found.load_kw[40] - calm.load_kw[40] < 0.1
        for one in (found, *found.futures):
            assert 0.0 <= min(one.pv_kw) <= max(one.pv_kw) <= RATED_KW
            assert min(one.load_kw) >= 0.0
            assert min(one.water_kl) >= 0.0
        assert all(part <= whole for part, whole in zip(found.critical_kw, found.load_kw, strict=True))
        assert [band.name for band in found.bands] == list(SERIES)


def test_a_mean_lies_between_the_two(known: History) -> None:
    made = {(series, member): values for series, member, values in forecast(
        SITE, known, Instant(START + 30 * DAY_MS)).rivals}  # fmt: skip
    for series in SERIES:
        for one, other, mean in zip(*(made[series, member] for member in (LIKE, RIDGE, MEAN)), strict=True):
            assert mean == pytest.approx((one + other) / 2)


def test_members_are_scored_and_the_nearest_forecasts(known: History) -> None:
    scores = Scorebook(SITE.timezone)
    for at in range(START + 25 * DAY_MS, START + 29 * DAY_MS, HOUR_MS):
        expect(scores, forecast(SITE, known, Instant(at)))
    scores.settle(known, Instant(START + 30 * DAY_MS))
    assert scores.choice(MEMBERS) == {}, "no day is closed yet"
    closed = scores.take("2026-06-30")
    chosen = scores.choice(MEMBERS)
    for series in SERIES:
        error = {
            member: sum(s.error_abs for s in closed if s.series == rival_name(series, member)) for member in MEMBERS
        }
        assert chosen[series] == min(error, key=error.__getitem__)
        assert min(error.values()) > 0.0
    again = Scorebook(SITE.timezone)
    again.judge(closed)
    assert again.choice(MEMBERS) == chosen, "a restarted hub reads the same from its file"


def test_a_member_is_judged_on_days_on_which_all_were_scored() -> None:
    def day(number: int, member: str, error: float) -> Score:
        return Score(f"2026-06-{number:02}", rival_name("pv", member), 4, 24, 24 * error, 0.0, 0.0, 0.0)

    scores = Scorebook(SITE.timezone)
    scores.judge([day(number, LIKE, 0.0) for number in range(1, 9)])  # easy days that the others did not have
    for number in range(9, 9 + JUDGED_MIN):
        assert scores.choice(MEMBERS) == {}
        scores.judge([day(number, member, error) for member, error in ((LIKE, 9.0), (RIDGE, 5.0), (MEAN, 6.0))])
    assert scores.choice(MEMBERS) == {"pv": RIDGE}
    scores.judge([replace(day(number, LIKE, 0.0)) for number in range(12, 30)])
    assert scores.choice(MEMBERS) == {}, "older days are forgotten"
