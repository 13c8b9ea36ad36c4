"""Small ledgers whose bills the verifiers judge; `python -m tests.verifier.villages` writes the golden bundles anew."""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from controller.shell.bill_export import export_bill, list_bills
from controller.shell.books import Books
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant
from devices.model import RecordQuality
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, local_midnight, rules, without
from verifier.atoll_verify import judge

GOLDEN = Path(__file__).parent.parent / "golden" / "bundles"
START = local_midnight("2026-06-01")
AUTUMN = local_midnight("2026-10-24")  # the next day has 100 slots


def three_days(folder: Path, homes: int = 3) -> Path:
    """Returns the ledger of three plain days."""
    return written(folder, Village(START, homes).until(Instant(START + 3 * DAY_MS)), homes)


def written(folder: Path, records, homes: int, **changes) -> Path:
    """Returns the ledger that settled these records; 12 h after the last one, every late window is over."""
    path = folder / "ledger.db"
    books = Books.open(path, rules(homes, **changes))
    end = Instant(records[-1].end + 12 * HOUR_MS)
    live(books, records, end)
    books.close(end)
    return path


def gaps(folder: Path) -> Path:
    """Returns three days: a night of home-01 is missing, home-02 is suspect for a slot, home-01's water for a day."""
    records = Village(START, 2).until(Instant(START + 3 * DAY_MS))
    records = without(records, "home-01", START + DAY_MS - 9 * SLOT_MS, START + DAY_MS + 12 * SLOT_MS)
    records = without(records, "home-01.water", START + DAY_MS, START + 3 * DAY_MS)
    at = START + DAY_MS + 40 * SLOT_MS
    records = [
        replace(r, quality=RecordQuality.SUSPECT) if (r.usage_point, r.start) == ("home-02", at) else r for r in records
    ]
    return written(folder, records, 2)


def autumn(folder: Path) -> Path:
    """Returns a week with a day of 100 slots, billed as one."""
    return written(folder, Village(AUTUMN, 1).until(Instant(AUTUMN + 2 * DAY_MS + HOUR_MS)), 1, bill_period="week")


def bundles(path: Path) -> dict[str, bytes]:
    """Returns every bill of a ledger as a bundle, by member and period."""
    return {f"{member} {period}": export_bill(path, member, period) for member, period in list_bills(path)}


def resealed(document: dict) -> bytes:
    """Returns a bundle whose own sum is right again: what somebody would do who means it."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    return canonical({**rest, "sha256": sha256(canonical(rest)).hexdigest()})


def canonical(document: dict) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def entry_of(document: dict, kind: str) -> dict:
    """Returns the bundle's entry of a kind: {seq, document, proof}."""
    return next(entry for entry in document["entries"] if f'"kind":"{kind}"' in entry["document"])


def tampered(bundle: bytes) -> dict[str, bytes]:
    """Returns one bundle altered in many ways, by what was altered; each has its own sum right."""

    def change(alter) -> bytes:
        document = json.loads(bundle)
        alter(document)
        return resealed(document)

    def swap(kind: str, old: str, new: str):
        def alter(document: dict) -> None:
            entry = entry_of(document, kind)
            assert old in entry["document"], old
            entry["document"] = entry["document"].replace(old, new, 1)

        return alter

    def flip(text: str) -> str:
        data = bytearray(base64.b64decode(text))
        data[-1] ^= 1
        return base64.b64encode(data).decode()

    def signature(document: dict) -> None:
        head, _, last = document["checkpoint"].rstrip("\n").rpartition(" ")
        document["checkpoint"] = f"{head} {flip(last)}\n"

    def proof(document: dict) -> None:
        path = entry_of(document, "bill")["proof"]
        path[0] = flip(path[0])

    def run_proof(document: dict) -> None:
        path = next(iter(next(iter(document["inputs"].values())).values()))
        path[0] = flip(path[0])

    def record(document: dict) -> None:
        next(iter(document["records"].values()))["rows"][5][4] += 1

    def lost(document: dict) -> None:
        del next(iter(document["records"].values()))["rows"][5]

    def version(document: dict) -> None:
        document["atoll_bundle"] = 2

    return {
        "price": change(swap("charter", '"local_price":140000', '"local_price":150000')),
        "total": change(swap("run.day", '"taken":[', '"taken":[1')),
        "amount": change(swap("bill", '"amount":"', '"amount":"1')),
        "record": change(record),
        "lost record": change(lost),
        "proof": change(proof),
        "run proof": change(run_proof),
        "signature": change(signature),
        "version": change(version),
        "entry version": change(swap("bill", '"v":1', '"v":2')),
        "torn": bundle[:-1],
        "empty": b"",
    }


def golden() -> dict[str, bytes]:
    """Returns the golden bundles by file name."""
    found: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("plain", "gaps", "autumn"):
            (Path(folder) / name).mkdir()
        plain, holed, week = (Path(folder) / name for name in ("plain", "gaps", "autumn"))
        path = three_days(plain, 2)
        found["seller.json"] = export_bill(path, "home-01", "2026-06-02")
        found["community.json"] = export_bill(path, "community", "2026-06-01")
        path = gaps(holed)
        found["estimated.json"] = export_bill(path, "home-01", "2026-06-01")
        found["held-back.json"] = export_bill(path, "home-02", "2026-06-02")
        found["autumn-week.json"] = export_bill(autumn(week), "home-01", "2026-W43")
    return found


if __name__ == "__main__":
    for name, data in golden().items():
        (GOLDEN / name).write_bytes(data)
        (GOLDEN / name.replace(".json", ".report")).write_text(
            json.dumps(judge(data), indent=1, ensure_ascii=False) + "\n"
        )
