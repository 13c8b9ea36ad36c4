"""Half a year of 17 real homes: hourly plans that know only the past, run by an ideal fast loop, against foresight.

The data is `sierra_crest` (--data). One pooled meter, one battery of 108.8 kWh and 85 kW, empty at the start and free
at the end; every hour a forecast and futures from the metered past, one `solve`, one `check`, and the first slot's mode
run on the hour's actual net load by a loop of this file's own that defends the import limit (--limit) before all else.
`bound` is the linear program over the whole half year that knows everything, `greedy` follows the meter without a plan.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from devices.clock import HOUR_MS, Instant
from optimizer.check import check
from optimizer.engine import run as run_engine
from optimizer.formulation import formulate, relaxed
from optimizer.plan import Mode, Plan
from optimizer.problem import AssetId, Battery, Grid, Past, Problem, Stop
from optimizer.ridge import outlook
from optimizer.solve import solve

HOMES = 17
HORIZON = 24
PAST_HOURS = 24 * 70
EXPORT_PRICE = 0.05
TERMINAL_VALUE = 0.189
OVER_PRICE = 50.0
UNLIMITED_KW = 10_000.0
EFFICIENCY = 0.9**0.5
BATTERY = Battery(
    AssetId("battery"), 108.8, 85.0, 85.0, EFFICIENCY, EFFICIENCY, 0.0, 0.0, 108.8, 0.0, 0.0, TERMINAL_VALUE, 0.0
)


class DataMissing(FileNotFoundError):
    """The folder given with --data does not hold the series."""


class PlanRefused(RuntimeError):
    """A plan did not pass the checker, or there was none."""


@dataclass(frozen=True, slots=True)
class Homes:
    """Hourly series of all homes together."""

    month: tuple[str, ...]
    load_kw: tuple[float, ...]
    pv_kw: tuple[float, ...]
    price: tuple[float, ...]

    def prices(self, hour: int) -> tuple[float, ...]:
        """Returns the published tariff of the next day; after the last hour known, that of the day before."""
        last = len(self.price)
        return tuple(self.price[t if t < last else t - 24] for t in range(hour, hour + HORIZON))


@dataclass(slots=True)
class Meter:
    """Counts what the half year costs."""

    limit_kw: float
    soc_kwh: float = 0.0
    cost: float = 0.0
    peak_kw: float = 0.0
    hours_over: int = 0

    def run(self, power_kw: float, net_kw: float, price: float) -> float:
        """Moves the battery for one hour and pays; returns the hour's money."""
        self.soc_kwh += power_kw * EFFICIENCY if power_kw > 0 else power_kw / EFFICIENCY
        self.soc_kwh = min(max(self.soc_kwh, 0.0), BATTERY.energy_kwh)
        grid = net_kw + power_kw
        money = grid * (price if grid > 0 else EXPORT_PRICE)
        self.cost += money
        self.peak_kw = max(self.peak_kw, grid)
        self.hours_over += grid > self.limit_kw + 1e-6
        return money


