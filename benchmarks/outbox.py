"""A gateway that was alone for 30 days: 100 meters' records and a day of live values drain beside live traffic."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.edge_stack import Rack, memory_mib, site_text
from controller.cli.checkout import ROOT
from controller.shell.broker import BrokerChild, choose, free_port
from devices.clock import DAY_MS, SLOT_MS, Instant
from devices.events import Incoming
from devices.model import Commodity, IntervalRecord, UsagePointId
from devices.profile import Profile, load_profile
from devices.records import MeterMark
from devices.shell.control_socket import Unreachable, ask
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.shell.outbox_file import OutboxFile
from devices.sparkplug import DeviceData, HostSession
from firmware_sim.products import Product

PROFILE = "eastron_sdm630"
RACKS = 4
WH_A_SLOT = 125
WAIT_S = 1_800.0
GATEWAY = """
import sys
from controller.cli import exit_code
from devices.backfill import EVERY_MS
from devices.clock import DAY_MS, Instant
from devices.model import Quality, Readings
import devices.shell.gateway as shell
run = shell._Shell.run
def with_a_day(self, stopping):
    gateway = self.gateway
    for unit in gateway.units.values():
        points = tuple(point.name for point in unit.driver.profile.points)
        qualities = (Quality.GOOD,) * len(points)
        for at in range(gateway.now - DAY_MS, gateway.now, EVERY_MS):
            values = tuple(float(at % 1000) for _ in points)
            gateway.backfill.keep(Readings(unit.spec.id, Instant(at), points, values, qualities))
    run(self, stopping)
shell._Shell.run = with_a_day
sys.exit(exit_code(sys.argv[1:]))
"""
"""A gateway process whose memory holds the live values of its last day, as if the hub had been away so long."""


class Listener(threading.Thread):
    """Hears what the hub hears, and how old each live value is when it comes."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.delays: list[float] = []
        self.mirrored: list[float] = []
        self.history = 0
        self.inbox: Inbox[object] = Inbox(1_000_000)
        self.session = HostSession("village", "bench")
        wanted = [*self.session.subscriptions(), ("atoll/village/m-001/W", 0)]
        self.link = Link("bench", "127.0.0.1", port, will=None, subscriptions=wanted, inbox=self.inbox)
        self.stopping = threading.Event()

    def run(self) -> None:
        """Listens until `stopping`."""
        self.link.start()
        while not self.stopping.is_set():
            for event in self.inbox.get(0.02):
                if isinstance(event, Incoming):
                    self._take(event, time.time() * 1000)
        self.link.stop()

    def _take(self, event: Incoming, now: float) -> None:
        if event.topic.startswith("atoll/"):
            self.mirrored.append(now)
            return
        for found in self.session.receive(event.topic, event.payload, Instant(round(now))):
            if isinstance(found, DeviceData) and found.readings.historical:
                self.history += 1
            elif isinstance(found, DeviceData):
                self.delays.append((now - found.readings.at) / 1000)


