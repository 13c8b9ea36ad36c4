"""CPU per 10-metric Sparkplug message: the whole hub, as the demo starts it, against a paho subscriber doing nothing.

Both hang on one broker in one run. A process of its own publishes what edge sessions of every device of the village
encoded beforehand, at a rate that both sustain; CPU is user and system time of the whole process over the messages sent
meanwhile. The hub checks sequence and quality, keeps image and telemetry, runs its cycle, plans and serves its console.
A message is lost when the telemetry store does not hold it afterwards.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from controller.cli.sites import load_site
from controller.shell.broker import BrokerChild, choose, free_port
from controller.shell.children import arguments, wait_until
from controller.shell.control import HubUnreachable, ask
from controller.site import Site
from controller.store.telemetry import TelemetryReader
from devices.clock import MINUTE_MS, Instant
from devices.model import POINTS, DeviceId, Message, Quality, Readings, point_id
from devices.sparkplug import DataType, EdgeSession, Metric

SITE = Path(__file__).parents[1] / "examples" / "village" / "site.toml"
METRICS = 10
WARM_S = 2.0
VALUES = {"soc": 0.5, "level": 0.6, "fuel": 0.8, "V": 230.0, "hz": 50.0, "limit": 1.0, "W": 10.0}
EXTRA = tuple(f"extra-{index}" for index in range(METRICS))
GOOD = (Quality.GOOD,) * METRICS


@dataclass(frozen=True, slots=True)
class Load:
    """What is published: messages a second for so long after the warm-up."""

    port: int
    rate: int
    seconds: float

    @property
    def count(self) -> int:
        """Returns how many data messages there are, those of the warm-up included."""
        return round(self.rate * (WARM_S + self.seconds))


def run(args: Sequence[str]) -> Mapping[str, str | int | float]:
    """Returns the figures of one run."""
    parser = argparse.ArgumentParser(prog="atoll bench wire", description=__doc__)
    parser.add_argument("--rate", type=int, default=5_000, help="messages per second")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args(args)
    with TemporaryDirectory(prefix="atoll-wire-") as folder:
        broker = BrokerChild(choose(None), free_port("127.0.0.1", 21_883), folder)
        broker.start()
        try:
            return _measure(Load(broker.port, options.rate, options.seconds), Path(folder), broker.describe())
        finally:
            broker.stop()


def _measure(load: Load, folder: Path, broker: str) -> Mapping[str, str | int | float]:
    site = load_site(SITE)
    place = ("--data-dir", str(folder / "hub"), "--broker", f"127.0.0.1:{load.port}")
    console = ("--listen", "127.0.0.1", "--port", str(free_port("127.0.0.1", 21_884)))
    children = [
        subprocess.Popen([sys.executable, "-m", "controller.cli", *arguments("run", "hub", SITE, place, console)]),
        _role("sink", load, site, stdout=subprocess.PIPE),
    ]
    try:
        if not wait_until(lambda: _up(folder / "hub"), 30.0):
            raise TimeoutError("the hub does not come up")
        publisher = _role("publish", load, site, stdout=subprocess.PIPE)
        children.append(publisher)
        began = _line(publisher)
        before, at = [_cpu_s(child.pid) for child in children[:2]], time.monotonic()
        _line(publisher)
        took = time.monotonic() - at
        time.sleep(0.5)  # what is still under way
        hub_s, sink_s = (_cpu_s(child.pid) - then for child, then in zip(children[:2], before, strict=True))
        received = _stopped(children)
    finally:
        for child in children:
            child.kill()
    sent = round(load.rate * load.seconds)
    return {
        "hub_us": round(hub_s / sent * 1e6, 2),
        "paho_us": round(sink_s / sent * 1e6, 2),
        "ratio": round(hub_s / sink_s, 3),
        "messages_per_s": round(sent / took),
        "lost": load.count - _stored(folder / "hub", site, Instant(int(began))),
        "paho_lost": load.count - received,
        "broker": broker.partition(" on ")[0],
    }


def _role(name: str, load: Load, site: Site, stdout: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, __file__, name, site.id, str(load.port), str(load.rate), str(load.seconds)]
    return subprocess.Popen(words, stdout=stdout)


def _up(data_dir: Path) -> bool:
    try:
        ask(data_dir, {"ask": "status"}, timeout_s=1.0)
    except HubUnreachable:
        return False
    return True


def _line(child: subprocess.Popen[bytes]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().decode().strip()


def _cpu_s(pid: int) -> float:
    """Returns user and system time of a process with all its threads [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _stopped(children: Sequence[subprocess.Popen[bytes]]) -> int:
    """Ends hub and sink cleanly; returns how many messages the sink has seen."""
    hub, sink = children[:2]
    sink.send_signal(signal.SIGTERM)
    received = int(_line(sink))
    hub.send_signal(signal.SIGTERM)
    hub.wait(20.0)
    return received


def _stored(data_dir: Path, site: Site, began: Instant) -> int:
    """Returns how many messages the telemetry store holds: every device's first point, one sample per message."""
    reader = TelemetryReader(data_dir)
    try:
        points = [point_id(device, EXTRA[-1]) for device in _nodes(site)]
        return sum(len(reader.range(point, began, Instant(began + 60 * MINUTE_MS)).times) for point in points)
    finally:
        reader.close()


# -- the other processes -----------------------------------------------------------------------------------------------


def _nodes(site: Site) -> dict[DeviceId, str]:
    """Returns the edge node of every device; the vehicles too speak Sparkplug here."""
    return {device.id: device.gateway or site.gateways[0].id for device in site.devices}


def _points(site: Site) -> dict[DeviceId, tuple[str, ...]]:
    return {device.id: (*POINTS[device.kind], *EXTRA)[: METRICS - 1] + EXTRA[-1:] for device in site.devices}


def _encoded(site: Site, load: Load, start: Instant) -> tuple[list[Message], list[Message]]:
    """Returns (births, data) of all edge nodes; data takes the devices in turn, each message with its own instant."""
    nodes, points = _nodes(site), _points(site)
    sessions = {node: EdgeSession(site.id, node) for node in sorted(set(nodes.values()))}
    births: list[Message] = []
    for node, session in sessions.items():
        session.will(start)
        own = {
            device: [Metric(point, _kind(point), 0) for point in points[device]]
            for device, home in nodes.items()
            if home == node
        }
        births += session.birth(Instant(start - 500), own)  # before everything that is counted
    data: list[Message] = []
    devices = list(nodes)
    for index in range(load.count):
        device = devices[index % len(devices)]
        at = Instant(start + index * 1_000 // load.rate)
        values = tuple(
            1_000_000 + index if _kind(point) is DataType.INT64 else VALUES.get(point, 1.0) + index % 7 / 64
            for point in points[device]
        )
        data.append(sessions[nodes[device]].data(Readings(device, at, points[device], values, GOOD)))
    return births, data


def _kind(point: str) -> DataType:
    return DataType.INT64 if point.endswith(("_wh", "_ml")) else DataType.DOUBLE


def _publish(site: Site, load: Load) -> None:
    """Sends births, then data in steps of 5 ms; says when the warm-up is over and when all is sent."""
    start = Instant(time.time_ns() // 1_000_000 + 3_000 + load.count // 30)
    births, data = _encoded(site, load, start)
    packets = [_packet(message) for message in data]
    with socket.create_connection(("127.0.0.1", load.port)) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sendall(bytes.fromhex("101000044d51545404020000000462656e63"))
        link.recv(4)
        time.sleep(max(0.0, start / 1_000 - time.time() - 0.5))
        link.sendall(b"".join(map(_packet, births)))
        time.sleep(max(0.0, start / 1_000 - time.time()))
        begun, sent, told = time.monotonic(), 0, False
        while sent < len(packets):
            due = min(len(packets), round((time.monotonic() - begun) * load.rate))
            link.sendall(b"".join(packets[sent:due]))
            sent = due
            if not told and sent >= load.rate * WARM_S:
                told = True
                _tell(start)
            time.sleep(0.005)
        _tell(len(packets))
        time.sleep(1.0)


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _packet(message: Message) -> bytes:
    """Returns a PUBLISH of QoS 0 (MQTT 3.1.1, section 3.3)."""
    topic = message.topic.encode()
    body = len(topic).to_bytes(2, "big") + topic + message.payload
    size, left = b"", len(body)
    while True:
        left, low = divmod(left, 128)
        size += bytes([low | 128 if left else low])
        if not left:
            return b"\x30" + size + body


def _sink(site: Site, load: Load) -> None:
    """Subscribes as the hub does and counts, no more."""
    seen = [0]

    def count(_client: paho.Client, _data: object, _message: paho.MQTTMessage) -> None:
        seen[0] += 1

    def subscribe(client: paho.Client, *_: object) -> None:
        client.subscribe(f"spBv1.0/{site.id}/DDATA/+/+")

    def stop(_number: int, _frame: object) -> None:
        client.disconnect()

    client = paho.Client(CallbackAPIVersion.VERSION2, "sink")
    client.on_connect, client.on_message = subscribe, count
    signal.signal(signal.SIGTERM, stop)
    client.connect("127.0.0.1", load.port)
    client.loop_forever()
    _tell(seen[0])


if __name__ == "__main__":
    what = Load(int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    {"publish": _publish, "sink": _sink}[sys.argv[1]](load_site(SITE), what)
