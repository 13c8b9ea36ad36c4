"""From a person in the zone to the vehicle's startPause: gateway process, Modbus TCP, broker, no hub that helps."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.edge_stack import Rack, Stack, reactions, site_text
from devices.clock import Instant
from devices.events import Incoming, LinkUp
from devices.profile import load_profile
from devices.shell.inbox import Inbox
from devices.shell.mqtt import Link
from devices.shell.run_clock import WallClock
from devices.vda5050 import Address, AgvPosition, BatteryState, Condition, VehicleSession
from firmware_sim.products import Product

STAND = Condition(AgvPosition(0.0, 0.0, 0.0, "site", positionInitialized=True), BatteryState(80.0, charging=False))
WAIT_S = 60.0


class Mule:
    """A robot on a real connection."""

    def __init__(self, port: int) -> None:
        self.session = VehicleSession(Address("vda5050", "atoll", "mule"))
        self.inbox: Inbox[object] = Inbox()
        self.clock = WallClock(Instant(0))
        session, clock = self.session, self.clock
        self.link = Link(
            "mule", "127.0.0.1", port,
            will=lambda: session.will(clock.now()), subscriptions=session.subscriptions(), inbox=self.inbox,
        )  # fmt: skip
        self.link.start()

    def turn(self) -> None:
        """Takes what came, and says how it stands."""
        for event in self.inbox.get(0.002):
            if isinstance(event, Incoming):
                self.session.receive(event.topic, event.payload, self.clock.now())
            elif isinstance(event, LinkUp):
                self.session.touch()
        if self.session.state_due(self.clock.now()):
            self.link.publish(self.session.state(STAND, self.clock.now()))

    def until(self, wanted: Callable[[], bool], stack: Stack) -> float:
        """Lives until something holds; returns how long that took [s]."""
        begun = time.monotonic()
        while not wanted():
            self.turn()
            if time.monotonic() - begun > WAIT_S or stack.gateway.poll() is not None:
                said = (stack.folder / "gateway.log").read_text(encoding="utf-8")[-2000:]
                raise RuntimeError(f"not within {WAIT_S:g} s\n{said}")
        return time.monotonic() - begun


def run(arguments: Sequence[str]) -> dict[str, float | int]:
    """Returns the time from a person to the vehicle's pause [s]: median, p99 and worst."""
    parser = argparse.ArgumentParser(prog="atoll bench vehicle-stop")
    parser.add_argument("--trials", type=int, default=30, help="how many people step in")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(list(arguments))
    dice = random.Random(given.seed)
    sensor = Product(load_profile("dio_8"))
    rack = Rack({1: sensor, 91: Product(load_profile("eastron_sdm630"))})
    with TemporaryDirectory(prefix="atoll-bench-") as folder:
        stack = Stack(Path(folder), _site(rack.endpoint))
        mule = Mule(stack.broker.port)
        times: list[float] = []
        try:
            mule.until(lambda: mule.link.up and "people" in stack.hub.node_of, stack)
            for _ in range(given.trials):
                mule.until(lambda: not mule.session.paused, stack)
                free = time.monotonic() + dice.uniform(0.5, 1.7)
                mule.until(lambda free=free: time.monotonic() >= free, stack)
                sensor.show("in1", 1.0)
                times.append(mule.until(lambda: mule.session.paused, stack))
                sensor.show("in1", 0.0)
        finally:
            mule.link.stop()
            stack.close()
            rack.close()
    return {**reactions(times), "seed": given.seed}


def _site(endpoint: str) -> str:
    bus = f'gateway = "gw-1"\nendpoint = "{endpoint}"\n'
    return site_text(
        f'[[device]]\nid = "people"\nkind = "switch"\ndriver = "profile:dio_8"\nunit = 1\n{bus}'
        f'[[device]]\nid = "grid-1"\nkind = "grid"\ndriver = "profile:eastron_sdm630"\nunit = 91\n{bus}'
        '[[device]]\nid = "mule"\nkind = "robot"\ndriver = "vda5050"\n'
        "ratings = { energy_wh = 2000, charge_w_max = 800, soc_reserve = 0.2 }\n",
        '[[member]]\nid = "all"\nname = "All"\nrole = "community"\nusage_points = ["grid-1"]\n',
        '[[interlock]]\nid = "yard"\nrule = "people-zone"\ndevice = "mule"\nsensor = "people"\npoint = "in1"\n'
        "clear_ms = 0\n",
    )
