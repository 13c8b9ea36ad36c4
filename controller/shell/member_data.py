"""What the ledger holds of one person: given out whole, or destroyed for good with a receipt in the log."""

from __future__ import annotations

import json
import shutil
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw

from controller.entry_words import amount_words
from controller.ledger.canonical import Json
from controller.ledger.entries import Entry, EntryState, derived_id
from controller.ledger.orders import Post
from controller.settlement.accounts import owes_account
from controller.settlement.published import CHARTER, Published, parse_rules
from controller.settlement.runs import BILL, SETTLE_DAY
from controller.settlement.tenancy import BEGINNING, END_OF_TIME, Tenancies, Tenancy
from controller.shell.backup import BadBackup, rewrite
from controller.shell.journal import Journal
from controller.shell.log_keys import signer_for
from controller.shell.member_text import readable
from controller.shell.restored import Withheld, mark_beside
from controller.shell.signed_days import reseal_texts
from controller.shell.tenants import key_owners, read_charters, read_tenancies
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_rows import EntryRow
from controller.store.member_keys import KEYS, destroy, ensure, is_keys, owners_of
from controller.store.telemetry_erasure import Spans, forget, points_of
from devices.clock import Instant, iso

ERASED = "member.erased"
"""The receipt: who, and how many bodies and records were destroyed."""
COPIES = ("backups", "snapshots")


class UnknownMember(LookupError):
    """Nobody of that id was ever in this ledger's charters."""


class StillMember(RuntimeError):
    """The charter in force names this member: it must leave before its data can be erased."""


class StillOpen(RuntimeError):
    """Something of this member is not settled or billed yet."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was destroyed; `entry` is the log's receipt."""

    entry: str
    payloads: int
    records: int
    keys: int
    chunks: int  # of live readings
    cleaned: tuple[Path, ...]  # backups and copies of keys from before, without the member now
    left: tuple[Path, ...]  # other copies, which may hold readings and can only go whole


def erase(
    data_dir: Path, member: str, now: Instant, *, with_balance: bool = False, devices: Sequence[str] = (),
    copies: Sequence[Path] = (),
) -> Receipt:  # fmt: skip
    """Destroys a member's keys, sealed bodies, records and live readings, and logs the receipt.

    `devices` are those that stood in the member's home beside its meters; `copies` are backups outside of the data
    directory. After a crash it ends the work.

    Raises:
        NotALedger: there is none, or it cannot be read.
        JournalDamaged: it does not match what was signed.
        UnknownMember, StillMember, StillOpen, Withheld: not now.
    """
    path, keys = data_dir / "ledger.db", data_dir / KEYS
    mark = mark_beside(path)
    if mark is not None and not mark.new_log:
        raise Withheld(f"{mark.words()}; start the hub")
    file = LedgerFile.write(path)
    try:
        tenancies = _prepare(file, keys, member)
        own = _tenancies_of(tenancies, file, member)
        _may_be_erased(file, member, now, with_balance=with_balance)
        journal = Journal(file, signer_for(file, path, _origin(file))[0], 0)
        spans = _spans(own, devices)
        left = {point for point in own if tenancies.of_point[point][-1].member != member}
        file.take_back(points_of(data_dir, spans.keys() - left))
        destroyed = _forget(file, member, own, owners_of(keys, member))
        identity = _receipt(file, journal, member, destroyed, now)
        journal.flush(now, force=True)
        file.scrub()
    finally:
        file.close()
    chunks = forget(data_dir, spans)
    shutil.rmtree(data_dir / "broker" / "store", ignore_errors=True)  # what our own broker kept; it is made anew
    shredded = destroy(keys, member)
    found = [*(path for name in COPIES for path in sorted((data_dir / name).glob("*"))), *copies]
    cleaned = tuple(path for path in found if _clean(path, member, spans))
    return Receipt(
        identity, *destroyed, shredded, chunks, cleaned, tuple(path for path in found if path not in cleaned)
    )


def _prepare(file: LedgerFile, keys: Path, member: str) -> Tenancies:
    """Returns the tenancies; everybody else has a key for what was sealed under one of the member's."""
    published = read_charters(file)
    others = {owner: who for owner, who in key_owners(published).items() if who != member}
    tenancies = read_tenancies(file, published)
    file.vault, file.tenant_at = ensure(keys, others), tenancies.owner
    return tenancies


