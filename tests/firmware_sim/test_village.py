from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS, Instant, parse_iso
from devices.model import DeviceKind, DeviceSpec
from firmware_sim.build import build_village, past_energy
from firmware_sim.chance import next_local
from firmware_sim.machines import PPM, wh
from firmware_sim.points import truth
from firmware_sim.profiles import Profiles
from firmware_sim.village import Sums, Village


def build(specs: Sequence[DeviceSpec], year: Profiles, start: Instant) -> Village:
    return build_village(specs, start, 1, year, lambda: year)


@pytest.fixture
def village(specs: Sequence[DeviceSpec], year: Profiles, start: Instant) -> Village:
    return build(specs, year, start)


def imbalance_wh(village: Village) -> int:
    sums = village.sums
    sources = sums.pv + sums.imported + sums.genset + sums.battery_out
    return sources - sums.load - sums.battery_in - sums.exported


commands = st.lists(
    st.tuples(
        st.sampled_from(
            ["battery", "genset", "stop", "pump", "charger", "heat", "switch", "limit", "grid", "dock", "leak", "dry"]
        ),
        st.integers(-60_000, 60_000),
        st.integers(1, 4 * HOUR_MS),
    ),
    max_size=25,
)


def command(village: Village, name: str, value: int) -> None:
    battery, genset, pump, charger = village.battery, village.genset, village.pump, village.charger
    assert battery is not None
    assert genset is not None
    assert pump is not None
    assert charger is not None
    if name == "battery":
        battery.lease(value, village.at, abs(value) % 900, 0)
    elif name == "genset":
        genset.target_w = abs(value)
        genset.command(True, village.at)
    elif name == "stop":
        genset.command(False, village.at)
    elif name == "pump":
        pump.switch(value > 0, village.at)
    elif name == "charger":
        charger.set(abs(value), village.at)
    elif name == "switch":
        village.switched[0].switch(value > 0, village.at)
    elif name == "heat":
        village.stores[0].set(abs(value), village.at)
    elif name == "limit":
        plant = village.plants[abs(value) % len(village.plants)]
        plant.enabled, plant.limit_ppm = True, abs(value) * PPM // 60_000
    elif name == "grid":
        village.grid_present = value > 0
    elif name == "dock":
        village.docks[0].wanted_w = abs(value) % 900
    elif name == "leak":
        village.water.leak = max(0, value)
    else:
        pump.dry = value > 0
    village.touch()


@given(commands)
def test_energy_balances_and_registers_never_go_back(
    specs: Sequence[DeviceSpec], year: Profiles, script: list[tuple[str, int, int]]
) -> None:
    village = build(specs, year, parse_iso("2026-06-01T04:00:00Z"))
    battery, water = village.battery, village.water
    assert battery is not None
    before = [0] * (2 * len(village.meters) + len(water.registers))
    for name, value, wait in [*script, ("grid", 1, SLOT_MS)]:
        command(village, name, value)
        village.advance(village.at + wait)  # every step asserts that the bus sums to zero
        village.settle()
        water.settle(village.at)
        now = [x for m in village.meters for x in (m.imported, m.exported)] + list(water.registers)
        assert all(new >= old for new, old in zip(now, before, strict=True))
        before = now
        assert imbalance_wh(village) == 0, "whole W ms: not one is lost"
        assert battery.cells.low * 0.99 <= battery.cells.energy <= battery.cells.high
        assert 0 <= water.level <= water.capacity
        assert sum(water.delivered) <= sum(water.demanded)


def test_what_meters_count_is_what_the_grid_and_machines_gave(village: Village) -> None:
    village.advance(village.at + 3 * DAY_MS + 12_345)
    village.settle()
    homes = sum(m.served for m in village.meters)
    net_start = build_offsets(village)
    net = sum(m.imported - m.exported for m in village.meters) - net_start
    assert net == homes - village.sums.pv, "all PV of the village sits behind homes"


def build_offsets(village: Village) -> int:
    """Returns what the registers showed at the start."""
    return sum(past_energy(village.seed, m.id, "in") - past_energy(village.seed, m.id, "out") for m in village.meters)


def test_the_step_length_does_not_change_energies(specs: Sequence[DeviceSpec], year: Profiles, start: Instant) -> None:
    ends: list[tuple[Sums, int, int]] = []
    for step in (MINUTE_MS, 7_001, DAY_MS):
        village = build(specs, year, start)
        battery = village.battery
        assert battery is not None
        battery.lease(-2_000, village.at, 0, None)
        while village.at < start + DAY_MS:
            village.advance(min(village.at + step, start + DAY_MS))
        village.settle()
        ends.append((village.sums, battery.cells.energy, village.water.level))
    sums = [entry[0] for entry in ends]
    assert sums[0] == sums[1] == sums[2]
    assert max(entry[1] for entry in ends) - min(entry[1] for entry in ends) < 1_000_000
    assert max(entry[2] for entry in ends) - min(entry[2] for entry in ends) < 900_000, "one mL"


