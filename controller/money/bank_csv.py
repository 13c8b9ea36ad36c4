"""A bank's or a mobile-money operator's file: lines that can be booked, and every line that cannot, named."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from controller.money.cashbook import CashBook, ref_key
from controller.money.desk import parse_money

FIELDS = ("date", "amount", "ref", "member")
DATES = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%Y/%m/%d", "%d.%m.%y", "%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M:%S")
SEPARATORS = (",", ";", "\t", "|")
LINES_MAX = 100_000
HEADER_MAX = 40
"""Rows in which the header is looked for: some banks write the account and the days above it."""
_NO_VALUE = {ord(sign): None for sign in "\t \u00a0\u202f\u2009'\u2019€$£"} | {0x2212: "-", 0x2013: "-"}
"""Blanks, group signs and currency signs say nothing of an amount; a typeset minus is a minus."""


class Reader(Protocol):
    """What `csv.reader` makes."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...
    def __next__(self) -> list[str]: ...


class BadMap(ValueError):
    """The file has no such column, or a field that every payment needs is not mapped."""


@dataclass(frozen=True, slots=True)
class BankLine:
    """One incoming payment, ready to be booked."""

    line: int  # in the file, from 1
    date: str  # ISO 8601
    amount: str  # decimal text
    ref: str
    member: str


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be booked, and why."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class BankFile:
    """What a file holds; `skipped` counts lines of money that went out."""

    lines: tuple[BankLine, ...]
    bad: tuple[BadLine, ...]
    skipped: int


def parse_map(text: str) -> dict[str, str]:
    """Returns field -> column of `date=Buchungstag,amount=Betrag,ref=Referenz,member=Verwendungszweck`.

    Raises:
        BadMap: not of this form, or a field is missing or unknown.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    found = {field.strip(): column.strip() for field, _, column in pairs}
    unknown = [field for field in found if field not in FIELDS]
    missing = [field for field in FIELDS if not found.get(field)]
    if unknown or missing:
        words = [f"{', '.join(unknown)} is no field"] * bool(unknown)
        words += [f"{', '.join(missing)} is missing"] * bool(missing)
        raise BadMap(f"{'; '.join(words)}; write date=COLUMN,amount=COLUMN,ref=COLUMN,member=COLUMN")
    return found


def decoded(data: bytes) -> str:
    """Returns a file's text: UTF-8 or UTF-16 by its mark, UTF-8 without one, else the old Western encoding of banks."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def read_bank(text: str, columns: Mapping[str, str], book: CashBook, decimal: str) -> BankFile:
    """Returns the payments in a file's text; the member column may hold more words than the member's id.

    Raises:
        BadMap: a mapped column is not in the file, or its quotes do not pair.
    """
    reader, header = _table(text, columns)
    lines, bad, skipped = list[BankLine](), list[BadLine](), 0
    seen: dict[str, int] = {}
    for number, row in _rows(reader):
        if number > LINES_MAX:
            bad.append(BadLine(number, f"more than {LINES_MAX} lines; split the file"))
            break
        if not any(cell.strip() for cell in row):
            continue
        if any(cell.strip() for cell in row[len(header) :]):
            message = f"{len(row)} fields under {len(header)} columns: a separator stands in a field without quotes"
            bad.append(BadLine(number, message))
            continue
        named = dict(zip(header, row, strict=False))
        fields = {field: named.get(column, "").strip() for field, column in columns.items()}
        amount = amount_text(fields["amount"], decimal, book.currency)
        if amount.startswith("-"):
            skipped += 1
            continue
        outcome = _line(number, fields, amount, book)
        if isinstance(outcome, BankLine) and (same := ref_key(outcome.ref)) in seen:
            outcome = BadLine(number, f"reference {outcome.ref!r} stands on line {seen[same]} too")
        if isinstance(outcome, BadLine):
            bad.append(outcome)
        else:
            seen[ref_key(outcome.ref)] = number
            lines.append(outcome)
    return BankFile(tuple(lines), tuple(bad), skipped)


