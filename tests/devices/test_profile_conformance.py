"""Every shipped profile and variant against the simulator that it makes of itself, alone and behind a gateway core.

And against the frames that were published of the product. `devices/profile_levels.py` counts on these tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from devices.bus import WriteRequest
from devices.drivers import Unwritable
from devices.events import LinkUp
from devices.gateway import Gateway, GatewayConfig
from devices.known_value import Fit, compare
from devices.model import WRITABLE, BusFault, DeviceId, DeviceKind, DeviceSpec
from devices.poll import Unit
from devices.profile import (
    Profile,
    ProfileDriver,
    ProfilePoint,
    encode_point,
    load_profile,
    point_value_reader,
    profile_names,
)
from devices.profile_golden import GoldenFrame
from devices.profile_levels import GOLD as GOLD_LEVEL
from devices.profile_levels import standing
from devices.registers import READ_MAX, Registers
from devices.rtu import request_frame, write_answer
from firmware_sim.products import Product, Rack
from tests.devices.gateway_bench import ENDPOINT, Bench

NAMES = [
    name
    for product in profile_names()
    for name in (product, *(f"{product}.{v}" for v in load_profile(product).variants))
]
SHARES = (0.0, 0.01, 0.33, 0.5, 0.77, 0.99, 1.0)
SHARES_REAL = (0.001, *SHARES[1:-1], 0.999)  # the nearest float to a range's end may lie outside it


def channels_of(name: str) -> tuple[str, ...]:
    return tuple(f"c{i}" for i in range(len(load_profile(name).channels)))


def made(name: str) -> tuple[ProfileDriver, Product]:
    profile = load_profile(name)
    return ProfileDriver(profile, channels_of(name)), Product(profile, channels_of(name))


UNIT = 7


class Bus(Rack[Product]):
    """A rack whose units can be deaf: they take a write and do nothing."""

    deaf = False

    def write(self, unit: int, function: int, address: int, values: Sequence[int]) -> BusFault | None:
        if self.deaf and unit not in self.silent:
            return None
        return super().write(unit, function, address, values)


class Place:
    """A unit of the bus as the bench asks it."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    def read(self, function: int, address: int, count: int) -> tuple[int, ...] | BusFault:
        found = self.bus.read(UNIT, function, address, count)
        return found if isinstance(found, BusFault) else tuple(found)

    def write(self, function: int, address: int, values: tuple[int, ...]) -> BusFault | None:
        return self.bus.write(UNIT, function, address, values)


class ProductBench(Bench):
    """A whole gateway core with one device, which is the simulator made of its profile."""

    def __init__(self, name: str, kind: DeviceKind = DeviceKind.METER) -> None:
        super().__init__((), linked=False)
        channels = channels_of(name)
        kind = DeviceKind.WATER_METERS if channels else kind
        self.name = name
        self.spec = DeviceSpec(
            DeviceId("product"), kind, f"profile:{name}", "gw-1", ENDPOINT, UNIT, channels=channels,
            ratings={"power_w_max": 1e6, "low_c": 0.0, "high_c": 70.0},
        )  # fmt: skip
        self.bus = Bus({UNIT: self.fresh()})
        self.by_unit[UNIT] = Place(self.bus)  # type: ignore[assignment]
        self.config = GatewayConfig("gw-1", "village", (self.spec,), 1000)
        self.gateway = Gateway(self.config, self.now)
        self.step(LinkUp())

    def fresh(self) -> Product:
        """A product as it comes out of its box: off, and with a vehicle connected where it is a charger."""
        product = made(self.name)[1]
        for point, value in (("on", 0), ("setpoint", 0), ("connected", 1), ("running", 0), ("fuel", 0.8)):
            if point in product.points:
                product.show(point, value)
        return product

    @property
    def unit(self) -> Unit:
        return self.gateway.units[self.spec.id]

    @property
    def driver(self) -> ProfileDriver:
        assert isinstance(self.unit.driver, ProfileDriver)
        return self.unit.driver


def readings(driver: ProfileDriver, product: Product) -> dict[str, float | None]:
    """Reads a product as the gateway does: block by block."""
    found: dict[str, float | None] = {}
    first: Registers | None = None
    for block in driver.blocks:
        registers = product.read(block.function, block.address, block.count)
        assert not isinstance(registers, BusFault), f"block {block.address}+{block.count} is refused"
        first = registers if first is None else first
        found.update(zip(block.points, block.decode(registers, first), strict=True))
    return found


def span(point: ProfilePoint) -> tuple[float, float]:
    """The values that a point can show: its range, its raw range, or what the register holds."""
    if point.type.name == "bit" or point.above is not None:
        return 0.0, 1.0
    if point.range is not None:
        return point.range
    if point.mask:
        return 0.0, point.mask // (point.mask & -point.mask) * point.scale + point.offset
    low, high = point.raw_range or (point.type.low + 16 * point.type.signed, point.type.high - 16)
    ends = sorted((low * point.scale + point.offset, high * point.scale + point.offset))
    return (max(ends[0], point.clamp[0]), min(ends[1], point.clamp[1])) if point.clamp else (ends[0], ends[1])


