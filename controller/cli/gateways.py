"""Asking a gateway that runs on this machine: finding its socket, one place for errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of

_UNSAFE = {"not-open", "locked-out", "not-selected", "other-selection", "select-first"}

gateway_dir_option: Callable[[Callable[..., int]], Callable[..., int]] = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=None,
    help="The gateway's data directory, or the one above it (default: $ATOLL_DATA or ./data).",
)


def gateway_of(data_dir: Path | None, device: str = "", interlock: str = "") -> Path:
    """Returns the socket of the gateway that has this output or interlock.

    Raises:
        Refusal: no gateway answers, or none of those that do has it.
    """
    from devices.shell.control_socket import Unreachable, ask

    folder = data_dir_of(data_dir)
    known: list[str] = []
    answered = False
    for path in sorted((folder / "gateway.sock", *folder.glob("*/gateway.sock"))):
        try:
            state = ask(path, {"ask": "status"})
        except Unreachable:
            continue
        answered = True
        outputs = [str(row["device"]) for row in cast("list[Mapping[str, object]]", state.get("outputs", []))]
        rules = [str(row["id"]) for row in cast("list[Mapping[str, object]]", state.get("interlocks", []))]
        if device in outputs or interlock in rules:
            return path
        known += rules if interlock else outputs
    if not answered:
        hint = "this verb works at the gateway: log in there, and name its --data-dir"
        raise Refusal(f"no gateway answers in {folder}", ExitCode.UNREACHABLE, hint=hint)
    raise Refusal(
        f"{device or interlock!r} is not at this gateway", ExitCode.USAGE, hint=f"there are {', '.join(known)}"
    )


def ask_gateway(path: Path, request: Mapping[str, object]) -> Mapping[str, object]:
    """Returns a gateway's answer.

    Raises:
        Refusal: it does not answer, or refuses.
    """
    from devices.shell.control_socket import Unreachable, ask

    try:
        answer = ask(path, request)
    except Unreachable as error:
        raise Refusal(f"no gateway answers at {path} ({error})", ExitCode.UNREACHABLE) from error
    if "error" in answer:
        raise Refusal(str(answer["error"]))
    return answer


def tell(answer: Mapping[str, object], as_json: bool) -> int:
    """Prints a gateway's answer and returns its exit code.

    Raises:
        Refusal: it refused, and no JSON was asked for.
    """
    if as_json:
        click.echo(json.dumps(answer))
    elif answer.get("accepted"):
        click.echo(str(answer.get("message")))
    if answer.get("accepted"):
        return ExitCode.OK
    code = str(answer.get("code"))
    exit_code = ExitCode.UNSAFE if code in _UNSAFE else ExitCode.FINDINGS
    if code == "forbidden":
        exit_code = ExitCode.PERMISSION
    if as_json:
        return exit_code
    raise Refusal(f"refused ({code}): {answer.get('message')}", exit_code)
