"""How long the lifelines of a community last without the outside: hour by hour over many futures. Plain Python, pure.

It runs in the hub process between two plans, so it is one line of arithmetic per future and hour, without numpy. The
rules of the house are played, not a plan: sun first, then battery, then diesel, and what a ration leaves out is not
served. A lifeline is lost in the first hour in which critical power or the lifeline's litres are not there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

FUEL_L_PER_KWH = 0.246
FUEL_L_PER_RATED_KW_H = 0.081
"""Linear fuel curve of small diesel sets: per kWh made, and per rated kW and hour while turning."""

GENSET_START, GENSET_STOP = 0.30, 0.85
"""Share of the battery below which diesel starts, and at which it stops, in an emergency."""

_NEAR = 1e-9


@dataclass(frozen=True, slots=True)
class Stores:
    """What is there at the start, and what can be done with it. kWh are inside the cells."""

    battery_kwh: float  # above the minimum
    battery_kwh_max: float  # above the minimum
    battery_kw: float  # both ways
    efficiency: float  # one way
    genset_kw: float = 0.0
    fuel_l: float = 0.0
    tank_kl: float = 0.0
    tank_kl_max: float = 0.0
    pump_kw: float = 0.0
    pump_kl_per_h: float = 0.0  # 0: no pump, or a dry well


@dataclass(frozen=True, slots=True)
class Future:
    """One way in which the next hours may go, one entry per hour."""

    critical_kw: tuple[float, ...]
    other_kw: tuple[float, ...]
    pv_kw: tuple[float, ...]
    lifeline_kl: tuple[float, ...]
    other_kl: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ration:
    """A step of rationing: which part of what is no lifeline is served."""

    name: str
    power_share: float
    water_share: float
    text: str  # who gets what
    vehicles: bool = True  # cars are charged


RATIONS = (
    Ration("none", 1.0, 1.0, "everybody gets what they ask for"),
    Ration("machines", 0.95, 0.9, "no vehicle is charged, no field, workshop or delivery runs", vehicles=False),
    Ration("half", 0.5, 0.5, "households get their lifeline and half of what they use beyond it", vehicles=False),
    Ration("lifelines", 0.0, 0.0, "lifelines and critical buildings only", vehicles=False),
)
"""From mild to strict; each includes those before it."""


@dataclass(frozen=True, slots=True)
class Lasting:
    """The first hour in which a lifeline is lost in one future; the horizon where none is."""

    energy: int
    water: int

    @property
    def all(self) -> int:
        """Returns the hours for which every lifeline is served."""
        return min(self.energy, self.water)


@dataclass(frozen=True, slots=True)
class Curve:
    """The survival curve: probability that lifelines are served for at least `hours[i]` hours."""

    ration: str
    hours: tuple[int, ...]
    all: tuple[float, ...]
    energy: tuple[float, ...]
    water: tuple[float, ...]
    mean_hours: float  # of all lifelines together, cut at the horizon
    futures: int

    def at(self, hours: float) -> float:
        """Returns the probability for that many hours; the horizon's beyond it."""
        return self._at(self.all, hours)

    def energy_at(self, hours: float) -> float:
        """Returns the same of power alone."""
        return self._at(self.energy, hours)

    def water_at(self, hours: float) -> float:
        """Returns the same of water alone."""
        return self._at(self.water, hours)

    def _at(self, chances: tuple[float, ...], hours: float) -> float:
        return next((p for h, p in zip(self.hours, chances, strict=True) if h >= hours), chances[-1])