def _table(text: str, columns: Mapping[str, str]) -> tuple[Reader, list[str]]:
    """Returns a reader that stands behind the header, and the header: the first row with every mapped column."""
    best: list[str] = []
    for separator in SEPARATORS:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        for header in _heads(reader):
            if set(columns.values()) <= set(header):
                return reader, header
            best = max(best, header, key=lambda found: (len(set(found) & set(columns.values())), len(found)))
    if not best:
        raise BadMap("the file is empty: it has no line of column names")
    absent = [column for column in columns.values() if column not in best]
    raise BadMap(f"the file has no column {', '.join(absent)}; it has {', '.join(best)}")


def _heads(reader: Reader) -> Iterator[list[str]]:
    """Yields what may be the header; with another file's separator the quotes need not pair."""
    try:
        for _, (_, row) in zip(range(HEADER_MAX), _rows(reader), strict=False):
            yield [name.strip() for name in row]
    except BadMap:
        return


def _rows(reader: Reader) -> Iterator[tuple[int, list[str]]]:
    """Yields (line on which it ends, fields) of each row."""
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise BadMap(f"line {reader.line_num}: {error}; a quote is missing or stands inside a field") from error


def _line(number: int, fields: Mapping[str, str], amount: str, book: CashBook) -> BankLine | BadLine:
    problems: list[str] = []
    try:
        parse_money(amount, book.minor_digits)
    except ValueError as error:
        problems.append(f"amount {error}" if amount else f"amount {fields['amount']!r} is none in {book.currency}")
    date = _date(fields["date"])
    if not date:
        problems.append(f"date {fields['date']!r} is none: 2026-06-30 or 30.06.2026")
    if not fields["ref"]:
        problems.append("reference is empty: without it the line could be booked twice")
    members = _members(fields["member"], book.accounts())
    if len(members) != 1:
        problems.append(f"{fields['member']!r} names {'no member' if not members else ' and '.join(members)}")
    if problems:
        return BadLine(number, "; ".join(problems))
    return BankLine(number, date, amount, fields["ref"], members[0])


def _members(text: str, members: Sequence[str]) -> list[str]:
    """Returns the members whose id stands in a text as a word of its own."""
    words = "".join(letter if letter.isalnum() or letter in "-_." else " " for letter in text.lower()).split()
    return [member for member in members if member in (word.strip(".") for word in words)]


def amount_text(text: str, decimal: str, currency: str) -> str:
    """Returns `1234.50` of `1.234,50` or `+1 234.50 EUR`, `-3.00` of `(3.00)` or `3.00-`; '' where it is no amount.

    Whatever is not understood is no amount: what a file says must never be booked as something else.
    """
    kept = text.upper().replace(currency, "").translate(_NO_VALUE)
    sign, kept = ("-", kept[1:-1]) if kept.startswith("(") and kept.endswith(")") else ("", kept)
    if kept[:1] in ("+", "-"):
        sign, kept = sign + kept[0], kept[1:]
    elif kept[-1:] in ("+", "-"):
        sign, kept = sign + kept[-1], kept[:-1]
    group = "." if decimal == "," else ","
    whole = rf"\d+|\d{{1,3}}(?:{re.escape(group)}\d{{3}})+"
    found = re.fullmatch(rf"({whole})(?:{re.escape(decimal)}(\d+))?", kept, re.ASCII)
    if found is None or len(sign) > 1:
        return ""
    digits, fraction = found[1].replace(group, ""), found[2]
    return ("-" if sign == "-" else "") + digits + ("" if fraction is None else f".{fraction}")


def _date(text: str) -> str:
    for form in DATES:
        try:
            return f"{datetime.strptime(text, form):%Y-%m-%d}"  # noqa: DTZ007 - a bank's file names civil days
        except ValueError:
            continue
    return ""
