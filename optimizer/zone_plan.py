"""Pump schedules for a pressure zone: dynamic programming over the tanks' levels, then a search around its answer.

The programme runs backwards over a grid of levels with the configuration in force as part of the state (starts have a
price), follows its own answer forwards without a grid, and looks again on a finer grid close to where that led. What
remains is the error of the grid, which `_improved` takes out: every other choice in one slot, and every exchange of two
slots, is followed by the table itself, all at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from optimizer.arrays import FloatArray, IntArray
from optimizer.plan import Infeasible
from optimizer.zones import Sheet, ZonePlan, ZoneProblem, ZoneTable, sheet, table_problems

_POINTS = {1: 201, 2: 25, 3: 11, 4: 7}
"""Of the grid, along each tank."""
_ROWS = 100_000
"""States that are followed through their slots at once."""
_OUTSIDE = 1e3
"""Money per kL beyond what a tank holds, and per slot in which taps have too little pressure: no plan has it."""
_NEAR_KL = 1e-6
_ROUNDS = {1: 2, 2: 3, 3: 3, 4: 3}
"""Looks at ever finer grids; along one tank a third finds nothing more."""
_NARROWER = 0.3
_SEARCHES = 60
_DISTURBED = 4


def plan_zone(problem: ZoneProblem, *, searches: int = 1, seed: int = 0) -> ZonePlan | Infeasible:
    """Returns the cheapest schedule found, or in words why no configuration keeps the zone's limits.

    The grid's answer is searched around once; 0 `searches` leave it (a part in a thousand dearer in a third of the
    time), and with more than 1 the search begins again that often from a slightly disturbed best schedule.
    """
    broken = _problems(problem)
    if broken:
        return Infeasible(tuple(broken))
    zone = _Zone.of(problem)
    boxes = _boxes(problem, None, 1.0)
    best = _forwards(zone, boxes, _backwards(zone, boxes))
    for round_ in range(1, _ROUNDS[len(problem.table.tanks)]):
        boxes = _boxes(problem, best.followed.level_kl[0], _NARROWER**round_)
        best = _cheaper(best, _forwards(zone, boxes, _backwards(zone, boxes)))
    best = _improved(zone, best) if searches else best
    chance = np.random.default_rng(seed)
    for _ in range(searches - 1):
        disturbed = _disturbed(best.choice, len(zone.first), chance)
        best = _cheaper(best, _improved(zone, _way(zone, disturbed)))
    return _answer(zone, best)


def follow(problem: ZoneProblem, choice: tuple[int, ...]) -> ZonePlan | Infeasible:
    """Returns what a schedule comes to, or in words which limit it breaks."""
    broken = _problems(problem)
    if broken:
        return Infeasible(tuple(broken))
    zone = _Zone.of(problem)
    return _answer(zone, _way(zone, np.array(choice, dtype=np.int64)))


@dataclass(frozen=True, slots=True)
class _Zone:
    """A problem with what every step needs at hand."""

    problem: ZoneProblem
    sheet: Sheet  # of every slot: a configuration's place is slot x configurations + its own
    starts: IntArray  # [before, after]
    first: IntArray  # [after]
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, problem: ZoneProblem) -> _Zone:
        every = problem.table.configurations
        known = {demand: sheet(problem.table, demand) for demand in set(problem.demand_kl_per_h)}
        sheets = [known[demand] for demand in problem.demand_kl_per_h]
        return cls(
            problem,
            Sheet(sheets[0].axes, np.concatenate([one.values for one in sheets])),
            np.array([[c.starts(before) for c in every] for before in every]),
            np.array([c.starts(problem.now) for c in every]),
            np.array([tank.low_kl for tank in problem.table.tanks]),
            np.array([tank.high_kl for tank in problem.table.tanks]),
        )


def _problems(problem: ZoneProblem) -> list[str]:
    found = table_problems(problem.table)
    n = len(problem.demand_kl_per_h)
    if n == 0 or len(problem.price) != n:
        found.append(f"zone {problem.table.name}: {n} slots of demand, {len(problem.price)} of prices")
    values = [*problem.demand_kl_per_h, *problem.price, *problem.level_now_kl, *problem.reserve_kl, *problem.final_kl]
    if not np.isfinite(values).all():
        found.append(f"zone {problem.table.name}: a value is not a number")
    if min(problem.demand_kl_per_h, default=0.0) < 0:
        found.append(f"zone {problem.table.name}: demand is below zero")
    for given in (problem.level_now_kl, problem.reserve_kl, problem.final_kl):
        if len(given) != len(problem.table.tanks):
            found.append(f"zone {problem.table.name}: {len(given)} values for {len(problem.table.tanks)} tanks")
    if len(problem.table.tanks) not in _POINTS:
        found.append(f"zone {problem.table.name}: {len(problem.table.tanks)} tanks; at most {max(_POINTS)} are planned")
    most = problem.table.demand_kl_per_h[-1] if problem.table.demand_kl_per_h else 0.0
    if max(problem.demand_kl_per_h, default=0.0) > most * 1.02:
        found.append(
            f"zone {problem.table.name}: demand of {max(problem.demand_kl_per_h):.1f} kL/h, its table ends at "
            f"{most:.1f}: make the table anew"
        )
    return found


# ------------------------------------------------------------------------------------ following a schedule


@dataclass(frozen=True, slots=True)
class _Followed:
    """Many schedules followed: level [schedule, slot, tank], power and trouble (money) [schedule, slot]."""

    level_kl: FloatArray
    power_kw: FloatArray
    trouble: FloatArray
    pressure_m: FloatArray


@dataclass(frozen=True, slots=True)
class _Way:
    """One schedule, where it leads, and its money."""

    choice: IntArray
    followed: _Followed
    money: float


def _way(zone: _Zone, choice: IntArray, followed: _Followed | None = None) -> _Way:
    followed = followed or _follow(zone, choice[None, :])
    return _Way(choice, followed, float(_money(zone, choice[None, :], followed)[0]))


def _cheaper(one: _Way, other: _Way) -> _Way:
    return other if other.money < one.money else one


def _step(
    zone: _Zone, slot: IntArray | int, config: IntArray | int, level: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Returns (level after, mean kW, money of broken limits, least pressure) of states through one slot each."""
    problem, place = zone.problem, slot * len(zone.first) + config
    power, trouble = np.zeros(len(level)), np.zeros(len(level))
    pressure: FloatArray = np.full(len(level), np.inf)
    for _ in range(problem.parts):
        flow = zone.sheet.flow(place, level)
        power += flow.power_kw / problem.parts
        level = level + flow.inflow_kl_per_h * (problem.slot_h / problem.parts)
        beyond = np.maximum(zone.low - level, 0.0) + np.maximum(level - zone.high, 0.0)
        trouble += _OUTSIDE * np.where(beyond > _NEAR_KL, beyond, 0.0).sum(axis=1)
        trouble += _OUTSIDE * (flow.pressure_m < problem.table.pressure_m_min)
        pressure = np.minimum(pressure, flow.pressure_m)
    return level, power, trouble, pressure


