"""The water of the quarter-hour model: tanks, pumps, plants and wells, by a plan's steps or by the rules. Pure.

The rules are those of `controller.rules`: every pump fills its tank by the tank's level, none takes from a tank that is
at its reserve. Within a slot all is steady.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from controller.rules import RESERVE_FILL, pump_levels
from devices.units import W_PER_KW
from optimizer.problem import AssetId, OperatingPoint, Problem, WaterPlant, WaterSystem

_NEAR = 1e-9


class WaterRun:
    """What the tanks and wells of a problem hold while its slots pass; `money` is what starts and shortages cost."""

    def __init__(self, problem: Problem) -> None:
        self.hours = problem.slot_h
        self.money = 0.0
        self.powers: dict[AssetId, float] = {}  # of this slot [kW]
        self.level = {w.tank_id: w.level_now_kl for w in problem.water}
        self._problem = problem
        self._tanks = {w.tank_id: w for w in problem.water}
        self._wells = {w.id: w.level_now_kl for w in problem.wells}
        self._on = {w.pump_id: w.running for w in problem.water} | {p.id: p.running for p in problem.plants}
        self._phase = {p.id: p.phase_now for p in problem.plants if p.phases}

    def slot(self, slot: int, units: Mapping[AssetId, int] | None, drawn_kl: float) -> float:
        """Returns the power of all pumps and plants in a slot [kW] and moves the levels.

        Args:
            slot: index.
            units: watts that a plan asks of each unit; None: the rules alone.
            drawn_kl: what jobs take from the first tank.
        """
        planned = units if self._problem.grid.available[slot] else None
        power, net = 0.0, dict.fromkeys(self.level, 0.0)
        for plant in self._problem.plants:
            kw, into, taken = self._plant(plant, planned)
            power += kw
            self.powers[plant.id] = kw
            net[plant.tank] += into
            if plant.source is not None and plant.source in net:
                net[plant.source] -= taken
        for at, water in enumerate(self._problem.water):
            kw = self._pump(water, slot, planned, net[water.tank_id] - (drawn_kl if at == 0 else 0.0))
            power += kw
            self.powers[water.pump_id] = kw
        for well in self._problem.wells:
            self._wells[well.id] = min(
                max(well.storage_kl, well.level_now_kl), self._wells[well.id] + well.yield_kl_per_h * self.hours
            )
        return power

    def _fills(self, water: WaterSystem, name: AssetId) -> bool:
        """Returns whether the rule that fills a tank by its level has this pump on."""
        start, stop = pump_levels(water.reserve_kl, water.high_kl)
        level = self.level[water.tank_id]
        return level < start or (self._on[name] and level < stop)

    def _there(self, source: AssetId | None) -> float:
        """Returns what a source can give in this slot [kL]."""
        if source is None:
            return float("inf")
        if source in self._tanks:
            return max(0.0, self.level[source] - self._tanks[source].reserve_kl)
        well = next(one for one in self._problem.wells if one.id == source)
        return self._wells[source] + well.yield_kl_per_h * self.hours

    def _taken(self, source: AssetId | None, kl: float) -> None:
        if source is not None and source in self._wells:
            self._wells[source] -= kl

    # -- pumps -----------------------------------------------------------------------------------------------------

    def _pump(self, water: WaterSystem, slot: int, units: Mapping[AssetId, int] | None, net_kl: float) -> float:
        """Returns the main pump's power [kW] and moves the level; `net_kl` is what else comes in, less what goes."""
        level, on = self.level[water.tank_id], self._on[water.pump_id]
        planned = None if units is None else units.get(water.pump_id)
        wish = self._fills(water, water.pump_id) if planned is None else planned > 0
        least = water.reserve_kl + (RESERVE_FILL * water.volume_kl if on else 0.0)
        if level >= water.high_kl - _NEAR:
            wish = False
        elif level < least:
            wish = True
        flow = water.pump_flow_kl_per_h * self.hours
        if flow <= 0.0:  # a tank that only plants fill
            wish = False
        share = float(wish) if planned is None or planned == 0 else min(1.0, planned / W_PER_KW / water.pump_kw)
        share = share if wish else 0.0
        if wish and level < least:
            share = 1.0
        room = water.high_kl - level + water.demand_kl[slot] - net_kl
        share = min(share, max(room, 0.0) / flow, self._there(water.well) / flow) if flow > 0.0 else 0.0
        self._taken(water.well, share * flow)
        level += share * flow - water.demand_kl[slot] + net_kl
        if wish and not on:
            self.money += water.start_price
        self._on[water.pump_id] = wish
        self.money += water.unserved_price * max(-level, 0.0)
        level = max(level, 0.0)
        self.money += water.reserve_price * max(water.reserve_kl - level, 0.0)
        if water.margin_kl:
            self.money += water.margin_price * max(water.reserve_kl + water.margin_kl[slot] - level, 0.0)
        self.level[water.tank_id] = level
        return share * water.pump_kw

    # -- plants ----------------------------------------------------------------------------------------------------

    def _plant(self, plant: WaterPlant, units: Mapping[AssetId, int] | None) -> tuple[float, float, float]:
        """Returns (kW, kL into the tank, kL out of the source) of a plant in a slot."""
        water = self._tanks[plant.tank]
        level, on = self.level[plant.tank], self._on[plant.id]
        under_way = self._phase.get(plant.id, 0) > 0
        planned = None if units is None else units.get(plant.id)
        wish = self._fills(water, plant.id) if planned is None else planned > 0
        if level >= water.high_kl - _NEAR or self._there(plant.source) <= _NEAR:
            wish = False
        elif level < water.reserve_kl + (RESERVE_FILL * water.volume_kl if on else 0.0) or under_way:
            wish = True
        if wish and not on and not under_way:
            self.money += plant.start_price
        self._on[plant.id] = wish
        if not wish:
            self._phase[plant.id] = 0
            return 0.0, 0.0, 0.0
        point = self._point(plant, planned)
        kl = min(point.flow_kl_per_h * self.hours, self._there(plant.source) * plant.recovery)
        self._taken(plant.source, kl / plant.recovery)
        return point.power_kw, kl, kl / plant.recovery

    def _point(self, plant: WaterPlant, planned: int | None) -> OperatingPoint:
        """Returns what a plant that is on gives and takes: its batch's next phase, a planned speed, or all it can."""
        if plant.phases:
            phase = self._phase.get(plant.id, 0)
            self._phase[plant.id] = (phase + 1) % len(plant.phases)
            return plant.phases[phase]
        kw = plant.points[-1].power_kw if not planned else planned / W_PER_KW
        for low, high in pairwise(plant.points):
            if kw <= high.power_kw:
                part = max(0.0, (kw - low.power_kw) / (high.power_kw - low.power_kw))
                flow = low.flow_kl_per_h + part * (high.flow_kl_per_h - low.flow_kl_per_h)
                return OperatingPoint(flow, max(kw, low.power_kw))
        return plant.points[-1]
