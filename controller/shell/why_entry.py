"""Why a bill, an entry or a refusal is as it is: the clause, what went in, and the arithmetic. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.civil import moment_text
from controller.clauses_text import HELD, KINDS, arithmetic, clause_of
from controller.entry_words import INSTANTS, amount_words, register_words
from controller.ledger.canonical import Json
from controller.ledger.entries import Entry, EntryState, SealedEntry, is_entry_id, totals
from controller.ledger.sealing import is_shut, shown
from controller.settlement.bills import decimal_text, minor_text
from controller.settlement.closed_days import CORRECTION_REFUSED
from controller.settlement.published import CHARTER, Published
from controller.settlement.run_names import FINAL, name_in
from controller.settlement.runs import BILL, RUN_DAY, SETTLE_DAY, parse_line
from controller.shell.settlement_runs import Settled
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_rows import EntryRow
from devices.clock import Instant


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
        charters = [rules.charter for rules in self._published.rules.values()]
        newest = charters[-1] if charters else None
        self._zone = "UTC" if newest is None else newest.timezone
        self._currency, self._digits = ("", 2) if newest is None else (newest.currency, newest.minor_digits)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def bill(self, identity: str) -> Why:
        """Returns why a bill is what it is; `identity` is its entry's number or id, or MEMBER/PERIOD.

        Raises:
            NothingThere: no such bill stands, or its member's key is gone.
        """
        member, _, period = identity.partition("/")
        row = self._row(identity)
        if period:
            found = [one for one in self._file.of_period(period, (BILL,)) if one.member == member]
            row = next((one for one in reversed(found) if one.state == "posted" and one.id not in self._undone), None)
        if row is None or row.kind != BILL:
            raise NothingThere(
                f"there is no bill {identity!r}: give MEMBER/PERIOD (home-01/2026-06) or its entry's number"
            )
        entry = row.sealed().entry
        body = entry.body
        if is_shut(body):
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
            text
            for day, found in live.items()
            if (own := found.get((SETTLE_DAY, row.member))) is not None
            for text in self._day_inputs(day, own.entry)
        ]
        points = {str(one[0]) for found in live.values() for one in _inputs_of(found.get((SETTLE_DAY, row.member)))}
        undone = " (it was reversed later)" if row.id in self._undone else ""
        what = f"bill of {row.member} for {row.period}: {minor_text(amount, charter)}, entry {row.seq}{undone}"
        rounding = f"rounding {charter.rounding}, bill_period {charter.bill_period}"
        inputs += [text for point in sorted(points) for text in self._replaced(point)]
        return Why(what + self._again(body), (*clauses, rounding), tuple(inputs), (*sums, total))

    def entry(self, identity: str) -> Why:
        """Returns why an entry stands in the log; `identity` is its number or its id.

        Raises:
            NothingThere: there is none.
        """
        row = self._row(identity)
        if row is None:
            raise NothingThere(
                f"there is no entry {identity!r}; `atoll ledger show` lists the newest with their numbers"
            )
        entry = row.sealed().entry
        clause, inputs = KINDS.get(entry.kind, ("no clause of the charter: an entry of the log's own", "see its body"))
        named = [str(entry.body[key]) for key in ("clause",) if key in entry.body]
        by = [f"charter {self._charter(str(entry.body['charter']))}"] if "charter" in entry.body else []
        refers = (
            [f"{entry.state.value} of {self._named(entry.refers)}: {shown(entry.body, 'reason')}"]
            if entry.refers
            else []
        )
        facts = [
            f"{key} = {self._fact(key, value)}"
            for key, value in entry.body.items()
            if not isinstance(value, list | Mapping)
        ]
        moved = [f"{one.account} {self._amount(one.asset, one.amount)}" for one in entry.postings]
        sums = [f"sum of {asset} = {self._amount(asset, total)}" for asset, total in totals(entry.postings).items()]
        steps = [str(step) for step in _list(entry.body, "arithmetic")]
        at = moment_text(self._zone, entry.at)
        what = f"entry {row.seq}: {entry.kind} ({entry.state.value}) at {at}, id {entry.id}"
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
                what = f"record of {point}, meter epoch {epoch}, page {page}: refused, entry {row.seq}"
                clause = "the first content of a page stands"
                yield Why(what, (clause,), (f"{_hash(body)} of what came later",), ("the first content is billed",))

    def _held(self, parts: list[str]) -> Iterator[Why]:
        day, point = parts
        for row in self._file.of_period(day, (CORRECTION_REFUSED,)):
            body = row.sealed().entry.body
            if point in _list(body, "points"):
                what = f"what came late of {point} for {day}: not settled, entry {row.id}"
                yield Why(what, ("the day stands as it was settled",), (str(body["text"]),), ("no entry is changed",))
        run = self._settled.live(day, (RUN_DAY,)).get((RUN_DAY, ""))
        for row in [] if run is None else _list(run.entry.body, "held"):
            if isinstance(row, list) and row[0] == point and run is not None:
                why = str(row[1])
                meaning, end = HELD.get(why, ("", "look at the meter"))
                what = f"meter {point} on {day}: held back ({why}), {self._named(run.entry.id)}"
                late = "late_window_h, and the validation of registers"
                done = "0 Wh shared and billed until a correction; it shows as losses meanwhile"
                yield Why(what, (late,), (f"{why}: {meaning}", f"what ends it: {end.format(point=point)}"), (done,))

    def _row(self, identity: str) -> EntryRow | None:
        """Returns the entry of a number or an id."""
        return self._file.entry(int(identity)) if identity.isdecimal() else self._file.by_id(identity)

    def _named(self, id: str) -> str:
        row = self._file.by_id(id)
        return f"entry {id if row is None else row.seq}"

    def _amount(self, asset: str, amount: int) -> str:
        return amount_words(asset, amount, self._digits)

    def _fact(self, key: str, value: Json) -> str:
        """Returns a field of a body as people read it: instants in civil time, money in coins, entries by number."""
        text = str(value)
        if key in INSTANTS and text.isdecimal():
            return moment_text(self._zone, Instant(int(text)))
        if key in ("amount", "exact") and text.lstrip("-").isdecimal():
            scale = 10**15 if key == "exact" else 10**self._digits
            return f"{decimal_text(int(text), scale)} {self._currency}"
        if is_entry_id(text) and (row := self._file.by_id(text)) is not None:
            return f"entry {row.seq}"
        return text if len(text) <= 100 else f"{text[:100]}…"

    def _day_inputs(self, day: str, own: Entry) -> Iterator[str]:
        """Yields what went into a member's day, and which of its meters were held back."""
        yield f"{day}: {self._named(own.id)}, its records {_records(own.body)}{self._again(own.body)}"
        for row in _list(own.body, "held"):
            if isinstance(row, list):
                point, why = str(row[0]), str(row[1])
                meaning = HELD.get(why, ("", ""))[0]
                yield f"{day}: meter {point} is held back, nothing of it is billed yet: {why}, {meaning}"
                yield f"{day}: atoll why refusal {day}/{point} says what ends it"

    def _replaced(self, point: str) -> Iterator[str]:
        """Yields the exchanges of a meter that are stated in the log."""
        water = any(point in one.water_points for rules in self._published.rules.values() for one in rules.members)
        for step in self._settled.evidence.replaced.get(point, {}).values():
            closing, opening = (
                ", ".join(
                    f"{way} {register_words(register, water=water)}"
                    for way, register in zip(("import", "export"), pair, strict=True)
                )
                for pair in (step.closing, step.opening)
            )
            yield f"meter {point} was replaced; the old one closed at {closing}; the new one began at {opening}"

    def _again(self, body: Mapping[str, Json]) -> str:
        """Returns which re-settlement wrote a body, '' for the first run."""
        run, before = name_in(body), body.get("replaces")
        if run in ("", FINAL):
            return ""
        return f"; settled again ({run})" + (f" in place of {self._named(str(before))}" if before else "")

    def _charter(self, name: str) -> str:
        rules = self._published.rules.get(name)
        if rules is None:
            return f"entry {name}"
        vote = (
            f", passed by vote of {self._named(self._published.votes[name])}" if name in self._published.votes else ""
        )
        since = moment_text(rules.charter.timezone, rules.charter.valid_from)
        return f"version {rules.charter.version} from {since}, {self._named(name)}{vote}"


def _inputs_of(day: SealedEntry | None) -> list[list[Json]]:
    return [] if day is None else [row for row in _list(day.entry.body, "inputs") if isinstance(row, list)]


def _hash(body: Mapping[str, Json]) -> str:
    return f"hash {body['leaf']}" if "leaf" in body else f"salted hash {body.get('salted')}"


def _records(body: Mapping[str, Json]) -> str:
    rows = [row for row in _list(body, "inputs") if isinstance(row, list) and len(row) in (3, 4)]
    return ", ".join(f"{row[0]} {row[1]}" for row in rows)


def _list(body: Mapping[str, Json], key: str) -> list[Json]:
    value = body.get(key)
    return list(value) if isinstance(value, list) else []
