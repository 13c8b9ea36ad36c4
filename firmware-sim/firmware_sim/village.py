"""The physics of one village: every step the powers on the bus sum to zero, in whole W.

Homes and their PV are constant within a segment (a slot, or less where a limit or shedding changes), so their
registers are settled only when something changes; battery, genset, pump, charger and grid move every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS, Instant, floor_to
from devices.model import DeviceId
from firmware_sim.chance import draw, next_local
from firmware_sim.days import DayBook
from firmware_sim.fridge import Fridge
from firmware_sim.gas import Digester
from firmware_sim.machines import NEVER, PPM, Battery, Charger, Genset
from firmware_sim.plumbing import Plumbing, Pump
from firmware_sim.profiles import Profiles
from firmware_sim.switched import Switched
from firmware_sim.thermal import HeatStore
from firmware_sim.water import Water

STEP_MS_MAX = MINUTE_MS


class Thing(Protocol):
    """What stands for one device of the site."""

    @property
    def id(self) -> DeviceId:
        """Returns the device's id."""
        ...


T = TypeVar("T", bound=Thing)


def by_id(things: Iterable[T], device: object) -> T:
    """Returns the one thing of a device.

    Raises:
        LookupError: the village has none.
    """
    for thing in things:
        if thing.id == device:
            return thing
    raise LookupError(f"device {device}: the village has nothing to play it with")


@dataclass(slots=True)
class Meter:
    """One home's or building's connection; `net_w` is what its meter sees."""

    id: DeviceId
    column: int
    critical: bool
    imported: int  # W ms, as its register shows
    exported: int
    load_w: int = 0
    base_w: int = 0  # of its profile: what no relay switches
    pv_w: int = 0
    net_w: int = 0
    connected: bool = True
    stuck: bool = False  # the meter stopped counting; the energy flows
    demanded: int = 0
    served: int = 0


@dataclass(slots=True)
class Plant:
    """One PV plant; `meter` is the index of the home it sits behind, None on the bus itself."""

    id: DeviceId
    column: int
    per_kw: bool
    meter: int | None
    rated_w: int
    exported: int
    limit_ppm: int = PPM
    lease_until: int = NEVER
    reversion_s: int = 0
    enabled: bool = False
    dead: bool = False
    offered_w: int = 0
    power_w: int = 0


@dataclass(slots=True)
class Sums:
    """Energies since the start [W ms] and the grid's registers."""

    pv: int = 0
    imported: int = 0
    exported: int = 0
    genset: int = 0
    load: int = 0
    battery_in: int = 0
    battery_out: int = 0
    unserved: int = 0

    def add(self, duration: int, grid_w: int, extra_w: int, battery_w: int, genset_w: int) -> None:
        """Counts one step of what moves; homes and PV are counted by segment."""
        self.imported += max(-grid_w, 0) * duration
        self.exported += max(grid_w, 0) * duration
        self.load += extra_w * duration
        self.battery_in += max(battery_w, 0) * duration
        self.battery_out += max(-battery_w, 0) * duration
        self.genset += genset_w * duration


@dataclass(slots=True)
class Dock:
    """What one vehicle's dock asks for and gets [W]."""

    wanted_w: int = 0
    power_w: int = 0


