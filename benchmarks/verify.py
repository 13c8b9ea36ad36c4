"""How fast a ledger is recomputed: 1M leaves, a month of everybody, a month of one home; how large a proof is.

The month is that of a ledger as a hub writes it: records, settled days and bills of each home sealed under keys of its
own (`keys.db` beside it), each head signed twice. One process opens, hashes, settles and bills all of it again;
`month_s` is its time on the wall, `month_cpu_s` that of the processor. `household_ms` is the CPU time of recomputing
one household's bill inside a process that is there already; `household_program_ms` that of the whole program
`verifier/atoll_verify.py`, interpreter and imports with it.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from controller.cli.checkout import ROOT
from controller.ledger.cosign import Algorithm, CosignKey
from controller.ledger.merkle import Tree, leaf_hashes, root_of, verify_inclusion
from controller.ledger.note import Checkpoint, Signer, sign
from controller.ledger.proof import LogProof
from controller.settlement.charter import Charter, Member, TariffBand
from controller.shell.bill_export import export_bill
from controller.shell.books import Books, BooksRules
from controller.shell.ledger_verify import verify
from devices.clock import DAY_MS, SLOT_MS, Instant
from devices.model import Commodity, IntervalRecord, UsagePointId

PROGRAM = ROOT / "verifier" / "atoll_verify.py"
LEAVES = 1_000_000
LEAF_BYTES = 153
PROVEN = 123_456
WITNESSES = 3
START = Instant(1_780_272_000_000)  # 2026-06-01 UTC
ALL_DAYS = (0, 1, 2, 3, 4, 5, 6)
CHARTER = Charter(
    version=1, valid_from=Instant(START - 30 * DAY_MS), currency="EUR", minor_digits=2, timezone="UTC",
    bands=(TariffBand("night", 0, 360, ALL_DAYS, 210_000), TariffBand("day", 360, 1440, ALL_DAYS, 330_000)),
    export_price=50_000, local_price=140_000, sharing="proportional", lifeline_wh=2000, lifeline_price=60_000,
    lifeline_ml=0, lifeline_water_price=0, water_price=0, bill_period="month",
)  # fmt: skip


def run(arguments: Sequence[str]) -> dict[str, float | int]:
    """Returns CPU seconds for 1M leaves, seconds for a month, ms for a household's month, and proof sizes."""
    parser = argparse.ArgumentParser(prog="atoll bench verify")
    parser.add_argument("--homes", type=int, default=100)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--leaves", type=int, default=LEAVES)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(list(arguments))
    leaves_cpu_s, tree = _leaves(given.leaves, given.seed)
    with tempfile.TemporaryDirectory() as folder:
        month = _month(Path(folder) / "ledger.db", given.homes, given.days, given.seed)
    return {
        "seed": given.seed,
        "leaves": given.leaves,
        "homes": given.homes,
        "leaves_cpu_s": leaves_cpu_s,
        **month,
        "proof_bytes": len(_proof(tree, Algorithm.ED25519)),
        "proof_bytes_mldsa": len(_proof(tree, Algorithm.ML_DSA_44)),
    }


def _leaves(count: int, seed: int) -> tuple[float, Tree]:
    """Returns CPU seconds to hash all leaves and climb to the root, and the tree."""
    random_bytes = random.Random(seed).randbytes
    documents = [random_bytes(LEAF_BYTES) for _ in range(count)]
    started = time.process_time()
    leaves = leaf_hashes(documents)
    root = root_of(leaves)
    seconds = time.process_time() - started
    tree = Tree(leaves)
    assert tree.root() == root
    return seconds, tree


def _proof(tree: Tree, algorithm: Algorithm) -> bytes:
    """Returns a C2SP tlog-proof of one leaf with the log's signature and three cosignatures."""
    index = PROVEN % tree.size
    checkpoint = Checkpoint("village.atoll/ledger", tree.size, tree.root())
    note = sign(checkpoint.text(), [Signer(checkpoint.origin, bytes(32))])
    for number in range(WITNESSES):
        note += CosignKey(f"witness-{number}.local", algorithm, bytes([number] * 32)).cosign(checkpoint.text(), START)
    proof = LogProof(index, tree.inclusion(index), note)
    assert verify_inclusion(index, tree.size, tree.leaf(index), proof.hashes, checkpoint.root)
    return proof.text().encode()


def _month(path: Path, homes: int, days: int, seed: int) -> dict[str, float]:
    """Returns seconds and CPU seconds to verify a whole ledger, and CPU ms to recompute one household's bill."""
    sys.path.insert(0, str(PROGRAM.parent))
    from atoll_verify import judge

    names = [f"home-{number:03d}" for number in range(homes)]
    members = tuple(Member(name, name, (name,), ()) for name in names)
    books = Books.open(path, BooksRules("bench", CHARTER, members, key=None))
    for day, records in enumerate(_records(names, days, seed)):
        books.accept(records)
        now = Instant(START + (day + 1) * DAY_MS + SLOT_MS)
        books.run_due(now)
        books.commit(now)
    end = Instant(START + (days + 1) * DAY_MS)
    books.run_due(end)
    books.close(end)
    started, cpu = time.monotonic(), time.process_time()
    found = verify(path)
    month_s, month_cpu_s = time.monotonic() - started, time.process_time() - cpu
    assert found.ok, found.findings[:3]
    assert (found.days, found.closed) == (days, ()), "every day is opened and judged"
    bundle = export_bill(path, names[0], "2026-06")
    times: list[float] = []
    for _ in range(5):
        started = time.process_time()
        report = judge(bundle)
        times.append(time.process_time() - started)
        assert report["verdict"] == "ok", report
    file = path.with_name("bundle.json")
    file.write_bytes(bundle)
    whole = min(_program_s(file) for _ in range(5))
    return {
        "month_s": month_s,
        "month_cpu_s": month_cpu_s,
        "household_ms": min(times) * 1000,
        "household_program_ms": whole * 1000,
    }


def _program_s(bundle: Path) -> float:
    """Returns the CPU seconds of the household's program, from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, str(PROGRAM), str(bundle)], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _records(names: Sequence[str], days: int, seed: int) -> Iterator[list[IntervalRecord]]:
    """Yields the records of each day: every home takes, every fourth gives."""
    draw = random.Random(seed)
    registers: dict[str, tuple[int, int]] = dict.fromkeys((*names, "grid-1"), (0, 0))
    page = 0
    for day in range(days):
        rows: list[IntervalRecord] = []
        for slot in range(DAY_MS // SLOT_MS):
            page += 1
            start = Instant(START + day * DAY_MS + slot * SLOT_MS)
            balance = 0
            for number, name in enumerate(names):
                took, gave = draw.randrange(20, 400), draw.randrange(300) if number % 4 == 0 else 0
                balance += took - gave
                rows.append(_record(name, page, start, registers, took, gave))
            rows.append(_record("grid-1", page, start, registers, max(balance, 0), max(-balance, 0)))
        yield rows


def _record(
    name: str, page: int, start: Instant, registers: dict[str, tuple[int, int]], took: int, gave: int
) -> IntervalRecord:
    imported, exported = registers[name]
    registers[name] = imported + took, exported + gave
    return IntervalRecord(
        UsagePointId(name), Commodity.ENERGY, 1, page, start, Instant(start + SLOT_MS),
        imported, imported + took, exported, exported + gave,
    )  # fmt: skip
