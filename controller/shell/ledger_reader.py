"""Reading the ledger: head, entries with proofs, balances, a household's day and bill so far.

`LedgerReader.open(path)` has its own read-only connection and may be used from any thread; it sees what has
been committed. Everything it needs of the rules it reads from the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from controller.ledger.canonical import Json
from controller.ledger.entries import EntryState, Posting
from controller.ledger.merkle import Tree
from controller.ledger.state import Balance
from controller.settlement.arrivals import ProvisionalSlot
from controller.settlement.bills import Line, day_lines, exact, merge, minor_text, round_minor
from controller.settlement.intervals import Kept, PointDay
from controller.settlement.published import CHARTER, CHARTER_TABLE, Published, parse_rules
from controller.settlement.runs import RUN_DAY, SETTLE_DAY, Rules, parse_day, parse_lines
from controller.settlement.sharing import MemberDay, SlotTotals, member_day
from controller.settlement.tariff import Calendar, LocalDay, first_day_name, period_name
from controller.shell.log_keys import published_keys
from controller.shell.member_data import ERASED
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_rows import EntryRow
from devices.clock import SLOT_MS, Instant
from devices.model import RecordQuality


@dataclass(frozen=True, slots=True)
class Head:
    """The tree as committed, and the newest signed head."""

    size: int
    root: str
    checkpoint: str  # signed note, '' before the first
    signed_size: int


@dataclass(frozen=True, slots=True)
class EntryView:
    """One entry as people read it."""

    seq: int
    id: str
    at: Instant
    kind: str
    state: str
    period: str
    member: str
    postings: tuple[Posting, ...]
    body: Mapping[str, Json]
    refers: str
    leaf: str


@dataclass(frozen=True, slots=True)
class Proof:
    """Inclusion of an entry in the tree of `size` entries, hashes in hex, lowest first (RFC 9162)."""

    seq: int
    size: int
    root: str
    leaf: str
    hashes: tuple[str, ...]
    checkpoint: str  # the signed head of that size, '' if the head is not signed yet


@dataclass(frozen=True, slots=True)
class BalanceView:
    """What an account holds, in the asset's smallest unit."""

    account: str
    asset: str
    posted: int
    pending: int


@dataclass(frozen=True, slots=True)
class SlotEnergy:
    """One slot of one usage point by its registers [Wh or mL]."""

    start: Instant
    imported: int
    exported: int
    quality: RecordQuality


@dataclass(frozen=True, slots=True)
class DaySoFar:
    """A member's running day, by provisional totals."""

    day: LocalDay
    so_far: MemberDay
    slots: int  # slots that are in it
    final: bool


@dataclass(frozen=True, slots=True)
class BillSoFar:
    """A member's running bill: settled days and today."""

    period: str
    start: Instant
    lines: tuple[Line, ...]
    amount: int  # minor units
    text: str  # 3.07 EUR
    currency: str
    provisional: bool


