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
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from controller.shell.children import wait_until
from controller.shell.data_dir import OPERATOR_CODE, RUN
from devices.shell.run_clock import RunFile

if TYPE_CHECKING:
    from playwright.sync_api import Page

SMALL = str(Path(__file__).parents[1] / "village.toml")
"""The example village takes several times as long to live its first days."""
ATOLL = [sys.executable, "-m", "controller.cli"]
BURN = "while True: pass"
FLAGS = [f"--{flag}" for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run")]
PAGES = {
    "/": "Power",
    "/plan": "Plan and why",
    "/ledger": "Ledger",
    "/home/home-07": "Grete",
    "/ledger/entry/3": "Entry 3",
}


def atoll(*words: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end."""
    return subprocess.run([*ATOLL, *words], capture_output=True, text=True, timeout=timeout, check=False)


@contextmanager
def demo(folder: Path, *words: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """Runs a demo; yields it with its console's address once it has said so."""
    command = [*ATOLL, "demo", "--site", SMALL, "--data-dir", str(folder), "--past", "1", *words]
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory; the first test that runs lives the village's first day in it, the next goes on."""
    return tmp_path_factory.mktemp("demo") / "my data"


@pytest.mark.integration
def test_a_person_starts_stops_and_starts_the_demo(folder: Path) -> None:
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
            second = atoll("run", "hub", SMALL, "--data-dir", str(folder), "--port", "28099")
            assert second.returncode == 3
            assert "already running" in second.stderr
            assert "Traceback" not in second.stderr
            assert stop(process) < 8  # 5 s on a free machine; here both cores burn
    finally:
        for burner in burners:
            burner.kill()
        taken.close()
    goes_on(folder, view["at"])


@pytest.mark.integration
def test_a_hub_does_not_move_its_broker_from_where_gateways_look_for_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = str(foreign.getsockname()[1])
        told = atoll("run", "hub", SMALL, "--data-dir", str(tmp_path), "--broker-port", port)
    assert told.returncode == 75
    assert f"--broker 127.0.0.1:{port}" in told.stderr
    assert "Traceback" not in told.stderr


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
    set_by = (
        "clock",
        "set",
        "home-02",
        "--error-ms",
        "800",
        "--drift-ppm",
        "20",
        "--source",
        "rtc",
        "--reason",
        "checked",
    )
    clock = atoll(*set_by, *where)
    assert clock.returncode == 0, clock.stderr
    swapped = ("meter", "replace", "home-05", "--opening", "0,0", "--reason", "glass broken", *where, "--closing")
    read = [1, 1]
    for side, name in enumerate(("import", "export")):
        low = atoll(*swapped, ",".join(map(str, read)))
        last = re.search(rf"{name} 0.001 kWh is below the last record's ([0-9.]+) kWh", low.stderr)
        assert last is not None, low.stderr
        assert low.returncode == 6
        read[side] = round(float(last[1]) * 1000) + 500
    high = atoll(*swapped, "999999999,999999999")
    assert (high.returncode, "can have flown since" in high.stderr) == (6, True), high.stderr
    high = atoll(*swapped, ",".join(map(str, read)))
    assert high.returncode == 0, high.stderr
    assert "meter 2 follows meter 1" in high.stdout


def goes_on(folder: Path, stopped_after: int) -> None:
    """A second start continues the clock and the ledger; a hold outlives it; the ledger verifies."""
    with demo(folder) as (process, said):
        assert "lives its first" not in said
        time.sleep(3)
        view = json.loads(atoll("status", "--data-dir", str(folder), "--json").stdout)
        assert view["at"] >= stopped_after
        process.kill()  # and its children end with it
        goes_on_at = RunFile.read(folder / RUN).stopped_ms
        assert goes_on_at is not None
        assert goes_on_at >= view["at"], "the next start would go back in time"
        assert wait_until(lambda: atoll("status", "--data-dir", str(folder)).returncode == 4, 10)
    verified = atoll("ledger", "verify", str(folder))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    foreign = folder.parent / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("dear")
    refused = atoll("demo", "--data-dir", str(foreign))
    assert refused.returncode == 3
    assert "not empty" in refused.stderr


@pytest.mark.browser
@pytest.mark.needs("chromium")
def test_the_demos_pages_in_a_browser_and_a_hold_without_javascript(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    with demo(folder) as (process, said), sync_playwright() as playwright:
        url = said.splitlines()[0]
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = chromium.new_page()
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(url) else wrong.append(request.url))
        for path, heading in PAGES.items():
            answer = page.goto(url + path)
            assert answer is not None
            assert answer.status == 200, path
            page.get_by_role("heading", name=heading).first.wait_for(timeout=10_000)
        page.get_by_text("checked in this browser").wait_for(timeout=10_000)  # the last page is a proof
        holds_by_form(chromium.new_page(java_script_enabled=False), url, folder)
        assert wrong == []
        chromium.close()
        stop(process)


def holds_by_form(page: Page, url: str, folder: Path) -> None:
    """Signs in and holds the charger without JavaScript; the terminal and the ledger know of it."""
    page.goto(f"{url}/login?next=/devices/charger-1")
    page.get_by_label("Your name").fill("Mele")
    page.get_by_label("Operator code").fill((folder / OPERATOR_CODE).read_text().strip())
    page.get_by_role("button", name="Sign in").click()
    page.locator("#f-value").fill("0")
    page.locator("#f-reason").fill("cable is wet")
    page.get_by_role("button", name="Hold", exact=True).click()
    page.get_by_text("charger-1 is held at 0 until").wait_for(timeout=10_000)
    where = ("--data-dir", str(folder))
    assert wait_until(lambda: "Mele holds off until" in atoll("status", *where).stdout, 10)
    assert "Mele: hold charger-1 at 0" in atoll("ledger", "show", str(folder), "--limit", "3").stdout
