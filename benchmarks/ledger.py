"""Durable transfers a second at several batch sizes, against bare SQLite with the same commits.

The ceiling is plain double entry: a row for each entry with its text, a row for each posting, the balances; all of it
made beforehand, so that nothing is judged, hashed or encoded. `ratio` is the geometric mean over the four workloads of
ledger / ceiling; `ratios` has each. That ceiling writes more than the ledger does; `ratio_own_rows` and
`ratios_own_rows` are those to another ceiling with the ledger's own rows, which is what judging, hashing, encoding,
signing and tiles cost. The ledger is a hub's: heads signed with both of its keys, tiles written after each commit.
A transfer has no body, so nothing of it is sealed; `sealed_per_second` are bills with a body of eight lines, sealed
under their members' keys, in batches of 100. Ledger and ceilings take turns in one run, so that a busy disk hits all.
`cost_ratio_4x` is the CPU time of four times as many transfers.
"""

from __future__ import annotations

import argparse
import queue
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from controller.ledger.canonical import Json
from controller.ledger.entries import Entry, EntryState, Posting, SealedEntry, derived_id, seal
from controller.ledger.log_policy import LogSigner
from controller.ledger.orders import OpenAccount, Post
from controller.ledger.vault import KEY_BYTES, Vault
from controller.settlement.runs import BILL
from controller.shell.journal import Journal
from controller.shell.tile_shelf import TileShelf
from controller.store.entry_table import EntryTable
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_rows import member_owner
from controller.store.sqlite import Database, open_writer
from devices.clock import Instant

AT = 1_780_000_000_000
ACCOUNTS = 500
SUBMITTERS = 64
SIGNER = LogSigner("bench.atoll/ledger", bytes(32))
ASSET = "money:EUR"
PLAIN = """
CREATE TABLE entries(
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, state TEXT NOT NULL, period TEXT NOT NULL,
    member TEXT NOT NULL, document BLOB NOT NULL, leaf BLOB NOT NULL) STRICT;
CREATE INDEX entries_period ON entries(period, kind, member) WHERE period <> '';
CREATE INDEX entries_state ON entries(state) WHERE state <> 'posted';
CREATE INDEX entries_kind ON entries(kind);
CREATE TABLE postings(
    seq INTEGER NOT NULL, line INTEGER NOT NULL, account TEXT NOT NULL, asset TEXT NOT NULL,
    amount INTEGER NOT NULL, PRIMARY KEY(seq, line)) STRICT, WITHOUT ROWID;
CREATE INDEX postings_account ON postings(account, seq);
CREATE TABLE balances(
    account TEXT NOT NULL, asset TEXT NOT NULL, posted INTEGER NOT NULL, pending INTEGER NOT NULL,
    PRIMARY KEY(account, asset)) STRICT, WITHOUT ROWID;
"""
"""The ceiling's tables: those of ledgers of version 1, so that figures can be compared with older ones."""

Commit = Callable[[Sequence[Post]], None]
Waiting = queue.SimpleQueue[tuple[Post, threading.Event]]


def run(arguments: Sequence[str]) -> dict[str, object]:
    """Returns the figures of the benchmark `ledger`."""
    parser = argparse.ArgumentParser(prog="atoll bench ledger")
    parser.add_argument("--scale", type=float, default=1.0, help="1: about 40,000 transfers in all")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    sizes = {1: 300, 100: 6_000, 1_000: 18_000}
    rates: dict[str, list[float]] = {}  # ledger, ceiling, ceiling with the ledger's own rows
    with TemporaryDirectory() as folder:
        for batch, count in sizes.items():
            commands = list(transfers(max(batch, int(count * options.scale)), options.seed + batch))
            rates[str(batch)] = in_turns(Path(folder) / str(batch), commands, batch)
        commands = list(transfers(int(6_400 * options.scale), options.seed))
        rates[f"{SUBMITTERS}_submitters"] = by_submitters(Path(folder) / "group", commands)
        size = bytes_per_transfer(Path(folder), options.seed, int(20_000 * options.scale))
        sealed = sealed_per_second(Path(folder), options.seed, int(2_000 * options.scale))
        ratio_4x = cost_at_4x(Path(folder), options.seed, int(6_000 * options.scale))
    ratios = {name: round(own / bare, 3) for name, (own, bare, _) in rates.items()}
    own_rows = {name: round(own / same, 3) for name, (own, _, same) in rates.items()}
    return {
        "seed": options.seed,
        "ratio": round(statistics.geometric_mean(ratios.values()), 3),
        "per_second": {name: round(own) for name, (own, _, _) in rates.items()},
        "ratios": ratios,
        "ceiling_per_second": {name: round(bare) for name, (_, bare, _) in rates.items()},
        "ratio_own_rows": round(statistics.geometric_mean(own_rows.values()), 3),
        "ratios_own_rows": own_rows,
        "sealed_per_second": round(sealed),
        "bytes_per_transfer": round(size, 1),
        "cost_ratio_4x": round(ratio_4x, 2),
    }


