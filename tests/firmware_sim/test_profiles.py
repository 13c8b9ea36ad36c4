from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant, parse_iso
from devices.model import DeviceId, DeviceKind, DeviceSpec
from devices.simulated import ProfileProblems
from firmware_sim import profiles
from firmware_sim.profiles import DamagedProfiles, Profiles, load_built_in, load_csv

SPECS = [
    DeviceSpec(DeviceId("home-01"), DeviceKind.METER, "sunspec", "g"),
    DeviceSpec(DeviceId("pv-01"), DeviceKind.PV, "sunspec", "g", ratings={"power_w_max": 5000}),
    DeviceSpec(
        DeviceId("water-1"), DeviceKind.WATER_METERS, "profile:pulse_counter_16", "g", channels=("home-01.water",)
    ),
]


def rows(count: int = 700, start: str = "2024-03-31T00:00") -> list[str]:
    first = datetime.fromisoformat(start).replace(tzinfo=UTC)
    return [f"{first + i * timedelta(minutes=15):%Y-%m-%dT%H:%MZ},{i},{i % 96}" for i in range(count)]


def write(folder: Path, lines: list[str], header: str = "utc,home-01,pv-01") -> str:
    path = folder / "mine.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return str(path)


def problems(folder: Path, lines: list[str], header: str = "utc,home-01,pv-01") -> list[str]:
    path = write(folder, lines, header)
    with pytest.raises(ProfileProblems) as caught:
        load_csv(path, SPECS)
    return [text.removeprefix(f"{path}:") for text in caught.value.problems]


def test_the_built_in_year_is_whole_and_in_utc(year: Profiles) -> None:
    assert year.start == parse_iso("2015-12-31T23:00:00Z")
    assert len(year.rows) == 366 * 96
    assert len(year.columns) == 14 + 7 + 14
    times = [row.split(",", 1)[0] for row in year.rows]
    assert times[-1] == "2016-12-31T22:45Z"
    assert len(set(times)) == len(times)
    # The sun is highest near 11:20 UTC in central Germany, in summer as in winter: an hour's error would show.
    for month in (1, 7):
        first = (datetime(2016, month, 1, tzinfo=UTC) - datetime(2015, 12, 31, 23, tzinfo=UTC)) // timedelta(minutes=15)
        column = year.find("pv-03.per_kw")
        assert column is not None
        weights = [0] * 96
        for i in range(first, first + 28 * 96):
            weights[(i - first) % 96] += int(year.rows[i].split(",")[1 + column])
        middle = sum((quarter + 0.5) * w for quarter, w in enumerate(weights)) / sum(weights) / 4
        assert 10.6 < middle < 12.1


def test_a_damaged_file_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "BUILT_IN_SHA256", "0" * 64)
    with pytest.raises(DamagedProfiles, match="install again"):
        load_built_in()


def test_another_year_keeps_the_weekday(year: Profiles) -> None:
    for at in (parse_iso("2026-06-01T10:20:00Z"), parse_iso("2009-02-11T00:00:00Z"), year.end):
        index = year.index(at)
        mapped = year.start + index * SLOT_MS
        assert (at - at % SLOT_MS - mapped) % (364 * DAY_MS) == 0
    assert year.index(Instant(year.start + 5 * DAY_MS)) == 5 * 96


def test_a_good_file_of_a_week(tmp_path: Path) -> None:
    data = load_csv(write(tmp_path, rows()), SPECS)
    at = parse_iso("2024-04-01T00:00:00Z")
    assert data.values(at) == ["96", "0"]
    assert data.values(Instant(at + 7 * DAY_MS)) == ["96", "0"], "700 rows repeat by whole weeks"
    assert data.find("pv-01") == 1
    assert data.find("pv-01.per_kw") is None


def test_quoted_fields_a_bom_and_per_kw_are_read(tmp_path: Path) -> None:
    path = tmp_path / "bom.csv"
    body = "\n".join(f'"{row.split(",")[0]}","1.5","800"' for row in rows())
    path.write_text('\ufeff"utc","home-01","pv-01.per_kw"\n' + body)
    assert load_csv(str(path), SPECS).values(parse_iso("2024-04-01T00:00:00Z")) == ["1.5", "800"]


