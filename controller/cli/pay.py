"""`atoll pay MEMBER AMOUNT --method cash|bank|mobile --ref R`, and imports, receipts and cancellations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.desk import AmountCommand, Books, ask_desk, new_id, tell, write_out
from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.money.bank_csv import BankFile, BankLine

CHUNK = 100
METHOD = click.option("--method", type=click.Choice(["cash", "bank", "mobile"]), required=True, help="How it came.")


class _Pay(click.Group):
    """`pay MEMBER AMOUNT` is `pay take MEMBER AMOUNT`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts the sub-command in front where none is named."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["take", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Pay)
def pay() -> None:
    """Book money that members pay: `atoll pay MEMBER AMOUNT --method cash|bank|mobile --ref R`.

    Through the hub that runs, or in the data directory itself where none does. What is paid beyond what is owed is
    credit for the next bills.
    """


@pay.command(cls=AmountCommand)
@click.argument("member")
@click.argument("amount")
@METHOD
@click.option("--ref", default="", help="The payment's reference; cash may have none.")
@click.option("--note", default="", help="Anything to remember.")
@click.option("--id", "own_id", default="", help="A UUIDv7 of your own, so that a repeat books nothing twice.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def take(
    *, member: str, amount: str, method: str, ref: str, note: str, own_id: str, data_dir: Path | None, as_json: bool
) -> None:
    """Book a payment and print its numbered receipt."""
    request = {"do": "pay", "member": member, "amount": amount, "method": method, "ref": ref, "note": note}
    answer = ask_desk(data_dir, request, own_id)
    number = None
    if answer.get("accepted"):
        books = Books(data_dir)
        number = next((one.number for one in books.book.receipts if one.id == answer.get("id")), None)
        books.close()
    tell(answer, as_json, {} if number is None else {"receipt": number})


@pay.command()
@click.argument("number", type=int)
@data_dir_option
@click.option("--html", "as_html", is_flag=True, help="A page to print.")
@click.option("--community", default="", metavar="NAME", help="Who gives it, if not the community's id alone.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write it (default: print it).")
def receipt(number: int, data_dir: Path | None, as_html: bool, community: str, output: Path | None) -> None:
    """Print receipt NUMBER; the page (--html) has a line for the signature of who took the money."""
    from controller.money.receipts import receipt_html, receipt_text

    books = Books(data_dir)
    found = next((one for one in books.book.receipts if one.number == number), None)
    books.close()
    if found is None:
        raise Refusal(f"there is no receipt {number}", hint=f"{len(books.book.receipts)} receipts have been written")
    write_out((receipt_html if as_html else receipt_text)(found, books.book, community), output)


@pay.command()
@click.argument("number", type=int)
@click.option("--reason", required=True, help="Why: bounced, wrong member, ...")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def cancel(number: int, reason: str, data_dir: Path | None, as_json: bool) -> None:
    """Take receipt NUMBER back: an exact reversal, its number is not used again."""
    tell(ask_desk(data_dir, {"do": "cancel", "receipt": number, "reason": reason}), as_json)


@pay.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--map", "mapping", required=True, help="date=COLUMN,amount=COLUMN,ref=COLUMN,member=COLUMN")
@click.option("--method", type=click.Choice(["bank", "mobile"]), default="bank", show_default=True, help="Whose file.")
@click.option("--decimal", type=click.Choice([".", ","]), default=".", show_default=True, help="The decimal sign.")
@click.option("--skip-bad", is_flag=True, help="Book the good lines although some are bad.")
@click.option("--dry-run", is_flag=True, help="Book nothing.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_(
    *, file: Path, mapping: str, method: str, decimal: str, skip_bad: bool, dry_run: bool, data_dir: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Book the incoming payments of a bank's or mobile-money operator's CSV FILE.

    Every bad line is named, and nothing is booked while there is one. A line whose reference was booked before is
    refused, so a file may overlap the last one. Exit 1 if any line was not booked.
    """
    found = _read(file, mapping, decimal, data_dir)
    stop = dry_run or (bool(found.bad) and not skip_bad)
    answers = [] if stop else _book(found.lines, method, data_dir)
    booked = [text for code, text in answers if code in ("ok", "duplicate")]
    refused = [(line.line, code, text) for line, (code, text) in zip(found.lines, answers, strict=False)]
    refused = [row for row in refused if row[1] not in ("ok", "duplicate")]
    if as_json:
        document = {
            "schema": 1, "booked": len(booked), "outgoing": found.skipped,
            "bad": [{"line": one.line, "message": one.message} for one in found.bad],
            "refused": [{"line": line, "code": code, "message": text} for line, code, text in refused],
            "ready": len(found.lines),
        }  # fmt: skip
        click.echo(json.dumps(document, indent=2))
    else:
        for one in found.bad:
            click.echo(f"{file}:{one.line}: {one.message}")
        for line, code, text in refused:
            click.echo(f"{file}:{line}: refused ({code}): {text}")
        for text in booked:
            click.echo(text)
        what = f"{len(found.lines)} ready" if stop else f"{len(booked)} booked, {len(refused)} refused"
        click.echo(f"{what}, {len(found.bad)} bad, {found.skipped} outgoing")
    if found.bad or refused:
        raise SystemExit(int(ExitCode.FINDINGS))


def _read(file: Path, mapping: str, decimal: str, data_dir: Path | None) -> BankFile:
    from controller.money.bank_csv import BadMap, decoded, parse_map, read_bank

    books = Books(data_dir)
    books.close()
    try:
        return read_bank(decoded(file.read_bytes()), parse_map(mapping), books.book, decimal)
    except BadMap as error:
        raise Refusal(str(error), ExitCode.USAGE) from error
    except OSError as error:
        raise Refusal(f"{file} cannot be read: {error.strerror}", ExitCode.CONFIG) from error


def _book(lines: Sequence[BankLine], method: str, data_dir: Path | None) -> list[tuple[str, str]]:
    """Sends the lines in groups and returns (code, message) of each."""
    answers: list[tuple[str, str]] = []
    for start in range(0, len(lines), CHUNK):
        rows = [
            {"id": new_id(), "member": one.member, "amount": one.amount, "method": method, "ref": one.ref,
             "received": one.date}
            for one in lines[start : start + CHUNK]
        ]  # fmt: skip
        answer = ask_desk(data_dir, {"do": "import", "lines": rows})
        if not answer.get("accepted"):
            tell(answer, as_json=False)
        for text in str(answer.get("message")).splitlines():
            code, _, words = text.partition("\t")
            answers.append((code, words))
    return answers