def _slot_money(problem: ZoneProblem, slot: int, level: FloatArray, power: FloatArray) -> FloatArray:
    short = np.maximum(np.array(problem.reserve_kl) - level, 0.0).sum(axis=-1)
    return power * problem.slot_h * problem.price[slot] + problem.reserve_price * short


def _end_money(problem: ZoneProblem, level: FloatArray) -> FloatArray:
    short = np.maximum(np.array(problem.final_kl) - level, 0.0).sum(axis=-1)
    return problem.final_price * short - problem.terminal_value * level.sum(axis=-1)


def _follow(zone: _Zone, choices: IntArray) -> _Followed:
    count, n = choices.shape
    level = np.tile(np.array(zone.problem.level_now_kl), (count, 1))
    levels = np.zeros((count, n, len(zone.low)))
    power, trouble, pressure = np.zeros((count, n)), np.zeros((count, n)), np.zeros((count, n))
    for slot in range(n):
        level, power[:, slot], trouble[:, slot], pressure[:, slot] = _step(zone, slot, choices[:, slot], level)
        levels[:, slot] = level
    return _Followed(levels, power, trouble, pressure)


def _started(zone: _Zone, choices: IntArray) -> IntArray:
    return zone.first[choices[:, 0]] + zone.starts[choices[:, :-1], choices[:, 1:]].sum(axis=1)


