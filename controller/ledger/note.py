"""Signed notes and checkpoints: what the log publishes about itself.

Source: C2SP signed-note v1.0 and tlog-checkpoint v1.0; key type 0x01 (Ed25519).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = 0x01
NOTE_BYTES_MAX = 64 * 1024
SIGNATURES_MAX = 32


class NoteError(ValueError):
    """A signed note or checkpoint that must not be trusted."""


class NoteMalformed(NoteError):
    """Not a signed note, verifier key or checkpoint at all."""


class NoteForged(NoteError):
    """A known key's signature does not match the text."""


class NoteUnsigned(NoteError):
    """No signature by a known key."""


def key_id(name: str, public_key: bytes) -> bytes:
    """Returns the 4-byte id of an Ed25519 note key."""
    return sha256(name.encode() + b"\n" + bytes([ED25519]) + public_key).digest()[:4]


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public note key."""

    name: str
    public_key: bytes

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Returns the key in `name+hexid+base64(0x01 || key)`.

        Raises:
            NoteMalformed: not of that form, another algorithm, or an id that does not belong to the key.
        """
        name, _, rest = text.partition("+")
        hex_id, _, encoded = rest.partition("+")
        data = _base64(encoded, "verifier key")
        _check_name(name)
        if len(data) != 33 or data[0] != ED25519:
            raise NoteMalformed(f"verifier key of {name!r} is not Ed25519 (0x01 and 32 bytes)")
        verifier = cls(name, data[1:])
        if verifier.id.hex() != hex_id:
            raise NoteMalformed(f"verifier key of {name!r} has id {hex_id}, computed {verifier.id.hex()}")
        return verifier

    @property
    def id(self) -> bytes:
        """Returns the 4-byte key id."""
        return key_id(self.name, self.public_key)

    def text(self) -> str:
        """Returns `name+hexid+base64(0x01 || key)`."""
        encoded = base64.b64encode(bytes([ED25519]) + self.public_key).decode()
        return f"{self.name}+{self.id.hex()}+{encoded}"

    def verify(self, text: str, signature: bytes) -> bool:
        """Returns whether `signature` is this key's over the note text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class Signer:
    """A private note key."""

    __slots__ = ("_key", "verifier")

    def __init__(self, name: str, seed: bytes) -> None:
        _check_name(name)
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    def sign(self, text: str) -> bytes:
        """Returns the 64-byte signature over a note text."""
        return self._key.sign(text.encode())


def sign(text: str, signers: Iterable[Signer]) -> str:
    """Returns the signed note.

    Raises:
        NoteMalformed: the text does not end in a newline or holds control characters.
    """
    _check_text(text)
    lines = [
        f"— {signer.verifier.name} {base64.b64encode(signer.verifier.id + signer.sign(text)).decode()}\n"
        for signer in signers
    ]
    return text + "\n" + "".join(lines)


def verify(note: str, verifiers: Sequence[Verifier]) -> tuple[str, tuple[str, ...]]:
    """Returns (text, names of the known keys that signed it). Unknown keys are ignored.

    Raises:
        NoteMalformed: not a signed note.
        NoteForged: a known key's signature is wrong.
        NoteUnsigned: no known key signed.
    """
    if len(note.encode()) > NOTE_BYTES_MAX:
        raise NoteMalformed(f"note of more than {NOTE_BYTES_MAX} bytes")
    split = note.rfind("\n\n")
    if split < 0 or not note.endswith("\n"):
        raise NoteMalformed("no blank line between text and signatures")
    text, lines = note[: split + 1], note[split + 2 :].splitlines()
    _check_text(text)
    if not 0 < len(lines) <= SIGNATURES_MAX:
        raise NoteMalformed(f"{len(lines)} signatures, expected 1 to {SIGNATURES_MAX}")
    known = {(verifier.name, verifier.id): verifier for verifier in verifiers}
    names: list[str] = []
    for line in lines:
        name, identity, signature = _signature(line)
        verifier = known.get((name, identity))
        if verifier is None or name in names:
            continue
        if not verifier.verify(text, signature):
            raise NoteForged(f"signature of {name} does not match the text")
        names.append(name)
    if not names:
        raise NoteUnsigned("no signature by a known key")
    return text, tuple(names)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: which log, how many leaves, which root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Returns the note text: origin, size, base64 root."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Returns the tree head of a note text; extension lines are ignored.

        Raises:
            NoteMalformed: fewer than three lines, a size with leading zeroes, or a root that is not 32 bytes.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise NoteMalformed("a checkpoint has at least three non-empty lines")
        origin, size, root = lines[0], lines[1], _base64(lines[2], "root")
        if not (size.isascii() and size.isdigit()) or str(int(size)) != size:
            raise NoteMalformed(f"tree size {size!r} is not a decimal without leading zeroes")
        if len(root) != 32:
            raise NoteMalformed(f"root of {len(root)} bytes, expected 32")
        return cls(origin, int(size), root)


def _signature(line: str) -> tuple[str, bytes, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "—":
        raise NoteMalformed(f"signature line {line[:60]!r} is not '— name base64'")
    data = _base64(parts[2], "signature")
    if len(data) < 5:
        raise NoteMalformed(f"signature of {parts[1]} is too short")
    return parts[1], data[:4], data[4:]


def _base64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteMalformed(f"{what} is not base64: {error}") from error
    if base64.b64encode(data).decode() != text:
        raise NoteMalformed(f"{what} is base64 with stray bits")
    return data


def _check_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() for character in name):
        raise NoteMalformed(f"key name {name!r} is empty or holds a space or a plus")


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise NoteMalformed("the note text does not end in a newline")
    if any(character < " " and character != "\n" for character in text):
        raise NoteMalformed("the note text holds control characters")
