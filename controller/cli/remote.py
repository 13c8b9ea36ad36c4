"""Asking a running hub from the command line: one place for data directory, errors and expiry texts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from controller.cli.errors import ExitCode, Refusal

DATA_DIR = Path("data")

data_dir_option: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=None,
    help="The hub's data directory (default: $ATOLL_DATA or ./data).",
)


def data_dir_of(given: Path | None) -> Path:
    """Returns the data directory that a verb works on."""
    return given or Path(os.environ.get("ATOLL_DATA") or DATA_DIR)


def ask_hub(data_dir: Path | None, request: Mapping[str, object]) -> Mapping[str, object]:
    """Returns the running hub's answer.

    Raises:
        Refusal: no hub answers (4), or it refuses (1, 5 or 6).
    """
    from controller.shell.control import HubUnreachable, ask

    folder = data_dir_of(data_dir)
    try:
        answer = ask(folder, request)
    except HubUnreachable as error:
        raise Refusal(
            str(error), ExitCode.UNREACHABLE, hint="start one: atoll demo   (or name its --data-dir)"
        ) from error
    if "error" in answer:
        raise Refusal(str(answer["error"]))
    return answer


def ask_if_running(folder: Path, request: Mapping[str, object], timeout_s: float = 5.0) -> Mapping[str, object] | None:
    """Returns the running hub's answer, None where no hub runs.

    Raises:
        Refusal: it refuses (1).
    """
    from controller.shell.control import HubUnreachable, ask

    try:
        answer = ask(folder, request, timeout_s)
    except HubUnreachable:
        return None
    if "error" in answer:
        raise Refusal(str(answer["error"]))
    return answer


def command(data_dir: Path | None, request: Mapping[str, object], as_json: bool) -> None:
    """Sends a command and prints the hub's answer; a refusal ends with its exit code."""
    import json

    answer = ask_hub(data_dir, request)
    if as_json:
        click.echo(json.dumps(answer))
    if not answer.get("accepted"):
        code = {"forbidden": ExitCode.PERMISSION, "out-of-range": ExitCode.UNSAFE}.get(
            str(answer.get("code")), ExitCode.FINDINGS
        )
        if as_json:
            raise SystemExit(int(code))
        raise Refusal(f"refused ({answer.get('code')}): {answer.get('message')}", code)
    if not as_json:
        click.echo(str(answer.get("message")))


def duration_ms(text: str) -> int:
    """Returns the milliseconds of `90s`, `10m` or `2h`.

    Raises:
        Refusal: none of these.
    """
    found = re.fullmatch(r"(\d{1,5})\s*(s|m|min|h)", text.strip())
    if found is None or int(found.group(1)) == 0:
        raise Refusal(f"{text!r} is no duration", ExitCode.USAGE, hint="write 90s, 10m or 2h")
    return int(found.group(1)) * {"s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000}[found.group(2)]


def ledger_file(data_dir: Path) -> Path:
    """Returns the ledger file of a data directory (or the path itself, if it is a file).

    Raises:
        Refusal: there is none.
    """
    path = data_dir / "ledger.db" if data_dir.is_dir() else data_dir
    if not path.is_file():
        raise Refusal(f"there is no ledger in {data_dir}", ExitCode.CONFIG, hint="a hub makes it on its first start")
    return path