def _money(zone: _Zone, choices: IntArray, followed: _Followed) -> FloatArray:
    problem = zone.problem
    energy = followed.power_kw @ np.array(problem.price) * problem.slot_h
    short = np.maximum(np.array(problem.reserve_kl) - followed.level_kl, 0.0).sum(axis=(1, 2))
    money = followed.trouble.sum(axis=1) + problem.start_price * _started(zone, choices)
    return money + energy + problem.reserve_price * short + _end_money(problem, followed.level_kl[:, -1])


# ------------------------------------------------------------------------------------- dynamic programming


@dataclass(frozen=True, slots=True)
class _Box:
    """An even grid of levels at the end of a slot."""

    low: FloatArray
    high: FloatArray
    points: int

    def states(self) -> FloatArray:
        axes: list[list[float]] = np.linspace(self.low, self.high, self.points).T.tolist()
        return np.array(list(product(*axes)))

    def value(self, known: FloatArray, config: IntArray, level: FloatArray) -> FloatArray:
        """Returns `known` [grid point, configuration] between the points, per state; beyond, the edge and a toll."""
        step = (self.high - self.low) / (self.points - 1)
        place = (np.clip(level, self.low, self.high) - self.low) / step
        lower = np.clip(place.astype(np.int64), 0, self.points - 2)
        part = place - lower
        found = np.zeros(len(level))
        for corner in product((0, 1), repeat=level.shape[1]):
            at, weight = np.zeros(len(level), dtype=np.int64), np.ones(len(level))
            for tank, up in enumerate(corner):
                at = at * self.points + lower[:, tank] + up
                weight = weight * (part[:, tank] if up else 1.0 - part[:, tank])
            found += weight * known[at, config]
        beyond = np.maximum(self.low - level, 0.0) + np.maximum(level - self.high, 0.0)
        return found + beyond.sum(axis=1)


def _boxes(problem: ZoneProblem, spans: FloatArray | None, share: float) -> list[_Box]:
    """Returns the grid of each slot; `spans` are levels [slot, tank] to stay near, within `share` of the whole."""
    table = problem.table
    low = np.array([tank.low_kl for tank in table.tanks])
    high = np.array([tank.high_kl for tank in table.tanks])
    points = _POINTS[len(table.tanks)]
    if spans is None:
        return [_Box(low, high, points)] * len(problem.price)
    half = (high - low) * share / 2
    middle = np.clip(spans, low + half, high - half)
    return [_Box(level - half, level + half, points) for level in middle]


def _backwards(zone: _Zone, boxes: list[_Box]) -> list[FloatArray]:
    """Returns per slot the money still to come [grid point, configuration in force] at the end of the slot."""
    problem, count = zone.problem, len(zone.first)
    last = _end_money(problem, boxes[-1].states())
    ahead: list[FloatArray] = [np.repeat(last[:, None], count, axis=1)]
    for slot, level, money in _grid(zone, boxes):
        config = np.tile(np.arange(count), len(last))
        then = (money + boxes[slot].value(ahead[0], config, level)).reshape(len(last), count)
        changes = then[:, None, :] + problem.start_price * zone.starts[None, :, :]
        ahead.insert(0, changes.min(axis=2))
    return ahead


