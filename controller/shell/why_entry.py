"""Why a bill, an entry or a refusal is as it is: the clause, what went in, and the arithmetic. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.clauses_text import KINDS, arithmetic, clause_of
from controller.ledger.canonical import Json
from controller.ledger.entries import EntryState, totals
from controller.settlement.bills import decimal_text, minor_text
from controller.settlement.published import CHARTER, Published
from controller.settlement.runs import BILL, RUN_DAY, SETTLE_DAY, parse_line
from controller.shell.settlement_runs import Settled
from controller.store.ledger_file import LedgerFile
from devices.clock import iso


class NothingThere(LookupError):
    """No such bill, entry or refusal."""


@dataclass(frozen=True, slots=True)
class Why:
    """An answer in three parts, each a list of lines for a person."""

    what: str
    clauses: tuple[str, ...]
    inputs: tuple[str, ...]
    arithmetic: tuple[str, ...]

    def lines(self) -> list[str]:
        """Returns the answer as text."""
        parts = (("clause", self.clauses), ("input", self.inputs), ("arithmetic", self.arithmetic))
        rows = [f"  {name:<11} {row}" for name, texts in parts for row in texts]
        return [self.what, *rows]


class Reasons:
    """Answers from one ledger file."""

    def __init__(self, path: Path) -> None:
        self._file = LedgerFile.read(path)
        self._published = Published()
        for row in self._file.of_kind(CHARTER):
            self._published.absorb(row.sealed().entry)
        undone = {row.sealed().entry.refers for row in self._file.resolutions() if row.state == EntryState.REVERSAL}
        self._undone = undone
        self._settled = Settled(self._file, self._published, undone)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def bill(self, identity: str) -> Why:
        """Returns why a bill is what it is; `identity` is its entry's id, or MEMBER/PERIOD.

        Raises:
            NothingThere: no such bill stands, or its member's key is gone.
        """
        member, _, period = identity.partition("/")
        row = self._file.by_id(identity)
        if period:
            found = [one for one in self._file.of_period(period, (BILL,)) if one.member == member]
            row = next((one for one in reversed(found) if one.state == "posted" and one.id not in self._undone), None)
        if row is None or row.kind != BILL:
            raise NothingThere(f"there is no bill {identity!r}: give MEMBER/PERIOD (home-01/2026-06) or its entry's id")
        entry = row.sealed().entry
        body = entry.body
        if "sealed" in body:
            raise NothingThere(f"the key of {row.member} is not beside this ledger: erased, or a bare copy")
        days = [str(day) for day in _list(body, "days")]
        live = {day: self._settled.live(day, (SETTLE_DAY, RUN_DAY)) for day in days}
        charters = [str(found[RUN_DAY, ""].entry.body["charter"]) for found in live.values() if (RUN_DAY, "") in found]
        charter = self._published.rules[charters[-1]].charter
        lines = [parse_line(line) for line in _list(body, "lines") if isinstance(line, Mapping)]
        exact, amount = int(str(body["exact"])), int(str(body["amount"]))
        sums = [f"{line.text}: {arithmetic(line, charter.currency)}   {clause_of(line.text)}" for line in lines]
        total = f"sum {decimal_text(exact, 10**15)} {charter.currency}, rounded once: {minor_text(amount, charter)}"
        clauses = [self._charter(name) for name in dict.fromkeys(charters)]
        inputs = [
            f"{day}: entry {own.entry.id}, its records {_records(own.entry.body)}"
            for day, found in live.items()
            if (own := found.get((SETTLE_DAY, row.member))) is not None
        ]
        undone = " (it was reversed later)" if row.id in self._undone else ""
        what = f"bill of {row.member} for {row.period}: {minor_text(amount, charter)}, entry {row.id}{undone}"
        rounding = f"rounding {charter.rounding}, bill_period {charter.bill_period}"
        return Why(what, (*clauses, rounding), tuple(inputs), (*sums, total))

    def entry(self, identity: str) -> Why:
        """Returns why an entry stands in the log.

        Raises:
            NothingThere: there is none with this id.
        """
        row = self._file.by_id(identity)
        if row is None:
            raise NothingThere(f"there is no entry {identity!r}; `atoll ledger show` lists the newest")
        entry = row.sealed().entry
        clause, inputs = KINDS.get(entry.kind, ("no clause of the charter: an entry of the log's own", "see its body"))
        named = [str(entry.body[key]) for key in ("clause",) if key in entry.body]
        by = [f"charter {self._charter(str(entry.body['charter']))}"] if "charter" in entry.body else []
        refers = (
            [f"{entry.state.value} of entry {entry.refers}: {entry.body.get('reason', '')}"] if entry.refers else []
        )
        facts = [
            f"{key} = {_short(value)}" for key, value in entry.body.items() if not isinstance(value, list | Mapping)
        ]
        moved = [f"{one.account} {one.amount:+d} {one.asset}" for one in entry.postings]
        sums = [f"sum of {asset} = {total}" for asset, total in totals(entry.postings).items()]
        steps = [str(step) for step in _list(entry.body, "arithmetic")]
        what = f"entry {entry.id}: {entry.kind} ({entry.state.value}) at {iso(entry.at)}, number {row.seq}"
        return Why(what, (*(named or [clause]), *by), (inputs, *refers, *facts), (*steps, *moved, *sums))

    def refusal(self, identity: str) -> Why:
        """Returns why something did not count; `identity` is POINT/EPOCH/PAGE, or DAY/POINT of a meter.

        Raises:
            NothingThere: nothing of that name was refused.
        """
        parts = identity.split("/")
        found = list(self._records(parts) if len(parts) == 3 else self._held(parts) if len(parts) == 2 else ())
        if not found:
            raise NothingThere(f"nothing was refused as {identity!r}: give POINT/EPOCH/PAGE of a record, or DAY/POINT")
        return found[0]

    def _records(self, parts: list[str]) -> Iterator[Why]:
        point, epoch, page = parts
        for row, _ in self._file.refused():
            if [row.point, str(row.epoch), str(row.page)] == parts:
                what = f"record of {point}, meter epoch {epoch}, page {page}: refused"
                clause = "validation: a record that contradicts itself is never billed"
                yield Why(
                    what, (clause,), (f"the record's own fields: {row.reason}",), ("counted as 0, its page as taken",)
                )
        for row in self._file.of_kind("record.conflict"):
            body = row.sealed().entry.body
            if [str(body["usage_point"]), str(body["epoch"]), str(body["page"])] == parts:
                what = f"record of {point}, meter epoch {epoch}, page {page}: refused, entry {row.id}"
                clause = "the first content of a page stands"
                yield Why(
                    what, (clause,), (f"hash of what came later: {body['leaf']}",), ("the first content is billed",)
                )

    def _held(self, parts: list[str]) -> Iterator[Why]:
        day, point = parts
        run = self._settled.live(day, (RUN_DAY,)).get((RUN_DAY, ""))
        for row in [] if run is None else _list(run.entry.body, "held"):
            if isinstance(row, list) and row[0] == point and run is not None:
                what = f"meter {point} on {day}: held back ({row[1]}), run {run.entry.id}"
                late = "late_window_h, and the validation of registers"
                inputs = f"{run.entry.body['records']} records of all meters that day"
                done = "0 Wh shared and billed until a correction; it shows as losses meanwhile"
                yield Why(what, (late,), (inputs,), (done,))

    def _charter(self, name: str) -> str:
        rules = self._published.rules.get(name)
        if rules is None:
            return f"entry {name}"
        vote = f", passed by vote {self._published.votes[name]}" if name in self._published.votes else ""
        return f"version {rules.charter.version} from {iso(rules.charter.valid_from)}, entry {name}{vote}"


def _records(body: Mapping[str, Json]) -> str:
    rows = [row for row in _list(body, "inputs") if isinstance(row, list) and len(row) == 3]
    return ", ".join(f"{row[0]} {row[1]}" for row in rows)


def _list(body: Mapping[str, Json], key: str) -> list[Json]:
    value = body.get(key)
    return list(value) if isinstance(value, list) else []


def _short(value: Json) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}…"