def test_the_battery_keeps_its_limits_and_loses_by_its_efficiency(village: Village) -> None:
    battery = village.battery
    assert battery is not None
    at_start = battery.cells.energy
    battery.lease(40_000, village.at, 0, None)
    village.touch()
    village.advance(village.at + 3 * HOUR_MS)
    assert battery.power_w == 0
    assert abs(battery.cells.soc - 0.97) < 1e-4
    gained = (battery.cells.energy - at_start) / PPM / HOUR_MS
    assert gained == pytest.approx(village.sums.battery_in / HOUR_MS * 0.955, rel=1e-6)
    battery.lease(-40_000, village.at, 0, None)
    village.touch()
    village.advance(village.at + 6 * HOUR_MS)
    assert battery.power_w == 0
    assert abs(battery.cells.soc - 0.08) < 1e-4
    drained = (0.97 - 0.08) * 120_000
    assert village.sums.battery_out / HOUR_MS == pytest.approx(drained * 0.955, rel=1e-3)


def test_a_lease_reverts_to_the_second_and_falls_back(village: Village) -> None:
    battery = village.battery
    assert battery is not None
    battery.lease(9_000, village.at, 60, -1_000)
    village.touch()
    village.advance(village.at + 60_000)
    assert battery.power_w == 9_000
    village.advance(village.at + 1)
    assert battery.power_w == -1_000


def test_the_island_runs_on_the_battery_then_sheds_the_clinic_last(village: Village) -> None:
    battery = village.battery
    assert battery is not None
    village.grid_present = False
    village.touch()
    clinic = next(m for m in village.meters if m.id == "clinic")
    shed_while_clinic_on = 0
    for _ in range(24 * 60):
        village.advance(village.at + MINUTE_MS)
        off = [m for m in village.meters if not m.connected]
        shed_while_clinic_on += bool(off) and clinic.connected
        if not clinic.connected:
            assert all(not m.connected or m.net_w <= 0 for m in village.meters if not m.critical)
    assert shed_while_clinic_on > 60
    assert truth(village).unserved_wh > 50_000
    assert village.sums.imported == village.sums.exported == 0 or village.grid_w == 0
    village.grid_present = True
    village.touch()
    village.advance(village.at + 1)
    assert all(m.connected for m in village.meters)


def test_a_full_battery_makes_the_island_curtail(specs: Sequence[DeviceSpec], year: Profiles) -> None:
    village = build(specs, year, parse_iso("2026-06-06T10:00:00Z"))
    assert village.battery is not None
    village.battery.cells.energy = village.battery.cells.high
    village.grid_present = False
    for meter in village.meters:
        meter.column = next(i for i, name in enumerate(year.columns) if name == "home-04")
    village.advance(village.at + HOUR_MS)
    offered = sum(plant.offered_w for plant in village.plants)
    assert 0 < village.pv_w < offered
    assert all(meter.connected for meter in village.meters)


def test_without_anything_that_forms_a_grid_all_is_dark(specs: Sequence[DeviceSpec], year: Profiles) -> None:
    few = [spec for spec in specs if spec.kind is not DeviceKind.BATTERY]
    village = build(few, year, parse_iso("2026-06-06T10:00:00Z"))
    village.grid_present = False
    village.advance(village.at + HOUR_MS)
    assert village.pv_w == 0
    assert village.load_w == 0
    assert village.unserved_w > 0
    genset = village.genset
    assert genset is not None
    genset.command(True, village.at)
    village.touch()
    village.advance(village.at + HOUR_MS)
    assert genset.running
    assert village.load_w > 0
    assert 0 < genset.power_w <= genset.rated_w


def test_the_genset_cranks_keeps_its_minimum_and_burns(village: Village) -> None:
    genset = village.genset
    assert genset is not None
    fuel = genset.fuel
    genset.target_w = 1_000
    genset.command(True, village.at)
    village.touch()
    village.advance(village.at + 9_999)
    assert not genset.running
    assert genset.power_w == 0
    village.advance(village.at + HOUR_MS + 1)
    assert genset.power_w == 9_000
    litres = (fuel - genset.fuel) / 3.6e12
    assert litres == pytest.approx(9 * 0.246 + 30 * 0.081, rel=0.01)
    genset.fuel = 1
    village.advance(village.at + MINUTE_MS * 2)
    assert not genset.running
    assert genset.fuel == 0


def test_the_pump_fills_and_stops_at_full_and_when_nobody_writes(village: Village) -> None:
    pump, water = village.pump, village.water
    assert pump is not None
    level = water.level
    pump.switch(True, village.at)
    village.touch()
    village.advance(village.at + 299_000)
    assert pump.power_w == 3_000
    assert water.level > level
    village.advance(village.at + 2_000)
    assert not pump.on, "the relay drops after its keep-alive time"
    assert pump.power_w == 0
    water.level = water.capacity - 1
    pump.switch(True, village.at)
    village.touch()
    village.advance(village.at + MINUTE_MS * 2)
    assert water.full or pump.power_w == 0
    pump.dry = True
    level = water.level
    pump.switch(True, village.at)
    village.advance(village.at + MINUTE_MS)
    assert not pump.flowing


