"""Ten thousand readings that come late: every day that they touch is settled again, exactly, in one run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from controller.shell.books import Books
from controller.shell.ledger_verify import verify
from devices.clock import DAY_MS, HOUR_MS, Instant
from tests.controller.shell.test_books import live, settled
from tests.ledger_village import Village, rules
from tests.verifier.villages import START


@pytest.mark.deep
@pytest.mark.timeout(600)
def test_ten_thousand_corrected_readings(tmp_path: Path) -> None:
    homes, end = 12, Instant(START + 14 * DAY_MS)
    records = Village(START, homes).until(end)
    late = [r for r in records if r.usage_point.startswith("home-") and r.start < START + 13 * DAY_MS][:10_000]
    missing = {id(r) for r in late}
    done = Instant(end + 12 * HOUR_MS)
    books = Books.open(tmp_path / "ledger.db", rules(homes))
    live(books, [r for r in records if id(r) not in missing], done)
    begun = time.process_time()
    books.accept(late)
    runs = books.run_due(done)
    books.commit(done)
    seconds = time.process_time() - begun
    assert len(late) == 10_000
    assert {run.run for run in runs} >= {"correction", "bill-correction"}
    found = settled(books)
    books.close(done)
    assert verify(tmp_path).ok
    whole = Books.open(":memory:", rules(homes))
    live(whole, records, done)
    assert settled(whole) == found
    assert seconds < 60
