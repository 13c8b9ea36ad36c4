"""Logins and their limits on real brokers: a node cannot speak for another, and a running site locks nobody out."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from controller.broker_access import HUB, READER
from controller.cli import exit_code
from controller.shell.broker import BrokerChild, BrokerKind, choose, free_port
from controller.shell.broker_access import PASSWORD_FILE, Access, prepare_access, renew
from controller.shell.service_files import Install, files
from controller.site import Site, load
from devices.events import Incoming, LinkUp
from devices.logins import device_login, gateway_login
from devices.model import Message
from devices.shell.broker_login import FOLDER, login_of, nobody, password_file
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link

pytestmark = pytest.mark.integration

VILLAGE = Path(__file__).parents[3] / "examples" / "village" / "site.toml"
BOTH = [pytest.param("mosquitto", marks=pytest.mark.needs("mosquitto")), "nats"]
WAIT_S = 20.0
MARK = "test/mark"
"""What only the hub says, after which nothing that was sent before can still come."""
PLUG = """
[[gateway]]
id = "gw-2"

[[device]]
id = "well"
kind = "relay"
driver = "mqtt:tasmota_plug"
gateway = "gw-1"
endpoint = "mqtt:well"
"""


def site(*, anonymous: bool) -> Site:
    text = VILLAGE.read_text().replace("[[gateway]]", PLUG + "\n[[gateway]]", 1)
    return load(f"{text}\n[broker]\nanonymous = {str(anonymous).lower()}\n", str(VILLAGE))


@dataclass
class Client:
    """One login's connection."""

    link: Link
    inbox: Inbox

    def up(self) -> bool:
        return any(isinstance(event, LinkUp) for event in self.inbox.get(0.05))

    def say(self, topic: str, payload: bytes = b"x") -> None:
        assert self.link.publish(Message(topic, payload, 0))

    def hear(self, until: str) -> set[str]:
        """Every topic up to and including one."""
        heard: set[str] = set()

        def told() -> bool:
            heard.update(event.topic for event in self.inbox.get(0.05) if isinstance(event, Incoming))
            return until in heard

        wait(told)
        return heard


def wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Room:
    """A broker with a site's logins."""

    child: BrokerChild
    folder: Path
    clients: list[Link]

    def connect(self, name: str, *topics: str, id: str = "", waits: bool = True) -> Client:
        inbox: Inbox = Inbox(1000)
        logins = login_of(self.folder, name) if name else nobody
        subscriptions = [(topic, 1) for topic in topics]
        id = id or f"test-{len(self.clients)}"
        link = Link(
            id, "127.0.0.1", self.child.port, will=None, subscriptions=subscriptions, inbox=inbox, logins=logins
        )
        self.clients.append(link)
        link.start()
        client = Client(link, inbox)
        if waits:
            wait(client.up)
        return client


def room(kind: str, folder: Path, *, anonymous: bool) -> Iterator[Room]:
    choice = choose(None, kind)
    access = prepare_access(site(anonymous=anonymous), folder, all_plain=choice.kind is BrokerKind.NATS)
    port = free_port("127.0.0.1", 20_000 + os.getpid() % 10_000)
    child = BrokerChild(choice, port, folder, access=access)
    child.start()
    found = Room(child, folder, [])
    yield found
    for link in found.clients:
        link.stop(timeout_s=0.5)
    child.stop()


@pytest.fixture(params=BOTH)
def closed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    yield from room(request.param, tmp_path, anonymous=False)


@pytest.fixture(params=BOTH)
def open_room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    yield from room(request.param, tmp_path, anonymous=True)


def said_by(room: Room, name: str, own: str, *others: str) -> set[str]:
    """What of these reaches the hub when `name` says it, `own` last (mosquitto 2.0 throws out who says more)."""
    hub = room.connect(HUB, "spBv1.0/#", "tele/#", "cmnd/#", "stat/#", "vda5050/#", "test/#")
    for topic in (*others, own):
        other = room.connect(name)
        other.say(topic)
        other.link.stop()
    return hub.hear(own)


