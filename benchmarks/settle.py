"""How fast the policy lab settles a year: 12 combinations of key and price over the same made-up village."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

from controller.settlement.arrays import Whole
from controller.settlement.charter import Charter, TariffBand
from controller.settlement.keys import (
    Hourly,
    OwnKey,
    Participation,
    Proportional,
    Rounds,
    SharedEnergy,
    SharingKey,
    Static,
)
from controller.settlement.lab import Intervals, settle
from controller.settlement.prices import BillSharing, Flat, MidMarket, Premium, PriceRule, Shapley, SupplyDemand
from controller.settlement.terms import Terms
from devices.clock import Instant

SLOTS_PER_DAY = 96
START = Instant(1_767_225_600_000)  # 2026-01-01 UTC
WEEK = (0, 1, 2, 3, 4, 5, 6)
CHARTER = Charter(
    version=1,
    valid_from=START,
    currency="EUR",
    minor_digits=2,
    timezone="UTC",
    bands=(TariffBand("night", 0, 360, WEEK, 210_000), TariffBand("day", 360, 1440, WEEK, 330_000)),
    export_price=50_000,
    local_price=140_000,
    sharing="proportional",
    lifeline_wh=2000,
    lifeline_price=60_000,
    lifeline_ml=0,
    lifeline_water_price=0,
    water_price=0,
    bill_period="month",
)


def run(arguments: Sequence[str]) -> dict[str, float | int]:
    """Returns seconds for 12 rules and member-slots per second, data made beforehand."""
    parser = argparse.ArgumentParser(prog="atoll bench settle")
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(list(arguments))
    data = _village(given.members, given.days, given.seed)
    rules = _rules(given.members, len(data.taken))
    started = time.monotonic()
    for rule in rules:
        found = settle(rule, data)
        assert len(found.bills) == given.members
    seconds = time.monotonic() - started
    slots = given.members * len(data.taken) * len(rules)
    return {
        "seed": given.seed,
        "members": given.members,
        "days": given.days,
        "rules": len(rules),
        "seconds": seconds,
        "member_slots_per_s": round(slots / seconds),
    }


def _village(members: int, days: int, seed: int) -> Intervals:
    random, shape = np.random.default_rng(seed), (days * SLOTS_PER_DAY, members)
    hour = np.arange(shape[0]) % SLOTS_PER_DAY / 4
    sun = np.maximum(0, np.sin((hour - 6) / 12 * np.pi))[:, None] * random.integers(0, 1500, members)
    taken: Whole = random.integers(0, 400, shape)
    made: Whole = (sun * random.random((shape[0], 1))).astype(np.int64)
    net = taken - made
    names = tuple(f"home-{number:03d}" for number in range(members))
    return Intervals(names, START, np.maximum(net, 0), np.maximum(-net, 0))


def _rules(members: int, slots: int) -> list[Terms]:
    weights = tuple(1 + number % 7 for number in range(members))
    half = (5000,) * members
    plain: SharingKey = Proportional()
    pairs: list[tuple[SharingKey, PriceRule | BillSharing | Premium | Shapley]] = [
        (plain, Flat(140_000)),
        (plain, MidMarket()),
        (plain, SupplyDemand()),
        (plain, BillSharing()),
        (Static(weights), Flat(140_000)),
        (Static(weights), MidMarket()),
        (Hourly((weights, weights[::-1])), MidMarket()),
        (OwnKey((weights,) * slots), Flat(140_000)),
        (Rounds(tuple(number % 3 for number in range(members))), MidMarket()),
        (Participation((half, half)), MidMarket()),
        (SharedEnergy(), Premium(110_000, 500, 400)),
        (plain, Shapley(2, 1)),
    ]
    everybody, none = (True,) * members, (0,) * members
    return [
        Terms(f"{type(key).__name__}/{type(price).__name__}", CHARTER, key, price, everybody, none)
        for key, price in pairs
    ]
