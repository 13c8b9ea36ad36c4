"""`atoll treasury`: the community's own money, budgets, approvals, loans, work credits, closing a period."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.desk import AmountCommand, Books, ask_desk, tell
from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_option

if TYPE_CHECKING:
    from controller.ledger.identity import SigningKey
    from controller.money.arrears import Arrears
    from controller.money.cashbook import CashBook

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
AS = click.option("--as", "person", required=True, metavar="NAME", help="Who you are: an officer of the charter.")
KEY = click.option(
    "--key", type=click.Path(path_type=Path, exists=True), help="Your key file, if you have a key there."
)
PASSPHRASE = click.option("--passphrase", default="", envvar="ATOLL_PASSPHRASE", help="Of the key file.")
METHOD = click.option("--method", type=click.Choice(["cash", "bank", "mobile"]), required=True, help="How it moves.")


@click.group()
def treasury() -> None:
    """Keep the community's own money: accounts that everybody sees, budgets, spending by m of n approvals.

    Officers and how many of them must agree stand under [treasury] in the site file.
    """


@treasury.command()
@data_dir_option
@JSON
def show(data_dir: Path | None, as_json: bool) -> None:
    """Show accounts, budgets, proposals, loans and closed periods."""
    from controller.money.overview import overview, overview_text

    books = Books(data_dir)
    books.close()
    if as_json:
        click.echo(json.dumps(overview(books.book), indent=2))
    else:
        click.echo(overview_text(books.book))


@treasury.command(cls=AmountCommand)
@click.argument("name")
@click.argument("amount")
@click.option("--for", "purpose", required=True, help="What it is for.")
@data_dir_option
@JSON
def budget(name: str, amount: str, purpose: str, data_dir: Path | None, as_json: bool) -> None:
    """Propose to set AMOUNT aside for budget NAME (again: to add to it)."""
    tell(ask_desk(data_dir, {"do": "budget", "budget": name, "amount": amount, "purpose": purpose}), as_json)


@treasury.command(cls=AmountCommand)
@click.argument("amount")
@click.option("--budget", required=True, help="From which budget.")
@click.option("--to", required=True, help="Who gets it.")
@METHOD
@click.option("--for", "purpose", required=True, help="What for.")
@data_dir_option
@JSON
def propose(
    *, amount: str, budget: str, to: str, method: str, purpose: str, data_dir: Path | None, as_json: bool
) -> None:
    """Propose to spend AMOUNT; it is held back until enough officers agree, or the proposal expires."""
    request = {"do": "spend", "amount": amount, "budget": budget, "to": to, "method": method, "purpose": purpose}
    tell(ask_desk(data_dir, request), as_json)


@treasury.command(cls=AmountCommand)
@click.argument("member")
@click.argument("amount")
@click.option("--device", required=True, help="What the member gets.")
@click.option("--bills", type=click.IntRange(1, 240), required=True, help="With how many bills it is paid back.")
@data_dir_option
@JSON
def loan(*, member: str, amount: str, device: str, bills: int, data_dir: Path | None, as_json: bool) -> None:
    """Propose that MEMBER gets a device worth AMOUNT and pays it back with its bills."""
    request = {"do": "loan", "member": member, "amount": amount, "device": device, "bills": bills}
    tell(ask_desk(data_dir, request), as_json)


@treasury.command()
@click.argument("member")
@click.argument("amount")
@METHOD
@click.option("--ref", default="", help="The transfer's reference.")
@data_dir_option
@JSON
def payout(*, member: str, amount: str, method: str, ref: str, data_dir: Path | None, as_json: bool) -> None:
    """Propose to pay AMOUNT of MEMBER's credit out: what it has sold, or what is left when it leaves."""
    tell(
        ask_desk(data_dir, {"do": "payout", "member": member, "amount": amount, "method": method, "ref": ref}), as_json
    )


@treasury.command()
@click.argument("member")
@click.argument("credits", type=click.IntRange(1, 10_000))
@click.option("--for", "purpose", required=True, help="What was done.")
@data_dir_option
@JSON
def work(member: str, credits: int, purpose: str, data_dir: Path | None, as_json: bool) -> None:  # noqa: A002
    """Propose CREDITS for work that MEMBER has done, at the price that the charter in force names."""
    tell(ask_desk(data_dir, {"do": "work", "member": member, "credits": credits, "purpose": purpose}), as_json)


@treasury.command()
@click.argument("member")
@click.argument("hours", type=click.IntRange(1, 10_000))
@click.option("--for", "purpose", required=True, help="What the robots did.")
@data_dir_option
@JSON
def charge(member: str, hours: int, purpose: str, data_dir: Path | None, as_json: bool) -> None:
    """Propose that MEMBER pays for HOURS of robots at the price that the charter in force names."""
    tell(ask_desk(data_dir, {"do": "charge", "member": member, "credits": hours, "purpose": purpose}), as_json)


@treasury.command()
@click.argument("proposal", type=int)
@AS
@KEY
@PASSPHRASE
@data_dir_option
@JSON
def approve(
    *, proposal: int, person: str, key: Path | None, passphrase: str, data_dir: Path | None, as_json: bool
) -> None:
    """Agree to PROPOSAL; with the last approval that is needed the money moves."""
    request: dict[str, object] = {"do": "approve", "proposal": proposal, "as": person}
    if key is not None:
        request["signature"] = _sign(proposal, key, passphrase, data_dir)
    tell(ask_desk(data_dir, request), as_json)


