"""Civil time compiled away: which band every slot has and where local days begin, as UTC instants.

The engine, a household and a verifier use only the compiled table, so a later change of time zone rules
cannot change a bill. A slot has the band of the civil time at its start; local days may have 92, 98, 100 or
no slots.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from controller.ledger.canonical import Json
from controller.settlement.charter import Charter
from devices.clock import SLOT_MS, Instant


class TableBroken(ValueError):
    """A document that is not a tariff table."""


class OutsideTable(LookupError):
    """An instant for which no table has been compiled."""


@dataclass(frozen=True, slots=True)
class LocalDay:
    """One civil day [start, end)."""

    start: Instant
    end: Instant
    name: str  # 2026-06-03

    @property
    def slots(self) -> int:
        """Returns the number of slots: 96, or 92, 98, 100 where the clock changes."""
        return (self.end - self.start) // SLOT_MS


@dataclass(frozen=True, slots=True)
class TariffTable:
    """One civil year. `days` are the starts of its days; band `bands[i]` holds from `changes[i]`."""

    year: int
    end: Instant
    days: tuple[Instant, ...]
    names: tuple[str, ...]
    changes: tuple[Instant, ...]
    bands: tuple[int, ...]
    tzdata: str

    @property
    def start(self) -> Instant:
        """Returns the first instant of the year."""
        return self.days[0]

    def band_at(self, instant: Instant) -> int:
        """Returns the index of the charter's band at an instant of this year."""
        return self.bands[bisect_right(self.changes, instant) - 1]

    def day_of(self, instant: Instant) -> LocalDay:
        """Returns the local day that holds an instant of this year."""
        index = bisect_right(self.days, instant) - 1
        end = self.days[index + 1] if index + 1 < len(self.days) else self.end
        return LocalDay(self.days[index], end, self.names[index])

    def document(self) -> dict[str, Json]:
        """Returns the table as it is published in the log."""
        return {
            "year": self.year,
            "end": self.end,
            "days": [[name, start] for name, start in zip(self.names, self.days, strict=True)],
            "changes": [[start, band] for start, band in zip(self.changes, self.bands, strict=True)],
            "tzdata": self.tzdata,
        }

    @classmethod
    def parse(cls, document: Mapping[str, Json]) -> TariffTable:
        """Returns the table in a published document.

        Raises:
            TableBroken: not a table, or times that do not rise.
        """
        match document:
            case {"year": int(year), "end": int(end), "days": list(days), "changes": list(changes), "tzdata": str(tz)}:
                names, starts = _pairs(days, str), _whole(days, 1)
                instants, bands = _whole(changes, 0), _whole(changes, 1)
            case _:
                raise TableBroken("not a tariff table")
        for series in (starts, instants):
            if not series or any(a >= b for a, b in zip(series, (*series[1:], end), strict=True)):
                raise TableBroken("the instants of a tariff table must rise")
        return cls(
            year, Instant(end), tuple(map(Instant, starts)), names, tuple(map(Instant, instants)), tuple(bands), tz
        )


class Calendar:
    """Compiled years, side by side."""

    __slots__ = ("_starts", "_tables")

    def __init__(self, tables: Iterable[TariffTable] = ()) -> None:
        self._tables: list[TariffTable] = []
        self._starts: list[Instant] = []
        for table in tables:
            self.add(table)

    @property
    def tables(self) -> tuple[TariffTable, ...]:
        """Returns the compiled years, oldest first."""
        return tuple(self._tables)

    def add(self, table: TariffTable) -> None:
        """Adds a year."""
        index = bisect_right(self._starts, table.start)
        self._tables.insert(index, table)
        self._starts.insert(index, table.start)

    def covers(self, instant: Instant) -> bool:
        """Returns whether a compiled year holds the instant."""
        index = bisect_right(self._starts, instant) - 1
        return index >= 0 and instant < self._tables[index].end

    def table(self, instant: Instant) -> TariffTable:
        """Returns the year that holds an instant.

        Raises:
            OutsideTable: no such year has been compiled.
        """
        if not self.covers(instant):
            raise OutsideTable(f"no tariff table for {instant}")
        return self._tables[bisect_right(self._starts, instant) - 1]

    def day_of(self, instant: Instant) -> LocalDay:
        """Returns the local day that holds an instant."""
        return self.table(instant).day_of(instant)

    def next_day(self, day: LocalDay) -> LocalDay:
        """Returns the local day after `day`."""
        return self.day_of(day.end)

    def bands(self, day: LocalDay) -> tuple[int, ...]:
        """Returns the band index of each slot of a day."""
        table = self.table(day.start)
        return tuple(table.band_at(Instant(start)) for start in range(day.start, day.end, SLOT_MS))


