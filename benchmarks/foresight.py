"""Whether shortages of power, water, diesel and food are announced a day ahead, in seeded worlds of their own."""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optimizer.foresight import DAY_STEPS, LOOK_H, STEP_H, STOCKS, SUN, Delivery, Ledger, Rule, Standing, outlook

DAYS = 60
AFTER_DAYS = 12
"""After the sixty days nothing new is announced or counted; what stands by then is followed to its end."""

LEARN_DAYS = 14
LIVED = DAYS + AFTER_DAYS
LOOK_STEPS = LOOK_H // STEP_H
AHEAD_STEPS = 24 // STEP_H
"""An announcement is in time a day before the first shortage; it is false if it is withdrawn, or nothing ever comes."""

RULES = {"power": SUN, "water": STOCKS, "diesel": STOCKS, "food": STOCKS}


@dataclass(frozen=True)
class World:
    """What really happens, step by step; the forecaster sees only its past, and promises of deliveries."""

    stock: float
    floor: float
    capacity: float
    wanted: tuple[float, ...]
    gained: tuple[float, ...]
    promised: tuple[tuple[int, int, int, float], ...] = ()  # (known from, promised for, comes at, amount)
    delays: tuple[int, ...] = ()
    plants: tuple[tuple[float, ...], ...] = ()  # what each of several gained, together `gained`


@dataclass
class Tally:
    """Counts of one kind of lifeline."""

    shortages: int = 0
    in_time: int = 0
    lead_h: int = 0
    announcements: int = 0
    false: int = 0
    quiet_cases: int = 0
    quiet_alarmed: int = 0


def run(arguments: Sequence[str]) -> dict[str, object]:
    """Returns the share announced a day ahead and the share of false announcements, per lifeline and together."""
    parser = argparse.ArgumentParser(prog="atoll bench foresight")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(list(arguments))
    cases: list[dict[str, str | int | float]] = []
    total = Tally()
    for kind, rule in RULES.items():
        tally = Tally()
        for seed in range(given.seed, given.seed + given.seeds):
            judge(world(kind, seed), rule, tally)
        for name in vars(total):
            setattr(total, name, getattr(total, name) + getattr(tally, name))
        cases.append({"lifeline": kind, **row(tally)})
    return {"seed": given.seed, "seeds": given.seeds, **row(total), "cases": cases}


def row(tally: Tally) -> dict[str, int | float]:
    """Returns a tally's figures."""
    return {
        "shortages": tally.shortages,
        "day_ahead": tally.in_time / max(1, tally.shortages),
        "lead_h": tally.lead_h / max(1, tally.shortages),
        "announcements": tally.announcements,
        "false_share": tally.false / max(1, tally.announcements),
        "quiet_cases": tally.quiet_cases,
        "quiet_alarmed": tally.quiet_alarmed,
    }


def judge(truth: World, rule: Rule, tally: Tally) -> None:
    """Lives through one world with a look every step; counts its first shortage and every announcement."""
    stock = truth.stock
    delays = list(truth.delays)
    standing, since, ended = Standing(), -1, False
    for now in range(len(truth.wanted)):
        over = now >= DAYS * DAY_STEPS
        if over and not standing.announced:
            break
        if now >= LEARN_DAYS * DAY_STEPS and now % LOOK_STEPS == 0:
            known = _known(truth, stock, delays, now)
            before, standing = standing.announced, standing.after(outlook(known, rule, far=standing.announced), rule)
            if standing.announced and not before:
                since = now
                tally.announcements += 1
            elif before and not standing.announced:
                tally.false += 1  # withdrawn: the stock has never been short since it was said
        for one in truth.promised:
            if one[2] == now:
                stock = min(truth.capacity, stock + one[3])
                delays.append(one[2] - one[1])
        stock = min(truth.capacity, stock + truth.gained[now] - truth.wanted[now])
        if stock < truth.floor:
            ended = True
            if now >= LEARN_DAYS * DAY_STEPS and not over:
                tally.shortages += 1
                tally.in_time += standing.announced and now - since >= AHEAD_STEPS
                tally.lead_h += STEP_H * (now - since) * standing.announced
            break
    if not ended:
        tally.quiet_cases += 1
        tally.quiet_alarmed += since >= 0
        tally.false += standing.announced


