"""A pressure zone as a table: which set of pumps at which tank levels and demand gives what flow and takes what power.

The table is made once with a hydraulic model (`atoll water table`), so that no such model is needed to plan. Between
its points everything is linear. Volumes in kL, flows in kL/h, power in kW, pressure in metres of water.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from optimizer.arrays import FloatArray, IntArray
from optimizer.names import AssetId, Series


@dataclass(frozen=True, slots=True)
class ZoneTank:
    """One tank of a zone, between the volumes that the network allows."""

    id: AssetId
    low_kl: float
    high_kl: float


@dataclass(frozen=True, slots=True)
class Configuration:
    """One way to run a zone's pumps: the speed of each that runs, 1.0 is the rated one."""

    speeds: tuple[tuple[AssetId, float], ...]

    @property
    def name(self) -> str:
        """Returns the pumps that run, in words."""
        return (
            "+".join(pump if speed == 1.0 else f"{pump}@{speed:.0%}" for pump, speed in self.speeds) or "all pumps off"
        )

    def starts(self, before: Configuration) -> int:
        """Returns how many pumps have to start that did not run before."""
        running = {pump for pump, _ in before.speeds}
        return sum(pump not in running for pump, _ in self.speeds)


@dataclass(frozen=True, slots=True)
class ZoneTable:
    """What a hydraulic model said about a zone. `levels_kl` and `demand_kl_per_h` rise, evenly or not.

    `inflow_kl_per_h` has the axes configuration, level of each tank, demand, tank (its net inflow; negative: it gives);
    `power_kw` and `pressure_m` (the least at any tap) have the same without the last. Where the model found no sound
    state, `pressure_m` is below zero.
    """

    name: str
    tanks: tuple[ZoneTank, ...]
    configurations: tuple[Configuration, ...]
    levels_kl: tuple[Series, ...]
    demand_kl_per_h: Series
    inflow_kl_per_h: FloatArray
    power_kw: FloatArray
    pressure_m: FloatArray
    pressure_m_min: float


@dataclass(frozen=True, slots=True)
class ZoneProblem:
    """The question: which configuration in which slot. Series have one entry per slot."""

    table: ZoneTable
    slot_h: float
    demand_kl_per_h: Series
    price: Series  # money per kWh
    level_now_kl: tuple[float, ...]  # by tank, like all that follow
    reserve_kl: tuple[float, ...]  # soft, with `reserve_price`
    final_kl: tuple[float, ...]  # wanted at the end; soft, with `final_price`
    reserve_price: float = 1.0  # per kL and slot below the reserve
    final_price: float = 10.0  # per kL missing at the end
    terminal_value: float = 0.0  # per kL left at the end
    start_price: float = 0.0  # per pump start
    now: Configuration = Configuration(())  # what runs now: to go on costs no start
    parts: int = 4  # a slot is followed in this many steps


@dataclass(frozen=True, slots=True)
class ZonePlan:
    """The answer: the index of a configuration per slot, and what comes of it."""

    choice: tuple[int, ...]
    power_kw: Series  # mean of each slot
    level_kl: tuple[Series, ...]  # by tank, at the end of each slot
    energy_cost: float
    cost: float  # the objective: energy, starts and the price of every soft limit, less what is left
    starts: int
    pressure_m: float  # the least at any tap


