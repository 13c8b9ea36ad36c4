"""A real broker of each kind, and parties that talk over it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.shell.broker import BrokerChild, choose, free_port
from devices.events import LinkUp
from devices.model import Message
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link

WAIT_S = 15.0


@pytest.fixture(params=[pytest.param("mosquitto", marks=pytest.mark.needs("mosquitto")), "nats"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerChild]:
    child = BrokerChild(choose(None, request.param), free_port("127.0.0.1", 20_000 + os.getpid() % 10_000), tmp_path)
    child.start()
    yield child
    child.stop()


class Party:
    """A link with its inbox."""

    def __init__(
        self, broker: BrokerChild, name: str, topics: tuple[str, ...] = (), will: Message | None = None
    ) -> None:
        self.inbox = Inbox[Any]()
        self.link = Link(
            name,
            broker.host,
            broker.port,
            will=None if will is None else lambda: will,
            subscriptions=[(topic, 1) for topic in topics],
            inbox=self.inbox,
        )
        self.link.start()

    def until(self, wanted: Callable[[Any], bool], poll: Callable[[], object] = lambda: None) -> list[Any]:
        """Returns everything up to the first event that is wanted."""
        seen: list[Any] = []
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            poll()
            for event in self.inbox.get(0.05):
                seen.append(event)
                if wanted(event):
                    return seen
        raise AssertionError(f"not within {WAIT_S:g} s; saw {seen}")

    def up(self, poll: Callable[[], object] = lambda: None) -> Party:
        self.until(lambda event: event == LinkUp(), poll)
        return self


@pytest.fixture
def party(broker: BrokerChild) -> Iterator[Callable[..., Party]]:
    parties: list[Party] = []

    def make(name: str, *topics: str, will: Message | None = None) -> Party:
        parties.append(Party(broker, name, topics, will))
        return parties[-1]

    yield make
    for one in parties:
        one.link.stop()
