"""The weather file: what is read, what is refused and how, and that old weather is none."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from controller.hub import HubConfig, start, step
from controller.hub_events import WeatherTold
from controller.shell.weather_drop import WeatherDrop
from controller.weather import WeatherBook
from controller.weather_file import BadWeather, Hour, WeatherTable, read_weather
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant, parse_iso
from devices.events import Tick
from tests.controller.scene import village

NOW = parse_iso("2026-06-03T07:40:00Z")
START = parse_iso("2026-06-03T00:00:00Z")


def open_meteo(hours: int = 48, **changes: object) -> dict[str, object]:
    """Returns what Open-Meteo answers, as far as it counts."""
    time = [f"2026-06-{3 + at // 24:02}T{at % 24:02}:00" for at in range(hours)]
    sun = [max(0.0, 800.0 - 100.0 * abs(at % 24 - 12)) for at in range(hours)]
    hourly = {
        "time": time,
        "shortwave_radiation": sun,
        "temperature_2m": [15.5] * hours,
        "wind_speed_10m": [3.0] * hours,
    }
    return {"latitude": 51.5, "utc_offset_seconds": 0, "hourly_units": {"time": "iso8601"}, "hourly": hourly, **changes}


def read(tree: object, file_time: Instant | None = NOW) -> WeatherTable:
    return read_weather(json.dumps(tree).encode(), file_time)


def test_open_meteo_is_read_as_it_comes() -> None:
    table = read(open_meteo())
    assert (table.issued, len(table.hours)) == (NOW, 48)
    noon = next(hour for hour in table.hours if hour.start == START + 11 * HOUR_MS)
    assert noon == Hour(Instant(START + 11 * HOUR_MS), 800.0, 15.5), "radiation is the mean of the hour before its time"
    assert table.until == START + 47 * HOUR_MS
    east = read(open_meteo(utc_offset_seconds=7_200, issued="2026-06-03T06:00+02:00"))
    assert east.hours[0].start == table.hours[0].start - 2 * HOUR_MS
    assert east.issued == parse_iso("2026-06-03T04:00:00Z")


def test_csv_is_read_with_its_units_and_its_gaps() -> None:
    text = (
        "latitude,longitude\n51.5,9.9\n\n# issued 2026-06-03T06:00Z\ntime,temperature_2m (°C),ghi (W/m²),cloud\n"
        "2026-06-03T08:00,17.5,400,20\n2026-06-03T09:00Z,,510.5,\n"
    )
    table = read_weather(text.encode(), None)
    assert table.issued == parse_iso("2026-06-03T06:00:00Z")
    assert [(hour.sun_w_m2, hour.air_c) for hour in table.hours] == [(400.0, 17.5), (510.5, None)]


def hourly(**columns: list[object]) -> dict[str, object]:
    time: list[object] = [f"2026-06-03T{at:02}:00" for at in range(3)]
    return {"hourly": {"time": time, **columns}}


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (hourly(ghi=[1, 2]), ["hourly.ghi: 2 values, `time` has 3"]),
        (hourly(ghi=[1, -5, 2_000]), ["value 2: shortwave_radiation is -5", "value 3", "0 to 1500 W/m2"]),
        (
            hourly(temperature=[1, "warm", True]),
            ["value 2: temperature_2m is 'warm'", "value 3: temperature_2m is True"],
        ),
        (hourly(rain=[0, 0, 0]), ["neither shortwave_radiation nor temperature_2m", "(rain)"]),
        (
            hourly(ghi=[1, 2, 3], time=["x", "2026-06-03T01:30", "2026-06-03T02:00"]),
            ["value 1: 'x'", "value 2", "full hour"],
        ),
        (hourly(ghi=[1, 2, 3], time=["2026-06-03T01:00"] * 3), ["value 2", "value 3", "not an hour after"]),
        (hourly(ghi=[1, 2, 3]) | {"issued": "today"}, ["issued: 'today' is no time"]),
        (hourly(ghi=[], time=[]), ["0 rows"]),
        ({"daily": {}}, ["`hourly`", "Open-Meteo"]),
        ({"hourly": {"ghi": []}}, ["no list `time`"]),
        (hourly(ghi=[1, 2, 3]) | {"utc_offset_seconds": "two"}, ["utc_offset_seconds: 'two'"]),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tree: object, words: list[str]) -> None:
    with pytest.raises(BadWeather) as caught:
        read(tree)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b"hello\n", "time,"),
        (b"time,ghi\n2026-06-03T01:00\n", "line 2: 1 cells"),
    ],
)
def test_what_is_no_weather_at_all_is_refused(data: bytes, word: str) -> None:
    with pytest.raises(BadWeather, match=word):
        read_weather(data, NOW)


def test_a_simulated_clock_wants_to_know_when_it_was_issued() -> None:
    with pytest.raises(BadWeather, match="say `issued`"):
        read(open_meteo(), None)


def test_old_weather_is_none_and_each_hour_is_as_last_told() -> None:
    book = WeatherBook(DAY_MS)
    assert next(book.conditions(NOW)).text.endswith("no weather has been told yet")
    book.take(read(open_meteo()), "", NOW)
    assert not list(book.conditions(NOW))
    seen = book.between(Instant(START - HOUR_MS), Instant(START + 24 * HOUR_MS), NOW)
    assert seen is not None
    assert seen.sun_w_m2[4 * 12 : 4 * 12 + 4].tolist() == [800.0] * 4
    assert len(seen.air_c) == 25 * HOUR_MS // SLOT_MS
    beyond = book.between(START, Instant(START + 3 * DAY_MS), NOW)
    assert beyond is not None
    assert np.isnan(beyond.sun_w_m2[-1])

    newer = WeatherTable(Instant(NOW + HOUR_MS), (Hour(Instant(START + 11 * HOUR_MS), 50.0, None),))
    book.take(newer, "", Instant(NOW + HOUR_MS))
    assert book.hours[Instant(START + 11 * HOUR_MS)].sun_w_m2 == 50.0
    assert book.between(START, Instant(START + HOUR_MS), Instant(NOW + HOUR_MS)) is None, "it ends too soon"
    book.take(read(open_meteo()), "", Instant(NOW + HOUR_MS))
    assert "before the one read last" in book.problem
    book.take(read(open_meteo(), Instant(NOW + 2 * HOUR_MS)), "", Instant(NOW + 2 * HOUR_MS))
    late = Instant(NOW + 2 * HOUR_MS + DAY_MS + 1)
    assert "older than 24 h" in book.unfit(late)
    assert book.between(START, Instant(START + HOUR_MS), late) is None
    book.take(read(open_meteo(), Instant(NOW + 99 * DAY_MS)), "", NOW)
    assert "in the future" in book.problem


def test_a_file_is_read_when_it_changes_and_missed_once(tmp_path: Path) -> None:
    path = tmp_path / "weather.json"
    drop = WeatherDrop(path, simulated=False)
    missing = drop.look()
    assert missing == WeatherTold(None, f"{path}: No such file or directory")
    assert drop.look() is None
    path.write_text(json.dumps(open_meteo()))
    os.utime(path, ns=(0, NOW * 1_000_000))
    told = drop.look()
    assert told is not None
    assert told.table is not None
    assert told.table.issued == NOW
    assert drop.look() is None
    path.write_text("{")
    broken = drop.look()
    assert broken is not None
    assert "not JSON" in broken.problem
    path.unlink()
    assert drop.look() is not None


def test_the_hub_calls_somebody_for_weather_that_the_site_names_and_cannot_be_used() -> None:
    site = village()
    named = replace(site, energy=replace(site.energy, weather="weather.json"))
    for one, told, raised in ((site, None, False), (named, None, True), (named, read(open_meteo()), False)):
        hub = start(HubConfig(one, 1, 1_000, 1_000, 0, 60_000, plans=False), NOW)
        if told is not None:
            step(hub, WeatherTold(told), NOW)
        for minute in range(75):
            step(hub, Tick(), Instant(NOW + minute * 60_000))
        assert any(alarm.condition.id == "weather" for alarm in hub.alarms.standing) == raised
