"""Shortages seen coming: of a stock's past, how likely it is short of its lifeline within the next days. Pure.

One question for power, drinking water, diesel and food: there is a stock, something is taken from it and something
comes in, and below a floor a lifeline is not served any more. What comes is drawn from whole days that were: in blocks,
so that a dark day is followed by what has followed dark days, and around the level of the last days. Deliveries that
are expected come when they were promised, or later by as much as earlier ones did. Nothing looks ahead.

What several plants under one sky gain is compared first (`optimizer.sky`): a lost string stays lost, clouds go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from optimizer.past_days import drawn
from optimizer.sky import as_now

LOOK_H = 3
"""A look comes every so many hours."""

SAFE_H, SAFE, SAFE_LOOKS = 240, 0.02, 8
"""Withdrawn once on so many looks running hardly a future is short within ten days: a sunny day or half a delivery puts
a shortage off, not away."""


SOON_H = 36


@dataclass(frozen=True, slots=True)
class Rule:
    """When a shortage is announced; chosen on seeds 1000-1099 of the bench, that of power on 1000-1199."""

    horizon_h: int  # looked ahead this far
    say: float  # announced from this chance on
    fade: float  # all looks before the last count for so much together
    say_soon: float = inf  # announced at once from this chance within `SOON_H` on


STOCKS = Rule(60, 0.7, 0.35)
"""What people fill and use."""

SUN = Rule(240, 0.85, 0.0, say_soon=0.5)
"""Weather comes and goes within days; what the plants bring less than is used tells over ten."""

FUTURES = 60
STEP_H = 3
DAY_STEPS = 24 // STEP_H
RECENT_DAYS = 5
"""Days whose mean level of use counts against that of all days: people and weather drift."""

BEST_DAYS = 3
"""Of these last days the best tells what nature or a machine still gives."""

POOL_DAYS = 42
"""Days that futures are drawn from."""

DRIFT = 0.6
"""How much of that difference goes on."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something that is expected: promised at a step counted from now (may be past), so much of it."""

    step: int
    amount: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is known of one stock until now: one entry per step of `STEP_H` hours, the newest last; whole days."""

    stock: float
    floor: float  # below it a lifeline is not served
    capacity: float
    taken: tuple[float, ...]  # use, as it was served
    gained: tuple[float, ...] = ()  # what nature or a machine brings; empty: nothing
    expected: tuple[Delivery, ...] = ()
    delays: tuple[int, ...] = ()  # steps by which earlier deliveries were late
    plants: tuple[tuple[float, ...], ...] = ()  # what each of several under one sky gained, together `gained`


@dataclass(frozen=True, slots=True)
class Outlook:
    """How likely a shortage is, and when: hours from now at which half of the futures that are short become so."""

    chance: float  # within the rule's horizon
    hours: float | None
    futures: int
    later: float | None = None  # within `SAFE_H`, where it was asked for
    soon: float = 0.0  # within `SOON_H`


def outlook(ledger: Ledger, rule: Rule = STOCKS, *, far: bool = False) -> Outlook:
    """Returns how likely the stock falls below its floor within the horizon; `far`: within ten days as well."""
    if ledger.stock < ledger.floor:
        return Outlook(1.0, 0.0, 1, 1.0 if far else None, 1.0)
    steps = (SAFE_H if far else rule.horizon_h) // STEP_H
    days = len(ledger.taken) // DAY_STEPS
    if days < 2:
        return Outlook(0.0, None, 0)
    scale = _drift(ledger.taken)
    most = max(sum(ledger.taken[at : at + DAY_STEPS]) for at in range(0, days * DAY_STEPS, DAY_STEPS))
    if ledger.stock - ledger.floor > max(1.0, scale) * most * (steps / DAY_STEPS + 0.5):
        return Outlook(0.0, None, FUTURES, 0.0 if far else None)  # more than the thirstiest days on end would take
    gained = _gains(ledger)
    net = [brought - scale * used for used, brought in zip(ledger.taken, gained, strict=True)]
    order = _like_today([brought - used for used, brought in zip(ledger.taken, gained, strict=True)], days)
    ends = (_short(ledger, net, order, steps, number) for number in range(FUTURES))
    return seen_in([end * STEP_H for end in ends if end is not None], FUTURES, rule, far=far)


def seen_in(ends_h: Sequence[int], futures: int, rule: Rule, *, far: bool) -> Outlook:
    """Returns what the futures that run short tell, each by the hour in which it does, out of so many."""
    ends = sorted(ends_h)
    within = [end for end in ends if end <= rule.horizon_h]
    told = within or ends
    hours = float(told[len(told) // 2]) if told else None
    soon = sum(end <= SOON_H for end in ends) / futures
    return Outlook(len(within) / futures, hours, futures, len(ends) / futures if far else None, soon)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is announced of one stock, look after look: with a hysteresis, so that it does not come and go."""

    chance: float | None = None  # mean over the last looks, fading; None before the first
    announced: bool = False
    safe: int = 0  # looks running that saw hardly a shortage to come; counted while it is announced

    def after(self, seen: Outlook, rule: Rule = STOCKS) -> Standing:
        """Returns what stands after one more look; while it is announced `seen` has to look far."""
        before = seen.chance if self.chance is None else self.chance
        chance = rule.fade * before + (1.0 - rule.fade) * seen.chance
        if not self.announced:
            return Standing(chance, chance >= rule.say or seen.soon >= rule.say_soon)
        safe = self.safe + 1 if seen.later is not None and seen.later <= SAFE else 0
        return Standing(0.0) if safe >= SAFE_LOOKS else Standing(chance, announced=True, safe=safe)


