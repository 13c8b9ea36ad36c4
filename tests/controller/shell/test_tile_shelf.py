"""Tiles beside the ledger: the same as made at once, some entries at a time, and written anew when damaged."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

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
    (bundle,) = (folder / "tile" / "entries" / "001.p").iterdir()
    for damage in (
        lambda: partial.write_bytes(bytes(len(partial.read_bytes()))),
        partial.unlink,
        lambda: (folder / "checkpoint").write_text("nonsense"),
        (folder / "tile" / "0" / "000").unlink,
        lambda: (folder / "tile" / "0" / "000").write_bytes(b""),
        (folder / "tile" / "entries" / "000").unlink,
        lambda: (folder / "tile" / "entries" / "000").write_bytes(right["tile/entries/000"].replace(b"17", b"71")),
        lambda: (folder / "tile" / "entries" / "000").write_bytes(right["tile/entries/000"][:-1]),
        lambda: bundle.write_bytes(bundle.read_bytes() + b"\0"),
        lambda: (folder / "tile" / "1" / "000.p" / "1").write_bytes(bytes(32)),
        lambda: shutil.rmtree(folder),
    ):
        damage()
        finish(TileShelf(folder, file))
        assert files(folder) == right
    file.close()


def test_a_checkpoint_is_written_when_its_tiles_are_on_the_disk_and_older_tiles_go_after_it(tmp_path, monkeypatch):
    path, folder = tmp_path / "ledger.db", tmp_path / "tiles"
    synced: list[str] = []
    left: list[set[str]] = []
    whole = os.fsync

    def fsync(file: int) -> None:
        name = str(Path(f"/proc/self/fd/{file}").readlink())
        if name.endswith(".checkpoint.new"):
            left.append({str(p) for p in folder.rglob("*") if p != Path(name)} - {*synced, str(folder / "checkpoint")})
        synced.append(name)
        whole(file)

    monkeypatch.setattr(os, "fsync", fsync)
    grow(path, 200)
    file = LedgerFile.read(path)
    finish(TileShelf(folder, file))
    served = set(files(folder))
    grow(path, 200, since=200)
    shelf = TileShelf(folder, file, per_call=100)
    while not shelf.advance():
        assert served <= set(files(folder)), "what the checkpoint that is served needs is there"
    assert left == [set(), set()]
    assert files(folder) == expected(file)
    file.close()


def test_a_folder_of_another_log_of_the_same_length_is_written_anew(tmp_path):
    path, other, folder = tmp_path / "ledger.db", tmp_path / "other.db", tmp_path / "tiles"
    size = grow(path, 250)
    grow(path, 256 - size, since=250)
    grow(other, 200)
    grow(other, 56, since=1_000)
    for place in (other, path):
        file = LedgerFile.read(place)
        finish(TileShelf(folder, file))
        assert files(folder) == expected(file)
        file.close()
