"""What a process logs in to the broker with: a file of its own in the data directory's `access` folder.

No file, no login: a broker that lets in clients without one takes it as before.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = "access"
ENDING = ".password"


@dataclass(frozen=True, slots=True)
class Login:
    """A name and its password."""

    name: str
    password: str = field(repr=False)


Logins = Callable[[], Login | None]
"""Asked before every connection, so that a renewed password is used without a restart."""


def nobody() -> Login | None:
    """Returns no login."""
    return None


def password_file(data_dir: Path, name: str) -> Path:
    """Returns where a login's password stands."""
    return data_dir / FOLDER / f"{name}{ENDING}"


def login_of(data_dir: Path, name: str) -> Logins:
    """Returns what reads `name`'s password afresh; None while there is no file, or an empty one."""
    path = password_file(data_dir, name)

    def read() -> Login | None:
        try:
            password = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return Login(name, password) if password else None

    return read


def keep_password(data_dir: Path, name: str, password: str) -> Path:
    """Writes a password to its file (mode 0600, whole or not at all) and returns that.

    Raises:
        OSError: it cannot be written.
    """
    path = password_file(data_dir, name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(password + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    return path
