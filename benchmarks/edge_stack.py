"""What the gateway's benchmarks stand on: Modbus TCP devices on threads, a broker, a gateway process, a minimal hub."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from controller.cli.checkout import ROOT
from controller.shell.broker import BrokerChild, choose, free_port
from devices.clock import Instant
from devices.events import Incoming, LinkUp
from devices.model import BusFault
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.shell.run_clock import WallClock
from devices.sparkplug import DeviceData, DeviceOnline, HostSession, Send
from firmware_sim.products import Product

VILLAGE = ROOT / "examples" / "village" / "site.toml"


class Rack:
    """Products by unit id behind one Modbus TCP port."""

    def __init__(self, products: Mapping[int, Product]) -> None:
        self.products = products
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            while frame := connection.recv(300):
                connection.sendall(self._answer(frame))

    def _answer(self, frame: bytes) -> bytes:
        pdu = self._pdu(self.products[frame[6]], frame)
        return frame[:4] + (len(pdu) + 1).to_bytes(2, "big") + frame[6:7] + pdu

    @staticmethod
    def _pdu(product: Product, frame: bytes) -> bytes:
        function, address, number = frame[7], int.from_bytes(frame[8:10], "big"), int.from_bytes(frame[10:12], "big")
        if function in {5, 6}:
            fault = product.write(function, address, [int(number == 0xFF00) if function == 5 else number])
            return frame[7:12] if fault is None else bytes([function | 0x80, 2])
        found = product.read(function, address, number)
        if isinstance(found, BusFault):
            return bytes([function | 0x80, 2])
        if function in {1, 2}:
            bits = sum(int(bit) << i for i, bit in enumerate(found)).to_bytes((number + 7) // 8, "little")
            return bytes([function, len(bits)]) + bits
        return bytes([function, 2 * number]) + b"".join(word.to_bytes(2, "big") for word in found)

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()


def site_text(devices: str, members: str, interlocks: str = "", poll_ms: int = 1000) -> str:
    """Returns the village's site file with other devices."""
    text = VILLAGE.read_text(encoding="utf-8")
    tables = re.split(r"(?m)^(?=\[)", text)
    wanted = ("schema", "#", "[site]", "[grid]", "[water]", "[control]", "[charter]", "[[charter.bands]]")
    kept = "".join(table for table in tables if table.startswith(wanted))
    return f'{kept}\n[[gateway]]\nid = "gw-1"\npoll_ms = {poll_ms}\n{members}\n{devices}\n{interlocks}'


def memory_mib(process: int) -> float:
    """Returns what a process has in memory; 0 of one that has ended and was not waited for."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text(encoding="ascii"))
    return 0.0 if found is None else int(found[1]) / 1024


def reactions(times: Sequence[float]) -> dict[str, float | int]:
    """Returns p99, median and worst of measured times [s], and how many they are."""
    ranked = sorted(times)
    return {
        "p99_s": ranked[min(len(ranked) - 1, int(0.99 * len(ranked)))],
        "median_s": ranked[len(ranked) // 2],
        "worst_s": ranked[-1],
        "trials": len(ranked),
    }


class Stack:
    """Broker, hub and gateway; everything ends with `close`."""

    def __init__(self, folder: Path, site: str) -> None:
        self.folder = folder
        (folder / "site.toml").write_text(site, encoding="utf-8")
        self.broker = BrokerChild(choose(None), free_port("127.0.0.1", 22_000), folder / "broker")
        self.broker.start()
        self.hub = Hub(self.broker.port, "village")
        words = ["-m", "controller.cli", "run", "gateway", str(folder / "site.toml"), "--data-dir", str(folder)]
        broker = ["--broker", f"127.0.0.1:{self.broker.port}"]
        self.log = (folder / "gateway.log").open("wb")
        self.gateway = subprocess.Popen([sys.executable, *words, *broker], stderr=self.log, cwd=ROOT)

    def memory_mib(self) -> float:
        """Returns what the gateway process has in memory."""
        found = memory_mib(self.gateway.pid)
        assert found > 0.0
        return found

    def cpu_s(self) -> float:
        """Returns the processor time that the gateway process has used."""
        fields = Path(f"/proc/{self.gateway.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Ends gateway, hub and broker."""
        self.gateway.terminate()
        try:
            self.gateway.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.gateway.kill()
        self.hub.close()
        self.broker.stop()
        self.log.close()


class Hub(threading.Thread):
    """Takes what the gateway publishes, counts it, and calls `each_second` for the setpoints."""

    def __init__(self, port: int, group: str) -> None:
        super().__init__(daemon=True)
        self.points = 0
        self.good = 0
        self.node_of: dict[str, str] = {}
        self.each_second: Callable[[Hub], None] | None = None
        self.clock = WallClock(Instant(0))
        self.inbox: Inbox[object] = Inbox()
        self.session = HostSession(group)
        session, clock = self.session, self.clock
        self.link = Link(
            "bench-hub", "127.0.0.1", port,
            will=lambda: session.will(clock.now()), subscriptions=session.subscriptions(), inbox=self.inbox,
        )  # fmt: skip
        self.stopping = threading.Event()
        self.start()

    def run(self) -> None:
        """Listens until `close`."""
        self.link.start()
        due = time.monotonic()
        while not self.stopping.is_set():
            for event in self.inbox.get(0.02):
                self._take(event)
            for found in self.session.due(self.clock.now()):
                if isinstance(found, Send):
                    self.link.publish(found.message)
            if self.each_second is not None and time.monotonic() >= due:
                due = time.monotonic() + 1
                self.each_second(self)
        self.link.stop()

    def _take(self, event: object) -> None:
        now = self.clock.now()
        if isinstance(event, LinkUp):
            self.link.publish(self.session.birth(now))
        elif isinstance(event, Incoming):
            for found in self.session.receive(event.topic, event.payload, now):
                if isinstance(found, DeviceData):
                    self.points += len(found.readings.points)
                    self.good += sum(value is not None for value in found.readings.values)
                elif isinstance(found, DeviceOnline):
                    self.node_of[found.device] = found.node
                elif isinstance(found, Send):
                    self.link.publish(found.message)

    def close(self) -> None:
        """Ends the thread and its link."""
        self.stopping.set()
        self.join(timeout=5)
