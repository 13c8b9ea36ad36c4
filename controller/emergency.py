"""Emergencies of one hub: what makes one, how long the lifelines last, which ration holds, how loads come back. Pure.

A storm that somebody has declared, an island, little diesel or a dry well make an emergency. Then plans are made for
hours of lifelines instead of money and are followed as they are, and the mildest ration holds that serves every
lifeline for as long as it must, with the site's confidence. Rations act on devices only where there is no outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.alarms import Condition, Priority
from controller.civil import clock_text
from controller.emergency_orders import Orders
from controller.emergency_outlook import HORIZON_H, futures, stores
from controller.history import History
from controller.image import Snapshot
from controller.shedding import Shedding, by_plan, by_ration, nearly_empty
from controller.shortage_watch import ShortageWatch
from controller.site import Site
from controller.storm import Storm
from devices.clock import HOUR_MS, MINUTE_MS, Instant, floor_to
from devices.model import DeviceId, DeviceKind
from optimizer.foresight import FUTURES as FORESIGHTS
from optimizer.foresight import SAFE_H, STOCKS, SUN
from optimizer.plan import Plan
from optimizer.restart import Load, Restart, restart_order
from optimizer.survival import RATIONS, Curve, curve, mildest

LOOK_MS = 15 * MINUTE_MS
CALM_LOOK_MS = HOUR_MS
"""Without an emergency: how long would the lifelines last if the outside were gone now?"""

OUTAGE_MIN_MS = 5 * MINUTE_MS
"""After an outage shorter than this nothing waits for its turn: nothing has had the time to pile up."""

DRY_AFTER_MS = 5 * MINUTE_MS
DRY_SHARE = 0.1
FUEL_LOW, FUEL_ENOUGH = 0.12, 0.16
TOP_UP_LEAST_MS = 2 * HOUR_MS
TOP_UP_MARGIN = 1.5
"""Before a storm the rules fill every store by themselves when so much of the time left is needed for it."""

ENFORCED = 1
"""The strictest ration that the hub enforces by itself; whether people save beyond it nobody knows in advance."""

INRUSH = {DeviceKind.PUMP: 5.0, DeviceKind.CHARGER: 1.0, DeviceKind.THERMAL: 1.0, DeviceKind.RELAY: 2.0}
"""Power while starting as a multiple of the rated power, where the site file says nothing: a motor switched straight
on draws five times its power (IEC 60034-12 design N), loads that have been off for long draw twice (cold pick-up)."""

WATER_RATIONS = (
    "everybody gets what they ask for",
    "no water for fields and workshops",
    "households get their lifeline of water and half of what they use beyond it",
    "lifeline water and critical buildings only",
)
"""`RATIONS` as they are told while water is scarce and the grid is there."""

RANKS = {DeviceKind.PUMP: 0, DeviceKind.RELAY: 1, DeviceKind.CHARGER: 2, DeviceKind.THERMAL: 2}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look needs of the hub."""

    site: Site
    snapshot: Snapshot
    history: History
    island: bool
    pump_on: frozenset[DeviceId]
    calm_too: bool = False  # survival is reckoned without an emergency, too
    plan: tuple[Plan, int] | None = None  # the plan that is followed, and its slot now


