"""Tiles beside the ledger: the same as made at once, some entries at a time, and written anew when damaged."""

from __future__ import annotations

import shutil

import pytest

from controller.ledger.entries import derived_id
from controller.ledger.note import Checkpoint
from controller.ledger.tiles import entry_tiles, hash_tiles
from controller.shell.books import Books
from controller.shell.tile_shelf import TileShelf
from controller.store.ledger_file import LedgerFile
from tests.ledger_village import local_midnight, rules

START = local_midnight("2026-06-01")


def grow(path, count, since=0):
    books = Books.open(path, rules(1))
    for number in range(since, since + count):
        books.append("note", {"text": f"number {number}"}, derived_id(START, "note", number), START)
    return books.close(START).entries


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def expected(file):
    size, note = file.last_checkpoint()
    found = dict(hash_tiles(file.leaves(0, size)))
    found |= entry_tiles([row.document for row in file.entries()][:size])
    return {path: data for path, data in found.items() if data} | {"checkpoint": note.encode()}


def finish(shelf):
    for calls in range(1, 1_000):
        if shelf.advance():
            return calls
    raise AssertionError("never done")


@pytest.mark.parametrize("counts", [(3, 1), (240, 300), (1, 256), pytest.param((66_000, 2), marks=pytest.mark.deep)])
def test_tiles_are_those_of_the_whole_log_also_after_restarts(tmp_path, counts):
    path, folder, since = tmp_path / "ledger.db", tmp_path / "tiles", 0
    for count in counts:
        size = grow(path, count, since)
        since += count
        file = LedgerFile.read(path)
        shelf = TileShelf(folder, file, per_call=100)
        calls = finish(shelf)
        assert calls <= size // 100 + 1  # never more than was asked for at once
        assert shelf.advance()
        assert files(folder) == expected(file)
        text = (folder / "checkpoint").read_text()
        assert Checkpoint.parse(text[: text.index("\n\n") + 1]).size == size
        file.close()
    assert finish(TileShelf(folder, LedgerFile.read(path))) == 1  # nothing is left to write


def test_a_folder_that_is_damaged_or_of_another_log_is_written_anew(tmp_path):
    path, folder = tmp_path / "ledger.db", tmp_path / "tiles"
    grow(path, 300)
    file = LedgerFile.read(path)
    finish(TileShelf(folder, file))
    right = files(folder)
    (partial,) = (folder / "tile" / "0" / "001.p").iterdir()
    for damage in (
        lambda: partial.write_bytes(bytes(len(partial.read_bytes()))),
        partial.unlink,
        lambda: (folder / "checkpoint").write_text("nonsense"),
        lambda: shutil.rmtree(folder),
    ):
        damage()
        finish(TileShelf(folder, file))
        assert files(folder) == right
    file.close()
