"""The live readings of a person's devices as a table for that person: one row for each value. Reads only."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

from controller.store import months
from controller.store.telemetry import TelemetryReader
from controller.store.telemetry_erasure import Spans, points_of
from devices.clock import DAY_MS, Instant, iso
from devices.model import split_point

COLUMNS = ("utc", "device", "point", "value", "quality")
"""Points have their unit last: `power_w`, `import_wh`."""


def write_readings(data_dir: Path, own: Spans, output: Path) -> int:
    """Writes the readings of these devices in these times into a CSV file, day by day; returns how many.

    Raises:
        OSError: the file cannot be written.
    """
    points, count = points_of(data_dir, own.keys()), 0
    reader = TelemetryReader(data_dir)
    try:
        with output.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            for day in _days(data_dir) if points else ():
                for point, found in reader.ranges(points, day, Instant(day + DAY_MS)).items():
                    device, name = split_point(point)
                    for at, value, quality in zip(found.times, found.values, found.qualities, strict=True):
                        if not any(start <= at < end for start, end in own[device]):
                            continue  # another member's, who had the meter before or after
                        table.writerow((iso(at), device, name, "" if value is None else value, quality.name.lower()))
                        count += 1
    finally:
        reader.close()
    return count


def _days(data_dir: Path) -> list[Instant]:
    """Returns the beginning of every UTC day of the months that there are."""
    found: list[Instant] = []
    for path in sorted(data_dir.glob("tele-??????.db")):
        month = datetime.strptime(path.stem.removeprefix("tele-"), "%Y%m").replace(tzinfo=UTC)
        start, end = months.month_bounds(Instant(round(month.timestamp() * 1000)))
        found += [Instant(at) for at in range(start, end, DAY_MS)]
    return found
