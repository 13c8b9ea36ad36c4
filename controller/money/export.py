"""The whole ledger for other bookkeeping programs: beancount, hledger, and plain CSV.

Every entry that moves amounts is a transaction, and every account's balance in the end is asserted, so that the other
program finds any altered amount. Assets become commodities whose unit is whole: uWh, mL and minor money units.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from controller.civil import local_time
from controller.ledger.entries import MOVING, Entry, EntryState
from controller.ledger.sealing import ERASED_TEXT, is_shut
from controller.settlement.run_names import name_in

FORMATS = ("beancount", "hledger", "csv", "ocmf")
Balances = Mapping[tuple[str, str], int]
Numbered = Iterable[tuple[int, Entry]]


@dataclass(frozen=True, slots=True)
class ExportHead:
    """What the export says of the ledger that it is of."""

    site: str
    timezone: str
    size: int
    root: str  # hex, of the tree over all entries


def commodity(asset: str) -> str:
    """Returns `ENERGY-UWH`, `WATER-ML` or `EUR-MINOR` of an asset: at most 24 letters, as beancount wants it."""
    known = {"energy": "ENERGY-UWH", "water": "WATER-ML"}
    return known.get(asset) or _word(asset.removeprefix("money:").upper() + "-MINOR")


def account_name(account: str) -> str:
    """Returns a ledger account as beancount and hledger name it: `Assets:Member:Home-01:Owes`.

    Positive balances are received or owed to the community, so all of them lie under Assets: signs stay as they are.
    """
    return "Assets:" + ":".join(_segment(part) for part in account.split(":"))


def beancount(head: ExportHead, moved: Numbered, balances: Balances) -> Iterator[str]:
    """Yields the lines of a beancount file; `bean-check` accepts it, and no altered one."""
    yield f'option "title" "{head.site}"'
    yield from (f"; {line}" for line in _about(head))
    yield 'option "infer_tolerance_from_cost" "FALSE"'
    first, last, lines = None, date(1970, 1, 1), list[str]()
    for seq, entry in moved:
        day = max(_day(head, entry), last)  # an entry may name an earlier day than the one before it in the log
        first, last = first or day, day
        lines.append(f'{day} * "{entry.kind}" "{_text(entry)}"')
        lines += [f'  entry: "{seq}"', f'  id: "{entry.id}"', *(f'  {key}: "{word}"' for key, word in _run(entry))]
        lines += [f"  {account_name(p.account)}  {p.amount} {commodity(p.asset)}" for p in entry.postings]
    opened = sorted({account_name(account) for account, _ in balances})
    yield from (f"{first or last} open {name}" for name in opened)
    yield from lines
    for (account, asset), held in sorted(balances.items()):
        yield f"{last + timedelta(days=1)} balance {account_name(account)}  {held} ~ 0 {commodity(asset)}"


def hledger(head: ExportHead, moved: Numbered, balances: Balances) -> Iterator[str]:
    """Yields the lines of an hledger journal; `hledger check --strict` accepts it, and no altered one."""
    yield from (f"; {line}" for line in _about(head))
    for name in sorted({commodity(asset) for _, asset in balances}):
        yield f'commodity 1000. "{name}"'
    yield from (f"account {name}" for name in sorted({account_name(account) for account, _ in balances}))
    last = date(1970, 1, 1)
    for seq, entry in moved:
        last = max(_day(head, entry), last)
        yield ""
        yield f"{last} * ({seq}) {entry.kind} | {_text(entry)}  ; " + ", ".join(
            f"{key}: {word}" for key, word in [("id", entry.id), *_run(entry)]
        )
        yield from (f'    {account_name(p.account)}  {p.amount} "{commodity(p.asset)}"' for p in entry.postings)
    yield ""
    yield f"{last + timedelta(days=1)} * balances of entry {head.size - 1}"
    for (account, asset), held in sorted(balances.items()):
        yield f'    {account_name(account)}  0 "{commodity(asset)}" = {held} "{commodity(asset)}"'


def csv_lines(head: ExportHead, moved: Numbered) -> Iterator[str]:
    """Yields one row per posting; amounts are whole numbers of the asset's smallest unit."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="")
    for row in _csv_rows(head, moved):
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(row)
        yield buffer.getvalue()


def _csv_rows(head: ExportHead, moved: Numbered) -> Iterator[tuple[str | int, ...]]:
    head_row = "entry", "id", "date", "at_ms", "kind", "state", "refers", "account", "asset", "amount", "text"
    yield *head_row, "run", "replaces"
    for seq, entry in moved:
        day, words, run = str(_day(head, entry)), _text(entry), dict(_run(entry))
        for p in entry.postings:
            yield (
                seq, entry.id, day, entry.at, entry.kind, entry.state.value, entry.refers, p.account, p.asset, p.amount,
                words, run.get("run", ""), run.get("replaces", ""),
            )  # fmt: skip


def moving(entries: Numbered) -> Iterator[tuple[int, Entry]]:
    """Yields the entries that move amounts for good: not what is only pending, or was taken back before."""
    return ((seq, entry) for seq, entry in entries if entry.postings and entry.state in MOVING)


def _about(head: ExportHead) -> tuple[str, ...]:
    return (
        f"ledger of {head.site}: {head.size} entries, root {head.root}",
        "amounts are whole: uWh, mL, minor units of money; positive is received by, or owed by, the account",
    )


def _day(head: ExportHead, entry: Entry) -> date:
    return local_time(head.timezone, entry.at).date()


def _text(entry: Entry) -> str:
    body = entry.body
    about = " ".join(str(body[key]) for key in ("member", "day", "period") if body.get(key))
    words = f"{about} {ERASED_TEXT}".strip() if is_shut(body) else body.get("text") or body.get("reason") or about
    undone = "reversal: " if entry.state is EntryState.REVERSAL else ""
    return "".join(letter for letter in f"{undone}{words}" if letter.isprintable() and letter not in '"\\;|')


def _run(entry: Entry) -> list[tuple[str, str]]:
    """Returns (`run`, its name) and (`replaces`, an entry's id), where a settlement run wrote the entry."""
    found = [("run", name_in(entry.body)), ("replaces", str(entry.body.get("replaces", "")))]
    return [(key, word) for key, word in found if word and entry.state is EntryState.POSTED]


def _segment(text: str) -> str:
    word = _word(text)
    return word[:1].upper() + word[1:]


def _word(text: str) -> str:
    """Returns letters, digits and hyphens only; what else there is keeps a code of its own, so names stay apart."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c == "-") else f"-x{ord(c):x}-" for c in text)
    return plain if plain[:1].isalnum() else f"X{plain}"
