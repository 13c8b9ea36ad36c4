"""Receipts as paper: numbered, with what a member needs to find the entry again."""

from __future__ import annotations

from html import escape

from controller.civil import moment_text
from controller.money.cashbook import CashBook, Receipt
from controller.money.desk import money_text
from controller.money.statement import page

SIGNATURE = "<br><br>Signature of who took the money: ______________________________"


def receipt_rows(receipt: Receipt, book: CashBook, community: str = "") -> list[tuple[str, str]]:
    """Returns (what, value) of a receipt; `community` is its name, which no ledger knows (default: its id)."""
    rows = [
        ("Receipt", str(receipt.number)),
        ("Community", community or book.site),
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


def receipt_text(receipt: Receipt, book: CashBook, community: str = "") -> str:
    """Returns the receipt for a terminal or a till printer."""
    return "\n".join(f"{what:<14} {value}" for what, value in receipt_rows(receipt, book, community))


def receipt_html(receipt: Receipt, book: CashBook, community: str = "") -> str:
    """Returns the receipt as a page to print and to sign."""
    rows = "".join(
        f"<tr><th>{escape(what)}</th><td>{escape(value)}</td></tr>"
        for what, value in receipt_rows(receipt, book, community)
    )
    title = escape(f"{community or book.site}: receipt {receipt.number}")
    return page(title, f"<table>{rows}</table><p>{SIGNATURE}</p>")
