"""Hub and gateway as systemd runs them: on a read-only root, fed watchdogs, and safe mode after too many starts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.shell.broker import free_port
from controller.shell.children import wait_until
from controller.shell.control import HubUnreachable, ask
from controller.shell.start_budget import STARTS
from devices.shell.run_clock import boot_id
from tests.integration.stack import VILLAGE

pytestmark = [pytest.mark.integration, pytest.mark.needs("unshare")]
READ_ONLY_ROOT = 'mount --bind "$1" "$1" && mount -o remount,bind,ro / && shift && ! touch /read-only 2>&- && exec "$@"'


class Listener:
    """What systemd is to a service: a socket for its datagrams, and its patience."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.notify"
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.door.bind(str(self.path))
        self.said: list[str] = []

    def hear(self) -> list[str]:
        """Returns what was said since the last call."""
        self.door.setblocking(False)
        new: list[str] = []
        while True:
            try:
                new += self.door.recv(4096).decode().split("\n")
            except BlockingIOError:
                self.said += new
                return new

    def environment(self) -> dict[str, str]:
        return {**os.environ, "NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": "2000000"}


def launch(data: Path, listener: Listener, log: Path, *words: str, read_only: bool) -> subprocess.Popen[bytes]:
    """Starts `atoll run WORDS`; where we may, on a root whose data directory alone can be written."""
    command = [sys.executable, "-m", "controller.cli", "run", *words, "--data-dir", str(data)]
    if read_only:
        command = ["unshare", "--mount", "sh", "-c", READ_ONLY_ROOT, "sh", str(data), *command]
    environment = {**listener.environment(), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(data), "TMPDIR": str(data)}
    with log.open("wb") as out:
        return subprocess.Popen(command, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)


def can_unshare() -> bool:
    done = subprocess.run(
        ["unshare", "--mount", "mount", "-o", "remount,bind,ro", "/"], capture_output=True, check=False
    )
    return done.returncode == 0


def fed(listener: Listener) -> Callable[[], bool]:
    return lambda: "WATCHDOG=1" in listener.hear()


@pytest.mark.needs("mosquitto")
def test_only_completed_cycles_feed_the_watchdog_and_only_the_data_directory_is_written(tmp_path: Path) -> None:
    data, (broker, console) = tmp_path / "data", (free_port("127.0.0.1", port) for port in (22883, 29080))
    data.mkdir()
    heard = {name: Listener(tmp_path, name) for name in ("hub", "gw")}
    log = tmp_path / "log"
    words = ("hub", str(VILLAGE), "--port", str(console), "--broker-port", str(broker), "--start-budget")
    hub = launch(data, heard["hub"], log, *words, read_only=can_unshare())
    gateway = launch(
        data, heard["gw"], tmp_path / "gw.log", "gateway", str(VILLAGE), "--broker", f"127.0.0.1:{broker}",
        read_only=can_unshare(),
    )  # fmt: skip
    processes = {"hub": hub, "gw": gateway}
    try:
        for name, listener in heard.items():
            assert wait_until(fed(listener), 60), f"{name}: {listener.said}\n{log.read_text()}"
            assert listener.said[0] == "READY=1", "ready comes first, with the first cycle"
        for process in processes.values():
            process.send_signal(signal.SIGSTOP)  # alive, its socket open, and hung
        time.sleep(0.5)
        for listener in heard.values():
            listener.hear()
        time.sleep(2.5)
        assert {name: listener.hear() for name, listener in heard.items()} == {"hub": [], "gw": []}
        for process in processes.values():
            process.send_signal(signal.SIGCONT)
        for name, listener in heard.items():
            assert wait_until(fed(listener), 30), name
        assert len(json.loads((data / STARTS).read_text())["starts"]) == 1
    finally:
        for process in processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        codes = [process.wait(20) for process in processes.values()]
    assert codes == [0, 0], log.read_text()
    assert "STOPPING=1" in heard["hub"].hear()
    assert "STOPPING=1" in heard["gw"].hear()
    assert not (data / STARTS).exists(), "a clean end gives the next start its whole budget"


def test_after_too_many_starts_the_hub_looks_only_and_says_why(tmp_path: Path) -> None:
    data, (broker, console) = tmp_path / "data", (free_port("127.0.0.1", port) for port in (23883, 30080))
    data.mkdir()
    now = time.monotonic()
    (data / STARTS).write_text(json.dumps({"boot": boot_id(), "starts": [now - k for k in range(5, 0, -1)]}))
    listener = Listener(tmp_path, "hub")
    words = ("hub", str(VILLAGE), "--port", str(console), "--broker-port", str(broker), "--start-budget")
    hub = launch(data, listener, tmp_path / "log", *words, read_only=False)

    def alarmed() -> bool:
        try:
            return "safe-mode" in str(ask(data, {"ask": "status"}, timeout_s=2)["alarms"])
        except HubUnreachable:
            return False

    try:
        assert wait_until(alarmed, 60), (tmp_path / "log").read_text()
        held = ask(data, {"ask": "hold", "device": "battery-1", "value": 1, "for_ms": 60_000, "reason": "try"})
        assert (held["accepted"], held["code"]) == (False, "safe-mode")
        assert ask(data, {"ask": "plan"})["plan"] is None
        listener.hear()
        assert "STATUS=safe mode: telemetry and console only" in listener.said
    finally:
        hub.terminate()
        assert hub.wait(20) == 0
