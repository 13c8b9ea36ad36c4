"""Work of a site: asked with the energy plan, answered by the real planner child, kept as a list and as fixed jobs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.shell.planner import Planner
from controller.site import check, load
from controller.workbook import EVERY_MS, RETRY_MS, Workbook
from devices.clock import HOUR_MS, SLOT_MS, Instant, parse_iso
from optimizer.answer import Cause, Failed, Planned
from optimizer.check_whole import check_whole
from optimizer.codec import decode, encode
from optimizer.plan import Plan
from optimizer.problem import Problem, Stop
from tests.optimizer.problems import village

SITE = (Path(__file__).parents[1] / "village.toml").read_text()
MONDAY = parse_iso("2026-06-01T06:00:00+02:00")
STOP = Stop(seconds=None, gap=0.005, nodes=200)


def energy(start: Instant) -> Problem:
    return replace(village(), start=start)


@pytest.fixture(scope="module")
def planned() -> tuple[Problem, Planned]:
    """The example village's Monday, with its workshop, planned by a real child."""
    book = Workbook(load(SITE, "site.toml").work, "Europe/Berlin", MONDAY)
    assert book.due(MONDAY)
    question = book.question(energy(MONDAY), MONDAY)
    assert question is not None
    assert decode(Problem, encode(question)) == question
    planner = Planner()
    try:
        answer = planner.ask(question, STOP, 0)
    finally:
        planner.close()
    assert isinstance(answer, Planned), answer
    return question, answer


@pytest.mark.integration
def test_the_child_plans_work_and_the_hub_keeps_the_list(planned: tuple[Problem, Planned]) -> None:
    question, answer = planned
    assert check_whole(question, answer.plan) == []
    assert decode(Plan, encode(answer.plan)) == answer.plan
    book = Workbook(load(SITE, "site.toml").work, "Europe/Berlin", MONDAY)
    book.question(energy(MONDAY), MONDAY)
    assert not book.due(MONDAY)
    book.answered(answer, MONDAY)
    items = {item.key: item for item in book.list(MONDAY)}
    printing = items["print-brackets.20260601"]
    assert parse_iso("2026-06-01T08:00:00+02:00") <= printing.starts
    assert printing.ends <= parse_iso("2026-06-01T20:00:00+02:00")
    assert (printing.machine, printing.crew) == ("printer-1", "workshop")
    assert printing.ends - printing.starts == 3 * HOUR_MS
    assert items["pump-check.20260601"].crew == "workshop"
    # Fixed in the next energy plan, with its rest once it runs, and not asked again then.
    job = next(one for one in book.jobs(MONDAY, 96) if one.id == printing.key)
    assert job.earliest_slot == job.latest_slot == (printing.starts - MONDAY) // SLOT_MS
    later = Instant(printing.starts + HOUR_MS)
    rest = next(one for one in book.jobs(later, 96) if one.id == printing.key)
    assert (rest.earliest_slot, len(rest.power_kw)) == (0, 8)
    again = book.question(energy(later), later)
    assert again is not None
    assert again.work is not None
    assert printing.key not in {task.id for task in again.work.tasks}
    assert again.work.machines[0].windows[0][0] >= 8, "the printer is busy for two hours more"
    assert again.work.machines[0].hours_left == pytest.approx(147.0), "150 hours were left, three are begun"


def test_a_failed_work_plan_keeps_the_list_and_asks_again_soon(planned: tuple[Problem, Planned]) -> None:
    book = Workbook(load(SITE, "site.toml").work, "Europe/Berlin", MONDAY)
    book.question(energy(MONDAY), MONDAY)
    assert book.answered(planned[1], MONDAY)
    before = book.list(MONDAY)
    soon = Instant(MONDAY + EVERY_MS)
    assert book.due(soon)
    book.question(energy(soon), soon)
    assert not book.answered(Failed(Cause.TIMEOUT, "slow"), soon)
    assert [one for one in book.list(MONDAY) if one in before] == list(before)
    assert book.due(Instant(soon + RETRY_MS))
    waits = list[int]()
    for _ in range(8):  # it goes on failing: asked ever less, never more seldom than after a plan
        at = book.next_at
        book.question(energy(at), at)
        book.answered(Failed(Cause.TIMEOUT, "slow"), at)
        waits.append(book.next_at - at)
    assert waits[:2] == [2 * RETRY_MS, 4 * RETRY_MS]
    assert waits[-2:] == [EVERY_MS, EVERY_MS]
    broken = replace(planned[1].plan, work=None)
    assert check_whole(planned[0], broken)[0].rule == "work_shape"


def test_orders_that_nobody_can_do_are_named_with_their_line() -> None:
    wrong = SITE.replace('machine = "printer"', 'machine = "lathe"').replace(
        'skills = ["fitting"]', 'skills = ["magic"]'
    )
    site, problems = check(wrong.replace('window = ["08:00", "17:00"]', 'window = ["17:00", "08:00"]'), "site.toml")
    assert site is None
    said = " | ".join(str(problem) for problem in problems)
    for words in ("no machine is of this kind", "no crew has these skills", "the span ends too soon"):
        assert words in said