def counts(point: ProfilePoint) -> bool:
    """Whether the point is a state rather than a quantity."""
    return (
        point.type.name == "bit"
        or point.above is not None
        or bool(point.mask)
        or span(point) == (0.0, 1.0) == (point.raw_range)
    )


def step_of(point: ProfilePoint) -> float:
    """The smallest step that the registers can tell apart, at the value's size."""
    return abs(point.scale) * (1e-6 if point.type.real else 0.51)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_stay_within_what_the_product_takes(name: str) -> None:
    driver, product = made(name)
    assert 1 <= len(driver.blocks) <= 4
    assert all(1 <= block.count <= min(READ_MAX, driver.profile.block_max) for block in driver.blocks)
    assert sorted(point for block in driver.blocks for point in block.points) == sorted(product.points)
    fresh = readings(driver, product)
    assert None not in fresh.values(), fresh


@pytest.mark.parametrize("name", NAMES)
def test_every_point_reads_back_what_was_shown_over_its_range(name: str) -> None:
    driver, product = made(name)
    for point in product.points.values():
        low, high = span(point)
        for share in SHARES_REAL if point.type.real else SHARES:
            value = low + share * (high - low)
            if counts(point):
                value = float(round(value))
            shown = value if point.above is None else value * 1500 + (0 if value else point.above)
            product.show(point.name, shown)
            read = readings(driver, product)[point.name]
            assert read is not None, (point.name, value)
            slack = step_of(point) * max(1.0, abs(value / point.scale) if point.type.real else 1.0)
            assert abs(read - value) <= slack + (0.5 if point.name.endswith(("_wh", "_ml")) else 1e-9), point.name
        product.show(point.name, (low + high) / 2 if point.type.size > 1 or not point.mask else 0)


@pytest.mark.parametrize("name", NAMES)
def test_sentinels_and_what_lies_outside_the_range_are_no_numbers(name: str) -> None:
    driver, product = made(name)
    for point in product.points.values():
        alone = point_value_reader(point, 0, driver.profile.low_word_first)
        if point.absent or point.type.real:
            assert alone(encode_point(driver.profile, point, None)) is None, point.name
        for bound, away in zip(point.range or (), (-1, 1), strict=False):
            outside = bound + away * max(abs(bound) * 0.01, 1.5 * abs(point.scale))
            try:
                registers = encode_point(driver.profile, replace(point, range=None), outside)
            except OverflowError:
                continue  # the register cannot even say it
            assert alone(registers) is None, (point.name, outside)


@pytest.mark.parametrize("name", [name for name in NAMES if any(p.scale_at for p in load_profile(name).points)])
def test_a_scale_register_that_changes_moves_no_value_and_one_that_is_none_makes_it_bad(name: str) -> None:
    driver, product = made(name)
    for point in [point for point in product.points.values() if point.scale_at is not None]:
        product.show(point.name, 3 * abs(point.scale))
        for exponent in (-2, 0, 0, -1):
            product.rescale(point.name, exponent)
            assert readings(driver, product)[point.name] == pytest.approx(3 * abs(point.scale))
        product.show(point.name, 3000 * abs(point.scale))
        product.rescale(point.name, 2)
        assert readings(driver, product)[point.name] == pytest.approx(3000 * abs(point.scale))
        for broken in (0x8000, 11, 0xFFF5):
            assert point.scale_at is not None
            product.put(point.function, point.scale_at, (broken,))
            assert readings(driver, product)[point.name] is None, broken
        product.put(point.function, point.scale_at, (0,))


@pytest.mark.parametrize("name", [name for name in NAMES if load_profile(name).writes])
def test_every_writable_point_is_written_and_reads_back(name: str) -> None:
    driver, product = made(name)
    rack = Rack({7: product})
    for point, rule in driver.profile.writes.items():
        for value in (rule.low, rule.high, rule.low):
            for order in driver.writes(point, value, 0, 0, []):
                assert rack.write(7, order.function, order.address, order.values) is None, (point, order)
            if point in product.points:
                read = readings(driver, product)[point]
                assert read is not None
                assert abs(read - value) <= step_of(product.points[point]) + 1e-9, point
        for outside in (rule.low - 1, rule.high + 1):
            with pytest.raises(Unwritable):
                driver.writes(point, outside, 0, 0, [])
    assert rack.write(7, 6, 0xFFF0, [1]) is BusFault.EXCEPTION
    assert rack.write(8, 6, 1, [1]) is BusFault.TIMEOUT


