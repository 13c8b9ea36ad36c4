"""Small ledgers whose bills the verifiers judge; `python -m tests.verifier.villages` writes the golden bundles anew."""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from controller.ledger.entries import derived_id
from controller.ledger.note import Signer
from controller.money.desk import Asked
from controller.settlement.published import Published
from controller.shell.bill_export import bills_with_runs, export_bill
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.books import Books
from controller.shell.tenants import key_owners
from controller.store.member_keys import open_keys
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, ClockQuality, Instant
from devices.meter_day import sign_day
from devices.model import IntervalRecord, RecordQuality
from devices.ocmf_keys import SigningKey
from tests.charters import FEES
from tests.controller.shell.test_ballot_box import CHANGE, Community, voting_rules
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, charter, local_midnight, members, rules, without
from verifier.atoll_verify import judge

GOLDEN = Path(__file__).parent.parent / "golden" / "bundles"
OLD = ("clock-averaged.json", "clock-set.json", "voted-premium.json", "voted-rounds.json")
"""Bundles as they were written once: before a clock statement superseded others, before they held a charter's vote."""
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


def swapped(records: list[IntervalRecord], point: str, at: Instant, lost: int = 0) -> list[IntervalRecord]:
    """Returns the records with a new meter from `at` on, whose registers begin at 0.

    `lost` Wh are in no record: 7 of 10 the old meter counted after its last, the rest the new one before its first.
    """
    base: IntervalRecord | None = None
    found: list[IntervalRecord] = []
    for r in records:
        if r.usage_point != point or r.start < at:
            found.append(r)
            continue
        base = base or r
        more = lost - lost * 7 // 10
        quality = RecordQuality.SUSPECT if r is base else r.quality
        found.append(
            replace(
                r, meter_epoch=2, page=r.page - base.page + 1, quality=quality,
                import_start=r.import_start - base.import_start + more,
                import_end=r.import_end - base.import_start + more,
                export_start=r.export_start - base.export_start,
                export_end=r.export_end - base.export_start,
            )
        )  # fmt: skip
    return found


def swap(folder: Path) -> Path:
    """Returns three days with a new meter at home-01 on the second, told to the hub after the third."""
    at = Instant(START + DAY_MS + 40 * SLOT_MS)
    records = swapped(Village(START, 2).until(Instant(START + 3 * DAY_MS)), "home-01", at, lost=10)
    closing = next(r for r in records if r.usage_point == "home-01" and r.end == at)
    request = {
        "do": "meter", "usage_point": "home-01", "reason": "the old one was burnt",
        "closing": [closing.import_end + 7, closing.export_end], "opening": [0, 0],
    }  # fmt: skip
    return stated(folder, records, request)


def sealed_swap(folder: Path) -> Path:
    """Returns the same three days sealed, under keys that are always the same."""
    db = open_keys(folder / "keys.db")
    owned = key_owners(Published(), members(2))
    rows = [(owner, member, sha256(owner.encode()).digest()) for owner, member in owned.items()]
    db.executemany("INSERT INTO member_keys VALUES(?, ?, ?)", rows)
    db.close()
    return swap(folder)


def unsure(folder: Path) -> Path:
    """Returns three days whose clocks are not synchronised on the second.

    The clock of home-02 was set by GNSS in the morning, and found to be an hour off in the afternoon.
    """
    records = [
        replace(r, clock=ClockQuality.HOLDOVER) if START + DAY_MS <= r.start < START + 2 * DAY_MS else r
        for r in Village(START, 2).until(Instant(START + 3 * DAY_MS))
    ]
    at = START + DAY_MS + 30 * SLOT_MS
    request = {
        "do": "clock", "usage_points": ["home-02", "home-02.water"], "source": "gnss", "reason": "no internet",
        "error_ms": 500, "drift_ppm": 20, "at": at,
    }  # fmt: skip
    worse = {**request, "error_ms": HOUR_MS, "at": START + DAY_MS + 60 * SLOT_MS}
    return stated(folder, records, request, worse, clock_tolerance_ms=1_000)


