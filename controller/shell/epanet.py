"""Pressure zones by EPANET: their table at commissioning, and plans replayed through the whole network.

EPANET comes with `wntr`, a development dependency that has no wheel for aarch64: tables are made on a workstation and
travel as data. Only its toolkit is called; every snapshot is one steady state and takes some 20 to 50 us.

Source: EPANET 2.2 toolkit, https://epanet22.readthedocs.io (codes of node, link and time values).
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from math import pi
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from optimizer.arrays import FloatArray
from optimizer.names import AssetId, Series
from optimizer.zones import Configuration, ZonePlan, ZoneTable, ZoneTank

_JUNCTION, _TANK, _PUMP = 0, 2, 2
_ELEVATION, _LEVEL, _DEMAND, _HEAD, _PRESSURE, _DIAMETER, _CURVE, _LEAST, _MOST = 0, 8, 9, 10, 11, 17, 19, 20, 21
_STATUS, _SETTING, _ENERGY, _SPEED_PATTERN, _PRICE, _PRICE_PATTERN = 11, 12, 13, 15, 21, 22
_DURATION, _HYDRAULIC_STEP, _PATTERN_STEP, _PATTERN_START, _REPORT_STEP = 0, 1, 3, 4, 5
_NODES, _LINKS, _PATTERNS, _CONTROLS, _RULES = 0, 2, 3, 5, 6
_DEMAND_MULTIPLIER = 4
_KL_PER_H = (101.941, 0.227125, 157.725, 189.421, 51.3951, 3.6, 0.06, 41.66667, 1.0, 1 / 24)
"""Per unit of flow, in the toolkit's order: CFS, GPM, MGD, IMGD, AFD, LPS, LPM, MLD, CMH, CMD."""
_CONFIGURATIONS_MAX = 64
_INSIDE_M = 1e-3
"""So far inside its limits a tank is taken for a snapshot: exactly full or empty, EPANET would close its pipe."""
_UNSOUND_M = -1.0


class MissingEpanet(ImportError):
    """`wntr` cannot be imported here."""


class UnfitNetwork(ValueError):
    """A network that cannot be made into a table; the message says why."""


@dataclass(frozen=True, slots=True)
class NetworkDay:
    """What a network file says of its day, per slot; price is 0 where it has none."""

    demand_kl_per_h: Series
    price: Series
    level_now_kl: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """A schedule as EPANET sees it."""

    power_kw: Series  # mean of each slot
    level_kl: tuple[Series, ...]  # by tank, at the end of each slot
    energy_cost: float
    pressure_m: float  # the least at any tap
    problems: tuple[str, ...]  # broken limits and warnings, in words


@contextmanager
def open_network(path: Path) -> Generator[Network]:
    """Opens a network without its controls and rules: who runs the pumps is the question.

    Raises:
        MissingEpanet: wntr is not there.
        UnfitNetwork: EPANET cannot read the file, or it has no tank or pump.
    """
    try:
        toolkit = import_module("wntr.epanet.toolkit")
    except ImportError as missing:
        raise MissingEpanet(str(missing)) from missing
    logging.getLogger("wntr").setLevel(logging.CRITICAL)  # its warnings come back as pressures below zero
    with TemporaryDirectory() as folder:
        engine = cast("Any", toolkit).ENepanet(str(path), f"{folder}/report.txt", f"{folder}/out.bin")
        try:
            engine.ENopen()
        except cast("type[Exception]", import_module("wntr.epanet.exceptions").EpanetException) as wrong:
            raise UnfitNetwork(f"EPANET cannot read {path.name}: {wrong}") from wrong
        try:
            yield Network(path.stem, engine)
        finally:
            engine.ENclose()


