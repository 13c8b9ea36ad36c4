"""The village in quarter hours: what a plan's modes, or the rules alone, would make of the same energy and water. Pure.

One model plays both, so that what it leaves out is left out of both: within a slot all is steady, as the 1 s loop
would hold it. The rules are those of `controller.rules` without a plan (a test plays both over random weeks): follow
the meter, fill the tank by its level, charge a vehicle when it comes, start a job at its latest. Money is the
objective of the planner: energy, wear, starts and the price of every violation, less what is left in stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from controller.rules import FEEDER_MARGIN, mode_power, thermostat_levels
from controller.shadow_water import WaterRun
from devices.units import W_PER_KW
from optimizer.plan import Mode, Plan
from optimizer.problem import AssetId, Battery, Charger, Feeder, Job, Problem, SplitJob, ThermalStore

_NEAR = 1e-9


@dataclass(frozen=True, slots=True)
class Steps:
    """What a plan asks of each device in one slot: (mode, limit [W]) of storages, power [W] of whatever it runs."""

    storages: Mapping[AssetId, tuple[Mode, int]]
    units: Mapping[AssetId, int]


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it. Money in major units; powers in kW per slot."""

    cost: float  # the objective: running cost and violations less `stored`
    energy: float  # paid outside for energy, less what was sold, and for fuel
    stored: float  # what is left in batteries and tanks is worth
    grid_kw: tuple[float, ...]
    soc_kwh: Mapping[AssetId, float]  # at the end
    level_kl: Mapping[AssetId, float]
    heat_kwh: Mapping[AssetId, float]


def steps_of(plan: Plan) -> list[Steps | None]:
    """Returns a plan's steps slot by slot, as the fast loop gets them."""
    return [steps_at(plan, slot) for slot in range(len(plan.grid_kw))]


def steps_at(plan: Plan, slot: int) -> Steps:
    """Returns what a plan asks in one slot; of a pack that only charges, its power counts."""
    return Steps(
        {asset: (steps[slot].mode, steps[slot].limit_w) for asset, steps in plan.storages.items()},
        {
            **{asset: max(0, steps[slot].expected_w) for asset, steps in plan.storages.items()},
            **{asset: abs(units[slot].power_w) if units[slot].on else 0 for asset, units in plan.units.items()},
        },
    )


def play_rules(problem: Problem) -> Played:
    """Returns what the rules make of a problem's forecast without any plan."""
    return play(problem, [None] * problem.slots)


def play(problem: Problem, steps: Sequence[Steps | None]) -> Played:
    """Returns what steps make of a problem; None in a slot: rules only."""
    return _Run(problem).play(steps)


