"""Cosignatures: what a witness adds to a checkpoint after it has checked that the log only grew.

Source: C2SP tlog-cosignature: Ed25519 (`cosignature/v1`, key type 0x04) and ML-DSA-44 (`subtree/v1`, 0x06).
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from controller.ledger.note import Checkpoint, NoteForged, NoteMalformed
from devices.clock import Instant


class Algorithm(IntEnum):
    """The key types of cosigners."""

    ED25519 = 0x04
    ML_DSA_44 = 0x06


KEY_BYTES = {Algorithm.ED25519: 32, Algorithm.ML_DSA_44: 1312}
SIGNATURE_BYTES = {Algorithm.ED25519: 64, Algorithm.ML_DSA_44: 2420}


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness's public key."""

    name: str
    algorithm: Algorithm
    public_key: bytes

    @classmethod
    def parse(cls, text: str) -> Cosigner:
        """Returns the key in `name+hexid+base64(type || key)`.

        Raises:
            NoteMalformed: not of that form, of another type, or an id that does not belong to the key.
        """
        name, _, rest = text.strip().partition("+")
        hex_id, _, encoded = rest.partition("+")
        try:
            data = base64.b64decode(encoded, validate=True)
            cosigner = cls(name, Algorithm(data[0]), data[1:])
        except (binascii.Error, ValueError, IndexError) as error:
            raise NoteMalformed(f"witness key {text[:60]!r} is not name+id+base64 of type 0x04 or 0x06") from error
        if not name or len(cosigner.public_key) != KEY_BYTES[cosigner.algorithm] or cosigner.id.hex() != hex_id:
            raise NoteMalformed(f"witness key of {name!r}: its id or length does not belong to it")
        return cosigner

    @property
    def id(self) -> bytes:
        """Returns the 4-byte key id."""
        return sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public_key).digest()[:4]

    def text(self) -> str:
        """Returns `name+hexid+base64(type || key)`."""
        encoded = base64.b64encode(bytes([self.algorithm]) + self.public_key).decode()
        return f"{self.name}+{self.id.hex()}+{encoded}"

    def verify(self, text: str, signature: bytes) -> int:
        """Returns the POSIX time [s] of a cosignature over a checkpoint's text.

        Raises:
            NoteForged: it is not this cosigner's over that text.
        """
        if len(signature) != 8 + SIGNATURE_BYTES[self.algorithm]:
            raise NoteForged(f"cosignature of {self.name} has {len(signature)} bytes")
        seconds = int.from_bytes(signature[:8], "big")
        message = cosigned_message(self, text, seconds)
        try:
            if self.algorithm is Algorithm.ED25519:
                Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature[8:], message)
            else:
                MLDSA44PublicKey.from_public_bytes(self.public_key).verify(signature[8:], message)
        except InvalidSignature as error:
            raise NoteForged(f"cosignature of {self.name} does not match the checkpoint") from error
        return seconds


class CosignKey:
    """A witness's private key, made from a 32-byte seed."""

    __slots__ = ("_key", "cosigner")

    def __init__(self, name: str, algorithm: Algorithm, seed: bytes) -> None:
        if algorithm is Algorithm.ED25519:
            self._key = Ed25519PrivateKey.from_private_bytes(seed)
        else:
            self._key = MLDSA44PrivateKey.from_seed_bytes(seed)
        self.cosigner = Cosigner(name, algorithm, self._key.public_key().public_bytes_raw())

    def cosign(self, text: str, now: Instant) -> str:
        """Returns the signature line over a checkpoint's text."""
        seconds = now // 1000
        signature = self._key.sign(cosigned_message(self.cosigner, text, seconds))
        encoded = base64.b64encode(self.cosigner.id + struct.pack(">Q", seconds) + signature).decode()
        return f"— {self.cosigner.name} {encoded}\n"


@dataclass(frozen=True, slots=True)
class Policy:
    """How many of which witnesses must have cosigned; one witness may have a key of either type."""

    cosigners: tuple[Cosigner, ...]
    needed: int

    def names(self, note: str) -> tuple[str, ...]:
        """Returns the witnesses that have cosigned, in order.

        Raises:
            NoteForged: the line of a known key does not match.
        """
        return tuple(sorted({cosigner.name for cosigner, _ in cosignatures(note, self.cosigners)}))

    def met(self, note: str) -> bool:
        """Returns whether enough witnesses have cosigned."""
        return len(self.names(note)) >= self.needed


def cosigned_message(cosigner: Cosigner, text: str, seconds: int) -> bytes:
    """Returns the bytes that a cosigner of that type signs for a checkpoint's text at a POSIX time.

    Raises:
        NoteMalformed: the text is not a checkpoint.
    """
    if cosigner.algorithm is Algorithm.ED25519:
        return f"cosignature/v1\ntime {seconds}\n{text}".encode()
    head = Checkpoint.parse(text)
    name, origin = cosigner.name.encode(), head.origin.encode()
    if not (0 < len(name) < 256 and 0 < len(origin) < 256):
        raise NoteMalformed("names of witnesses and logs have 1 to 255 bytes")
    return b"".join(
        (
            b"subtree/v1\n\0", bytes([len(name)]), name, struct.pack(">Q", seconds), bytes([len(origin)]), origin,
            struct.pack(">QQ", 0, head.size), head.root,
        )
    )  # fmt: skip


def cosignatures(note: str, cosigners: Sequence[Cosigner]) -> list[tuple[Cosigner, int]]:
    """Returns (cosigner, POSIX time [s]) of every line of a known key in a signed checkpoint; others are ignored.

    Raises:
        NoteMalformed: not a signed note.
        NoteForged: the line of a known key does not match.
    """
    text, lines = split_note(note)
    known = {(cosigner.name, cosigner.id): cosigner for cosigner in cosigners}
    found: list[tuple[Cosigner, int]] = []
    for line in lines:
        name, data = _signature_line(line)
        cosigner = known.get((name, data[:4]))
        if cosigner is not None:
            found.append((cosigner, cosigner.verify(text, data[4:])))
    return found


def with_cosignatures(note: str, lines: Iterable[str], cosigners: Sequence[Cosigner]) -> str:
    """Returns the note with those of the lines that are of known keys, each once, after its own signatures.

    Raises:
        NoteForged: the line of a known key does not match.
    """
    text, own = split_note(note)
    known = {(cosigner.name, cosigner.id): cosigner for cosigner in cosigners}
    for line in lines:
        name, data = _signature_line(line.rstrip("\n"))
        cosigner = known.get((name, data[:4]))
        if cosigner is not None:
            cosigner.verify(text, data[4:])
            own = [other for other in own if _signature_line(other)[1][:4] != data[:4]] + [line.rstrip("\n")]
    return text + "\n" + "".join(f"{line}\n" for line in own)


def split_note(note: str) -> tuple[str, list[str]]:
    """Returns (text, signature lines) of a signed note.

    Raises:
        NoteMalformed: it is none.
    """
    split = note.rfind("\n\n")
    if split < 0 or not note.endswith("\n"):
        raise NoteMalformed("no blank line between text and signatures")
    return note[: split + 1], note[split + 2 :].splitlines()


def _signature_line(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    try:
        data = base64.b64decode(parts[-1], validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(parts) != 3 or parts[0] != "—" or len(data) < 5:
        raise NoteMalformed(f"signature line {line[:60]!r} is not '— name base64'")
    return parts[1], data