def test_every_problem_is_listed_with_its_line(tmp_path: Path) -> None:
    lines = rows()
    lines[1] = lines[1].replace(",1,", ",,")
    lines[2] = lines[2].replace(",2,", ",abc,")
    lines[3] = lines[3].replace(",3,", ",-3,")
    lines[4] = lines[4].replace(",4,", ",nan,")
    lines[5] = lines[5] + ",9"
    lines[6] = "yesterday,1,1"
    lines[10] = lines[9]
    lines[21] = lines[21].replace("Z,", "+02:00,")
    lines[31] = lines[31].replace(":45Z", ":46Z")
    found = problems(tmp_path, lines)
    for expected in (
        "3: home-01: empty",
        "4: home-01: 'abc' is no number",
        "5: home-01: -3 is negative",
        "6: home-01: 'nan' is no finite number",
        "7: 4 fields, the header has 3",
        "8: time 'yesterday' is not ISO 8601",
        "12: time 2024-03-31T02:15:00Z stands twice",
        "23: time '2024-03-31T05:15+02:00' has a UTC offset",
        "33: time '2024-03-31T07:46Z' is no quarter of an hour",
    ):
        assert any(text.startswith(expected) for text in found), (expected, found)


def test_summer_time_holes_are_named(tmp_path: Path) -> None:
    hole = rows(400) + rows(400, "2024-04-04T05:00")
    assert any("401: step of 75" in text or "402: step of 75" in text for text in problems(tmp_path, hole))
    assert any("start of summer time" in text for text in problems(tmp_path, hole))
    back = rows(400) + rows(400, "2024-04-04T03:00")
    assert any("time goes back" in text and "end of summer time" in text for text in problems(tmp_path, back))


def test_headers(tmp_path: Path) -> None:
    found = problems(tmp_path, rows(), "time,home-01,home-99")
    assert "1: the first column is 'time', must be 'utc' (start of each interval)" in found
    assert any(text.startswith("1: unknown column 'home-99'") for text in found)
    assert any(text.startswith("1: column 'pv-01' is missing (device pv-01)") for text in found)
    assert any("stands 2 times" in text for text in problems(tmp_path, rows(), "utc,home-01,home-01"))
    assert any("semicolons" in text for text in problems(tmp_path, rows(), "utc;home-01;pv-01"))
    assert any("exclude each other" in text for text in problems(tmp_path, [], "utc,home-01,pv-01,pv-01.per_kw"))


def test_too_short_empty_missing_and_binary(tmp_path: Path) -> None:
    assert any("too short: 671 intervals" in text for text in problems(tmp_path, rows(671)))
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00utc")
    for name, text in (("empty.csv", "empty"), ("absent.csv", "cannot be read"), ("binary.csv", "UTF-8")):
        with pytest.raises(ProfileProblems, match=re.escape(text)):
            load_csv(str(tmp_path / name), SPECS)


def test_many_problems_are_counted(tmp_path: Path) -> None:
    found = problems(tmp_path, [row.replace("Z", "+01:00") + ",1" for row in rows(1200)])
    assert len(found) == profiles.PROBLEMS_MAX + 1
    assert found[-1].endswith("more problems not listed")


def test_water_is_all_or_nothing(tmp_path: Path) -> None:
    two = [*SPECS[:2], DeviceSpec(DeviceId("w"), DeviceKind.WATER_METERS, "p", "g", channels=("a.water", "b.water"))]
    path = write(tmp_path, [row + ",1" for row in rows()], "utc,home-01,pv-01,a.water")
    with pytest.raises(ProfileProblems, match="water' is missing: give every water channel or none"):
        load_csv(path, two)


def test_the_water_of_a_hour_is_four_equal_quarters(year: Profiles) -> None:
    column = year.find("home-05.water")
    assert column is not None
    start = parse_iso("2016-05-02T00:00:00Z")
    day = [int(year.values(Instant(start + i * SLOT_MS))[column]) for i in range(96)]
    assert all(len(set(day[i : i + 4])) == 1 for i in range(0, 96, 4))
    assert 300_000 < sum(day) < 5_000_000, "mL a day for five people"
    assert HOUR_MS == 4 * SLOT_MS
