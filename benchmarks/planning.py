"""Small planning problems with known optima: cost, CPU seconds of `solve` and whether the plan stands up to a replay.

The cases are the files of `planning` (--data). Seconds are CPU time of this process for one `solve` of the built
problem, imports apart. `valid` means: the checker finds nothing, no soft limit is broken, and a replay by this file's
own arithmetic, from the case's data and the plan's watts, keeps every rule of the case and gives the same cost.
A plan says whole watts, which costs the 50 batteries 0.0017 % and one home 0.3 %: the cases are planned with every
kilowatt as a megawatt and their money divided by a thousand, so that the optimum shows.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol, TypedDict, cast

from devices.clock import HOUR_MS, Instant
from optimizer.check import check
from optimizer.plan import Plan
from optimizer.problem import AssetId, Battery, Grid, Job, Problem, Stop
from optimizer.solve import solve

PENALTY = 100.0
FINE = 1_000.0
NEAR_KWH = 0.005
"""Whole watts over a slot of an hour, a few times over."""


class DataMissing(FileNotFoundError):
    """The folder given with --data holds no cases."""


class OneMeter(TypedDict):
    """`one_meter_*.json`: batteries at one meter."""

    price: list[float]
    feed: list[float]
    net: list[float]
    cap: list[float]
    p: list[float]
    eta: float
    soc0: float
    socmin: float
    dt: float


class LoadsBattery(TypedDict):
    """A battery of `loads_*.json`."""

    power_max_charge_w: float
    power_max_discharge_w: float
    eta_ch: float
    eta_dis: float
    capacity_wh: float
    soc_min: float
    soc_max: float
    soc_init: float
    soc_final: float


class Deferrable(TypedDict):
    """An on/off load."""

    nominal_w: float
    hours: float
    single_block: bool


class Loads(TypedDict):
    """`loads_*.json`: on/off loads and batteries of one home."""

    step_h: float
    load_w: list[float]
    pv_w: list[float]
    buy_eur_kwh: list[float]
    sell_eur_kwh: list[float]
    grid_import_max_w: float
    grid_export_max_w: float
    batteries: list[LoadsBattery]
    deferrables: list[Deferrable]


class Case(Protocol):
    """One file: its problem, and the replay of a plan."""

    @property
    def problem(self) -> Problem:
        """Returns the question."""
        ...

    @property
    def scale(self) -> float:
        """Returns what one kW of the file is in the problem."""
        ...

    def replay(self, plan: Plan) -> tuple[float, list[str]]:
        """Returns (cost from the plan's watts, the case's rules that are broken)."""
        ...


def run(args: Sequence[str]) -> Mapping[str, object]:
    """Returns the figures of one run."""
    parser = argparse.ArgumentParser(prog="atoll bench planning", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with one_meter_*.json and loads_*.json")
    parser.add_argument("--gap", type=float, default=1e-4, help="relative gap to stop at")
    options = parser.parse_args(args)
    paths = [*sorted(options.data.glob("one_meter_*.json")), *sorted(options.data.glob("loads_*.json"))]
    if not paths:
        raise DataMissing(f"{options.data} holds no one_meter_*.json or loads_*.json; give the planning folder")
    solve(_one_meter(json.loads(paths[0].read_text())).problem, Stop(), 1)  # loads the libraries
    return {"cases": [_measured(path, Stop(seconds=None, gap=options.gap)) for path in paths]}


def _measured(path: Path, stop: Stop) -> Mapping[str, str | float | bool]:
    tree = json.loads(path.read_text())
    case: Case = _one_meter(tree) if path.stem.startswith("one_meter") else _loads(tree)
    began = time.process_time()
    plan = solve(case.problem, stop, seed=1)
    seconds = time.process_time() - began
    if not isinstance(plan, Plan):
        return {"name": path.stem, "cost": float("nan"), "seconds": round(seconds, 3), "valid": False}
    replayed, broken = case.replay(plan)
    cost = plan.cost / case.scale
    valid = not check(case.problem, plan) and not plan.violations and not broken and abs(cost - replayed) < 1e-6
    return {"name": path.stem, "cost": round(cost, 6), "seconds": round(seconds, 3), "valid": valid}


# ------------------------------------------------------------------------------------------- one meter


@dataclass(frozen=True, slots=True)
class _OneMeter:
    data: OneMeter
    problem: Problem
    scale: float

    def replay(self, plan: Plan) -> tuple[float, list[str]]:
        data, broken, total = self.data, list[str](), list(self.data["net"])
        for name, size in zip(plan.storages, data["cap"], strict=True):
            soc = data["soc0"] * size
            for t, step in enumerate(plan.storages[name]):
                kw = step.expected_w / 1000 / self.scale
                total[t] += kw
                soc += (kw * data["eta"] if kw > 0 else kw / data["eta"]) * data["dt"]
                if not data["socmin"] * size - NEAR_KWH <= soc <= size + NEAR_KWH:
                    broken.append(f"{name}: {soc} kWh in step {t}")
            if soc < data["soc0"] * size - NEAR_KWH:
                broken.append(f"{name}: ends with {soc} kWh")
        prices = zip(total, data["price"], data["feed"], strict=True)
        return sum(kw * data["dt"] * (buy if kw > 0 else sell) for kw, buy, sell in prices), broken


def _one_meter(tree: object) -> _OneMeter:
    data = cast("OneMeter", tree)
    n = len(data["net"])
    batteries = tuple(
        Battery(
            id=AssetId(f"battery-{at}"),
            energy_kwh=size * FINE,
            charge_kw_max=power * FINE,
            discharge_kw_max=power * FINE,
            charge_efficiency=data["eta"],
            discharge_efficiency=data["eta"],
            soc_now_kwh=data["soc0"] * size * FINE,
            soc_min_kwh=data["socmin"] * size * FINE,
            soc_max_kwh=size * FINE,
            reserve_kwh=0.0,
            reserve_price=0.0,
            terminal_value=0.0,
            wear_price=0.0,
            final_kwh=data["soc0"] * size * FINE,
        )
        for at, (size, power) in enumerate(zip(data["cap"], data["p"], strict=True))
    )
    net = [kw * FINE for kw in data["net"]]
    load, pv = tuple(max(kw, 0.0) for kw in net), tuple(max(-kw, 0.0) for kw in net)
    most = sum(data["p"]) * FINE + max(map(abs, net))
    grid = Grid((most,) * n, (most,) * n, tuple(data["price"]), tuple(data["feed"]), (True,) * n, PENALTY)
    slot_ms = round(data["dt"] * HOUR_MS)
    return _OneMeter(data, Problem(Instant(0), slot_ms, load, load, pv, PENALTY, grid, batteries), FINE)


# --------------------------------------------------------------------------------------- on/off loads


@dataclass(frozen=True, slots=True)
class _Loads:
    data: Loads
    problem: Problem
    scale: float

    def replay(self, plan: Plan) -> tuple[float, list[str]]:
        data, h, broken = self.data, self.data["step_h"], list[str]()
        use = [(load - pv) / 1000 for load, pv in zip(data["load_w"], data["pv_w"], strict=True)]
        for at, load in enumerate(data["deferrables"]):
            on = [step.power_w for step in plan.units[AssetId(f"load-{at}")]]
            use = [kw + w / 1000 / self.scale for kw, w in zip(use, on, strict=True)]
            starts = sum(now > 0 and before == 0 for before, now in pairwise([0, *on]))
            if any(w not in (0, round(load["nominal_w"] * self.scale)) for w in on) or starts != 1:
                broken.append(f"load-{at}: runs {starts} times, or at part power")
            used = sum(on) / 1000 / self.scale * h
            if round(used, 6) != round(load["hours"] * load["nominal_w"] / 1000, 6):
                broken.append(f"load-{at}: uses {used} kWh")
        stored = [self._battery(plan, at, battery, broken) for at, battery in enumerate(data["batteries"])]
        grid = [kw + sum(column) for kw, *column in zip(use, *stored, strict=True)]
        for t, kw in enumerate(grid):
            fed = min(sum(series[t] for series in stored), 0.0)
            if fed < -NEAR_KWH and kw < -NEAR_KWH:
                broken.append(f"a battery feeds the grid in step {t}")
            if not -data["grid_export_max_w"] <= kw * 1000 <= data["grid_import_max_w"]:
                broken.append(f"{kw} kW at the meter in step {t}")
        prices = zip(grid, data["buy_eur_kwh"], data["sell_eur_kwh"], strict=True)
        return sum(kw * h * (buy if kw > 0 else sell) for kw, buy, sell in prices), broken

    def _battery(self, plan: Plan, at: int, battery: LoadsBattery, broken: list[str]) -> list[float]:
        power = [step.expected_w / 1000 / self.scale for step in plan.storages[AssetId(f"battery-{at}")]]
        size, soc = battery["capacity_wh"] / 1000, battery["soc_init"]
        for kw in power:
            change = kw * battery["eta_ch"] if kw > 0 else kw / battery["eta_dis"]
            soc += change * self.data["step_h"] / size
            if not battery["soc_min"] - NEAR_KWH / size <= soc <= battery["soc_max"] + NEAR_KWH / size:
                broken.append(f"battery-{at}: {soc:.4f}")
        if abs(soc - battery["soc_final"]) > NEAR_KWH / size:
            broken.append(f"battery-{at}: ends at {soc:.4f}")
        return power


def _loads(tree: object) -> _Loads:
    data = cast("Loads", tree)
    n, h = len(data["load_w"]), data["step_h"]
    load, pv = (tuple(w / 1000 * FINE for w in series) for series in (data["load_w"], data["pv_w"]))
    limits = (data["grid_import_max_w"] / 1000 * FINE,) * n, (data["grid_export_max_w"] / 1000 * FINE,) * n
    prices = tuple(data["buy_eur_kwh"]), tuple(data["sell_eur_kwh"])
    grid = Grid(*limits, *prices, (True,) * n, PENALTY)
    batteries = tuple(_home_battery(at, battery) for at, battery in enumerate(data["batteries"]))
    jobs = tuple(
        Job(
            id=AssetId(f"load-{at}"),
            power_kw=(job["nominal_w"] / 1000 * FINE,) * round(job["hours"] / h),
            water_kl=(0.0,) * round(job["hours"] / h),
            earliest_slot=0,
            latest_slot=n - round(job["hours"] / h),
            skip_price=PENALTY * FINE,
        )
        for at, job in enumerate(data["deferrables"])
    )
    slot_ms = round(h * HOUR_MS)
    return _Loads(data, Problem(Instant(0), slot_ms, load, load, pv, PENALTY, grid, batteries, jobs=jobs), FINE)


def _home_battery(at: int, battery: LoadsBattery) -> Battery:
    size = battery["capacity_wh"] / 1000 * FINE
    return Battery(
        id=AssetId(f"battery-{at}"),
        energy_kwh=size,
        charge_kw_max=battery["power_max_charge_w"] / 1000 * FINE,
        discharge_kw_max=battery["power_max_discharge_w"] * battery["eta_dis"] / 1000 * FINE,
        charge_efficiency=battery["eta_ch"],
        discharge_efficiency=battery["eta_dis"],
        soc_now_kwh=battery["soc_init"] * size,
        soc_min_kwh=battery["soc_min"] * size,
        soc_max_kwh=battery["soc_max"] * size,
        reserve_kwh=0.0,
        reserve_price=0.0,
        terminal_value=0.0,
        wear_price=0.0,
        final_kwh=battery["soc_final"] * size,
    )