class LedgerReader:
    """Answers questions about one ledger file."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file
        self._lock = Lock()
        self._tree = Tree()
        self._published = Published()
        self._read_until = 0  # rules published before this entry number are known

    @classmethod
    def open(cls, path: str | Path) -> LedgerReader:
        """Opens a ledger read-only.

        Raises:
            NotALedger: there is none, or it cannot be read.
        """
        return cls(LedgerFile.read(path))

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._file.close()

    def key(self) -> str:
        """Returns the log's public key as it signs today (name+id+base64), '' in an empty log.

        Raises:
            NoteError: the log's own entries about its keys do not hold.
        """
        with self._lock:
            keys = published_keys(self._file)
        return keys[-1].verifier.text() if keys else ""

    def timezone(self) -> str:
        """Returns the community's time zone, UTC before the first charter."""
        with self._lock:
            rows = self._file.latest_of_kind(CHARTER, 1)
        return parse_rules(rows[0].sealed().entry.body).charter.timezone if rows else "UTC"

    def head(self) -> Head:
        """Returns the tree head and the newest signed one."""
        with self._lock:
            self._grow()
            signed = self._file.last_checkpoint()
            size, note = signed or (0, "")
            return Head(self._tree.size, self._tree.root().hex(), note, size)

    def entries(self, before: int | None = None, limit: int = 50, account: str | None = None) -> list[EntryView]:
        """Returns up to `limit` entries before number `before`, newest first."""
        with self._lock:
            return [_view(row) for row in self._file.latest(before, limit, account)]

    def of_kind(self, kind: str, limit: int) -> list[EntryView]:
        """Returns up to `limit` entries of a kind, newest first."""
        with self._lock:
            return [_view(row) for row in self._file.latest_of_kind(kind, limit)]

    def entry(self, seq: int) -> EntryView | None:
        """Returns an entry by number."""
        with self._lock:
            row = self._file.entry(seq)
            return None if row is None else _view(row)

    def document(self, seq: int) -> str | None:
        """Returns the canonical JSON of an entry: its leaf hash is SHA-256(0x00 || these UTF-8 bytes)."""
        with self._lock:
            row = self._file.entry(seq)
            return None if row is None else row.document.decode()

    def proof(self, seq: int) -> Proof | None:
        """Returns the proof that an entry is in the newest signed tree that holds it, else in the present one."""
        with self._lock:
            self._grow()
            if not 0 <= seq < self._tree.size:
                return None
            signed = self._file.last_checkpoint()
            size, note = signed if signed and signed[0] > seq else (self._tree.size, "")
            hashes = tuple(node.hex() for node in self._tree.inclusion(seq, size))
            leaf = self._file.leaves(seq, 1)[0].hex()
            return Proof(seq, size, self._tree.root(size).hex(), leaf, hashes, note)

    def consistency(self, first: int) -> tuple[str, ...]:
        """Returns the proof that the present tree begins with the tree of `first` entries.

        Raises:
            IndexError: `first` is zero or larger than the tree.
        """
        with self._lock:
            self._grow()
            return tuple(node.hex() for node in self._tree.consistency(first))

    def balances(self) -> list[BalanceView]:
        """Returns all balances in order of account and asset."""
        with self._lock:
            held: Mapping[tuple[str, str], Balance] = self._file.balances()
            return [BalanceView(account, asset, b.posted, b.pending) for (account, asset), b in held.items()]

    def balance(self, account: str, asset: str) -> int:
        """Returns what an account holds, 0 if nothing was ever posted."""
        return next((b.posted for b in self.balances() if b.account == account and b.asset == asset), 0)

    def imbalance(self) -> int:
        """Returns the largest |sum| over the assets: 0, or the ledger is broken."""
        sums: dict[str, int] = {}
        for balance in self.balances():
            sums[balance.asset] = sums.get(balance.asset, 0) + balance.posted
        return max((abs(total) for total in sums.values()), default=0)

    def records(self) -> int:
        """Returns the number of records kept."""
        with self._lock:
            return self._file.count_records()

    def home_energy(self, usage_point: str, start: Instant, end: Instant) -> list[SlotEnergy]:
        """Returns the slots of a usage point (energy or water) in [start, end), suspect ones left out."""
        with self._lock:
            return [_slot(kept) for kept in self._usable(usage_point, start, end)]

    def erased_points(self) -> list[str]:
        """Returns the points of erased members' devices, whose retained values are to be taken back from the broker."""
        with self._lock:
            rows = [row.sealed().entry.body.get("points") for row in self._file.of_kind(ERASED)]  # receipts from before
            found = [str(point) for points in rows if isinstance(points, list) for point in points]
            return list(dict.fromkeys([*found, *self._file.taken_back()]))

    def provisional(self, start: Instant, end: Instant) -> list[ProvisionalSlot]:
        """Returns the community's provisional slot totals in [start, end)."""
        with self._lock:
            return [row for row, _ in self._file.provisional(start, end)]

    def local_day(self, now: Instant) -> LocalDay | None:
        """Returns the local day at the community; None before its year's tariff table has been published."""
        with self._lock:
            return self._day(now)

    def day_so_far(self, member: str, now: Instant) -> DaySoFar | None:
        """Returns a member's day so far; None for an unknown member or before the first record of the year."""
        with self._lock:
            return self._day_so_far(member, now)

    def bill_so_far(self, member: str, now: Instant) -> BillSoFar | None:
        """Returns a member's bill so far; None for an unknown member or before the first record of the year."""
        with self._lock:
            return self._bill_so_far(member, now)

    def held(self, limit: int = 31) -> list[tuple[str, str, str]]:
        """Returns (day, usage point, why) of what stands quarantined in the last `limit` day runs."""
        with self._lock:
            found: list[tuple[str, str, str]] = []
            for row in self._file.latest_of_kind(RUN_DAY, limit):
                body = row.sealed().entry.body
                if row.state == EntryState.POSTED and self._stands(row):
                    held = body.get("held")
                    pairs = held if isinstance(held, list) else ()
                    found.extend((str(body["day"]), str(p[0]), str(p[1])) for p in pairs if isinstance(p, list))
            return found

    # --------------------------------------------------------------- private

    def _grow(self) -> None:
        self._tree.extend(self._file.leaves(self._tree.size))

    def _stands(self, row: EntryRow) -> bool:
        newer = self._file.of_period(row.period, (row.kind,))
        return newer[-1].seq == row.seq

    def _in_force(self, now: Instant) -> tuple[Rules, Calendar] | None:
        """Returns the rules in force and their calendar; None before the first charter."""
        for row in self._file.entries(self._read_until, only=(CHARTER, CHARTER_TABLE)):
            self._published.absorb(row.sealed().entry)
            self._read_until = row.seq + 1
        if not self._published.rules:
            return None
        name = self._published.in_force(now)
        return self._published.rules[name], self._published.calendars[name]

    def _day(self, now: Instant) -> LocalDay | None:
        found = self._in_force(now)
        return None if found is None or not found[1].covers(now) else found[1].day_of(now)

    def _day_so_far(self, member: str, now: Instant) -> DaySoFar | None:
        found, day = self._in_force(now), self._day(now)
        if found is None or day is None:
            return None
        rules, calendar = found
        who = next((m for m in rules.members if m.id == member), None)
        if who is None:
            return None
        final = self._settled(day, member)
        if final is not None:
            return DaySoFar(day, parse_day(final), day.slots, True)
        bands = calendar.bands(day)
        taken, given, known = [0] * day.slots, [0] * day.slots, set[int]()
        for row, _ in self._file.provisional(day.start, day.end):
            slot = (row.slot - day.start) // SLOT_MS
            taken[slot], given[slot] = row.taken, row.given
            known.add(slot)
        points = {
            point: self._point(point, day, known if point in who.usage_points else None)
            for point in (*who.usage_points, *who.water_points)
        }
        totals = SlotTotals(
            _at_least(taken, [points[point].imports for point in who.usage_points]),
            _at_least(given, [points[point].exports for point in who.usage_points]),
        )
        return DaySoFar(day, member_day(rules.charter, bands, totals, who, points), len(known), False)

    def _point(self, point: str, day: LocalDay, known: set[int] | None) -> PointDay:
        imports, exports = [0] * day.slots, [0] * day.slots
        count = 0
        for kept in self._usable(point, day.start, day.end):
            slot = (kept.record.start - day.start) // SLOT_MS
            if known is None or slot in known:
                imports[slot], exports[slot] = kept.record.import_delta, kept.record.export_delta
                count += 1
        return PointDay(point, tuple(imports), tuple(exports), count, 0, b"")

    def _usable(self, point: str, start: Instant, end: Instant) -> list[Kept]:
        return [
            kept
            for kept in self._file.records(start, end, point)
            if kept.record.quality is not RecordQuality.SUSPECT
            and kept.record.import_delta >= 0
            and kept.record.export_delta >= 0
        ]

    def _settled(self, day: LocalDay, member: str) -> Mapping[str, Json] | None:
        rows = [row for row in self._file.of_period(day.name, (SETTLE_DAY,)) if row.member == member]
        return rows[-1].sealed().entry.body if rows else None

    def _final_lines(self, day: LocalDay, member: str) -> tuple[Line, ...]:
        body = self._settled(day, member)
        if body is None:
            return ()
        charter = self._published.rules[str(body["charter"])].charter
        return day_lines(charter, parse_day(body)) if charter.clauses is None else parse_lines(body)

    def _bill_so_far(self, member: str, now: Instant) -> BillSoFar | None:
        today, found = self._day_so_far(member, now), self._in_force(now)
        if today is None or found is None:
            return None
        charter, calendar = found[0].charter, found[1]
        days = [today.day]
        while days[0].name != first_day_name(charter, today.day) and calendar.covers(Instant(days[0].start - 1)):
            days.insert(0, calendar.day_of(Instant(days[0].start - 1)))
        # The shares of a voted charter are known when a day is settled, not before.
        so_far = day_lines(charter, today.so_far) if charter.clauses is None else ()
        lines = merge([*(self._final_lines(day, member) for day in days[:-1]), so_far])
        amount = round_minor(exact(lines), charter.minor_digits)
        return BillSoFar(
            period_name(charter, today.day), days[0].start, lines, amount, minor_text(amount, charter),
            charter.currency, provisional=True,
        )  # fmt: skip


def _at_least(totals: Sequence[int], own: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Returns the totals, raised to the member's own where a provisional total lags behind its records."""
    return tuple(max(total, sum(series[slot] for series in own)) for slot, total in enumerate(totals))


def _slot(kept: Kept) -> SlotEnergy:
    record = kept.record
    return SlotEnergy(record.start, record.import_delta, record.export_delta, record.quality)


def _view(row: EntryRow) -> EntryView:
    entry = row.sealed().entry
    return EntryView(
        row.seq, entry.id, entry.at, entry.kind, entry.state.value, row.period, row.member,
        entry.postings, entry.body, entry.refers, row.leaf.hex(),
    )  # fmt: skip