class Network:
    """One opened network; all values leave it in kL, kL/h, kW and metres."""

    def __init__(self, name: str, engine: Any) -> None:  # noqa: ANN401 - wntr has no types
        self.name = name
        self._engine = engine
        unit = int(engine.ENgetflowunits())
        self._flow_unit: float = _KL_PER_H[unit]
        us = unit <= 4
        self._metre = 0.3048 if us else 1.0
        self._head = 0.70325 if us else 1.0
        nodes = range(1, engine.ENgetcount(_NODES) + 1)
        self._junctions = [n for n in nodes if engine.ENgetnodetype(n) == _JUNCTION]
        self._tanks = [n for n in nodes if engine.ENgetnodetype(n) == _TANK]
        self._pumps = [n for n in range(1, engine.ENgetcount(_LINKS) + 1) if engine.ENgetlinktype(n) == _PUMP]
        if not self._tanks or not self._pumps:
            raise UnfitNetwork(f"{name}: {len(self._tanks)} tanks and {len(self._pumps)} pumps; it needs one of each")
        self.pumps = tuple(AssetId(self._link_id(n)) for n in self._pumps)
        self.tanks = tuple(self._tank(n) for n in self._tanks)
        for kind, delete in ((_CONTROLS, "EN_deletecontrol"), (_RULES, "EN_deleterule")):
            while engine.ENgetcount(kind):
                self._call(delete, ctypes.c_int(1))
        self.level_now_kl = tuple(self._volume(n, engine.ENgetnodevalue(n, _LEVEL)) for n in self._tanks)

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._engine.ENlib, function)(self._engine._project, *arguments)  # noqa: SLF001
        if code >= 100:
            raise UnfitNetwork(f"{self.name}: EPANET error {code} in {function}")

    def _link_id(self, link: int) -> str:
        text = ctypes.create_string_buffer(64)
        self._call("EN_getlinkid", ctypes.c_int(link), text)
        return text.value.decode("latin-1")

    def _tank(self, node: int) -> ZoneTank:
        get = self._engine.ENgetnodevalue
        name = str(self._engine.ENgetnodeid(node))
        if get(node, _CURVE):
            raise UnfitNetwork(f"{self.name}: tank {name} has a volume curve; give it a diameter")
        return ZoneTank(AssetId(name), self._volume(node, get(node, _LEAST)), self._volume(node, get(node, _MOST)))

    def _area(self, node: int) -> float:
        """Returns m2, which is kL per metre."""
        return pi / 4 * (self._engine.ENgetnodevalue(node, _DIAMETER) * self._metre) ** 2

    def _volume(self, node: int, level: float) -> float:
        return self._area(node) * level * self._metre

    # -- the day that the file describes -----------------------------------------------------------------------------

    def day(self, slots: int, slot_s: int) -> NetworkDay:
        """Returns demand and price of each slot, by the file's patterns. To be called first: `table` ends them."""
        self._times(slots * slot_s, slot_s)
        self._engine.ENopenH()
        self._engine.ENinitH(0)
        demand: list[float] = []
        while len(demand) < slots:
            at = self._engine.ENrunH()
            if at == len(demand) * slot_s:
                demand.append(self._demand())
            if self._engine.ENnextH() == 0:
                break
        self._engine.ENcloseH()
        price = [self._price(pump, slots, slot_s) for pump in self._pumps]
        if any(one != price[0] for one in price):
            raise UnfitNetwork(f"{self.name}: its pumps have different tariffs; a zone has one")
        return NetworkDay(tuple(demand), price[0], self.level_now_kl)

    def _price(self, pump: int, slots: int, slot_s: int) -> Series:
        cost = float(self._engine.ENgetlinkvalue(pump, _PRICE))
        pattern = round(self._engine.ENgetlinkvalue(pump, _PRICE_PATTERN))
        step = int(self._engine.ENgettimeparam(_PATTERN_STEP))
        start = int(self._engine.ENgettimeparam(_PATTERN_START))
        if not pattern:
            return (cost,) * slots
        values = self._pattern(pattern)
        return tuple(cost * values[(start + slot * slot_s) // step % len(values)] for slot in range(slots))

    def _pattern(self, number: int) -> list[float]:
        length, value = ctypes.c_int(), ctypes.c_double()
        self._call("EN_getpatternlen", ctypes.c_int(number), ctypes.byref(length))
        found: list[float] = []
        for at in range(1, length.value + 1):
            self._call("EN_getpatternvalue", ctypes.c_int(number), ctypes.c_int(at), ctypes.byref(value))
            found.append(value.value)
        return found

    def _times(self, duration_s: int, step_s: int) -> None:
        self._engine.ENsettimeparam(_DURATION, duration_s)
        self._engine.ENsettimeparam(_HYDRAULIC_STEP, step_s)
        self._engine.ENsettimeparam(_REPORT_STEP, step_s)

    def _demand(self) -> float:
        get = self._engine.ENgetnodevalue
        return sum(max(float(get(node, _DEMAND)), 0.0) for node in self._junctions) * self._flow_unit

    def _taps(self) -> list[int]:
        get = self._engine.ENgetnodevalue
        return [node for node in self._junctions if get(node, _DEMAND) > 0]

    def _pressure(self, taps: Sequence[int]) -> float:
        get = self._engine.ENgetnodevalue
        return min((get(node, _PRESSURE) for node in taps), default=0.0) * self._head

    # -- snapshots ---------------------------------------------------------------------------------------------------

    def table(
        self, *, points: int, demand_kl_per_h: Sequence[float], speeds: Sequence[float], pressure_m_min: float
    ) -> ZoneTable:
        """Returns the zone's table, from one steady state per configuration, levels and demand.

        Junctions share the demand as their base demands do; patterns are taken off.
        """
        configurations = self._configurations(speeds)
        axes = [np.linspace(tank.low_kl, tank.high_kl, points).tolist() for tank in self.tanks]
        self._flat()
        self._times(0, 3600)
        self._engine.ENopenH()
        whole, taps = self._whole_demand()
        shape = (len(configurations), *(points for _ in axes), len(demand_kl_per_h))
        inflow, power, pressure = np.zeros((*shape, len(axes))), np.zeros(shape), np.zeros(shape)
        for place in product(*(range(length) for length in shape)):
            level = [axis[at] for axis, at in zip(axes, place[1:-1], strict=True)]
            self._multiply(demand_kl_per_h[place[-1]] / whole)
            inflow[place], power[place], pressure[place] = self._snapshot(configurations[place[0]], level, taps)
        self._engine.ENcloseH()
        kept = _distinct(configurations, inflow, power)
        return ZoneTable(
            self.name,
            self.tanks,
            tuple(configurations[at] for at in kept),
            tuple(tuple(axis) for axis in axes),
            tuple(demand_kl_per_h),
            np.round(inflow[kept], 3),
            np.round(power[kept], 4),
            np.round(pressure[kept], 2),
            pressure_m_min,
        )

    def _configurations(self, speeds: Sequence[float]) -> list[Configuration]:
        choices = (len(speeds) + 1) ** len(self.pumps)
        if choices > _CONFIGURATIONS_MAX:
            raise UnfitNetwork(
                f"{self.name}: {len(self.pumps)} pumps with {len(speeds)} speeds make {choices} configurations, at "
                f"most {_CONFIGURATIONS_MAX} are tabled; split the zone or give fewer speeds"
            )
        every = product((0.0, *speeds), repeat=len(self.pumps))
        return [
            Configuration(tuple((pump, speed) for pump, speed in zip(self.pumps, chosen, strict=True) if speed > 0))
            for chosen in every
        ]

    def _flat(self) -> None:
        for number in range(1, self._engine.ENgetcount(_PATTERNS) + 1):
            for at in range(1, len(self._pattern(number)) + 1):
                self._call("EN_setpatternvalue", ctypes.c_int(number), ctypes.c_int(at), ctypes.c_double(1.0))

    def _whole_demand(self) -> tuple[float, list[int]]:
        self._multiply(1.0)
        self._engine.ENinitH(0)
        self._engine.ENrunH()
        return self._demand(), self._taps()

    def _multiply(self, factor: float) -> None:
        self._call("EN_setoption", ctypes.c_int(_DEMAND_MULTIPLIER), ctypes.c_double(factor))

    def _snapshot(
        self, configuration: Configuration, level_kl: Sequence[float], taps: Sequence[int]
    ) -> tuple[list[float], float, float]:
        for node, kl in zip(self._tanks, level_kl, strict=True):
            self._set_level(node, kl)
        self._engine.ENinitH(0)
        self._run_pumps(configuration)
        self._engine.ENrunH()
        warned = self._engine.errcode != 0
        get = self._engine.ENgetnodevalue
        inflow = [float(get(node, _DEMAND)) * self._flow_unit for node in self._tanks]
        return inflow, self._power(), _UNSOUND_M if warned else self._pressure(taps)

    def _set_level(self, node: int, kl: float) -> None:
        get = self._engine.ENgetnodevalue
        metres = kl / self._area(node) / self._metre
        inside = min(max(metres, get(node, _LEAST) + _INSIDE_M), get(node, _MOST) - _INSIDE_M)
        self._engine.ENsetnodevalue(node, _LEVEL, inside)

    def _run_pumps(self, configuration: Configuration) -> None:
        speeds = dict(configuration.speeds)
        for link, pump in zip(self._pumps, self.pumps, strict=True):
            speed = speeds.get(pump, 0.0)
            self._engine.ENsetlinkvalue(link, _SPEED_PATTERN, 0)
            self._engine.ENsetlinkvalue(link, _STATUS, float(speed > 0))
            if speed > 0:
                self._engine.ENsetlinkvalue(link, _SETTING, speed)

    def _power(self) -> float:
        return sum(self._engine.ENgetlinkvalue(link, _ENERGY) for link in self._pumps)

    # -- replay ------------------------------------------------------------------------------------------------------

    def replay(self, table: ZoneTable, plan: ZonePlan, price: Sequence[float], slot_s: int, step_s: int) -> Replayed:
        """Returns what a plan does in the network with the file's own demand patterns, from its first levels."""
        n, now = len(plan.choice), 0
        self._times(n * slot_s, step_s)
        self._engine.ENopenH()
        self._engine.ENinitH(0)
        energy, levels = np.zeros(n), np.zeros((n, len(self._tanks)))
        pressure, problems, taps = np.inf, list[str](), list[int]()
        while now < n * slot_s:
            slot = now // slot_s
            self._run_pumps(table.configurations[plan.choice[slot]])
            self._engine.ENrunH()
            if self._engine.errcode:
                problems.append(f"slot {slot}: EPANET warns ({self._engine.errcode})")
            taps = taps or self._taps()
            pressure = min(pressure, self._pressure(taps))
            power = self._power()
            step = self._engine.ENnextH()
            energy[slot] += power * step / 3600
            levels[slot] = [self._level(node) for node in self._tanks]
            now += step
        self._engine.ENcloseH()
        problems += _beyond(table, levels, pressure)
        return Replayed(
            tuple((energy * 3600 / slot_s).tolist()),
            tuple(tuple(series.tolist()) for series in levels.T),
            float(energy @ np.array(price)),
            float(pressure),
            tuple(problems),
        )

    def _level(self, node: int) -> float:
        get = self._engine.ENgetnodevalue
        return self._volume(node, get(node, _HEAD) - get(node, _ELEVATION))


def _beyond(table: ZoneTable, levels: FloatArray, pressure_m: float) -> Iterator[str]:
    for tank, series in zip(table.tanks, levels.T, strict=True):
        for slot, kl in enumerate(series.tolist()):
            if not tank.low_kl - _BESIDE_KL <= kl <= tank.high_kl + _BESIDE_KL:
                yield f"slot {slot}: tank {tank.id} at {kl:.2f} kL, allowed are {tank.low_kl:.2f} to {tank.high_kl:.2f}"
    if pressure_m < table.pressure_m_min:
        yield f"a tap has {pressure_m:.1f} m of pressure, {table.pressure_m_min:.1f} m are wanted"


_BESIDE_KL = 1e-3


def _distinct(configurations: Sequence[Configuration], inflow: FloatArray, power: FloatArray) -> list[int]:
    """Returns which configurations to keep: of equal pumps, one of each number that runs."""
    kept: list[int] = []
    for at, one in enumerate(configurations):
        like = [
            other
            for other in kept
            if len(configurations[other].speeds) == len(one.speeds)
            and np.allclose(inflow[other], inflow[at], atol=0.01)
            and np.allclose(power[other], power[at], atol=0.001)
        ]
        if not like:
            kept.append(at)
    return kept


def table_of(
    path: Path, day: NetworkDay, *, points: int, demands: int, speeds: Sequence[float], pressure_m_min: float
) -> ZoneTable:
    """Returns a network's table at the demands of its own day, or at as many between the least and the most."""
    found = sorted({round(kl, 4) for kl in day.demand_kl_per_h})
    if len(found) > demands:
        found = np.linspace(found[0], found[-1], demands).round(4).tolist()
    if not found or found[-1] <= 0:
        raise UnfitNetwork(f"{path.stem}: nobody draws water in it")
    with open_network(path) as network:
        return network.table(points=points, demand_kl_per_h=found, speeds=speeds, pressure_m_min=pressure_m_min)