def transfers(count: int, seed: int) -> Iterator[Post]:
    """Yields transfers between random accounts, with time-ordered ids."""
    draw = random.Random(seed)
    for number in range(count):
        at = Instant(AT + number)
        first, second = draw.sample(range(ACCOUNTS), 2)
        amount = draw.randrange(1, 10_000)
        postings = Posting(account(first), ASSET, amount), Posting(account(second), ASSET, -amount)
        yield Post(derived_id(at, seed, number), at, "transfer", postings, {})


def account(number: int) -> str:
    """Returns the name of an account as long as a member's."""
    return f"member:home-{number:03d}:owes"


def ledger(path: Path) -> Journal:
    """Opens a ledger with its accounts."""
    writer = Journal(LedgerFile.write(path), SIGNER, 60_000)
    for number in range(ACCOUNTS):
        writer.must(OpenAccount(derived_id(Instant(AT), "open", number), Instant(AT), account(number)))
    writer.flush(Instant(AT))
    writer.store.commit()
    return writer


def to_ledger(writer: Journal) -> Commit:
    """Returns what writes a batch, makes it durable and shows it."""
    tiles = TileShelf(Path(writer.store.path).with_suffix(".tiles"), writer.file)
    while not tiles.advance():  # those of the accounts, which nobody waits for
        pass

    def commit(batch: Sequence[Post]) -> None:
        for command in batch:
            writer.must(command)
        writer.flush(batch[-1].at)
        writer.store.commit()
        tiles.advance()

    return commit


def to_plain(path: Path, rows: dict[str, SealedEntry]) -> Commit:
    """Returns what writes plain double entry, made beforehand: no rules, no hashes, nothing encoded."""
    db = open_writer(path, "FULL", PLAIN, 1)
    count = 0

    def write(batch: Sequence[Post]) -> None:
        nonlocal count
        entries, postings = list[tuple[int | str | bytes, ...]](), list[tuple[int | str, ...]]()
        for command in batch:
            sealed = rows[command.id]
            entries.append((count, command.id, "transfer", "posted", "", "", sealed.document, sealed.leaf))
            for line, p in enumerate(command.postings):
                postings.append((count, line, p.account, p.asset, p.amount))
            count += 1
        db.executemany("INSERT INTO entries VALUES(?,?,?,?,?,?,?,?)", entries)
        db.executemany("INSERT INTO postings VALUES(?,?,?,?,?)", postings)

    return committed(db, write)


def to_own_rows(path: Path, rows: dict[str, SealedEntry]) -> Commit:
    """Returns what writes the ledger's own rows, made beforehand."""
    db = LedgerFile.write(path).database
    table = EntryTable(db)
    made = [(table.columns(seq, sealed), sealed.entry.postings) for seq, sealed in enumerate(rows.values())]
    accounts = [sorted((table.number(one.account), row[0]) for one in postings) for row, postings in made]
    count = 0

    def write(batch: Sequence[Post]) -> None:
        nonlocal count
        part = slice(count, count := count + len(batch))
        db.executemany(f"INSERT INTO entries VALUES({','.join('?' * len(made[0][0]))})", [row for row, _ in made[part]])
        found_by = sorted(pair for pairs in accounts[part] for pair in pairs)
        db.executemany("INSERT INTO account_entries VALUES(?,?)", found_by)

    return committed(db, write)


def committed(db: Database, write: Commit) -> Commit:
    """Returns what writes a batch, then the balances that it changes, and commits."""
    held: dict[str, int] = {}

    def commit(batch: Sequence[Post]) -> None:
        touched: dict[str, int] = {}
        for command in batch:
            for p in command.postings:
                held[p.account] = touched[p.account] = held.get(p.account, 0) + p.amount
        db.execute("BEGIN IMMEDIATE")
        write(batch)
        db.executemany(
            "INSERT OR REPLACE INTO balances VALUES(?,?,?,?)",
            [(name, ASSET, sum_, 0) for name, sum_ in touched.items()],
        )
        db.execute("COMMIT")

    return commit


def sealed_rows(commands: Sequence[Post]) -> dict[str, SealedEntry]:
    """Returns the documents and hashes of transfers, for the ceilings."""
    made = (Entry(c.id, c.at, c.kind, EntryState.POSTED, c.postings, c.body) for c in commands)
    return {entry.id: seal(entry) for entry in made}


