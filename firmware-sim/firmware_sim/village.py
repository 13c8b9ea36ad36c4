"""The physics of one village: every step the powers on the bus sum to zero, in whole W.

Homes and their PV are constant within a segment (a slot, or less where a limit or shedding changes), so their
registers are settled only when something changes; battery, genset, pump, charger and grid move every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS, Instant, floor_to
from devices.model import DeviceId
from firmware_sim.chance import draw, next_local
from firmware_sim.days import DayBook
from firmware_sim.machines import NEVER, PPM, Battery, Charger, Genset
from firmware_sim.profiles import Profiles
from firmware_sim.water import Pump, Water

STEP_MS_MAX = MINUTE_MS


@dataclass(slots=True)
class Meter:
    """One home's or building's connection; `net_w` is what its meter sees."""

    id: DeviceId
    column: int
    critical: bool
    imported: int  # W ms, as its register shows
    exported: int
    load_w: int = 0
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
    genset: Genset | None
    charger: Charger | None
    pump: Pump | None
    water: Water
    water_columns: list[int]
    docks: list[Dock]
    grid_offsets: tuple[int, int]  # W ms that the grid meter shows at the start
    trip_minutes: tuple[str, str] = ("07:30", "16:30")
    zone: str = "UTC"
    grid_present: bool = True
    grid_w: int = 0  # by the sign rule: negative = import
    segment: int = 0
    homes_w: int = 0  # sum of all meters' net and of PV on the bus
    pv_w: int = 0
    load_w: int = 0
    unserved_w: int = 0
    reduced: bool = False  # some home is off or PV curtailed by the island
    next_slot: int = 0
    next_event: int = 0
    sums: Sums = field(default_factory=Sums)
    days: DayBook = field(default_factory=DayBook)

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
            self.water.settle(self.at)
            self.days.close(self.meters, self.water, floor_to(at, DAY_MS))
        row = self.profiles.values(at)
        for meter in self.meters:
            meter.load_w = round(float(row[meter.column]))
        for plant in self.plants:
            value = float(row[plant.column])
            watts = value * plant.rated_w / 1000 if plant.per_kw else value
            plant.offered_w = 0 if plant.dead else min(round(watts), plant.rated_w)
        if self.water_columns:
            taps = row if self.water_profiles is self.profiles else self.water_profiles.values(at)
            self.water.new_slot([round(float(taps[column])) for column in self.water_columns], self.at)
        self.next_slot = floor_to(at, SLOT_MS) + SLOT_MS
        self.refresh()

    def _events(self) -> None:
        now = self.at
        pending = [NEVER]
        if self.battery is not None:
            self.battery.expire(now)
            pending.append(self.battery.lease_until)
        if self.genset is not None:
            self.genset.expire(now)
            pending.append(self.genset.ready_at)
        if self.pump is not None:
            self.pump.expire(now)
            pending.append(self.pump.lease_until)
        if self.charger is not None:
            self.charger.expire(now)
            self._move_vehicle(self.charger)
            pending += [self.charger.lease_until, self.charger.next_move]
        for plant in self.plants:
            if now >= plant.lease_until:
                plant.enabled, plant.lease_until = False, NEVER
            pending.append(plant.lease_until)
        self.next_event = min(pending)
        self.refresh()

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
        battery, genset, pump, charger = self.battery, self.genset, self.pump, self.charger
        pump_w = pump.demand_w() if pump is not None and not self.water.full else 0
        vehicle_w = charger.demand_w(duration) if charger is not None else 0
        dock_w = 0
        for dock in self.docks:
            dock.power_w = dock.wanted_w
            dock_w += dock.wanted_w
        genset_w = genset.offered_w if genset is not None else 0
        if self.grid_present:
            if self.reduced:
                self.refresh()
            battery_w = battery.within(battery.set_w or 0, duration) if battery is not None else 0
            self.grid_w = -(self.homes_w + pump_w + vehicle_w + dock_w - genset_w + battery_w)
        else:
            pump_w, vehicle_w, dock_w, genset_w, battery_w = self._island(duration, pump_w, vehicle_w, dock_w, genset_w)
        assert self.homes_w + pump_w + vehicle_w + dock_w - genset_w + battery_w + self.grid_w == 0, "bus not balanced"
        sums = self.sums
        if self.grid_w < 0:
            sums.imported -= self.grid_w * duration
        else:
            sums.exported += self.grid_w * duration
        extra = pump_w + vehicle_w + dock_w
        if extra:
            sums.load += extra * duration
        if battery is not None:
            battery.run(battery_w, duration)
            if battery_w > 0:
                sums.battery_in += battery_w * duration
            else:
                sums.battery_out -= battery_w * duration
        if genset is not None:
            sums.genset += genset_w * duration
            genset.run(genset_w, duration)
        if charger is not None:
            charger.run(vehicle_w, dock_w, duration)
        self._run_water(pump_w, duration)
        self.at = end

    def _run_water(self, pump_w: int, duration: int) -> None:
        pump, inflow = self.pump, 0
        if pump is not None:
            pump.power_w = pump_w
            pump.imported += pump_w * duration
            pump.flowing = pump_w > 0 and not pump.dry
            inflow = pump.flow if pump.flowing else 0
        self.water.run(inflow, self.at, duration)

    # -- island ------------------------------------------------------------------------------------------------

    def _island(
        self, duration: int, pump_w: int, vehicle_w: int, dock_w: int, genset_w: int
    ) -> tuple[int, int, int, int, int]:
        """Balances without the grid: battery, then genset, then shedding or curtailing.

        Returns pump, vehicle, dock, genset and battery power as they then are [W].
        """
        self.refresh()
        self.grid_w = 0
        if self.battery is None and not (self.genset is not None and self.genset.running):
            self._black_out()
            return 0, 0, 0, 0, 0
        battery, genset = self.battery, self.genset
        most = battery.within(battery.charge_w, duration) if battery is not None else 0
        least = battery.within(-battery.discharge_w, duration) if battery is not None else 0

        def missing() -> int:
            """Returns the W that nothing gives; negative = W that nothing takes."""
            gap = self.homes_w + pump_w + vehicle_w + dock_w - genset_w
            return gap + least if gap > -least else min(gap + most, 0)

        if missing() > 0 and genset is not None and genset.running:
            genset_w += min(missing(), genset.rated_w - genset_w)
        if missing() > 0:
            vehicle_w -= min(missing(), vehicle_w)
        if missing() > 0:
            dock_w = 0
            for dock in self.docks:
                dock.power_w = 0
        self._shed(missing, critical=False)
        if missing() > 0:
            pump_w = 0
        self._shed(missing, critical=True)
        if missing() < 0 and genset is not None and genset.running:
            genset_w -= min(-missing(), max(0, genset_w - genset.minimum_w))
        if missing() < 0 and self.pv_w > 0:
            self._curtail(-missing())
        if missing() < 0:
            genset_w -= min(-missing(), genset_w)
        if missing() > 0 and genset is not None and genset.running:
            genset_w += missing()  # what curtailing took too much, rounded
        assert missing() == 0, "the island does not balance"
        return pump_w, vehicle_w, dock_w, genset_w, -(self.homes_w + pump_w + vehicle_w + dock_w - genset_w)

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
