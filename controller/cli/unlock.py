"""`atoll unlock DEVICE`: takes one's own lock-out tag off."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.gateways import ask_gateway, gateway_dir_option, gateway_of, tell


@click.command()
@click.argument("device")
@click.option("--reason", default="", help="What was done.")
@click.option("--holder-is-gone", "force", is_flag=True, help="Take off another's tag: only after looking for them.")
@gateway_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as JSON.")
def unlock(device: str, reason: str, force: bool, data_dir: Path | None, as_json: bool) -> int:
    """Take your lock-out tag off DEVICE; it stays off until hub or hand set it again."""
    path = gateway_of(data_dir, device)
    return tell(ask_gateway(path, {"ask": "unlock", "device": device, "reason": reason, "force": force}), as_json)
