"""vda-5050-lib's virtual AGV (npm, Siemens), which nobody here wrote, driven by our master on a real mosquitto.

Seen of it (1.4.0): it speaks 1.1 and 2.0; wants the key `instantActions` where the standard's schemas say `actions`;
refuses an unknown action with an orderError; and a stitching node that comes again with its action sends it into an
endless recursion, so updates repeat the node without.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.shell.broker import BrokerChild, choose, free_port
from devices.clock import Instant
from devices.events import Incoming
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.vda5050 import (
    V2_0_LIB,
    Action,
    ActionParameter,
    ActionStatus,
    Address,
    BlockingType,
    Edge,
    MasterEvent,
    MasterSession,
    Node,
    NodePosition,
    Order,
    OrderState,
    master,
)
from tests.npm_packages import BIN, installed

pytestmark = [pytest.mark.integration, pytest.mark.needs("mosquitto")]
WAIT_S = 40.0
AGV = """
const { AgvController, VirtualAgvAdapter } = require('vda-5050-lib');
const agv = new AgvController({ manufacturer: 'RobotCompany', serialNumber: '001' },
  { interfaceName: 'uagv', transport: { brokerUrl: 'mqtt://127.0.0.1:' + process.argv[1] }, vdaVersion: '2.0.0' },
  { agvAdapterType: VirtualAgvAdapter, publishStateInterval: 500 },
  { initialPosition: { mapId: 'site', x: 0, y: 0, theta: 0, lastNodeId: 'n0' }, vehicleSpeed: 4, tickRate: 20 });
agv.start().catch(error => { console.error(error); process.exit(1); });
"""


def now() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerChild]:
    child = BrokerChild(choose(None, "mosquitto"), free_port("127.0.0.1", 21_000 + os.getpid() % 9_000), tmp_path)
    child.start()
    yield child
    child.stop()


@pytest.fixture
def hub(broker: BrokerChild) -> Iterator[Hub]:
    folder = installed("vda-5050-lib", "1.4.0")
    process = subprocess.Popen([BIN / "node", "-e", AGV, str(broker.port)], cwd=folder)
    found = Hub(broker)
    try:
        found.until(lambda: found.session.online, "the AGV reports")
        yield found
    finally:
        found.link.stop()
        process.kill()
        process.wait(10)


class Hub:
    """A master session on a real broker, with everything that it reported."""

    def __init__(self, broker: BrokerChild) -> None:
        self.session = MasterSession(Address("uagv", "RobotCompany", "001", V2_0_LIB))
        self.inbox: Inbox[object] = Inbox()
        self.events: list[MasterEvent] = []
        self.link = Link(
            "hub", broker.host, broker.port, will=None, subscriptions=self.session.subscriptions(), inbox=self.inbox
        )
        self.link.start()

    def turn(self) -> None:
        for event in self.inbox.get(0.05):
            if isinstance(event, Incoming):
                self.events += self.session.receive(event.topic, event.payload, now())
        for event in self.session.due(now()):
            self.events.append(event)
            if isinstance(event, master.Publish):
                self.link.publish(event.message)

    def until(self, wanted: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not wanted():
            assert time.monotonic() < deadline, (what, self.session.state, self.session.counters)
            self.turn()

    def saw(self, kind: type[MasterEvent]) -> Callable[[], bool]:
        return lambda: any(isinstance(event, kind) for event in self.events)

    def status(self, action: str) -> ActionStatus | None:
        state = self.session.state
        states = () if state is None else state.actionStates
        return next((entry.actionStatus for entry in states if entry.actionId == action), None)

    def errors(self) -> set[str]:
        return set() if self.session.state is None else {error.errorType for error in self.session.state.errors}


def order(released: int, update: int = 0, first: int = 0, actions: dict[int, Action] | None = None) -> Order:
    """Returns n0 -> n1 -> n2 from node `first` on, 8 m apart, the first `released` of them in the base."""
    given = actions or {}
    nodes = tuple(
        Node(
            f"n{n}", 2 * n, n < released, (given[n],) if n in given else (),
            NodePosition(8.0 * n, 0.0, "site", allowedDeviationXY=0.5),
        )
        for n in range(first, 3)
    )  # fmt: skip
    edges = tuple(
        Edge(f"e{n}", 2 * n + 1, n + 1 < released, f"n{n}", f"n{n + 1}", (), maxSpeed=4.0) for n in range(first, 2)
    )
    return Order("job-1", update, nodes, edges)


def pick() -> Action:
    parameters = {"stationType": "floor", "loadType": "EPAL", "duration": 1}
    return Action(
        "pick", "pick-1", BlockingType.HARD, tuple(ActionParameter(key, value) for key, value in parameters.items())
    )


def test_order_update_pick_duplicate_and_charge(hub):
    base = order(2, actions={1: pick()})
    first = hub.session.send(base, now())
    hub.link.publish(first)
    hub.until(hub.saw(master.OrderStarted), "the order is taken")
    hub.until(lambda: hub.status("pick-1") is ActionStatus.FINISHED, "the load is picked")
    hub.until(lambda: hub.session.state.lastNodeId == "n1", "it waits at the end of the base")
    assert [entry.nodeId for entry in hub.session.state.nodeStates] == ["n2"]
    assert not hub.saw(master.OrderDone)()

    longer = order(3, update=1, first=1)
    message = hub.session.update(longer, now())
    hub.link.publish(message)
    hub.until(hub.saw(master.OrderDone), "the update is driven to its end")
    assert hub.session.state.lastNodeId == "n2"
    assert hub.session.state.agvPosition.x == pytest.approx(16.0, abs=0.6)

    hub.link.publish(message)
    seen = len(hub.events)
    hub.until(lambda: len(hub.events) > seen + 4, "states after a duplicate")
    assert (hub.session.state.nodeStates, hub.session.state.driving) == ((), False), "a duplicate is not driven again"
    hub.link.publish(first)
    hub.until(lambda: hub.errors() & {"orderError", "orderUpdateError"}, "an older update is refused")
    assert hub.session.state.nodeStates == ()

    hub.link.publish(hub.session.instant((Action("startCharging", "charge-1", BlockingType.HARD),), now()))
    hub.until(lambda: hub.session.state.batteryState.charging, "it charges")
    hub.link.publish(hub.session.instant((Action("stopCharging", "charge-2", BlockingType.HARD),), now()))
    hub.until(lambda: not hub.session.state.batteryState.charging, "it has stopped charging")


def test_cancel_and_an_unknown_action(hub):
    hub.link.publish(hub.session.send(order(3, actions={2: Action("juggle", "a1")}), now()))
    hub.until(hub.saw(master.OrderFailed), "an action that it does not know fails the order")
    failed = next(event for event in hub.events if isinstance(event, master.OrderFailed))
    assert failed.order_id == "job-1"
    hub.events.clear()

    far = replace(order(3), orderId="job-2")
    hub.link.publish(hub.session.send(far, now()))
    hub.until(hub.saw(master.OrderStarted), "the next order is taken")
    hub.until(lambda: hub.session.state.driving, "it drives")
    hub.link.publish(hub.session.cancel(now()))
    hub.until(hub.saw(master.OrderCancelled), "the order is cancelled")
    assert hub.session.order_state is OrderState.NONE
    hub.until(lambda: not hub.session.state.driving, "it stands")
    assert hub.session.state.nodeStates == ()
