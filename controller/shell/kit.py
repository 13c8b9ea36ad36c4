"""A kit: one folder that holds this repository and everything it needs, checked by hashes and a builder's signature.

FOLDER/               the repository, as `git archive` gives it; `./atoll` in it installs from FOLDER/kit/wheels
FOLDER/kit/wheels/    every wheel of requirements.lock for the target, and pip's own
FOLDER/kit/debian/R/  mosquitto and what it needs, for Debian release R
FOLDER/kit/kit.json   release, commit, target
FOLDER/SHA256SUMS     of every file (`sha256sum -c SHA256SUMS`), FOLDER/SIGNATURE.json over it
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.ledger.identity import SigningKey
from controller.ledger.identity import verify as signed_by
from controller.shell.kit_debian import AptFailed, fetch, suite
from devices.bounded_json import BadJson, parse

SUMS = "SHA256SUMS"
SIGNATURE = "SIGNATURE.json"
KIT_JSON = "kit/kit.json"
PURPOSE = "kit"
GLIBC_MAX = 36
"""Bookworm's; a Pi OS of today has it or newer."""
MADE_HERE = (".venv", ".atoll-setup.lock", ".atoll-setup.log", "__pycache__")
"""What a start inside a kit's folder makes; everything else that the list does not name is refused."""


class KitFailed(RuntimeError):
    """A kit could not be built; the text says what was missing."""


@dataclass(frozen=True, slots=True)
class Target:
    """The machine that a kit is for."""

    name: str
    machine: str  # as in wheel names
    debian: str  # Debian's name of the architecture
    pythons: tuple[str, ...]
    releases: tuple[str, ...]  # of Debian


def target(name: str) -> Target:
    """Returns the target `pi` (Raspberry Pi OS 64-bit, bookworm and trixie) or `this`."""
    if name == "pi":
        return Target("pi", "aarch64", "arm64", ("3.11", "3.13"), ("bookworm", "trixie"))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    machine = platform.machine()
    debian = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    return Target("this", machine, debian, (version,), (suite(),) if suite() else ())


def build(
    repository: Path, folder: Path, wanted: Target, key: SigningKey, say: Callable[[str], None], *, debian: bool = True
) -> str:
    """Fills an empty folder with a kit and returns its release name.

    Raises:
        KitFailed: no git checkout, no connection, or a wheel or package that does not exist.
    """
    if folder.exists() and any(folder.iterdir()):
        raise KitFailed(f"{folder} is not empty")
    commit = _git(repository, "rev-parse", "--short=10", "HEAD")
    folder.mkdir(parents=True, exist_ok=True)
    say(f"repository at {commit}")
    _export(repository, folder)
    wheels = folder / "kit" / "wheels"
    wheels.mkdir(parents=True)
    for python in wanted.pythons:
        say(f"wheels for Python {python} on {wanted.machine}")
        _wheels(folder / "requirements.lock", wheels, wanted.machine, python)
    _pip("download", "--quiet", "--no-deps", "--only-binary", ":all:", "-d", str(wheels), "pip")
    for release in wanted.releases if debian else ():
        say(f"mosquitto for Debian {release} on {wanted.debian}")
        try:
            fetch(folder / "kit" / "debian" / release, wanted.debian, release)
        except AptFailed as error:
            raise KitFailed(f"Debian packages: {error}; leave them away with --no-debian") from error
    name = f"{_version(folder)}-{commit}"
    about = {"schema": 1, "release": name, "commit": commit, "for": wanted.name, "pythons": list(wanted.pythons)}
    (folder / KIT_JSON).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    seal(folder, key)
    return name


def seal(folder: Path, key: SigningKey) -> None:
    """Writes the list of hashes and signs it."""
    lines = [f"{digest(folder / name)}  {name}\n" for name in sorted(_files(folder)) if name not in (SUMS, SIGNATURE)]
    text = "".join(lines)
    (folder / SUMS).write_text(text, encoding="utf-8")
    paper = {"signer": key.did, "signature": key.sign(PURPOSE, text.encode()).hex()}
    (folder / SIGNATURE).write_text(json.dumps(paper, indent=2) + "\n", encoding="utf-8")