@dataclass(slots=True)
class Village:
    """Everything on the bus and in the pipes, as of `at`."""

    at: int
    seed: int
    profiles: Profiles
    water_profiles: Profiles
    meters: list[Meter]
    plants: list[Plant]
    battery: Battery | None
    gensets: list[Genset]
    charger: Charger | None
    plumbing: Plumbing
    docks: list[Dock]
    fridges: list[Fridge]
    stores: list[HeatStore]
    digesters: list[Digester]
    switched: list[Switched]
    grid_offsets: tuple[int, int]  # W ms that the grid meter shows at the start
    trip_minutes: tuple[str, str] = ("07:30", "16:30")
    zone: str = "UTC"
    grid_present: bool = True
    grid_w: int = 0  # by the sign rule: negative = import
    segment: int = 0
    heat_w: int = 0  # what the thermal stores take
    homes_w: int = 0  # sum of all meters' net and of PV on the bus
    pv_w: int = 0
    load_w: int = 0
    unserved_w: int = 0
    reduced: bool = False  # some home is off or PV curtailed by the island
    next_slot: int = 0
    next_event: int = 0
    sums: Sums = field(default_factory=Sums)
    days: DayBook = field(default_factory=DayBook)

    @property
    def genset(self) -> Genset | None:
        """Returns the first genset."""
        return next(iter(self.gensets), None)

    @property
    def water(self) -> Water:
        """Returns the taps of the first tank."""
        return self.plumbing.main

    @property
    def waters(self) -> list[Water]:
        """Returns all taps, by tank."""
        return list(self.plumbing.waters.values())

    @property
    def pump(self) -> Pump | None:
        """Returns the first pump."""
        return next(iter(self.plumbing.pumps), None)

    # -- time ------------------------------------------------------------------------------------------------

    def advance(self, now: int) -> None:
        """Integrates up to `now` in steps of at most a minute, cut where something happens."""
        while self.at < now:
            if self.at >= self.next_slot:
                self._new_slot()
            if self.at >= self.next_event:
                self._events()
            self._step(min(now, self.at + STEP_MS_MAX, self.next_slot, self.next_event))

    def touch(self) -> None:
        """Makes the next step look at leases again; called after every command."""
        self.next_event = self.at

    def _new_slot(self) -> None:
        at = Instant(self.at)
        self.settle()
        if floor_to(at, DAY_MS) != self.days.start:
            for water in self.waters:
                water.settle(self.at)
            self.days.close(self.meters, self.waters, floor_to(at, DAY_MS))
        row = self.profiles.values(at)
        for meter in self.meters:
            meter.base_w = round(float(row[meter.column]))
        self._switch()
        for plant in self.plants:
            value = float(row[plant.column])
            watts = value * plant.rated_w / 1000 if plant.per_kw else value
            plant.offered_w = 0 if plant.dead else min(round(watts), plant.rated_w)
        taps = row if self.water_profiles is self.profiles else self.water_profiles.values(at)
        for water in self.waters:
            if water.columns:
                water.new_slot([round(float(taps[column])) for column in water.columns], self.at)
        self.next_slot = floor_to(at, SLOT_MS) + SLOT_MS
        self.refresh()

    def _events(self) -> None:
        now = self.at
        pending = [NEVER]
        if self.battery is not None:
            self.battery.expire(now)
            pending.append(self.battery.lease_until)
        for genset in self.gensets:
            genset.expire(now)
            pending.append(genset.ready_at)
        for digester in self.digesters:
            digester.expire(now)
            pending.append(digester.next_feed)
        for pump in self.plumbing.pumps:
            pump.expire(now)
            pending.append(pump.lease_until)
        if self.charger is not None:
            self.charger.expire(now)
            self._move_vehicle(self.charger)
            pending += [self.charger.lease_until, self.charger.next_move]
        for store in self.stores:
            store.expire(now)
            pending += [store.lease_until, store.next_draw]
        for plant in self.plants:
            if now >= plant.lease_until:
                plant.enabled, plant.lease_until = False, NEVER
            pending.append(plant.lease_until)
        for load in self.switched:
            load.expire(now)
            pending.append(load.lease_until)
        self._switch()
        self.next_event = min(pending)
        self.refresh()

    def _switch(self) -> None:
        """Adds what is on behind relays to what each home takes; the time until now is settled first."""
        self.settle()
        for meter in self.meters:
            meter.load_w = meter.base_w
        for load in self.switched:
            self.meters[load.meter].load_w += load.power_w

    def _move_vehicle(self, charger: Charger) -> None:
        if self.at < charger.next_move:
            return
        if charger.next_move != 0:
            if charger.connected:
                charger.leave()
            else:
                charger.arrive(800_000 + draw(self.seed, f"trip{charger.trips}", 400_001))
        charger.next_move = next_local(self.at, self.trip_minutes[0 if charger.connected else 1], self.zone)

    # -- segments ----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Brings all home and PV sums up to `at` at the present powers."""
        duration = self.at - self.segment
        if not duration:
            return
        for meter in self.meters:
            meter.demanded += meter.load_w * duration
            if meter.connected:
                meter.served += meter.load_w * duration
            if meter.stuck:
                continue
            if meter.net_w >= 0:
                meter.imported += meter.net_w * duration
            else:
                meter.exported -= meter.net_w * duration
        for plant in self.plants:
            plant.exported += plant.power_w * duration
        self.sums.pv += self.pv_w * duration
        self.sums.load += self.load_w * duration
        self.sums.unserved += self.unserved_w * duration
        self.segment = self.at

    def refresh(self) -> None:
        """Starts a new segment with every home connected and PV at its limit."""
        self.settle()
        for meter in self.meters:
            meter.connected = True
        self._limit_plants(1, 1)
        self.reduced = False

    def _limit_plants(self, part: int, whole: int) -> None:
        """Sets every plant to part/whole of what it offers within its limit, then sums up."""
        for meter in self.meters:
            meter.pv_w = 0
        loose = pv = 0
        for plant in self.plants:
            limit = plant.rated_w * plant.limit_ppm // PPM if plant.enabled else plant.rated_w
            cut_off = plant.meter is not None and not self.meters[plant.meter].connected
            plant.power_w = 0 if cut_off else min(plant.offered_w, limit) * part // whole
            pv += plant.power_w
            if plant.meter is None:
                loose += plant.power_w
            else:
                self.meters[plant.meter].pv_w += plant.power_w
        self.pv_w = pv
        self._sum_homes(loose)

    def _sum_homes(self, loose_pv_w: int) -> None:
        homes = load = wanted = 0
        for meter in self.meters:
            wanted += meter.load_w
            if meter.connected:
                load += meter.load_w
                meter.net_w = meter.load_w - meter.pv_w
            else:
                meter.net_w = 0
            homes += meter.net_w
        self.homes_w = homes - loose_pv_w
        self.load_w, self.unserved_w = load, wanted - load
        assert self.homes_w == load - self.pv_w, "homes and PV do not add up"

    # -- one step ----------------------------------------------------------------------------------------------

    def _step(self, end: int) -> None:
        duration = end - self.at
        battery, charger = self.battery, self.charger
        pump_w = self.plumbing.demand_w()
        vehicle_w = charger.demand_w(duration) if charger is not None else 0
        dock_w = 0
        for dock in self.docks:
            dock.power_w = dock.wanted_w
            dock_w += dock.wanted_w
        for genset in self.gensets:
            genset.power_w = genset.offered_w
        self._heat(duration)
        if self.grid_present:
            if self.reduced:
                self.refresh()
            battery_w = battery.within(battery.set_w or 0, duration) if battery is not None else 0
            self.grid_w = -(self.homes_w + pump_w + vehicle_w + dock_w + self.heat_w - self.genset_w + battery_w)
        else:
            pump_w, vehicle_w, dock_w, battery_w = self._island(duration, pump_w, vehicle_w, dock_w)
        genset_w, extra = self.genset_w, pump_w + vehicle_w + dock_w + self.heat_w
        assert self.homes_w + extra - genset_w + battery_w + self.grid_w == 0, "bus not balanced"
        self.sums.add(duration, self.grid_w, extra, battery_w, genset_w)
        if battery is not None:
            battery.run(battery_w, duration)
        for genset in self.gensets:
            genset.run(duration)
        for digester in self.digesters:
            digester.run(duration)
        if charger is not None:
            charger.run(vehicle_w, dock_w, duration)
        self.plumbing.run(pump_w > 0, self.at, duration)
        self._run_thermal(duration)
        self.at = end

    @property
    def genset_w(self) -> int:
        """Returns what all gensets make."""
        return sum(genset.power_w for genset in self.gensets)

    def _heat(self, duration: int, *, off: bool = False) -> None:
        """Gives every thermal store what it takes for that long, or nothing."""
        for store in self.stores:
            store.power_w = 0 if off else store.demand_w(duration)
        self.heat_w = sum(store.power_w for store in self.stores)

    def _run_thermal(self, duration: int) -> None:
        for store in self.stores:
            store.run(store.power_w, duration)
        for fridge in self.fridges:
            fridge.run(duration, supplied=fridge.meter is None or self.meters[fridge.meter].connected)

    # -- island ------------------------------------------------------------------------------------------------

    def _island(self, duration: int, pump_w: int, vehicle_w: int, dock_w: int) -> tuple[int, int, int, int]:
        """Balances without the grid: battery, then gensets, then shedding or curtailing.

        Returns pump, vehicle, dock and battery power as they then are [W].
        """
        self.refresh()
        self.grid_w = 0
        running = [genset for genset in self.gensets if genset.running]
        battery = self.battery
        if battery is None and not running:
            self._heat(duration, off=True)
            self._black_out()
            return 0, 0, 0, 0
        most = battery.within(battery.charge_w, duration) if battery is not None else 0
        least = battery.within(-battery.discharge_w, duration) if battery is not None else 0

        def missing() -> int:
            """Returns the W that nothing gives; negative = W that nothing takes."""
            gap = self.homes_w + pump_w + vehicle_w + dock_w + self.heat_w - self.genset_w
            return gap + least if gap > -least else min(gap + most, 0)

        for genset in running:
            genset.power_w += min(max(missing(), 0), genset.rated_w - genset.power_w)
        if missing() > 0:
            vehicle_w -= min(missing(), vehicle_w)
        if missing() > 0:
            dock_w = 0
            self._heat(duration, off=True)
            for dock in self.docks:
                dock.power_w = 0
        self._shed(missing, critical=False)
        if missing() > 0:
            pump_w = 0
        self._shed(missing, critical=True)
        for genset in running:
            genset.power_w -= min(max(-missing(), 0), max(0, genset.power_w - genset.minimum_w))
        if missing() < 0 and self.pv_w > 0:
            self._curtail(-missing())
        for genset in running:
            genset.power_w -= min(max(-missing(), 0), genset.power_w)
        if missing() > 0 and running:
            running[0].power_w += missing()  # what curtailing took too much, rounded
        assert missing() == 0, "the island does not balance"
        taken = self.homes_w + pump_w + vehicle_w + dock_w + self.heat_w
        return pump_w, vehicle_w, dock_w, self.genset_w - taken

    def _black_out(self) -> None:
        """Nothing forms a grid: everything is off."""
        self.reduced = True
        for meter in self.meters:
            meter.connected = False
        for dock in self.docks:
            dock.power_w = 0
        self._limit_plants(0, 1)

    def _shed(self, missing: Callable[[], int], critical: bool) -> None:
        """Opens home relays, one after another, until nothing is missing; who begins changes by the hour."""
        count = len(self.meters)
        first = self.at // HOUR_MS % count if count else 0
        for i in range(count):
            if missing() <= 0:
                return
            meter = self.meters[(first + i) % count]
            if meter.critical == critical and meter.net_w > 0:
                meter.connected = False
                self.reduced = True
                self._limit_plants(1, 1)

    def _curtail(self, surplus_w: int) -> None:
        """Takes at least `surplus_w` from PV, or all of it; what rounding takes too much the battery gives."""
        self.reduced = True
        before = self.pv_w
        self._limit_plants(max(0, before - surplus_w), before)
