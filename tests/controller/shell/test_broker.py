"""Broker children for real: found, started, restarted, gone with their parent."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.shell.broker import (
    BrokerChild,
    BrokerChoice,
    BrokerFailed,
    BrokerKind,
    NoBroker,
    NoFreePort,
    choose,
    free_port,
    mosquitto_config,
)

pytestmark = pytest.mark.integration

BOTH = [pytest.param("mosquitto", marks=pytest.mark.needs("mosquitto")), "nats"]
WAIT_S = 15.0


@pytest.fixture(params=BOTH)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerChild]:
    child = BrokerChild(choose(None, request.param), free_port("127.0.0.1", 20_000 + os.getpid() % 10_000), tmp_path)
    child.start()
    yield child
    child.stop()


def test_a_port_in_use_means_the_next_free_one_said_clearly(broker: BrokerChild, tmp_path: Path):
    second = BrokerChild(broker.choice, broker.port, tmp_path / "second")
    second.start()
    try:
        assert second.port > broker.port
        assert f"port {broker.port} was in use" in second.describe()
    finally:
        second.stop()


def test_describe_says_what_runs_and_what_it_cannot_do(broker: BrokerChild):
    text = broker.describe()
    assert broker.address in text
    assert ("no MQTT 5" in text) == (broker.choice.kind is BrokerKind.NATS)


def test_stop_ends_the_child(broker: BrokerChild):
    pid = broker.pid
    assert pid is not None
    broker.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert broker.poll() == ""


PARENT = """
import sys, time
from controller.shell.broker import BrokerChild, choose
child = BrokerChild(choose(None, sys.argv[1]), int(sys.argv[2]), sys.argv[3])
child.start()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("kind", BOTH)
def test_the_broker_dies_with_its_parent_however_that_went(kind: str, tmp_path: Path):
    arguments = [sys.executable, "-c", PARENT, kind, str(free_port("127.0.0.1", 28_000)), str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + WAIT_S
    while running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(pid: int) -> bool:
    """Returns whether a process runs; one that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_broker_that_cannot_start_is_an_error_with_its_last_words(tmp_path: Path):
    program = tmp_path / "broker-of-woe"
    program.write_text("#!/bin/sh\necho 'Error: no such listener'\nexit 3\n")
    program.chmod(0o755)
    child = BrokerChild(BrokerChoice(BrokerKind.MOSQUITTO, str(program)), free_port("127.0.0.1", 27_000), tmp_path)
    with pytest.raises(BrokerFailed, match=r"(?s)ended with code 3.*no such listener"):
        child.start()


def test_a_broker_that_keeps_dying_is_not_started_in_a_circle(tmp_path: Path):
    program = tmp_path / "broker-of-woe"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    child = BrokerChild(BrokerChoice(BrokerKind.MOSQUITTO, str(program)), 27_100, tmp_path)
    child._spawn()
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        child.poll()
        time.sleep(0.01)
    assert 2 <= child.restarts <= 4
    assert "ended with code 3" in child.describe()


def test_the_configured_broker_comes_first_and_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ATOLL_BROKER", raising=False)
    choice = choose("mqtt.example:8883")
    child = BrokerChild(choice, 1883, tmp_path)
    child.start()
    assert (child.address, child.poll(), child.pid) == ("mqtt.example:8883", "", None)
    assert child.describe() == "configured on mqtt.example:8883"
    child.stop()


@pytest.mark.parametrize("text", ["nohost", "host:", ":1883", "host:70000", "host:x"])
def test_a_configured_broker_that_is_no_address_is_refused(text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ATOLL_BROKER", raising=False)
    with pytest.raises(ValueError, match="host:port"):
        choose(text)


def test_the_environment_forces_a_broker(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ATOLL_BROKER", "nats")
    assert choose(None).kind is BrokerKind.NATS
    monkeypatch.setenv("ATOLL_BROKER", "rabbit")
    with pytest.raises(ValueError, match="rabbit"):
        choose(None)


def test_without_any_broker_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("controller.shell.broker._mosquitto", lambda: None)
    with pytest.raises(NoBroker, match="apt-get install mosquitto"):
        choose(None, "mosquitto")


def test_no_free_port_says_which_were_tried():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NoFreePort, match=str(port)):
            free_port("127.0.0.1", port, tried=1)


def test_the_tuned_file_drops_nothing_for_want_of_queue_and_keeps_nothing_on_disk():
    lines = mosquitto_config("127.0.0.1", 1883).splitlines()
    assert lines[0] == "listener 1883 127.0.0.1"
    for line in ("persistence false", "max_inflight_messages 0", "max_queued_messages 0", "max_packet_size 262144"):
        assert line in lines