def local_year(charter: Charter, instant: Instant) -> int:
    """Returns the civil year of an instant at the community."""
    return datetime.fromtimestamp(instant / 1000, ZoneInfo(charter.timezone)).year


def compile_year(charter: Charter, year: int, tzdata: str) -> TariffTable:
    """Returns the table of one civil year, by asking the time zone for the civil time of every slot.

    Raises:
        ValueError: the charter's bands leave a minute of some day without a price.
    """
    zone = ZoneInfo(charter.timezone)
    lookup = _minutes(charter)
    days: list[Instant] = []
    names: list[str] = []
    changes: list[Instant] = []
    bands: list[int] = []
    at = int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1000 - 16 * 3_600_000
    while True:
        local = datetime.fromtimestamp(at / 1000, zone)
        if local.year > year:
            break
        if local.year == year:
            name = local.date().isoformat()
            if not names or names[-1] != name:
                names.append(name)
                days.append(Instant(at))
            band = lookup[local.weekday()][local.hour * 60 + local.minute]
            if not bands or bands[-1] != band:
                bands.append(band)
                changes.append(Instant(at))
        at += SLOT_MS
    return TariffTable(year, Instant(at), tuple(days), tuple(names), tuple(changes), tuple(bands), tzdata)


def period_name(charter: Charter, day: LocalDay) -> str:
    """Returns the name of the bill period that holds a day: `2026-06-03`, `2026-W23` or `2026-06`.

    Raises:
        ValueError: the charter's bill period is not day, week or month.
    """
    civil = date.fromisoformat(day.name)
    match charter.bill_period:
        case "day":
            return day.name
        case "week":
            year, week, _ = civil.isocalendar()
            return f"{year}-W{week:02d}"
        case "month":
            return day.name[:7]
        case other:
            raise ValueError(f"bill_period {other!r}: write day, week or month")


def first_day_name(charter: Charter, day: LocalDay) -> str:
    """Returns the name of the first day of the bill period that holds `day`."""
    civil = date.fromisoformat(day.name)
    match charter.bill_period:
        case "week":
            return (civil - timedelta(days=civil.weekday())).isoformat()
        case "month":
            return civil.replace(day=1).isoformat()
        case _:
            return day.name


def _minutes(charter: Charter) -> list[list[int]]:
    lookup = [[-1] * 1440 for _ in range(7)]
    for index, band in enumerate(charter.bands):
        for day in band.days:
            lookup[day][band.start_minute : band.end_minute] = [index] * (band.end_minute - band.start_minute)
    for day, minutes in enumerate(lookup):
        if -1 in minutes:
            missing = minutes.index(-1)
            raise ValueError(f"no tariff band on weekday {day} at {missing // 60:02d}:{missing % 60:02d}")
    return lookup


def _pairs(rows: Sequence[Json], kind: type[str]) -> tuple[str, ...]:
    found = tuple(row[0] for row in rows if isinstance(row, list) and len(row) == 2 and isinstance(row[0], kind))
    if len(found) != len(rows):
        raise TableBroken("a row is not [name, start]")
    return found


def _whole(rows: Sequence[Json], column: int) -> tuple[int, ...]:
    found: list[int] = []
    for row in rows:
        value = row[column] if isinstance(row, list) and len(row) == 2 else None
        if not isinstance(value, int):
            raise TableBroken("a row is not a pair with whole numbers")
        found.append(value)
    return tuple(found)
