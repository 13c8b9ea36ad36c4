"""A gateway's Pi becomes the hub: a backup's books beside its own outbox, under an epoch the old hub cannot reach.

An epoch is term x 2^40 + a count that never lies below the clock's seconds. A takeover begins the next term, so the old
hub, however often it is started again, stays below: gateways refuse its setpoints for good.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import apsw

from controller.shell.backup import MANIFEST, unpack
from controller.shell.data_dir import HUB, LEDGER
from controller.store.member_keys import KEYS
from controller.store.sqlite import Database
from devices.bounded_json import BadJson, parse
from devices.shell.data_lock import AlreadyRunning, DataLock
from devices.shell.run_clock import write_whole

TERM_BITS = 40
OUTBOX = "outbox.db"


class NotTakenOver(RuntimeError):
    """Nothing was changed; the text says why."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a takeover did."""

    made: str  # when the backup was made
    entries: int
    epoch: int
    gateways: tuple[str, ...]  # whose outboxes are on this machine
    keys: bool


def next_term(epochs: Iterable[int], now_s: int) -> int:
    """Returns the first epoch of the term after every epoch that anybody here has seen."""
    term = (max((0, *epochs)) >> TERM_BITS) + 1
    return (term << TERM_BITS) + now_s


def seen_epochs(data_dir: Path) -> list[int]:
    """Returns the hub epochs that the files of a data directory name: the hub's own and those its gateways obeyed."""
    found: list[int] = []
    try:
        content = parse((data_dir / HUB).read_bytes())
    except (OSError, BadJson):
        content = None
    match content:
        case {"epoch": int() as epoch}:
            found.append(epoch)
        case _:
            pass
    for path in data_dir.glob(f"*/{OUTBOX}"):
        connection = apsw.Connection(f"file:{path}?mode=ro", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        try:
            rows = cast("Database", connection).execute("SELECT value FROM meta WHERE name = 'hub_epoch'").fetchall()
        finally:
            connection.close()
        found += [value for (value,) in rows if isinstance(value, int)]
    return found


def take_over(backup: Path, data_dir: Path, keys: Path | None, now_s: int) -> Taken:
    """Puts the hub's part of a backup beside this machine's gateways, which may run meanwhile.

    Raises:
        BadBackup: the file cannot be trusted; nothing was changed.
        NotTakenOver: a hub lives here already.
        OSError: the data directory cannot be written.
    """
    if (data_dir / LEDGER).exists():
        raise NotTakenOver(
            f"{data_dir} has a ledger already: this machine is or was a hub (`atoll restore` replaces it)"
        )
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        lock = DataLock(data_dir, "hub")
    except AlreadyRunning as error:
        raise NotTakenOver(str(error)) from error
    try:
        with tempfile.TemporaryDirectory(prefix=".takeover-", dir=data_dir) as staged:
            stage = Path(staged)
            held = unpack(backup, stage)
            if not (stage / LEDGER).exists():
                raise NotTakenOver(f"{backup} holds no ledger: it is not a hub's backup")
            epoch = next_term([*seen_epochs(stage), *seen_epochs(data_dir)], now_s)
            write_whole(stage / HUB, json.dumps({"epoch": epoch}) + "\n")
            for path in sorted(
                stage.iterdir(), key=lambda path: path.name == LEDGER
            ):  # the ledger last: it says "done"
                theirs = path.is_dir() and (path / OUTBOX).exists()  # of the gateway in the lost machine
                if path.name != MANIFEST and not theirs and (path.name == HUB or not (data_dir / path.name).exists()):
                    path.replace(data_dir / path.name)
        if keys is not None:
            shutil.copyfile(keys, data_dir / KEYS)
            (data_dir / KEYS).chmod(0o600)
    finally:
        lock.close()
    own = tuple(sorted(path.parent.name for path in data_dir.glob(f"*/{OUTBOX}")))
    return Taken(held.made, held.entries, epoch, own, (data_dir / KEYS).exists())