def test_an_empty_tank_serves_nobody_and_counts_it(village: Village) -> None:
    village.advance(village.at + 3 * DAY_MS)
    found = truth(village)
    assert village.water.level < 2_000 * 900_000
    assert found.unserved_ml > 1_000_000
    by_home = sum(day.demand_ml - day.served_ml for day in found.home_days)
    assert abs(by_home - found.unserved_ml) <= len(found.home_days)


def test_home_days_add_up(village: Village) -> None:
    village.advance(village.at + 2 * DAY_MS + 5 * HOUR_MS)
    found = truth(village)
    days = sorted({day.day for day in found.home_days})
    assert all(day % DAY_MS == 0 for day in days)
    assert len(days) == 4
    assert len(found.home_days) == 4 * 14
    assert sum(day.demand_wh for day in found.home_days if day.home == "home-01") == wh(village.meters[0].demanded)
    assert all(day.served_wh == day.demand_wh for day in found.home_days)


def test_the_vehicle_leaves_and_returns_by_local_time(village: Village) -> None:
    charger = village.charger
    assert charger is not None
    soc = charger.cells.soc
    village.advance(parse_iso("2026-06-01T07:29:59+02:00"))
    assert charger.connected
    village.advance(parse_iso("2026-06-01T07:31:00+02:00"))
    assert not charger.connected
    village.advance(parse_iso("2026-06-01T16:31:00+02:00"))
    assert charger.connected
    assert soc - 0.42 - 1e-9 <= charger.cells.soc <= soc - 0.28 + 1e-9
    charger.set(11_000, village.at)
    village.touch()
    village.advance(village.at + MINUTE_MS)
    assert charger.power_w == 11_000
    village.advance(village.at + 5 * MINUTE_MS)
    assert charger.power_w == 0, "it falls to 0 W when nobody has written for 300 s"


def test_local_time_across_the_change_of_the_clock() -> None:
    at = parse_iso("2026-03-28T12:00:00Z")
    first = next_local(at, "07:30", "Europe/Berlin")
    assert first == parse_iso("2026-03-29T05:30:00Z")
    assert next_local(parse_iso("2026-03-28T06:00:00Z"), "07:30", "Europe/Berlin") == parse_iso("2026-03-28T06:30:00Z")


def test_pv_on_the_bus_counts_too(specs: Sequence[DeviceSpec], year: Profiles) -> None:
    loose = [replace(spec, behind=None) if spec.kind is DeviceKind.PV else spec for spec in specs]
    village = build(loose, year, parse_iso("2026-06-06T10:00:00Z"))
    village.advance(village.at + HOUR_MS)
    assert all(meter.net_w == meter.load_w for meter in village.meters)
    assert imbalance_wh(village) <= HOUR_MS
    village.settle()
    assert imbalance_wh(village) == 0
    assert village.sums.pv > 0


def test_hot_water_is_heated_to_its_end_drawn_in_the_morning_and_cools(village: Village) -> None:
    (store,) = village.stores
    assert store.celsius == pytest.approx(55.0)
    store.set(3_000, village.at)
    village.advance(village.at + 5 * MINUTE_MS)
    heated = 55.0 + 3_000 / 12 / 348 - 1.8 * 37 / 12 / 348
    assert store.celsius == pytest.approx(heated, abs=0.01)
    village.advance(village.at + 10 * MINUTE_MS)
    assert store.power_w == 0, "nobody has written for five minutes"
    at = village.at
    store.keep_alive_ms = 0
    store.set(3_000, at)
    village.touch()
    village.advance(at + 3 * HOUR_MS)
    assert store.celsius <= 68.0 + 1e-6
    village.advance(parse_iso("2026-06-02T06:31:00+02:00"))
    assert 54.0 < store.celsius < 62.0  # 3 kWh +- 20 % of 348 Wh/K, and heated for a minute
    store.set(0, village.at)
    village.touch()
    before = store.celsius
    village.advance(village.at + 5 * HOUR_MS)
    assert store.celsius == pytest.approx(18 + (before - 18) * (1 - 1.8 / 348) ** 5, abs=0.02)


def test_a_load_on_a_relay_is_in_its_homes_meter_and_drops_with_its_home(village: Village) -> None:
    village.advance(village.at + 1)
    (load,) = village.switched
    meter = village.meters[load.meter]
    assert meter.id == "home-08"
    before, sum_before = meter.net_w, village.load_w
    load.switch(True, village.at)
    village.touch()
    village.advance(village.at + 1000)
    assert (meter.net_w - before, village.load_w - sum_before) == (900, 900)
    village.advance(village.at + SLOT_MS)
    assert meter.load_w == meter.base_w + 900, "over the slot's end too"