def _spans(own: Mapping[str, Sequence[Tenancy]], devices: Sequence[str]) -> Spans:
    """Returns the member's time, by meter and by device: what another member reads from a meter is not touched."""
    found = {point: [(one.start, one.end) for one in rows] for point, rows in own.items()}
    ends = [end for rows in found.values() for end in rows] or [(BEGINNING, END_OF_TIME)]
    whole = (min(start for start, _ in ends), max(end for _, end in ends))
    return {**{device: [whole] for device in devices}, **found}


def _forget(file: LedgerFile, member: str, own: Mapping[str, Sequence[Tenancy]], keys: set[str]) -> tuple[int, int]:
    """Deletes a member's bodies and records; what is others' under its keys is sealed anew. Returns how many."""
    records = sum(file.forget_records(point, one.start, one.end) for point, rows in own.items() for one in rows)
    for point in own:
        file.reseal(point, keys)
        reseal_texts(file, point, keys)
    return file.forget_payloads(member), records


def _receipt(file: LedgerFile, journal: Journal, member: str, destroyed: tuple[int, int], now: Instant) -> str:
    """Returns the id of the newest receipt, written now if anything was destroyed that none speaks of."""
    receipts = [row for row in file.of_kind(ERASED) if row.member == member]
    if receipts and destroyed == (0, 0):
        return receipts[-1].id
    identity = derived_id(now, journal.origin, ERASED, member, *([len(receipts)] if receipts else []))
    body: dict[str, Json] = {"member": member, "payloads": destroyed[0], "records": destroyed[1]}
    journal.must(Post(identity, now, ERASED, (), body))
    return identity


def _clean(copy: Path, member: str, gone: Spans) -> bool:
    """Takes a member's readings out of a backup, or its keys out of a copy of `keys.db`; returns whether it is one.

    The ledger in a backup stays as it is: nobody can open the member's part of it, and another one would be a fork.
    """
    try:
        if is_keys(copy):
            destroy(copy, member)
        else:
            rewrite(copy, lambda stage: forget(stage, gone))
    except (BadBackup, apsw.Error, OSError):
        return False
    return True


def erased_spans(
    file: LedgerFile, tenancies: Tenancies, present: Container[str]
) -> dict[str, list[tuple[Instant, Instant]]]:
    """Returns the times of which no record is taken any more, by usage point: of members whose data were erased."""
    found: dict[str, list[tuple[Instant, Instant]]] = {}
    for row in file.of_kind(ERASED):
        at = row.sealed().entry.at
        for point, rows in tenancies.of_member(row.member).items():
            ends = (min(one.end, at) if row.member in present else one.end for one in rows)  # who came back is a member
            found.setdefault(point, []).extend((one.start, end) for one, end in zip(rows, ends, strict=True))
    return found


def points_of_member(published: Published, member: str) -> set[str]:
    """Returns every usage point that a member ever had, by the published charters."""
    named = (one for rules in published.rules.values() for one in rules.members if one.id == member)
    return {point for one in named for point in (*one.usage_points, *one.water_points)}


def export(ledger: Path, member: str) -> dict[str, Json]:
    """Returns everything that the ledger holds of a member, as one document.

    Raises:
        NotALedger: there is none, or it cannot be read.
        UnknownMember: nobody of that id was ever there.
    """
    file = LedgerFile.read(ledger)
    try:
        own = _tenancies_of(read_tenancies(file), file, member)
        entries: list[Json] = []
        for row in file.entries():
            entry = row.sealed().entry
            mine = [p for p in entry.postings if p.account.startswith(f"member:{member}:")]
            if not mine and not _is_own(entry, row, member, own):
                continue
            entries.append({
                "seq": row.seq, "id": row.id, "at": iso(entry.at), "kind": row.kind, "state": row.state,
                "postings": [[p.account, p.asset, str(p.amount)] for p in mine], "body": dict(entry.body),
            })  # fmt: skip
        records: dict[str, Json] = {point: _rows(file, point, rows) for point, rows in own.items()}
        balances: list[Json] = [
            [account, asset, str(held.posted), str(held.pending)]
            for (account, asset), held in file.balances().items()
            if account.startswith(f"member:{member}:")
        ]
        return {
            "atoll_member_data": 1, "member": member, "usage_points": list(own), "balances": balances,
            "entries": entries, "records": records, "units": _units(file),
        }  # fmt: skip
    finally:
        file.close()


