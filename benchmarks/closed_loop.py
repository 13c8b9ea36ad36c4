"""Half a year of 17 real homes: hourly plans that know only the past, run by an ideal fast loop, against foresight.

The data is `sierra_crest` (--data). One pooled meter, one battery of 108.8 kWh and 85 kW, empty at the start and free
at the end; every hour a forecast and futures from the metered past, one `solve`, one `check`, and the first slot's mode
run on the hour's actual net load by a loop of this file's own that defends the import limit (--limit) before all else.
`bound` is the linear program over the whole half year that knows everything, `greedy` follows the meter without a plan.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from devices.clock import HOUR_MS, Instant
from optimizer.check import check
from optimizer.engine import EXACT
from optimizer.engine import run as run_engine
from optimizer.forecast import Calendar, forecast_series, forecast_solar
from optimizer.formulation import formulate, relaxed
from optimizer.plan import Mode, Plan
from optimizer.problem import AssetId, Battery, Grid, Problem, Scenario, Stop
from optimizer.ridge import Past, outlook
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

    local: tuple[datetime, ...]  # start of each hour, civil
    load_kw: tuple[float, ...]
    pv_kw: tuple[float, ...]
    price: tuple[float, ...]

    def first(self, days: int | None) -> Homes:
        """Returns the first days; None: all."""
        if days is None:
            return self
        until = 24 * days
        return Homes(self.local[:until], self.load_kw[:until], self.pv_kw[:until], self.price[:until])

    @property
    def month(self) -> tuple[str, ...]:
        """Returns the month of each hour, as 2016-08."""
        return tuple(f"{at:%Y-%m}" for at in self.local)

    def calendar(self, hour: int) -> Calendar:
        """Returns where an hour lies in the civil week."""
        return Calendar(24, self.local[hour].hour, self.local[hour].weekday())

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
    month_peak_kw: float = 0.0
    month: str = ""
    charges_kw: float = 0.0  # the sum of the months' highest imports

    def begin(self, month: str) -> None:
        """Closes the month before where another one begins: its highest import is charged."""
        if month != self.month:
            self.charges_kw += self.month_peak_kw
            self.month, self.month_peak_kw = month, 0.0

    def run(self, power_kw: float, net_kw: float, price: float) -> float:
        """Moves the battery for one hour and pays; returns the hour's money."""
        self.soc_kwh += power_kw * EFFICIENCY if power_kw > 0 else power_kw / EFFICIENCY
        self.soc_kwh = min(max(self.soc_kwh, 0.0), BATTERY.energy_kwh)
        grid = net_kw + power_kw
        money = grid * (price if grid > 0 else EXPORT_PRICE)
        self.cost += money
        self.peak_kw = max(self.peak_kw, grid)
        self.month_peak_kw = max(self.month_peak_kw, grid)
        self.hours_over += grid > self.limit_kw + 1e-6
        return money


