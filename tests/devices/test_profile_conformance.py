"""Every shipped profile and variant against the simulator that it makes of itself; nothing here is written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devices.drivers import Unwritable
from devices.known_value import Fit, compare
from devices.model import BusFault
from devices.profile import ProfileDriver, ProfilePoint, encode_point, load_profile, point_value_reader, profile_names
from devices.registers import READ_MAX
from firmware_sim.products import Product, Rack

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


def readings(driver: ProfileDriver, product: Product) -> dict[str, float | None]:
    """Reads a product as the gateway does: block by block."""
    found: dict[str, float | None] = {}
    for block in driver.blocks:
        registers = product.read(block.function, block.address, block.count)
        assert not isinstance(registers, BusFault), f"block {block.address}+{block.count} is refused"
        found.update(zip(block.points, block.decode(registers), strict=True))
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


def test_the_products_that_were_promised_are_shipped() -> None:
    """A file that goes missing would take its conformance tests with it."""
    assert set(profile_names()) >= {
        *("eastron_sdm120", "eastron_sdm230", "eastron_sdm630", "carlo_gavazzi_em24", "carlo_gavazzi_em340"),
        *("schneider_iem3155", "abb_b23", "victron_gx", "deye_3p", "sma_inverter", "grundfos_cim", "abb_acs"),
        *("dse73xx", "jk_bms", "pulse_counter_16", "tuf_2000", "relay_4ch", "dio_8", "soil_probe", "weather_station"),
    }
