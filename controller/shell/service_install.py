"""Puts the files of a field install in place and takes them away again; remembers what it wrote by hash."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from controller.shell.kit import signer_of
from controller.shell.service_files import TARGET, UNITS, data_folders
from devices.bounded_json import BadJson, parse
from devices.shell.run_clock import write_whole

MANIFEST = "service.json"
OURS = "# Written by `atoll service install`"
CURRENT = "current"
BUILDERS = "builders.txt"
STARTED = f"{UNITS}/multi-user.target.wants/{TARGET}"
"""What `systemctl enable` makes; made by hand it works in an image, too."""


class ForeignFiles(FileExistsError):
    """Files are in the way that `atoll service install` did not write, or that were changed since."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__("\n".join(str(path) for path in paths))
        self.paths = tuple(paths)


def digest(text: str) -> str:
    """Returns the SHA-256 of a text in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def manifest(root: Path, data_dir: Path) -> dict[str, str]:
    """Returns path -> hash of what an earlier install wrote; empty when there was none."""
    try:
        content = parse(below(root, data_dir / MANIFEST).read_bytes())
    except (FileNotFoundError, BadJson):
        return {}
    match content:
        case {"files": dict() as found}:
            return {name: text for name, text in cast("dict[str, object]", found).items() if isinstance(text, str)}
        case _:
            return {}


def below(root: Path, path: Path | str) -> Path:
    """Returns where an absolute path lies under another root."""
    return root / str(path).lstrip("/")


def in_the_way(root: Path, data_dir: Path, wanted: Mapping[str, str]) -> list[Path]:
    """Returns files that exist, differ from what is wanted, and were not written by us as they stand."""
    before = manifest(root, data_dir)
    found: list[Path] = []
    for name, text in wanted.items():
        path = root / name
        if path.exists():
            there = path.read_text(encoding="utf-8", errors="replace")
            if there != text and digest(there) != before.get(name) and not there.startswith(OURS):
                found.append(path)
    return found


def write(root: Path, data_dir: Path, wanted: Mapping[str, str], checkout: Path, user: str) -> list[str]:
    """Writes the files, the data folders, the link to the release in force, and the manifest.

    Files of an earlier install that are not wanted any more are removed. Returns what changed.

    Raises:
        ForeignFiles: something that is not ours is in the way; nothing was written.
        OSError: the root cannot be written.
    """
    foreign = in_the_way(root, data_dir, wanted)
    if foreign:
        raise ForeignFiles(foreign)
    changed: list[str] = []
    for folder in data_folders(str(data_dir)):
        place = below(root, str(folder))
        place.mkdir(parents=True, exist_ok=True)
        own(place, user)
    for name, text in wanted.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_whole(path, text)
            path.chmod(0o644)
            changed.append(name)
    for name in manifest(root, data_dir).keys() - wanted.keys():
        (root / name).unlink(missing_ok=True)
        changed.append(name)
    for link, leads_to in ((below(root, data_dir / CURRENT), checkout), (root / STARTED, Path(f"../{TARGET}"))):
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(leads_to)
            changed.append(str(link.relative_to(root)))
    builders = below(root, data_dir / BUILDERS)
    if not builders.exists() and signer_of(checkout):  # whoever built what is installed may upgrade it
        builders.write_text(signer_of(checkout) + "\n", encoding="ascii")
    hashes = {name: digest(text) for name, text in wanted.items()}
    write_whole(below(root, data_dir / MANIFEST), json.dumps({"files": hashes}, indent=2, sort_keys=True) + "\n")
    return changed


def remove(root: Path, data_dir: Path) -> tuple[list[str], list[str]]:
    """Removes what the install wrote; returns (removed, kept because somebody changed it). Data stay."""
    removed: list[str] = []
    kept: list[str] = []
    for name, was in manifest(root, data_dir).items():
        path = root / name
        if not path.exists():
            continue
        if digest(path.read_text(encoding="utf-8", errors="replace")) == was:
            path.unlink()
            removed.append(name)
        else:
            kept.append(name)
    for link in (root / STARTED, below(root, data_dir / MANIFEST)):
        link.unlink(missing_ok=True)
    return removed, kept


def own(path: Path, user: str) -> None:
    """Gives a path to the user who runs Atoll, where we may."""
    if os.geteuid() == 0:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            return
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def groups_of(root: Path, wanted: Sequence[str]) -> tuple[str, ...]:
    """Returns which of these groups the machine under `root` has; systemd refuses to start with one that is missing."""
    path = root / "etc/group"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    have = {line.partition(":")[0] for line in lines}
    return tuple(name for name in wanted if name in have)


def serial_adapters(root: Path) -> dict[str, str]:
    """Returns the names in /dev/serial/by-id and where each leads now."""
    folder = root / "dev/serial/by-id"
    if not folder.is_dir():
        return {}
    return {entry.name: f"/dev/{entry.readlink().name}" for entry in folder.iterdir() if entry.is_symlink()}


def has_systemd() -> bool:
    """Returns whether systemd is this machine's init (as `sd_booted(3)`)."""
    return Path("/run/systemd/system").is_dir() and shutil.which("systemctl") is not None


def systemctl(*words: str) -> str:
    """Runs systemctl; returns what went wrong, or nothing."""
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"systemctl {' '.join(words)}: {done.returncode}")


def activate() -> list[str]:
    """Lets systemd and udev read the new files and starts everything; returns what went wrong."""
    said = [systemctl("daemon-reload"), systemctl("enable", TARGET), systemctl("restart", TARGET)]
    if shutil.which("udevadm"):
        subprocess.run(["udevadm", "control", "--reload"], capture_output=True, check=False)
    for name in ("systemd-journald.service", "chrony.service"):
        systemctl("try-restart", name)
    return [text for text in said if text]


def deactivate(units: Sequence[str]) -> list[str]:
    """Stops everything and takes it out of the start of the machine."""
    said = [systemctl("disable", "--now", TARGET), systemctl("stop", *units)]
    return [text for text in said if text]


def unit_states(units: Sequence[str]) -> list[dict[str, str]]:
    """Returns what systemd knows of each unit: state, restarts, watchdog, main process."""
    wanted = "Id,ActiveState,SubState,NRestarts,WatchdogUSec,MainPID,StatusText"
    found: list[dict[str, str]] = []
    for unit in units:
        done = subprocess.run(
            ["systemctl", "show", "-p", wanted, unit], capture_output=True, text=True, check=False, timeout=10
        )
        found.append(dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line))
    return found
