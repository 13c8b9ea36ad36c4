"""A small made-up village for ledger tests: records by the page, with physics that adds up."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from controller.settlement.charter import Charter, Member, TariffBand
from controller.shell.books import BooksRules
from devices.clock import SLOT_MS, Instant
from devices.model import Commodity, IntervalRecord, UsagePointId

ALL_DAYS = (0, 1, 2, 3, 4, 5, 6)
KEY = bytes(range(32))


def charter(**changes) -> Charter:
    made = Charter(
        version=1,
        valid_from=Instant(1_767_225_600_000),
        currency="EUR",
        minor_digits=2,
        timezone="Europe/Berlin",
        bands=(
            TariffBand("night", 0, 360, ALL_DAYS, 210_000),
            TariffBand("day", 360, 1020, ALL_DAYS, 290_000),
            TariffBand("evening", 1020, 1440, ALL_DAYS, 420_000),
        ),
        export_price=50_000,
        local_price=140_000,
        sharing="proportional",
        lifeline_wh=2_000,
        lifeline_price=60_000,
        lifeline_ml=150_000,
        lifeline_water_price=500_000,
        water_price=1_800_000,
        bill_period="day",
    )
    return replace(made, **changes)


def members(homes: int = 3) -> tuple[Member, ...]:
    return (
        *(
            Member(f"home-{n:02d}", f"Name {n}", (f"home-{n:02d}",), (f"home-{n:02d}.water",))
            for n in range(1, homes + 1)
        ),
        Member("community", "Cooperative", ("battery-1", "pump-1"), (), lifeline=False, role="community"),
    )


def rules(homes: int = 3, key: bytes | None = KEY, **changes) -> BooksRules:
    return BooksRules("test", charter(**changes), members(homes), key=key)


def local_midnight(text: str, zone: str = "Europe/Berlin") -> Instant:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return Instant(int(moment.timestamp() * 1000))


class Village:
    """Makes one record per usage point and slot; home-01 has a PV system and sells."""

    def __init__(self, start: Instant, homes: int = 3, seed: int = 1) -> None:
        self.at = start
        self.homes = [f"home-{n:02d}" for n in range(1, homes + 1)]
        self._random = random.Random(seed)
        self._page: dict[str, int] = {}
        self._registers: dict[str, tuple[int, int]] = {}

    def slot(self) -> list[IntervalRecord]:
        """Returns the records of the next slot."""
        hour = self.at // 3_600_000 % 24
        taken = given = 0
        rows: list[IntervalRecord] = []
        for home in self.homes:
            load = self._random.randrange(20, 400)
            sun = self._random.randrange(300, 1500) if home == "home-01" and 6 <= hour < 18 else 0
            taken, given = taken + max(0, load - sun), given + max(0, sun - load)
            rows.append(self._record(home, Commodity.ENERGY, max(0, load - sun), max(0, sun - load)))
            litres = self._random.randrange(0, 5_000) if hour > 4 else 0
            rows.append(self._record(f"{home}.water", Commodity.WATER, litres, 0))
        charge, discharge = (self._random.randrange(0, 200), 0) if given else (0, self._random.randrange(0, 200))
        pump = 750 if hour in (10, 11) else 0
        rows.append(self._record("battery-1", Commodity.ENERGY, charge, discharge))
        rows.append(self._record("pump-1", Commodity.ENERGY, pump, 0))
        net = taken + charge + pump - given - discharge
        loss = self._random.randrange(0, 12)
        rows.append(self._record("grid-1", Commodity.ENERGY, max(0, net + loss), max(0, -net - loss)))
        rows.append(self._record("pv-01", Commodity.ENERGY, 0, given))
        self.at = Instant(self.at + SLOT_MS)
        return rows

    def until(self, end: Instant) -> list[IntervalRecord]:
        """Returns the records of all slots up to `end`."""
        return [record for rows in self.slots(end) for record in rows]

    def slots(self, end: Instant) -> Iterator[list[IntervalRecord]]:
        """Yields the records slot by slot up to `end`."""
        while self.at < end:
            yield self.slot()

    def _record(self, point: str, commodity: Commodity, took: int, gave: int) -> IntervalRecord:
        imported, exported = self._registers.get(point, (1_000, 500))
        self._registers[point] = imported + took, exported + gave
        page = self._page[point] = self._page.get(point, 0) + 1
        return IntervalRecord(
            UsagePointId(point), commodity, 1, page, self.at, Instant(self.at + SLOT_MS),
            imported, imported + took, exported, exported + gave,
        )  # fmt: skip


def without(records: Sequence[IntervalRecord], point: str, start: int = 0, end: int = 2**60) -> list[IntervalRecord]:
    """Returns the records but those of one point that start in [start, end)."""
    return [r for r in records if r.usage_point != point or not start <= r.start < end]
