"""What was believed, kept on disk: read back as known at t, bounded by rule, and never in the way of planning."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from controller.beliefs import Belief, DayResult, KeptPlan, KeptWeather, Score, UnreadPlan
from controller.store.belief_file import FILE, KEEP_MS, WEATHER_MS, BeliefReader, BeliefWriter
from controller.store.sqlite import open_writer
from controller.weather_file import Hour, WeatherTable
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS, Instant
from optimizer.codec import encode
from optimizer.plan import Plan
from optimizer.problem import Stop
from optimizer.solve import solve
from tests.controller.scene import NOW
from tests.optimizer.problems import bare


@pytest.fixture(scope="module")
def plan() -> Plan:
    found = solve(bare((5.0,) * 8, (2.0,) * 8, island=False), Stop(seconds=None), 1)
    assert isinstance(found, Plan)
    return found


def belief(at: int, watts: int) -> Belief:
    return Belief(Instant(at), Instant(at), SLOT_MS, (("load", (watts, watts + 1)), ("pv", (0, 7))))


def test_what_was_known_at_t_is_read_back(tmp_path: Path, plan: Plan) -> None:
    writer, reader = BeliefWriter(tmp_path), BeliefReader(tmp_path)
    assert reader.plan() is None
    assert reader.belief() is None
    early, late = KeptPlan(NOW, plan, True, "the first plan", "plan", "Europe/Paris", "EUR"), None
    late = replace(early, made_at=Instant(NOW + HOUR_MS), used=False, note="rules: better")
    for item in (early, late, belief(NOW, 100), belief(NOW + HOUR_MS, 900)):
        writer.keep(item, NOW)
    assert reader.plan(Instant(NOW + HOUR_MS - 1)) == early
    assert reader.plan() == late
    assert reader.plan(Instant(NOW - 1)) is None
    assert reader.belief(Instant(NOW + MINUTE_MS)) == belief(NOW, 100)
    assert reader.belief() == belief(NOW + HOUR_MS, 900)
    writer.close()


def test_a_plan_of_another_version_is_told_and_not_taken_for_none(tmp_path: Path, plan: Plan) -> None:
    writer = BeliefWriter(tmp_path)
    writer.keep(KeptPlan(NOW, plan, True, "the first plan", "plan", "Europe/Paris", "EUR"), NOW)
    writer.close()
    older = encode(plan).replace(',"cuts":[]', "")
    db = open_writer(tmp_path / FILE, "NORMAL", "", 1)
    db.execute("UPDATE plan SET body = ?", (zlib.compress(older.encode()),))
    db.close()
    found = BeliefReader(tmp_path).plan()
    assert isinstance(found, UnreadPlan)
    assert (found.made_at, found.timezone) == (NOW, "Europe/Paris")
    assert "another version of Atoll" in found.words()
    assert "missing ['cuts']" in found.words()


def test_weather_is_kept_as_long_as_forecasts_learn_from_it(tmp_path: Path) -> None:
    writer = BeliefWriter(tmp_path)
    told = [
        KeptWeather(
            Instant(NOW + day * DAY_MS),
            Instant(NOW + (day + 2) * DAY_MS),
            WeatherTable(Instant(NOW + day * DAY_MS - HOUR_MS), (Hour(NOW, 100.0 + day, None),)),
        )
        for day in (0, 1, 60)
    ]
    for one in told:
        writer.keep(one, one.told_at)
    reader = BeliefReader(tmp_path)
    assert reader.weather(Instant(NOW + DAY_MS)) == []
    assert reader.weather(told[-1].told_at) == [told[-1]], f"what ends {WEATHER_MS} ms ago teaches nothing"
    writer.close()


def test_a_file_from_before_weather_was_kept_has_none_and_takes_some(tmp_path: Path, plan: Plan) -> None:
    writer = BeliefWriter(tmp_path)
    writer.keep(belief(NOW, 1), NOW)
    writer.close()
    db = open_writer(tmp_path / FILE, "NORMAL", "", 1)
    db.execute("DROP TABLE work; DROP TABLE weather")
    db.close()
    reader = BeliefReader(tmp_path)
    assert (reader.weather(NOW), reader.work(NOW)) == ([], None)
    one = KeptWeather(NOW, Instant(NOW + DAY_MS), WeatherTable(NOW, (Hour(NOW, None, 12.5),)))
    writer.keep(one, NOW)
    assert reader.weather(NOW) == [one]
    writer.close()


def test_days_and_scores_are_read_back_newest_first(tmp_path: Path) -> None:
    writer = BeliefWriter(tmp_path)
    days = [DayResult(f"2026-06-0{n}", NOW, Instant(NOW + DAY_MS), 1.0 * n, 2.0, None, 1.5, 96, 96) for n in (1, 2)]
    for day in days:
        writer.keep(day, NOW)
        writer.keep(Score(day.day, "load", 4, 10, 100.0, -20.0, 150.0, 2_000.0), NOW)
    writer.close()
    reader = BeliefReader(tmp_path)
    assert reader.days() == days[::-1]
    assert reader.days()[0].regret is None
    assert reader.scores() == [Score("2026-06-01", "load", 4, 20, 200.0, -40.0, 300.0, 4_000.0)]
    assert reader.scores(days=1)[0].count == 10
    member = Score("2026-06-02", "load by ridge", 4, 10, 50.0, 5.0, 60.0, 1_000.0)
    writer.keep(member, Instant(0))
    assert [score.series for score in reader.scores()] == ["load"]
    assert member in reader.scores(members=True)
    assert reader.member_scores() == [member]


def test_the_file_is_bounded_whole_for_two_days_then_one_an_hour_then_nothing(tmp_path: Path) -> None:
    writer = BeliefWriter(tmp_path, "OFF")
    start = NOW - NOW % DAY_MS
    for at in range(start, start + 40 * DAY_MS, 30 * MINUTE_MS):
        writer.keep(belief(at, 1), Instant(at))
    now = start + 40 * DAY_MS
    writer.keep(belief(now, 1), Instant(now))
    times = [row[0] for row in BeliefReader(tmp_path)._rows("SELECT DISTINCT made_at FROM belief ORDER BY made_at")]
    assert isinstance(times[0], int)
    assert times[0] >= now - KEEP_MS - HOUR_MS
    young = [at for at in times if isinstance(at, int) and at > now - 2 * DAY_MS]
    assert len(young) == 2 * 48
    assert len(times) == pytest.approx(33 * 24 + 2 * 48, abs=4)
    writer.close()


def test_a_disk_that_takes_nothing_is_counted_and_stops_no_plan(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    writer = BeliefWriter(tmp_path)
    writer.keep(belief(NOW, 1), NOW)
    assert writer.failed == 1


def test_a_damaged_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    reader = BeliefReader(tmp_path)
    assert reader.plan() is None
    assert reader.days() == []