def _known(truth: World, stock: float, delays: Sequence[int], now: int) -> Ledger:
    """Returns what the forecaster may know at a step."""
    due = [one for one in truth.promised if one[0] <= now < one[2]]
    return Ledger(
        stock,
        truth.floor,
        truth.capacity,
        truth.wanted[:now],
        truth.gained[:now],
        tuple(Delivery(one[1] - now, one[3]) for one in due),
        tuple(delays),
        tuple(plant[:now] for plant in truth.plants),
    )


# -- worlds: every number here is the generator's; the forecaster knows none of them ---------------------------------


def world(kind: str, seed: int) -> World:
    """Returns one world; about half of them run short within sixty days."""
    make: dict[str, Callable[[random.Random], World]] = {
        "power": _power,
        "water": _water,
        "diesel": _diesel,
        "food": _food,
    }
    return make[kind](random.Random(f"{kind}-{seed}"))


def _weather(chance: random.Random, days: int) -> list[float]:
    """Returns how bright each day is: spells of sun and of cloud, and a day's own luck."""
    bright, found = True, list[float]()
    for _ in range(days):
        if chance.random() < (0.15 if bright else 0.3):
            bright = not bright
        found.append(min(1.0, max(0.05, chance.gauss(0.85 if bright else 0.4, 0.1))))
    return found


def _use(chance: random.Random, days: int, mean: float, shape: Sequence[float], spread: float) -> list[float]:
    """Returns use per step: a daily shape, a week, a slow drift, days' own luck, and each step's noise."""
    found: list[float] = []
    drift, trend = 0.0, chance.uniform(-0.002, 0.004)
    scale = mean / sum(shape)
    for day in range(days):
        drift = 0.8 * drift + chance.gauss(0, spread / 2)
        week = 1.08 if day % 7 >= 5 else 0.97
        level = week * (1 + trend * day) * (1 + drift) * math.exp(chance.gauss(0, spread / 2))
        found += [max(0.0, scale * part * level * chance.gauss(1, 0.1)) for part in shape]
    return found


PLANTS = 6
NIGHT_AND_DAY = (0.5, 0.5, 0.9, 1.0, 1.0, 0.9, 1.5, 1.2)
SUNNY = (0.0, 0.0, 0.3, 1.0, 1.2, 0.5, 0.0, 0.0)


def _power(chance: random.Random) -> World:
    """An island's store with no diesel left: lifelines live on sun; a failing string or the season takes some of it."""
    capacity = chance.uniform(250, 400)
    wanted = _use(chance, LIVED, 75.0, NIGHT_AND_DAY, 0.08)
    fails = chance.randrange(LEARN_DAYS + 3, DAYS) if chance.random() < 0.6 else DAYS
    left = chance.uniform(0.35, 0.7)
    gained: list[float] = []
    for day, bright in enumerate(_weather(chance, LIVED)):
        share = bright * (left if day >= fails else 1.0) * 135 / sum(SUNNY)
        gained += [max(0.0, share * part * chance.gauss(1, 0.08)) for part in SUNNY]
    plants = _plants(chance, gained, fails, left)
    return World(0.8 * capacity, 0.05 * capacity, capacity, tuple(wanted), tuple(gained), plants=plants)


