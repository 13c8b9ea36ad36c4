"""One process per role and data directory: a lock that the kernel drops when its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TextIO


class AlreadyRunning(RuntimeError):
    """Another process of this role works on the same data directory."""


class DataLock:
    """Holds `<role>.lock` of a data directory until it is closed."""

    def __init__(self, data_dir: Path, role: str) -> None:
        """Takes the lock, making the directory where it is missing.

        Raises:
            AlreadyRunning: somebody else holds it; the message names the process.
        """
        data_dir.mkdir(parents=True, exist_ok=True)
        path = data_dir / f"{role}.lock"
        self._file: TextIO = path.open("a+", encoding="ascii")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise AlreadyRunning(
                f"a {role} is already running on {data_dir} (process {holder}):"
                f" stop it first, or choose another --data-dir"
            ) from error
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def close(self) -> None:
        """Gives the lock up."""
        self._file.close()
