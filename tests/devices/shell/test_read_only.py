"""The one gate of advisory mode, on a real broker: a link that may only look lets nothing else out."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from controller.shell.broker import BrokerChild, choose, free_port
from devices.clock import Instant
from devices.events import Incoming, LinkUp
from devices.model import DeviceId, Message, Setpoint
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.shell.read_only import only_look
from devices.sparkplug import HostSession
from devices.sparkplug_codec import REBIRTH, DataType, Metric, encode_command

pytestmark = pytest.mark.integration
NOW = Instant(1_780_000_000_000)


def everything(session: HostSession) -> list[Message]:
    """Returns what a hub could ever want to send, STATE and rebirth first."""
    rebirth = encode_command((Metric(REBIRTH, DataType.BOOLEAN, value=True, timestamp=NOW),), NOW)
    sneaky = encode_command(
        (Metric(REBIRTH, DataType.BOOLEAN, value=True), Metric("x/W", DataType.DOUBLE, value=1.0)), NOW
    )
    setpoint = Setpoint(DeviceId("battery-1"), "W", 5_000.0, 1, 1, 60_000, 0.0, "a plan")
    return [
        session.birth(NOW),
        Message("spBv1.0/motu/NCMD/gw-1", rebirth),
        session.setpoint("gw-1", setpoint, NOW),
        session.ack("gw-1", b"{}", NOW),
        Message("spBv1.0/motu/NCMD/gw-1", sneaky),
        Message("spBv1.0/motu/NCMD/gw-1", b"garbage"),
        Message("spBv1.0/other/NCMD/gw-1", rebirth),
        Message("spBv1.0/STATE/atoll", b'{"online":false,"timestamp":1}'),
        Message("vda5050/v2/atoll/robot-1/order", b"{}"),
        Message("anything/else", b"1"),
    ]


def test_only_state_and_rebirths_leave(tmp_path: Path) -> None:
    broker = BrokerChild(choose(None, "nats"), free_port("127.0.0.1", 24_000 + os.getpid() % 5_000), tmp_path)
    broker.start()
    session = HostSession("motu", "atoll-adviser")
    heard: Inbox[Any] = Inbox()
    ears = Link("ears", "127.0.0.1", broker.port, will=None, subscriptions=[("#", 0)], inbox=heard)
    own: Inbox[Any] = Inbox()
    link = Link(
        "motu-adviser",
        "127.0.0.1",
        broker.port,
        will=lambda: session.will(NOW),
        subscriptions=session.subscriptions(),
        inbox=own,
        may_send=only_look("motu", "atoll-adviser"),
    )
    try:
        ears.start()
        assert await_up(heard)
        link.start()
        assert await_up(own)
        sent = [link.publish(message) for message in everything(session)]
        assert sent == [True, True] + [False] * 8
        assert link.refused == 8
        link.stop(Message("spBv1.0/motu/DCMD/gw-1/battery-1", b"a farewell"))
        assert link.refused == 9
        topics = hear(heard, "spBv1.0/motu/NCMD/gw-1") + hear(heard, None, patience_s=0.5)
        assert set(topics) == {"spBv1.0/STATE/atoll-adviser", "spBv1.0/motu/NCMD/gw-1"}
        assert topics.count("spBv1.0/motu/NCMD/gw-1") == 1
    finally:
        link.stop()
        ears.stop()
        broker.stop()


def hear(inbox: Inbox[Any], last: str | None, patience_s: float = 15) -> list[str]:
    """Returns the topics that came until `last` was among them, or in `patience_s`.

    A broker first stores what is to be retained, which a slow disk makes long, then reads on.
    """
    topics: list[str] = []
    deadline = time.monotonic() + patience_s
    while last not in topics and time.monotonic() < deadline:
        topics += [event.topic for event in inbox.get(0.1) if isinstance(event, Incoming)]
    return topics


def await_up(inbox: Inbox[Any]) -> bool:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if any(isinstance(event, LinkUp) for event in inbox.get(0.5)):
            return True
    return False