def own_spans(ledger: Path, member: str, devices: Sequence[str] = ()) -> Spans:
    """Returns the times of a member's meters, and of other devices in its home.

    Raises:
        NotALedger: there is none, or it cannot be read.
        UnknownMember: nobody of that id was ever there.
    """
    file = LedgerFile.read(ledger)
    try:
        return _spans(_tenancies_of(read_tenancies(file), file, member), devices)
    finally:
        file.close()


def write_export(document: Mapping[str, Json], output: Path) -> tuple[Path, Path]:
    """Writes OUTPUT.json and OUTPUT.txt and returns their paths."""
    paths = output.with_suffix(".json"), output.with_suffix(".txt")
    paths[0].write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    paths[1].write_text(readable(document), encoding="utf-8")
    return paths


def _tenancies_of(tenancies: Tenancies, file: LedgerFile, member: str) -> dict[str, list[Tenancy]]:
    """Returns the member's time at each of its usage points."""
    if not any(one.id == member for rules in read_charters(file).rules.values() for one in rules.members):
        raise UnknownMember(f"no charter of this ledger ever named {member!r}")
    return tenancies.of_member(member)


def _is_own(entry: Entry, row: EntryRow, member: str, own: Mapping[str, Sequence[Tenancy]]) -> bool:
    """Returns whether an entry is about a member, or about its usage points in its time."""
    if row.member or "usage_point" not in entry.body:
        return row.member == member
    rows = own.get(str(entry.body["usage_point"]), ())
    return any(one.start <= entry.at <= one.end for one in rows)


def _may_be_erased(file: LedgerFile, member: str, now: Instant, *, with_balance: bool) -> None:
    published = read_charters(file)
    if any(one.id == member for name in published.coming(now) for one in published.rules[name].members):
        raise StillMember(
            f"a charter that holds now, or later, names {member!r}: take it out of the site file, start the hub once,"
            " and wait for the midnight from which it is no member any more"
        )
    digits = int(str(_units(file)["minor_digits"]))
    owed = [amount_words(asset, held.posted, digits) for (account, asset), held in file.balances().items()
            if account == owes_account(member) and (held.posted or held.pending)]  # fmt: skip
    if owed and not with_balance:
        raise StillOpen(
            f"{member!r} still has a balance: {', '.join(owed)} (positive: owes it);"
            " settle it first, or erase --with-balance"
        )
    billed = {str(day) for row in file.of_kind(BILL) if row.member == member and row.state == EntryState.POSTED
              for day in _list(row.sealed().entry.body.get("days", []))}  # fmt: skip
    if any(row.member == member and row.opened and row.period not in billed for row in file.of_kind(SETTLE_DAY)):
        raise StillOpen(f"{member!r} has settled days that are not billed yet; wait for the end of the bill period")


def _rows(file: LedgerFile, point: str, own: Sequence[Tenancy]) -> list[Json]:
    return [
        [iso(kept.record.start), kept.record.import_start, kept.record.import_end, kept.record.export_start,
         kept.record.export_end, kept.record.quality.value]
        for one in own for kept in file.records(one.start, one.end, point)
    ]  # fmt: skip


def _units(file: LedgerFile) -> dict[str, Json]:
    """Returns what the numbers of an export are in; registers are in Wh, those of water points in mL."""
    rules = [parse_rules(row.sealed().entry.body) for row in file.of_kind(CHARTER)]
    charter = rules[-1].charter
    water = {point for one in rules for member in one.members for point in member.water_points}
    return {
        "currency": charter.currency, "minor_digits": charter.minor_digits, "timezone": charter.timezone,
        "water_points": sorted(water),
    }  # fmt: skip


def _origin(file: LedgerFile) -> str:
    genesis = file.entry(0)
    assert genesis is not None, "a ledger with charters has a first entry"
    return str(genesis.sealed().entry.body["origin"])


def _list(value: Json) -> list[Json]:
    assert isinstance(value, list)
    return value
