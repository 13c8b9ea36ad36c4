"""Receipts as paper: numbered, with what a member needs to find the entry again."""

from __future__ import annotations

from html import escape

from controller.civil import moment_text
from controller.money.cashbook import CashBook, Receipt
from controller.money.desk import money_text
from controller.money.statement import page


def receipt_rows(receipt: Receipt, book: CashBook) -> list[tuple[str, str]]:
    """Returns (what, value) of a receipt."""
    rows = [
        ("Receipt", str(receipt.number)),
        ("Community", book.site),
        ("Date", moment_text(book.timezone, receipt.at)),
        ("Received from", receipt.member),
        ("Amount", money_text(receipt.amount, book)),
        ("By", receipt.method + (f", reference {receipt.ref}" if receipt.ref else "")),
        ("Taken by", receipt.by),
        ("Note", receipt.note),
        ("Ledger entry", f"{receipt.seq} ({receipt.id})"),
    ]
    if receipt.cancelled:
        rows.append(("CANCELLED", "this payment was taken back"))
    return [(what, value) for what, value in rows if value]


def receipt_text(receipt: Receipt, book: CashBook) -> str:
    """Returns the receipt for a terminal or a till printer."""
    return "\n".join(f"{what:<14} {value}" for what, value in receipt_rows(receipt, book))


def receipt_html(receipt: Receipt, book: CashBook) -> str:
    """Returns the receipt as a page to print."""
    rows = "".join(
        f"<tr><th>{escape(what)}</th><td>{escape(value)}</td></tr>" for what, value in receipt_rows(receipt, book)
    )
    return page(escape(f"{book.site}: receipt {receipt.number}"), f"<table>{rows}</table>")
