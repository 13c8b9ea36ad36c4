"""Resident memory of the hub with its console after a simulated hour of the demo; the planner child is not in it.

The very demo: hub, gateway and fleet as children, the village's first days lived before (or taken from --data-dir).
Every page of the console is opened once at the beginning.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from controller.cli.sites import load_site
from controller.shell.children import wait_until
from controller.shell.demo import Demo, DemoOptions, live_through, prepared
from devices.clock import HOUR_MS, Instant

SITE = Path(__file__).parents[1] / "examples" / "village" / "site.toml"
PAGES = ("/", "/plan", "/ledger", "/home/home-01", "/api/v1/now", "/api/v1/plan")


def run(args: Sequence[str]) -> Mapping[str, str | int | float]:
    """Returns the figures of one run."""
    parser = argparse.ArgumentParser(prog="atoll bench rss", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=None, help="a folder that a demo has made")
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--past-days", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(args)
    with TemporaryDirectory(prefix="atoll-rss-") as folder:
        data_dir = options.data_dir or Path(folder) / "demo"
        return _measure(
            DemoOptions(SITE, data_dir, options.speed, options.past_days, options.seed, "127.0.0.1", 28_080, 21_883)
        )


def _measure(options: DemoOptions) -> Mapping[str, str | int | float]:
    site = load_site(SITE)
    began = time.monotonic()
    if not prepared(options.data_dir):
        live_through(site, options, lambda _start, _now, _until: None)
    first_start_s = time.monotonic() - began
    demo = Demo(site, options, print)
    try:
        demo.start()
        if not demo.wait_up():
            raise TimeoutError("the hub does not come up:\n" + demo.supervisor.log_end("hub"))
        until = Instant(demo.clock.now() + HOUR_MS)
        at_start = _rss_mib(demo.supervisor.processes["hub"], "VmRSS")
        opened = _open(demo.places.run.console)
        while demo.clock.now() < until:
            demo.supervisor.poll()
            time.sleep(0.2)
        processes = demo.supervisor.processes
        found = {
            "hub_mib": _rss_mib(processes["hub"], "VmRSS"),
            "hub_peak_mib": _rss_mib(processes["hub"], "VmHWM"),
            "hub_start_mib": at_start,
            "gateway_mib": _rss_mib(processes[site.gateways[0].id], "VmRSS"),
            "pages": opened,
            "first_start_s": round(first_start_s, 1),
            "seed": options.seed,
        }
    finally:
        demo.stop()
    return found


def _open(console: str) -> int:
    """Opens every page once as soon as the console listens; returns how many answered."""
    where = urlsplit(console)
    if not wait_until(lambda: _answers(where.hostname or "", where.port or 80), 20.0):
        raise TimeoutError(f"no console at {console}")
    found = 0
    for path in PAGES:
        with contextlib.closing(http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)) as link:
            link.request("GET", path)
            answer = link.getresponse()
            answer.read()
            found += answer.status == http.HTTPStatus.OK
    return found


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _rss_mib(pid: int, key: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(round(int(line.split()[1]) / 1024, 1) for line in status if line.startswith(key + ":"))
