"""What a gateway must know again after any end: lock-out tags, latched interlocks, pulse counts, the last setpoint.

Two files beside outbox.db. `guard.json` is replaced whole and durable (fsync) at every change. `counts.bin` holds
numbers that change every second: each has two slots with a checksum that are written in turn, so that a torn write
leaves the older one. A slot is with the kernel at once, which `kill -9` cannot undo, and on the card at the latest
`SYNC_S` later, which spares it.
"""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from devices.clock import Instant
from devices.gateway_events import Tag
from devices.model import DeviceId

SYNC_S = 30.0
COUNTERS_MAX = 64
NAME_BYTES = 88
_SLOT = struct.Struct(f"<{NAME_BYTES}sQqqI")  # name, version, two numbers, CRC-32 of all before
_BODY = _SLOT.size - 4


class GuardDamaged(OSError):
    """guard.json does not say what it must."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Tags and latched interlocks."""

    tags: tuple[Tag, ...] = ()
    latched: frozenset[str] = frozenset()


class GuardFile:
    """`guard.json` of one gateway."""

    def __init__(self, path: Path) -> None:
        """Takes where it is; there need be none yet."""
        self._path = path

    def load(self) -> Guard:
        """Returns what was kept.

        Raises:
            GuardDamaged: the file is there and cannot be read: nobody may guess that nothing was locked out.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Guard()
        try:
            content = cast("dict[str, list[object]]", json.loads(text))
            tags = [cast("tuple[str, str, str, int]", tuple(cast("list[object]", row))) for row in content["tags"]]
            latched = frozenset(str(name) for name in content["latched"])
            return Guard(tuple(Tag(DeviceId(d), holder, why, Instant(at)) for d, holder, why, at in tags), latched)
        except (ValueError, KeyError, TypeError) as error:
            raise GuardDamaged(
                f"{self._path} is damaged ({error}): lock-out tags were in it. See what is locked out on site, then"
                f" delete the file and set the tags again"
            ) from error

    def save(self, tags: Iterable[Tag], latched: Iterable[str]) -> None:
        """Replaces the file; on return it is durable."""
        rows = [[tag.device, tag.holder, tag.reason, tag.at] for tag in tags]
        text = json.dumps({"schema": 1, "tags": rows, "latched": sorted(latched)})
        fresh = self._path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class CountFile:
    """`counts.bin`: a few named pairs of whole numbers that survive `kill -9` at no cost to the card."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file; slots that are torn or foreign are skipped."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._places: dict[str, tuple[int, int]] = {}  # name -> (pair, version)
        self._values: dict[str, tuple[int, int]] = {}
        self._synced = time.monotonic()
        data = os.pread(self._file, 2 * COUNTERS_MAX * _SLOT.size, 0)
        for index in range(len(data) // _SLOT.size):
            self._take(index, data[index * _SLOT.size : (index + 1) * _SLOT.size])

    def _take(self, index: int, slot: bytes) -> None:
        raw, version, first, second, crc = _SLOT.unpack(slot)
        if crc != zlib.crc32(slot[:_BODY]) or not version:
            return
        name = raw.rstrip(b"\0").decode(errors="replace")
        if version > self._places.get(name, (0, 0))[1]:
            self._places[name] = (index // 2, version)
            self._values[name] = (first, second)

    def get(self, name: str, default: tuple[int, int] = (0, 0)) -> tuple[int, int]:
        """Returns a pair of numbers, or the default."""
        return self._values.get(name, default)

    def put(self, name: str, first: int, second: int = 0) -> None:
        """Keeps a pair.

        Raises:
            ValueError: a name too long, or too many of them.
        """
        encoded = name.encode()
        pair, version = self._places.get(name, (len({place for place, _ in self._places.values()}), 0))
        if len(encoded) > NAME_BYTES or pair >= COUNTERS_MAX:
            raise ValueError(f"no room for a counter {name!r}")
        self._places[name] = (pair, version + 1)
        self._values[name] = (first, second)
        body = _SLOT.pack(encoded, version + 1, first, second, 0)[:_BODY]
        slot = body + zlib.crc32(body).to_bytes(4, "little")
        os.pwrite(self._file, slot, (2 * pair + (version + 1) % 2) * _SLOT.size)
        if time.monotonic() - self._synced >= SYNC_S:
            self.sync()

    def sync(self) -> None:
        """Puts everything on the card."""
        os.fdatasync(self._file)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Ends it; all is on the card."""
        self.sync()
        os.close(self._file)
