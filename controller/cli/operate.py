"""`atoll operate DEVICE 0|1 --reason TEXT`: select, show what would happen, operate."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.field import hub_runs
from controller.cli.gateways import ask_gateway, gateway_dir_option, gateway_of, tell
from controller.cli.remote import ask_hub

Step = Callable[[str], Mapping[str, object]]
"""`select` or `operate` -> the answer of whoever is asked."""


@click.command()
@click.argument("device")
@click.argument("value", type=click.Choice(["0", "1"]))
@click.option("--reason", required=True, help="Why; it stands in the log.")
@click.option("--yes", is_flag=True, help="Do not ask; the selection is made and used in one go.")
@gateway_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON (needs --yes).")
def operate(device: str, value: str, reason: str, yes: bool, data_dir: Path | None, as_json: bool) -> int:
    """Open (0) or close (1) a breaker, or launch (1) a drone that waits for it, in two steps.

    The first step reserves it for 20 s and shows what would happen; the second does it. A breaker is operated at its
    gateway where that runs on this machine, else by way of the hub. Interlocks and lock-out tags hold for both.
    """
    if as_json and not yes:
        raise Refusal("--json cannot ask", ExitCode.USAGE, hint="add --yes")
    step = _step(device, value, reason, data_dir)
    selected = step("select")
    if not selected.get("accepted"):
        return tell(selected, as_json)
    if not yes:
        click.echo(str(selected.get("message")))
        click.confirm("Do it now?", abort=True)
    return tell(step("operate"), as_json)


def _step(device: str, value: str, reason: str, data_dir: Path | None) -> Step:
    """Returns how to take a step: at the gateway of this machine, else at the hub.

    Raises:
        Refusal: neither answers, or neither knows the device.
    """
    try:
        path = gateway_of(data_dir, device)
    except Refusal:
        if not hub_runs(data_dir):
            raise
        return _hub_step(device, value, reason, data_dir)
    name = secrets.token_hex(8)
    request = {"device": device, "value": int(value), "id": name, "reason": reason}
    return lambda step: ask_gateway(path, {"ask": step, **request})


def _hub_step(device: str, value: str, reason: str, data_dir: Path | None) -> Step:
    selection = ""

    def step(which: str) -> Mapping[str, object]:
        nonlocal selection
        request = {"ask": "operate", "device": device, "value": int(value), "step": which, "reason": reason}
        answer = ask_hub(data_dir, {**request, "selection": selection})
        selection = str(answer.get("id", ""))
        return answer

    return step
