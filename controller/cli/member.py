"""`atoll member join|leave|export|erase`: registers at both ends of a membership, and a person's own data."""

from __future__ import annotations

import json
from pathlib import Path

import click

from controller.cli.desk import ask_desk, tell
from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_option

DATA_DIR = click.option("--data-dir", type=click.Path(path_type=Path), required=True, help="The hub's data directory.")

DEVICE = click.option(
    "--device", "devices", multiple=True, metavar="DEVICE", help="Also readings of what stood in their home."
)


@click.group()
def member() -> None:
    """Note who joins and leaves with which registers; give a member all its data, or erase them."""


@member.command()
@click.argument("who", metavar="MEMBER")
@DATA_DIR
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Writes OUTPUT.json, OUTPUT.txt and OUTPUT.csv (live readings).",
)
@DEVICE
def export(who: str, data_dir: Path, output: Path, devices: tuple[str, ...]) -> None:
    """Write everything of MEMBER: entries, bills, records, balances, and the live readings of its meters. Reads only.

    Its meters, and when they were its own, are known from the ledger; name inverter, charger etc. with --device.
    """
    from controller.cli.remote import ledger_file
    from controller.shell.member_data import UnknownMember, own_spans, write_export
    from controller.shell.member_data import export as collect
    from controller.shell.member_readings import write_readings
    from controller.store.ledger_file import NotALedger

    try:
        document = collect(ledger_file(data_dir), who)
        paths = write_export(document, output)
        table = output.with_suffix(".csv")
        count = write_readings(data_dir, own_spans(ledger_file(data_dir), who, devices), table)
    except UnknownMember as error:
        raise Refusal(str(error), hint=f"atoll ledger show {data_dir} lists the accounts") from error
    except NotALedger as error:
        raise Refusal(str(error), hint=f"atoll ledger verify {data_dir} says more") from error
    except OSError as error:
        raise Refusal(f"{output} cannot be written: {error.strerror}", ExitCode.CONFIG) from error
    click.echo(f"{paths[0]} and {paths[1]}: everything of {who} in this ledger")
    click.echo(f"{table}: {count} live readings")


@member.command()
@click.argument("who", metavar="MEMBER")
@DATA_DIR
@click.option("--with-balance", is_flag=True, help="Although it still owes or is owed money.")
@DEVICE
@click.option(
    "--copy",
    "copies",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Also from this backup, or copy of keys.db, that lies elsewhere.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as one JSON object.")
def erase(
    *,
    who: str,
    data_dir: Path,
    with_balance: bool,
    devices: tuple[str, ...],
    copies: tuple[Path, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Destroy keys, words, records and live readings of MEMBER, who has left; stop the hub first. Cannot be undone.

    Its meters, and when they were its own, are known from the ledger; name inverter, charger etc. with --device.
    Backups in the data directory are written anew without its readings and keys; name others with --copy.
    """
    from controller.cli.remote import ledger_file
    from controller.shell.journal import JournalDamaged
    from controller.shell.member_data import StillMember, StillOpen, UnknownMember
    from controller.shell.member_data import erase as destroy
    from controller.shell.restored import Withheld
    from controller.store.ledger_file import NotALedger
    from devices.clock import Instant
    from devices.shell.data_lock import AlreadyRunning, DataLock

    path = ledger_file(data_dir)
    if not yes:
        click.confirm(f"Destroy all data of {who} in {data_dir}, for good?", abort=True)
    try:
        lock = DataLock(data_dir, "hub")
    except AlreadyRunning as error:
        raise Refusal(f"{error}; its ledger has one writer", ExitCode.RETRY, hint="stop the hub first") from error
    try:
        from time import time_ns

        now = Instant(time_ns() // 1_000_000)
        receipt = destroy(path.parent, who, now, with_balance=with_balance, devices=devices, copies=copies)
    except UnknownMember as error:
        raise Refusal(str(error), hint=f"atoll ledger show {data_dir} lists the accounts") from error
    except (StillMember, StillOpen, Withheld) as error:
        raise Refusal(str(error), ExitCode.UNSAFE) from error
    except (NotALedger, JournalDamaged) as error:
        raise Refusal(str(error), ExitCode.CONFIG, hint=f"atoll ledger verify {data_dir} says more") from error
    finally:
        lock.close()
    if as_json:
        fields = {"member": who, "receipt": receipt.entry, "bodies": receipt.payloads, "records": receipt.records}
        rest = {"keys": receipt.keys, "readings": receipt.chunks}
        copies_now = {"cleaned": [*map(str, receipt.cleaned)], "left": [*map(str, receipt.left)]}
        click.echo(json.dumps({"schema": 1, **fields, **rest, **copies_now}))
    else:
        click.echo(f"{who}: {receipt.payloads} bodies, {receipt.records} records and {receipt.keys} keys are destroyed")
        click.echo(f"{receipt.chunks} chunks of live readings are destroyed; the hub clears the broker when it starts")
        for one in receipt.cleaned:
            click.echo(f"without readings and keys of {who} now: {one}")
        for one in receipt.left:
            click.echo(f"may still hold live readings, delete it yourself: {one}")
        click.echo(f"receipt {receipt.entry} in the log; old copies of ledger.db cannot be read for {who} any more")


REGISTER = click.option(
    "--register",
    "registers",
    multiple=True,
    metavar="METER=IN[/OUT]",
    required=True,
    help="What the meter shows, in kWh or m3; repeat it for every meter.",
)


@member.command()
@click.argument("who", metavar="MEMBER")
@REGISTER
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def join(who: str, registers: tuple[str, ...], data_dir: Path | None, as_json: bool) -> None:
    """Note the opening registers of MEMBER, whom the site file names; one who had left is a member again."""
    tell(ask_desk(data_dir, {"do": "member-join", "member": who, "registers": _registers(registers)}), as_json)


@member.command()
@click.argument("who", metavar="MEMBER")
@REGISTER
@click.option("--on", "day", default="", metavar="DAY", help="First day without them (default: tomorrow).")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def leave(who: str, registers: tuple[str, ...], day: str, data_dir: Path | None, as_json: bool) -> None:
    """Note the closing registers of MEMBER, who leaves at the midnight that begins DAY; a final bill follows."""
    request = {"do": "member-leave", "member": who, "on": day, "registers": _registers(registers)}
    tell(ask_desk(data_dir, request), as_json)


def _registers(texts: tuple[str, ...]) -> dict[str, list[int]]:
    from decimal import Decimal, InvalidOperation

    found: dict[str, list[int]] = {}
    for text in texts:
        point, _, values = text.partition("=")
        imported, _, exported = values.partition("/")
        scale = 6 if point.endswith(".water") else 3
        try:
            wanted = [Decimal(one or "0").scaleb(scale) for one in (imported, exported)]
            whole = [int(one) for one in wanted if one.is_finite() and one == one.to_integral_value()]
        except InvalidOperation:
            whole = []
        if not point or not imported or len(whole) != 2:
            raise Refusal(
                f"{text!r} is not METER=IN or METER=IN/OUT", ExitCode.USAGE, hint="home-01=1234.567/20.5 in kWh"
            )
        found[point] = whole
    return found
