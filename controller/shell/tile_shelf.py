"""The log as static files beside the ledger, `tiles/`: what anybody may mirror, served read-only by the console.

Written after commits, some entries at a time; `checkpoint` is written last, so that every tile it needs is there.
Tiles follow from the ledger: a damaged or lost folder is written anew.

Source: C2SP tlog-tiles.
"""

from __future__ import annotations

import logging
import shutil
from itertools import islice
from pathlib import Path

from controller.ledger.merkle import root_of
from controller.ledger.note import Checkpoint, NoteError
from controller.ledger.tiles import WIDTH, EntryTooLong, entry_tiles, tile_path
from controller.store.ledger_port import LedgerStore

log = logging.getLogger("hub")

TILES = "tiles"
CHECKPOINT = "checkpoint"
ENTRIES_PER_CALL = 512
"""How much one commit may be held up: some milliseconds."""


class TileShelf:
    """The tiles of one ledger; used by the thread that owns the books."""

    def __init__(self, folder: Path, store: LedgerStore, per_call: int = ENTRIES_PER_CALL) -> None:
        self._folder = folder
        self._store = store
        self._per_call = per_call
        self._size = 0  # entries that are in tiles
        self._edge: list[list[bytes]] = []  # per level: the hashes of its last tile, which is not full
        self._bundle: list[bytes] = []  # the documents of the last bundle
        self._shown = ""
        self._broken = False
        self._resume()

    def advance(self) -> bool:
        """Writes some of what the newest checkpoint needs; returns whether all of it is there."""
        last = self._store.last_checkpoint()
        if last is None or self._broken:
            return not self._broken
        size, note = last
        end = min(size, self._size + self._per_call)
        try:
            for row in islice(self._store.entries(self._size), end - self._size):
                self._push(0, row.leaf)
                self._bundle.append(row.document)
                self._size += 1
                if len(self._bundle) == WIDTH:
                    self._write_bundle()
                    self._bundle = []
            if self._size != size or note == self._shown:
                return self._size == size
            self._partials()
        except EntryTooLong:
            self._broken = True  # the log stays sound; it only cannot be shown in this form
            log.exception("event=tiles-stopped")
            return False
        self._write(CHECKPOINT, note.encode())
        self._shown = note
        return True

    def _push(self, level: int, value: bytes) -> None:
        """Adds a hash to a level; a full tile is written, and its root goes to the level above."""
        if level == len(self._edge):
            self._edge.append([])
        row = self._edge[level]
        row.append(value)
        if len(row) == WIDTH:
            self._write(tile_path(level, self._index(level), WIDTH), b"".join(row))
            self._edge[level] = []
            self._push(level + 1, root_of(row))

    def _index(self, level: int) -> int:
        """Returns the number of the last tile of a level, before `_size` counts the newest entry."""
        return self._size // WIDTH ** (level + 1)

    def _partials(self) -> None:
        for level, row in enumerate(self._edge):
            if row:
                self._partial(tile_path(level, self._size // WIDTH ** (level + 1), len(row)), b"".join(row))
        if self._bundle:
            first = self._size // WIDTH * WIDTH
            ((path, content),) = entry_tiles(self._bundle, first)
            self._partial(path, content)

    def _write_bundle(self) -> None:
        ((path, content),) = entry_tiles(self._bundle, self._size - WIDTH)
        self._write(path, content)

    def _partial(self, path: str, content: bytes) -> None:
        """Writes a tile that is not full, in place of the one that was there."""
        self._write(path, content)
        place = self._folder / path
        for old in place.parent.iterdir():
            if old != place:
                old.unlink()

    def _write(self, path: str, content: bytes) -> None:
        place = self._folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_name(f".{place.name}.new")
        fresh.write_bytes(content)
        fresh.replace(place)
        if ".p/" not in path and path != CHECKPOINT:
            shutil.rmtree(place.with_name(f"{place.name}.p"), ignore_errors=True)

    def _resume(self) -> None:
        """Reads how far the folder has come; if it is not of this log, it is written anew."""
        try:
            note = (self._folder / CHECKPOINT).read_text(encoding="utf-8")
            head = Checkpoint.parse(note[: note.index("\n\n") + 1])
            self._edge = self._read_edge(head.size)
        except (OSError, NoteError, ValueError):
            return
        own = self._store.leaves(head.size // WIDTH * WIDTH, head.size % WIDTH)
        if own != (self._edge[0] if self._edge else []) or self._root() != head.root:
            self._edge = []
            return
        self._size, self._shown = head.size, note
        first = head.size // WIDTH * WIDTH
        self._bundle = [row.document for row in islice(self._store.entries(first), head.size - first)]

    def _read_edge(self, size: int) -> list[list[bytes]]:
        edge: list[list[bytes]] = []
        level = 0
        while size >> (8 * level):
            count = size >> (8 * level)
            width = count % WIDTH
            data = (self._folder / tile_path(level, count // WIDTH, width)).read_bytes() if width else b""
            if len(data) != 32 * width:
                raise ValueError(f"tile of level {level} has {len(data)} bytes")
            edge.append([data[at : at + 32] for at in range(0, len(data), 32)])
            level += 1
        return edge

    def _root(self) -> bytes:
        """Returns the root over the edge: the parts of a level that are not full lie right of those above."""
        root = b""
        for row in self._edge:
            if row or root:
                root = root_of([*row, root] if root else row)
        return root