def run(arguments: Sequence[str]) -> dict[str, float | int]:
    """Returns how long the drain takes [s], the age of live values meanwhile [s], and the gateway's memory [MiB]."""
    parser = argparse.ArgumentParser(prog="atoll bench outbox")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--meters", type=int, default=100)
    given = parser.parse_args(list(arguments))
    profile = load_profile(PROFILE)
    per_rack = -(-given.meters // RACKS) + 1  # and the feeder's
    reading = given.days * DAY_MS // SLOT_MS * WH_A_SLOT + 50.0
    racks = [Rack({unit: _product(profile, reading) for unit in range(1, per_rack + 1)}) for _ in range(RACKS)]
    with TemporaryDirectory(prefix="atoll-bench-") as name:
        folder = Path(name)
        (folder / "site.toml").write_text(_site(racks, given.meters), encoding="utf-8")
        records = _fill(folder, given.days, given.meters)
        try:
            seen = racks[0].products[1]
            return {
                **_drain(folder, given.meters, seen),
                "records": records,
                "meters": given.meters,
                "days": given.days,
            }
        finally:
            for rack in racks:
                rack.close()


def _product(profile: Profile, reading_wh: float) -> Product:
    product = Product(profile)
    product.show("import_wh", reading_wh)
    product.show("export_wh", 0.0)
    return product


def _fill(folder: Path, days: int, meters: int) -> int:
    """Writes the outbox of a gateway that has been alone for so many days; returns its records."""
    end = int(time.time() * 1000) // SLOT_MS * SLOT_MS
    slots = days * DAY_MS // SLOT_MS
    (folder / "gw-1").mkdir()
    disk = OutboxFile(folder / "gw-1" / "outbox.db")
    for index in range(1, meters + 1):
        point = UsagePointId(f"m-{index:03d}")
        rows = [
            IntervalRecord(
                point, Commodity.ENERGY, 1, slot + 1,
                Instant(end + (slot - slots) * SLOT_MS), Instant(end + (slot - slots + 1) * SLOT_MS),
                slot * WH_A_SLOT, (slot + 1) * WH_A_SLOT, 0, 0,
            )
            for slot in range(slots)
        ]  # fmt: skip
        mark = MeterMark(point, Commodity.ENERGY, 1, slots, Instant(end), slots * WH_A_SLOT, 0)
        disk.write(rows, [mark])
    disk.close()
    return slots * meters


def _drain(folder: Path, meters: int, seen: Product) -> dict[str, float | int]:
    broker = BrokerChild(choose(None), free_port("127.0.0.1", 22_500), folder / "broker")
    broker.start()
    where = ["--data-dir", str(folder), "--broker", f"127.0.0.1:{broker.port}"]
    site = str(folder / "site.toml")
    port = str(free_port("127.0.0.1", 18_100))
    listener = Listener(broker.port)
    listener.start()
    with (folder / "hub.log").open("wb") as hub_log, (folder / "gateway.log").open("wb") as gateway_log:
        words = [sys.executable, "-m", "controller.cli", "run", "hub", site, *where, "--port", port]
        hub = subprocess.Popen(words, stderr=hub_log, stdout=hub_log, cwd=ROOT)
        gateway: subprocess.Popen[bytes] | None = None
        try:
            _until(lambda: _asked(folder / "hub.sock", "health").get("link"), "the hub is up", folder, hub)
            words = [sys.executable, "-c", GATEWAY, "run", "gateway", site, *where]
            started = time.monotonic()
            gateway = subprocess.Popen(words, stderr=gateway_log, cwd=ROOT)
            return _measure(folder, listener, (hub, gateway), started, meters, seen)
        finally:
            for process in (gateway, hub):
                if process is not None:
                    process.terminate()
                    process.wait(timeout=30)
            listener.stopping.set()
            listener.join(5)
            broker.stop()


def _measure(
    folder: Path,
    listener: Listener,
    processes: tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]],
    started: float,
    meters: int,
    seen: Product,
) -> dict[str, float | int]:
    """`seen` is the meter whose mirror is watched: its power changes all the time, since only changes are mirrored."""
    memory: list[float] = []
    state: dict[str, object] = {}
    records_at = 0.0

    def drained() -> bool:
        nonlocal records_at
        seen.show("W", 1000.0 + 10 * (len(memory) % 50))
        state.update(_asked(folder / "gw-1" / "gateway.sock", "status"))
        memory.append(memory_mib(processes[1].pid))
        left, untold = state.get("unsent_records"), state.get("untold_readings")
        if left is not None and isinstance(left, int) and left < meters and not records_at:
            records_at = time.monotonic() - started
        return bool(records_at) and untold == 0

    _until(drained, "all is told", folder, *processes)
    seconds = time.monotonic() - started
    delays = sorted(listener.delays)
    gaps = sorted(b - a for a, b in zip(listener.mirrored, listener.mirrored[1:], strict=False))
    return {
        "seconds": seconds,
        "records_seconds": records_at,
        "live_delay_p99_s": delays[int(0.99 * (len(delays) - 1))],
        "live_delay_median_s": delays[len(delays) // 2],
        "mirror_gap_max_s": (gaps[-1] / 1000) if gaps else -1.0,
        "live_values": len(delays),
        "history_values": listener.history,
        "rss_mib": max(memory),
    }


def _asked(path: Path, what: str) -> dict[str, object]:
    try:
        return dict(ask(path, {"ask": what}, timeout_s=10.0))
    except (Unreachable, OSError):
        return {}


def _until(wanted: object, what: str, folder: Path, *processes: subprocess.Popen[bytes]) -> None:
    assert callable(wanted)
    deadline = time.monotonic() + WAIT_S
    while not wanted():
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            logs = {path.name: path.read_text(encoding="utf-8")[-1500:] for path in folder.glob("*.log")}
            raise RuntimeError(f"not within {WAIT_S:g} s: {what}\n{json.dumps(logs, indent=1)}")
        time.sleep(0.5)


def _site(racks: Sequence[Rack], meters: int) -> str:
    names = [(f"m-{index:03d}", racks[(index - 1) % RACKS].endpoint, (index - 1) // RACKS + 1)
             for index in range(1, meters + 1)]  # fmt: skip
    devices = "".join(
        f'[[device]]\nid = "{name}"\nkind = "meter"\ndriver = "profile:{PROFILE}"\ngateway = "gw-1"\n'
        f'endpoint = "{endpoint}"\nunit = {unit}\n'
        for name, endpoint, unit in names
    )
    grid = f'[[device]]\nid = "grid-1"\nkind = "grid"\ndriver = "profile:{PROFILE}"\ngateway = "gw-1"\n'
    devices += f'{grid}endpoint = "{racks[-1].endpoint}"\nunit = {-(-meters // RACKS) + 1}\n'
    points = ", ".join(f'"{name}"' for name, _, _ in names)
    member = f'[[member]]\nid = "all"\nname = "All"\nrole = "community"\nusage_points = [{points}]\n'
    return site_text(devices, member)
