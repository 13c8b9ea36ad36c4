"""The question for the planner about digesters: what gas will be made, and what the holder has. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp

from controller.civil import every_day, next_minute
from controller.image import Snapshot
from controller.site import Site
from controller.site_waste import DigesterSpec
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant
from optimizer.problem import AssetId
from optimizer.waste import Digester, GasPlant, gas_made

SLOT_H = SLOT_MS / HOUR_MS


def gas_plants(site: Site, snapshot: Snapshot, start: Instant) -> Iterator[GasPlant]:
    """Yields each digester whose holder and engine report; the rules look after the others."""
    for spec in site.waste.digesters:
        engine = site.device(spec.engine)
        level, running = snapshot.value(spec.sensor, "level"), snapshot.value(spec.engine, "running")
        if engine is None or level is None or running is None:
            continue
        ratings = engine.ratings
        digester = Digester(
            AssetId(spec.id),
            spec.yield_m3_per_kg,
            spec.decay_per_day,
            undigested_kg=undigested_kg(spec, site.timezone, start),
            gas_now_m3=min(max(level, 0.0), 1.0) * spec.holder_m3,
            holder_min_m3=spec.holder_min_m3,
            holder_max_m3=spec.holder_m3,
            engine_kw_max=ratings["power_w_max"] / 1000,
            engine_kw_min=ratings["power_w_min"] / 1000,
            gas_m3_per_kwh=spec.m3_per_kwh,
            start_price=ratings["start_price"],
            running=running >= 1.0,
        )
        made = gas_made(digester, feed_kg(spec, site.timezone, start, site.plan_slots), SLOT_H)
        yield GasPlant(digester, made, spec.gas_value, AssetId(spec.engine))


def undigested_kg(spec: DigesterSpec, timezone: str, now: Instant) -> float:
    """Returns the fresh matter in a vessel that has been fed like this for long [kg]."""
    left = 0.0
    for minute, kg in spec.feed:
        last = next_minute(timezone, Instant(now - DAY_MS - 1), minute)  # today's if it is over, else yesterday's
        days = max(now - last, 0) / DAY_MS
        left += kg * exp(-spec.decay_per_day * days) / (1.0 - exp(-spec.decay_per_day))
    return left


def feed_kg(spec: DigesterSpec, timezone: str, start: Instant, slots: int) -> list[float]:
    """Returns what is fed in each slot of a plan [kg]."""
    found = [0.0] * slots
    for minute, kg in spec.feed:
        for at in every_day(timezone, start, Instant(start + slots * SLOT_MS), minute):
            found[(at - start) // SLOT_MS] += kg
    return found