def all_sides(path: Path, commands: Sequence[Post]) -> list[Commit]:
    """Returns the ledger and the two ceilings, each with its own file in a new folder."""
    path.mkdir()
    rows = sealed_rows(commands)
    return [
        to_ledger(ledger(path / "ledger.db")),
        to_plain(path / "plain.db", rows),
        to_own_rows(path / "own.db", rows),
    ]


def in_turns(path: Path, commands: Sequence[Post], batch: int) -> list[float]:
    """Returns transfers a second of ledger and ceilings; they take turns, batch by batch."""
    sides = all_sides(path, commands)
    spent = [0.0] * len(sides)
    for number, start in enumerate(range(0, len(commands), batch)):
        part = commands[start : start + batch]
        for side in turns(number):
            began = time.perf_counter()
            sides[side](part)
            spent[side] += time.perf_counter() - began
    return [len(commands) / seconds for seconds in spent]


def by_submitters(path: Path, commands: Sequence[Post]) -> list[float]:
    """Returns transfers a second of 64 threads that each wait until their own is durable; the sides take turns."""
    sides = all_sides(path, commands)
    spent = [0.0] * len(sides)
    for number, start in enumerate(range(0, len(commands), 10 * SUBMITTERS)):
        for side in turns(number):
            spent[side] += grouped(sides[side], commands[start : start + 10 * SUBMITTERS])
    return [len(commands) / seconds for seconds in spent]


def turns(number: int) -> list[int]:
    """Returns the order of the three sides in a round: each is first, second and last as often as the others."""
    return [(number + place) % 3 for place in range(3)]


def grouped(commit: Commit, commands: Sequence[Post]) -> float:
    """Returns the seconds it took: one writer takes all that waits, commits once, and answers."""
    waiting: Waiting = queue.SimpleQueue()

    def submit(share: Sequence[Post]) -> None:
        done = threading.Event()
        for command in share:
            done.clear()
            waiting.put((command, done))
            done.wait()

    threads = [threading.Thread(target=submit, args=(commands[n::SUBMITTERS],)) for n in range(SUBMITTERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    left = len(commands)
    while left:
        batch = [waiting.get(), *drained(waiting)]
        commit([command for command, _ in batch])
        for _, done in batch:
            done.set()
        left -= len(batch)
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def drained(waiting: Waiting) -> Iterator[tuple[Post, threading.Event]]:
    """Yields what waits already."""
    while not waiting.empty():
        yield waiting.get()


def bytes_per_transfer(folder: Path, seed: int, count: int) -> float:
    """Returns what a transfer adds to the file, indices and all."""
    path = folder / "size.db"
    writer = ledger(path)
    commit = to_ledger(writer)
    commands = list(transfers(count, seed))
    writer.store.close()
    before = path.stat().st_size
    writer = Journal(LedgerFile.write(path), SIGNER, 60_000)
    commit = to_ledger(writer)
    for start in range(0, count, 1_000):
        commit(commands[start : start + 1_000])
    writer.store.close()
    return (path.stat().st_size - before) / count


def sealed_per_second(folder: Path, seed: int, count: int) -> float:
    """Returns durable bills a second, each with a body of its member's own, in batches of 100."""
    draw = random.Random(seed)
    file = LedgerFile.write(folder / "sealed.db")
    file.vault = Vault({member_owner(f"home-{number:03d}"): draw.randbytes(KEY_BYTES) for number in range(ACCOUNTS)})
    writer = Journal(file, SIGNER, 60_000)
    for number in range(ACCOUNTS):
        writer.must(OpenAccount(derived_id(Instant(AT), "open", number), Instant(AT), account(number)))
    lines: list[Json] = [
        {"text": f"energy {n}", "quantity": "1000000", "unit": "uWh", "price": "210000"} for n in range(8)
    ]
    bills = [
        replace(one, kind=BILL, body={"member": f"home-{n % ACCOUNTS:03d}", "period": f"{n}", "lines": lines})
        for n, one in enumerate(transfers(count, seed))
    ]
    commit, began = to_ledger(writer), time.perf_counter()
    for start in range(0, count, 100):
        commit(bills[start : start + 100])
    return count / (time.perf_counter() - began)


def cost_at_4x(folder: Path, seed: int, count: int) -> float:
    """Returns the CPU time of 4 x `count` transfers over that of `count`, in batches of 1,000."""
    spent: list[float] = []
    for times in (1, 4):
        commit = to_ledger(ledger(folder / f"{times}x.db"))
        commands = list(transfers(count * times, seed))
        began = time.process_time()
        for start in range(0, len(commands), 1_000):
            commit(commands[start : start + 1_000])
        spent.append(time.process_time() - began)
    return spent[1] / spent[0]
