"""Shortages of drinking water, diesel and power seen coming: what each stock did, what is announced. Pure.

What is taken and what comes in is told by the levels themselves and the households' water meters; the reckoning is
`optimizer.foresight`. A hub that starts anew has to learn for two days before it announces anything. Power is told by
playing the hub's futures, which know sun, battery and diesel together, and only where there is no outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from controller.alarms import Condition, Priority
from controller.history import History
from controller.image import Snapshot
from controller.site import Site
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant, floor_to
from devices.model import DeviceKind
from optimizer.foresight import (
    DAY_STEPS,
    LOOK_H,
    SAFE_H,
    STEP_H,
    SUN,
    Ledger,
    Outlook,
    Rule,
    Standing,
    outlook,
    seen_in,
)
from optimizer.survival import Future, Ration, Stores, lasts

STEP_MS = STEP_H * HOUR_MS
STEPS_MAX = 42 * DAY_STEPS
WATER = "drinking water"
FUEL_FLOOR = 0.02
LEVEL_FLOOR = 0.02
HOURS_TOLD = 72
"""What is further away is told in days."""


@dataclass(slots=True)
class Stock:
    """One stock as it was seen: the amount at each step, and what was taken and gained since the step before."""

    name: str
    kind: str  # "drinking water" or "diesel"
    at: Instant
    amount: float
    capacity: float
    taken: list[float] = field(default_factory=list[float])
    gained: list[float] = field(default_factory=list[float])
    standing: Standing = field(default_factory=Standing)
    seen: Outlook | None = None

    def step(self, now: Instant, amount: float, used: float | None) -> None:
        """Takes the amount one step later; `used` is what meters say was taken, None where there are none."""
        change = amount - self.amount
        taken = max(0.0, -change) if used is None else max(used, -change, 0.0)
        # Wells bring water again tomorrow; what people fill into a store (diesel, food) does not come by itself.
        comes = used is not None or self.kind == WATER
        self.taken = [*self.taken, taken][-STEPS_MAX:]
        self.gained = [*self.gained, max(0.0, change + taken) if comes else 0.0][-STEPS_MAX:]
        self.at, self.amount = now, amount

    def look(self, floor: float) -> None:
        """Reckons what is to come once two days are known."""
        if len(self.taken) >= 2 * DAY_STEPS:
            known = Ledger(self.amount, floor, self.capacity, tuple(self.taken), tuple(self.gained))
            self.seen = outlook(known, far=self.standing.announced)
            self.standing = self.standing.after(self.seen)


@dataclass(slots=True)
class ShortageWatch:
    """All stocks of one hub."""

    stocks: dict[str, Stock] = field(default_factory=dict[str, Stock])
    power: Standing = field(default_factory=Standing)
    power_seen: Outlook | None = None
    power_at: Instant | None = None

    def power_due(self, now: Instant) -> bool:
        """Returns whether power is to be looked at: when the outside goes, then as often as any stock."""
        return self.power_at is None or now - self.power_at >= LOOK_H * HOUR_MS

    def look_at_power(
        self, now: Instant, held: Stores, futures: Sequence[Future], ration: Ration, rule: Rule = SUN
    ) -> None:
        """Plays `SAFE_H` hours without an outside, with no more saved than the hub enforces."""
        alone = [False] * SAFE_H
        ends = [lasts(held, future, ration, alone).energy for future in futures]
        self.power_seen = seen_in([end for end in ends if end < SAFE_H], len(ends), rule, far=True)
        self.power, self.power_at = self.power.after(self.power_seen, rule), now

    def outside_is_there(self) -> None:
        """Forgets what was announced of power."""
        self.power, self.power_seen, self.power_at = Standing(), None, None

    def look(self, site: Site, snapshot: Snapshot, history: History) -> None:
        """Takes the levels, and reckons, once in three hours."""
        now = floor_to(snapshot.now, STEP_MS)
        sources = {pump.source for pump in site.water.pumps.values()}
        for tank in site.of_kind(DeviceKind.TANK):
            if tank.id in sources and site.water.tanks[tank.id].share == 0.0:
                continue  # nobody drinks from it: plans let it run low between two batches
            volume = tank.ratings["volume_l"] / 1000
            level = snapshot.value(tank.id, "level")
            # Water that is pumped from tank to tank has no meter: with several tanks their levels alone tell.
            drunk = _drunk_kl(history, now) if len(site.water.tanks) == 1 else None
            self.take(tank.id, WATER, now, level, volume, drunk)
        for genset in site.of_kind(DeviceKind.GENSET):
            fuel, litres = snapshot.value(genset.id, "fuel"), genset.ratings.get("fuel_l", 0.0)
            if litres > 0.0 and genset.id not in site.waste.engines:  # gas comes from its digester
                self.take(genset.id, "diesel", now, fuel, litres, None)

    def take(
        self, name: str, kind: str, now: Instant, level: float | None, capacity: float, used: float | None
    ) -> None:
        """Takes a stock's level, a fraction, at a step's start; `used` is what meters say was taken, None: unknown."""
        if level is None:
            return
        stock = self.stocks.get(name)
        if stock is None or now - stock.at > DAY_MS:  # a gap this long teaches nothing: learn anew
            self.stocks[name] = Stock(name, kind, now, level * capacity, capacity)
        elif now > stock.at:
            stock.step(now, level * capacity, used)
            if now % (LOOK_H * HOUR_MS) == 0:
                stock.look((FUEL_FLOOR if kind == "diesel" else LEVEL_FLOOR) * capacity)

    @property
    def short(self) -> bool:
        """Returns whether any shortage is announced."""
        return any(self._announced())

    @property
    def water_short(self) -> bool:
        """Returns whether a shortage of drinking water is announced."""
        return any(stock.kind == WATER and stock.standing.announced for stock in self.stocks.values())

    @property
    def brought_kl_per_h(self) -> float | None:
        """Returns what wells brought in the last day while water is announced to run short [kL/h]; None: not known."""
        short = [stock for stock in self.stocks.values() if stock.kind == WATER and stock.standing.announced]
        if not short or not all(any(stock.gained) for stock in short):
            return None
        return sum(sum(stock.gained[-DAY_STEPS:]) for stock in short) / 24

    def announced(self) -> Iterator[str]:
        """Yields what is announced, in words."""
        return (text for _, text in self._announced())

    def _announced(self) -> Iterator[tuple[str, str]]:
        """Yields (device, words) of each."""
        for stock in self.stocks.values():
            if stock.standing.announced and stock.seen is not None:
                yield stock.name, f"{stock.kind} ({stock.name}) {_when(stock.seen)}"
        if self.power.announced and self.power_seen is not None:
            yield "power", f"power for the lifelines {_when(self.power_seen)} as it is used now"

    def conditions(self) -> Iterator[Condition]:
        """Yields an alarm for every shortage that is announced."""
        for name, text in self._announced():
            yield Condition(
                f"shortage.{name}",
                Priority.HIGH,
                "site" if name == "power" else name,
                text,
                "a lifeline is not served any more when it comes",
                "order or fetch more now, and save: atoll storm rations says who gets what, and why",
            )


def _when(seen: Outlook) -> str:
    if seen.hours == 0.0:
        return "is short now"
    if seen.hours is None:
        return "is likely short soon"
    about = f"{seen.hours:.0f} h" if seen.hours < HOURS_TOLD else f"{seen.hours / 24:.0f} days"
    return f"is likely short in about {about}"


def _drunk_kl(history: History, now: Instant) -> float | None:
    """Returns what the water meters counted in the last step [kL]; None while records of it are missing."""
    slots = [history.value("water_ml", Instant(at)) for at in range(now - STEP_MS, now, SLOT_MS)]
    known = [value for value in slots if value is not None and value >= 0]
    return sum(known) / 1e6 if len(known) == len(slots) else None
