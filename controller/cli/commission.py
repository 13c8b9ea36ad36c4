"""`atoll commission DEV`: puts a device into service, E-stop first, and leaves a signed record to print."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.edited import site_option
from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_option

if TYPE_CHECKING:
    from devices.commissioning import Check

KEY = click.option("--key", type=click.Path(path_type=Path), help="The technician's key file (atoll key new FILE).")
PASSPHRASE = click.option("--passphrase", envvar="ATOLL_PASSPHRASE", default="", help="Of the key file.")


@click.command()
@click.argument("id")
@site_option
@data_dir_option
@click.option("--by", default="", help="Who puts it into service.")
@click.option("--known", multiple=True, metavar="POINT=VALUE", help="Read off its display: import_wh=123.4kWh, W=-830.")
@click.option("--estop", type=click.Choice(["works", "fails"]), help="What pressing the E-stop did (outputs only).")
@click.option(
    "--trips",
    type=click.Choice(["inside", "outside"]),
    help="What its display or certificate says of [[grid.trip_limit]], where the wire does not show its trip settings.",
)
@click.option("--watch", default=10.0, show_default=True, type=click.FloatRange(0, 3600), help="Seconds of watching.")
@KEY
@PASSPHRASE
@click.option("--yes", is_flag=True, help="Ask nothing; what is not given stays open.")
@click.option("--verify", is_flag=True, help="ID is a record's file: check its signature, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the record; asks nothing.")
def commission(  # noqa: PLR0913 - one argument per option
    id: str,
    *,
    site: Path,
    data_dir: Path | None,
    by: str,
    known: tuple[str, ...],
    estop: str | None,
    trips: str | None,
    watch: float,
    key: Path | None,
    passphrase: str,
    yes: bool,
    verify: bool,
    as_json: bool,
) -> None:
    """Check the device ID before it is trusted: E-stop, plausibility, and each value against its own display.

    Passed: it is armed (read_only goes from the site file). Anything failed or open: it is not, and stays read-only.
    The record is signed by --key, or by the gateway's key in --data-dir. Exit 0 passed, 1 not, 4 no answer.
    """
    from controller.cli.commissioning import Answers, Session

    if verify:
        _verify(Path(id), as_json)
        return
    if not by:
        raise Refusal("who puts it into service?", ExitCode.USAGE, hint="--by NAME; it stands in the record")
    session = Session(id, site, data_dir, by, quiet=yes or as_json)
    session.take_key(key, passphrase)
    session.give(known)
    checks = session.run(Answers(estop, trips), watch)
    record, page, armed = session.finish(checks)
    if as_json:
        click.echo(json.dumps({"schema": 1, "ok": session.passed, "armed": armed, "checks": _rows(checks),
                               "record": str(record), "page": str(page)}, indent=2))  # fmt: skip
    else:
        _show(checks)
        click.echo(f"{id}: {'passed' if session.passed else 'NOT passed'}" + (f"; {armed}" if armed else ""))
        click.echo(f"record: {record}   to print: {page}")
        if session.passed and session.spec.driver.startswith("mqtt:"):
            click.echo(session.broker_login())
    if not session.passed:
        click.get_current_context().exit(int(ExitCode.FINDINGS))


def _rows(checks: Sequence[Check]) -> list[Mapping[str, object]]:
    return [{"name": c.name, "state": c.state, "read": c.read, "known": c.known, "said": c.said} for c in checks]


def _show(checks: Sequence[Check]) -> None:
    for check in checks:
        read = "" if check.read is None else f"{check.read:g}"
        known = "" if check.known is None else f"{check.known:g}"
        click.echo(f"  {check.state:<8}{check.name:<16}{read:>12}{known:>12}  {check.said}")


def _verify(path: Path, as_json: bool) -> None:
    from controller.cli.check import read_text
    from controller.ledger.identity import BadSignature
    from controller.shell.commission_record import checked

    try:
        signer, document = checked(json.loads(read_text(path)))
    except (BadSignature, ValueError) as error:
        raise Refusal(f"{path}: {error}", hint="the record was altered, or is none") from error
    if as_json:
        click.echo(json.dumps({"schema": 1, "ok": True, "signer": signer, "document": dict(document)}, indent=2))
    else:
        click.echo(
            f"{path}: {document.get('device')}, {document.get('result')}, by {document.get('by')}; {signer[:60]}"
        )
