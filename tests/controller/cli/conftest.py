"""Where the tests of the command line work."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.cli import exit_code


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a technician's key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATOLL_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("ATOLL_SITE", raising=False)
    assert exit_code(["key", "new", "tech.pem"]) == 0
    return tmp_path