def run(args: Sequence[str]) -> Mapping[str, object]:
    """Returns the figures of one run."""
    parser = argparse.ArgumentParser(prog="atoll bench closed-loop", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with homes_hourly_*.csv")
    parser.add_argument("--limit", type=float, default=None, help="import limit of the pooled meter [kW]")
    parser.add_argument("--peak-price", type=float, default=0.0, help="capacity charge per kW and month")
    parser.add_argument("--days", type=int, default=None, help="the first days only")
    parser.add_argument("--months", action="store_true", help="add the money of every month, planned and greedy")
    parser.add_argument(
        "--forecaster",
        choices=tuple(FORECASTERS),
        default="ridge",
        help="who forecasts: compared by money",
    )
    options = parser.parse_args(args)
    homes = _homes(options.data).first(options.days)
    limit = UNLIMITED_KW if options.limit is None else float(options.limit)
    planned = _planned(homes, limit, FORECASTERS[options.forecaster], options.peak_price)
    greedy = _greedy(homes, limit)
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
    if options.days is not None:
        figures["case"] = f"{figures['case']}, {options.days} days"
    figures["months_worse"] = sum(money > greedy.months[month] + 0.005 for month, money in planned.months.items())
    if options.peak_price:  # the bound is of energy alone: it knows no charge
        figures["case"] = f"{figures['case']}, {options.peak_price:g} per kW and month"
        figures["total"] = round(planned.meter.cost + options.peak_price * planned.meter.charges_kw, 1)
        figures["greedy_total"] = round(greedy.meter.cost + options.peak_price * greedy.meter.charges_kw, 1)
    if options.forecaster != "ridge":
        figures["case"] = f"{figures['case']}, {options.forecaster}"
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


Forecaster = Callable[[Past, Calendar], tuple[Scenario, tuple[Scenario, ...]]]
"""Past, and where the next hour lies in the week -> (forecast, futures) of the next day."""


def _ridge(past: Past, _: Calendar) -> tuple[Scenario, tuple[Scenario, ...]]:
    return outlook(past, HORIZON)


def _ridge_alone(past: Past, _: Calendar) -> tuple[Scenario, tuple[Scenario, ...]]:
    return outlook(past, HORIZON)[0], ()


def _yesterday(past: Past, _: Calendar) -> tuple[Scenario, tuple[Scenario, ...]]:
    """Returns yesterday again, as sure as if it were known."""
    if len(past.load_kw) < 24:
        return outlook(past, HORIZON)
    return Scenario(tuple(past.load_kw[-24:].tolist()), tuple(past.pv_kw[-24:].tolist())), ()


def _like_days(past: Past, calendar: Calendar) -> tuple[Scenario, tuple[Scenario, ...]]:
    """Returns the mean of like days, and the best days scaled: the hub's forecast before it has learnt."""
    if len(past.load_kw) < 48:
        return outlook(past, HORIZON)
    load = forecast_series(past.load_kw.tolist(), calendar, HORIZON, (0.0,) * 24)
    return Scenario(load, forecast_solar(past.pv_kw.tolist(), calendar, HORIZON, (0.0,) * 24)), ()


def _like_days_futures(past: Past, calendar: Calendar) -> tuple[Scenario, tuple[Scenario, ...]]:
    """Returns the same forecast, with the futures of the ridge."""
    return _like_days(past, calendar)[0], outlook(past, HORIZON)[1]


FORECASTERS: dict[str, Forecaster] = {
    "ridge": _ridge,
    "ridge-alone": _ridge_alone,
    "like-days": _like_days,
    "like-days-futures": _like_days_futures,
    "yesterday": _yesterday,
}


def _planned(homes: Homes, limit_kw: float, forecaster: Forecaster, peak_price: float) -> Account:
    meter, months = Meter(limit_kw), dict.fromkeys(homes.month, 0.0)
    for hour, month in enumerate(homes.month):
        meter.begin(month)
        problem = _problem(homes, hour, meter.soc_kwh, limit_kw, forecaster)
        grid = replace(problem.grid, peak_price=peak_price, peak_kw_so_far=meter.month_peak_kw)
        problem = replace(problem, grid=grid)
        plan = solve(problem, Stop(seconds=None), seed=1)
        wrong = check(problem, plan) if isinstance(plan, Plan) else plan.reasons
        if not isinstance(plan, Plan) or wrong:
            raise PlanRefused(f"hour {hour}: {wrong}")
        step = plan.storages[BATTERY.id][0]
        net = homes.load_kw[hour] - homes.pv_kw[hour]
        power = loop_power(step.mode, step.limit_w / 1000, net, meter.soc_kwh, limit_kw)
        if peak_price:  # as in the hub, charging makes no peak that neither the month nor the plan has paid for
            paid = max(meter.month_peak_kw, *plan.grid_kw)
            power = min(power, max(0.0, paid - net))
        months[month] += meter.run(power, net, homes.price[hour])
    meter.begin("")
    return Account(meter, months)


def _greedy(homes: Homes, limit_kw: float) -> Account:
    meter, months = Meter(limit_kw), dict.fromkeys(homes.month, 0.0)
    for hour, month in enumerate(homes.month):
        meter.begin(month)
        net = homes.load_kw[hour] - homes.pv_kw[hour]
        power = loop_power(Mode.FOLLOW, BATTERY.charge_kw_max, net, meter.soc_kwh, limit_kw)
        months[month] += meter.run(power, net, homes.price[hour])
    meter.begin("")
    return Account(meter, months)


def _bound(homes: Homes, limit_kw: float) -> float:
    """Returns the cost of the half year for one who knows all of it."""
    grid = _grid(homes.price, limit_kw)
    load, pv = homes.load_kw, homes.pv_kw
    everything = Problem(
        Instant(0), HOUR_MS, load, load, pv, 5.0, grid, batteries=(replace(BATTERY, terminal_value=0.0),)
    )
    model, _ = formulate(everything)
    return run_engine(relaxed(model), EXACT, 1).bound


def _problem(homes: Homes, hour: int, soc_kwh: float, limit_kw: float, forecaster: Forecaster) -> Problem:
    """Returns the question of one hour; only the tariff is known ahead."""
    first = max(0, hour - PAST_HOURS)
    past = Past(24, np.array(homes.load_kw[first:hour]), np.array(homes.pv_kw[first:hour]))
    expected, futures = forecaster(past, homes.calendar(hour))
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
        tuple(datetime.fromisoformat(row["local"]) for row in rows),
        tuple(_sums(rows, "load")),
        tuple(_sums(rows, "pv")),
        tuple(float(row["price_import"]) for row in rows),
    )


def _sums(rows: list[dict[str, str]], name: str) -> Iterator[float]:
    for row in rows:
        yield sum(float(row[f"{name}_{home:02}"]) for home in range(1, HOMES + 1))
