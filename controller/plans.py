"""When to plan, what to ask, the last good plan, and what happens without one.

The hub's watts become the planner's kW here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller.civil import local_time, next_minute
from controller.history import History
from controller.image import Snapshot
from controller.missions import Board, run_key
from controller.site import Site
from devices.clock import HOUR_MS, MINUTE_MS, SLOT_MS, Instant, floor_to, iso, next_boundary
from devices.model import DeviceId, DeviceKind
from optimizer.answer import Answer, Cause, Failed, Planned, Refused
from optimizer.forecast import Calendar, forecast_series, forecast_solar, typical_load, typical_solar
from optimizer.plan import Plan, StorageStep, UnitStep
from optimizer.problem import AssetId, Battery, Charger, Genset, Grid, Job, Past, Problem, Series, WaterSystem

PLAN_LIFE_MS = 2 * HOUR_MS
"""A plan older than this is not followed any more; the rules take over until a new one comes."""
RETRY_MS = 5 * MINUTE_MS
OVER_LIMIT_PRICE = 50.0
SHED_PRICE = 5.0
WATER_UNSERVED_PRICE = 20.0
HISTORY_DAYS = 14
DAY_SLOTS = 96


@dataclass(frozen=True, slots=True)
class Forecast:
    """What was believed at `made_at` about the slots from `start` on; the plan in force keeps its own."""

    made_at: Instant
    start: Instant
    load_kw: Series
    critical_kw: Series
    pv_kw: Series
    water_kl: Series
    past: Past | None = None  # what the planner makes futures of; not kept


@dataclass(frozen=True, slots=True)
class Request:
    """One question that is under way."""

    id: int
    asked_at: Instant
    problem: Problem
    forecast: Forecast


@dataclass(slots=True)
class Planning:
    """The planning state of one hub."""

    next_at: Instant
    pending: Request | None = None
    plan: Plan | None = None
    made_at: Instant | None = None
    forecast: Forecast | None = None
    status: str = "no plan yet: rules only"
    failures: int = 0
    made: int = 0
    sequence: int = 0

    def due(self, now: Instant) -> bool:
        """Returns whether a new question should go out."""
        return self.pending is None and now >= self.next_at

    def give_up(self, now: Instant, wait_ms: int) -> None:
        """Takes a question that was never answered for failed: a lost answer must not end planning for good."""
        pending = self.pending
        if pending is not None and now - pending.asked_at > wait_ms:
            self.answered(pending.id, Failed(Cause.TIMEOUT, "no answer came back"), now)

    def current(self, now: Instant) -> tuple[Plan, int] | None:
        """Returns (plan, slot index) while the last good plan may be followed, else None."""
        if self.plan is None or self.made_at is None or now - self.made_at > PLAN_LIFE_MS:
            return None
        slot = self.plan.slot(now)
        return None if slot is None else (self.plan, slot)

    def steps(self, now: Instant) -> tuple[dict[DeviceId, StorageStep], dict[DeviceId, UnitStep]]:
        """Returns this slot's step per device; empty without a plan."""
        current = self.current(now)
        if current is None:
            return {}, {}
        plan, slot = current
        storages = {DeviceId(asset): steps[slot] for asset, steps in plan.storages.items()}
        units = {DeviceId(asset): steps[slot] for asset, steps in plan.units.items()}
        return storages, units

    def ask(self, problem: Problem, forecast: Forecast, now: Instant, replan_ms: int) -> Request:
        """Notes that a question is under way and books the next one."""
        self.sequence += 1
        self.pending = Request(self.sequence, now, problem, forecast)
        self.next_at = next_boundary(now, replan_ms)
        return self.pending

    def answered(self, request: int, answer: Answer, now: Instant) -> None:
        """Takes the planner's answer; `status` says whether the plan is used, or why it is not.

        A `Planned` has passed the independent checker; anything else leaves the last good plan in force.
        """
        pending = self.pending
        if pending is None or pending.id != request:
            return
        self.pending = None
        match answer:
            case Planned(plan=plan):
                self._adopt(plan, pending, now)
                return
            case Refused(infeasible=infeasible):
                cause = "nothing can serve the lifelines: " + "; ".join(infeasible.reasons[:3])
            case Failed(cause=kind, message=message):
                cause = f"the planner failed ({kind}): {message}"
        self.failures += 1
        self.next_at = Instant(min(self.next_at, now + RETRY_MS))
        kept = f"the plan of {iso(self.made_at)} goes on" if self.current(now) and self.made_at else "rules only"
        self.status = f"{kept}: {cause}"

    def _adopt(self, plan: Plan, request: Request, now: Instant) -> None:
        self.plan, self.made_at, self.forecast = plan, now, replace(request.forecast, past=None)
        self.made += 1
        self.failures = 0
        self.status = plan.status


