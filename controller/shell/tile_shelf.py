"""The log as static files beside the ledger, `tiles/`: what anybody may mirror, served read-only by the console.

Written after commits, some entries at a time; `checkpoint` is written last, when every tile it needs is on the disk,
and those that only the one before it needed go after that. Tiles follow from the ledger: when it is opened each of them
is read and compared with it, and a folder in which one is damaged or missing is written anew.

Source: C2SP tlog-tiles.
"""

from __future__ import annotations

import logging
import os
import shutil
import struct
from itertools import islice
from pathlib import Path

from controller.ledger.merkle import leaf_hashes, root_of
from controller.ledger.note import Checkpoint, NoteError
from controller.ledger.tiles import WIDTH, EntryTooLong, bundled, entry_tiles, hash_tiles, tile_path
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
        self._unsynced: set[Path] = set()  # written since the last checkpoint, with the folders that name it
        self._served: set[Path] = set()  # tiles that were not full, which a new checkpoint puts out of use
        self._broken = False
        self._resume()

    def advance(self) -> bool:
        """Writes some of what the newest checkpoint needs; returns whether all of it is there."""
        last = self._store.last_checkpoint()
        if last is None or self._broken:
            return not self._broken
        size, note = last
        if note == self._shown:
            return True
        end = min(size, self._size + self._per_call)
        try:
            for row in islice(self._store.entries(self._size), end - self._size):
                self._push(0, row.leaf)
                self._bundle.append(row.document)
                self._size += 1
                if len(self._bundle) == WIDTH:
                    self._write_bundle()
                    self._bundle = []
            if self._size != size:
                return False
            self._partials()
        except EntryTooLong:
            self._broken = True  # the log stays sound; it only cannot be shown in this form
            log.exception("event=tiles-stopped")
            return False
        self._sync()
        self._write(CHECKPOINT, note.encode())
        self._sync()
        self._clear()
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
        """Writes a tile that is not full; the one that was there goes when the checkpoint needs it no more."""
        self._write(path, content)
        place = self._folder / path
        self._served |= {old for old in place.parent.iterdir() if old != place}

    def _write(self, path: str, content: bytes) -> None:
        place = self._folder / path
        there = place.parent
        while not there.exists():
            there = there.parent
            self._unsynced.add(there)
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_name(f".{place.name}.new")
        with fresh.open("wb") as file:
            file.write(content)
            if path == CHECKPOINT:
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(place)
        self._unsynced |= {place, place.parent}
        if ".p/" not in path and path != CHECKPOINT:
            self._served.add(place.with_name(f"{place.name}.p"))

    def _sync(self) -> None:
        """Waits until what was written, and the names of it, are on the disk."""
        for path in sorted(self._unsynced, key=lambda path: path.is_dir()):
            if path.exists():
                file = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)
        self._unsynced.clear()

    def _clear(self) -> None:
        """Removes the tiles that only the checkpoint before this one needed."""
        for old in self._served:
            if old.is_dir():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.unlink(missing_ok=True)
        self._served.clear()

    def _resume(self) -> None:
        """Reads how far the folder has come; if anything in it is not of this log, it is written anew."""
        try:
            note = (self._folder / CHECKPOINT).read_text(encoding="utf-8")
            head = Checkpoint.parse(note[: note.index("\n\n") + 1])
            self._edge = self._read_edge(head.size)
            self._compare(head.size, head.root)
        except (OSError, NoteError, ValueError, struct.error) as error:
            if self._folder.exists():
                log.warning("event=tiles-anew folder=%s text=%r", self._folder, str(error))
            self._edge = []
            return
        self._size, self._shown = head.size, note
        first = head.size // WIDTH * WIDTH
        self._bundle = [row.document for row in islice(self._store.entries(first), head.size - first)]

    def _compare(self, size: int, root: bytes) -> None:
        """Compares every tile of the first `size` entries with the ledger, and their edge with the root.

        Raises:
            ValueError: one is not what it should be, or is not there (OSError).
        """
        leaves = self._store.leaves(0, size)
        if len(leaves) != size:
            raise ValueError(f"the checkpoint is of {size} entries, the ledger has {len(leaves)}")
        if self._root() != root:
            raise ValueError("the checkpoint is of another log")
        for path, content in hash_tiles(leaves):
            if (self._folder / path).read_bytes() != content:
                raise ValueError(f"{path} is damaged")
        for first in range(0, size, WIDTH):
            part = leaves[first : first + WIDTH]
            path = tile_path("entries", first // WIDTH, len(part))
            if leaf_hashes(bundled((self._folder / path).read_bytes())) != part:
                raise ValueError(f"{path} is damaged")

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
