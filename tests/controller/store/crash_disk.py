"""A disk that remembers: every write, truncation and sync of SQLite, and what a power cut could have left of them.

The model is the usual one: what was synced is there; of what was written since, any part may be, down to single
512-byte sectors of one write.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened: `write`, `truncate`, `sync`, `delete`, or `ack` (what the caller was promised)."""

    what: str
    file: str
    offset: int = 0
    data: bytes = b""


class _File(apsw.VFSFile):
    def __init__(self, name: apsw.URIFilename | str | None, flags: list[int], steps: list[Step]) -> None:
        super().__init__("unix", name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self._name, self._steps = Path(path).name, steps
        self._reads_only = bool(flags[1] & apsw.SQLITE_OPEN_READONLY)

    def xLock(self, level):  # noqa: N802 -- SQLite's name
        try:
            super().xLock(level)
        except apsw.IOError:  # a reader that closes tries to lock for itself; SQLite takes the refusal, apsw raises it
            if not self._reads_only:
                raise

    def xWrite(self, data, offset):  # noqa: N802 -- SQLite's name
        super().xWrite(data, offset)
        self._steps.append(Step("write", self._name, offset, bytes(data)))

    def xTruncate(self, newsize):  # noqa: N802 -- SQLite's name
        super().xTruncate(newsize)
        self._steps.append(Step("truncate", self._name, newsize))

    def xSync(self, flags):  # noqa: N802 -- SQLite's name
        super().xSync(flags)
        self._steps.append(Step("sync", self._name))


class _Vfs(apsw.VFS):
    def __init__(self, steps: list[Step]) -> None:
        super().__init__("recorder", "unix", makedefault=True)
        self._steps = steps

    def xOpen(self, name, flags):  # noqa: N802 -- SQLite's name
        return _File(name, flags, self._steps)

    def xDelete(self, filename, syncdir):  # noqa: N802 -- SQLite's name
        super().xDelete(filename, syncdir)
        self._steps.append(Step("delete", Path(filename).name))
        if syncdir:  # the folder was synced too: the deletion is there for good
            self._steps.append(Step("sync", Path(filename).name))


@contextmanager
def recorded(checkpoint_pages: int) -> Iterator[list[Step]]:
    """Records every write of every connection opened inside; a WAL checkpoint after that many pages."""
    steps: list[Step] = []
    vfs = _Vfs(steps)

    def hook(connection: apsw.Connection) -> None:
        connection.wal_autocheckpoint(checkpoint_pages)

    apsw.connection_hooks.append(hook)
    try:
        yield steps
    finally:
        apsw.connection_hooks.remove(hook)
        vfs.unregister()


Disk = dict[str, bytearray]


def apply(disk: Disk, step: Step) -> None:
    """Does one step to the files."""
    content = disk.setdefault(step.file, bytearray())
    if step.what == "write":
        content.extend(bytes(max(0, step.offset - len(content))))
        content[step.offset : step.offset + len(step.data)] = step.data
    elif step.what == "truncate":
        del content[step.offset :]
    elif step.what == "delete":
        del disk[step.file]


def after_power_cuts(steps: list[Step], seed: int, start: Mapping[str, bytes] = {}) -> Iterator[tuple[int, int, Disk]]:
    """Yields (step number, acknowledgement in force, files) for a cut after each step, in several ways.

    `start` are files that were there, durably, before the first step.
    """
    draw = random.Random(seed)
    synced: Disk = {name: bytearray(content) for name, content in start.items()}
    pending: list[Step] = []
    acknowledged = -1
    for number, step in enumerate(steps):
        if step.what == "ack":
            acknowledged = step.offset
            continue
        if step.what == "sync":
            for old in (old for old in pending if old.file == step.file):
                apply(synced, old)
            pending = [old for old in pending if old.file != step.file]
        else:
            pending.append(step)
        for kept in _leftovers(pending, draw):
            disk = {name: bytearray(content) for name, content in synced.items()}
            for old in kept:
                apply(disk, old)
            yield number, acknowledged, disk


def _leftovers(pending: list[Step], draw: random.Random) -> Iterator[list[Step]]:
    """Yields what may be left of writes that were not synced: nothing, all, some, and the last one torn."""
    yield []
    if not pending:
        return
    yield pending
    if len(pending) > 1:
        yield [step for step in pending if draw.random() < 0.5]
    last = pending[-1]
    if last.what == "write" and len(last.data) > SECTOR:
        keep = [at for at in range(0, len(last.data), SECTOR) if draw.random() < 0.5]
        yield [
            *pending[:-1],
            *(Step("write", last.file, last.offset + at, last.data[at : at + SECTOR]) for at in keep),
        ]


def put(disk: Disk, folder: Path) -> None:
    """Writes the files into an empty folder."""
    for old in folder.iterdir():
        old.unlink()
    for name, content in disk.items():
        (folder / name).write_bytes(content)
