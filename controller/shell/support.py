"""What a helper from afar needs to see, and nothing of people: versions, checks, states, log ends, a redacted site."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOG_BYTES = 200_000
LOGS_MAX = 20
SECRET = re.compile(
    r"(?i)\b(pass(?:word|phrase)?|secret|token|api[_-]?key|authorization|code|cookie)\b(\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|\S+)"
)
URL_USER = re.compile(r"(\w+://)[^/\s:@]+:[^/\s@]+@")
NAMES = re.compile(r'^(\s*name\s*=\s*)"[^"]*"', re.MULTILINE)
INLINE_NAMES = re.compile(r'([{,]\s*name\s*=\s*)"[^"]*"')
PLACE = re.compile(r"^(\s*(?:latitude|longitude)\s*=\s*)(-?\d+)(?:\.\d+)?", re.MULTILINE)
PEM = re.compile(r"-----BEGIN [^-]+-----.*?-----END [^-]+-----", re.DOTALL)
MAIL = re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.]+\b")
PHONE = re.compile(r"(?<![\w.])\+\d[\d ]{7,}\d\b")
COMMENT = re.compile(r"(?m)(^|\s)#.*$")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the bundle."""

    name: str
    content: bytes
    why: str


def redacted(text: str, names: Sequence[str] = ()) -> str:
    """Returns a text without passwords, keys, mail addresses, telephone numbers and the names of people."""
    text = PEM.sub("(key removed)", text)
    text = SECRET.sub(lambda found: f"{found.group(1)}{found.group(2)}(removed)", text)
    text = URL_USER.sub(r"\1(removed)@", text)
    text = MAIL.sub("(mail removed)", text)
    text = PHONE.sub("(telephone removed)", text)
    for name in sorted(names, key=len, reverse=True):
        if len(name) > 2:
            text = re.sub(rf"\b{re.escape(name)}\b", "(name)", text)
    return text


def redacted_site(text: str) -> str:
    """Returns a site file without people's names, comments and the exact place; ids, devices and rules stay."""
    text = COMMENT.sub(r"\1", text)
    text = NAMES.sub(r'\1"(name)"', text)
    text = INLINE_NAMES.sub(r'\1"(name)"', text)
    text = PLACE.sub(r"\1\2.0", text)
    return redacted(text)


def people(content: Mapping[str, object]) -> list[str]:
    """Returns the names that a parsed site file holds."""
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
                if key == "name" and isinstance(inner, str):
                    found.append(inner)
                else:
                    walk(inner)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, list):
            for inner in value:  # pyright: ignore[reportUnknownVariableType]
                walk(inner)  # pyright: ignore[reportUnknownArgumentType]

    walk({key: value for key, value in content.items() if key in ("member", "treasury", "crew")})
    return found


def log_parts(data_dir: Path, names: Sequence[str]) -> list[Part]:
    """Returns the ends of the logs of a data directory, redacted."""
    found: list[Part] = []
    for path in sorted((*data_dir.glob("logs/*.log"), *data_dir.glob("broker/*.log")))[:LOGS_MAX]:
        data = path.read_bytes()[-LOG_BYTES:]
        text = redacted(data.decode("utf-8", "replace"), names)
        found.append(Part(f"logs/{path.name}", text.encode(), f"the last {len(data)} bytes"))
    return found


def inventory(data_dir: Path) -> str:
    """Returns names, sizes and times of the files in a data directory; no content."""
    lines = [
        f"{path.stat().st_size:>12}  {int(path.stat().st_mtime)}  {path.relative_to(data_dir)}"
        for path in sorted(data_dir.rglob("*"))
        if path.is_file()
    ]
    return "\n".join(lines) + "\n"


def pack(target: Path, parts: Sequence[Part]) -> None:
    """Writes the bundle; its first file lists what it holds.

    Raises:
        FileExistsError: there is such a file.
        OSError: it cannot be written.
    """
    rows = [
        {
            "name": part.name,
            "bytes": len(part.content),
            "sha256": hashlib.sha256(part.content).hexdigest(),
            "why": part.why,
        }
        for part in parts
    ]
    contents = Part("CONTENTS.json", (json.dumps(rows, indent=2) + "\n").encode(), "")
    with target.open("xb") as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
        for part in (contents, *parts):
            entry = tarfile.TarInfo(part.name)
            entry.size = len(part.content)
            entry.mode = 0o600
            tar.addfile(entry, io.BytesIO(part.content))
    target.chmod(0o600)
