"""`atoll bill export|print|list`: the bundle that recomputes a bill, and the bill on paper; never writes the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.errors import ExitCode, Refusal

DATA_DIR = click.option(
    "--data-dir", type=click.Path(path_type=Path), required=True, help="The hub's data directory, or a ledger file."
)


@click.group()
def bill() -> None:
    """Hand out bills that their owners can recompute. Reads only; a running hub is not disturbed."""


@bill.command()
@click.argument("member")
@click.argument("period")
@DATA_DIR
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The bundle file to write.")
@click.option(
    "--since",
    type=click.Path(path_type=Path, exists=True),
    help="A checkpoint kept earlier: proves that the log grew from it.",
)
@click.option("--with-verifier", is_flag=True, help="Also write the program that judges it, beside it: one file.")
def export(*, member: str, period: str, data_dir: Path, output: Path, since: Path | None, with_verifier: bool) -> None:
    """Write MEMBER's bill of PERIOD (2026-06-02, 2026-W23 or 2026-06) with all it needs to be recomputed.

    Judge it with `python verifier/atoll_verify.py FILE`, or drop it on `verifier/verify.html`.
    """
    from controller.shell.verifier_file import NAME, write_verifier

    bundle = _bundle(data_dir, member, period, since)
    _write(output, bundle)
    click.echo(f"{output}: the bill of {member} for {period}, {len(bundle)} bytes")
    if with_verifier:
        program = output.with_name(NAME)
        try:
            write_verifier(program)
        except OSError as error:
            raise Refusal(f"{program} cannot be written: {error}", ExitCode.CONFIG) from error
        click.echo(f"{program}: judges it: python {program} {output} (needs the package `cryptography`)")


@bill.command(name="print")
@click.argument("member")
@click.argument("period")
@DATA_DIR
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The HTML page to write.")
@click.option("--name", default="", help="The name to print, if not the member's id alone.")
@click.option("--community", default="", metavar="NAME", help="Who sends the bill, if not the community's id alone.")
def print_(*, member: str, period: str, data_dir: Path, output: Path, name: str, community: str) -> None:
    """Write MEMBER's bill of PERIOD as a page to print, with a QR code of its proof."""
    from controller.cli.desk import Books
    from controller.shell.bill_paper import paper_bill

    bundle = _bundle(data_dir, member, period, None)
    books = Books(data_dir)
    books.close()
    page = paper_bill(bundle, name, community=community, due_days=books.book.rules.due_days)
    _write(output, page.encode())
    click.echo(f"{output}: the bill of {member} for {period}, to be printed from any browser")


def _write(output: Path, data: bytes) -> None:
    try:
        output.write_bytes(data)
    except OSError as error:
        raise Refusal(f"{output} cannot be written: {error.strerror}", ExitCode.CONFIG) from error


def _bundle(data_dir: Path, member: str, period: str, since: Path | None) -> bytes:
    from controller.cli.remote import ledger_file
    from controller.shell.bill_export import ForeignCheckpoint, NoSuchBill, NotSignedYet, export_bill
    from controller.store.ledger_file import NotALedger

    path = ledger_file(data_dir)
    try:
        return export_bill(path, member, period, "" if since is None else since.read_text())
    except NoSuchBill as error:
        hint = f"atoll bill list --data-dir {data_dir} names the bills that stand"
        raise Refusal(str(error), hint=hint) from error
    except NotSignedYet as error:
        raise Refusal(str(error), ExitCode.RETRY) from error
    except (ForeignCheckpoint, UnicodeDecodeError) as error:
        raise Refusal(f"{since}: {error}", ExitCode.CONFIG) from error
    except NotALedger as error:
        raise Refusal(str(error), hint=f"atoll ledger verify {data_dir} says more") from error


@bill.command(name="list")
@click.option("--member", default="", metavar="MEMBER", help="Only this member's.")
@DATA_DIR
def list_(member: str, data_dir: Path) -> None:
    """List the bills that stand, oldest first, with the run that made them (SF, R1, ...: docs/terms.md)."""
    from controller.cli.remote import ledger_file
    from controller.shell.bill_export import bills_with_runs
    from controller.store.ledger_file import NotALedger

    try:
        found = bills_with_runs(ledger_file(data_dir), member)
    except NotALedger as error:
        raise Refusal(str(error), hint=f"atoll ledger verify {data_dir} says more") from error
    for who, period, run in found:
        click.echo(f"{period}  {run:<2}  {who}")
    if not found:
        raise Refusal(f"no bill {'of ' + repr(member) if member else ''} stands yet".replace("  ", " "))
