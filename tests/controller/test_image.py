"""The process image: old, bad and dead data never look like numbers."""

from __future__ import annotations

from controller.image import Image
from devices.clock import Instant
from devices.model import DeviceId, Quality, Readings
from tests.controller.scene import NOW, readings

TANK = DeviceId("tank-1")


def image() -> Image:
    return Image({TANK: 5_000})


def at(milliseconds: int) -> Instant:
    return Instant(NOW + milliseconds)


def test_a_value_lives_until_its_data_deadline() -> None:
    kept = image()
    kept.update(readings(TANK, {"level": 0.5}, NOW), NOW)
    assert kept.freeze(at(5_000)).value(TANK, "level") == 0.5
    late = kept.freeze(at(5_001))
    assert late.value(TANK, "level") is None
    reading = late.reading(TANK, "level")
    assert reading is not None
    assert reading.quality is Quality.STALE
    assert reading.value == 0.5


def test_a_gateway_clock_that_steps_back_or_ahead_changes_nothing() -> None:
    kept = image()
    kept.update(readings(TANK, {"level": 0.5}, NOW), NOW)
    kept.update(readings(TANK, {"level": 0.6}, at(-3_600_000)), at(1_000))
    assert kept.freeze(at(1_500)).value(TANK, "level") == 0.6
    kept.update(readings(TANK, {"level": 0.7}, at(86_400_000)), at(2_000))
    assert kept.freeze(at(7_500)).value(TANK, "level") is None


def test_death_is_stale_at_once_and_news_revive() -> None:
    kept = image()
    kept.update(readings(TANK, {"level": 0.5}, NOW), NOW)
    kept.offline(TANK)
    assert not kept.freeze(NOW).online(TANK)
    assert kept.freeze(NOW).value(TANK, "level") is None
    kept.update(readings(TANK, {"level": 0.4}, at(10)), at(10))
    assert kept.freeze(at(10)).value(TANK, "level") == 0.4


def test_back_fill_never_touches_the_live_image() -> None:
    kept = image()
    old = Readings(TANK, NOW, ("level",), (0.1,), (Quality.GOOD,), historical=True)
    kept.update(old, NOW)
    assert kept.freeze(NOW).reading(TANK, "level") is None


def test_a_message_with_some_points_keeps_the_others_with_their_own_age() -> None:
    kept = image()
    kept.update(readings(TANK, {"level": 0.5, "raw": 12.0}, NOW), NOW)
    kept.update(readings(TANK, {"raw": None}, at(4_000)), at(4_000))
    view = kept.freeze(at(4_000))
    assert view.value(TANK, "level") == 0.5
    assert view.value(TANK, "raw") is None
    assert kept.freeze(at(6_000)).value(TANK, "level") is None
    assert kept.freeze(at(6_000)).online(TANK)
