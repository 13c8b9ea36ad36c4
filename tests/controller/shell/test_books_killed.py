"""kill -9 of a writing process: nothing acknowledged is lost, no run is posted twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from controller.shell.books import Books, LedgerReader
from controller.shell.ledger_verify import verify
from controller.store.ledger_file import LedgerFile
from devices.clock import DAY_MS, Instant
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, local_midnight, rules

START = local_midnight("2026-06-01")
END = Instant(START + 2 * DAY_MS)
KILLS = 6

WRITER = """
import sys
sys.path.insert(0, sys.argv[3])
from controller.shell.books import Books
from tests.ledger_village import Village, local_midnight, rules
start = local_midnight("2026-06-01")
books = Books.open(sys.argv[1], rules(2))
print("ready", flush=True)
for number, rows in enumerate(Village(start, homes=2).slots(start + 2 * 86_400_000)):
    if number < int(sys.argv[2]):
        continue
    now = rows[0].end + 1000
    books.accept(rows)
    books.run_due(now)
    for ack in books.commit(now).acks:
        print(*ack)
    print("slot", number, flush=True)
books.close(now)
print("done", flush=True)
"""


def test_nothing_acknowledged_is_lost_and_no_run_is_posted_twice(tmp_path: Path):
    path, rng = tmp_path / "ledger.db", random.Random(7)
    acked: dict[str, int] = {}
    slot, kills, done = 0, 0, False  # the writer sends two slots again each time
    while not done:
        command = [sys.executable, "-c", WRITER, str(path), str(max(0, slot - 2)), str(Path.cwd())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            if kills < KILLS:
                time.sleep(rng.uniform(0.0, 0.12))
                child.send_signal(signal.SIGKILL)
                kills += 1
            lines = child.stdout.read().splitlines()
        for words in map(str.split, lines):
            if len(words) == 3:
                acked[words[0]] = max(acked.get(words[0], 0), int(words[2]))
            elif words[:1] == ["slot"] and len(words) == 2:
                slot = int(words[1])
        done = lines[-1:] == ["done"]
        file = LedgerFile.read(path)
        kept = {row.point: row.page for row in file.meters()}
        file.close()
        assert all(kept[point] >= page for point, page in acked.items()), (acked, kept)
    assert kills >= KILLS - 2, "the machine is so fast that the writer ended before it was killed"
    whole = Books.open(":memory:", rules(2))
    live(whole, Village(START, homes=2).until(END))
    assert LedgerReader.open(path).head().root == whole.root()
    assert verify(path).findings == []
