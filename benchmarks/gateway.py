"""A gateway process that polls and publishes 1,000 points a second: memory, processor time, points that arrive."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.edge_stack import Rack, Stack, site_text
from devices.profile import load_profile
from firmware_sim.products import Product

PROFILE = "eastron_sdm630"
METERS = 168
RACKS = 4
WARM_S = 15.0


def run(arguments: Sequence[str]) -> dict[str, float | int]:
    """Returns memory [MiB], share of one core, and points a second that came through the broker."""
    parser = argparse.ArgumentParser(prog="atoll bench gateway")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it is measured")
    given = parser.parse_args(list(arguments))
    profile = load_profile(PROFILE)
    racks = [Rack({unit: Product(profile) for unit in range(1, METERS // RACKS + 1)}) for _ in range(RACKS)]
    with TemporaryDirectory(prefix="atoll-bench-") as folder:
        stack = Stack(Path(folder), _site(racks))
        try:
            deadline = time.monotonic() + 60
            while len(stack.hub.node_of) < METERS:
                if time.monotonic() > deadline or stack.gateway.poll() is not None:
                    said = (Path(folder) / "gateway.log").read_text(encoding="utf-8")[-2000:]
                    raise RuntimeError(f"only {len(stack.hub.node_of)} devices were born\n{said}")
                time.sleep(0.1)
            time.sleep(WARM_S)
            return _measure(stack, given.seconds, len(profile.points) * METERS)
        finally:
            stack.close()
            for rack in racks:
                rack.close()


def _measure(stack: Stack, seconds: float, polled: int) -> dict[str, float | int]:
    started, cpu, points, good = time.monotonic(), stack.cpu_s(), stack.hub.points, stack.hub.good
    memory: list[float] = []
    while time.monotonic() - started < seconds:
        time.sleep(1)
        memory.append(stack.memory_mib())
    took = time.monotonic() - started
    return {
        "rss_mib": max(memory),
        "cpu": (stack.cpu_s() - cpu) / took,
        "points_per_s": (stack.hub.points - points) / took,
        "good_share": (stack.hub.good - good) / max(1, stack.hub.points - points),
        "points_polled_per_s": polled,
        "devices": METERS,
    }


def _site(racks: Sequence[Rack]) -> str:
    names = [(f"m-{index:03d}", racks[index % RACKS].endpoint, index // RACKS + 1) for index in range(METERS)]
    devices = "".join(
        f'[[device]]\nid = "{name}"\nkind = "{"grid" if name == "m-000" else "meter"}"\ndriver = "profile:{PROFILE}"\n'
        f'gateway = "gw-1"\nendpoint = "{endpoint}"\nunit = {unit}\n'
        for name, endpoint, unit in names
    )
    points = ", ".join(f'"{name}"' for name, _, _ in names[1:])
    member = f'[[member]]\nid = "all"\nname = "All"\nrole = "community"\nusage_points = [{points}]\n'
    return site_text(devices, member)