@dataclass(slots=True)
class Emergency:
    """The state of one hub's emergencies."""

    storm: Storm | None = None
    causes: tuple[str, ...] = ()
    ration: int = 0  # index into RATIONS; in calm the one that would hold if the outside were gone now
    curves: tuple[Curve, ...] = ()  # one per ration, from the storm's beginning, or from now
    curves_from: Instant = field(default=Instant(0))
    needed_h: float = 0.0  # that lifelines must be served from then on
    orders: Orders = field(default_factory=Orders)
    restart: Restart | None = None
    restart_at: Instant | None = None
    looked_at: Instant | None = None
    island_since: Instant | None = None
    dry_since: Instant | None = None
    well_dry: bool = False
    fuel_low: bool = False
    shortages: ShortageWatch = field(default_factory=ShortageWatch)
    shedding: Shedding = field(default_factory=Shedding)
    news: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # (kind, text) for the log

    @property
    def acting(self) -> bool:
        """Returns whether rations hold now: there is no outside, a storm blows, or water runs out."""
        return self.island_since is not None or self.orders.keep or self.dry

    @property
    def dry(self) -> bool:
        """Returns whether drinking water is what is scarce: rations are then reckoned with the grid that is there."""
        return self.well_dry or self.shortages.water_short

    @property
    def water_only(self) -> bool:
        """Returns whether rations are about water alone: it is scarce and the outside is there."""
        return self.dry and self.island_since is None

    def ration_words(self, index: int) -> str:
        """Returns who gets what in a ration."""
        return WATER_RATIONS[index] if self.water_only else RATIONS[index].text

    def look(self, seen: Seen) -> None:
        """Brings everything up to the snapshot; `news` tells what has changed."""
        now = seen.snapshot.now
        before = self.causes
        self._storm_over(seen.site, now)
        self._watch(seen)
        self.shortages.look(seen.site, seen.snapshot, seen.history)
        self.causes = tuple(self._causes(seen))
        changed = self.causes != before
        if changed:
            self.news.append(("emergency", "; ".join(self.causes) or "the emergency is over"))
        if bool(before) is not bool(self.causes):
            self.curves, self.ration = (), 0  # what would hold in calm is not what holds, and the other way round
        if not self._cut_off(seen):
            self.shortages.outside_is_there()
        every = LOOK_MS if self.causes else CALM_LOOK_MS
        if changed or self.looked_at is None or now - self.looked_at >= every:
            self._reckon(seen)
        self._end_restart(now)
        self._shed(seen)
        self.orders = self._orders(seen)

    # -- what makes an emergency -----------------------------------------------------------------------------------

    def _causes(self, seen: Seen) -> Iterator[str]:
        zone, now = seen.site.timezone, seen.snapshot.now
        if self.storm is not None:
            word = "storm" if now >= self.storm.start else "storm warning"
            yield f"{word}: {self.storm.text(zone)}"
        if seen.island:
            yield "the outside grid is gone"
        if self.fuel_low:
            yield "little diesel is left"
        if self.well_dry:
            yield "the well gives no water"
        if self.shortages.short:
            yield "a shortage is announced"

    def _storm_over(self, site: Site, now: Instant) -> None:
        storm = self.storm
        if storm is not None and now >= storm.end:
            self.storm = None
            self.news.append(("storm-over", f"over: {storm.text(site.timezone)}"))

    def _watch(self, seen: Seen) -> None:
        now, site, snapshot = seen.snapshot.now, seen.site, seen.snapshot
        if seen.island:
            self.island_since = now if self.island_since is None else self.island_since
        elif self.island_since is not None:
            if now - self.island_since >= OUTAGE_MIN_MS:
                self._begin_restart(seen)
            self.island_since = None
        diesels = [one.id for one in site.of_kind(DeviceKind.GENSET) if one.id not in site.waste.engines]
        fuels = [snapshot.value(diesel, "fuel") for diesel in diesels]
        known = [fuel for fuel in fuels if fuel is not None]
        if known:
            self.fuel_low = max(known) < (FUEL_ENOUGH if self.fuel_low else FUEL_LOW)
        self._watch_well(seen)

    def _watch_well(self, seen: Seen) -> None:
        """A well is dry when every pump that is told to run, and does, brings no water for some minutes.

        A plant that runs in batches says nothing: it fills and flushes without giving any.
        """
        now, snapshot = seen.snapshot.now, seen.snapshot
        flows: list[float] = []
        for pump in seen.site.of_kind(DeviceKind.PUMP):
            flow = snapshot.value(pump.id, "flow_lpm")
            spec = seen.site.water.pumps[pump.id]
            if spec.phases or spec.source in seen.site.water.tanks:
                continue  # a batch, or water that goes from tank to tank
            if pump.id in seen.pump_on and flow is not None and snapshot.pumping(pump.id):
                flows.append(flow / pump.ratings["flow_lpm"])
        if not flows:
            self.dry_since = None
        elif max(flows) >= DRY_SHARE:
            self.dry_since, self.well_dry = None, False
        else:
            self.dry_since = now if self.dry_since is None else self.dry_since
            self.well_dry = self.well_dry or now - self.dry_since >= DRY_AFTER_MS

    # -- how long it lasts -----------------------------------------------------------------------------------------

    def _reckon(self, seen: Seen) -> None:
        """Reckons the survival curves and the ration that holds, or would; the log hears only of one that does."""
        now, site = seen.snapshot.now, seen.site
        if not self.causes and not seen.calm_too:
            return
        held = stores(site, seen.snapshot, well_dry=self.well_dry, brought_kl_per_h=self.shortages.brought_kl_per_h)
        if held is None:  # a store does not report: what was reckoned last goes on while it is needed
            self.curves = self.curves if self.causes else ()
            return
        self.looked_at = now
        drawn = futures(site, seen.history, now, self.storm)
        start = floor_to(now, HOUR_MS)
        there = [not self._dark(seen, Instant(start + h * HOUR_MS)) for h in range(HORIZON_H)]
        skipped = next((h for h, grid in enumerate(there) if not grid), 0)
        found = [curve(held, drawn, ration, there) for ration in RATIONS]
        self.curves = tuple(_from(one, skipped) for one in found)
        self.curves_from = Instant(start + skipped * HOUR_MS)
        autonomy_ms = round(site.emergency.autonomy_hours * HOUR_MS)
        end = self.curves_from + autonomy_ms if self.storm is None else self.storm.end
        self.needed_h = max(1.0, min((end - self.curves_from) / HOUR_MS, HORIZON_H - skipped))
        ration = mildest(self.curves, self.needed_h, site.emergency.confidence)
        if self._cut_off(seen) and self.shortages.power_due(now):
            far = futures(site, seen.history, now, self.storm, hours=SAFE_H, count=FORESIGHTS)
            rule = STOCKS if site.of_kind(DeviceKind.GRID) else SUN  # an outage passes: ten days are not asked about
            self.shortages.look_at_power(now, held, far, RATIONS[min(ration, ENFORCED)], rule)
        changed, self.ration = ration != self.ration, ration
        if changed and self.causes:
            self.news.append(("ration", f"{RATIONS[ration].name}: {self.ration_words(ration)}"))

    def _shed(self, seen: Seen) -> None:
        """Decides which switches of tiers are off: by plan and ration in an emergency, all before a blackout."""
        site, cut_off = seen.site, self._cut_off(seen)
        switches = site.energy.switches
        if not switches:
            return
        wanted: dict[DeviceId, str] = {}
        if self.causes and seen.plan is not None:
            wanted |= by_plan(switches, *seen.plan)
        if self.causes and cut_off:
            wanted |= by_ration(switches, RATIONS[self.ration])
        empty = nearly_empty(site, seen.snapshot, already=self.shedding.empty)
        self.shedding.empty = cut_off and empty
        if self.shedding.empty:
            wanted |= {one.device: "the batteries are nearly empty" for one in switches}
        self.news += [("shed", text) for text in self.shedding.look(site, seen.snapshot, wanted, cut_off=cut_off)]

    def _cut_off(self, seen: Seen) -> bool:
        """Returns whether there is no outside now: an outage, or a site that never had one."""
        return seen.island or not seen.site.of_kind(DeviceKind.GRID)

    def _dark(self, seen: Seen, at: Instant) -> bool:
        """Returns whether the outside is not to be counted on: from now on an island, in a storm, and ever after it.

        Where nothing threatens it, an outage is supposed; not in a dry spell, whose question is water.
        """
        if self._cut_off(seen):
            return True
        return not self.dry if self.storm is None else at >= self.storm.start

    # -- what follows ----------------------------------------------------------------------------------------------

    def _orders(self, seen: Seen) -> Orders:
        now, storm, ration = seen.snapshot.now, self.storm, RATIONS[self.ration]
        waits, shed = self._waits(seen.site), self.shedding.reasons()
        if not self.causes:
            return Orders(waits=waits, shed=shed) if waits or shed else Orders()
        return Orders(
            active=True,
            top_up=storm is not None and storm.start - self._filling_ms(seen) <= now < storm.start,
            keep=storm is not None and storm.start <= now,
            vehicles=ration.vehicles,
            machines=ration.vehicles,
            ration=ration.name,
            waits=waits,
            shed=shed,
        )

    def _filling_ms(self, seen: Seen) -> int:
        """Returns how long before a storm the rules must begin to fill the emptiest store, plan or no plan."""
        hours: list[float] = []
        for battery in seen.site.of_kind(DeviceKind.BATTERY):
            soc = seen.snapshot.value(battery.id, "soc") or 0.0
            missing = max(0.0, battery.ratings["soc_max"] - soc) * battery.ratings["energy_wh"]
            feeder = min(battery.ratings["charge_w_max"], 0.5 * seen.site.import_limit_w)
            hours.append(missing / max(feeder, 1.0))
        for pump in seen.site.of_kind(DeviceKind.PUMP):
            tank = seen.site.device(seen.site.tank_of[pump.id])
            level = None if tank is None else seen.snapshot.value(tank.id, "level")
            if tank is not None and level is not None:
                missing = max(0.0, seen.site.water_high - level) * tank.ratings["volume_l"]
                hours.append(missing / (60 * pump.ratings["flow_lpm"]))
        return max(TOP_UP_LEAST_MS, round(TOP_UP_MARGIN * max(hours, default=0.0) * HOUR_MS))

    # -- coming back -----------------------------------------------------------------------------------------------

    def _begin_restart(self, seen: Seen) -> None:
        self.restart, self.restart_at = planned_restart(seen.site, seen.snapshot), seen.snapshot.now
        order = "; then ".join(", ".join(stage.loads) for stage in self.restart.stages)
        refused = "".join(f"; not started: {name}, {why}" for name, why in self.restart.refused)
        self.news.append(("restart", f"in this order: {order or 'nothing'}{refused}"))

    def _waits(self, site: Site) -> dict[DeviceId, Instant]:
        if self.restart is None or self.restart_at is None:
            return {}
        gap = site.emergency.restart_gap_ms
        return {
            DeviceId(name): Instant(self.restart_at + number * gap)
            for number, stage in enumerate(self.restart.stages)
            for name in stage.loads
        }

    def _end_restart(self, now: Instant) -> None:
        if self.restart is not None and self.restart_at is not None and now - self.restart_at > HOUR_MS:
            self.restart = self.restart_at = None