def run(args: Sequence[str]) -> Mapping[str, object]:
    """Returns the figures of one run."""
    parser = argparse.ArgumentParser(prog="atoll bench closed-loop", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with homes_hourly_*.csv")
    parser.add_argument("--limit", type=float, default=None, help="import limit of the pooled meter [kW]")
    parser.add_argument("--months", action="store_true", help="add the money of every month, planned and greedy")
    options = parser.parse_args(args)
    homes = _homes(options.data)
    limit = UNLIMITED_KW if options.limit is None else float(options.limit)
    planned, greedy = _planned(homes, limit), _greedy(homes, limit)
    bound = _bound(homes, limit)
    figures: dict[str, object] = {
        "case": "no limit" if options.limit is None else f"limit {limit:g} kW",
        "cost": round(planned.meter.cost, 1),
        "peak_kw": round(planned.meter.peak_kw, 2),
        "hours_over": planned.meter.hours_over,
        "bound": round(bound, 1),
        "greedy": round(greedy.meter.cost, 1),
        "ratio": round(planned.meter.cost / bound, 5),
    }
    if options.months:
        figures["months"] = [
            {"month": month, "planned": round(money, 1), "greedy": round(greedy.months[month], 1)}
            for month, money in planned.months.items()
        ]
    return figures


@dataclass(frozen=True, slots=True)
class Account:
    """The meter at the end, and money by month."""

    meter: Meter
    months: dict[str, float]


def _planned(homes: Homes, limit_kw: float) -> Account:
    meter, months = Meter(limit_kw), dict.fromkeys(homes.month, 0.0)
    for hour, month in enumerate(homes.month):
        problem = _problem(homes, hour, meter.soc_kwh, limit_kw)
        plan = solve(problem, Stop(seconds=None), seed=1)
        wrong = check(problem, plan) if isinstance(plan, Plan) else plan.reasons
        if not isinstance(plan, Plan) or wrong:
            raise PlanRefused(f"hour {hour}: {wrong}")
        step = plan.storages[BATTERY.id][0]
        net = homes.load_kw[hour] - homes.pv_kw[hour]
        power = loop_power(step.mode, step.limit_w / 1000, net, meter.soc_kwh, limit_kw)
        months[month] += meter.run(power, net, homes.price[hour])
    return Account(meter, months)


def _greedy(homes: Homes, limit_kw: float) -> Account:
    meter, months = Meter(limit_kw), dict.fromkeys(homes.month, 0.0)
    for hour, month in enumerate(homes.month):
        net = homes.load_kw[hour] - homes.pv_kw[hour]
        power = loop_power(Mode.FOLLOW, BATTERY.charge_kw_max, net, meter.soc_kwh, limit_kw)
        months[month] += meter.run(power, net, homes.price[hour])
    return Account(meter, months)


def _bound(homes: Homes, limit_kw: float) -> float:
    """Returns the cost of the half year for one who knows all of it."""
    grid = _grid(homes.price, limit_kw)
    load, pv = homes.load_kw, homes.pv_kw
    everything = Problem(
        Instant(0), HOUR_MS, load, load, pv, 5.0, grid, batteries=(replace(BATTERY, terminal_value=0.0),)
    )
    model, _ = formulate(everything)
    return run_engine(relaxed(model), Stop(seconds=None, gap=0.0, nodes=None), 1).bound


def _problem(homes: Homes, hour: int, soc_kwh: float, limit_kw: float) -> Problem:
    """Returns the question of one hour; only the tariff is known ahead."""
    first = max(0, hour - PAST_HOURS)
    past = Past(24, homes.load_kw[first:hour], homes.pv_kw[first:hour])
    expected, futures = outlook(past, HORIZON)
    return Problem(
        start=Instant(hour * HOUR_MS),
        slot_ms=HOUR_MS,
        load_kw=expected.load_kw,
        critical_kw=expected.load_kw,
        pv_kw=expected.pv_kw,
        shed_price=5.0,
        grid=_grid(homes.prices(hour), limit_kw),
        batteries=(replace(BATTERY, soc_now_kwh=soc_kwh),),
        scenarios=futures,
    )


def _grid(prices: tuple[float, ...], limit_kw: float) -> Grid:
    n = len(prices)
    return Grid((limit_kw,) * n, (UNLIMITED_KW,) * n, prices, (EXPORT_PRICE,) * n, (True,) * n, OVER_PRICE)


def loop_power(mode: Mode, limit_kw: float, net_kw: float, soc_kwh: float, import_limit_kw: float) -> float:
    """Returns what an ideal fast loop makes of a mode in an hour with this net load [kW, positive charges]."""
    follow = -net_kw
    wish = {
        Mode.FOLLOW: min(max(follow, -limit_kw), limit_kw),
        Mode.HOLD: 0.0,
        Mode.CHARGE: max(follow, limit_kw),
        Mode.DISCHARGE: max(min(follow, 0.0), -limit_kw),
    }[mode]
    wish = min(wish, import_limit_kw - net_kw)
    most = min(BATTERY.charge_kw_max, (BATTERY.energy_kwh - soc_kwh) / EFFICIENCY)
    least = min(BATTERY.discharge_kw_max, soc_kwh * EFFICIENCY)
    return min(max(wish, -least), most)


def _homes(folder: Path) -> Homes:
    path = next(iter(sorted(folder.glob("homes_hourly_*.csv"))), None)
    if path is None:
        raise DataMissing(f"{folder} holds no homes_hourly_*.csv; give the sierra_crest folder with --data")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return Homes(
        tuple(row["local"][:7] for row in rows),
        tuple(_sums(rows, "load")),
        tuple(_sums(rows, "pv")),
        tuple(float(row["price_import"]) for row in rows),
    )


def _sums(rows: list[dict[str, str]], name: str) -> Iterator[float]:
    for row in rows:
        yield sum(float(row[f"{name}_{home:02}"]) for home in range(1, HOMES + 1))
