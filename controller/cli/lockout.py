"""`atoll lockout DEVICE --reason TEXT`: a tag that no hub, plan or colleague takes off."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.gateways import ask_gateway, gateway_dir_option, gateway_of, tell


@click.command()
@click.argument("device")
@click.option("--reason", required=True, help="What is being worked on; everybody sees it.")
@gateway_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as JSON.")
def lockout(device: str, reason: str, data_dir: Path | None, as_json: bool) -> int:
    """Lock DEVICE out at its gateway: it goes to its safe state and takes nothing until you `atoll unlock` it.

    The tag carries your login name, outlives restarts and works without network. It replaces no padlock: switch off,
    lock and test at the device itself too. A breaker must be open before it takes a tag.
    """
    path = gateway_of(data_dir, device)
    return tell(ask_gateway(path, {"ask": "lockout", "device": device, "reason": reason}), as_json)
