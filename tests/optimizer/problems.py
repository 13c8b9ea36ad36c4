"""Problems for tests: one village like examples/village, and random small ones."""

from __future__ import annotations

from dataclasses import replace
from math import exp, pi, sin

from hypothesis import strategies as st

from devices.clock import SLOT_MS, Instant
from optimizer.problem import (
    AssetId,
    Battery,
    Charger,
    Departure,
    Feeder,
    Genset,
    Grid,
    Job,
    Problem,
    Reserve,
    Series,
    ShedTier,
    SplitJob,
    ThermalStore,
    WaterSystem,
)

START = Instant(1_780_000_200_000 // SLOT_MS * SLOT_MS)


def village(*, island: bool = False, cloud: float = 0.9, soc_kwh: float = 60.0, slots: int = 96) -> Problem:
    """Returns a summer day of a village: 25 kW mean load, 60 kW of PV, every kind of asset."""
    load = tuple(18 + 10 * _bump(t, 19, 2.5) + 6 * _bump(t, 8, 1.5) + 2 * sin(t) for t in range(slots))
    pv = tuple(max(0.0, 60 * sin(pi * (t / 4 - 5) / 16)) * cloud * (1 + 0.3 * sin(t / 3)) / 1.3 for t in range(slots))
    price = tuple(0.21 if t < 24 or t >= 88 else 0.29 if t < 68 else 0.42 for t in range(slots))
    return Problem(
        start=START,
        slot_ms=SLOT_MS,
        load_kw=load,
        critical_kw=tuple(0.3 * kw for kw in load),
        pv_kw=pv,
        shed_price=5.0,
        grid=Grid((40.0,) * slots, (25.0,) * slots, price, (0.05,) * slots, (not island,) * slots, 2.0),
        batteries=(battery(soc_now_kwh=soc_kwh),),
        gensets=(genset(),),
        water=(water(slots),),
        chargers=(Charger(AssetId("charger-1"), 11.0, 14.0, slots // 2, slots - 1, 5.0),),
        jobs=(
            Job(AssetId("irrigation"), (0.8,) * 6, (0.4,) * 6, slots // 3, slots // 3 + 30, 20.0),
            Job(AssetId("parcel"), (0.3,) * 2, (0.0,) * 2, slots // 3, slots // 3 + 30, 30.0),
        ),
    )


def _bump(t: int, hour: float, width: float) -> float:
    return exp(-(((t / 4 - hour) / width) ** 2))


def battery(soc_now_kwh: float = 60.0) -> Battery:
    """Returns the village battery."""
    return Battery(
        AssetId("battery-1"), 120.0, 40.0, 40.0, 0.955, 0.955, soc_now_kwh, 9.6, 116.4, 30.0, 0.05, 0.2, 0.02
    )


def genset(*, running: bool = False, slots_in_state: int = 8) -> Genset:
    """Returns the village genset."""
    return Genset(AssetId("genset-1"), 30.0, 9.0, 1.9, 0.38, 3.0, 2, 2, running, slots_in_state)


def water(slots: int) -> WaterSystem:
    """Returns the village tank and pump."""
    demand = tuple(0.22 + 0.15 * sin(t / 8) ** 2 for t in range(slots))
    return WaterSystem(
        AssetId("pump-1"),
        AssetId("tank-1"),
        3.0,
        5.4,
        30.0,
        18.0,
        10.5,
        28.5,
        demand,
        (0.09,) * slots,
        30.0,
        1.0,
        0.2,
        0.05,
    )


def bare(load: Series, pv: Series, *, island: bool = True, critical: Series | None = None) -> Problem:
    """Returns a problem with a load, solar and a grid or none."""
    n = len(load)
    grid = Grid((10.0,) * n, (10.0,) * n, (0.3,) * n, (0.1,) * n, (not island,) * n, 2.0)
    return Problem(START, SLOT_MS, load, load if critical is None else critical, pv, 5.0, grid)


# ------------------------------------------------------------------------------------ random ones

_amounts = st.floats(0.0, 20.0, allow_nan=False).map(lambda x: round(x, 2))
_prices = st.floats(-0.2, 0.8, allow_nan=False).map(lambda x: round(x, 2))
_efficiency = st.sampled_from([0.8, 0.95, 1.0])


def _series(values: st.SearchStrategy[float], n: int) -> st.SearchStrategy[Series]:
    return st.lists(values, min_size=n, max_size=n).map(tuple)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Draws a valid problem with 3 to 10 slots and any mix of assets."""
    n = draw(st.integers(3, 10))
    load = draw(_series(_amounts, n))
    part = draw(_series(st.sampled_from([0.0, 0.3, 1.0]), n))
    return Problem(
        START,
        draw(st.sampled_from([SLOT_MS, 4 * SLOT_MS])),
        load,
        tuple(p * kw for p, kw in zip(part, load, strict=True)),
        draw(_series(_amounts, n)),
        draw(st.sampled_from([0.5, 5.0])),
        draw(_grids(n)),
        tuple(draw(_batteries(i)) for i in range(draw(st.integers(0, 2)))),
        tuple(draw(_gensets(i)) for i in range(draw(st.integers(0, 2)))),
        tuple(draw(_waters(i, n)) for i in range(draw(st.integers(0, 1)))),
        tuple(draw(_chargers(i, n)) for i in range(draw(st.integers(0, 1)))),
        tuple(draw(_jobs(i, n)) for i in range(draw(st.integers(0, 2)))),
    )


@st.composite
def _grids(draw: st.DrawFn, n: int) -> Grid:
    available = draw(st.sampled_from([(True,) * n, (False,) * n, tuple(t % 3 != 1 for t in range(n))]))
    limits = st.sampled_from([0.0, 5.0, 30.0])
    return Grid(
        draw(_series(limits, n)),
        draw(_series(limits, n)),
        draw(_series(_prices, n)),
        draw(_series(_prices, n)),
        available,
        2.0,
    )


@st.composite
def _batteries(draw: st.DrawFn, index: int) -> Battery:
    size = draw(st.sampled_from([2.0, 15.0, 60.0]))
    low, high = draw(st.sampled_from([(0.0, 1.0), (0.1, 0.9)]))
    soc = draw(st.floats(0.0, 1.0).map(lambda x: round(x, 3)))  # also outside the limits
    return Battery(
        AssetId(f"battery-{index}"),
        size,
        draw(st.sampled_from([0.0, 4.0, 20.0])),
        draw(st.sampled_from([0.0, 4.0, 20.0])),
        draw(_efficiency),
        draw(_efficiency),
        soc * size,
        low * size,
        high * size,
        draw(st.sampled_from([0.0, 0.3])) * size,
        0.05,
        draw(st.sampled_from([0.0, 0.2, 1.5])),
        draw(st.sampled_from([0.0, 0.03])),
    )


@st.composite
def _gensets(draw: st.DrawFn, index: int) -> Genset:
    up, down = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    least = draw(st.sampled_from([0.0, 3.0]))
    return Genset(
        AssetId(f"genset-{index}"), 10.0, least, 1.0, 0.4, 2.0, up, down, draw(st.booleans()), draw(st.integers(0, 5))
    )


@st.composite
def _waters(draw: st.DrawFn, index: int, n: int) -> WaterSystem:
    demand = draw(_series(st.floats(0.0, 2.0).map(lambda x: round(x, 2)), n))
    part = draw(st.sampled_from([0.0, 0.5, 1.0]))
    volume = draw(st.sampled_from([0.5, 5.0, 20.0]))
    return WaterSystem(
        AssetId(f"pump-{index}"),
        AssetId(f"tank-{index}"),
        draw(st.sampled_from([1.5, 3.0])),
        draw(st.sampled_from([0.0, 2.0, 6.0])),
        volume,
        draw(st.sampled_from([0.0, 0.5, 1.0])) * volume,
        0.3 * volume,
        0.95 * volume,
        demand,
        tuple(part * kl for kl in demand),
        10.0,
        0.5,
        0.1,
        draw(st.sampled_from([0.0, 0.1])),
        draw(st.booleans()),
        draw(st.sampled_from([(), tuple(0.01 * (slot % 3) * volume for slot in range(n))])),
        0.2,
    )


@st.composite
def _chargers(draw: st.DrawFn, index: int, n: int) -> Charger:
    first = draw(st.integers(0, n - 1))
    until = draw(st.integers(first + 1, n))
    return Charger(AssetId(f"charger-{index}"), 7.4, draw(st.sampled_from([0.0, 3.3, 40.0])), first, until, 3.0)


@st.composite
def _jobs(draw: st.DrawFn, index: int, n: int) -> Job:
    length = draw(st.integers(1, min(3, n)))
    latest = draw(st.integers(0, n - length))
    earliest = draw(st.integers(0, latest))
    return Job(
        AssetId(f"job-{index}"), (1.3,) * length, (0.0,) * length, earliest, latest, draw(st.sampled_from([0.1, 9.0]))
    )


# -------------------------------------------------------------------- with everything the planner knows


@st.composite
def rich_problems(draw: st.DrawFn) -> Problem:
    """Draws a valid problem with vehicles, heat, split jobs, tiers, a feeder, reserve and a capacity charge."""
    problem = draw(problems())
    n = problem.slots
    batteries = (*problem.batteries, *(draw(_vehicles(i, n)) for i in range(draw(st.integers(0, 2)))))
    gensets = tuple(
        replace(
            genset,
            ramp_kw=draw(st.sampled_from([None, 2.0])),
            power_now_kw=draw(st.sampled_from([None, 6.0])) if genset.running else None,
            fuel_kwh=draw(st.sampled_from([None, 0.0, 8.0])),
        )
        for genset in problem.gensets
    )
    spare = [kw - critical for kw, critical in zip(problem.load_kw, problem.critical_kw, strict=True)]
    parts = draw(st.sampled_from([(), (0.5,), (0.3, 0.7)]))
    tiers = tuple(ShedTier(f"tier-{i}", tuple(p * kw for kw in spare), 0.4 + 2 * i) for i, p in enumerate(parts))
    grid = replace(problem.grid, peak_price=draw(st.sampled_from([0.0, 3.0])), peak_kw_so_far=4.0)
    reserve = Reserve((draw(st.sampled_from([0.0, 3.0])),) * n, 0.7, draw(st.integers(0, 3)), 0.2)
    full = replace(
        problem,
        grid=grid,
        batteries=batteries,
        gensets=gensets,
        thermal=tuple(draw(_thermals(i, n)) for i in range(draw(st.integers(0, 1)))),
        split_jobs=tuple(draw(_split_jobs(i, n)) for i in range(draw(st.integers(0, 2)))),
        shed_tiers=tiers,
        reserve=draw(st.sampled_from([None, reserve])),
    )
    ids = [a.id for a in (*batteries, *gensets, *full.thermal, *full.jobs)]
    if draw(st.booleans()):
        part = draw(st.sampled_from([0.0, 0.5, 1.0]))
        feeder = Feeder(
            AssetId("feeder-0"),
            tuple(part * kw for kw in problem.load_kw),
            tuple(part * kw for kw in problem.pv_kw),
            tuple(ids[: len(ids) // 2]),
            (draw(st.sampled_from([0.0, 4.0, 30.0])),) * n,
            (draw(st.sampled_from([0.0, 4.0])),) * n,
            1.1,
        )
        full = replace(full, feeders=(feeder,))
    return full


@st.composite
def _vehicles(draw: st.DrawFn, index: int, n: int) -> Battery:
    away = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    leaves = sorted(draw(st.sets(st.integers(1, n), max_size=2)))
    return Battery(
        AssetId(f"car-{index}"),
        30.0,
        draw(st.sampled_from([7.4, 22.0])),
        draw(st.sampled_from([0.0, 7.4])),
        0.9,
        0.95,
        draw(st.sampled_from([1.0, 9.0, 29.0])),
        3.0,
        28.0,
        0.0,
        0.0,
        draw(st.sampled_from([0.0, 0.2])),
        0.01,
        present=tuple(not gone for gone in away),
        trip_kwh=tuple(draw(st.sampled_from([0.0, 1.5])) if gone else 0.0 for gone in away),
        trip_price=2.0,
        departures=tuple(Departure(slot, draw(st.sampled_from([5.0, 28.0])), 0.9) for slot in leaves),
        forms_grid=draw(st.booleans()),
    )


@st.composite
def _thermals(draw: st.DrawFn, index: int, n: int) -> ThermalStore:
    return ThermalStore(
        AssetId(f"boiler-{index}"),
        3.0,
        draw(_series(st.sampled_from([1.0, 2.5]), n)),
        draw(st.sampled_from([0.0, 4.0, 12.0])),
        2.0,
        10.0,
        draw(st.sampled_from([0.0, 0.05])),
        draw(_series(st.sampled_from([0.0, 0.8]), n)),
        draw(st.sampled_from([0.1, 2.0])),
        1.5,
        draw(st.sampled_from([0.0, 0.1])),
    )


@st.composite
def _split_jobs(draw: st.DrawFn, index: int, n: int) -> SplitJob:
    slots = draw(st.integers(1, min(3, n)))
    until = draw(st.integers(slots, n))
    earliest = draw(st.integers(0, until - slots))
    return SplitJob(AssetId(f"split-{index}"), 1.7, slots, earliest, until, draw(st.sampled_from([0.1, 6.0])))
