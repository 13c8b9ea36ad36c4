"""The whole village as processes: hub with broker and console, fleet, gateway; for tests that pull plugs."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from controller.shell.broker import free_port
from controller.shell.children import ChildSpec, Supervisor, arguments
from controller.shell.control import HubUnreachable, ask
from controller.shell.data_dir import RUN
from controller.shell.simulation import start_of
from controller.site import load
from devices.shell.run_clock import RunClock

VILLAGE = Path(__file__).parents[1] / "village.toml"


class Stack:
    """One village in one folder, supervised without a restart budget."""

    def __init__(self, folder: Path, speed: float, *hub_words: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        site = load(VILLAGE.read_text(), str(VILLAGE))
        self.console, self.broker, modbus = (free_port("127.0.0.1", port) for port in (28080, 21883, 25020))
        self.clock, run = RunClock.start(folder / RUN, start_of(site), speed)
        address = f"127.0.0.1:{self.broker}"
        replace(run, broker=address, endpoints={"127.0.0.1:5020": f"127.0.0.1:{modbus}"}).write(folder / RUN)
        self.said: list[str] = []
        self.supervisor = Supervisor(folder / "logs", self.said.append, restarts_max=1_000)
        common = ("--data-dir", str(folder))
        hub = ("--broker-port", str(self.broker), "--port", str(self.console), "--follow-run", *hub_words)
        self.supervisor.start(ChildSpec("hub", arguments("run", "hub", VILLAGE, common, hub), fatal=()))
        self.supervisor.start(ChildSpec("fleet", arguments("fleet", VILLAGE, common), fatal=()))
        gateway = ("--broker", address, "--gateway", "gw-1", "--follow-run")
        self.supervisor.start(ChildSpec("gw-1", arguments("run", "gateway", VILLAGE, common, gateway), fatal=()))

    def status(self) -> Mapping[str, object] | None:
        """Returns the hub's view, None while there is none."""
        try:
            return ask(self.folder, {"ask": "status"}, timeout_s=2)
        except HubUnreachable:
            return None

    def run(self, seconds: float) -> None:
        """Lets real time pass, looking after the children."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.supervisor.poll()
            time.sleep(0.02)

    def wait_live(self, timeout_s: float = 40.0) -> Mapping[str, object]:
        """Returns the first view with a live link and a grid reading."""
        until = time.monotonic() + timeout_s
        view: Mapping[str, object] | None = None
        while time.monotonic() < until:
            self.run(0.2)
            view = self.status()
            if view is not None and view["link"] == "live" and "'W', 'value': None" not in str(view["flows"]):
                return view
        raise AssertionError(f"not live after {timeout_s} s: {view}\n{self.logs()}")

    def waiting_records(self) -> int:
        """Returns how many records the gateway still keeps."""
        path = self.folder / "gw-1" / "outbox.db"
        if not path.exists():
            return 0
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            return int(connection.execute("SELECT count(*) FROM record").fetchone()[0])
        finally:
            connection.close()

    def logs(self) -> str:
        """Returns the end of every log."""
        return "\n".join(f"--- {name}\n{self.supervisor.log_end(name)}" for name in ("hub", "fleet", "gw-1"))

    def stop(self) -> None:
        """Stops everything."""
        self.supervisor.stop()