def problems(folder: Path, trusted: Iterable[str]) -> list[str]:
    """Returns everything that is wrong with a kit: signature, missing, changed and unlisted files."""
    try:
        text = (folder / SUMS).read_bytes()
        paper = parse((folder / SIGNATURE).read_bytes())
    except (OSError, BadJson) as error:
        return [f"{folder} is no kit, or not whole: {error}"]
    match paper:
        case {"signer": str() as signer, "signature": str() as signature}:
            found = _signature_problems(signer, signature, text, list(trusted))
        case _:
            found = [f"{SIGNATURE} is no signature"]
    listed = dict(_listed(text.decode("utf-8", "replace")))
    there = set(_files(folder)) - {SUMS, SIGNATURE}
    found += [f"{name} is missing" for name in sorted(listed.keys() - there)]
    found += [f"{name} is not in {SUMS}" for name in sorted(there - listed.keys())]
    found += [f"{name} was changed" for name in sorted(there & listed.keys()) if digest(folder / name) != listed[name]]
    return found


def _signature_problems(signer: str, signature: str, text: bytes, trusted: Sequence[str]) -> list[str]:
    try:
        good = signed_by(signer, PURPOSE, text, bytes.fromhex(signature))
    except ValueError:
        good = False
    if not good:
        return [f"the signature in {SIGNATURE} is not {signer[:60]}'s over {SUMS}"]
    if signer not in trusted:
        return [f"signed by {signer}, who is not among the trusted builders ({', '.join(trusted) or 'none'})"]
    return []


def signer_of(folder: Path) -> str:
    """Returns who says to have signed a kit; empty where nobody does."""
    return _text(folder / SIGNATURE, "signer")


def release_of(folder: Path) -> str:
    """Returns the release name in a kit; empty where the folder is none."""
    return _text(folder / KIT_JSON, "release")


def _text(path: Path, key: str) -> str:
    try:
        content = parse(path.read_bytes())
    except (OSError, BadJson):
        return ""
    value = content.get(key) if isinstance(content, dict) else None
    return value if isinstance(value, str) else ""


def listed(folder: Path) -> list[str]:
    """Returns the files of a kit, its list and signature included: what is to be copied."""
    text = (folder / SUMS).read_text(encoding="utf-8")
    return [*(name for name, _ in _listed(text)), SUMS, SIGNATURE]


def _listed(text: str) -> Iterable[tuple[str, str]]:
    for line in text.splitlines():
        hashed, _, name = line.partition("  ")
        if name and not name.startswith("/") and ".." not in name.split("/"):
            yield name, hashed


def _files(folder: Path) -> Iterable[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in MADE_HERE and not name.endswith(".egg-info")]
        for name in names:
            if name not in MADE_HERE:
                yield str((Path(place) / name).relative_to(folder))


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file (of where a link leads, for a link) in hex."""
    if path.is_symlink():
        return hashlib.sha256(b"link:" + os.fsencode(path.readlink())).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _export(repository: Path, folder: Path) -> None:
    archive = subprocess.Popen(["git", "-C", str(repository), "archive", "HEAD"], stdout=subprocess.PIPE)
    done = subprocess.run(["tar", "-x", "-C", str(folder)], stdin=archive.stdout, capture_output=True, check=False)
    if archive.wait() or done.returncode:
        raise KitFailed(f"git archive of {repository} failed: {done.stderr.decode()[-200:]}")


def _git(repository: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(repository), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise KitFailed(f"{repository} is not a git checkout: a kit is built from one ({done.stderr.strip()[:120]})")
    return done.stdout.strip()


def _version(folder: Path) -> str:
    import tomllib

    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    return str(project.get("version", "0"))


def _wheels(lock: Path, folder: Path, machine: str, python: str) -> None:
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MAX, 4, -1)]
    platforms += [f"manylinux2014_{machine}", f"manylinux1_{machine}", f"linux_{machine}"]
    tag = python.replace(".", "")
    _pip(
        "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:",
        "--implementation", "cp", "--python-version", python,
        *(word for name in platforms for word in ("--platform", name)),
        *("--abi", f"cp{tag}", "--abi", "abi3", "--abi", "none"),
        "-d", str(folder), "-r", str(lock),
    )  # fmt: skip


def _pip(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise KitFailed(f"pip {words[0]}: {done.stderr.strip()[-400:]}")
