"""The question for the planner: the hub's watts and litres become the planner's kW and kL here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.image import Snapshot
from controller.missions import Board, run_key
from controller.outside import import_prices
from controller.plan_care import with_cold_boxes
from controller.plan_energy import batteries, feeders, gensets, grid, reserve, shed_tiers
from controller.plan_forecast import Forecast
from controller.plan_network import network
from controller.plan_thermal import thermal_stores
from controller.plan_vehicles import chargers, packs
from controller.plan_waste import gas_plants
from controller.plan_water import WaterAsk, water_ask
from controller.site import Site
from devices.clock import HOUR_MS, SLOT_MS, Instant
from devices.model import DeviceId
from optimizer.problem import AssetId, Job, Problem
from optimizer.zone_ask import ZoneAsk

SHED_PRICE = 5.0
FUTURES = 16
"""Handed to the planner: from eight up their number changes no plan's cost (decision 4)."""


def build_problem(
    site: Site,
    snapshot: Snapshot,
    missions: Board,
    outlook: Forecast,
    island: bool,
    in_state: Mapping[DeviceId, int] | None = None,
    *,
    peak_w: float = 0.0,
) -> Problem:
    """Returns the question for the planner as things stand now.

    A device whose state is not known is left out: the rules look after it. `in_state` says for how many slots a genset
    or pump has run or rested; long, where it is not known. `peak_w` is the month's highest import so far [W].
    """
    outlook = with_cold_boxes(site, outlook)
    prices = tuple(price / 1e6 for price in import_prices(site, outlook.start, site.plan_slots))
    connection = grid(site, outlook.start, prices, peak_w, island=island)
    water = water_ask(site, snapshot, outlook, in_state or {})
    jobs, zones = _watered(_jobs(site, missions, outlook.start, snapshot.now), water)
    problem = Problem(
        start=outlook.start,
        slot_ms=SLOT_MS,
        load_kw=outlook.load_kw,
        critical_kw=outlook.critical_kw,
        pv_kw=outlook.pv_kw,
        shed_price=SHED_PRICE,
        grid=connection,
        batteries=(*batteries(site, snapshot, prices), *packs(site, snapshot, outlook.start, prices)),
        gensets=gensets(site, snapshot, in_state or {}),
        water=water.systems,
        plants=water.plants,
        wells=water.wells,
        zones=zones,
        chargers=chargers(site, snapshot, outlook.start),
        jobs=jobs,
        scenarios=outlook.futures[:FUTURES],
        thermal=thermal_stores(site, snapshot, outlook.start, prices),
        shed_tiers=shed_tiers(site, outlook),
        reserve=reserve(site, outlook, connection.available),
        gas=tuple(gas_plants(site, snapshot, outlook.start)),
    )
    assets = problem.steered
    return replace(problem, feeders=feeders(site, outlook, assets), network=network(site, outlook, assets))


def _watered(jobs: tuple[Job, ...], water: WaterAsk) -> tuple[tuple[Job, ...], tuple[ZoneAsk, ...]]:
    """Returns the jobs that may be promised, and the zones with what jobs take out of them.

    A tank that does not report cannot be promised from: what takes water then waits for the next plan. A zone's table
    knows no single job: its water is demand spread over the job's window.
    """
    if water.systems:
        return jobs, water.zones
    if not water.zones:
        return tuple(job for job in jobs if not any(job.water_kl)), ()
    demand = list(water.zones[0].demand_kl_per_h)
    for job in jobs:
        window = range(job.earliest_slot, job.latest_slot + len(job.power_kw))
        for slot in window:
            demand[slot] += sum(job.water_kl) / len(window) * HOUR_MS / SLOT_MS
    dry = tuple(replace(job, water_kl=(0.0,) * len(job.water_kl)) for job in jobs)
    return dry, (replace(water.zones[0], demand_kl_per_h=tuple(demand)), *water.zones[1:])


def _jobs(site: Site, missions: Board, start: Instant, now: Instant) -> tuple[Job, ...]:
    found: list[Job] = []
    for job in site.jobs:
        for opens, closes in missions.open_windows(job, now):
            slots = -(-job.duration_ms // SLOT_MS)
            earliest = max(0, -(-(max(opens, now) - start) // SLOT_MS))
            latest = (closes - job.duration_ms - start) // SLOT_MS
            if latest < earliest or latest + slots > site.plan_slots:
                continue
            key = run_key(site, job, opens)
            found.append(
                Job(
                    id=AssetId(key),
                    power_kw=(job.power_w / 1000,) * slots,
                    water_kl=(missions.litres.get(key, job.water_l) / 1000 / slots,) * slots,
                    earliest_slot=earliest,
                    latest_slot=latest,
                    skip_price=job.skip_price,
                    device=job.device,
                    what=f"{job.kind} by {job.device}",
                )
            )
    return tuple(found)
