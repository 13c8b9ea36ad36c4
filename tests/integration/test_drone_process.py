"""`atoll drone` as a process between a real mosquitto and a simulated copter on UDP, seen by the hub's own board."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.missions import Board
from controller.shell.broker import BrokerChild, choose, free_port
from controller.site import Site, load
from devices.clock import Instant
from devices.events import Incoming
from devices.mavlink_values import Autopilot
from devices.model import DeviceId
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.vda5050 import OrderState
from firmware_sim.copter import Copter
from firmware_sim.copter_body import CopterBody
from firmware_sim.shell.copter_live import CopterLive
from tests.controller.test_site_zones import AUTHORISED, FENCE, MAVLINK, VILLAGE, with_mavlink
from tests.drone_world import CLINIC

pytestmark = [pytest.mark.integration, pytest.mark.needs("mosquitto")]
WAIT_S = 60.0
PEOPLE = """
[[interlock]]
id = "yard"
rule = "people-zone"
device = "drone-1"
sensor = "tank-1"
point = "level"
"""
DRONE = DeviceId("drone-1")


def now() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


def udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Field:
    """A site file on disk, a copter that sends to its endpoint, and the command line."""

    def __init__(self, folder: Path) -> None:
        port = udp_port()
        text = with_mavlink(VILLAGE, line=MAVLINK.replace("14550", str(port))) + FENCE + AUTHORISED
        self.file = folder / "site.toml"
        self.file.write_text(text.replace("2027-03-01", "2099-03-01"), "utf-8")
        self.folder = folder
        self.site: Site = load(self.file.read_text("utf-8"), "site.toml")
        body = CopterBody(self.site.latitude, self.site.longitude, speed=60.0, climb=20.0)
        self.copter = Copter(Autopilot.ARDUPILOT, body, now())
        self.live = CopterLive(self.copter, ("127.0.0.1", port))
        self.live.start()

    def command(self, *words: str) -> list[str]:
        start = [sys.executable, "-m", "controller.cli", "drone", str(self.file), str(DRONE)]
        return [*start, "--data-dir", str(self.folder), *words]


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    found = Field(tmp_path)
    yield found
    found.live.stop()


def test_check_says_what_keeps_it_down_and_when_nothing_does(field):
    field.copter.params["BATT_FS_LOW_ACT"] = 0.0
    down = subprocess.run(field.command("--check"), capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert down.returncode == 1, down.stderr
    assert "batteryOff: BATT_FS_LOW_ACT: is 0; 0 does nothing: set 2 (RTL)" in down.stdout
    assert down.stdout.endswith("not ready\n")
    field.copter.params["BATT_FS_LOW_ACT"] = 2.0
    done = subprocess.run(
        field.command("--check", "--json"), capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["errors"], answer["autopilot"]) == (0, [], "ardupilot")
    assert answer["params"]["FENCE_ENABLE"] == 1.0


def test_the_hubs_order_is_flown_by_the_process(field, tmp_path):
    broker = BrokerChild(choose(None, "mosquitto"), free_port("127.0.0.1", 21_000 + os.getpid() % 9_000), tmp_path)
    broker.start()
    board, inbox = Board(field.site), Inbox[object]()
    session = board.sessions[DRONE]
    link = Link("hub", broker.host, broker.port, will=None, subscriptions=board.subscriptions(), inbox=inbox)
    link.start()
    process = subprocess.Popen(field.command("--broker", broker.address))

    def until(wanted: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not wanted():
            assert time.monotonic() < deadline, (what, session.state)
            for event in inbox.get(0.05):
                if isinstance(event, Incoming):
                    board.receive(event.topic, event.payload, now())

    try:
        until(lambda: session.state is not None and not session.state.errors, "nothing keeps it down")
        link.publish(session.send(CLINIC, now()))
        until(lambda: field.copter.armed or board.others.get("job-1", ("",))[0] == "failed", "armed")
        until(lambda: session.order_state is OrderState.NONE, "the order is over")
        assert "done" in {str(state) for state, _ in board.others.values()}, board.others
        assert not field.copter.gripped
        assert not field.copter.armed
    finally:
        process.terminate()
        process.wait(10)
        link.stop()
        broker.stop()
    assert process.returncode == 0


def test_run_gateway_starts_its_drone_again_when_it_is_killed_and_stops_it_without_a_broker(field, tmp_path):
    """Its person sensor does not answer, which counts as people; there is neither hub nor broker."""
    field.file.write_text(field.file.read_text("utf-8") + PEOPLE, "utf-8")
    start = [sys.executable, "-m", "controller.cli", "run", "gateway", str(field.file), "--data-dir", str(tmp_path)]
    process = subprocess.Popen([*start, "--broker", "127.0.0.1:1"], stderr=subprocess.PIPE, text=True)

    def drone() -> int:
        """Returns the drone's process id, 0 while there is none."""
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if b"drone" in words:
                return int(child)
        return 0

    def until(wanted: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not wanted():
            assert time.monotonic() < deadline, what
            assert process.poll() is None, what
            time.sleep(0.05)

    try:
        log = tmp_path / "logs" / "drone-1.log"
        until(lambda: log.exists() and "event=started drone=drone-1" in log.read_text(), "the drone runs")
        until(lambda: "event=paused drone=drone-1" in log.read_text(), "its gateway stops it")
        first = drone()
        os.kill(first, 9)
        until(lambda: drone() not in (0, first), "it is started again")
        until(lambda: log.read_text().count("event=paused") == 2, "and is stopped again")
    finally:
        process.terminate()
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "drone-1 ended (-9) and is tried again; all else runs on" in said