def lasts(stores: Stores, future: Future, ration: Ration, there: Sequence[bool]) -> Lasting:
    """Returns for how many hours one future leaves each lifeline served; `there[h]`: the grid is there."""
    soc, fuel, tank = stores.battery_kwh, stores.fuel_l, stores.tank_kl
    running, horizon = False, len(future.critical_kw)
    top, flow, pump_kw = stores.tank_kl_max, stores.pump_kl_per_h, stores.pump_kw
    filled_kwh = stores.battery_kw * stores.efficiency
    energy = water = horizon
    hours = zip(
        there, future.critical_kw, future.other_kw, future.pv_kw, future.lifeline_kl, future.other_kl, strict=True
    )
    for h, (grid, critical, other_kw, sun, lifeline, other_kl) in enumerate(hours):
        share = (top - tank) / flow if flow > 0 and tank < top - _NEAR else 0.0
        share = min(1.0, share)
        if grid:
            soc = min(stores.battery_kwh_max, soc + filled_kwh)
            running = False
        else:
            pump, spared = share * pump_kw, ration.power_share * other_kw
            soc, fuel, running, missing = _hour(stores, soc, fuel, running, critical + spared + pump - sun)
            if missing > _NEAR:  # what is no lifeline goes first, then the pump, then what is critical
                if missing > spared + pump + _NEAR and h < energy:
                    energy = h
                if missing > spared + _NEAR and pump > 0:
                    share *= max(0.0, 1.0 - (missing - spared) / pump)
        level = tank + share * flow - lifeline
        if level < -_NEAR and h < water:
            water = h
        tank = max(0.0, level - ration.water_share * other_kl)  # no tap knows what a lifeline is: people do
        if energy < horizon and water < horizon:
            break
    return Lasting(energy, water)


def _hour(stores: Stores, soc: float, fuel: float, running: bool, wanted: float) -> tuple[float, float, bool, float]:
    """Returns (charge, fuel, whether diesel runs, kW missing) after an hour in which `wanted` kW have to be found."""
    eta, most = stores.efficiency, stores.battery_kw
    if fuel > 0 and stores.genset_kw > 0:
        starts = soc < (GENSET_STOP if running else GENSET_START) * _top(stores)
        running = starts or wanted > min(most, soc * eta) + _NEAR
    else:
        running = False
    made = 0.0
    if running:
        room = min(most, (stores.battery_kwh_max - soc) / eta)
        made = min(stores.genset_kw, max(0.0, wanted + room))
        idle = FUEL_L_PER_RATED_KW_H * stores.genset_kw
        made = min(made, max(0.0, (fuel - idle) / FUEL_L_PER_KWH))
        fuel = max(0.0, fuel - idle - FUEL_L_PER_KWH * made)
    net = wanted - made
    if net <= 0:
        return min(stores.battery_kwh_max, soc + min(-net, most) * eta), fuel, running, 0.0
    given = min(net, most, soc * eta)
    return soc - given / eta, fuel, running, net - given


def _top(stores: Stores) -> float:
    return max(stores.battery_kwh_max, _NEAR)


def curve(stores: Stores, futures: Sequence[Future], ration: Ration, there: Sequence[bool]) -> Curve:
    """Returns the survival curve of one ration over equally likely futures."""
    found = [lasts(stores, future, ration, there) for future in futures]
    horizon = len(there)

    def share(ends: list[int]) -> tuple[float, ...]:
        ends.sort()
        return tuple((len(ends) - bisect_left(ends, h)) / max(1, len(ends)) for h in range(horizon + 1))

    both = [one.all for one in found]
    return Curve(
        ration.name,
        tuple(range(horizon + 1)),
        share(both),
        share([one.energy for one in found]),
        share([one.water for one in found]),
        sum(both) / max(1, len(both)),
        len(found),
    )


def mildest(curves: Sequence[Curve], hours: float, wanted: float) -> int:
    """Returns the index of the first ration that serves the lifelines for `hours` with probability `wanted`.

    Where none does: the first of those that last longest on the mean, so that nobody goes without for nothing.
    """
    for index, one in enumerate(curves):
        if one.at(hours) >= wanted:
            return index
    best = max(one.mean_hours for one in curves)
    if best < 1.0:
        return len(curves) - 1
    return next(index for index, one in enumerate(curves) if one.mean_hours >= best - 0.25)
