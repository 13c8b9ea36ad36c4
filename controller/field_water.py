"""What each field's soil asks for today and tomorrow: the litres of its irrigation job. Pure.

The balance starts where somebody looked at the soil and goes on day by day with the usual weather of the month and with
what was given. A look older than 60 days says nothing any more: then the job waters every day, as it would without.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from controller.civil import local_time
from controller.missions import day_key
from controller.site import DailyJob, Site
from controller.site_farm import Climate, FieldSpec
from devices.clock import DAY_MS, Instant
from optimizer.irrigation import Ground, hargreaves_mm, schedule, step

LOOK_LIFE_MS = 60 * DAY_MS
LEAST_L = 1.0

Given = Callable[[str], bool]
"""Whether a run of a job (`irrigation.20260603`) was done."""


def wanted_l(site: Site, given: Given, now: Instant) -> dict[str, float]:
    """Returns litres by the run of today and tomorrow of every job that waters a field; 0: the soil holds enough."""
    found: dict[str, float] = {}
    jobs = {job.id: job for job in site.jobs}
    for spec in site.farm.fields:
        if site.farm.climate is not None and now - spec.looked_at <= LOOK_LIFE_MS:
            found.update(_field(site, site.farm.climate, spec, jobs[spec.job], given, now))
    return found


def _field(
    site: Site, climate: Climate, spec: FieldSpec, job: DailyJob, given: Given, now: Instant
) -> dict[str, float]:
    today = local_time(site.timezone, now).date()
    ground, day = Ground(spec.depletion_mm), local_time(site.timezone, spec.looked_at).date()
    while day < today:
        depth = _depth(site, climate, spec, job, ground, day) if given(day_key(job, day)) else 0.0
        ground = _day_after(site, climate, spec, ground, day, depth)
        day += timedelta(days=1)
    found: dict[str, float] = {}
    for ahead in (0, 1):
        day = today + timedelta(days=ahead)
        depth = _depth(site, climate, spec, job, ground, day)
        litres = depth * spec.field.area_m2
        found[day_key(job, day)] = round(litres, 1) if litres >= LEAST_L else 0.0
        ground = _day_after(site, climate, spec, ground, day, depth)
    return found


def _depth(site: Site, climate: Climate, spec: FieldSpec, job: DailyJob, ground: Ground, day: date) -> float:
    """Returns what that day's run gives [mm]: what the soil asks for, at most what one run brings."""
    ahead = [climate.day(day + timedelta(days=offset)) for offset in (0, 1)]
    asked = schedule(spec.field, ground, site.latitude, day.timetuple().tm_yday, ahead).given_mm[0]
    return min(asked, job.water_l / spec.field.area_m2)


def _day_after(site: Site, climate: Climate, spec: FieldSpec, ground: Ground, day: date, depth_mm: float) -> Ground:
    """Returns the ground at the end of a usual day of which so much is given."""
    weather = climate.day(day)
    reference_mm = hargreaves_mm(site.latitude, day.timetuple().tm_yday, weather.t_min_c, weather.t_max_c)
    return step(spec.field, ground, reference_mm, weather.rain_mm, depth_mm).ground
