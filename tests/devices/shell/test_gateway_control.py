"""The gateway process in a technician's hands: gateway.sock by the command line, tags over kill -9, no hub anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest

from controller.cli import exit_code
from controller.shell.broker import free_port
from devices.shell.control_socket import Unreachable, ask
from firmware_sim.products import Product
from tests.devices.shell.relay_server import relay_served

pytestmark = pytest.mark.integration

CHILD = """
import logging, sys
from pathlib import Path
from devices.gateway import GatewayConfig
from devices.model import DeviceId, DeviceKind, DeviceSpec
from devices.shell.gateway import run_gateway
from devices.shell.run_clock import WallClock
from devices.clock import Instant
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
valve = DeviceSpec(DeviceId("valve"), DeviceKind.RELAY, "profile:relay_4ch", "gw-1", sys.argv[3], 1, hazardous=True)
run_gateway(GatewayConfig("gw-1", "village", (valve,), 200), Path(sys.argv[1]), sys.argv[2], WallClock(Instant(0)))
"""


@pytest.fixture
def relay() -> Iterator[tuple[Product, str]]:
    with relay_served("relay_4ch") as served:
        yield served


class Gateway:
    """One gateway process without a broker; restarted at will."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        self.words = [str(folder), f"127.0.0.1:{free_port('127.0.0.1', 21_000)}", endpoint]
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-c", CHILD, *self.words]
        self.child = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                ask(self.folder / "gateway.sock", {"ask": "status"})
            except (Unreachable, OSError):
                assert time.monotonic() < deadline, "no gateway.sock"
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()


@pytest.fixture
def gateway(tmp_path: Path, relay: tuple[Product, str]) -> Iterator[Gateway]:
    one = Gateway(tmp_path, relay[1])
    one.start()
    yield one
    one.kill()


def output(gateway: Gateway) -> Mapping[str, object]:
    state = ask(gateway.folder / "gateway.sock", {"ask": "status"})
    return cast("list[Mapping[str, object]]", state["outputs"])[0]


def test_a_tag_by_the_command_line_outlives_kill_9_and_is_its_holders(
    gateway: Gateway, relay: tuple[Product, str], capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data-dir", str(gateway.folder)]
    product = relay[0]
    product.show("on", 1.0)
    assert exit_code(["lockout", "valve", "--reason", "new seal", *where]) == 0
    assert "locked out" in capsys.readouterr().out
    deadline = time.monotonic() + 20
    while product.read(1, 0, 1) != [0]:
        assert time.monotonic() < deadline, "a tag opens the relay, without any hub"
        time.sleep(0.05)
    gateway.kill()
    gateway.start()
    assert "new seal" in str(output(gateway)["locked_out"])
    assert exit_code(["lockout", "valve", "--reason", "again", "--json", *where]) == 6
    assert json.loads(capsys.readouterr().out)["code"] == "locked-out"
    assert exit_code(["lockout", "tap", "--reason", "x", *where]) == 2
    assert exit_code(["unlock", "valve", *where]) == 0
    assert output(gateway)["locked_out"] == ""
    assert exit_code(["operate", "valve", "1", "--reason", "x", "--yes", *where]) == 1
    assert exit_code(["reset", "feeder", "--reason", "x", *where]) == 2
    gateway.kill()
    assert exit_code(["unlock", "valve", *where]) == 4


def test_bad_lines_are_answered_and_the_gateway_lives(gateway: Gateway) -> None:
    path = gateway.folder / "gateway.sock"
    for request in ({}, {"ask": None}, {"ask": ["status"]}, {"ask": "lockout"}, {"ask": "select", "device": {}}):
        answer = ask(path, cast("Mapping[str, object]", request))
        assert "error" in answer or answer["accepted"] is False
    assert output(gateway)["device"] == "valve"