def stated(folder: Path, records: list[IntervalRecord], *requests: dict, **changes) -> Path:
    """Returns the ledger that settled these records, and again after statements."""
    path, end = folder / "ledger.db", Instant(records[-1].end + 12 * HOUR_MS)
    books = Books.open(path, rules(2, **changes))
    live(books, records, end)
    for number, request in enumerate(requests):
        name = derived_id(end, "stated", str(request["do"]), *([number] if number else []))
        result = books.state(Asked(name, "treasurer", end), request)
        assert result.accepted, result
        books.run_due(end)
    books.close(end)
    return path


GATEWAY = SigningKey.from_number(7)


def signed(folder: Path) -> Path:
    """Returns two signed days; one of home-02 says something else, one of its water has nobody's signature."""
    records, end = Village(START, 2).until(Instant(START + 2 * DAY_MS)), Instant(START + 3 * DAY_MS)
    path = folder / "ledger.db"
    books = Books.open(path, rules(2))
    keeper = Bookkeeper(books)
    keeper.pin("gw-1", GATEWAY.public.text(), START)
    keeper.accept("gw-1", records)
    for page in (1, 2):
        start = START + (page - 1) * DAY_MS
        for point in ("home-01", "home-01.water", "home-02", "home-02.water"):
            own = [r for r in records if r.usage_point == point and start <= r.start < start + DAY_MS]
            if (point, page) == ("home-02", 1):
                own = [replace(r, import_end=r.import_end + 1) if r is own[-1] else r for r in own]
            key = SigningKey.from_number(8) if (point, page) == ("home-02.water", 2) else GATEWAY
            keeper.accept_day("gw-1", sign_day("gw-1", page, own, key))
    keeper.settle(end)
    keeper.commit(end)
    books.close(end)
    return path


def dearer(folder: Path) -> Path:
    """Returns a week in whose midst the tariff changed."""
    records = Village(START, 2).until(Instant(START + 7 * DAY_MS + HOUR_MS))
    change = Instant(START + 3 * DAY_MS)
    path, end = folder / "ledger.db", Instant(records[-1].end + 12 * HOUR_MS)
    books = Books.open(path, rules(2, bill_period="week"))
    live(books, [r for r in records if r.start < change], change)
    books.close(change)
    bands = tuple(replace(band, import_price=band.import_price + 30_000) for band in charter().bands)
    books = Books.open(
        path, rules(2, bill_period="week", version=2, valid_from=change, bands=bands, local_price=155_000)
    )
    books.commit(change)  # at the very midnight from which it may hold
    live(books, [r for r in records if r.start >= change], end)
    books.close(end)
    return path


SERVICE = """[[service]]
name = "delivery"
price = 2500000
"""
VOTED: dict[str, dict[str, Any]] = {
    "rounds": {"sharing": 'key = "rounds"\nclasses = { home-02 = 0 }', "price": 'rule = "supply-demand"'},
    "hourly": {"sharing": 'key = "hourly"\nhours = [{ home-01 = 5 }, { home-02 = 4 }, { home-02 = 3 }]'},
    "static": {"sharing": 'key = "static"\nweights = { home-02 = 3 }', "price": 'rule = "flat"\nlocal_price = 140000'},
    "participation": {
        "sharing": 'key = "participation"\n[[sharing.communities]]\nname = "a"\npercent = { home-01 = 60 }\n'
        '[[sharing.communities]]\nname = "b"\ndefault_percent = 33\n',
        "price": 'rule = "bill-sharing"', "lifeline": 0,
    },
    "premium": {
        "sharing": 'key = "shared-energy"',
        "price": 'rule = "premium"\npremium = 110000\ntakers_permille = 400\ngivers_permille = 500',
    },
    "stored": {"more": '[storage]\nowner = "depositor"\nlosses = "use"\npoints = ["battery-1"]\n'},
}  # fmt: skip
"""By name: what a charter voted for in the midst of a week says otherwise than `tests.charters`."""


