"""The gateway as a process: real Modbus TCP, a real broker, kill -9 in the middle; no record lost or changed."""

from __future__ import annotations

import itertools
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.shell.broker import BrokerChild, choose
from controller.store.ledger_file import LedgerFile
from devices.clock import SLOT_MS, Instant
from devices.events import Incoming, LinkUp
from devices.model import DeviceKind, IntervalRecord
from devices.outbox import Ack, decode_batch, encode_acks
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.shell.run_clock import RunClock
from devices.sparkplug import HostSession, RecordBatch, Send
from devices.sunspec import encode_chain
from devices.sunspec_points import sunspec_values
from tests.devices.shell.modbus_server import served

pytestmark = pytest.mark.integration
SPEED = 900.0  # a slot a second
POLL_MS = 225_000

CHILD = """
import logging, sys
from pathlib import Path
from devices.gateway import GatewayConfig
from devices.shell.gateway import run_gateway
from devices.shell.data_lock import AlreadyRunning
from devices.shell.run_clock import RunClock
from tests.devices.gateway_bench import METER
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
data_dir, broker, endpoint, poll_ms = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
clock, run = RunClock.join(data_dir / "run.json")
config = GatewayConfig("gw-1", "village", (METER,), poll_ms, deadline_floor_ms=run.deadline_floor_ms)
try:
    run_gateway(config, data_dir, broker, clock, {METER.endpoint: endpoint})
except AlreadyRunning as problem:
    sys.exit(str(problem))
"""


HUB = """
import sys, time
from pathlib import Path
from controller.shell.books import Books
from devices.events import Incoming, LinkUp
from devices.model import UsagePointId
from devices.outbox import Ack, decode_batch, encode_acks
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.shell.run_clock import RunClock
from devices.sparkplug import HostSession, RecordBatch, Send
from tests.ledger_village import rules
folder, broker = Path(sys.argv[1]), sys.argv[2]
clock, _ = RunClock.join(folder / "run.json")
books, inbox, session = Books.open(str(folder / "ledger.db"), rules(2)), Inbox(), HostSession("village")
host, _, port = broker.rpartition(":")
link = Link("hub", host, int(port), will=lambda: session.will(clock.now()),
            subscriptions=session.subscriptions(), inbox=inbox)
link.start()
while True:
    for event in inbox.get(0.05):
        now = clock.now()
        found = session.receive(event.topic, event.payload, now) if isinstance(event, Incoming) else []
        if isinstance(event, LinkUp):
            link.publish(session.birth(now))
        for one in [*found, *session.due(now)]:
            if isinstance(one, Send):
                link.publish(one.message)
            elif isinstance(one, RecordBatch):
                print("received", *(record.page for record in decode_batch(one.payload)), flush=True)
                books.accept(decode_batch(one.payload))
                time.sleep(0.3)  # the test kills here
                acks = [Ack(UsagePointId(p), e, n) for p, e, n in books.commit(now).acks]
                print("committed", *(ack.page for ack in acks), flush=True)
                link.publish(session.ack(one.node, encode_acks(acks), now))
"""


@pytest.fixture
def meter() -> Iterator[str]:
    """A SunSpec meter on pymodbus' server; its registers stand still, which is all this test needs."""
    values = sunspec_values(DeviceKind.METER, {"W": 700, "import_wh": 5})
    with served(40000, encode_chain([(1, {"Mn": "Atoll"}), (203, values[203])])) as endpoint:
        yield endpoint


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    child = BrokerChild(choose(None), port, tmp_path / "broker")
    child.start()
    yield f"127.0.0.1:{child.port}"
    child.stop()