def _short(ledger: Ledger, net: Sequence[float], order: Sequence[int], steps: int, number: int) -> int | None:
    """Returns the step in which one future is short, or None within the horizon; `net` is what past steps brought."""
    stock, known, days = ledger.stock, len(net), len(net) // DAY_STEPS
    arrivals = _arrivals(ledger, number)
    phase = known % DAY_STEPS
    stands = [drawn(order, days, number, day) for day in range((steps + phase) // DAY_STEPS + 1)]
    for step in range(steps):
        day, part = divmod(step + phase, DAY_STEPS)
        at = known - phase - (days - stands[day]) * DAY_STEPS + part
        stock = min(ledger.capacity, stock + arrivals.get(step, 0.0) + net[at])
        if stock < ledger.floor:
            return step + 1
    return None


def _gains(ledger: Ledger) -> list[float]:
    """Returns what past steps would bring now: of several plants by comparing them, of one source by its best days."""
    gained = ledger.gained or (0.0,) * len(ledger.taken)
    if len(ledger.plants) < 2:
        bears = _yield(gained)
        return [bears * brought for brought in gained]
    found, known = list(gained), len(gained)
    ends = range(known, DAY_STEPS - 1, -DAY_STEPS)
    days = [[sum(plant[end - DAY_STEPS : end]) for plant in ledger.plants] for end in ends]
    for end, factor in zip(ends, as_now(days), strict=True):
        found[end - DAY_STEPS : end] = [factor * brought for brought in gained[end - DAY_STEPS : end]]
    return found


def _arrivals(ledger: Ledger, number: int) -> dict[int, float]:
    """Returns (step -> amount) of what is expected, each late by as much as some earlier delivery was."""
    found: dict[int, float] = {}
    late = sorted(ledger.delays) or [0]
    for index, one in enumerate(ledger.expected):
        past_due = max(0, -one.step)
        still = [delay for delay in late if delay >= past_due] or [past_due + 1 + (late[-1] - late[0]) // 2]
        delay = still[(number * 7 + index * 13) % len(still)]
        step = max(0, one.step + delay)
        found[step] = found.get(step, 0.0) + one.amount
    return found


def _drift(taken: Sequence[float]) -> float:
    """Returns by what the use of days drawn is scaled: part of how the last days differ from all."""
    recent = taken[-RECENT_DAYS * DAY_STEPS :]
    overall, lately = sum(taken) / len(taken), sum(recent) / len(recent)
    if overall <= 0.0:
        return 1.0
    return 1.0 + DRIFT * (lately / overall - 1.0)


def _yield(gained: Sequence[float]) -> float:
    """Returns what part of their gain past days would bring now: the best of the last days against the best of all.

    Weather comes and goes, but a well that dries up, a broken string or a lost harvest stays: the best day of the last
    few tells the one from the other.
    """
    days = [sum(gained[at - DAY_STEPS : at]) for at in range(len(gained), DAY_STEPS - 1, -DAY_STEPS)]
    usual = sorted(days[BEST_DAYS:])
    if not usual or usual[-1] <= 0.0:
        return 1.0
    typical = usual[(3 * len(usual)) // 4]
    lately = max(days[:BEST_DAYS])
    return min(1.0, lately / typical) if typical > 0.0 else 1.0


def _like_today(net: Sequence[float], days: int) -> list[int]:
    """Returns past days in order of how alike the 24 hours before them were to the last ones; the oldest left out."""
    today = sum(net[-DAY_STEPS:])
    last = len(net) - len(net) % DAY_STEPS

    def unlike(day: int) -> float:
        end = last - (days - day) * DAY_STEPS
        return abs(sum(net[end - DAY_STEPS : end]) - today)

    return sorted(range(max(1, days - POOL_DAYS), days), key=unlike)
