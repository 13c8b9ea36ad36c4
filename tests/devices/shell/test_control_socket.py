"""The control socket: long requests up to a limit, and a clear answer beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.shell.control_socket import LINE_MAX, ControlSocket, ask


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    server = ControlSocket(tmp_path / "x.sock", lambda request: {"length": len(str(request.get("text")))})
    server.start()
    yield tmp_path / "x.sock"
    server.stop()


def test_a_charter_with_a_year_of_coefficients_fits_in_one_line(path: Path) -> None:
    assert ask(path, {"text": "x" * 900_000}) == {"length": 900_000}


def test_a_longer_request_is_refused_by_name_and_the_next_one_is_served(path: Path) -> None:
    assert ask(path, {"text": "x" * 3 * LINE_MAX}) == {"error": f"the request is longer than {LINE_MAX} bytes"}
    assert ask(path, {"text": "xy"}) == {"length": 2}
