"""The log's tiles as the console serves them: only such files, read-only."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from controller.console.app import make_app
from controller.shell.tile_shelf import TileShelf
from controller.store.ledger_file import LedgerFile
from tests.controller.console.served import BASE, config
from tests.controller.console.village import Village
from tests.controller.shell.test_tile_shelf import files, grow


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    grow(folder / "ledger.db", 300)
    file = LedgerFile.read(folder / "ledger.db")
    assert TileShelf(folder / "tiles", file).advance()
    file.close()
    app = make_app(Village(3), replace(config(), tiles=folder / "tiles"))
    return TestClient(app, base_url=BASE), files(folder / "tiles")


def test_every_file_of_the_log_is_served_as_it_lies_there(served):
    client, written = served
    assert {"checkpoint", "tile/0/000", "tile/entries/000"} < set(written)
    for path, content in written.items():
        answer = client.get(f"/log/{path}")
        assert (answer.status_code, answer.content) == (200, content), path
        assert ("immutable" in answer.headers["cache-control"]) == (path in ("tile/0/000", "tile/entries/000"))
        assert client.post(f"/log/{path}").status_code in (403, 405)


@pytest.mark.parametrize(
    "path",
    ["tile/0/001", "tile/64/000", "tile/0/000.p/256", "tile/0/../checkpoint", "tile/0/%2e%2e/%2e%2e/ledger.db", "x"],
)
def test_nothing_else_is(served, path):
    assert served[0].get(f"/log/{path}").status_code == 404


def test_before_the_first_checkpoint_there_is_nothing():
    assert TestClient(make_app(Village(3), config()), base_url=BASE).get("/log/checkpoint").status_code == 404
