"""`atoll ack ALARM`."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.remote import command, data_dir_option


@click.command()
@click.argument("alarm")
@click.option("--note", default="", help="What was seen or done.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the hub's answer as JSON.")
def ack(alarm: str, note: str, data_dir: Path | None, as_json: bool) -> None:
    """Acknowledge ALARM (its id stands in `atoll status`)."""
    command(data_dir, {"ask": "acknowledge", "alarm": alarm, "note": note}, as_json)