def _plants(chance: random.Random, gained: Sequence[float], fails: int, left: float) -> tuple[tuple[float, ...], ...]:
    """Returns what each plant had of the gain; those that fail one after the other lose what is lost of it."""
    sizes = [chance.uniform(0.5, 1.5) for _ in range(PLANTS)]
    lost, healthy = (1.0 - left) * sum(sizes), list[float]()
    for size in sizes:
        healthy.append(size - min(size, lost))
        lost -= size - healthy[-1]
    found: list[list[float]] = [[] for _ in sizes]
    for first in range(0, len(gained), DAY_STEPS):
        standing = healthy if first // DAY_STEPS >= fails else sizes
        today = [size * chance.gauss(1, 0.06) for size in standing]  # shade and dirt are not everywhere the same
        for total in gained[first : first + DAY_STEPS]:
            drawn = [size * max(0.0, chance.gauss(1, 0.08)) for size in today]
            for part, share in zip(found, drawn, strict=True):
                part.append(total * share / sum(drawn))
    return tuple(map(tuple, found))


def _water(chance: random.Random) -> World:
    """A tank and a well whose yield falls in a dry season, or fails."""
    capacity = chance.uniform(40, 70)
    wanted = _use(chance, LIVED, 8.0, NIGHT_AND_DAY, 0.1)
    dry = chance.randrange(LEARN_DAYS, DAYS - 10) if chance.random() < 0.7 else DAYS
    fade = chance.uniform(0.70, 0.9)
    flow, gained = chance.uniform(9.0, 12.0), list[float]()
    for day in range(LIVED):
        flow *= fade if day >= dry else 1.0
        gained += [max(0.0, flow / DAY_STEPS * chance.gauss(1, 0.1)) for _ in range(DAY_STEPS)]
    return World(0.8 * capacity, 0.15 * capacity, capacity, tuple(wanted), tuple(gained))


def _boats(
    chance: random.Random, every: int, amount: float, trouble: float
) -> tuple[tuple[tuple[int, int, int, float], ...], tuple[int, ...]]:
    """Returns (promised deliveries, delays of earlier years): boats are late by some hours, in bad times by days."""
    found: list[tuple[int, int, int, float]] = []
    bad_from = chance.randrange(LEARN_DAYS, DAYS) if chance.random() < trouble else DAYS
    for day in range(every // 2, LIVED + every, every):
        late = round(abs(chance.gauss(0, 6)) / STEP_H)
        if day >= bad_from:
            late += round(chance.uniform(5, 14) * DAY_STEPS)
        promised = day * DAY_STEPS
        news = promised - DAY_STEPS * every
        if late > 2 * DAY_STEPS:  # the skipper tells when the boat has not left: three days before
            found.append((max(0, promised - 3 * DAY_STEPS), promised + late, promised + late, amount))
        else:
            found.append((max(0, news), promised, promised + late, amount))
    return tuple(found), tuple(round(abs(chance.gauss(0, 6)) / STEP_H) for _ in range(12))


def _diesel(chance: random.Random) -> World:
    """A genset that makes what the sun does not; a boat every ten days."""
    use: list[float] = []
    base = _use(chance, LIVED, 40.0, (1.0,) * DAY_STEPS, 0.08)
    for day, bright in enumerate(_weather(chance, LIVED)):
        use += [litres * (1.6 - bright) for litres in base[day * DAY_STEPS : (day + 1) * DAY_STEPS]]
    promised, delays = _boats(chance, 10, chance.uniform(360, 430), 0.8)
    return World(350.0, 30.0, 900.0, tuple(use), (0.0,) * len(use), promised, delays)


def _food(chance: random.Random) -> World:
    """A store room: people, a garden whose harvest can fail, a boat every week."""
    wanted = _use(chance, LIVED, 60.0, (0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.5, 0.0), 0.06)
    fails = chance.randrange(LEARN_DAYS, DAYS) if chance.random() < 0.4 else DAYS
    gained: list[float] = []
    for day in range(LIVED):
        crop = max(0.0, chance.gauss(20, 5)) * (0.2 if day >= fails else 1.0)
        gained += [crop if step == 3 else 0.0 for step in range(DAY_STEPS)]
    promised, delays = _boats(chance, 7, chance.uniform(265, 320), 0.8)
    return World(300.0, 40.0, 900.0, tuple(wanted), tuple(gained), promised, delays)
