"""What a day would have cost with the plan, the rules, and perfect foresight: kept while it passes, closed after it.

At each slot's start the stores' state and the plan's steps are marked. When the day's meters are complete, the same
model (`controller.shadow`) plays steps and rules on what was metered, and the planner is asked once more with what is
known now: that is hindsight. All begin with the charge and level of the day's first mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from operator import add

from controller.beliefs import DayResult
from controller.civil import day_start, local_time
from controller.history import History, genset_key
from controller.image import Snapshot
from controller.outside import export_prices, import_prices
from controller.plan_thermal import stored_kwh, thermal_store
from controller.shadow import Steps, play, play_rules
from controller.site import Site
from controller.vehicle_days import Seen, pack_of_day
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS, Instant, floor_to
from devices.model import DeviceId, DeviceKind, DeviceSpec
from optimizer.plan import Mode
from optimizer.problem import AssetId, Battery, Charger, Grid, Job, Problem, ThermalStore

CLOSE_AFTER_MS = 10 * MINUTE_MS
GIVE_UP_MS = 6 * HOUR_MS
"""A day whose meters are not complete by then is closed without a comparison."""

SLOTS_MIN = 24
MINOR_WH = 1e9
"""Wh x micro-units per kWh, divided by this, are major units."""


@dataclass(slots=True)
class Mark:
    """The start of one slot: what is in store [kWh, kL], and the steps of the plan in force."""

    soc_kwh: Mapping[str, float]
    level_kl: Mapping[str, float]
    pumping: Mapping[str, bool]
    island: bool
    storages: dict[AssetId, tuple[Mode, int]] = field(default_factory=dict[AssetId, tuple[Mode, int]])
    units: dict[AssetId, int] = field(default_factory=dict[AssetId, int])
    planned: bool = False
    celsius: Mapping[str, float] = field(default_factory=dict[str, float])
    vehicles: Mapping[str, Seen] = field(default_factory=dict[str, Seen])


@dataclass(frozen=True, slots=True)
class Closing:
    """A day whose result waits for hindsight."""

    result: DayResult
    problem: Problem | None  # what to ask, None where the day cannot be compared


@dataclass(slots=True)
class Daybook:
    """The marks of the days that are not closed yet. Owned by the hub's core."""

    site: Site
    advisory: bool = False
    marks: dict[Instant, Mark] = field(default_factory=dict[Instant, Mark])
    charges: dict[tuple[str, Instant], tuple[Instant, Charger]] = field(
        default_factory=dict[tuple[str, Instant], tuple[Instant, Charger]]
    )
    jobs: dict[AssetId, tuple[Instant, Instant, Job]] = field(
        default_factory=dict[AssetId, tuple[Instant, Instant, Job]]
    )
    template: Problem | None = None

    def asked(self, problem: Problem) -> None:
        """Notes vehicles and jobs when they are first planned for; the newest problem says what devices there are."""
        self.template = problem
        for charger in problem.chargers:
            until = Instant(problem.start + charger.until_slot * SLOT_MS)
            begins = Instant(problem.start + charger.from_slot * SLOT_MS)
            self.charges.setdefault((charger.id, until), (begins, charger))
        for job in problem.jobs:
            first = Instant(problem.start + job.earliest_slot * SLOT_MS)
            self.jobs.setdefault(job.id, (first, Instant(problem.start + job.latest_slot * SLOT_MS), job))

    def mark(self, snapshot: Snapshot, island: bool, steps: Steps | None) -> None:
        """Notes the start of a slot, and what the plan asks in it; of two plans in one slot the later counts."""
        slot = floor_to(snapshot.now, SLOT_MS)
        mark = self.marks.get(slot)
        if mark is None:
            mark = self._begun(snapshot, island)
            if mark is None:
                return
            self.marks[slot] = mark
        mark.island = mark.island or island
        if steps is not None:
            mark.planned = True
            mark.storages.update(steps.storages)
            for name, watts in steps.units.items():  # a job that has begun is in no later plan
                if watts or name not in self.jobs:
                    mark.units[name] = watts

    def _begun(self, snapshot: Snapshot, island: bool) -> Mark | None:
        """Returns the mark of a slot that begins, or None while a store does not report."""
        soc: dict[str, float] = {}
        for battery in self.site.of_kind(DeviceKind.BATTERY):
            value = snapshot.value(battery.id, "soc")
            if value is None:
                return None
            soc[battery.id] = value * battery.ratings["energy_wh"] / 1000
        level: dict[str, float] = {}
        for tank in self.site.of_kind(DeviceKind.TANK):
            value = snapshot.value(tank.id, "level")
            if value is None:
                return None
            level[tank.id] = value * tank.ratings["volume_l"] / 1000
        pumping: dict[str, bool] = {p.id: snapshot.pumping(p.id) for p in self.site.of_kind(DeviceKind.PUMP)}
        vehicles = {charger.id: _seen(snapshot, charger.id) for charger in self.site.of_kind(DeviceKind.CHARGER)}
        seen = ((store.id, snapshot.value(store.id, "celsius")) for store in self.site.of_kind(DeviceKind.THERMAL))
        celsius: dict[str, float] = {name: value for name, value in seen if value is not None}
        known: dict[str, Seen] = {name: one for name, one in vehicles.items() if one}
        return Mark(soc, level, pumping, island, celsius=celsius, vehicles=known)

    # -- closing ---------------------------------------------------------------------------------------------------

    def close(self, history: History, now: Instant) -> Closing | None:
        """Returns the oldest day that is over and whose meters are complete (or will never be), and forgets it."""
        today = day_start(self.site.timezone, now)
        slots = sorted(slot for slot in self.marks if slot < today)
        if not slots or now - today < CLOSE_AFTER_MS:
            return None
        end = day_start(self.site.timezone, Instant(day_start(self.site.timezone, slots[0]) + DAY_MS + 3 * HOUR_MS))
        start = slots[0]
        complete = all(
            history.value(name, Instant(at)) is not None
            for at in range(start, end, SLOT_MS)
            for name in ("load_wh", "pv_wh", "water_ml", "grid_in_wh")
        )
        if not complete and now - end < GIVE_UP_MS:
            return None
        closing = self._closed(history, start, end, complete=complete)
        for slot in [slot for slot in self.marks if slot < end]:
            del self.marks[slot]
        self.charges = {key: one for key, one in self.charges.items() if key[1] > end}
        self.jobs = {name: one for name, one in self.jobs.items() if one[1] >= end}
        return closing

    def _closed(self, history: History, start: Instant, end: Instant, *, complete: bool) -> Closing:
        slots = (end - start) // SLOT_MS
        marks = [self.marks.get(Instant(start + slot * SLOT_MS)) for slot in range(slots)]
        result = DayResult(
            day=local_time(self.site.timezone, start).date().isoformat(),
            start=start,
            end=end,
            plan=None,
            rules=None,
            hindsight=None,
            metered=None,
            planned_slots=sum(1 for mark in marks if mark is not None and mark.planned),
            slots=slots,
            advisory=self.advisory,
        )
        why = ""
        if not complete:
            why = "not compared: meters are missing"
        elif any(mark is not None and mark.island for mark in marks):
            why = "not compared: there was an outage"
        elif slots < SLOTS_MIN or self.template is None:
            why = "not compared: seen for less than a quarter of the day"
        elif not result.planned_slots:
            why = "not compared: there was no plan"
        if why or self.template is None or marks[0] is None:
            return Closing(replace(result, note=why or "not compared"), None)
        problem = self._problem(self.template, history, marks[0], start, slots)
        steps = [Steps(mark.storages, mark.units) if mark is not None and mark.planned else None for mark in marks]
        planned, rules = play(problem, steps), play_rules(problem)
        metered = self._metered(history, start, end)
        return Closing(replace(result, plan=planned.cost, rules=rules.cost, metered=metered), problem)

    def _problem(self, template: Problem, history: History, first: Mark, start: Instant, slots: int) -> Problem:
        """Returns the day as it was, for one who had known it; nothing of the load may be shed."""
        site = self.site

        def known(name: str, factor: float) -> tuple[float, ...]:
            return tuple(
                max(0.0, history.value(name, Instant(start + slot * SLOT_MS)) or 0.0) * factor for slot in range(slots)
            )

        load, water = known("load_wh", 0.004), known("water_ml", 1e-6)
        grid = template.grid
        prices = tuple(price / 1e6 for price in import_prices(site, start, slots))
        lifeline = [w.lifeline_kl[0] if w.lifeline_kl else 0.0 for w in template.water]
        return replace(
            template,
            start=start,
            load_kw=load,
            critical_kw=load,
            pv_kw=tuple(map(add, known("pv_wh", 0.004), self._from_gas_kw(history, start, slots))),
            grid=Grid(
                import_limit_kw=(site.import_limit_w / 1000,) * slots,
                export_limit_kw=(site.export_limit_w / 1000,) * slots,
                import_price=prices,
                export_price=tuple(price / 1e6 for price in export_prices(site, start, slots)),
                available=(True,) * slots,
                over_limit_price=grid.over_limit_price,
            ),
            batteries=(
                *(replace(b, soc_now_kwh=first.soc_kwh.get(b.id, b.soc_now_kwh)) for b in template.stores),
                *self._packs(template, start, slots),
            ),
            gensets=(),
            water=tuple(
                replace(
                    w,
                    level_now_kl=min(first.level_kl.get(w.tank_id, w.level_now_kl), w.volume_kl),
                    demand_kl=tuple(kl * site.water.tanks[w.tank_id].share for kl in water),
                    lifeline_kl=tuple(min(kl * site.water.tanks[w.tank_id].share, lifeline[at]) for kl in water),
                    running=first.pumping.get(w.pump_id, False),
                    tiers=(),
                )
                for at, w in enumerate(template.water)
            ),
            plants=tuple(
                replace(p, running=first.pumping.get(p.id, False) and not p.phases, keep_slots=0, phase_now=0)
                for p in template.plants
            ),
            chargers=tuple(self._chargers(start, slots)),
            thermal=tuple(self._thermal(template, first, start, slots)),
            jobs=tuple(self._day_jobs(start, slots)),
            scenarios=(),
            reserve=None,
            shed_tiers=(),
            split_jobs=(),
            feeders=(),
            network=None,
            gas=(),
        )

    def _thermal(self, template: Problem, first: Mark, start: Instant, slots: int) -> Iterable[ThermalStore]:
        """Yields the thermal stores as they began the day, with what is usually drawn from them."""
        for store in template.thermal:
            device = self.site.device(store.id)
            if device is not None:
                celsius = first.celsius.get(store.id, device.ratings["low_c"])
                made = thermal_store(self.site, device, celsius, start, slots, 0.0)
                yield replace(made, terminal_value=store.terminal_value)

    def _packs(self, template: Problem, start: Instant, slots: int) -> Sequence[Battery]:
        """Returns the vehicles' packs as they came and went."""
        marks = [self.marks.get(Instant(start + slot * SLOT_MS)) for slot in range(slots)]
        return [
            pack_of_day(
                self.site,
                device,
                [None if mark is None else mark.vehicles.get(device.id) for mark in marks],
                start,
                pack.terminal_value,
            )
            for pack in template.batteries
            if not pack.stationary and (device := self.site.device(pack.id)) is not None
        ]

    def _chargers(self, start: Instant, slots: int) -> Sequence[Charger]:
        found: dict[str, Charger] = {}
        for (name, until), (begins, charger) in sorted(self.charges.items(), key=lambda one: one[1][0]):
            first, last = (begins - start) // SLOT_MS, min((until - start) // SLOT_MS, slots)
            if last > max(first, 0) and name not in found:  # the planner knows one vehicle per charger
                found[name] = replace(charger, from_slot=max(first, 0), until_slot=last)
        return list(found.values())

    def _day_jobs(self, start: Instant, slots: int) -> Sequence[Job]:
        found: list[Job] = []
        for first, last, job in self.jobs.values():
            earliest, latest = max(0, (first - start) // SLOT_MS), (last - start) // SLOT_MS
            if earliest <= latest and latest + len(job.power_kw) <= slots and first >= start:
                found.append(replace(job, earliest_slot=earliest, latest_slot=latest))
        return found

    def _metered(self, history: History, start: Instant, end: Instant) -> float | None:
        """Returns what the meters say: paid outside, and wear, less what was in store at the end [money]."""
        site, template = self.site, self.template
        after = self.marks.get(end)
        if template is None or after is None:
            return None
        slots = (end - start) // SLOT_MS
        prices, paid = import_prices(site, start, slots), export_prices(site, start, slots)
        money = 0.0
        for slot in range(slots):
            at = Instant(start + slot * SLOT_MS)
            bought, sold = history.value("grid_in_wh", at), history.value("grid_out_wh", at)
            if bought is None or sold is None:
                return None
            money += (bought * prices[slot] - sold * paid[slot]) / MINOR_WH
            money += sum(_run_price(genset, made) for genset, made in self._generated(history, at))
        for pack in self._packs(template, start, slots):
            seen = after.vehicles.get(pack.id)
            kwh = seen.soc * pack.energy_kwh if seen is not None and seen.soc is not None else self._away(pack, start)
            money -= pack.terminal_value * kwh
        for store in template.thermal:
            device, celsius = self.site.device(store.id), after.celsius.get(store.id)
            if device is not None and celsius is not None:
                money -= store.terminal_value * stored_kwh(device, celsius)
        for battery in template.stores:
            money -= battery.terminal_value * after.soc_kwh.get(battery.id, 0.0)
            levels = [
                mark.soc_kwh.get(battery.id, 0.0) for at, mark in sorted(self.marks.items()) if start <= at <= end
            ]
            taken = sum(max(before - later, 0.0) for before, later in pairwise(levels))
            money += battery.wear_price * taken * battery.discharge_efficiency
        return money - sum(w.terminal_value * after.level_kl.get(w.tank_id, 0.0) for w in template.water)

    def _away(self, pack: Battery, start: Instant) -> float:
        """Returns what was in a pack when it was last seen, less the trip that it has not come home from [kWh]."""
        slots = range(len(pack.present))
        marks = (self.marks.get(Instant(start + slot * SLOT_MS)) for slot in slots)
        seen = [mark.vehicles.get(pack.id) for mark in marks if mark is not None]
        last = next((one.soc for one in reversed(seen) if one is not None and one.soc is not None), None)
        if last is None:
            return pack.soc_now_kwh
        left = max((slot for slot in slots if pack.trip_kwh[slot] > 0.0), default=0)
        return max(0.0, last * pack.energy_kwh - (0.0 if any(pack.present[left + 1 :]) else pack.trip_kwh[left]))

    def _generated(self, history: History, at: Instant) -> Iterable[tuple[DeviceSpec, float]]:
        """Yields the sets that ran in a slot and what they made [Wh]."""
        for genset in self.site.of_kind(DeviceKind.GENSET):
            made = history.value(genset_key(genset.id), at) or 0.0
            if made > 0:
                yield genset, made

    def _from_gas_kw(self, history: History, start: Instant, slots: int) -> Iterable[float]:
        """Yields what gas engines gave in each slot [kW]: in the day's comparison it is there for all alike."""
        for slot in range(slots):
            made = self._generated(history, Instant(start + slot * SLOT_MS))
            yield sum(wh for genset, wh in made if genset.id in self.site.waste.engines) / 1000 * HOUR_MS / SLOT_MS


def _run_price(genset: DeviceSpec, watt_hours: float) -> float:
    """Returns what a slot's run of a set cost by its own ratings [money]; gas that is made anyway has none."""
    ratings = genset.ratings
    return watt_hours / 1000 * ratings["energy_price"] + SLOT_MS / HOUR_MS * ratings["fixed_price_per_h"]


def _seen(snapshot: Snapshot, charger: DeviceId) -> Seen | None:
    """Returns what a charger shows, None while it does not report."""
    plugged = snapshot.value(charger, "connected")
    return None if plugged is None else Seen(plugged == 1.0, snapshot.value(charger, "soc"))