@pytest.mark.parametrize("name", NAMES)
def test_the_known_value_check_catches_wrong_word_order_scale_and_sign(name: str) -> None:
    """At a value of some size; a value whose words are alike reads the same either way and is left out."""
    profile = load_profile(name)
    for point in made(name)[1].points.values():
        if counts(point):
            continue
        low, high = span(point)
        known = low + 0.0173 * (high - low) if abs(low) >= abs(high) else low + 0.8317 * (high - low)
        registers = encode_point(profile, point, known)
        assert compare(profile, point, registers, known).fit is Fit.FITS, point.name
        if point.type.size > 1:
            wrong = replace(profile, low_word_first=not profile.low_word_first)
            swapped = encode_point(wrong, point, known)
            if swapped != registers:
                assert compare(profile, point, swapped, known).fit is Fit.WORD_ORDER, (point.name, known)
        if not point.offset:
            for factor in (0.1, 10):
                tenfold = replace(point, scale=point.scale * factor, range=None, raw_range=None, clamp=None)
                assert compare(profile, tenfold, registers, known).fit is Fit.SCALE, point.name
            turned = replace(point, scale=-point.scale, range=None, raw_range=None, clamp=None)
            assert compare(profile, turned, registers, known).fit is Fit.SIGN, point.name


GOLDEN = [(name, frame) for name in NAMES for frame in load_profile(name).golden]


@pytest.mark.parametrize(("name", "frame"), GOLDEN, ids=[f"{name}-{i}" for i, (name, _) in enumerate(GOLDEN)])
def test_golden_frames_byte_for_byte(name: str, frame: GoldenFrame) -> None:
    """Our request is the published one, its answer reads as published, and our simulator gives the same answer."""
    driver, product = made(name)
    if frame.writes:
        ((point, value),) = frame.writes.items()
        (order,) = driver.writes(point, value, 0, frame.valid_ms, [])
        request = WriteRequest(DeviceId("x"), point, "", frame.request[0], order.function, order.address, order.values)
        assert request_frame(request) == frame.request
        assert write_answer(request, frame.response) is None
        assert product.write(order.function, order.address, order.values) is None
        assert readings(driver, product)[point] == value
        return
    asked = frame.read_request
    assert request_frame(asked) == frame.request
    within = {
        point.name: point
        for point in product.points.values()
        if point.function == asked.function
        and asked.address <= point.address
        and point.address + point.size <= asked.address + asked.count
    }
    assert within.keys() == frame.reads.keys(), "every point that the frame brings has a published value"
    for point in within.values():
        read = point_value_reader(point, point.address - asked.address, driver.profile.low_word_first)
        assert read(frame.registers()) == pytest.approx(frame.reads[point.name], rel=1e-6)
        product.show(point.name, frame.reads[point.name])
    shown = [product.read(asked.function, asked.address + i, 1) for i in range(asked.count)]
    ours = [0 if isinstance(one, BusFault) else one[0] for one in shown]  # a relay more than the map has: off
    if not any(point.type.real for point in within.values()):  # a float's last bit is the product's own
        assert tuple(ours) == frame.registers()


@pytest.mark.parametrize("name", NAMES)
def test_after_silence_nothing_old_is_left_and_the_device_comes_back_by_itself(name: str) -> None:
    bench = ProductBench(name)
    bench.run(3000)
    before = bench.unit.values
    assert None not in before
    bench.bus.silent.add(UNIT)
    bench.run(1000)
    assert set(bench.unit.values) == {None}, "one missed poll, and no value is the last one"
    bench.run(30_000)
    assert bench.unit.dead
    assert bench.kinds(bench.spec.id)[-1] == "DDEATH"
    bench.bus.silent.clear()
    bench.run(120_000)
    assert bench.unit.values == before
    assert bench.kinds(bench.spec.id).count("DBIRTH") == 2


@pytest.mark.parametrize("name", NAMES)
def test_a_refused_or_impossible_value_is_bad_and_spoils_no_other(name: str) -> None:
    bench = ProductBench(name)
    product = bench.bus.units[UNIT]
    bench.run(1000)
    for point in product.points.values():
        words = _impossible(bench.driver.profile, point)
        if words is None:
            continue  # every number that fits the register is a value
        kept = product.read(point.function, point.address, point.size)
        assert not isinstance(kept, BusFault)
        product.put(point.function, point.address, words)
        bench.run(60_000 if point.every > 1 else 1000)
        assert bench.unit.value(point.name) is None, point.name
        others = {o.name for o in product.points.values() if o.address != point.address or o.function != point.function}
        assert None not in {bench.unit.value(other) for other in others}
        product.put(point.function, point.address, kept)