def forecast(site: Site, history: History, now: Instant) -> Forecast:
    """Returns the forecasts for the next `plan_slots` slots, from past slots only.

    Without history a typical day stands in: 1 kW a meter, the plants' rating, 400 L a water meter and day.
    """
    start = floor_to(now, SLOT_MS)
    local = local_time(site.timezone, start)
    calendar = Calendar(DAY_SLOTS, (local.hour * 60 + local.minute) // 15, local.weekday())
    slots = site.plan_slots

    def known(field_name: str) -> list[float | None]:
        return history.series(field_name, start, HISTORY_DAYS)

    used, made = known("load_wh"), known("pv_wh")
    rated_wh = sum(plant.ratings["power_w_max"] for plant in site.of_kind(DeviceKind.PV)) / 4
    solar = forecast_solar(made, calendar, slots, typical_solar(rated_wh, DAY_SLOTS))
    usual = typical_load(250.0 * len(site.of_kind(DeviceKind.METER)), DAY_SLOTS)
    load = forecast_series(used, calendar, slots, usual)
    usual_critical = typical_load(250.0 * len(site.critical), DAY_SLOTS)
    critical = forecast_series(known("critical_wh"), calendar, slots, usual_critical)
    taps = sum(len(device.channels) for device in site.of_kind(DeviceKind.WATER_METERS))
    usual_water = typical_load(400_000.0 * taps / DAY_SLOTS, DAY_SLOTS)
    water = forecast_series(known("water_ml"), calendar, slots, usual_water)
    homes = sum(1 for member in site.members if member.lifeline)
    lifeline_wh = homes * site.charter.lifeline_wh / DAY_SLOTS
    return Forecast(
        now,
        start,
        tuple(wh * 4 / 1000 for wh in load),
        tuple(min(part + lifeline_wh, whole) * 4 / 1000 for part, whole in zip(critical, load, strict=True)),
        tuple(min(wh, rated_wh) * 4 / 1000 for wh in solar),
        tuple(ml / 1e6 for ml in water),
        _past(used, made),
    )


def _past(load: Sequence[float | None], pv: Sequence[float | None]) -> Past | None:
    """Returns the metered load and PV, or None before two days of them are known."""
    first = next((slot for slot, values in enumerate(zip(load, pv, strict=True)) if None not in values), len(load))
    if len(load) - first < 2 * DAY_SLOTS:
        return None
    return Past(DAY_SLOTS, _kilowatts(load[first:]), _kilowatts(pv[first:]))


def _kilowatts(series: Sequence[float | None]) -> tuple[float | None, ...]:
    """Returns kW of Wh per slot; a negative sum of meters is not believed."""
    return tuple(None if wh is None or wh < 0 else round(wh * 4 / 1000, 3) for wh in series)


def build_problem(site: Site, snapshot: Snapshot, missions: Board, outlook: Forecast, island: bool) -> Problem:
    """Returns the question for the planner as things stand now.

    A device whose state is not known is left out: the rules look after it.
    """
    prices = tuple(price / 1e6 for price in import_prices(site, outlook.start, site.plan_slots))
    slots = site.plan_slots
    # Nothing says when the outside comes back: plan the next two hours as an island.
    available = tuple(not island or slot >= 8 for slot in range(slots))
    import_kw, export_kw = site.import_limit_w / 1000, site.export_limit_w / 1000
    water = _water(site, snapshot, outlook)
    return Problem(
        start=outlook.start,
        slot_ms=SLOT_MS,
        load_kw=outlook.load_kw,
        critical_kw=outlook.critical_kw,
        pv_kw=outlook.pv_kw,
        shed_price=SHED_PRICE,
        grid=Grid(
            import_limit_kw=(import_kw,) * slots,
            export_limit_kw=(export_kw,) * slots,
            import_price=prices,
            export_price=(site.charter.export_price / 1e6,) * slots,
            available=available,
            over_limit_price=OVER_LIMIT_PRICE,
        ),
        batteries=_batteries(site, snapshot, prices),
        gensets=_gensets(site, snapshot),
        water=water,
        chargers=_chargers(site, snapshot, outlook.start),
        # A tank that does not report cannot be promised from: what takes water waits for the next plan.
        jobs=tuple(job for job in _jobs(site, missions, outlook.start, snapshot.now) if water or not any(job.water_kl)),
        past=outlook.past,
    )


def import_prices(site: Site, start: Instant, slots: int) -> tuple[int, ...]:
    """Returns the outside price of each slot [micro-units per kWh] by the charter's civil-time bands."""
    return tuple(band_price(site, Instant(start + slot * SLOT_MS)) for slot in range(slots))


def band_price(site: Site, at: Instant) -> int:
    """Returns the outside price at an instant [micro-units per kWh]; a checked charter covers every minute."""
    local = local_time(site.timezone, at)
    minute = local.hour * 60 + local.minute
    return next(
        band.import_price
        for band in site.charter.bands
        if local.weekday() in band.days and band.start_minute <= minute < band.end_minute
    )


def _batteries(site: Site, snapshot: Snapshot, prices: Sequence[float]) -> tuple[Battery, ...]:
    found: list[Battery] = []
    # Energy left at the end is worth what it can replace: the mean outside price, less the way out.
    worth = sum(prices) / len(prices)
    for device in site.of_kind(DeviceKind.BATTERY):
        soc = snapshot.value(device.id, "soc")
        if soc is None:
            continue
        ratings = device.ratings
        energy = ratings["energy_wh"] / 1000
        low, high = ratings["soc_min"] * energy, ratings["soc_max"] * energy
        found.append(
            Battery(
                id=AssetId(device.id),
                energy_kwh=energy,
                charge_kw_max=ratings["charge_w_max"] / 1000,
                discharge_kw_max=ratings["discharge_w_max"] / 1000,
                charge_efficiency=ratings["charge_efficiency"],
                discharge_efficiency=ratings["discharge_efficiency"],
                soc_now_kwh=soc * energy,
                soc_min_kwh=low,
                soc_max_kwh=high,
                reserve_kwh=max(low, site.island_reserve * energy),
                reserve_price=0.5,
                terminal_value=worth * ratings["discharge_efficiency"] * 0.9,
                wear_price=0.01,
            )
        )
    return tuple(found)


def _gensets(site: Site, snapshot: Snapshot) -> tuple[Genset, ...]:
    found: list[Genset] = []
    for device in site.of_kind(DeviceKind.GENSET):
        running = snapshot.value(device.id, "running")
        if running is None or (snapshot.value(device.id, "fuel") or 0.0) <= 0.02:
            continue
        ratings = device.ratings
        found.append(
            Genset(
                id=AssetId(device.id),
                power_kw_max=ratings["power_w_max"] / 1000,
                power_kw_min=ratings["power_w_min"] / 1000,
                fixed_price_per_h=ratings["fixed_price_per_h"],
                energy_price=ratings["energy_price"],
                start_price=ratings["start_price"],
                min_up_slots=round(ratings["min_up_ms"] / SLOT_MS),
                min_down_slots=round(ratings["min_down_ms"] / SLOT_MS),
                running=running >= 1.0,
                slots_in_state=96,
            )
        )
    return tuple(found)


def _water(site: Site, snapshot: Snapshot, outlook: Forecast) -> tuple[WaterSystem, ...]:
    found: list[WaterSystem] = []
    homes = sum(1 for member in site.members if member.lifeline)
    for device in site.of_kind(DeviceKind.PUMP):
        tank = site.device(site.tank_of[device.id])
        level = None if tank is None else snapshot.value(tank.id, "level")
        if tank is None or level is None or found:
            continue
        volume = tank.ratings["volume_l"] / 1000
        lifeline = homes * site.charter.lifeline_ml / 1e6 / 96
        flow = device.ratings["flow_lpm"] * 60 / 1000
        found.append(
            WaterSystem(
                pump_id=AssetId(device.id),
                tank_id=AssetId(tank.id),
                pump_kw=device.ratings["power_w"] / 1000,
                pump_flow_kl_per_h=flow,
                volume_kl=volume,
                level_now_kl=min(level, 1.0) * volume,
                reserve_kl=site.water_reserve * volume,
                high_kl=site.water_high * volume,
                demand_kl=outlook.water_kl,
                lifeline_kl=tuple(min(demand, lifeline) for demand in outlook.water_kl),
                unserved_price=WATER_UNSERVED_PRICE,
                reserve_price=1.0,
                terminal_value=0.25 * device.ratings["power_w"] / 1000 / flow,
                running=snapshot.value(device.id, "on") == 1.0,
                start_price=0.02,
            )
        )
    return tuple(found)


def _chargers(site: Site, snapshot: Snapshot, start: Instant) -> tuple[Charger, ...]:
    found: list[Charger] = []
    for device in site.of_kind(DeviceKind.CHARGER):
        soc = snapshot.value(device.id, "soc")
        if soc is None or snapshot.value(device.id, "connected") != 1.0:
            continue
        until = (next_minute(site.timezone, snapshot.now, site.ready_by[device.id]) - start) // SLOT_MS
        need = max(0.0, (0.98 - soc) * device.ratings["energy_wh"] / 1000 / 0.93)
        until = min(max(1, until), site.plan_slots)
        if need > 0.05:
            found.append(
                Charger(AssetId(device.id), device.ratings["power_w_max"] / 1000, need, 0, until, unserved_price=3.0)
            )
    return tuple(found)


def _jobs(site: Site, missions: Board, start: Instant, now: Instant) -> tuple[Job, ...]:
    found: list[Job] = []
    for job in site.jobs:
        for opens, closes in missions.open_windows(job, now):
            slots = -(-job.duration_ms // SLOT_MS)
            earliest = max(0, -(-(max(opens, now) - start) // SLOT_MS))
            latest = (closes - job.duration_ms - start) // SLOT_MS
            if latest < earliest or latest + slots > site.plan_slots:
                continue
            found.append(
                Job(
                    id=AssetId(run_key(site, job, opens)),
                    power_kw=(job.power_w / 1000,) * slots,
                    water_kl=(job.water_l / 1000 / slots,) * slots,
                    earliest_slot=earliest,
                    latest_slot=latest,
                    skip_price=job.skip_price,
                )
            )
    return tuple(found)