def _grid(zone: _Zone, boxes: list[_Box]) -> Iterator[tuple[int, FloatArray, FloatArray]]:
    """Yields (slot, level after it, money in it) of every grid point and configuration, the last slot first."""
    count, size = len(zone.first), len(boxes[0].states()) * len(zone.first)
    at_once = max(_ROWS // size, 1)
    for until in range(len(boxes), 1, -at_once):
        slots = np.arange(max(until - at_once, 1), until)
        states = np.concatenate([np.repeat(boxes[slot - 1].states(), count, axis=0) for slot in slots])
        config = np.tile(np.arange(count), len(states) // count)
        level, power, trouble, _ = _step(zone, np.repeat(slots, size), config, states)
        for place in range(len(slots) - 1, -1, -1):
            slot, rows = int(slots[place]), slice(place * size, (place + 1) * size)
            yield slot, level[rows], _slot_money(zone.problem, slot, level[rows], power[rows]) + trouble[rows]


def _forwards(zone: _Zone, boxes: list[_Box], ahead: list[FloatArray]) -> _Way:
    count, n = len(zone.first), len(boxes)
    level, config = np.array([zone.problem.level_now_kl]), np.arange(count)
    choice = np.zeros(n, dtype=np.int64)
    reached, steps = np.zeros((1, n, len(zone.low))), np.zeros((3, 1, n))
    for slot, box in enumerate(boxes):
        change = zone.first if slot == 0 else zone.starts[choice[slot - 1]]
        levels, power, trouble, pressure = _step(zone, slot, config, np.repeat(level, count, axis=0))
        money = _slot_money(zone.problem, slot, levels, power) + trouble + box.value(ahead[slot], config, levels)
        choice[slot] = at = int(np.argmin(money + zone.problem.start_price * change))
        level = levels[at][None, :]
        reached[0, slot], steps[:, 0, slot] = levels[at], (power[at], trouble[at], pressure[at])
    return _way(zone, choice, _Followed(reached, *steps))


def _improved(zone: _Zone, way: _Way) -> _Way:
    for _ in range(_SEARCHES):
        near = _neighbours(way.choice, len(zone.first))
        money = _money(zone, near, _follow(zone, near))
        at = int(np.argmin(money))
        if money[at] >= way.money - 1e-9:
            break
        way = _way(zone, near[at])
    return way


def _disturbed(choice: IntArray, count: int, chance: np.random.Generator) -> IntArray:
    other = choice.copy()
    other[chance.choice(len(choice), size=min(_DISTURBED, len(choice)), replace=False)] = chance.integers(
        0, count, size=min(_DISTURBED, len(choice))
    )
    return other


def _neighbours(choice: IntArray, count: int) -> IntArray:
    n = len(choice)
    found: list[IntArray] = []
    for slot in range(n):
        for other in range(count):
            if other != choice[slot]:
                near = choice.copy()
                near[slot] = other
                found.append(near)
        for later in range(slot + 1, n):
            if choice[later] != choice[slot]:
                near = choice.copy()
                near[slot], near[later] = choice[later], choice[slot]
                found.append(near)
    return np.stack(found) if found else choice[None, :]


# ------------------------------------------------------------------------------------------------- answer


def _answer(zone: _Zone, way: _Way) -> ZonePlan | Infeasible:
    problem, followed = zone.problem, way.followed
    trouble = np.flatnonzero(followed.trouble[0] > 0)
    if len(trouble):
        return Infeasible(tuple(_reasons(problem.table, followed, int(trouble[0]))))
    power = followed.power_kw[0]
    return ZonePlan(
        choice=tuple(way.choice.tolist()),
        power_kw=tuple(power.tolist()),
        level_kl=tuple(tuple(series.tolist()) for series in followed.level_kl[0].T),
        energy_cost=float(power @ np.array(problem.price)) * problem.slot_h,
        cost=way.money,
        starts=int(_started(zone, way.choice[None, :])[0]),
        pressure_m=float(followed.pressure_m.min()),
    )


def _reasons(table: ZoneTable, followed: _Followed, slot: int) -> list[str]:
    found = [
        f"zone {table.name}: no schedule of its {len(table.configurations)} configurations was found that keeps its "
        f"limits; with the best one slot {slot} breaks them first"
    ]
    for tank, level in zip(table.tanks, followed.level_kl[0, slot].tolist(), strict=True):
        if level < tank.low_kl - _NEAR_KL:
            found.append(f"tank {tank.id} would run dry: {level:.1f} kL, least {tank.low_kl:.1f}")
        if level > tank.high_kl + _NEAR_KL:
            found.append(f"tank {tank.id} would overflow: {level:.1f} kL, most {tank.high_kl:.1f}")
    least = float(followed.pressure_m[0, slot])
    if least < table.pressure_m_min:
        found.append(f"taps would have {least:.1f} m of pressure, {table.pressure_m_min:.1f} m are wanted")
    return found
