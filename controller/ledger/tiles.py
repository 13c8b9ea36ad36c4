"""The log as static files: 256 hashes a tile, so that anybody can mirror it and make proofs without asking us.

Source: C2SP tlog-tiles: `tile/<level>/<index>[.p/<width>]`, `tile/entries/<index>[.p/<width>]`, `checkpoint`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from controller.ledger.merkle import root_of

WIDTH = 256
ENTRY_BYTES_MAX = 2**16 - 1


class EntryTooLong(ValueError):
    """An entry of more bytes than an entry bundle can hold."""


def tile_path(level: int | str, index: int, width: int = WIDTH) -> str:
    """Returns a tile's path: `tile/0/x001/x234/067`, `tile/1/000.p/3`; level may be `entries`."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03d}")
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(groups)}{partial}"


def hash_tiles(leaves: Sequence[bytes], since: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yields (path, content) of the tiles of a log that were not full, or not there, when it had `since` entries.

    A tile of level L holds the roots of subtrees of 256^L leaves; the last of a level may be partial.
    """
    level, hashes, done = 0, list(leaves), since
    while hashes:
        for start in range(done // WIDTH * WIDTH, len(hashes), WIDTH):
            chunk = hashes[start : start + WIDTH]
            yield tile_path(level, start // WIDTH, len(chunk)), b"".join(chunk)
        hashes = [root_of(hashes[at : at + WIDTH]) for at in range(0, len(hashes) - WIDTH + 1, WIDTH)]
        level, done = level + 1, done // WIDTH


def entry_tiles(documents: Sequence[bytes], first: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yields (path, content) of entry bundles; `documents` are the entries from number `first`, a multiple of 256.

    Raises:
        EntryTooLong: an entry of 64 KiB or more.
    """
    assert first % WIDTH == 0, f"a bundle begins at a multiple of {WIDTH}, not at {first}"
    for start in range(0, len(documents), WIDTH):
        chunk = documents[start : start + WIDTH]
        for at, document in enumerate(chunk):
            if len(document) > ENTRY_BYTES_MAX:
                raise EntryTooLong(
                    f"entry {first + start + at} has {len(document)} bytes, at most {ENTRY_BYTES_MAX} fit"
                )
        content = b"".join(struct.pack(">H", len(document)) + document for document in chunk)
        yield tile_path("entries", (first + start) // WIDTH, len(chunk)), content


def bundled(content: bytes) -> Iterator[bytes]:
    """Yields the documents of an entry bundle; one that is cut off is shorter than it says.

    Raises:
        struct.error: it ends within a length.
    """
    at = 0
    while at < len(content):
        (length,) = struct.unpack_from(">H", content, at)
        yield content[at + 2 : at + 2 + length]
        at += 2 + length
