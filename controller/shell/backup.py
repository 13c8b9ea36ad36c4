"""A backup of a data directory while its hub and gateways run: consistent copies, checksums, one file.

Each database is copied through SQLite's own backup, which sees one committed state whatever is written meanwhile. The
gateways' outboxes come first and the ledger after them: a record that moves from one to the other in between stands in
both copies (the ledger keeps the first of each page), never in none. Member keys and the log's key (`keys.db`) are not
in it: whoever finds an old backup can then read nobody's data (docs/privacy.md). They go into a file of their own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import apsw

from controller.ledger.merkle import root_of
from controller.shell.data_dir import LEDGER
from controller.shell.restored import RESTORED, Restored, leave_mark
from controller.store.ledger_file import LedgerFile, NotALedger
from controller.store.member_keys import KEYS
from controller.store.sqlite import BUSY_MS, Database, open_reader, require_sqlite
from devices.shell.run_clock import write_whole

MANIFEST = "manifest.json"
VERSION = 1
STAMP = "backup.json"
"""In the data directory: when the last backup was made, for `atoll doctor`."""
SKIPPED_ENDS = ("-wal", "-shm", ".lock", ".sock", ".part", ".log", ".log.1", "-journal", ".new")
SKIPPED = (
    KEYS,
    STAMP,
    "run.json",
    "fleet.json",
    "starts.json",
    "service.json",
    "upgrade.json",
    "time.json",
    "time-pending.json",
    RESTORED,
)
PRIVATE_ENDS = (".key", ".db", ".password", ".passwd")
SKIPPED_FOLDERS = ("logs", "broker", "backups", "releases", "snapshots", "tmp")
FIRST = ("outbox.db", "guard.json", "counts.bin", "gateway.key")
MEMBER_BYTES_MAX = 1 << 36
CHUNK = 1 << 20


class BadBackup(ValueError):
    """A backup file that cannot be trusted; the message names what is wrong."""


class NotRestored(RuntimeError):
    """The restore was refused; `unsafe` where it would make a second truth."""

    def __init__(self, message: str, *, unsafe: bool = False) -> None:
        super().__init__(message)
        self.unsafe = unsafe


@dataclass(frozen=True, slots=True)
class Held:
    """One file of a backup."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds: when, of what, and how far the ledger had come."""

    made: str
    site: str
    files: tuple[Held, ...]
    entries: int
    root: str

    def manifest(self) -> dict[str, object]:
        """Returns the manifest as JSON content."""
        files = [{"name": held.name, "bytes": held.bytes, "sha256": held.sha256} for held in self.files]
        head = {"format": "atoll backup", "version": VERSION, "made": self.made, "site": self.site}
        return {**head, "ledger": {"entries": self.entries, "root": self.root}, "files": files}


def make_backup(data_dir: Path, target: Path, site: Path | None = None, keys: Path | None = None) -> Backup:
    """Writes the backup to `target` (a .tar.gz, mode 0600), and the keys to `keys` where that is asked for.

    Raises:
        FileNotFoundError: there is nothing to copy.
        FileExistsError: a target exists; backups are never written over.
        apsw.Error: a database cannot be copied.
        OSError: the target cannot be written.
    """
    require_sqlite()
    sources = sorted(_sources(data_dir), key=lambda path: (path.name not in FIRST, path.name != LEDGER, str(path)))
    if not sources:
        raise FileNotFoundError(f"{data_dir} holds no data of a hub or gateway")
    if keys is not None and not (data_dir / KEYS).is_file():
        raise FileNotFoundError(f"{data_dir} has no {KEYS}")
    if target.exists() or (keys is not None and keys.exists()):
        raise FileExistsError(f"{target if target.exists() else keys} exists; a backup is never written over")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=target.parent) as staged:
        stage = Path(staged)
        names = [_copied(path, data_dir, stage) for path in sources]
        if site is not None:
            shutil.copyfile(site, stage / "site.toml")
            names.append("site.toml")
        entries, root = ledger_state(stage / LEDGER)
        made = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        held = tuple(Held(name, (stage / name).stat().st_size, _digest(stage / name)) for name in names)
        backup = Backup(made, "site.toml" if site else "", held, entries, root)
        (stage / MANIFEST).write_text(json.dumps(backup.manifest(), indent=2) + "\n", encoding="utf-8")
        _pack(stage, (MANIFEST, *names), target)
        if keys is not None:
            _copy_database(data_dir / KEYS, keys)
            keys.chmod(0o600)
    write_whole(data_dir / STAMP, json.dumps({"made": backup.made, "file": str(target)}) + "\n")
    return backup


def _sources(data_dir: Path) -> Iterator[Path]:
    for path in data_dir.rglob("*"):
        parts = path.relative_to(data_dir).parts
        if not path.is_file() or path.is_symlink() or any(part in SKIPPED_FOLDERS for part in parts[:-1]):
            continue
        if path.name not in SKIPPED and not path.name.endswith(SKIPPED_ENDS):
            yield path


