"""What the command line says when it cannot do what was asked: one short text and an exit code, never a traceback."""

from __future__ import annotations

from enum import IntEnum
from typing import IO, Any

import click


class ExitCode(IntEnum):
    """Exit codes of `atoll`; scripts may rely on them."""

    OK = 0
    FINDINGS = 1  # it ran, and what it looked at is not all right
    USAGE = 2
    CONFIG = 3  # a site file, profile or installation that cannot be used
    UNREACHABLE = 4  # a hub, gateway, broker or device did not answer
    PERMISSION = 5
    UNSAFE = 6  # refused because a rule or interlock forbids it
    RETRY = 75  # may work later, unchanged
    INTERRUPTED = 130
    READER_GONE = 141  # whoever read the output, `head` say, had enough: what every Unix program gives


class Refusal(click.ClickException):
    """An expected failure of a verb: `message` says what, which object and what was seen; `hint` what to do."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FINDINGS, *, hint: str = "") -> None:
        super().__init__(message)
        self.exit_code = int(code)  # pyright: ignore[reportAttributeAccessIssue] - click reads it from the instance
        self.hint = hint

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the message, and the hint below it, to `file` (default: stderr)."""
        click.echo(f"atoll: {self.format_message()}", file=file, err=file is None)
        for line in self.hint.splitlines():
            click.echo(f"       {line}", file=file, err=file is None)
