"""The console on a real uvicorn, on a free loopback port, and in-process clients."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi.testclient import TestClient

from controller.console.app import make_app
from controller.console.auth import MemorySessions
from controller.console.config import ConsoleConfig
from tests.controller.console.village import Village

CODE = "abcd-efgh-jkmn-pqrs"
HOST = "localhost"
BASE = f"http://{HOST}"
ORIGIN = {"Origin": BASE}


def config(**changes: object) -> ConsoleConfig:
    return ConsoleConfig(MemorySessions(CODE), **changes)  # type: ignore[arg-type]  # tests name fields of ConsoleConfig


def client(village: Village, **changes: object) -> TestClient:
    app = make_app(village, config(**changes))
    return TestClient(app, base_url=BASE, follow_redirects=False)


def operator(village: Village, name: str = "Mele", **changes: object) -> TestClient:
    one = client(village, **changes)
    answer = one.post("/login", data={"code": CODE, "name": name, "next": "/"}, headers=ORIGIN)
    assert answer.status_code == 303
    return one


@contextmanager
def serving(village: Village, **changes: object) -> Iterator[str]:
    """Serves the console and yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = make_app(village, config(stream_period_s=0.1, **changes))
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=1, lifespan="on", ws="none")
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.started
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive(), "an open stream held the shutdown up"
