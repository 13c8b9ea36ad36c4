"""From the hub's death to a gateway that obeys the hub on its own machine: verb, start, first setpoint."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.edge_stack import Rack, site_text
from controller.cli.checkout import ROOT
from controller.shell.backup import make_backup
from controller.shell.broker import BrokerChild, choose, free_port
from controller.shell.takeover import TERM_BITS
from devices.profile import load_profile
from devices.shell.control_socket import Unreachable, ask
from firmware_sim.products import Product

WAIT_S = 300.0


def run(arguments: Sequence[str]) -> dict[str, float | int]:
    """Returns how long the verb takes, and how long until the gateway has taken a setpoint of the new hub [s]."""
    argparse.ArgumentParser(prog="atoll bench takeover").parse_args(list(arguments))
    rack = Rack({1: Product(load_profile("relay_4ch")), 91: Product(load_profile("eastron_sdm630"))})
    with TemporaryDirectory(prefix="atoll-bench-") as name:
        folder = Path(name)
        (folder / "site.toml").write_text(_site(rack.endpoint), encoding="utf-8")
        broker = BrokerChild(choose(None), free_port("127.0.0.1", 22_900), folder / "broker")
        broker.start()
        try:
            return _measure(folder, f"127.0.0.1:{broker.port}")
        finally:
            broker.stop()
            rack.close()


def _measure(folder: Path, broker: str) -> dict[str, float | int]:
    old, new = folder / "old", folder / "new"
    running = [_start(folder, broker, "hub", old), _start(folder, broker, "gateway", new)]
    try:
        _until(lambda: _epoch(new) > 0, "the gateway obeys the old hub", folder)
        make_backup(old, folder / "backup.tar.gz", None, folder / "keys.db")
        running[0].kill()
        running[0].wait()
        died = time.monotonic()
        words = ["takeover", str(folder / "backup.tar.gz"), "--keys", str(folder / "keys.db"), "--data-dir", str(new)]
        subprocess.run(
            [sys.executable, "-m", "controller.cli", *words], check=True, cwd=ROOT, stdout=subprocess.DEVNULL
        )
        verb_s = time.monotonic() - died
        running.append(_start(folder, broker, "hub", new))
        _until(lambda: _epoch(new) >= 1 << TERM_BITS, "the gateway obeys the new hub", folder)
        return {"seconds": time.monotonic() - died, "verb_s": verb_s}
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=30)


def _start(folder: Path, broker: str, part: str, data: Path) -> subprocess.Popen[bytes]:
    words = ["run", part, str(folder / "site.toml"), "--data-dir", str(data), "--broker", broker]
    if part == "hub":
        words += ["--port", str(free_port("127.0.0.1", 18_300))]
    with (folder / f"{part}-{data.name}.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "controller.cli", *words], cwd=ROOT, stdout=log, stderr=log)


def _epoch(data: Path) -> int:
    """Returns the highest hub epoch that the gateway has obeyed."""
    try:
        state: Mapping[str, object] = ask(data / "gw-1" / "gateway.sock", {"ask": "status"})
    except (Unreachable, OSError):
        return 0
    epoch = state.get("hub_epoch")
    return epoch if isinstance(epoch, int) else 0


def _until(wanted: Callable[[], bool], what: str, folder: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while not wanted():
        if time.monotonic() > deadline:
            logs = "\n".join(path.read_text(encoding="utf-8")[-1000:] for path in folder.glob("*.log"))
            raise RuntimeError(f"not within {WAIT_S:g} s: {what}\n{logs}")
        time.sleep(0.1)


def _site(endpoint: str) -> str:
    bus = f'gateway = "gw-1"\nendpoint = "{endpoint}"\n'
    return site_text(
        f'[[device]]\nid = "valve"\nkind = "relay"\ndriver = "profile:relay_4ch"\nunit = 1\n{bus}'
        f'[[device]]\nid = "grid-1"\nkind = "grid"\ndriver = "profile:eastron_sdm630"\nunit = 91\n{bus}',
        '[[member]]\nid = "all"\nname = "All"\nrole = "community"\nusage_points = ["grid-1"]\n',
    )
