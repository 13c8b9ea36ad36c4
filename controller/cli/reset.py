"""`atoll reset INTERLOCK --reason TEXT`: lets a latched interlock go."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.gateways import ask_gateway, gateway_dir_option, gateway_of, tell


@click.command()
@click.argument("interlock")
@click.option("--reason", required=True, help="What was found and mended.")
@gateway_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as JSON.")
def reset(interlock: str, reason: str, data_dir: Path | None, as_json: bool) -> int:
    """Let INTERLOCK go after it has tripped and latched (a feeder trip); it acts again if its reading is still bad."""
    path = gateway_of(data_dir, interlock=interlock)
    return tell(ask_gateway(path, {"ask": "reset", "interlock": interlock, "reason": reason}), as_json)
