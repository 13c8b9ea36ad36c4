"""`atoll rollback`: the release before, in force again."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option
from controller.cli.upgrade import machine, restart_option


@click.command()
@data_dir_option
@restart_option
@click.option(
    "--if-unconfirmed", is_flag=True, help="Only a release on trial that keeps dying (the services ask this)."
)
def rollback(*, data_dir: Path | None, restart: str, if_unconfirmed: bool) -> None:
    """Make the previous release the one in force again; the data stay as they are."""
    from controller.shell.upgrade import UpgradeRefused, go_back, unconfirmed_start

    data = data_dir_of(data_dir).absolute()
    try:
        if if_unconfirmed:
            back = unconfirmed_start(data)
            click.echo("nothing to undo" if back is None else f"back to {back.name}: the release on trial kept dying")
            return
        again = machine(restart)
        back = go_back(data)
    except UpgradeRefused as error:
        raise Refusal(str(error), ExitCode.CONFIG, hint="atoll service status names the release in force") from error
    again.restart()
    click.echo(f"{back.name} is in force again")
