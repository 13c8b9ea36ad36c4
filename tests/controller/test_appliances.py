"""Appliances on a relay: once a day inside a window, when it is cheapest, in one piece or with pauses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller import hub as core
from controller.appliances import Appliances
from controller.cycle import Context, decide
from controller.history import History
from controller.plan_forecast import forecast
from controller.plan_problem import build_problem
from controller.rules import RULES
from controller.site import Site, SiteProblems, load
from devices.clock import HOUR_MS, MINUTE_MS, Instant, floor_to, parse_iso
from devices.model import DeviceId
from optimizer.check import check
from optimizer.plan import Plan, Reason, UnitStep
from optimizer.problem import AssetId, Problem, Stop
from optimizer.solve import solve
from tests.controller.scene import VILLAGE, snapshot

WASHER = DeviceId("washer-1")
WASHING = AssetId("washing.20260603")
MORNING = parse_iso("2026-06-03T08:05:00+02:00")  # a Wednesday; the window is 08:00 to 20:00


def village(*changes: tuple[str, str]) -> Site:
    text = VILLAGE.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return load(text, "site.toml")


def question(site: Site, appliances: Appliances, now: Instant) -> Problem:
    board = core.start(core.HubConfig(site, 1, 1_000, 1_000, 0, 900_000), now).board
    problem = build_problem(site, snapshot(site, None, now), board, forecast(site, History(site), now), island=False)
    whole, split = appliances.jobs(problem.start, now, problem.slots)
    return replace(problem, jobs=whole, split_jobs=split)


def ran(appliances: Appliances, start: Instant, minutes: int) -> Instant:
    """Shows the relay as on for so long."""
    for minute in range(minutes + 1):
        now = Instant(start + minute * MINUTE_MS)
        appliances.look(snapshot(appliances.site, {"washer-1": {"on": 1.0}}, now))
    return Instant(start + minutes * MINUTE_MS)


def test_a_run_in_one_piece_is_planned_once_goes_on_and_is_done() -> None:
    site = village()
    appliances = Appliances(site)
    (job,), split = appliances.jobs(Instant(MORNING - 5 * MINUTE_MS), MORNING, 96)
    assert (job.id, len(job.power_kw), job.earliest_slot, job.latest_slot, split) == (WASHING, 6, 0, 42, ())
    plan = solve(question(site, appliances, MORNING), Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    assert sum(step.on for step in plan.units[WASHING]) == 6
    now = ran(appliances, MORNING, 30)
    assert appliances.due(now) == {WASHER}, "what has begun goes on, whatever a new plan would like"
    (rest,), _ = appliances.jobs(floor_to(now, 15 * MINUTE_MS), now, 96)
    assert (len(rest.power_kw), rest.earliest_slot, rest.latest_slot) == (4, 0, 0)
    now = ran(appliances, now, 60)
    assert appliances.due(now) == frozenset()
    assert appliances.jobs(floor_to(now, 15 * MINUTE_MS), now, 96) == ((), ())


def test_a_run_that_may_pause_takes_the_cheapest_slots_of_its_window() -> None:
    site = village(("skip_price = 4.0", "skip_price = 4.0\ninterruptible = true"), ('"20:00"]\ndays', '"23:45"]\ndays'))
    now = parse_iso("2026-06-03T17:00:00+02:00")
    problem = question(site, Appliances(site), now)
    (job,) = problem.split_jobs
    assert (job.slots, job.earliest_slot, job.until_slot) == (6, 0, 27)
    plan = solve(problem, Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    assert check(problem, plan) == []
    on = [slot for slot, step in enumerate(plan.units[WASHING]) if step.on]
    assert len(on) == 6
    assert min(on) >= 20, "power is half the price from 22:00"


def test_only_on_its_days_and_not_twice() -> None:
    appliances = Appliances(village())
    tuesday = parse_iso("2026-06-02T21:00:00+02:00")
    (job,), _ = appliances.jobs(tuesday, tuesday, 96)
    assert job.id == WASHING, "tomorrow's; Tuesday has none"
    assert appliances.due(Instant(tuesday - 2 * HOUR_MS)) == frozenset()


def test_the_relay_follows_the_plan_and_without_one_runs_at_its_last_chance() -> None:
    site = village()
    appliances = Appliances(site)
    device = site.device("washer-1")
    assert device is not None

    def wish(now: Instant, step: UnitStep | None) -> tuple[float, str]:
        units = {} if step is None else {DeviceId(WASHING): step}
        view = snapshot(site, {"washer-1": {"on": 0.0}}, now)
        at = Context(
            site, view, island=False, others_w=None,
            unit_steps=appliances.steps(units, now), due=appliances.due(now),
        )  # fmt: skip
        found = decide(at, device, RULES)
        return found.value, found.reason

    assert wish(MORNING, UnitStep(True, 900, Reason("sun")))[0] == 1.0
    assert wish(MORNING, UnitStep(False, 0, Reason("wait")))[0] == 0.0
    assert wish(MORNING, None) == (0.0, "default: off")
    last = parse_iso("2026-06-03T18:30:00+02:00")
    assert wish(last, None) == (1.0, "default: its run would not be done in its window")
    assert wish(last, UnitStep(False, 0, Reason("wait")))[0] == 1.0


def test_a_gap_in_the_readings_counts_as_off() -> None:
    appliances = Appliances(village())
    ran(appliances, MORNING, 10)
    ran(appliances, Instant(MORNING + 2 * HOUR_MS), 10)
    assert appliances.done_ms[WASHING] == 20 * MINUTE_MS


def test_wrong_appliances_are_told() -> None:
    with pytest.raises(SiteProblems) as caught:
        village(
            ('device = "washer-1"', 'device = "washr-1"'),
            ('window = ["08:00", "20:00"]\ndays', 'window = ["08:00", "09:00"]\ndays'),
            ('behind = "home-08"', 'behind = "home-8"'),
        )
    assert sorted(problem.code for problem in caught.value.problems) == ["SITE-062", "SITE-156", "SITE-157"]
