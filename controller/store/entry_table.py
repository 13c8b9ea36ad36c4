"""The log in `ledger.db`: entries taken apart into columns, from which their documents are made again to the byte.

    names            a number for each account, asset and kind
    entries          one row an entry: `moves` is `account,asset,amount,...` with numbers of `names`, `body` its JSON
    account_entries  the entries that move something of an account

A document is as good as its hash: a changed column gives other bytes than those that the leaf hash in the row, and
the signed tree above it, were made of. What cannot be made again from columns is kept whole in `document`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from json.encoder import encode_basestring
from typing import cast

from controller.ledger.canonical import encode
from controller.ledger.entries import MOVING, PLAIN, EntryState, SealedEntry, document_of, is_entry_id, rest_of
from controller.ledger.trial import trial_balance
from controller.store.ledger_rows import EntryRow, RowDamaged, entry_period
from controller.store.sqlite import Database, Value
from devices.clock import Instant

TABLES = """
CREATE TABLE {0}.names(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE {0}.entries(
    seq INTEGER PRIMARY KEY, id ANY NOT NULL UNIQUE, kind INTEGER NOT NULL, state INTEGER NOT NULL,
    period TEXT NOT NULL, member TEXT NOT NULL, at INTEGER NOT NULL, expires TEXT NOT NULL, link TEXT NOT NULL,
    refers TEXT NOT NULL, moves TEXT NOT NULL, body BLOB NOT NULL, leaf BLOB NOT NULL, document BLOB NOT NULL) STRICT;
CREATE INDEX {0}.entries_period ON entries(period, kind, member) WHERE period <> '';
CREATE INDEX {0}.entries_state ON entries(state) WHERE state <> 0;
CREATE INDEX {0}.entries_kind ON entries(kind);
CREATE TABLE {0}.account_entries(
    account INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(account, seq)) STRICT, WITHOUT ROWID;
"""
"""To be formatted with the name of the database that they shall lie in."""

Row = tuple[int, bytes | str, int, int, str, str, int, str, str, str, str, bytes, bytes, bytes]
_COLUMNS = "seq, id, kind, state, period, member, at, expires, link, refers, moves, body, leaf, document"
_TYPES = (int, int, int, str, str, int, str, str, str, str, bytes, bytes, bytes)  # all but the id
_STATES = tuple(EntryState)  # their codes in the table are the places in it: new ones go to the end
_CODES = {state: code for code, state in enumerate(_STATES)}


class EntryTable:
    """The log of one connection. What is added is written with its neighbours, by `write`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._names: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._quoted: dict[str, str] = {}  # number as text -> name as JSON
        self._fresh_names: list[tuple[int, str]] = []
        self._fresh: list[Row] = []
        self._fresh_accounts: list[tuple[int, int]] = []
        self._read_names()

    def add(self, seq: int, sealed: SealedEntry) -> None:
        """Adds the entry with number `seq`."""
        self._fresh.append(self.columns(seq, sealed))
        self._fresh_accounts += [(one, seq) for one in {self._numbers[p.account] for p in sealed.entry.postings}]

    def add_whole(self, row: EntryRow) -> None:
        """Adds an entry whose document cannot be made again from columns: as it is, and unjudged."""
        code = _CODES.get(cast("EntryState", row.state), len(_STATES))
        key = (row.seq, id_value(row.id), self._number(row.kind), code, row.period, row.member)
        self._fresh.append((*key, 0, *PLAIN, "", b"", row.leaf, row.document))

    def columns(self, seq: int, sealed: SealedEntry) -> Row:
        """Returns the row of an entry; names that are new get their numbers."""
        entry, (period, member) = sealed.entry, entry_period(sealed)
        numbers = self._numbers
        try:
            moves = ",".join([f"{numbers[p.account]},{numbers[p.asset]},{p.amount}" for p in entry.postings])
            kind = numbers[entry.kind]
        except KeyError:
            for name in (entry.kind, *(name for p in entry.postings for name in (p.account, p.asset))):
                self._number(name)
            return self.columns(seq, sealed)
        return (
            seq,
            id_value(entry.id),
            kind,
            _CODES[entry.state],
            period,
            member,
            entry.at,
            *rest_of(entry),
            moves,
            encode(entry.body) if entry.body else b"",
            sealed.leaf,
            b"",
        )

    def write(self) -> None:
        """Writes what was added since the last time.

        Raises:
            apsw.ConstraintError: a number or an id is there already.
        """
        if not self._fresh:
            return
        names, rows, accounts = self._fresh_names, self._fresh, sorted(self._fresh_accounts)
        self._fresh_names, self._fresh, self._fresh_accounts = [], [], []
        self._db.executemany("INSERT INTO names VALUES(?,?)", names)
        self._db.executemany("INSERT INTO entries VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)", rows)
        self._db.executemany("INSERT INTO account_entries VALUES(?,?)", accounts)

    def select(self, where: str, values: Sequence[Value]) -> Iterator[EntryRow]:
        """Yields the entries that a condition finds.

        Raises:
            RowDamaged: a value has another type than the table declares.
        """
        sql = f"SELECT {_COLUMNS} FROM entries {where}"  # noqa: S608 -- texts of this package
        for row in self._db.execute(sql, values):
            yield self.entry_row(row)

    def accounts(self) -> Iterator[tuple[int, str]]:
        """Yields (entry number, account) of `account_entries` in order of the entries."""
        for row in self._db.execute("SELECT seq, account FROM account_entries ORDER BY seq"):
            seq, account = cast("tuple[int, int]", row)
            yield seq, self._name(account)

    def trial_balance(self, until: Instant) -> dict[tuple[str, str], int]:
        """Returns what everything booked before `until` adds up to, by (account, asset) in order, without zeros.

        Raises:
            ValueError: a row's postings are damaged.
        """
        moving = ",".join(str(_CODES[state]) for state in MOVING)
        sql = f"SELECT at, moves FROM entries WHERE state IN ({moving}) AND moves <> ''"  # noqa: S608 -- numbers
        sums: dict[tuple[str, str], int] = {}
        for at, moves in cast("Iterator[tuple[Instant, str]]", self._db.execute(sql)):
            if at < until:
                parts = iter(moves.split(","))
                for account, asset, amount in zip(parts, parts, parts, strict=True):
                    sums[account, asset] = sums.get((account, asset), 0) + int(amount)
        named = {(self._name(int(account)), self._name(int(asset))): held for (account, asset), held in sums.items()}
        whole = (row.sealed().entry for row in self.select("WHERE document <> x''", ()))
        for key, held in trial_balance(((one.at, one.postings) for one in whole if one.state in MOVING), until).items():
            named[key] = named.get(key, 0) + held
        return {key: named[key] for key in sorted(named) if named[key]}

    def identities(self) -> list[tuple[str, bytes]]:
        """Returns (id, leaf) of every entry in order."""
        rows = cast(
            "list[tuple[bytes | str, bytes]]", self._db.execute("SELECT id, leaf FROM entries ORDER BY seq").fetchall()
        )
        return [(_id_text(id), leaf) for id, leaf in rows]

    def number(self, name: str) -> int:
        """Returns the number of a kind, an account or an asset, -1 for one that no entry has named."""
        if name not in self._numbers:
            self._read_names()
        return self._numbers.get(name, -1)

    def entry_row(self, row: tuple[object, ...]) -> EntryRow:
        """Returns a row of the table as an entry with its document.

        Raises:
            RowDamaged: a value has another type than the table declares.
        """
        types = tuple(map(type, row))
        if (types[0], *types[2:]) != _TYPES or types[1] not in (bytes, str):
            raise RowDamaged(f"entries row {row[0]!r} holds {[kind.__name__ for kind in types]}")
        seq, id, kind, code, period, member, at, expires, link, refers, moves, body, leaf, document = cast("Row", row)
        name, text = self._name(kind), _id_text(id)
        state = _STATES[code].value if 0 <= code < len(_STATES) else f"?{code}"
        if not document:
            plain, rest = (body or b"{}").decode(errors="replace"), (expires, link, refers)
            document = document_of(str(at), plain, text, encode_basestring(name), self._postings(moves), state, rest)
        return EntryRow(seq, text, name, state, period, member, document, leaf)

    def _postings(self, moves: str) -> str:
        """Returns the JSON of postings; texts that are none as they are, so that they match no hash."""
        if not moves:
            return ""
        parts = moves.split(",")
        if len(parts) % 3:
            return moves
        name = self._quoted_name
        return ",".join(
            [f'[{name(a)},{name(s)},"{n}"]' for a, s, n in zip(parts[::3], parts[1::3], parts[2::3], strict=True)]
        )

    def _quoted_name(self, number: str) -> str:
        if number not in self._quoted:
            self._read_names()
        return self._quoted.get(number, f'"?{number}"')

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = max(self._names, default=0) + 1
            self._fresh_names.append((number, name))
            self._remember(number, name)
        return number

    def _name(self, number: int) -> str:
        if number not in self._names:  # another connection may have added it
            self._read_names()
        return self._names.get(number, f"?{number}")

    def _read_names(self) -> None:
        for number, name in cast("list[tuple[int, str]]", self._db.execute("SELECT id, name FROM names").fetchall()):
            self._remember(number, name)

    def _remember(self, number: int, name: str) -> None:
        self._names[number] = name
        self._numbers[name] = number
        self._quoted[str(number)] = encode_basestring(name)


def id_value(text: str) -> bytes | str:
    """Returns an entry's id as it stands in the table: 16 bytes, or a text that is no UUIDv7."""
    return bytes.fromhex(text.replace("-", "")) if is_entry_id(text) else text


def _id_text(value: bytes | str) -> str:
    if isinstance(value, str):
        return value
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
