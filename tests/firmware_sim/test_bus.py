"""Images read back by the drivers of `devices`: layouts, signs, scale factors, controls, faults."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from devices.clock import HOUR_MS, MINUTE_MS, Instant
from devices.drivers import Driver
from devices.model import POINTS, BusFault, DeviceKind, DeviceSpec
from devices.profile import ProfileDriver, load_profile
from devices.sunspec import Scan
from devices.sunspec_driver import SunspecDriver
from firmware_sim.build import build_village
from firmware_sim.bus import make_device
from firmware_sim.images import Device
from firmware_sim.points import getters
from firmware_sim.profiles import Profiles
from firmware_sim.village import Village

MOVING = (DeviceKind.ROBOT, DeviceKind.DRONE)


class Bench:
    """One village's units with a driver for each, as a gateway has them."""

    def __init__(self, specs: Sequence[DeviceSpec], year: Profiles, start: Instant) -> None:
        self.village: Village = build_village(specs, start, 1, year, lambda: year)
        self.specs: dict[str, DeviceSpec] = {spec.id: spec for spec in specs if spec.kind not in MOVING}
        self.units: dict[str, Device] = {name: make_device(self.village, spec) for name, spec in self.specs.items()}
        self.drivers: dict[str, Driver] = {name: self._driver(name) for name in self.specs}

    def _driver(self, name: str) -> Driver:
        spec = self.specs[name]
        if spec.driver != "sunspec":
            return ProfileDriver(load_profile(spec.driver.removeprefix("profile:")), spec.channels)
        scan = Scan()
        while (request := scan.request()) is not None:
            found = self.units[name].read(3, *request, self.village.at)
            scan.answer(found if isinstance(found, BusFault) else tuple(found))
        driver = SunspecDriver(spec.kind, scan.chain)
        assert not driver.missing, scan.failure
        return driver

    def blocks(self, name: str) -> list[Sequence[int] | BusFault]:
        blocks = self.drivers[name].blocks
        return [self.units[name].read(b.function, b.address, b.count, self.village.at) for b in blocks]

    def poll(self, name: str) -> dict[str, float | None]:
        values: dict[str, float | None] = {}
        for block, registers in zip(self.drivers[name].blocks, self.blocks(name), strict=True):
            assert not isinstance(registers, BusFault), (name, block)
            values.update(zip(block.points, block.decode(registers), strict=True))
        return values

    def write(self, name: str, point: str, value: float, fallback: float = 0, valid_ms: int = MINUTE_MS) -> None:
        last = [None if isinstance(found, BusFault) else tuple(found) for found in self.blocks(name)]
        for write in self.drivers[name].writes(point, value, fallback, valid_ms, last):
            assert self.units[name].write(write.function, write.address, write.values) is None

    def wait(self, duration_ms: int) -> None:
        self.village.advance(self.village.at + duration_ms)


@pytest.fixture
def bench(specs: Sequence[DeviceSpec], year: Profiles, start: Instant) -> Bench:
    return Bench(specs, year, start)


def test_every_device_reads_back_what_the_physics_know(bench: Bench) -> None:
    bench.write("battery-1", "setpoint", 7_000)
    bench.write("pump-1", "on", 1)
    bench.wait(11 * HOUR_MS + 5_000)
    for name, spec in bench.specs.items():
        truth = {point: get() for point, get in getters(bench.village, spec).items()}
        seen = bench.poll(name)
        wanted = POINTS[spec.kind] or tuple(f"{channel}_ml" for channel in spec.channels) or ("celsius", "W")
        spare = {"on2", "on3", "on4"} if spec.kind is DeviceKind.RELAY else set[str]()  # a board of four channels
        assert set(seen) - spare == set(wanted), name
        for point in wanted:
            coarse = {"fuel": 0.01, "level": 0.001, "V": 0.1, "soc": 0.001, "import_wh": 1, "export_wh": 100}
            step = 10 if point.endswith("_ml") else coarse.get(point, 0.01)
            if truth[point] is None:
                assert seen[point] is None, (name, point)
            else:
                assert seen[point] == pytest.approx(truth[point], abs=step), (name, point)


