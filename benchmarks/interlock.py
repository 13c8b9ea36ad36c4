"""From a bad reading to the safe output, and what a dead hub leaves behind: gateway process, Modbus TCP, broker."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.edge_stack import Hub, Rack, Stack, reactions, site_text
from controller.hub import LEASE_MS
from devices.model import DeviceId, Setpoint
from devices.profile import load_profile
from firmware_sim.products import Product

PAIRS = 5
HAZARD_MS = 3_000
"""What the hub sends (controller/hub.py): hazardous outputs every second, others every third of a minute."""
LAZY = "lazy"


@dataclass(slots=True)
class Pair:
    """A float and the valve that it shuts."""

    switch: Product
    valve: Product
    due: float = 0.0
    bad_at: float | None = None
    times: list[float] = field(default_factory=list[float])

    def turn(self, now: float, dice: random.Random) -> None:
        """Makes the reading bad at a random moment while the valve is open, and notes when it is shut."""
        open_ = self.valve.read(1, 0, 1) == [1]
        if self.bad_at is not None:
            if not open_:
                self.times.append(now - self.bad_at)
                self.bad_at = None
                self.switch.show("in1", 0.0)
                self.due = 0.0
        elif open_ and not self.due:
            self.due = now + dice.uniform(0.2, 1.7)
        elif open_ and now >= self.due:
            self.switch.show("in1", 1.0)
            self.bad_at = now


def run(arguments: Sequence[str]) -> dict[str, float | int]:
    """Returns p99 of the reaction [s], and the longest that hazardous and other outputs outlived the hub [s]."""
    parser = argparse.ArgumentParser(prog="atoll bench interlock")
    parser.add_argument("--trials", type=int, default=100, help="how many bad readings")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(list(arguments))
    dice = random.Random(given.seed)
    pairs = [Pair(Product(load_profile("dio_8")), Product(load_profile("relay_4ch"))) for _ in range(PAIRS)]
    lazy = Product(load_profile("relay_4ch"))
    products = {2 * i + 1: pair.switch for i, pair in enumerate(pairs)}
    products |= {2 * i + 2: pair.valve for i, pair in enumerate(pairs)} | {90: lazy}
    products[91] = Product(load_profile("eastron_sdm630"))
    rack = Rack(products)
    with TemporaryDirectory(prefix="atoll-bench-") as folder:
        stack = Stack(Path(folder), _site(rack.endpoint))
        try:
            stack.hub.each_second = Speaker()
            _until(lambda: all(pair.valve.read(1, 0, 1) == [1] for pair in pairs), 90, stack)
            times = _trials(pairs, given.trials, dice)
            hazard = [_hub_dies(stack, [pair.valve for pair in pairs], dice, 10.0) for _ in range(4)]
            lapse = _hub_dies(stack, [lazy], dice, 90.0, fresh=True)
        finally:
            stack.close()
            rack.close()
    found = reactions(times)
    return {
        "p99_s": found.pop("p99_s"),
        "hub_dead_hazard_s": max(hazard),
        "hub_dead_lapse_s": lapse,
        **found,
        "seed": given.seed,
    }


class Speaker:
    """Sends the leases as the hub does; silent while `dead`."""

    def __init__(self) -> None:
        self.sequence = 0
        self.lazy_at = -1e9

    def __call__(self, hub: Hub) -> None:
        """Tells every output that is due."""
        for device in list(hub.node_of):
            if device == LAZY:
                if time.monotonic() - self.lazy_at < LEASE_MS / 3000:
                    continue
                self.lazy_at = time.monotonic()
            elif not device.startswith("valve"):
                continue
            self.sequence += 1
            valid_ms = LEASE_MS if device == LAZY else HAZARD_MS
            setpoint = Setpoint(DeviceId(device), "on", 1.0, 1, self.sequence, valid_ms, 0.0, "bench")
            hub.link.publish(hub.session.setpoint(hub.node_of[device], setpoint, hub.clock.now()))


def _trials(pairs: Sequence[Pair], trials: int, dice: random.Random) -> list[float]:
    while sum(len(pair.times) for pair in pairs) < trials:
        now = time.monotonic()
        for pair in pairs:
            pair.turn(now, dice)
        time.sleep(0.002)
    for pair in pairs:
        pair.switch.show("in1", 0.0)
    return [reaction for pair in pairs for reaction in pair.times]


def _hub_dies(
    stack: Stack, outputs: Sequence[Product], dice: random.Random, wait_s: float, fresh: bool = False
) -> float:
    """Silences the hub (`fresh`: right after it has spoken) and returns when the last output was safe."""
    _until(lambda: all(one.read(1, 0, 1) == [1] for one in outputs), 90, stack)
    speaker = stack.hub.each_second
    assert isinstance(speaker, Speaker)
    if fresh:
        speaker.lazy_at = -1e9
        _until(lambda: speaker.lazy_at > 0, 10, stack)
    else:
        time.sleep(dice.uniform(0.0, 1.0))
    stack.hub.each_second = None
    died = time.monotonic()
    _until(lambda: all(one.read(1, 0, 1) == [0] for one in outputs), wait_s, stack)
    took = time.monotonic() - died
    stack.hub.each_second = speaker
    return took


def _until(condition: object, wait_s: float, stack: Stack) -> None:
    assert callable(condition)
    deadline = time.monotonic() + wait_s
    while not condition():
        if time.monotonic() > deadline or stack.gateway.poll() is not None:
            said = (stack.folder / "gateway.log").read_text(encoding="utf-8")[-2000:]
            raise RuntimeError(f"not within {wait_s:g} s\n{said}")
        time.sleep(0.002)


def _site(endpoint: str) -> str:
    def device(name: str, kind: str, profile: str, unit: int, more: str = "") -> str:
        return (
            f'[[device]]\nid = "{name}"\nkind = "{kind}"\ndriver = "profile:{profile}"\ngateway = "gw-1"\n'
            f'endpoint = "{endpoint}"\nunit = {unit}\n{more}'
        )

    rules = "".join(
        f'[[interlock]]\nid = "r-{i}"\nrule = "tank-overflow"\ndevice = "valve-{i}"\nsensor = "float-{i}"\n'
        f'point = "in1"\nclear_ms = 0\n'
        for i in range(PAIRS)
    )
    devices = "".join(
        device(f"float-{i}", "switch", "dio_8", 2 * i + 1) + device(f"valve-{i}", "relay", "relay_4ch", 2 * i + 2)
        for i in range(PAIRS)
    )
    devices += device(LAZY, "relay", "relay_4ch", 90, "hazardous = false\n")
    devices += device("grid-1", "grid", "eastron_sdm630", 91)
    member = '[[member]]\nid = "all"\nname = "All"\nrole = "community"\nusage_points = ["grid-1"]\n'
    return site_text(devices, member, rules)