@dataclass(frozen=True, slots=True)
class Flow:
    """What the table says about many states at once: inflow [state, tank], power and pressure [state]."""

    inflow_kl_per_h: FloatArray
    power_kw: FloatArray
    pressure_m: FloatArray


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table at one demand: `values` [configuration, level of each tank, (inflows, power, pressure)]."""

    axes: tuple[FloatArray, ...]
    values: FloatArray

    def flow(self, configuration: IntArray | int, level_kl: FloatArray) -> Flow:
        """Returns flows between the table's points, linear in every level; outside, the edge holds.

        Args:
            configuration: index, or one per state.
            level_kl: [state, tank].
        """
        if len(self.axes) == 1 and len(self.axes[0]) > 1:
            return self._along(self.axes[0], configuration, level_kl[:, 0])
        places = [_between(axis, level) for axis, level in zip(self.axes, level_kl.T, strict=True)]
        lengths = [len(axis) for axis in self.axes]
        flat = self.values.reshape(-1, self.values.shape[-1])
        total, pressure = np.zeros((len(level_kl), flat.shape[1])), np.full(len(level_kl), np.inf)
        for corner in product((0, 1), repeat=len(lengths)):
            at = np.broadcast_to(np.asarray(configuration, dtype=np.int64), (len(level_kl),))
            weight = np.ones(len(level_kl))
            for up, (lower, part), length in zip(corner, places, lengths, strict=True):
                weight = weight * (part if up else 1.0 - part)
                at = at * length + np.minimum(lower + up, length - 1)
            found = flat[at]
            total += weight[:, None] * found
            pressure = np.where(weight > _TOUCHES, np.minimum(pressure, found[:, -1]), pressure)
        return Flow(total[:, :-2], total[:, -2], pressure)

    def _along(self, axis: FloatArray, configuration: IntArray | int, level: FloatArray) -> Flow:
        """Returns the same for one tank, where calls by the ten thousand want it short."""
        inside = np.minimum(np.maximum(level, axis[0]), axis[-1])
        lower = np.minimum(axis.searchsorted(inside, side="right") - 1, len(axis) - 2)
        part = (inside - axis[lower]) / (axis[lower + 1] - axis[lower])
        flat, at = self.values.reshape(-1, self.values.shape[-1]), configuration * len(axis) + lower
        below, above = flat[at], flat[at + 1]
        found = below * (1.0 - part)[:, None] + above * part[:, None]
        pressure = np.where(part > _TOUCHES, np.minimum(below[:, -1], above[:, -1]), below[:, -1])
        pressure = np.where(part < 1.0 - _TOUCHES, pressure, above[:, -1])
        return Flow(found[:, :-2], found[:, -2], pressure)


def sheet(table: ZoneTable, demand_kl_per_h: float) -> Sheet:
    """Returns a table at one demand of the whole zone, linear between its demands."""
    axis = np.array(table.demand_kl_per_h)
    lower, part = (value[0] for value in _between(axis, np.array([demand_kl_per_h])))
    upper = min(int(lower) + 1, len(axis) - 1)
    inflow, power, pressure = (
        np.take(values, (int(lower), upper), axis=len(table.tanks) + 1)
        for values in (table.inflow_kl_per_h, table.power_kw, table.pressure_m)
    )
    across = inflow[..., 0, :] * (1.0 - part) + inflow[..., 1, :] * part
    kw = power[..., 0] * (1.0 - part) + power[..., 1] * part
    least = pressure[..., 0] if part <= _TOUCHES else np.minimum(pressure[..., 0], pressure[..., 1])
    axes = tuple(np.array(levels) for levels in table.levels_kl)
    return Sheet(axes, np.concatenate([across, kw[..., None], least[..., None]], axis=-1))


_TOUCHES = 1e-9


def _between(axis: FloatArray, value: FloatArray) -> tuple[IntArray, FloatArray]:
    if len(axis) == 1:
        return np.zeros(len(value), dtype=np.int64), np.zeros(len(value))
    inside = np.clip(value, axis[0], axis[-1])
    lower = np.clip(np.searchsorted(axis, inside, side="right") - 1, 0, len(axis) - 2)
    return lower, (inside - axis[lower]) / (axis[lower + 1] - axis[lower])


def table_problems(table: ZoneTable) -> list[str]:
    """Returns what is wrong with a table, in words."""
    found: list[str] = []
    shape = (len(table.configurations), *(len(axis) for axis in table.levels_kl), len(table.demand_kl_per_h))
    if not table.configurations or not table.tanks:
        found.append(f"zone {table.name}: it has no configuration or no tank")
    for what, values, wanted in (
        ("inflow_kl_per_h", table.inflow_kl_per_h, (*shape, len(table.tanks))),
        ("power_kw", table.power_kw, shape),
        ("pressure_m", table.pressure_m, shape),
    ):
        if values.shape != wanted:
            found.append(f"zone {table.name}: {what} has the shape {values.shape}, its axes say {wanted}")
        elif not np.isfinite(values).all():
            found.append(f"zone {table.name}: {what} has a value that is not a number")
    for axis in (*table.levels_kl, table.demand_kl_per_h):
        rising = len(axis) > 0 and all(a < b for a, b in pairwise(axis))
        found += [] if rising else [f"zone {table.name}: an axis does not rise: {_short(axis)}"]
    return found


def _short(axis: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in axis[:6]) or "empty"