class Hub(threading.Thread):
    """The least hub there can be: takes records, acknowledges what is gap-free, now and then forgets to."""

    def __init__(self, broker: str, clock: RunClock) -> None:
        super().__init__(daemon=True)
        self.records: dict[int, IntervalRecord] = {}
        self.changed: list[IntervalRecord] = []
        self.born = 0
        self.stopping = threading.Event()
        self.clock = clock
        self.inbox: Inbox[object] = Inbox()
        self.session = HostSession("village")
        host, _, port = broker.rpartition(":")
        self.link = Link(
            "hub", host, int(port),
            will=lambda: self.session.will(clock.now()),
            subscriptions=self.session.subscriptions(), inbox=self.inbox,
        )  # fmt: skip

    def run(self) -> None:
        self.link.start()
        forgetful = random.Random(7)
        while not self.stopping.is_set():
            for event in self.inbox.get(0.05):
                now = self.clock.now()
                if isinstance(event, LinkUp):
                    self.link.publish(self.session.birth(now))
                elif isinstance(event, Incoming):
                    self.born += "/NBIRTH/" in event.topic
                    for found in self.session.receive(event.topic, event.payload, now):
                        if isinstance(found, RecordBatch):
                            self.take(found.payload)
                            if forgetful.random() < 0.5:
                                self.acknowledge(found.node)
                        elif isinstance(found, Send):
                            self.link.publish(found.message)
            for found in self.session.due(self.clock.now()):
                if isinstance(found, Send):
                    self.link.publish(found.message)
        self.link.stop()

    def take(self, payload: bytes) -> None:
        for record in decode_batch(payload):
            if self.records.setdefault(record.page, record) != record:
                self.changed.append(record)

    def acknowledge(self, node: str) -> None:
        done = next(page for page in itertools.count() if page + 1 not in self.records)
        acks = [Ack(record.usage_point, 1, done) for record in list(self.records.values())[:1]]
        self.link.publish(self.session.ack(node, encode_acks(acks), self.clock.now()))


Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, broker: str, meter: str) -> Iterator[Start]:
    """Starts gateway processes; none outlives the test."""
    children: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        words = [sys.executable, "-c", CHILD, str(tmp_path), broker, meter, str(POLL_MS)]
        children.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        return children[-1]

    yield begin
    for child in children:
        child.kill()
        child.wait()


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_record_is_lost_or_changed_by_kill_9(tmp_path: Path, broker: str, start: Start) -> None:
    clock, _ = RunClock.start(tmp_path / "run.json", Instant(1_780_272_000_000 // SLOT_MS * SLOT_MS), SPEED)
    hub = Hub(broker, clock)
    hub.start()
    chance = random.Random(3)
    for _ in range(4):
        gateway = start()
        before = len(hub.records)
        wait_until(lambda before=before: len(hub.records) > before)
        time.sleep(chance.random())
        gateway.send_signal(signal.SIGKILL)
        gateway.wait()
    gateway = start()
    before = len(hub.records)
    wait_until(lambda: len(hub.records) > before + 2)
    assert start().wait(timeout=20) == 1, "a second gateway on the same directory must not start"
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait(timeout=10) == 0
    hub.stopping.set()
    hub.join(timeout=10)
    pages = sorted(hub.records)
    assert pages == list(range(1, len(pages) + 1))
    assert hub.changed == []
    records = [hub.records[page] for page in pages]
    assert all(after.start == before.end for before, after in itertools.pairwise(records))
    assert hub.born >= 5
    assert "event=stopped" in (gateway.stdout.read() if gateway.stdout else "")


def test_a_hub_that_dies_between_receipt_and_commit_gets_the_batch_again(
    tmp_path: Path, broker: str, start: Start
) -> None:
    RunClock.start(tmp_path / "run.json", Instant(1_780_272_000_000 // SLOT_MS * SLOT_MS), SPEED)
    gateway = start()
    lost: set[str] = set()
    committed = 0
    for life in range(4):
        words = [sys.executable, "-c", HUB, str(tmp_path), broker]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as hub:
            assert hub.stdout is not None
            line = hub.stdout.readline()
            assert line.startswith("received"), line
            if life < 3:
                hub.send_signal(signal.SIGKILL)  # it has the batch and has written nothing
                lost |= set(line.split()[1:])
                continue
            again = set(line.split()[1:])
            while committed < 8 or not again >= lost:
                word, *pages = hub.stdout.readline().split()
                again |= set(pages) if word == "received" else set()
                committed = max([committed, *map(int, pages)]) if word == "committed" else committed
            hub.send_signal(signal.SIGKILL)
    assert lost
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait(timeout=10) == 0
    file = LedgerFile.read(tmp_path / "ledger.db")
    try:
        records = [kept.record for kept in file.records(Instant(0), Instant(2**60))]
    finally:
        file.close()
    pages = [record.page for record in records]
    assert pages == list(range(1, len(pages) + 1)), "each page once, none missing"
    assert len(pages) >= committed
    assert all(one.end == after.start for one, after in itertools.pairwise(records))