def rewrite(source: Path, edit: Callable[[Path], object]) -> bool:
    """Lets `edit` change the unpacked files of a backup, and writes the backup anew if it did; returns whether.

    What the ledger's copy holds may not be changed. After a crash the backup is the old or the new one.

    Raises:
        BadBackup: the file cannot be trusted.
        OSError: it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=source.parent) as staged:
        stage = Path(staged)
        backup = unpack(source, stage)
        edit(stage)
        left = [held.name for held in backup.files if (stage / held.name).is_file()]
        for name in left:
            if name.endswith(".db"):
                _one_file(stage / name)
        held = tuple(Held(name, (stage / name).stat().st_size, _digest(stage / name)) for name in left)
        if held == backup.files:
            return False
        changed = dataclasses.replace(backup, files=held)
        (stage / MANIFEST).write_text(json.dumps(changed.manifest(), indent=2) + "\n", encoding="utf-8")
        _pack(stage, (MANIFEST, *left), source)
        return True


def _copied(path: Path, data_dir: Path, stage: Path) -> str:
    name = str(path.relative_to(data_dir))
    copy = stage / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".db":
        _copy_database(path, copy)
    else:
        shutil.copyfile(path, copy)
    return name


def _copy_database(source: Path, copy: Path) -> None:
    """Copies one committed state; the source is only read."""
    live = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)
    fresh = apsw.Connection(str(copy))
    try:
        live.set_busy_timeout(BUSY_MS)
        cast("Database", fresh).execute(
            "PRAGMA synchronous = OFF"
        )  # it is checked by its digest, and the tar file is synced
        with fresh.backup("main", live, "main") as copying:
            while not copying.done:
                copying.step(-1)  # in one read: between two steps a busy writer makes it begin anew, without end
    finally:
        fresh.close()
        live.close()
    _one_file(copy)


def _one_file(path: Path) -> None:
    """Leaves a database without a -wal beside it."""
    db = apsw.Connection(str(path))
    try:
        cast("Database", db).execute("PRAGMA journal_mode = DELETE").fetchall()
    finally:
        db.close()


def _pack(stage: Path, names: tuple[str, ...], target: Path) -> None:
    part = target.with_name(target.name + ".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=1) as tar:
            for name in names:
                tar.add(stage / name, name, recursive=False)
        raw.flush()
        os.fsync(raw.fileno())
    part.rename(target)


def ledger_state(path: Path) -> tuple[int, str]:
    """Returns (entries, root in hex) of a ledger file; (0, "") where there is none.

    Raises:
        NotALedger: it is something else.
    """
    if not path.is_file():
        return 0, ""
    file = LedgerFile.read(path)
    try:
        leaves = file.leaves()
        return len(leaves), root_of(leaves).hex() if leaves else ""
    finally:
        file.close()


# --------------------------------------------------------------------------------------------------- reading


def read_manifest(source: Path) -> Backup:
    """Returns what a backup file says it holds.

    Raises:
        BadBackup: it is none.
    """
    if not source.is_file():
        raise BadBackup(f"there is no file {source}")
    try:
        with tarfile.open(source, "r:gz") as tar:
            first = tar.next()
            data = None if first is None or first.name != MANIFEST else tar.extractfile(first)
            content = None if data is None else json.loads(data.read(CHUNK * 16))
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        raise BadBackup(f"{source} is no backup of Atoll: {error}") from error
    return _parsed(source, content)


def _parsed(source: Path, content: object) -> Backup:
    match content:
        case {
            "format": "atoll backup", "version": int() as version, "made": str() as made, "site": str() as site,
            "ledger": {"entries": int() as entries, "root": str() as root}, "files": object() as rows,
        }:  # fmt: skip
            if version > VERSION:
                raise BadBackup(f"{source} is of version {version}; this program knows {VERSION}")
            held = tuple(_held(source, row) for row in (cast("list[object]", rows) if isinstance(rows, list) else []))
            return Backup(made, site, held, entries, root)
        case _:
            raise BadBackup(f"{source} is no backup of Atoll: its first file is no manifest")


def _held(source: Path, row: object) -> Held:
    match row:
        case {"name": str() as name, "bytes": int() as size, "sha256": str() as digest}:
            if Path(name).is_absolute() or ".." in Path(name).parts or size > MEMBER_BYTES_MAX:
                raise BadBackup(f"{source} names a file outside of it: {name!r}")
            return Held(name, size, digest)
        case _:
            raise BadBackup(f"{source}: a row of its manifest is none")


def unpack(source: Path, folder: Path) -> Backup:
    """Writes the files of a backup into an empty folder, each checked against its checksum.

    Raises:
        BadBackup: a file is missing, too many, or altered; or a database is damaged.
    """
    backup = read_manifest(source)
    wanted = {held.name: held for held in backup.files}
    seen: set[str] = set()
    try:
        with tarfile.open(source, "r:gz") as tar:
            for member in tar:
                if member.name == MANIFEST:
                    continue
                held = wanted.get(member.name)
                if held is None or not member.isreg() or member.name in seen:
                    raise BadBackup(f"{source}: {member.name!r} does not belong there")
                seen.add(member.name)
                data = tar.extractfile(member)
                assert data is not None, "a regular member has content"
                _extract(source, cast("io.BufferedIOBase", data), folder / member.name, held)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadBackup(f"{source} is cut off or damaged: {error}") from error
    missing = sorted(wanted.keys() - seen)
    if missing:
        raise BadBackup(f"{source} is cut off: {missing[0]} is missing")
    for name in (name for name in wanted if name.endswith(".db")):
        _check_database(source, folder / name, name)
    return backup


def _extract(source: Path, data: io.BufferedIOBase, target: Path, held: Held) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    mode = 0o600 if target.suffix in PRIVATE_ENDS else 0o644
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        while chunk := data.read(CHUNK):
            size += len(chunk)
            if size > held.bytes:
                break
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if size != held.bytes or digest.hexdigest() != held.sha256:
        raise BadBackup(f"{source}: {held.name} is not what was backed up (checksum)")


def _check_database(source: Path, path: Path, name: str) -> None:
    try:
        db = open_reader(path)
        try:
            said = db.execute("PRAGMA quick_check(1)").fetchall()
        finally:
            db.close()
    except apsw.Error as error:
        raise BadBackup(f"{source}: {name}: {error}") from error
    if said != [("ok",)]:
        raise BadBackup(f"{source}: {name} is damaged: {said}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ------------------------------------------------------------------------------------------------- restoring


def restore(
    source: Path, data_dir: Path, *, replace: bool, older: bool, keys: Path | None = None, new_log: bool = False
) -> Mapping[str, object]:
    """Puts a backup in the place of a data directory; returns what was done.

    The directory that was there is moved aside, never deleted, and its `keys.db` is kept in use. A ledger waits for its
    witnesses before it signs (`restored.py`), unless a person decides that it goes on from here (`new_log`).

    Raises:
        BadBackup: the file cannot be trusted; nothing was changed.
        NotRestored: something is there that it would overwrite, or the ledger there knows more or other things.
    """
    _need_idle(data_dir)
    there = data_dir.is_dir() and any(data_dir.iterdir())
    if there and not replace:
        raise NotRestored(f"{data_dir} is not empty: nothing is written over without --replace")
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=data_dir.parent) as staged:
        stage = Path(staged) / "data"
        stage.mkdir()
        backup = unpack(source, stage)
        if (data_dir / LEDGER).exists() and not (older or new_log):
            _need_no_fork(data_dir / LEDGER, stage / LEDGER)
        found = keys or (data_dir / KEYS if (data_dir / KEYS).is_file() else None)
        if found is not None:
            _copy_database(found, stage / KEYS)
            (stage / KEYS).chmod(0o600)
        if (stage / LEDGER).exists():
            leave_mark(stage, Restored(backup.made, backup.entries, backup.root, new_log))
        aside = ""
        if there:
            moved = data_dir.with_name(f"{data_dir.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
            data_dir.rename(moved)
            aside = str(moved)
        elif data_dir.is_dir():
            data_dir.rmdir()
        stage.rename(data_dir)
    return {"made": backup.made, "entries": backup.entries, "root": backup.root, "files": len(backup.files),
            "aside": aside, "keys": "" if found is None else str(found)}  # fmt: skip


def _need_idle(data_dir: Path) -> None:
    from devices.shell.data_lock import AlreadyRunning, DataLock

    if not data_dir.is_dir():
        return
    for path in (*data_dir.glob("*.lock"), *data_dir.glob("*/*.lock")):
        try:
            DataLock(path.parent, path.stem).close()
        except AlreadyRunning as error:
            raise NotRestored(str(error), unsafe=True) from error


def _need_no_fork(present: Path, past: Path) -> None:
    """A ledger that goes on from an older state signs a second truth beside entries that people have seen."""
    try:
        now, then = LedgerFile.read(present), LedgerFile.read(past)
    except NotALedger:
        return  # what is there is broken: that is what a backup is for
    try:
        mine, old = now.leaves(), then.leaves()
    except (apsw.Error, ValueError):
        return
    finally:
        now.close()
        then.close()
    if old[: len(mine)] == mine[: len(old)]:
        if len(mine) <= len(old):
            return
        raise NotRestored(
            f"the ledger there has {len(mine)} entries, the backup {len(old)}: going on from there would sign"
            f" other entries in the place of the last {len(mine) - len(old)}, and witnesses would refuse them",
            unsafe=True,
        )
    raise NotRestored("the ledger there and the one in the backup differ in entries that both have", unsafe=True)
