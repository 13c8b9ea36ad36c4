"""The Debian packages in a kit: fetched for another machine, this one left alone; installed without a connection."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = ("mosquitto",)
BASE = ("systemd", "udev", "openssl", "openssh-server", "python3", "network-manager", "apt")
"""What every Pi OS has; a kit that brought its own could only make it older."""


class AptFailed(ChildProcessError):
    """apt could not fetch; the text holds what it said last."""


def suite() -> str:
    """Returns this machine's Debian release, for example bookworm; empty elsewhere."""
    path = Path("/etc/os-release")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    codes = [line.partition("=")[2].strip('"') for line in lines if line.startswith("VERSION_CODENAME=")]
    return codes[0] if codes else ""


def install_broker(folder: Path) -> str:
    """Installs from the kit what mosquitto needs and is not there; returns what hindered it, or nothing."""
    here = folder / suite()
    packages = sorted(here.glob("*.deb"))
    if not packages or shutil.which("dpkg") is None:
        return f"the kit has no packages for {suite() or 'this system'}"
    wanted = [str(path) for path in packages if not _installed(path.name.partition("_")[0])]
    done = subprocess.run(
        ["dpkg", "--install", *wanted], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    return "" if done.returncode == 0 else done.stderr.strip()[-300:]


def _installed(package: str) -> bool:
    words = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout == "installed"


def fetch(folder: Path, architecture: str, release: str) -> list[Path]:
    """Downloads mosquitto and what it needs beyond a base system, for another architecture and Debian release.

    Sources and keys are this machine's own; lists, cache and state live in a folder that is thrown away.

    Raises:
        AptFailed: no apt here, no connection, or no such package.
    """
    import tempfile

    if shutil.which("apt-get") is None:
        raise AptFailed("there is no apt-get on this machine")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        words = _private_apt(Path(scratch), architecture, release)
        _run(["apt-get", *words, "update", "-qq"], Path(scratch))
        base = _closure(words, BASE, Path(scratch))
        names = sorted(_closure(words, (*BASE, *PACKAGES), Path(scratch)) - base)
        _run(["apt-get", *words, "download", "-qq", *names], folder)
    return sorted(folder.glob("*.deb"))


def _private_apt(scratch: Path, architecture: str, release: str) -> list[str]:
    """Returns apt options that leave the machine's own lists and settings alone."""
    for name in ("lists/partial", "cache/archives/partial", "state", "parts"):
        (scratch / name).mkdir(parents=True)
    (scratch / "state/status").touch()
    (scratch / "empty").touch()
    own = suite()
    for path in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")):
        if path.is_file() and path.suffix in (".list", ".sources"):
            text = path.read_text(encoding="utf-8")
            (scratch / "parts" / path.name).write_text(text.replace(own, release) if own else text, encoding="utf-8")
    options = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "Dir::State": scratch / "state",
        "Dir::State::status": scratch / "state/status",
        "Dir::State::lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "Dir::Etc::sourcelist": scratch / "empty",
        "Dir::Etc::sourceparts": scratch / "parts",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def _closure(words: list[str], packages: tuple[str, ...], scratch: Path) -> set[str]:
    """Returns everything that apt would install for these on an empty machine."""
    only = ["-qq", "--simulate", "--yes", "--no-install-recommends"]
    text = _run(["apt-get", *words, *only, "install", *packages], scratch)
    return {line.split()[1].partition(":")[0] for line in text.splitlines() if line.startswith("Inst ")}


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise AptFailed(f"{command[0]}: {done.stderr.strip()[-300:]}")
    return done.stdout