class _Run:
    """The state of one run through the slots."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.hours = problem.slot_h
        self.stores = problem.stores
        self.feeders = sorted(problem.feeders, key=lambda one: len(one.inner))
        self.feeders_of: dict[AssetId, list[Feeder]] = {}
        for feeder in self.feeders:
            for asset in feeder.assets:
                self.feeders_of.setdefault(asset, []).append(feeder)
        self.soc = {b.id: b.soc_now_kwh for b in problem.batteries}
        self.water = WaterRun(problem)
        self.left = {c.id: c.energy_kwh for c in problem.chargers}
        self.started: dict[AssetId, int] = {}
        self.running = {g.id: g.running for g in problem.gensets}
        self.heat = {s.id: s.level_now_kwh for s in problem.thermal}
        self.slots_left = {job.id: job.slots for job in problem.split_jobs}
        self.heating: set[AssetId] = set()
        self.powers: dict[AssetId, float] = {}  # of this slot [kW, positive takes]
        self.money = self.energy = 0.0

    def play(self, steps: Sequence[Steps | None]) -> Played:
        grid = tuple(self._slot(slot, step) for slot, step in enumerate(steps[: self.problem.slots]))
        problem = self.problem
        stored = sum(b.terminal_value * self.soc[b.id] for b in problem.batteries)
        stored += sum(s.terminal_value * self.heat[s.id] for s in problem.thermal)
        stored += sum(w.terminal_value * self.water.level[w.tank_id] for w in problem.water)
        self.money += sum(c.unserved_price * self.left[c.id] for c in problem.chargers if c.until_slot >= problem.slots)
        self.money += sum(j.skip_price for j in problem.jobs if j.id not in self.started)
        peak = max(grid, default=0.0)
        self.money += problem.grid.peak_price * max(0.0, peak - problem.grid.peak_kw_so_far)
        money = self.money + self.water.money
        return Played(money + self.energy - stored, self.energy, stored, grid, self.soc, self.water.level, self.heat)

    def _slot(self, slot: int, step: Steps | None) -> float:
        problem = self.problem
        self.powers.clear()
        others = problem.load_kw[slot] - problem.pv_kw[slot]
        drawn = 0.0
        for job in problem.jobs:
            power, water = self._job(job, slot, step)
            others += power
            drawn += water
        others += sum(self._split_job(job, slot, step) for job in problem.split_jobs)
        others += self.water.slot(slot, None if step is None else step.units, drawn)
        for genset in problem.gensets:
            others += self._ran(genset.id, -self._genset(genset.id, slot, step))
        for charger in problem.chargers:
            others += self._ran(charger.id, self._charger(charger, slot, step, others))
        for store in problem.thermal:
            others += self._ran(store.id, self._thermal(store, slot, step, others))
        for pack in problem.batteries:
            if not pack.stationary:
                others += self._ran(pack.id, self._pack(pack, slot, step, others))
        power = sum(self._ran(battery.id, self._battery(battery, slot, step, others)) for battery in self.stores)
        return self._pay(slot, others + power + self._cut(slot))

    def _ran(self, asset: AssetId, power: float) -> float:
        self.powers[asset] = power
        return power

    # -- devices ---------------------------------------------------------------------------------------------------

    def _battery(self, battery: Battery, slot: int, step: Steps | None, others: float) -> float:
        """Returns the battery's power [kW, positive charges] and moves its charge."""
        problem, count = self.problem, len(self.stores)
        soc, there = self.soc[battery.id], problem.grid.available[slot]
        follow = -others / count
        wish = follow
        planned = None if step is None or not there else step.storages.get(battery.id)
        if planned is not None:
            wish = mode_power(planned[0], planned[1] / W_PER_KW, follow)
        lowest = min(battery.soc_min_kwh, soc)
        if there:  # the lifeline rule keeps the reserve for an outage
            highest = (problem.grid.import_limit_kw[slot] * FEEDER_MARGIN - others) / count
            least = (-problem.grid.export_limit_kw[slot] * FEEDER_MARGIN - others) / count
            on_line = self._room(battery.id, slot)
            wish = max(min(wish, highest, on_line[1]), least, on_line[0])
            lowest = min(max(lowest, battery.reserve_kwh), soc)
        most = (max(battery.soc_max_kwh, soc) - soc) / battery.charge_efficiency / self.hours
        out = (soc - lowest) * battery.discharge_efficiency / self.hours
        power = min(max(wish, -battery.discharge_kw_max, -out), battery.charge_kw_max, max(most, 0.0))
        eta = battery.charge_efficiency if power > 0 else 1.0 / battery.discharge_efficiency
        soc = self.soc[battery.id] = soc + power * eta * self.hours
        self.money += battery.wear_price * max(-power, 0.0) * self.hours
        self.money += battery.reserve_price * max(battery.reserve_kwh - soc, 0.0)
        return power

    def _charger(self, charger: Charger, slot: int, step: Steps | None, others: float) -> float:
        if not charger.from_slot <= slot < charger.until_slot or self.left[charger.id] <= _NEAR:
            return 0.0
        power = self._charging(charger.id, charger.power_kw_max, slot, step, others)
        power = min(power, self.left[charger.id] / self.hours)
        self.left[charger.id] -= power * self.hours
        if slot == charger.until_slot - 1 and charger.until_slot < self.problem.slots:
            self.money += charger.unserved_price * max(self.left[charger.id], 0.0)
        return power

    def _charging(self, asset: AssetId, most: float, slot: int, step: Steps | None, others: float) -> float:
        """Returns what a charger may take [kW]: as planned, or all it can, within what the connection has left."""
        most = min(most, max(0.0, self._room(asset, slot)[1]))
        if not self.problem.grid.available[slot]:
            return most
        planned = None if step is None else step.units.get(asset)
        power = most if planned is None else min(planned / W_PER_KW, most)
        room = sum(
            min(b.discharge_kw_max, max(self.soc[b.id] - b.reserve_kwh, 0.0) * b.discharge_efficiency / self.hours)
            for b in self.stores
        )
        return min(power, max(0.0, self.problem.grid.import_limit_kw[slot] * FEEDER_MARGIN - others + room))

    def _pack(self, pack: Battery, slot: int, step: Steps | None, others: float) -> float:
        """Returns the power of a vehicle's pack [kW] and moves its charge by that and by its trips."""
        soc, power = self.soc[pack.id], 0.0
        if not pack.present or pack.present[slot]:
            most = max(0.0, pack.soc_max_kwh - soc) / pack.charge_efficiency / self.hours
            power = min(self._charging(pack.id, pack.charge_kw_max, slot, step, others), most)
        soc += power * pack.charge_efficiency * self.hours - (pack.trip_kwh[slot] if pack.trip_kwh else 0.0)
        self.money += pack.trip_price * max(0.0, -soc)
        soc = self.soc[pack.id] = max(0.0, soc)
        for leaves in pack.departures:
            if leaves.slot == slot + 1:
                self.money += leaves.price * max(0.0, leaves.energy_kwh - soc)
        return power

    def _thermal(self, store: ThermalStore, slot: int, step: Steps | None, others: float) -> float:
        """Returns the power of a thermal store [kW] and moves its level."""
        level = self.heat[store.id]
        start, stop = thermostat_levels(store.low_kwh, store.high_kwh)
        planned = None if step is None or not self.problem.grid.available[slot] else step.units.get(store.id)
        on = level < start or (store.id in self.heating and level < stop) if planned is None else planned > 0
        power = self._charging(store.id, store.power_kw_max, slot, step, others) if on else 0.0
        power = min(power, max(0.0, store.high_kwh - level) / store.cop[slot] / self.hours)
        (self.heating.add if on else self.heating.discard)(store.id)
        level = level * (1.0 - store.loss_per_h * self.hours) + power * store.cop[slot] * self.hours
        level -= store.demand_kwh[slot]
        self.money += store.unserved_price * max(0.0, -level)
        level = self.heat[store.id] = max(0.0, level)
        self.money += store.comfort_price * max(0.0, store.low_kwh - level)
        return power

    def _room(self, asset: AssetId, slot: int) -> tuple[float, float]:
        """Returns the least and most power of an asset that the feeders it is on leave it [kW]."""
        least, most = -inf, inf
        for feeder in self.feeders_of.get(asset, ()):
            others = self._flow(feeder, slot) - self.powers.get(asset, 0.0)
            least = max(least, -feeder.export_limit_kw[slot] * FEEDER_MARGIN - others)
            most = min(most, feeder.import_limit_kw[slot] * FEEDER_MARGIN - others)
        return least, most

    def _flow(self, feeder: Feeder, slot: int) -> float:
        powers = (self.powers.get(asset, self.water.powers.get(asset, 0.0)) for asset in feeder.assets)
        return feeder.load_kw[slot] - feeder.pv_kw[slot] + sum(powers)

    def _cut(self, slot: int) -> float:
        """Returns the solar that is cut because feeders are full [kW], and pays for what is still beyond a limit."""
        cut: dict[AssetId, float] = {}
        for feeder in self.feeders:
            inner = sum(cut.get(name, 0.0) for name in feeder.inner)
            flow = self._flow(feeder, slot) + inner
            cut[feeder.id] = min(max(0.0, -flow - feeder.export_limit_kw[slot]), max(0.0, feeder.pv_kw[slot] - inner))
            flow += cut[feeder.id]
            beyond = max(flow - feeder.import_limit_kw[slot], -flow - feeder.export_limit_kw[slot], 0.0)
            self.money += feeder.price * beyond * self.hours
        return sum(cut.values())

    def _job(self, job: Job, slot: int, step: Steps | None) -> tuple[float, float]:
        """Returns (kW, kL) of a job in a slot; without a plan it starts at the latest slot that its window leaves."""
        begun = self.started.get(job.id)
        if begun is None and job.earliest_slot <= slot <= job.latest_slot:
            planned = None if step is None else step.units.get(job.id)
            if slot == job.latest_slot or (planned is not None and planned > 0):
                begun = self.started[job.id] = slot
        if begun is None or slot - begun >= len(job.power_kw):
            return 0.0, 0.0
        return job.power_kw[slot - begun], job.water_kl[slot - begun]

    def _split_job(self, job: SplitJob, slot: int, step: Steps | None) -> float:
        """Returns the power of a job that may pause [kW]; without a plan it runs at the end of its window."""
        left = self.slots_left[job.id]
        if not left or not job.earliest_slot <= slot < job.until_slot:
            return 0.0
        planned = None if step is None else step.units.get(job.id)
        if job.until_slot - slot > left and not planned:
            return 0.0
        self.slots_left[job.id] = left - 1
        return job.power_kw

    def _genset(self, name: AssetId, slot: int, step: Steps | None) -> float:
        """Returns a genset's power [kW] as planned; on an island the rules' own start is not played."""
        genset = next(g for g in self.problem.gensets if g.id == name)
        planned = 0 if step is None else step.units.get(name, 0)
        if planned <= 0:
            self.running[name] = False
            return 0.0
        power = planned / W_PER_KW
        if not self.running[name]:
            self.money += genset.start_price
        self.running[name] = True
        self.energy += (genset.fixed_price_per_h + power * genset.energy_price) * self.hours
        return power

    def _pay(self, slot: int, net: float) -> float:
        """Pays for the exchange and returns it [kW, positive imports]; what cannot be exported is curtailed."""
        grid = self.problem.grid
        if not grid.available[slot]:
            self.money += self.problem.shed_price * max(net, 0.0) * self.hours
            return 0.0
        net = max(net, -grid.export_limit_kw[slot])
        if net < 0 and grid.export_price[slot] < 0:
            net = 0.0
        price = grid.import_price[slot] if net > 0 else grid.export_price[slot]
        self.energy += price * net * self.hours
        self.money += grid.over_limit_price * max(net - grid.import_limit_kw[slot], 0.0) * self.hours
        return net
