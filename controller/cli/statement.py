"""`atoll statement MEMBER YEAR`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from controller.cli.desk import Books, need_member, write_out
from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_option


@click.command()
@click.argument("member")
@click.argument("year")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--html", "as_html", is_flag=True, help="A page to print.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write it (default: print it).")
def statement(member: str, year: str, data_dir: Path | None, as_json: bool, as_html: bool, output: Path | None) -> None:
    """Print MEMBER's YEAR: every bill, payment and instalment with the balance after it; energy, water and loans.

    Reads only; a running hub is not disturbed.
    """
    from controller.money import statement as paper
    from controller.money.closing import ClosingRefused, period_bounds
    from controller.settlement.accounts import used_account

    books = Books(data_dir)
    try:
        need_member(books.book, member)
        bounds = period_bounds(year, books.book.timezone)
        energy = paper.quantities(books.entries(used_account(member)), member, bounds)
        made = paper.statement(books.book, member, year, energy)
    except ClosingRefused as error:
        raise Refusal(str(error), ExitCode.USAGE) from error
    finally:
        books.close()
    if as_json:
        write_out(json.dumps(paper.document(made, books.book), indent=2), output)
    else:
        write_out((paper.html if as_html else paper.text)(made, books.book), output)
