"""`atoll release DEVICE --reason TEXT`."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.remote import command, data_dir_option


@click.command()
@click.argument("device")
@click.option("--reason", default="done", show_default=True, help="Why.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the hub's answer as JSON.")
def release(device: str, reason: str, data_dir: Path | None, as_json: bool) -> None:
    """End the hold on DEVICE before it expires."""
    command(data_dir, {"ask": "release", "device": device, "reason": reason}, as_json)
