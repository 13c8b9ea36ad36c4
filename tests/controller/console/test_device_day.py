"""A device's last day: means with gaps, quality in words and picture, and what it was told."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC

from controller.console.device_day import device_day, steps_of
from controller.console.grading import grade
from controller.store.series import PointRange
from controller.views import Writable
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, Instant
from devices.model import PointId, Quality
from tests.controller.console.served import client
from tests.controller.console.village import AT, Village

START = Instant(AT - DAY_MS)


def minutely(*spans: tuple[float, float, float | None, Quality]) -> PointRange:
    """Samples of one a minute, in stretches of (from hour, to hour, value, quality)."""
    rows = [
        (Instant(START + at), value, quality)
        for since, until, value, quality in spans
        for at in range(round(since * HOUR_MS), round(until * HOUR_MS), MINUTE_MS)
    ]
    return PointRange(*(tuple(column) for column in zip(*rows, strict=True)))  # type: ignore[arg-type]


DAY = minutely(
    (0, 6, 100.0, Quality.GOOD), (8, 10, None, Quality.BAD), (10, 12, 300.0, Quality.UNCERTAIN),
    (12, 24, 500.0, Quality.GOOD),
)  # fmt: skip


def test_a_gap_stays_a_gap_and_bad_is_no_number() -> None:
    graded = grade(DAY, START, AT)
    assert graded.step_ms == 5 * MINUTE_MS
    at = dict(
        zip([(t - START) / HOUR_MS for t in graded.times], zip(graded.means, graded.worst, strict=True), strict=True)
    )
    assert at[1] == (100.0, Quality.GOOD)
    assert at[7] == (None, None)
    assert at[9] == (None, Quality.BAD)
    assert at[11] == (300.0, Quality.UNCERTAIN)
    assert at[23] == (500.0, Quality.GOOD)


def test_the_worst_of_a_step_is_told_and_its_mean_is_of_the_usable() -> None:
    found = PointRange((START, Instant(START + 1000), Instant(START + 2000)), (10.0, None, 20.0),
                       (Quality.GOOD, Quality.BAD, Quality.GOOD))  # fmt: skip
    graded = grade(found, START, AT)
    assert (graded.means[0], graded.worst[0]) == (15.0, Quality.BAD)


def test_a_device_that_speaks_each_quarter_of_an_hour_has_no_gaps() -> None:
    times = tuple(Instant(START + n * 15 * MINUTE_MS) for n in range(96))
    graded = grade(PointRange(times, (1.0,) * 96, (Quality.GOOD,) * 96), START, AT)
    assert None not in graded.means


def test_what_was_told_ends_with_its_lease() -> None:
    told = PointRange((START, Instant(START + MINUTE_MS)), (1.0, 2.0), (Quality.GOOD,) * 2)
    assert steps_of(told) == [
        (START, START + MINUTE_MS, 1.0),
        (START + MINUTE_MS, START + 11 * MINUTE_MS, 2.0),
    ]


def village() -> Village:
    found = Village(0)
    battery = next(one for one in found.view.devices if one.id == "battery-1")
    label = battery.values[0].label
    odd = replace(battery, writable=Writable(label, "W", -1.0, 1.0))
    found.change(devices=tuple(odd if one.id == "battery-1" else one for one in found.view.devices))
    found.samples = {
        PointId(f"battery-1/{label}"): DAY,
        PointId("battery-1/told"): minutely((13, 14, 250.0, Quality.GOOD), (14, 15, -250.0, Quality.GOOD)),
    }
    return found


def test_the_page_says_it_in_words_and_draws_it() -> None:
    page = client(village()).get("/devices/battery-1/day").text
    assert "nothing heard for" in page
    assert "bad for 2 h" in page
    assert "uncertain for 2 h" in page
    assert len(re.findall('class="q q-', page)) >= 3
    path = re.search(r'class="line s4 actual" d="([^"]+)"', page)
    assert path is not None
    assert path[1].count("M") == 2, "the line is broken where nothing was heard or all was bad"
    told = re.search(r'class="line s1 plan" d="([^"]+)"', page)
    assert told is not None
    assert told[1].count("M") == 120
    assert "What it was told" in page


def test_the_device_page_brings_it_in_or_links_to_it() -> None:
    one = client(village())
    assert 'hx-get="/devices/battery-1/day"' in one.get("/devices/battery-1").text
    part = one.get("/devices/battery-1/day", headers={"hx-request": "true"}).text
    assert part.lstrip().startswith("<section")
    assert one.get("/devices/nothing/day").status_code == 404


def test_a_device_without_history_is_said_to_have_none() -> None:
    found = Village(0)
    device = next(one for one in found.view.devices if one.id == "battery-1")
    day = device_day(found, device, AT, UTC)
    assert {chart.sentence for chart in day.charts} == {"no usable reading in 24 hours"}
    assert day.told == ()
