"""Seeded villages for the benchmarks: a weak grid or an island, two to four gensets, and n flexible devices.

Of n devices 8 % are batteries, 24 % cars (half charge-only with a deadline, half with presence and trips), 20 % boilers
and heat pumps, 28 % jobs in one run, 20 % jobs that may pause. Load and solar grow with n; on an island the gensets
together can carry 1.15 of the load's peak, beside a weak grid 0.75. Each has a minimum load and a fixed cost that make
half a genset attractive to a linear relaxation and useless in fact.
"""

from __future__ import annotations

from math import exp, pi, sin
from random import Random

from devices.clock import Instant
from optimizer.problem import (
    AssetId,
    Battery,
    Charger,
    Departure,
    Genset,
    Grid,
    Job,
    Problem,
    Series,
    SplitJob,
    ThermalStore,
)

SLOTS = 96
SLOT_MS = 900_000
H = 0.25
MODES = ("weak", "island")


def village(n: int, mode: str, seed: int) -> Problem:
    """Returns one day of a village with n flexible devices."""
    rng = Random(f"{n}-{mode}-{seed}")
    homes = n if n >= 100 else n + 10
    load = _load(rng, homes)
    solar = _solar(rng, 0.9 * homes * rng.uniform(0.6, 1.0))
    counts = {"battery": n * 8 // 100, "car": n * 24 // 100, "boiler": n * 20 // 100, "job": n * 28 // 100}
    counts["split"] = n - sum(counts.values())
    batteries = [_battery(rng, i) for i in range(counts["battery"])]
    batteries += [_car(rng, i) for i in range(counts["car"] // 2)]
    peak = max(load)
    weak = mode == "weak"
    limit = peak * rng.uniform(0.3, 0.4)
    dear = tuple(0.18 if t < 24 or t >= 88 else 0.27 if t < 68 else 0.45 for t in range(SLOTS))
    gap = rng.randrange(40, 70)  # the weak grid fails for three hours
    return Problem(
        start=Instant(1_780_005_600_000),
        slot_ms=SLOT_MS,
        load_kw=load,
        critical_kw=tuple(0.25 * kw for kw in load),
        pv_kw=solar,
        shed_price=6.0,
        grid=Grid(
            (limit,) * SLOTS,
            (limit,) * SLOTS,
            dear,
            (0.04,) * SLOTS,
            tuple(weak and not gap <= t < gap + 12 for t in range(SLOTS)),
            3.0,
        ),
        batteries=tuple(batteries),
        gensets=_gensets(rng, peak * (0.75 if weak else 1.15)),
        chargers=tuple(_charger(rng, i) for i in range(counts["car"] - counts["car"] // 2)),
        jobs=tuple(_job(rng, i) for i in range(counts["job"])),
        split_jobs=tuple(_split(rng, i) for i in range(counts["split"])),
        thermal=tuple(_boiler(rng, i) for i in range(counts["boiler"])),
    )


def _bump(t: int, hour: float, width: float) -> float:
    return exp(-(((t * H - hour) / width) ** 2))


def _load(rng: Random, homes: int) -> Series:
    evening, morning = rng.uniform(18.5, 20.0), rng.uniform(6.5, 8.0)
    shape = [0.28 + 0.55 * _bump(t, evening, 2.3) + 0.25 * _bump(t, morning, 1.4) for t in range(SLOTS)]
    return tuple(round(homes * kw * rng.uniform(0.93, 1.07), 4) for kw in shape)


def _solar(rng: Random, peak_kw: float) -> Series:
    clear = [max(0.0, sin(pi * (t * H - 5.5) / 14)) for t in range(SLOTS)]
    return tuple(round(peak_kw * kw * rng.uniform(0.7, 1.0), 4) for kw in clear)


def _gensets(rng: Random, total_kw: float) -> tuple[Genset, ...]:
    count = rng.randrange(2, 5)
    sizes = [rng.uniform(0.7, 1.4) for _ in range(count)]
    found: list[Genset] = []
    for i, size in enumerate(sizes):
        kw = round(total_kw * size / sum(sizes), 2)
        running = rng.random() < 0.5
        found.append(
            Genset(
                AssetId(f"genset-{i}"),
                kw,
                round(kw * rng.uniform(0.3, 0.45), 2),
                round(kw * rng.uniform(0.06, 0.10), 3),
                round(rng.uniform(0.27, 0.36), 3),
                round(kw * rng.uniform(0.06, 0.16), 3),
                rng.choice((4, 6, 8)),
                rng.choice((2, 4, 6)),
                running,
                rng.randrange(1, 12),
            )
        )
    return tuple(found)


def _battery(rng: Random, i: int) -> Battery:
    size = rng.choice((5.0, 10.0, 14.0))
    power = size * rng.uniform(0.3, 0.5)
    efficiency = rng.uniform(0.93, 0.97)
    soc = size * rng.uniform(0.2, 0.6)
    name = AssetId(f"battery-{i}")
    return Battery(
        name, size, power, power, efficiency, efficiency, soc, 0.1 * size, 0.98 * size, 0.0, 0.0, 0.18, 0.015
    )


def _car(rng: Random, i: int) -> Battery:
    size = rng.choice((30.0, 42.0, 60.0))
    leaves = rng.randrange(26, 36)
    back = rng.randrange(62, 76)
    driven = size * rng.uniform(0.08, 0.2)
    soc = size * rng.uniform(0.25, 0.5)
    present = tuple(not leaves <= t < back for t in range(SLOTS))
    return Battery(
        AssetId(f"car-{i}"),
        size,
        rng.choice((3.7, 7.4)),
        0.0,
        0.92,
        0.92,
        soc,
        0.1 * size,
        0.95 * size,
        0.0,
        0.0,
        0.15,
        0.0,
        present=present,
        trip_kwh=tuple(driven / (back - leaves) if leaves <= t < back else 0.0 for t in range(SLOTS)),
        trip_price=4.0,
        departures=(Departure(leaves, soc + size * rng.uniform(0.05, 0.2), 3.0),),
        forms_grid=False,
    )


def _charger(rng: Random, i: int) -> Charger:
    first = rng.randrange(0, 60)
    until = min(SLOTS, first + rng.randrange(16, 48))
    power = rng.choice((3.7, 7.4))
    return Charger(
        AssetId(f"charger-{i}"), power, power * (until - first) * H * rng.uniform(0.2, 0.5), first, until, 3.0
    )


def _job(rng: Random, i: int) -> Job:
    length = rng.randrange(2, 9)
    earliest = rng.randrange(0, 70)
    latest = min(SLOTS - length, earliest + rng.randrange(8, 40))
    kw = rng.uniform(0.8, 2.5)
    return Job(AssetId(f"job-{i}"), (round(kw, 3),) * length, (0.0,) * length, earliest, latest, 8.0)


def _split(rng: Random, i: int) -> SplitJob:
    slots = rng.randrange(4, 12)
    earliest = rng.randrange(0, 60)
    until = min(SLOTS, earliest + slots + rng.randrange(8, 36))
    return SplitJob(AssetId(f"split-{i}"), round(rng.uniform(0.6, 2.0), 3), slots, earliest, until, 10.0)


def _boiler(rng: Random, i: int) -> ThermalStore:
    pump = rng.random() < 0.5
    use = [0.05 + 0.25 * _bump(t, 7, 1.2) + 0.3 * _bump(t, 20, 1.5) for t in range(SLOTS)]
    scale = rng.uniform(0.6, 1.2)
    return ThermalStore(
        AssetId(f"boiler-{i}"),
        1.2 if pump else 2.0,
        tuple(2.6 + 0.6 * sin(pi * (t - 32) / 48) if pump else 1.0 for t in range(SLOTS)),
        rng.uniform(3.0, 8.0),
        2.0,
        rng.choice((10.0, 14.0)),
        rng.uniform(0.005, 0.02),
        tuple(scale * kwh for kwh in use),
        0.6,
        3.0,
        0.05,
    )
