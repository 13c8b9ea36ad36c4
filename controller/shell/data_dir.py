"""One data directory, one owner: the lock, the epoch, and small files that are replaced whole."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path


class DirectoryInUse(RuntimeError):
    """Another process owns this data directory."""


class Lock:
    """Holds `NAME.lock` in a data directory until the process ends."""

    def __init__(self, data_dir: Path, name: str) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        path = data_dir / f"{name}.lock"
        self._file = open(path, "a+", encoding="ascii")  # noqa: SIM115 - held for the life of the process
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            owner = self._file.read().strip() or "unknown"
            self._file.close()
            raise DirectoryInUse(f"a {name} (process {owner}) runs on {data_dir} already") from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Gives the directory back."""
        self._file.close()


def write_whole(path: Path, text: str) -> None:
    """Replaces a small file so that a reader or a power cut sees the old or the new text, never a part."""
    temporary = path.with_name(path.name + ".new")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> Mapping[str, object]:
    """Returns a JSON object file's content; empty when it is missing or torn."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def next_epoch(data_dir: Path) -> int:
    """Returns this start's number, durably one higher than the last: it fences out an older hub's setpoints."""
    path = data_dir / "hub.json"
    last = read_json(path).get("epoch", 0)
    epoch = (last if isinstance(last, int) else 0) + 1
    write_whole(path, json.dumps({"epoch": epoch}))
    return epoch