def test_a_gateway_speaks_for_its_own_node_only(closed: Room) -> None:
    group = "spBv1.0/village"
    own = f"{group}/DDATA/gw-1/home-01"
    heard = said_by(
        closed, gateway_login("gw-1"), own,
        f"{group}/DDATA/gw-2/home-01", f"{group}/NBIRTH/gw-2", f"{group}/NDEATH/gw-2", f"{group}/NCMD/gw-2",
        f"{group}/NCMD/gw-1", f"{group}/DCMD/gw-1/home-01", "spBv1.0/STATE/village-hub",
        "vda5050/v2/atoll/robot-1/order",
    )  # fmt: skip
    assert heard == {own}


def test_a_gateway_hears_its_own_commands_only(closed: Room) -> None:
    """On NATS a wider subscription is refused as a whole; on mosquitto nothing of others is delivered."""
    own = ("spBv1.0/village/NCMD/gw-2", "spBv1.0/village/DCMD/gw-2/+", "spBv1.0/STATE/village-hub")
    gateway = closed.connect(gateway_login("gw-2"), *own)
    nosy = closed.connect(gateway_login("gw-2"), "spBv1.0/village/#", waits=False)
    hub = closed.connect(HUB)
    for topic in ("spBv1.0/village/NCMD/gw-1", "spBv1.0/village/DDATA/gw-1/home-01", own[0]):
        hub.say(topic)
    assert gateway.hear(own[0]) == {own[0]}
    if closed.child.choice.kind is BrokerKind.MOSQUITTO:
        wait(nosy.up)
        hub.say("spBv1.0/village/DDATA/gw-1/home-01")
        hub.say(own[0])
        assert nosy.hear(own[0]) == {own[0]}
    else:
        wait(lambda: "refused to subscribe" in str(nosy.inbox.get(0.05)))
        assert not nosy.link.up


def test_a_plain_device_has_its_own_name_only(closed: Room) -> None:
    heard = said_by(
        closed, device_login("well"), "tele/well/STATE",
        "tele/other/SENSOR", "cmnd/other/POWER", "cmnd/well/POWER", "spBv1.0/village/DDATA/gw-1/well",
    )  # fmt: skip
    assert heard == {"tele/well/STATE"}


def test_its_gateway_may_switch_it_and_read_it(closed: Room) -> None:
    gateway = closed.connect(gateway_login("gw-1"), "tele/well/SENSOR")
    plug = closed.connect(device_login("well"), "cmnd/well/POWER")
    gateway.say("cmnd/well/POWER")
    assert plug.hear("cmnd/well/POWER") == {"cmnd/well/POWER"}
    plug.say("tele/well/SENSOR")
    assert gateway.hear("tele/well/SENSOR") == {"tele/well/SENSOR"}


def test_a_vehicle_reports_and_takes_orders_but_gives_none(closed: Room) -> None:
    own = "vda5050/v2/atoll/robot-1"
    heard = said_by(closed, device_login("robot-1"), f"{own}/state", f"{own}/order", "vda5050/v2/atoll/drone-1/state")
    assert heard == {f"{own}/state"}


def test_a_reader_hears_all_and_says_nothing(closed: Room) -> None:
    hub = closed.connect(HUB, "test/#")
    reader = closed.connect(READER, "test/#")
    talker = closed.connect(READER)  # which mosquitto throws out
    talker.say("test/mine")
    talker.link.stop()
    hub.say(MARK)
    assert hub.hear(MARK) == {MARK}
    assert reader.hear(MARK) == {MARK}


def test_without_a_login_nobody_comes_in_where_it_is_closed(closed: Room) -> None:
    stranger = closed.connect("", waits=False)
    wait(lambda: "refused" in str(stranger.inbox.get(0.05)))
    assert not stranger.link.up


def test_an_open_broker_lets_everybody_in_and_still_holds_logins_to_their_own(open_room: Room) -> None:
    old = open_room.connect("")
    group = "spBv1.0/village"
    heard = said_by(open_room, gateway_login("gw-1"), f"{group}/NDATA/gw-1", f"{group}/NDATA/gw-2")
    assert heard == {f"{group}/NDATA/gw-1"}
    hub = open_room.connect(HUB, "test/#")
    old.say(MARK)
    assert hub.hear(MARK) == {MARK}


