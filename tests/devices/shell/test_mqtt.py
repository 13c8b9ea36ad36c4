"""Our MQTT link on real brokers: whole, in order, back after every loss; and Sparkplug's two sides over it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from controller.shell.broker import BrokerChild, free_port
from devices.clock import Instant
from devices.events import Incoming, LinkDown, LinkUp
from devices.flood import BURST, FREE, RATE
from devices.model import DeviceId, Message, Quality, Readings
from devices.shell.inbox import Inbox
from devices.shell.mqtt import BadClientId, Link
from devices.sparkplug import DataType, DeviceData, EdgeSession, HostOnline, HostSession, Metric, NodeOffline

pytestmark = pytest.mark.integration

T = Instant(1_780_000_000_000)
WAIT_S = 15.0
HOME = DeviceId("home-01")
Party = Any  # conftest.Party


# -- the link ------------------------------------------------------------------------------------------------------


def test_messages_of_each_qos_and_size_arrive_whole_and_in_order(party: Callable[..., Party]):
    reader, writer = party("reader", "t/#").up(), party("writer").up()
    payloads = [b"", b"x", bytes(range(256)) * 3, b"m" * 70_000, b"l" * 200_000]
    for qos in (0, 1):
        for payload in payloads:
            assert writer.link.publish(Message(f"t/{qos}", payload, qos))
        seen = reader.until(lambda event: len(event.payload) == 200_000)
        assert [(event.topic, event.payload) for event in seen] == [(f"t/{qos}", payload) for payload in payloads]


def test_a_burst_arrives_complete_and_in_order(party: Callable[..., Party]):
    reader, writer = party("reader", "burst").up(), party("writer").up()
    for number in range(3_000):
        writer.link.publish(Message("burst", b"%d" % number))
    seen = reader.until(lambda event: event.payload == b"2999")
    assert [event.payload for event in seen] == [b"%d" % number for number in range(3_000)]
    assert (writer.link.unsent, reader.inbox.dropped) == (0, 0)


def test_the_will_is_delivered_when_a_client_dies_and_not_when_it_leaves(party: Callable[..., Party]):
    reader = party("reader", "will/#").up()
    dying = party("dying", will=Message("will/dying", b"dead", 1)).up()
    leaving = party("leaving", will=Message("will/leaving", b"dead", 1)).up()
    leaving.link.stop(Message("will/leaving", b"bye", 1))
    assert reader.until(lambda _: True)[0] == Incoming("will/leaving", b"bye")
    cut(dying.link)
    assert reader.until(lambda _: True)[0] == Incoming("will/dying", b"dead")


def test_a_retained_message_meets_whoever_comes_later(party: Callable[..., Party]):
    party("writer").up().link.publish(Message("kept", b"state", 1, retain=True))
    time.sleep(0.3)
    seen = party("reader", "kept").until(lambda event: isinstance(event, Incoming))
    assert seen[-1] == Incoming("kept", b"state")


def test_after_a_kill_of_the_broker_the_link_says_so_and_comes_back(broker: BrokerChild, party: Callable[..., Party]):
    reader, writer = party("reader", "t").up(), party("writer").up()
    notes: list[str] = []
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    down = reader.until(lambda event: isinstance(event, LinkDown))[-1]
    assert broker.address in down.reason
    assert not writer.link.publish(Message("t", b"lost")) or writer.link.unsent == 0
    for one in (reader, writer):
        one.up(poll=lambda: notes.append(broker.poll()))
    assert any("starting it again" in note for note in notes)
    writer.link.publish(Message("t", b"back"))
    assert reader.until(lambda event: isinstance(event, Incoming))[-1].payload == b"back"
    assert broker.restarts == 1


def test_a_packet_beyond_256_kib_costs_its_sender_the_connection_and_nobody_else(party: Callable[..., Party]):
    reader, flooder = party("reader", "t").up(), party("flooder").up()
    flooder.link.publish(Message("t", b"x" * 300_000))
    flooder.until(lambda event: isinstance(event, LinkDown))
    flooder.up()
    flooder.link.publish(Message("t", b"small"))
    assert reader.until(lambda _: True) == [Incoming("t", b"small")]


def test_a_flood_by_one_takes_nothing_from_another(party: Callable[..., Party]):
    """A reader that is slow, beside one that says 20,000 things at once and one that says ten and its last word."""
    reader, loud, meek = party("reader", "spBv1.0/#").up(), party("loud").up(), party("meek").up()
    started = time.monotonic()
    for number in range(20_000):
        loud.link.publish(Message("spBv1.0/v/DDATA/loud/x", b"%d" % number))
        if number % 2_000 == 0:
            meek.link.publish(Message("spBv1.0/v/DDATA/meek/x", b"%d" % number))
    deadline = time.monotonic() + WAIT_S
    while loud.link._client is not None and loud.link._client.backlog and time.monotonic() < deadline:
        time.sleep(0.02)  # the reader takes nothing meanwhile
    meek.link.publish(Message("spBv1.0/v/DDATA/meek/x", b"last"))
    seen = reader.until(lambda event: event == Incoming("spBv1.0/v/DDATA/meek/x", b"last"))
    assert sum(event.topic.endswith("meek/x") for event in seen) == 11
    assert reader.inbox.dropped == 0
    seconds = 1 + time.monotonic() - started  # a slow machine is a slow flood: each second begins with what is free
    assert sum(event.topic.endswith("loud/x") for event in seen) <= BURST + (FREE + RATE) * seconds


def test_a_broker_that_is_behind_hears_the_last_words():
    """It drops a client that it cannot write an acknowledgement to, with all that it has not read yet (nats-server)."""
    heard = bytearray()

    def serve(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        peer.recv(1000)
        peer.sendall(b"\x20\x02\x00\x00")  # CONNACK
        time.sleep(0.4)  # the client says all it has to say meanwhile, and leaves
        with peer:
            heard.extend(peer.recv(4))
            for _ in range(2):  # what the first meets at a closed end, the second is told
                peer.sendall(b"\x40\x02\x00\x01")  # PUBACK
                time.sleep(0.05)
            while part := peer.recv(1000):
                heard.extend(part)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        broker = threading.Thread(target=serve, args=(listener,), daemon=True)
        broker.start()
        inbox = Inbox[Any]()
        link = Link("leaving", "127.0.0.1", listener.getsockname()[1], will=None, subscriptions=[], inbox=inbox)
        link.start()
        assert isinstance(inbox.get(WAIT_S)[0], LinkUp)
        link.publish(Message("t", b"kept", 1))
        link.publish(Message("t", b"last words"))
        link.stop()
        broker.join(WAIT_S)
    assert b"last words" in heard
    assert heard.endswith(b"\xe0\x00"), "DISCONNECT"


def test_stop_without_a_broker_returns():
    inbox = Inbox[Any]()
    link = Link("lonely", "127.0.0.1", free_port("127.0.0.1", 29_000), will=None, subscriptions=[], inbox=inbox)
    link.start()
    (down,) = inbox.get(WAIT_S)
    assert isinstance(down, LinkDown)
    assert not link.publish(Message("t", b"x"))
    assert link.unsent == 1
    link.stop()
    assert not link._thread.is_alive()


def test_a_server_that_talks_nonsense_is_a_lost_connection():
    def serve(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        peer.recv(1000)
        peer.sendall(b"\x20\x02\x00\x00" + b"\x30\xff\xff\xff\xff\xff\xff")
        time.sleep(0.5)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        inbox = Inbox[Any]()
        link = Link("unlucky", "127.0.0.1", listener.getsockname()[1], will=None, subscriptions=[], inbox=inbox)
        link.start()
        seen: list[Any] = []
        while not any(isinstance(event, LinkDown) for event in seen):
            batch = inbox.get(WAIT_S)
            assert batch, seen
            seen += batch
        assert isinstance(seen[0], LinkUp)
        link.stop()


@pytest.mark.parametrize("name", ["", "with space", "x" * 65, "a/b", "ä"])
def test_client_ids_that_not_every_broker_takes_are_refused(name: str):
    with pytest.raises(BadClientId):
        Link(name, "127.0.0.1", 1883, will=None, subscriptions=[], inbox=Inbox[Any]())


class Village:
    """A hub and a gateway, each a session with its link, taking turns in one thread."""

    def __init__(self, broker: BrokerChild) -> None:
        self.host, self.edge = HostSession("village"), EdgeSession("village", "gw-1")
        self.hub, self.gateway = Inbox[Any](), Inbox[Any]()
        place = (broker.host, broker.port)
        topics = self.host.subscriptions()
        self.hub_link = Link("hub", *place, will=lambda: self.host.will(T), subscriptions=topics, inbox=self.hub)
        topics = self.edge.subscriptions()
        self.edge_link = Link("gw-1", *place, will=lambda: self.edge.will(T), subscriptions=topics, inbox=self.gateway)
        self.seen: list[Any] = []

    def turn(self) -> None:
        for event in self.hub.get(0.02):
            if event == LinkUp():
                self.hub_link.publish(self.host.birth(T))
            elif isinstance(event, Incoming):
                self.seen += self.host.receive(event.topic, event.payload, T)
        for event in self.gateway.get(0.02):
            if event == LinkUp():
                for message in self.edge.birth(T, {HOME: [Metric("W", DataType.DOUBLE, 1.0)]}):
                    self.edge_link.publish(message)
            elif isinstance(event, Incoming):
                self.seen += self.edge.receive(Message(event.topic, event.payload), T)

    def until(self, wanted: Callable[[Any], bool]) -> None:
        """Takes turns until an event that is wanted has come."""
        deadline = time.monotonic() + WAIT_S
        while not any(wanted(event) for event in self.seen):
            assert time.monotonic() < deadline, self.seen
            self.turn()
        self.seen.clear()


def test_births_data_state_and_the_death_of_a_gateway_over_a_real_broker(broker: BrokerChild):
    village = Village(broker)
    village.hub_link.start()
    try:
        while not village.hub_link.up:
            village.turn()
        village.edge_link.start()
        village.until(lambda event: isinstance(event, DeviceData))
        village.edge_link.publish(village.edge.data(Readings(HOME, T, ("W",), (7.0,), (Quality.GOOD,))))
        village.until(lambda event: isinstance(event, DeviceData) and event.readings.values == (7.0,))
        cut(village.edge_link)
        village.until(lambda event: event == NodeOffline("gw-1", T))
        village.until(lambda event: isinstance(event, DeviceData))
        assert village.edge.bd_seq == 1
        village.hub_link.stop(village.host.death())
        village.until(lambda event: event == HostOnline(False))
    finally:
        village.hub_link.stop()
        village.edge_link.stop()


def cut(link: Link) -> None:
    """Breaks the connection as a dead process would."""
    client = link._client
    assert client is not None
    raw = client.socket()
    assert isinstance(raw, socket.socket)
    raw.shutdown(socket.SHUT_RDWR)
