"""The JSON mirror: readable, retained, null for what may not be used, and bounded."""

from __future__ import annotations

import json

from controller.image import Image
from controller.mirror import PER_CYCLE_MAX, Mirror, unit_of
from devices.clock import Instant
from devices.model import DeviceId, Message, Quality, Readings

T = Instant(1_780_473_600_000)
HOME = DeviceId("home-07")


def image(watts: float | None = 250.0, *, at: int = T, points: tuple[str, ...] = ("W", "import_wh")) -> Image:
    made = Image({HOME: 10_000})
    values = (watts, *(7,) * (len(points) - 1))
    qualities = tuple(Quality.BAD if value is None else Quality.GOOD for value in values)
    made.update(Readings(HOME, Instant(at), points, values, qualities), Instant(at))
    return made


def said(messages: list[Message]) -> dict[str, dict[str, object]]:
    assert all(message.retain and message.qos == 0 for message in messages)
    return {message.topic: json.loads(message.payload) for message in messages}


def test_every_value_has_a_topic_that_a_person_can_read():
    found = said(Mirror("village", 5_000).take(image().freeze(T), T))
    assert found == {
        "atoll/village/home-07/W": {"value": 250.0, "unit": "W", "quality": "good", "time": "2026-06-03T08:00:00Z"},
        "atoll/village/home-07/import_wh": {
            "value": 7,
            "unit": "Wh",
            "quality": "good",
            "time": "2026-06-03T08:00:00Z",
        },
    }


def test_what_may_not_be_used_is_null_with_its_quality():
    mirror = Mirror("village", 5_000)
    bad = said(mirror.take(image(None).freeze(T), T))["atoll/village/home-07/W"]
    assert (bad["value"], bad["quality"]) == (None, "bad")
    late = Instant(T + 10_001)
    stale = said(mirror.take(image().freeze(late), late))["atoll/village/home-07/W"]
    assert (stale["value"], stale["quality"]) == (None, "stale")
    gone = image()
    gone.offline(HOME)
    dead = said(Mirror("village", 5_000).take(gone.freeze(T), T))["atoll/village/home-07/W"]
    assert (dead["value"], dead["quality"]) == (None, "stale")


def test_changes_are_told_at_most_so_often_a_change_of_quality_at_once_and_nothing_twice():
    mirror = Mirror("village", 5_000)
    mirror.take(image().freeze(T), T)
    soon, later = Instant(T + 1_000), Instant(T + 6_000)
    assert mirror.take(image(251.0, at=soon).freeze(soon), soon) == []
    assert len(mirror.take(image(None, at=soon).freeze(soon), soon)) == 1
    assert list(said(mirror.take(image(252.0, at=later).freeze(later), later))) == ["atoll/village/home-07/W"]
    assert mirror.take(image(252.0, at=later).freeze(later), Instant(later + 60_000 - 60_000)) == []
    mirror.forget()
    assert len(mirror.take(image(252.0, at=later).freeze(later), later)) == 2, "the broker may have lost it"


def test_a_cycle_sends_so_many_and_the_next_goes_on():
    many = Image({})
    for number in range(400):
        device = DeviceId(f"d{number:03d}")
        many.update(Readings(device, T, ("W", "V"), (1.0, 2.0), (Quality.GOOD,) * 2), T)
    mirror = Mirror("village", 5_000)
    first, second = mirror.take(many.freeze(T), T), mirror.take(many.freeze(T), T)
    assert len(first) == PER_CYCLE_MAX
    assert len({m.topic for m in (*first, *second)}) == 800


def test_a_topic_that_is_none_is_left_out_and_no_mirror_costs_nothing():
    mirror = Mirror("village", 5_000)
    assert mirror.take(image(points=("a/#", "x" * 300)).freeze(T), T) == []
    assert mirror.skipped == 2
    assert Mirror("village").take(image().freeze(T), T) == []


def test_units_come_from_names():
    assert [unit_of(name) for name in ("home-01.water_ml", "flow_lpm", "state", "export_wh")] == [
        "mL",
        "L/min",
        "",
        "Wh",
    ]
