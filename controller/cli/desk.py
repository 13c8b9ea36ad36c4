"""Asking the treasurer's desk: through the hub that runs, or in the data directory itself where none does."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import ask_if_running, data_dir_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.ledger.entries import Entry
    from controller.money.cashbook import CashBook
    from devices.clock import Instant

MINE = {"forbidden": ExitCode.PERMISSION, "not-approver": ExitCode.PERMISSION, "no-answer": ExitCode.RETRY}
"""Exit codes of what is not plainly refused (6)."""


class AmountCommand(click.Command):
    """A command that takes an amount: `-5` among its words is an amount that cannot be, not an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses the words.

        Raises:
            Refusal: a negative amount was given.
        """
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            amount = next((word for word in given if re.fullmatch(r"-\d[\d.,]*", word)), None)
            if amount is None or not error.option_name[1:].isdigit():
                raise
            raise Refusal(f"{amount!r} is not above zero: amounts are positive", ExitCode.USAGE) from error


def new_id() -> str:
    """Returns a fresh UUIDv7."""
    from controller.commands import command_id

    return command_id(time.time_ns() // 1_000_000, secrets.randbits(74))


def ask_desk(data_dir: Path | None, request: Mapping[str, object], id: str = "") -> Mapping[str, object]:
    """Returns the desk's answer (id, accepted, code, message), accepted or not.

    Raises:
        Refusal: neither a hub nor a ledger answers.
    """
    folder, id = data_dir_of(data_dir), id or new_id()
    answer = ask_if_running(folder, {"ask": "money", "id": id, "request": dict(request)}, timeout_s=30.0)
    return _offline(folder, id, request) if answer is None else answer


def _offline(folder: Path, id: str, request: Mapping[str, object]) -> Mapping[str, object]:
    import getpass
    from dataclasses import asdict

    from controller.shell.journal import JournalDamaged
    from controller.shell.offline_till import ask_offline
    from controller.store.ledger_file import NotALedger
    from devices.shell.data_lock import AlreadyRunning

    if not folder.is_dir():
        raise Refusal(f"there is no data directory {folder}", ExitCode.UNREACHABLE, hint="name it with --data-dir")
    try:
        return asdict(ask_offline(folder, id, getpass.getuser()[:40], request))
    except AlreadyRunning as error:
        raise Refusal(f"{error}; it does not answer yet", ExitCode.RETRY) from error
    except (NotALedger, JournalDamaged) as error:
        raise Refusal(str(error), ExitCode.UNREACHABLE, hint="a hub makes it on its first start") from error


def tell(answer: Mapping[str, object], as_json: bool, more: Mapping[str, object] | None = None) -> None:
    """Prints the desk's answer; a refusal ends with its exit code."""
    if as_json:
        click.echo(json.dumps({**answer, **(more or {})}))
    if not answer.get("accepted"):
        code = str(answer.get("code"))
        exit_code = MINE.get(code, ExitCode.UNSAFE)
        if as_json:
            raise SystemExit(int(exit_code))
        raise Refusal(f"refused ({code}): {answer.get('message')}", exit_code)
    if not as_json:
        click.echo(str(answer.get("message")))


class Books:
    """The committed ledger of a data directory, read-only: its cash book and its entries."""

    def __init__(self, data_dir: Path | None) -> None:
        from controller.cli.remote import ledger_file
        from controller.shell.till import CashReader
        from controller.store.ledger_file import LedgerFile, NotALedger
        from devices.clock import Instant

        folder = data_dir_of(data_dir)
        try:
            self._file = LedgerFile.read(ledger_file(folder))
        except NotALedger as error:
            raise Refusal(str(error), hint=f"atoll ledger verify {folder} says more") from error
        self.book: CashBook = CashReader.of(self._file).now()
        rows = self._file.latest(None, 1)
        self.newest: Instant = rows[0].sealed().entry.at if rows else Instant(0)

    def entries(self, account: str) -> Iterator[Entry]:
        """Yields the entries that touch an account, newest first."""
        for row in self._file.latest(None, 2**40, account):
            yield row.sealed().entry

    def trial(self, until: Instant) -> str:
        """Returns the root of the trial balance of everything booked before `until`."""
        from controller.ledger.trial import trial_root

        return trial_root(self._file.trial_balance(until))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def need_member(book: CashBook, member: str) -> None:
    """Checks that a member exists.

    Raises:
        Refusal: it does not.
    """
    if member not in book.members and member not in book.owes:
        raise Refusal(f"there is no member {member!r}", hint=f"members: {', '.join(book.members)}")


def write_out(text: str, output: Path | None) -> None:
    """Prints a text, or writes it into a file."""
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refusal(f"{output} cannot be written: {error.strerror}", ExitCode.CONFIG) from error
    click.echo(f"{output}: {len(text.encode())} bytes")