def test_powers_read_from_the_meters_sum_to_zero(bench: Bench) -> None:
    bench.write("battery-1", "setpoint", -5_000)
    bench.write("genset-1", "setpoint", -12_000)
    bench.wait(MINUTE_MS // 2)
    bench.write("pump-1", "on", 1)
    bench.write("charger-1", "setpoint", 4_000)
    bench.wait(1_000)
    powers = {name: bench.poll(name)["W"] for name, spec in bench.specs.items() if "W" in POINTS[spec.kind]}
    on_bus = [watts or 0 for name, watts in powers.items() if bench.specs[name].kind is not DeviceKind.PV]
    assert powers["genset-1"] == -12_000
    assert powers["battery-1"] == -5_000
    assert powers["charger-1"] is not None
    assert powers["charger-1"] >= 4_000
    assert abs(sum(on_bus)) < 1, powers


def test_a_battery_lease_ends_by_the_devices_own_timer(bench: Bench) -> None:
    bench.write("battery-1", "setpoint", 9_000, fallback=-1_500, valid_ms=90_000)
    bench.wait(89_000)
    assert bench.poll("battery-1")["W"] == 9_000
    assert bench.poll("battery-1")["setpoint"] == 9_000
    bench.wait(2_000)
    assert bench.poll("battery-1")["W"] == -1_500
    assert bench.poll("battery-1")["setpoint"] == -1_500


def test_a_pv_limit_holds_and_reverts(bench: Bench) -> None:
    bench.wait(11 * HOUR_MS + MINUTE_MS)
    free = bench.poll("pv-07")["W"]
    bench.write("pv-07", "limit", 0.1, fallback=1, valid_ms=60_000)
    bench.wait(1_000)
    assert bench.poll("pv-07")["W"] == -1_500
    assert bench.poll("pv-07")["limit"] == 0.1
    bench.wait(60_000)
    assert bench.poll("pv-07") | {"export_wh": 0} == {"W": free, "limit": 1.0, "export_wh": 0}


def test_the_genset_needs_its_key_with_complement(bench: Bench) -> None:
    unit = bench.units["genset-1"]
    assert unit.write(16, 4104, (35732, 35732)) is BusFault.EXCEPTION, "wrong complement"
    bench.wait(30_000)
    assert bench.poll("genset-1")["running"] == 0
    bench.write("genset-1", "setpoint", -15_000)
    bench.wait(30_000)
    assert bench.poll("genset-1")["running"] == 1
    bench.write("genset-1", "setpoint", 0)
    bench.wait(1_000)
    assert bench.poll("genset-1")["running"] == 0


def test_writes_outside_the_controls_are_exceptions(bench: Bench) -> None:
    for name, function, address in (
        ("home-01", 16, 40072),
        ("battery-1", 16, 40002),
        ("battery-1", 6, 39999),
        ("pv-07", 16, 40127 - 60),
        ("tank-1", 6, 0),
        ("pump-1", 6, 7),
    ):
        assert bench.units[name].write(function, address, (1,)) is BusFault.EXCEPTION, name


def test_big_powers_raise_the_scale_factor(bench: Bench) -> None:
    meter = bench.village.meters[0]
    meter.net_w = 1_234_560
    bench.village.at += 1
    assert bench.poll("home-01")["W"] == pytest.approx(1_234_560, abs=50)
    meter.net_w = -250_000
    bench.village.at += 1
    assert bench.poll("home-01")["W"] == pytest.approx(-250_000, abs=50)


def test_faults(bench: Bench) -> None:
    unit, block = bench.units["home-03"], bench.drivers["home-03"].blocks[0]

    def read() -> Sequence[int] | BusFault:
        return unit.read(block.function, block.address, block.count, bench.village.at)

    bench.wait(MINUTE_MS)
    good = read()
    unit.fault = "silent"
    assert read() is BusFault.TIMEOUT
    unit.fault = "exception"
    assert read() is BusFault.EXCEPTION
    unit.fault = "garbage"
    assert set(bench.poll("home-03").values()) == {None}
    unit.fault = "stuck"
    bench.wait(HOUR_MS)
    assert read() == good
    unit.fault = ""
    assert read() != good


def test_an_address_that_does_not_exist_is_an_exception(bench: Bench) -> None:
    unit = bench.units["home-03"]
    assert unit.read(3, 39_990, 5, 0) is BusFault.EXCEPTION
    assert unit.read(3, 40_100, 120, 0) is BusFault.EXCEPTION
    assert unit.read(4, 40_000, 2, 0) is BusFault.EXCEPTION