def _from(one: Curve, skipped: int) -> Curve:
    """Returns a curve that begins `skipped` hours later."""
    cut = slice(skipped, None)
    hours = tuple(h - skipped for h in one.hours[cut])
    mean = max(0.0, one.mean_hours - skipped)
    return Curve(one.ration, hours, one.all[cut], one.energy[cut], one.water[cut], mean, one.futures)


def planned_restart(site: Site, snapshot: Snapshot) -> Restart:
    """Returns the order in which this site's loads come back under its feeder's limit."""
    loads: list[Load] = []
    switched = {one.device for one in site.energy.switches}  # `shedding` brings them back
    behind_relays = {one.device: one.power_w for one in site.energy.appliances}
    for device in site.devices:
        rank = RANKS.get(device.kind)
        rated = device.ratings.get("power_w", device.ratings.get("power_w_max", behind_relays.get(device.id, 0.0)))
        if rank is None or device.read_only or device.id in switched:
            continue
        factor = site.emergency.inrush_factor.get(device.id, INRUSH[device.kind])
        loads.append(Load(device.id, rank, rated, factor * rated))
    drawn = sum(max(0.0, snapshot.value(one.id, "W") or 0.0) for one in site.of_kind(DeviceKind.METER))
    return restart_order(loads, site.import_limit_w, min(drawn, site.import_limit_w))


