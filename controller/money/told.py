"""What the book refuses, in the words of the desk: receipts and proposals by number, coins, civil time."""

from __future__ import annotations

from controller.civil import moment_text
from controller.entry_words import amount_words
from controller.ledger.orders import AmountOf, At, EntryOf, Part, Rejection
from controller.money.cashbook import CashBook, Receipt


def told(rejection: Rejection, book: CashBook) -> str:
    """Returns a rejection's message as a treasurer reads it."""
    return "".join(_said(part, book) for part in rejection.parts) or rejection.message


def _said(part: Part, book: CashBook) -> str:
    match part:
        case EntryOf(id=id):
            known = book.by_id.get(id)
            return str(part) if known is None else f"{_kind(known)} {known.number}"
        case AmountOf(amount=amount, asset=asset):
            return amount_words(asset, amount, book.minor_digits)
        case At(instant=instant):
            return moment_text(book.timezone, instant)
        case str():
            return part


def _kind(known: object) -> str:
    return "receipt" if isinstance(known, Receipt) else "proposal"
