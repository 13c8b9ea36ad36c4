"""The energy question of an emergency: hours of lifelines before money. A Problem in, a Problem out; pure.

Lifelines are hard in every problem. What changes is the worth of everything else, in three ranks far apart: service
beyond the lifelines as far as the ration grants it, then what is left in cells, tank and fuel, then money. A kWh that
is kept is worth more than any tariff asks for one, so stores fill before a storm and are not spent for comfort in it.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

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
    ShedTier,
    SplitJob,
    WaterSystem,
)
from optimizer.survival import FUEL_L_PER_KWH, FUEL_L_PER_RATED_KW_H, Ration

KWH_WORTH = 3.0
"""Money per kWh kept: above any price of energy, below what service beyond lifelines is worth (shedding)."""

KL_WORTH = 6.0
EARLY_PRICE = 0.01
"""Per kWh and slot that a battery is not full yet while a storm is coming: storms come early."""

RATIONED_PRICE = 0.5
"""Per kWh of what a ration does not grant: below `KWH_WORTH`, so the plan leaves it out."""

CHARGE_WORTH = 6.0


@dataclass(frozen=True, slots=True)
class Outage:
    """Slots in which no outside is to be counted on; `first` may be below 0 and `end` beyond the plan."""

    first: int
    end: int  # exclusive


def for_autonomy(problem: Problem, ration: Ration, outage: Outage | None) -> Problem:
    """Returns the problem with the objective of an emergency; `outage` is a declared storm."""
    coming = outage is not None and outage.first > 0
    packs = (_battery(b, full=coming) if b.stationary else _pack(b, ration, outage) for b in problem.batteries)
    batteries = tuple(pack for pack in packs if pack is not None)
    chargers = tuple(c for charger in problem.chargers if (c := _charger(charger, ration, outage)) is not None)
    gone = {one.id for one in (*problem.batteries, *problem.chargers)} - {one.id for one in (*batteries, *chargers)}
    return replace(
        problem,
        grid=problem.grid if outage is None else _without(problem.grid, outage),
        batteries=batteries,
        feeders=tuple(_feeder(feeder, gone) for feeder in problem.feeders),
        gensets=tuple(_genset(genset) for genset in problem.gensets),
        water=tuple(_water(water) for water in problem.water),
        chargers=chargers,
        jobs=tuple(kept for job in problem.jobs if (kept := _job(job, outage)) is not None),
        split_jobs=tuple(kept for job in problem.split_jobs if (kept := _split_job(job, outage)) is not None),
        shed_tiers=_tiers(problem, ration, outage),
    )


def _without(grid: Grid, outage: Outage) -> Grid:
    there = tuple(known and not outage.first <= slot < outage.end for slot, known in enumerate(grid.available))
    return replace(grid, available=there)


def _battery(battery: Battery, *, full: bool) -> Battery:
    worth = KWH_WORTH * battery.discharge_efficiency
    if not full:
        return replace(battery, terminal_value=max(battery.terminal_value, worth))
    return replace(
        battery,
        terminal_value=max(battery.terminal_value, worth),
        reserve_kwh=max(battery.soc_max_kwh, battery.reserve_kwh),
        reserve_price=EARLY_PRICE,
    )


def _pack(pack: Battery, ration: Ration, outage: Outage | None) -> Battery | None:
    """Vehicles are charged before a storm; where the ration says so, not at all while there is no outside."""
    if outage is None:
        return pack if ration.vehicles else None
    if outage.first <= 0:
        return None
    n = len(pack.present)
    first = min(outage.first, n)
    present = tuple(here and slot < first for slot, here in enumerate(pack.present))
    departures = {leaves.slot: leaves for leaves in pack.departures if leaves.slot <= first}
    if pack.departures and present[first - 1]:
        wanted = max(leaves.energy_kwh for leaves in pack.departures)
        departures[first] = Departure(first, wanted, CHARGE_WORTH)
    return replace(pack, present=present, departures=tuple(departures[slot] for slot in sorted(departures)))


def _feeder(feeder: Feeder, gone: Set[AssetId]) -> Feeder:
    return replace(feeder, assets=tuple(asset for asset in feeder.assets if asset not in gone))


def _genset(genset: Genset) -> Genset:
    """Diesel that is kept is hours too: a litre costs what a well loaded set makes of it."""
    litre = KWH_WORTH / (FUEL_L_PER_KWH + FUEL_L_PER_RATED_KW_H)
    return replace(
        genset,
        energy_price=litre * FUEL_L_PER_KWH,
        fixed_price_per_h=litre * FUEL_L_PER_RATED_KW_H * genset.power_kw_max,
    )


def _water(water: WaterSystem) -> WaterSystem:
    return replace(water, terminal_value=max(water.terminal_value, KL_WORTH))


def _charger(charger: Charger, ration: Ration, outage: Outage | None) -> Charger | None:
    """Vehicles are charged before a storm; where the ration says so, not at all while there is no outside."""
    if outage is None:
        return charger if ration.vehicles else None
    if outage.first <= charger.from_slot:
        return None
    until = min(charger.until_slot, outage.first)
    return replace(charger, until_slot=until, unserved_price=max(charger.unserved_price, CHARGE_WORTH))


def _job(job: Job, outage: Outage | None) -> Job | None:
    """A job ends before the storm or begins after it; one that cannot is left out."""
    if outage is None:
        return job
    length = len(job.power_kw)
    latest = min(job.latest_slot, outage.first - length)
    if latest >= job.earliest_slot:
        return replace(job, latest_slot=latest)
    earliest = max(job.earliest_slot, outage.end)
    return replace(job, earliest_slot=earliest) if earliest <= job.latest_slot else None


def _split_job(job: SplitJob, outage: Outage | None) -> SplitJob | None:
    """Likewise."""
    if outage is None:
        return job
    until = min(job.until_slot, outage.first)
    if until - job.earliest_slot >= job.slots:
        return replace(job, until_slot=until)
    earliest = max(job.earliest_slot, outage.end)
    return replace(job, earliest_slot=earliest) if job.until_slot - earliest >= job.slots else None


def _tiers(problem: Problem, ration: Ration, outage: Outage | None) -> tuple[ShedTier, ...]:
    """Returns what the ration does not grant as the cheapest tier; the site's own tiers share what it grants."""
    dark = range(0) if outage is None else range(max(0, outage.first), outage.end)
    beyond = tuple(
        (1.0 - ration.power_share) * max(0.0, load - critical) * (slot in dark)
        for slot, (load, critical) in enumerate(zip(problem.load_kw, problem.critical_kw, strict=True))
    )
    if not any(beyond):
        return problem.shed_tiers
    granted = tuple(
        replace(tier, kw=tuple(kw * (ration.power_share if slot in dark else 1.0) for slot, kw in enumerate(tier.kw)))
        for tier in problem.shed_tiers
    )
    return (ShedTier(f"ration-{ration.name}", beyond, RATIONED_PRICE), *granted)
