"""Records as plain rows of the table: what verification reads by the hundred thousand.

A row is the tuple of `RECORD_COLUMNS`, with a household's own values opened. An `IntervalRecord` of each would cost
five times as much, so they are made only where a day is not plain.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import sub
from typing import TypeAlias, cast

from controller.ledger.merkle import leaf_hashes, root_of
from controller.settlement.intervals import PointDay
from controller.settlement.tariff import LocalDay
from devices.clock import SLOT_MS, ClockQuality
from devices.model import Commodity, RecordQuality

RecordRow: TypeAlias = "tuple[str, int, int, int, int, int, int, int, int, int, int, int, bytes]"
"""Usage point, start, epoch, page, end, commodity, quality, clock, registers (import, export), leaf hash."""

RECORD_TYPES = (str, *(int,) * 11, bytes)
_CLOCKS = tuple(f'{{"clock":"{clock.value}","commodity":"' for clock in ClockQuality)
_COMMODITIES = tuple(f'{commodity.value}","end":' for commodity in Commodity)
_QUALITIES = tuple(f',"quality":"{quality.value}","start":' for quality in RecordQuality)
_SUSPECT, _ESTIMATED = (tuple(RecordQuality).index(q) for q in (RecordQuality.SUSPECT, RecordQuality.ESTIMATED))


def row_leaves(rows: Sequence[RecordRow]) -> list[bytes]:
    """Returns the leaf hashes that records should have: the same as `record_leaf`, of rows.

    Raises:
        IndexError: a code that this program does not know.
    """
    return leaf_hashes(
        (
            f'{_CLOCKS[clock]}{_COMMODITIES[commodity]}{end},"epoch":{epoch},"export_end":{e1},"export_start":{e0},'
            f'"import_end":{i1},"import_start":{i0},"page":{page}{_QUALITIES[quality]}{start},"usage_point":"{name}",'
            '"v":1}'
        ).encode()
        for name, start, epoch, page, end, commodity, quality, clock, i0, i1, e0, e1, _ in rows
    )


def plain_day(day: LocalDay, rows: Sequence[RecordRow], before: RecordRow | None) -> PointDay | None:
    """Returns the validated day of one usage point if nothing is special about it, else None.

    Plain: a record for each slot by one meter, none suspect or estimated, every register as the one before it left
    it. `before` is the point's last record before the day. The result is what `point_day` says of the same records.
    """
    if len(rows) != day.slots:
        return None
    columns = tuple(zip(*rows, strict=True))
    starts, epochs, _, ends, _, qualities, _, i0, i1, e0, e1 = cast("tuple[tuple[int, ...], ...]", columns[1:-1])
    if before is not None:
        last = (before[4], before[2], before[9], before[11])
        if last != (day.start, epochs[0], i0[0], e0[0]) or before[6] == _SUSPECT:
            return None
    imports, exports = tuple(map(sub, i1, i0)), tuple(map(sub, e1, e0))
    plain = (
        starts == tuple(range(day.start, day.end, SLOT_MS))
        and ends == tuple(range(day.start + SLOT_MS, day.end + SLOT_MS, SLOT_MS))
        and epochs.count(epochs[0]) == len(rows)
        and _SUSPECT not in qualities
        and _ESTIMATED not in qualities  # each is told by how it came about
        and i0[1:] == i1[:-1]
        and e0[1:] == e1[:-1]
        and min(imports) >= 0
        and min(exports) >= 0
    )
    if not plain:
        return None
    root = root_of(cast("tuple[bytes, ...]", columns[-1]))
    return PointDay(rows[0][0], imports, exports, len(rows), 0, root)
