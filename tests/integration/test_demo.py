"""`atoll demo` as a person starts it: once, on a loaded machine, with wrong input, stopped and started again."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

ATOLL = [sys.executable, "-m", "controller.cli"]
BURN = "while True: pass"


def atoll(*words: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end."""
    return subprocess.run([*ATOLL, *words], capture_output=True, text=True, timeout=timeout, check=False)


@contextmanager
def demo(folder: Path, *words: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """Runs a demo; yields it with its console's address once it has said so."""
    command = [*ATOLL, "demo", "--data-dir", str(folder), "--past", "1", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            found = re.search(r"console: (http://\S+)", line)
            if found:
                yield process, found.group(1) + "\n" + "".join(said)
                break
        else:
            raise AssertionError("".join(said))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def stop(process: subprocess.Popen[str]) -> float:
    """Presses Ctrl-C; returns how many seconds it took."""
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    return time.monotonic() - begun


@pytest.mark.integration
def test_a_person_starts_stops_and_starts_the_demo(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    burners = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(os.cpu_count() or 2)]
    try:
        with demo(folder, "--port", str(port)) as (process, said):
            address = said.splitlines()[0]
            assert f"port {port} is in use" in said
            assert str(port) not in address
            time.sleep(20)
            view = json.loads(atoll("status", "--data-dir", str(folder), "--json").stdout)
            assert view["alarms"] == [], "a busy machine raised a false alarm"
            assert view["link"] == "live"
            assert view["plan_age_ms"] is not None
            with urlopen(address, timeout=10) as page:
                assert b"Motu village" in page.read()
            operator_acts(folder)
            second = atoll("run", "hub", "examples/village/site.toml", "--data-dir", str(folder), "--port", "28099")
            assert second.returncode == 3
            assert "already running" in second.stderr
            assert "Traceback" not in second.stderr
            assert stop(process) < 8  # 5 s on a free machine; here both cores burn
    finally:
        for burner in burners:
            burner.kill()
        taken.close()
    goes_on(folder, view["at"])


def operator_acts(folder: Path) -> None:
    """Holds and releases a device, and asks for what may not be."""
    where = ("--data-dir", str(folder))
    held = atoll("hold", "charger-1", "0", "--for", "10m", "--reason", "guest car", *where)
    assert held.returncode == 0, held.stderr
    view = json.loads(atoll("status", *where, "--json").stdout)
    charger = next(device for device in view["devices"] if device["id"] == "charger-1")
    assert "guest car" in charger["hold"]
    assert atoll("hold", "battery-1", "-999999", "--for", "1m", "--reason", "x", *where).returncode == 6
    assert atoll("hold", "nothing", "0", "--for", "1m", "--reason", "x", *where).returncode == 1
    assert atoll("hold", "pump-1", "0", "--for", "1 week", "--reason", "x", *where).returncode == 2
    shown = atoll("ledger", "show", str(folder), "--limit", "5")
    assert "hold" in shown.stdout


def goes_on(folder: Path, stopped_after: int) -> None:
    """A second start continues the clock and the ledger; a hold outlives it; the ledger verifies."""
    with demo(folder) as (process, said):
        assert "lives its first" not in said
        time.sleep(3)
        view = json.loads(atoll("status", "--data-dir", str(folder), "--json").stdout)
        assert view["at"] >= stopped_after
        stop(process)
    verified = atoll("ledger", "verify", str(folder))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert atoll("status", "--data-dir", str(folder)).returncode == 4
    foreign = folder.parent / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("dear")
    refused = atoll("demo", "--data-dir", str(foreign))
    assert refused.returncode == 3
    assert "not empty" in refused.stderr