def conditions(state: Emergency, site: Site) -> Iterator[Condition]:
    """Yields what people have to know of an emergency."""
    yield from state.shortages.conditions()
    storm = state.storm
    if storm is not None:
        yield Condition(
            "storm",
            Priority.HIGH,
            "site",
            f"storm declared by {storm.by}: {storm.text(site.timezone)}",
            "stores are filled and vehicles called home before it; plans are made for lifelines, not for money",
            "read the checklist on the Storm page (atoll storm show): what is not ready in time is for people to do",
        )
    if state.curves and state.ration and state.acting:
        ration, chances = RATIONS[state.ration], state.curves[state.ration]
        yield Condition(
            "ration",
            Priority.HIGH,
            "site",
            f"rationing '{ration.name}': {state.ration_words(state.ration)}",
            f"every lifeline is served for {state.needed_h:.0f} h from {clock_text(site.timezone, state.curves_from)}"
            f" with {chances.at(state.needed_h):.0%}, {state.curves[0].at(state.needed_h):.0%} without",
            "tell the households; the Storm page says who gets what and why",
        )
    if state.well_dry:
        pumps = ", ".join(pump.id for pump in site.of_kind(DeviceKind.PUMP))
        yield Condition(
            "well-dry",
            Priority.HIGH,
            "site",
            f"no pump that turns brings water ({pumps})",
            "the tank is all the water there is",
            "look at the well and the pump; save water",
        )