def voted(folder: Path, name: str) -> Path:
    """Returns a week of two homes that vote: from the fourth day on a charter of `VOTED` holds; two deliveries came."""
    path, end = folder / "ledger.db", Instant(START + 7 * DAY_MS + HOUR_MS)
    town = Community(path, replace(voting_rules(), charter=charter(bill_period="week"), members=members(2)))
    town.books.run_due(START)
    opened = town.open(START, **{"period": "week", **VOTED[name], "more": FEES + SERVICE + VOTED[name].get("more", "")})
    assert opened.accepted, opened
    for who in ("home-01", "home-02"):
        assert town.cast(Instant(START + HOUR_MS), who).accepted
    records, noon = Village(START, 2).until(end), Instant(CHANGE + DAY_MS // 2)
    live(town.books, [one for one in records if one.end <= noon], noon)
    for at, state in ((CHANGE - HOUR_MS, "done"), (CHANGE + HOUR_MS, "done"), (CHANGE + 2 * HOUR_MS, "lost")):
        came = {"member": "home-02", "state": state, "delivery": "parcel"}
        town.books.append("delivery", came, derived_id(Instant(at), "came", state), Instant(at))
    live(town.books, [one for one in records if one.end > noon], end)
    late = Instant(end + 12 * HOUR_MS)
    town.books.run_due(late)
    town.books.close(late)
    return path


def rotated(folder: Path) -> Path:
    """Returns three days of a log that got a new key after the first one."""
    path, records = folder / "ledger.db", Village(START, 2).until(Instant(START + 3 * DAY_MS))
    noon = Instant(START + DAY_MS + 12 * HOUR_MS)
    books = Books.open(path, rules(2))
    live(books, [one for one in records if one.end <= noon], noon)
    new = Signer("test.atoll/ledger", bytes([9] * 32))
    books._journal.rotate(derived_id(noon, "rotate"), noon, new, {"by": "treasurer", "reason": "every year"})
    books.commit(noon)
    end = Instant(records[-1].end + 12 * HOUR_MS)
    live(books, [one for one in records if one.end > noon], end)
    books.close(end)
    return path


def bundles(path: Path) -> dict[str, bytes]:
    """Returns every bill of a ledger as a bundle, by member and period."""
    return {f"{member} {period}": export_bill(path, member, period) for member, period, _ in bills_with_runs(path)}


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
        document["atoll_bundle"] = 5

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
    """Returns the golden bundles by file name, as ledgers write them today."""
    found: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("plain", "gaps", "autumn", "swap", "unsure", "signed", "dearer"):
            (Path(folder) / name).mkdir()
        plain, holed, week = (Path(folder) / name for name in ("plain", "gaps", "autumn"))
        path = three_days(plain, 2)
        found["seller.json"] = export_bill(path, "home-01", "2026-06-02")
        found["community.json"] = export_bill(path, "community", "2026-06-01")
        path = gaps(holed)
        found["estimated.json"] = export_bill(path, "home-01", "2026-06-01")
        found["held-back.json"] = export_bill(path, "home-02", "2026-06-02")
        found["meter-swap.json"] = export_bill(swap(Path(folder) / "swap"), "home-01", "2026-06-02")
        (Path(folder) / "sealed").mkdir()
        found["sealed-salted.json"] = export_bill(sealed_swap(Path(folder) / "sealed"), "home-01", "2026-06-02")
        found["clock-stated-twice.json"] = export_bill(unsure(Path(folder) / "unsure"), "home-02", "2026-06-02")
        path = signed(Path(folder) / "signed")
        found["signed.json"] = export_bill(path, "home-01", "2026-06-01")
        found["signed-otherwise.json"] = export_bill(path, "home-02", "2026-06-01")
        found["signed-by-nobody.json"] = export_bill(path, "home-02", "2026-06-02")
        found["tariff-change-week.json"] = export_bill(dearer(Path(folder) / "dearer"), "home-02", "2026-W23")
        (Path(folder) / "rotated").mkdir()
        found["new-log-key.json"] = export_bill(rotated(Path(folder) / "rotated"), "home-01", "2026-06-02")
        for name in ("rounds", "premium", "stored"):
            (Path(folder) / name).mkdir()
            found[f"vote-shown-{name}.json"] = export_bill(voted(Path(folder) / name, name), "home-02", "2026-W23")
        found["autumn-week.json"] = export_bill(autumn(week), "home-01", "2026-W43")
    return found


if __name__ == "__main__":
    for name, data in golden().items():
        (GOLDEN / name).write_bytes(data)
        (GOLDEN / name.replace(".json", ".report")).write_text(
            json.dumps(judge(data), indent=1, ensure_ascii=False) + "\n"
        )