def test_a_stale_password_is_left_out_where_everybody_may_come_in(open_room: Room) -> None:
    """A backup put back, or files copied: the gateway still works, as before there were logins."""
    password_file(open_room.folder, gateway_login("gw-1")).write_text("of last year\n")
    gateway = open_room.connect(gateway_login("gw-1"))
    hub = open_room.connect(HUB, "test/#")
    gateway.say(MARK)
    assert hub.hear(MARK) == {MARK}


def test_the_doctor_logs_in_where_it_can(closed: Room, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broker_row(folder: Path) -> dict[str, str]:
        exit_code(["doctor", "--broker", f"127.0.0.1:{closed.child.port}", "--data-dir", str(folder), "--json"])
        return next(row for row in json.loads(capsys.readouterr().out)["checks"] if row["name"] == "broker")

    assert broker_row(closed.folder)["state"] == "pass"
    stranger = broker_row(tmp_path / "elsewhere")
    assert stranger["state"] == "fail"
    assert "atoll access" in stranger["fix"]


# ------------------------------------------------------------------------------------------------ the files


def test_passwords_stay_are_private_and_may_leave_once_handed_out(tmp_path: Path) -> None:
    village = site(anonymous=False)
    first = prepare_access(village, tmp_path)
    names = {grant.name for grant in first.grants}
    assert {HUB, READER, "gateway.gw-1", "gateway.gw-2", "device.well", "device.robot-1"} <= names
    assert all(oct(p.stat().st_mode)[-3:] == "600" for p in (tmp_path / FOLDER).rglob("*") if p.is_file())
    lines = (tmp_path / FOLDER / PASSWORD_FILE).read_text()
    password_file(tmp_path, "gateway.gw-2").unlink()
    again = prepare_access(village, tmp_path)
    assert (tmp_path / FOLDER / PASSWORD_FILE).read_text() == lines, "its hash is kept, and nobody else's has changed"
    assert "gateway.gw-2" not in again.passwords
    renew(tmp_path, "gateway.gw-2")
    prepare_access(village, tmp_path)
    assert (tmp_path / FOLDER / PASSWORD_FILE).read_text() != lines


def test_who_is_no_longer_in_the_site_file_is_refused(tmp_path: Path) -> None:
    village = site(anonymous=False)
    prepare_access(village, tmp_path)
    smaller = replace(village, devices=tuple(d for d in village.devices if d.id != "well"))
    access: Access = prepare_access(smaller, tmp_path)
    assert "device.well" not in {grant.name for grant in access.grants}
    assert "device.well" not in (tmp_path / FOLDER / PASSWORD_FILE).read_text()


@pytest.mark.needs("mosquitto")
@pytest.mark.parametrize("anonymous", [True, False])
def test_a_broker_that_is_a_service_reads_them_from_its_folder(tmp_path: Path, anonymous: bool) -> None:
    """Its own file lets everybody in, as before; what the hub has put into the folder comes later, and wins."""
    prepare_access(site(anonymous=anonymous), tmp_path)
    port = free_port("127.0.0.1", 21_000 + os.getpid() % 10_000)
    wanted = Install("site.toml", str(tmp_path), "nobody", hub=True, gateways=(), broker=f"127.0.0.1:{port}")
    config = tmp_path / "mosquitto.conf"
    text = files(wanted)["etc/atoll/mosquitto.conf"]
    config.write_text(text + ("user root\n" if os.geteuid() == 0 else ""))
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([choose(None, "mosquitto").program, "-c", str(config)], stdout=quiet, stderr=quiet)
    inbox: Inbox = Inbox(100)
    link = Link("stranger", "127.0.0.1", port, will=None, subscriptions=[], inbox=inbox)
    try:
        wait(lambda: accepts(port))
        link.start()
        said = "LinkUp" if anonymous else "refused"
        wait(lambda: said in str(inbox.get(0.05)))
    finally:
        link.stop(timeout_s=0.5)
        process.terminate()
        process.wait(10)
