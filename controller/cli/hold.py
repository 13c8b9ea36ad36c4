"""`atoll hold DEVICE VALUE --for 10m --reason TEXT`."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.remote import command, data_dir_option, duration_ms


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("device")
@click.argument("value", type=float)
@click.option("--for", "lasting", required=True, help="How long: 90s, 10m, 2h; never without an end (24 h at most).")
@click.option("--reason", required=True, help="Why; it stands on every page and in the log.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the hub's answer as JSON.")
def hold(device: str, value: float, lasting: str, reason: str, data_dir: Path | None, as_json: bool) -> None:
    """Hold DEVICE at VALUE for a while.

    VALUE is W by the sign rule for battery, charger and genset (positive charges, a running genset is negative), 0 or 1
    for a pump, 0 to 1 for solar.
    """
    request = {"ask": "hold", "device": device, "value": value, "for_ms": duration_ms(lasting), "reason": reason}
    command(data_dir, request, as_json)