@treasury.command()
@click.argument("proposal", type=int)
@AS
@click.option("--reason", required=True, help="Why.")
@data_dir_option
@JSON
def withdraw(proposal: int, person: str, reason: str, data_dir: Path | None, as_json: bool) -> None:
    """Take PROPOSAL back; what it held is free again."""
    tell(ask_desk(data_dir, {"do": "withdraw", "proposal": proposal, "as": person, "reason": reason}), as_json)


@treasury.command(cls=AmountCommand)
@click.argument("amount")
@METHOD
@click.option("--for", "purpose", required=True, help="What it is: a grant, a sale, an opening balance.")
@click.option("--ref", default="", help="Its reference.")
@data_dir_option
@JSON
def receive(*, amount: str, method: str, purpose: str, ref: str, data_dir: Path | None, as_json: bool) -> None:
    """Book AMOUNT that the community got from somebody who is no member."""
    request = {"do": "income", "amount": amount, "method": method, "purpose": purpose, "ref": ref}
    tell(ask_desk(data_dir, request), as_json)


@treasury.command()
@click.option("--at", "moment", default="", metavar="DATE", help="As of the end of this day (default: newest entry).")
@data_dir_option
@JSON
def arrears(moment: str, data_dir: Path | None, as_json: bool) -> None:
    """Show who is behind with paying, since when, and which step of the ladder that is."""
    from controller.money.arrears import arrears as overdue
    from controller.money.closing import ClosingRefused, period_end

    books = Books(data_dir)
    book = books.book
    books.close()
    try:
        now = period_end(moment, book.timezone) if moment else books.newest
    except ClosingRefused as error:
        raise Refusal(str(error), ExitCode.USAGE) from error
    found = overdue(book, now)
    if as_json:
        click.echo(json.dumps({"schema": 1, "arrears": [_fields(one, book) for one in found]}, indent=2))
        return
    for one in found:
        click.echo(_words(one, book))
    click.echo(f"{len(found)} members are behind" if found else "nobody is behind")


@treasury.command()
@click.argument("member")
@click.option("--note", required=True, help="What was done.")
@data_dir_option
@JSON
def done(member: str, note: str, data_dir: Path | None, as_json: bool) -> None:
    """Note what was done about the step of the arrears ladder on which MEMBER stands now: people carry it out."""
    tell(ask_desk(data_dir, {"do": "step-done", "member": member, "note": note}), as_json)


@treasury.command()
@click.argument("period")
@AS
@KEY
@PASSPHRASE
@data_dir_option
@JSON
def close(*, period: str, person: str, key: Path | None, passphrase: str, data_dir: Path | None, as_json: bool) -> None:
    """Close PERIOD (2026, 2026-06 or 2026-06-30) and all before it; the second of two people makes it final.

    Both compute the trial balance; afterwards nothing that moves an amount is booked before its end. An officer with a
    key signs with it; of two without, each works under a login of its own.
    """
    request: dict[str, object] = {"do": "close", "period": period, "as": person}
    if key is not None:
        request["signature"] = _sign_close(period, key, passphrase, data_dir)
    tell(ask_desk(data_dir, request), as_json)


def _sign(number: int, key: Path, passphrase: str, data_dir: Path | None) -> str:
    from controller.ledger.quorum import sign_approval

    books = Books(data_dir)
    books.close()
    found = next((one for one in books.book.proposals if one.number == number), None)
    if found is None:
        raise Refusal(f"there is no proposal {number}", hint="atoll treasury show lists them")
    return sign_approval(_key(key, passphrase), found.leaf)


def _sign_close(period: str, key: Path, passphrase: str, data_dir: Path | None) -> str:
    from controller.ledger.quorum import sign_close
    from controller.money.closing import ClosingRefused, period_end

    books = Books(data_dir)
    try:
        until = period_end(period, books.book.timezone)
        return sign_close(_key(key, passphrase), until, books.trial(until))
    except ClosingRefused as error:
        raise Refusal(str(error), ExitCode.USAGE) from error
    finally:
        books.close()


def _key(path: Path, passphrase: str) -> SigningKey:
    from controller.shell.key_file import KeyFileProblem, read_key_file

    try:
        return read_key_file(path, passphrase)
    except KeyFileProblem as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error


def _fields(one: Arrears, book: CashBook) -> dict[str, object]:
    from decimal import Decimal

    step = one.step
    return {
        "member": one.member, "amount": str(Decimal(one.amount).scaleb(-book.minor_digits)),
        "due": one.due, "days": one.days,
        "step": None if step is None else step.step,
        "keep_percent": None if step is None else step.keep_percent,
        "lifeline": "untouched", "lifeline_wh": one.lifeline[0], "lifeline_ml": one.lifeline[1],
    }  # fmt: skip


def _words(one: Arrears, book: CashBook) -> str:
    from controller.money.arrears import step_text
    from controller.money.desk import money_text

    done = "" if one.step is None else book.steps_done.get((one.member, one.step.step, one.due), "")
    words = step_text(one.step, one.lifeline) + (f" (done by {done})" if done else "")
    return f"{one.member:<14} {money_text(one.amount, book):>14} overdue for {one.days} days: {words}"
