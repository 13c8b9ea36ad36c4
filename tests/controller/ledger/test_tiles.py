"""Tiles: their paths, and that the tree and its entries come back from the files alone."""

from __future__ import annotations

import struct

import pytest

from controller.ledger.merkle import leaf_hash, root_of
from controller.ledger.tiles import EntryTooLong, entry_tiles, hash_tiles, tile_path

LEAVES = [leaf_hash(struct.pack(">I", n)) for n in range(66_000)]


def test_paths_are_those_of_the_specification():
    assert tile_path(0, 1_234_067) == "tile/0/x001/x234/067"
    assert tile_path(1, 0, 3) == "tile/1/000.p/3"
    assert tile_path("entries", 273, 112) == "tile/entries/273.p/112"


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1_000, 66_000])
def test_the_root_comes_back_from_the_tiles(size):
    files = dict(hash_tiles(LEAVES[:size]))
    held = b"".join(content for path, content in files.items() if path.startswith("tile/0/"))
    assert root_of([held[at : at + 32] for at in range(0, len(held), 32)]) == root_of(LEAVES[:size])
    for level in range(3):  # every hash above is the root of one full tile below
        for index in range(size // 256 ** (level + 1)):
            below = files[tile_path(level, index)]
            above = next(
                content
                for path, content in files.items()
                if path.partition(".p")[0] == tile_path(level + 1, index // 256)
            )
            node = root_of([below[at : at + 32] for at in range(0, len(below), 32)])
            assert above[index % 256 * 32 : index % 256 * 32 + 32] == node


@pytest.mark.parametrize(("before", "after"), [(0, 10), (10, 300), (256, 257), (511, 65_600), (65_536, 66_000)])
def test_a_grown_log_writes_only_what_is_new(before, after):
    kept, new = dict(hash_tiles(LEAVES[:before])), dict(hash_tiles(LEAVES[:after], before))
    full = dict(hash_tiles(LEAVES[:after]))
    assert {path: (kept | new).get(path) for path in full} == full
    unchanged = {path for path in full.keys() & kept.keys() if full[path] == kept[path] and ".p/" not in path}
    assert not unchanged & new.keys()


def test_entries_come_back_from_their_bundles():
    documents = [b"x" * (n % 700) for n in range(600)]
    files = dict(entry_tiles(documents[256:], 256))
    assert list(files) == ["tile/entries/001", "tile/entries/002.p/88"]
    content, found = b"".join(files.values()), []
    while content:
        (length,) = struct.unpack(">H", content[:2])
        found.append(content[2 : 2 + length])
        content = content[2 + length :]
    assert found == documents[256:]
    with pytest.raises(EntryTooLong):
        list(entry_tiles([bytes(65_536)]))
