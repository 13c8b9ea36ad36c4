"""`atoll bill export|list`: the bundle with which a household recomputes its own bill; never writes the ledger."""

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
def export(member: str, period: str, data_dir: Path, output: Path, since: Path | None) -> None:
    """Write MEMBER's bill of PERIOD (2026-06-02, 2026-W23 or 2026-06) with all it needs to be recomputed.

    Judge it with `python verifier/atoll_verify.py FILE`, or drop it on `verifier/verify.html`.
    """
    from controller.cli.ledger import ledger_file
    from controller.shell.bill_export import ForeignCheckpoint, NoSuchBill, NotSignedYet, export_bill
    from controller.store.ledger_file import NotALedger

    path = ledger_file(data_dir)
    try:
        bundle = export_bill(path, member, period, "" if since is None else since.read_text())
    except NoSuchBill as error:
        hint = f"atoll bill list --data-dir {data_dir} names the bills that stand"
        raise Refusal(str(error), hint=hint) from error
    except NotSignedYet as error:
        raise Refusal(str(error), ExitCode.RETRY) from error
    except (ForeignCheckpoint, UnicodeDecodeError) as error:
        raise Refusal(f"{since}: {error}", ExitCode.CONFIG) from error
    except NotALedger as error:
        raise Refusal(str(error), hint=f"atoll ledger verify {data_dir} says more") from error
    try:
        output.write_bytes(bundle)
    except OSError as error:
        raise Refusal(f"{output} cannot be written: {error.strerror}", ExitCode.CONFIG) from error
    click.echo(f"{output}: the bill of {member} for {period}, {len(bundle)} bytes")


@bill.command(name="list")
@click.option("--member", default="", metavar="MEMBER", help="Only this member's.")
@DATA_DIR
def list_(member: str, data_dir: Path) -> None:
    """List the bills that stand, oldest first."""
    from controller.cli.ledger import ledger_file
    from controller.shell.bill_export import list_bills
    from controller.store.ledger_file import NotALedger

    try:
        found = list_bills(ledger_file(data_dir), member)
    except NotALedger as error:
        raise Refusal(str(error), hint=f"atoll ledger verify {data_dir} says more") from error
    for who, period in found:
        click.echo(f"{period}  {who}")
    if not found:
        raise Refusal(f"no bill {'of ' + repr(member) if member else ''} stands yet".replace("  ", " "))
