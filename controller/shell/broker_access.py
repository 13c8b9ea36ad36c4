"""The broker's logins on disk: passwords made once, the files of a mosquitto or nats-server made from the site file.

`DATA/access/NAME.password` (mode 0600) is what a client logs in with; it may go once it was handed out, for the broker
keeps its hash in `mosquitto.passwd`. A name that has neither gets a new password.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.broker_access import ANYBODY, HUB, Grant, grants, mosquitto_acl, nats_users
from controller.site import Site
from devices.shell.broker_login import ENDING, FOLDER, keep_password, login_of
from devices.shell.run_clock import write_whole

BROKER_FILES = f"{FOLDER}/broker.d"
"""Below the data directory: what a mosquitto of its own includes."""
INCLUDED = "access.conf"
ACL_FILE = "mosquitto.acl"
PASSWORD_FILE = "mosquitto.passwd"  # noqa: S105 - a file's name
SECRET_BYTES = 24
ITERATIONS = 101
"""mosquitto's own number; the passwords are 192 random bits, which no search finds."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in: the site's grants, their passwords as far as they are still here, whether others may too."""

    folder: Path
    grants: tuple[Grant, ...]
    passwords: Mapping[str, str]
    anonymous: bool

    def mosquitto_lines(self) -> list[str]:
        """Returns the lines of a mosquitto configuration."""
        return [
            f"allow_anonymous {'true' if self.anonymous else 'false'}",
            f"password_file {self.folder / PASSWORD_FILE}",
            f"acl_file {self.folder / ACL_FILE}",
        ]

    def nats_block(self) -> str:
        """Returns the users of a nats-server configuration (the file holds passwords: mode 0600)."""
        return nats_users(self.grants, self.passwords, anonymous=self.anonymous)


def prepare_access(site: Site, data_dir: Path, *, all_plain: bool = False) -> Access:
    """Makes what is missing and writes the broker's files anew; returns them.

    `all_plain` is for a broker that keeps no hashes: whoever's password is no longer here gets a new one.

    Raises:
        OSError: they cannot be written.
    """
    data_dir = data_dir.resolve()
    folder = _made(data_dir / FOLDER)
    found = grants(site)
    hashes = _hashes(folder / PASSWORD_FILE)
    passwords: dict[str, str] = {ANYBODY: secrets.token_urlsafe(SECRET_BYTES)}
    kept: dict[str, str] = {}
    for grant in found:
        login = login_of(data_dir, grant.name)()
        if login is None and (grant.name == HUB or all_plain or grant.name not in hashes):
            keep_password(data_dir, grant.name, secrets.token_urlsafe(SECRET_BYTES))
            login = login_of(data_dir, grant.name)()
        hashed = hashes.get(grant.name, "")
        if login is not None:
            passwords[grant.name] = login.password
            hashed = hashed if _fits(login.password, hashed) else _hashed(login.password)
        kept[grant.name] = hashed
    text = "".join(f"{name}:{hashed}\n" for name, hashed in kept.items())
    _write_private(folder / PASSWORD_FILE, text)
    _write_private(folder / ACL_FILE, mosquitto_acl(found, anonymous=site.anonymous_broker))
    access = Access(folder, found, passwords, site.anonymous_broker)
    _write_private(_made(data_dir / BROKER_FILES) / INCLUDED, "\n".join(access.mosquitto_lines()) + "\n")
    return access


def renew(data_dir: Path, name: str) -> Path:
    """Gives a login a new password; the old one is refused once the broker has read its files again."""
    return keep_password(data_dir, name, secrets.token_urlsafe(SECRET_BYTES))


def handed_out(data_dir: Path) -> list[str]:
    """Returns the names whose password still stands in the access folder."""
    return sorted(path.name.removesuffix(ENDING) for path in (data_dir / FOLDER).glob(f"*{ENDING}"))


def _hashes(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: hashed for name, colon, hashed in (line.partition(":") for line in lines) if colon and hashed}


def _hashed(password: str, salt: bytes | None = None) -> str:
    """Returns mosquitto's PBKDF2 form `$7$iterations$salt$hash` (mosquitto_passwd, since 2.0)."""
    salt = salt or secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS, 64)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _fits(password: str, hashed: str) -> bool:
    parts = hashed.split("$")
    if len(parts) != 5 or parts[1:3] != ["7", str(ITERATIONS)]:
        return False
    try:
        salt = base64.b64decode(parts[3], validate=True)
    except ValueError:
        return False
    return secrets.compare_digest(_hashed(password, salt), hashed)


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _write_private(path: Path, text: str) -> None:
    write_whole(path, text)
    path.chmod(0o600)
