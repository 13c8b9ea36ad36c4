"""Telemetry files: what was added comes back, also after re-chunking, damage and odd input."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from controller.store.months import month_bounds, month_path
from controller.store.telemetry import TelemetryReader, TelemetryWriter
from devices.clock import DAY_MS, HOUR_MS, Instant, parse_iso
from devices.model import DeviceId, PointId, Quality, Readings

START = parse_iso("2026-06-03T08:00:00Z")
W = PointId("home-07/W")
POINTS = ("W", "import_wh", "V")
GOOD = (Quality.GOOD,) * 3


def poll(at: int, watts: float | None = 100.0, device: str = "home-07") -> Readings:
    quality = Quality.BAD if watts is None else Quality.GOOD
    return Readings(
        DeviceId(device), Instant(at), POINTS, (watts, float(at // 1000), 230.1), (quality, Quality.GOOD, Quality.GOOD)
    )


def fill(writer: TelemetryWriter, start: int, seconds: int, device: str = "home-07") -> None:
    for second in range(seconds):
        writer.add(poll(start + second * 1000, float(second % 600), device))
        if second % 10 == 9:
            writer.flush(Instant(start + second * 1000))


def test_a_range_comes_back_in_order_with_quality(tmp_path: Path) -> None:
    writer = TelemetryWriter(tmp_path)
    for second in (3, 1, 2):
        writer.add(poll(START + second * 1000, None if second == 2 else float(second)))
    writer.flush(START)
    got = TelemetryReader(tmp_path).range(W, START, Instant(START + 10_000))
    assert got.values == (1.0, None, 3.0)
    assert got.qualities == (Quality.GOOD, Quality.BAD, Quality.GOOD)
    assert got.times == (START + 1000, START + 2000, START + 3000)


def test_rechunking_changes_the_bytes_and_not_the_answer(tmp_path: Path) -> None:
    writer, reader = TelemetryWriter(tmp_path, durability="OFF"), TelemetryReader(tmp_path)
    for device in ("home-07", "home-08"):
        fill(writer, START, 1800, device)
    before = reader.range(W, START, Instant(START + HOUR_MS))
    assert len(before.values) == 1800
    for step in range(6):
        writer.flush(Instant(START + HOUR_MS + step * 10_000))
    assert reader.range(W, START, Instant(START + HOUR_MS)) == before
    db = reader._files["202606"][0]
    assert db.execute("SELECT (SELECT count(*) FROM flush), (SELECT count(*) FROM hour)").fetchall() == [(0, 6)]


def test_late_readings_join_their_hour_once(tmp_path: Path) -> None:
    writer, reader = TelemetryWriter(tmp_path, durability="OFF"), TelemetryReader(tmp_path)
    fill(writer, START, 60)
    writer.flush(Instant(START + 2 * HOUR_MS))
    writer.flush(Instant(START + 2 * HOUR_MS))
    writer.add(poll(START + 30_000, 30.0))  # told twice
    writer.add(poll(START + 90_000, 7.0))
    for _ in range(3):
        writer.flush(Instant(START + 2 * HOUR_MS))
    got = reader.range(W, START, Instant(START + HOUR_MS))
    assert len(got.times) == 61
    assert got.values[-1] == 7.0


def test_months_are_separate_files_and_one_range(tmp_path: Path) -> None:
    writer, reader = TelemetryWriter(tmp_path), TelemetryReader(tmp_path)
    _, july = month_bounds(START)
    writer.add(poll(july - 1000, 1.0))
    writer.add(poll(july, 2.0))
    writer.flush(july)
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["tele-202606.db", "tele-202607.db"]
    assert reader.range(W, Instant(july - DAY_MS), Instant(july + DAY_MS)).values == (1.0, 2.0)


def test_series_are_means_and_gaps_stay_gaps(tmp_path: Path) -> None:
    writer, reader = TelemetryWriter(tmp_path), TelemetryReader(tmp_path)
    for second, watts in ((0, 10.0), (1, 20.0), (2, None), (10, 5.0), (20, None)):
        writer.add(poll(START + second * 1000, watts))
    writer.flush(START)
    got = reader.series([W, PointId("none/W")], START, Instant(START + 40_000), 10_000)
    assert got.columns[W] == (15.0, 5.0, None, None)
    assert got.columns[PointId("none/W")] == (None,) * 4
    assert got.times == tuple(START + step * 10_000 for step in range(4))


def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    path = month_path(tmp_path, "202606")
    path.write_bytes(random.Random(1).randbytes(8192))
    writer, reader = TelemetryWriter(tmp_path), TelemetryReader(tmp_path)
    writer.add(poll(START, 5.0))
    writer.flush(START)
    assert writer.counters["corrupt_files"] == 1
    assert (tmp_path / "tele-202606.db.corrupt-1").exists()
    assert reader.range(W, START, Instant(START + 1)).values == (5.0,)


def test_a_file_overwritten_at_random_never_raises(tmp_path: Path) -> None:
    rng = random.Random(2)
    for trial in range(12):
        folder = tmp_path / str(trial)
        writer = TelemetryWriter(folder, durability="OFF")
        fill(writer, START, 200)
        writer.close(START)
        path = month_path(folder, "202606")
        data = bytearray(path.read_bytes())
        for _ in range(200):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        got = TelemetryReader(folder).range(W, START, Instant(START + HOUR_MS))
        assert all(value == (at - START) // 1000 % 600 for at, value in zip(got.times, got.values, strict=True))
        again = TelemetryWriter(folder, durability="OFF")
        again.add(poll(START + HOUR_MS, 1.0))
        again.flush(Instant(START + HOUR_MS))
        got = TelemetryReader(folder).range(W, Instant(START + HOUR_MS), Instant(START + 2 * HOUR_MS))
        assert got.values == (1.0,)


def test_a_flipped_bit_in_a_chunk_is_a_gap_and_a_count(tmp_path: Path) -> None:
    writer = TelemetryWriter(tmp_path, durability="OFF")
    fill(writer, START, 20)
    writer.flush(START)
    db = writer._files["202606"]._db  # damage has no public way in
    ((body,),) = db.execute("SELECT body FROM flush WHERE id = 1").fetchall()
    assert isinstance(body, bytes)
    db.execute("UPDATE flush SET body = ? WHERE id = 1", (body[:-5] + bytes([body[-5] ^ 1]) + body[-4:],))
    reader = TelemetryReader(tmp_path)
    assert len(reader.range(W, START, Instant(START + HOUR_MS)).values) == 10
    assert reader.counters["corrupt_chunks"] == 1


def test_readings_with_an_impossible_time_are_counted(tmp_path: Path) -> None:
    writer = TelemetryWriter(tmp_path)
    for at in (-(2**60), 0, 2**62):
        writer.add(poll(at))
    writer.flush(START)
    assert writer.counters["rejected_time"] == 3
    assert not list(tmp_path.glob("*.db"))


def test_a_folder_that_cannot_be_written_keeps_the_readings(tmp_path: Path) -> None:
    blocked = tmp_path / "data"
    blocked.write_text("a file where the folder should be")
    writer = TelemetryWriter(blocked)
    writer.add(poll(START, 4.0))
    writer.flush(START)
    assert writer.counters["write_failed"] == 1
    blocked.unlink()
    writer.flush(START)
    assert TelemetryReader(blocked).range(W, START, Instant(START + 1)).values == (4.0,)


def test_a_reader_without_files_finds_nothing(tmp_path: Path) -> None:
    assert TelemetryReader(tmp_path).range(W, START, Instant(START + DAY_MS)).times == ()


def test_stored_points_cost_few_bytes(tmp_path: Path) -> None:
    """A noisy power, a counting register and a voltage, re-chunked: under 3 bytes a value (a row costs about 30)."""
    rng = random.Random(3)
    writer = TelemetryWriter(tmp_path, durability="OFF")
    for second in range(3600):
        values = (round(500 + rng.gauss(0, 20)) * 1.0, float(1_000_000 + second // 7), round(230 + rng.gauss(0, 1), 1))
        writer.add(Readings(DeviceId("home-07"), Instant(START + second * 1000), POINTS, values, GOOD))
        if second % 10 == 9:
            writer.flush(Instant(START + second * 1000))
    for _ in range(3):
        writer.flush(Instant(START + HOUR_MS))
    db = writer._files["202606"]._db  # the layout is what this test is about
    ((stored,),) = db.execute("SELECT sum(length(body)) FROM hour").fetchall()
    per_value = int(str(stored)) / (3 * 3600)
    assert per_value == pytest.approx(1.0, abs=0.6)
