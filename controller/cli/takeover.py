"""`atoll takeover BACKUP`: this gateway's machine becomes the hub."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option


@click.command()
@click.argument("backup", type=click.Path(path_type=Path, exists=True))
@data_dir_option
@click.option("--keys", type=click.Path(path_type=Path, exists=True), help="What `atoll backup --keys` wrote.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def takeover(backup: Path, *, data_dir: Path | None, keys: Path | None, as_json: bool) -> None:
    """Make this machine the hub from the last BACKUP; its gateway keeps running.

    The hub's epoch begins a new term: whatever the old hub still sends, or sends again when it comes back, gateways
    refuse. Gateways send again what these books lack, acknowledged or not, as far as they keep it (100,000 records).
    Payments, holds and notes since the backup are lost: back up every day.
    """
    from controller.shell.backup import BadBackup
    from controller.shell.takeover import NotTakenOver, take_over

    folder = data_dir_of(data_dir).absolute()
    try:
        done = take_over(backup, folder, keys, int(time.time()))
    except BadBackup as error:
        raise Refusal(str(error), ExitCode.CONFIG, hint="atoll restore BACKUP --check   (another copy?)") from error
    except NotTakenOver as error:
        raise Refusal(str(error), ExitCode.UNSAFE, hint="nothing was changed") from error
    except OSError as error:
        raise Refusal(f"not taken over: {error}", ExitCode.CONFIG, hint="is there space? atoll doctor") from error
    if as_json:
        click.echo(json.dumps({"schema": 1, "ok": True, "made": done.made, "entries": done.entries,
                               "epoch": done.epoch, "gateways": done.gateways, "keys": done.keys}))  # fmt: skip
        return
    click.echo(f"{folder}: the hub of {done.made}, ledger of {done.entries} entries, epoch {done.epoch}")
    if not done.keys:
        click.echo("without --keys the log goes on under a new key: members will be told that it changed")
    click.echo("next, 1: sudo ./atoll service install SITE --broker-listen 0.0.0.0 --listen 0.0.0.0")
    click.echo("next, 2: give this machine the old hub's name or address, so that the other gateways find the broker")
    click.echo("gateways send the records since then again; payments, holds and notes since then are lost")
    click.echo("next, 3: atoll status   (every gateway online?), then atoll ledger verify, and a new backup")