def _impossible(profile: Profile, point: ProfilePoint) -> tuple[int, ...] | None:
    """Registers that the product must never be believed, None where there are none."""
    free = replace(point, range=None, raw_range=None, clamp=None, above=None)
    if point.absent or point.type.real:
        return encode_point(profile, point, None)
    bounds = point.range or ()
    if point.raw_range is not None:
        bounds = tuple(bound * point.scale + point.offset for bound in point.raw_range)
    for bound, away in zip(bounds, (-1, 1), strict=False):
        try:
            return encode_point(profile, free, bound + away * max(0.5 * abs(bound), 2 * abs(point.scale)))
        except OverflowError:
            continue
    return None


KINDS = {
    "evse": DeviceKind.CHARGER, "dse73xx": DeviceKind.GENSET, "dse73xx.clock": DeviceKind.GENSET,
    "relay_pump": DeviceKind.PUMP, "heat_store": DeviceKind.THERMAL,
    "grundfos_cim": DeviceKind.PUMP, "abb_acs": DeviceKind.PUMP,
    "relay_4ch": DeviceKind.RELAY, "dio_8": DeviceKind.RELAY,
    "relay_4ch_timed": DeviceKind.RELAY, "dio_8_timed": DeviceKind.RELAY,
}  # fmt: skip
"""As what a site would use each product that a lease can set."""


def test_every_product_that_a_lease_can_set_has_its_scenario() -> None:
    leased = {name for name in NAMES if set(load_profile(name).writes) & set(WRITABLE.values())}
    assert leased == KINDS.keys()


@pytest.mark.parametrize("name", KINDS)
def test_a_lease_is_written_falls_back_and_survives_faults(name: str) -> None:
    bench = ProductBench(name, KINDS[name])
    me, point = bench.spec.id, WRITABLE[KINDS[name]]
    rule = bench.driver.profile.writes[point]
    on = rule.low / 100 if KINDS[name] is DeviceKind.GENSET else rule.high / 10 if rule.high > 1 else 1.0
    bench.run(70_000)  # past the grace time after a start, and every rest time
    bench.setpoint(me, on, valid_ms=40_000)
    bench.run(3000)
    assert bench.unit.value(point) == pytest.approx(on), "written, and read back"
    bench.bus.silent.add(UNIT)
    bench.run(5000)
    bench.bus.units[UNIT] = bench.fresh()  # it was silent because it lost power, and comes back off
    bench.bus.silent.clear()
    bench.run(20_000)
    assert bench.unit.value(point) == pytest.approx(on), "told again after the outage, within its lease"
    bench.run(20_000)
    assert bench.unit.value(point) == 0.0, "the lease is over: off, by the gateway alone"
    bench.run(70_000)
    bench.bus.deaf = True
    bench.setpoint(me, on, valid_ms=40_000)
    bench.run(10_000)
    assert "ignores-setpoint" in bench.codes(), "it takes the write and does nothing: told"


GOLD = [name for name in NAMES if standing(load_profile(name)).level == GOLD_LEVEL]


def test_what_is_gold_has_its_scenario() -> None:
    assert set(GOLD) == {"relay_4ch_timed", "dio_8_timed"}


@pytest.mark.parametrize("name", GOLD)
def test_a_gold_products_own_timer_outlives_no_gateway(name: str) -> None:
    """While its gateway lives it stays on, as long as the lease is renewed; when that dies it falls off by itself."""
    bench = ProductBench(name, KINDS[name])
    me, point = bench.spec.id, WRITABLE[KINDS[name]]
    bench.run(70_000)
    for _ in range(90):
        if not bench.now % 5000:
            bench.setpoint(me, 1.0, valid_ms=15_000)
        bench.run(1000)
        bench.bus.units[UNIT].pass_time(1000)
        assert readings(bench.driver, bench.bus.units[UNIT])[point] == 1.0, "set again in time, it never falls"
    lasts = 0
    while readings(bench.driver, bench.bus.units[UNIT])[point] == 1.0:  # the gateway is dead: nobody writes
        bench.bus.units[UNIT].pass_time(100)
        lasts += 100
        assert lasts <= 15_000, "no longer than the lease"
    assert lasts > 5000, "it was set again when a third of the lease was over"


def test_the_products_that_were_promised_are_shipped() -> None:
    """A file that goes missing would take its conformance tests with it."""
    assert set(profile_names()) >= {
        *("eastron_sdm120", "eastron_sdm230", "eastron_sdm630", "carlo_gavazzi_em24", "carlo_gavazzi_em340"),
        *("schneider_iem3155", "abb_b23", "victron_gx", "deye_3p", "sma_inverter", "grundfos_cim", "abb_acs"),
        *(
            "dse73xx",
            "jk_bms",
            "pulse_counter_16",
            "tuf_2000",
            "relay_4ch",
            "dio_8",
            "soil_probe",
            "weather_station",
            "schneider_pm800",
        ),
    }
