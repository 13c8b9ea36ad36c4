"""A bank's or a mobile-money operator's file: lines that can be booked, and every line that cannot, named."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from controller.money.cashbook import CashBook
from controller.money.desk import parse_money

FIELDS = ("date", "amount", "ref", "member")
DATES = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%Y/%m/%d", "%d.%m.%y", "%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M:%S")
SEPARATORS = (",", ";", "\t", "|")
LINES_MAX = 100_000


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
    """Returns a file's text: UTF-8, with or without a mark in front, else the old Western encoding of banks."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def read_bank(text: str, columns: Mapping[str, str], book: CashBook, decimal: str) -> BankFile:
    """Returns the payments in a file's text; the member column may hold more words than the member's id.

    Raises:
        BadMap: a mapped column is not in the file.
    """
    rows = text.splitlines()
    separator = max(SEPARATORS, key=(rows or [""])[0].count)
    reader = csv.DictReader(rows, delimiter=separator, restval="")
    header = [name.strip() for name in reader.fieldnames or ()]
    absent = [column for column in columns.values() if column not in header]
    if absent:
        raise BadMap(f"the file has no column {', '.join(absent)}; it has {', '.join(header)}")
    reader.fieldnames = header
    lines, bad, skipped = list[BankLine](), list[BadLine](), 0
    seen: dict[str, int] = {}
    for row in reader:
        number = reader.line_num
        if number > LINES_MAX:
            bad.append(BadLine(number, f"more than {LINES_MAX} lines; split the file"))
            break
        fields = {field: str(row.get(column) or "").strip() for field, column in columns.items()}
        if _plain(fields["amount"], decimal).startswith("-"):
            skipped += 1
            continue
        outcome = _line(number, fields, book, decimal)
        if isinstance(outcome, BankLine) and outcome.ref in seen:
            outcome = BadLine(number, f"reference {outcome.ref!r} stands on line {seen[outcome.ref]} too")
        if isinstance(outcome, BadLine):
            bad.append(outcome)
        else:
            seen[outcome.ref] = number
            lines.append(outcome)
    return BankFile(tuple(lines), tuple(bad), skipped)


def _line(number: int, fields: Mapping[str, str], book: CashBook, decimal: str) -> BankLine | BadLine:
    problems: list[str] = []
    amount = _plain(fields["amount"], decimal)
    try:
        parse_money(amount, book.minor_digits)
    except ValueError as error:
        problems.append(f"amount {error}")
    date = _date(fields["date"])
    if not date:
        problems.append(f"date {fields['date']!r} is none: 2026-06-30 or 30.06.2026")
    if not fields["ref"]:
        problems.append("reference is empty: without it the line could be booked twice")
    members = _members(fields["member"], tuple(book.members))
    if len(members) != 1:
        problems.append(f"{fields['member']!r} names {'no member' if not members else ' and '.join(members)}")
    if problems:
        return BadLine(number, "; ".join(problems))
    return BankLine(number, date, amount, fields["ref"], members[0])


def _members(text: str, members: Sequence[str]) -> list[str]:
    """Returns the members whose id stands in a text as a word of its own."""
    words = "".join(letter if letter.isalnum() or letter in "-_." else " " for letter in text.lower()).split()
    return [member for member in members if member in (word.strip(".") for word in words)]


def _plain(text: str, decimal: str) -> str:
    """Returns `1234.50` of `1.234,50` or `+1 234.50 EUR`."""
    group = "." if decimal == "," else ","
    kept = "".join(letter for letter in text if letter.isdigit() or letter in "+-.,")
    return kept.replace(group, "").replace(decimal, ".").removeprefix("+")


def _date(text: str) -> str:
    for form in DATES:
        try:
            return f"{datetime.strptime(text, form):%Y-%m-%d}"  # noqa: DTZ007 - a bank's file names civil days
        except ValueError:
            continue
    return ""
