"""SunSpec: definitions from pysunspec2's JSON, codec both ways, the scan on sound and broken images."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sunspec2.modbus import client as reference

from devices.drivers import SUNSPEC_CHAINS, SunspecDriver, Unwritable, sunspec_values
from devices.model import BusFault, DeviceKind
from devices.sunspec import (
    END_MODEL,
    MARK,
    NUMBERS,
    Scan,
    UnknownModel,
    decode,
    encode_chain,
    encode_model,
    encode_point,
    model,
    point_reader,
)


class Memory:
    """Registers at a base address, answering as a device does."""

    def __init__(self, image: Sequence[int], base: int = 40000) -> None:
        self.image = list(image)
        self.base = base

    def read(self, address: int, count: int) -> tuple[int, ...] | BusFault:
        start = address - self.base
        if start < 0 or start + count > len(self.image):
            return BusFault.EXCEPTION
        return tuple(self.image[start : start + count])


def scan(memory: Memory) -> Scan:
    walk = Scan()
    for _ in range(300):
        step = walk.request()
        if step is None:
            return walk
        walk.answer(memory.read(*step))
    raise AssertionError("the scan does not end")


def image_of(kind: DeviceKind, values: dict[str, float | None]) -> list[int]:
    models = sunspec_values(kind, values)
    models[1] = {}
    return encode_chain([(m, {"Mn": "Atoll", "SN": "1"} if m == 1 else models[m]) for m in SUNSPEC_CHAINS[kind]])


def read_all(kind: DeviceKind, image: list[int]) -> dict[str, float | None]:
    memory = Memory(image)
    driver = SunspecDriver(kind, scan(memory).chain)
    found: dict[str, float | None] = {}
    for block in driver.blocks:
        registers = memory.read(block.address, block.count)
        assert not isinstance(registers, BusFault)
        found.update(zip(block.points, block.decode(registers), strict=True))
    return found


@pytest.mark.parametrize("base", [40000, 0, 50000])
def test_scan_finds_the_chain_at_every_base(base: int) -> None:
    image = encode_chain([(1, {"Mn": "Atoll"}), (103, {"W": 1000}), (123, {})])
    walk = scan(Memory(image, base))
    assert [(m.id, m.address - base, m.length) for m in walk.chain] == [(1, 2, 66), (103, 70, 50), (123, 122, 24)]
    assert walk.failure == ""


@pytest.mark.parametrize(
    ("image", "failure"),
    [
        ([1, 2, 3, 4], "no 'SunS' at 40000, 0, 50000"),
        ([*MARK, 1, 66], "ends without an end model"),
        ([*MARK, END_MODEL, 0], "empty"),
        ([*MARK, 1, 0], "broken"),
        ([*MARK, 1, 65535], "broken"),
        ([*MARK, *([1, 1, 0] * 80), END_MODEL, 0], "broken"),
    ],
)
def test_broken_chains_end_the_scan_with_a_reason(image: list[int], failure: str) -> None:
    walk = scan(Memory(image))
    assert walk.chain == []
    assert failure in walk.failure


def test_silence_leaves_the_scan_where_it_is() -> None:
    walk = Scan()
    walk.answer(BusFault.TIMEOUT)
    assert walk.request() == (40000, 4)
    walk.answer((*MARK, 1, 66))
    walk.answer(BusFault.DISCONNECTED)
    assert walk.request() == (40070, 2)
    assert walk.failure == ""


@given(st.lists(st.integers(0, 65535), max_size=60))
def test_scan_of_noise_always_ends(noise: list[int]) -> None:
    walk = scan(Memory([*MARK, *noise]))
    assert walk.request() is None


@given(st.data(), st.sampled_from([1, 103, 123, 203, 701, 704, 713, 802]))
def test_values_survive_encode_and_decode(data: st.DataObject, model_id: int) -> None:
    definition = model(model_id)
    values: dict[str, float | str | None] = {}
    for point in definition.points.values():
        if point.type in NUMBERS and point.type != "sunssf" and point.scale is None and point.name not in {"ID", "L"}:
            kind, absent = NUMBERS[point.type]
            if not kind.real:
                value = data.draw(st.none() | st.integers(kind.low, kind.high))
                modulus = 1 << 16 * kind.size
                values[point.name] = (
                    None if absent is not None and value is not None and value % modulus == absent else value
                )
    found = decode(model_id, encode_model(model_id, values))
    for name, value in values.items():
        accumulator = definition.points[name].type in {"acc16", "acc32", "acc64", "raw16"}
        assert found[name] == (0 if value is None and accumulator else value), name


@given(st.floats(-327_000, 327_000), st.integers(0, 2**32 - 1))
def test_meter_power_scales_itself_and_registers_stay_whole(watts: float, import_wh: int) -> None:
    values = read_all(
        DeviceKind.METER, image_of(DeviceKind.METER, {"W": watts, "import_wh": import_wh, "export_wh": 5})
    )
    assert values["import_wh"] == import_wh
    assert isinstance(values["import_wh"], int)
    assert values["W"] == pytest.approx(watts, abs=6 if abs(watts) > 32767 else 0.51)


@pytest.mark.parametrize("kind", list(SUNSPEC_CHAINS))
def test_signs_turn_at_the_edge_and_nowhere_else(kind: DeviceKind) -> None:
    given_values = {
        "W": -1234.0,
        "import_wh": 11,
        "export_wh": 22,
        "V": 230.5,
        "hz": 49.98,
        "soc": 0.5512,
        "limit": 0.4,
        "setpoint": 5000.0,
    }
    found = read_all(kind, image_of(kind, given_values))
    assert found == {name: given_values[name] for name in found}
    raw_sign = {DeviceKind.METER: -1, DeviceKind.GRID: 1, DeviceKind.PV: 1, DeviceKind.BATTERY: 1}[kind]
    model_id = {DeviceKind.PV: 103, DeviceKind.BATTERY: 701}.get(kind, 203)
    assert sunspec_values(kind, {"W": -1234.0})[model_id]["W"] == raw_sign * 1234


def test_nothing_implemented_gives_no_numbers() -> None:
    found = read_all(DeviceKind.BATTERY, image_of(DeviceKind.BATTERY, {}))
    assert all(value is None for value in found.values())


@pytest.mark.parametrize("scale", [0x8000, 11, 65536 - 11, 12345])
def test_an_impossible_scale_factor_gives_no_number(scale: int) -> None:
    definition = model(203)
    registers = encode_model(203, {"W": 500})
    registers[definition.points["W_SF"].offset] = scale
    read = point_reader(definition.points["W"], definition.points["W_SF"], 0)
    assert read(registers) is None


def test_a_scale_factor_may_change_between_two_polls() -> None:
    small, large = (image_of(DeviceKind.METER, {"W": w, "import_wh": 0, "export_wh": 0}) for w in (120.0, 64000.0))
    assert read_all(DeviceKind.METER, small)["W"] == 120
    assert read_all(DeviceKind.METER, large)["W"] == 64000


def test_pv_limit_is_full_production_while_disabled() -> None:
    assert read_all(DeviceKind.PV, image_of(DeviceKind.PV, {"limit": 0.25}))["limit"] == 0.25
    assert read_all(DeviceKind.PV, image_of(DeviceKind.PV, {"limit": 1.0}))["limit"] == 1.0


def driver_and_last(kind: DeviceKind, image: list[int]) -> tuple[SunspecDriver, list[tuple[int, ...] | None]]:
    memory = Memory(image)
    driver = SunspecDriver(kind, scan(memory).chain)
    last = [memory.read(b.address, b.count) for b in driver.blocks]
    return driver, [None if isinstance(r, BusFault) else r for r in last]


def test_battery_setpoint_arms_the_device_own_timer() -> None:
    image = image_of(DeviceKind.BATTERY, {"setpoint": 0.0})
    driver, last = driver_and_last(DeviceKind.BATTERY, image)
    (write,) = driver.writes("setpoint", 7500.0, -100.0, 61_500, last)
    assert write.function == 16
    start = write.address - 40000
    image[start : start + len(write.values)] = write.values
    at = scan(Memory(image)).chain[2].address - 40000
    values = decode(704, image[at : at + 67])
    chosen = ("WSetEna", "WSetMod", "WSet", "WSetRvrt", "WSetEnaRvrt", "WSetRvrtTms")
    assert [values[name] for name in chosen] == [1, 1, -7500, 100, 1, 62]


def test_pv_limit_writes_percent_timer_and_enable_in_one_request() -> None:
    image = image_of(DeviceKind.PV, {"limit": 1.0})
    driver, last = driver_and_last(DeviceKind.PV, image)
    (write,) = driver.writes("limit", 0.305, 1.0, 30_000, last)
    assert write.values == (3050, 0, 30, 0, 1)


def test_writes_refuse_what_the_device_cannot_take() -> None:
    driver, last = driver_and_last(DeviceKind.METER, image_of(DeviceKind.METER, {}))
    with pytest.raises(Unwritable, match="123 or 704"):
        driver.writes("limit", 1.0, 1.0, 1000, last)
    driver, last = driver_and_last(DeviceKind.PV, image_of(DeviceKind.PV, {"limit": 1.0}))
    with pytest.raises(Unwritable, match="not read yet"):
        driver.writes("limit", 1.0, 1.0, 1000, [None] * len(last))


def test_sentinels_cannot_be_written_by_accident() -> None:
    with pytest.raises(OverflowError, match="not implemented"):
        encode_point(model(203).points["W"], -32768)


def test_missing_models_leave_their_points_out() -> None:
    walk = scan(Memory(encode_chain([(1, {}), (713, {"SoC": 50})])))
    driver = SunspecDriver(DeviceKind.BATTERY, walk.chain)
    assert [block.points for block in driver.blocks] == [("soc",)]
    assert set(driver.missing) == {"W", "import_wh", "export_wh", "setpoint"}


def test_single_phase_meters_serve_as_well() -> None:
    walk = scan(Memory(encode_chain([(1, {}), (201, {"W": 5, "TotWhImp": 1, "TotWhExp": 2})])))
    assert SunspecDriver(DeviceKind.METER, walk.chain).missing == ()


def test_unknown_model_is_named() -> None:
    with pytest.raises(UnknownModel, match="65000"):
        model(65000)


def test_pysunspec2_reads_our_images() -> None:
    """An independent decoder finds the same chain and values."""
    image = image_of(DeviceKind.BATTERY, {"W": -4200.0, "soc": 0.5, "import_wh": 10, "export_wh": 20, "setpoint": 0.0})
    offset = 2
    found: dict[int, reference.SunSpecModbusClientModel] = {}
    while image[offset] != END_MODEL:
        length = image[offset + 1]
        raw = b"".join(r.to_bytes(2, "big") for r in image[offset : offset + 2 + length])
        found[image[offset]] = reference.SunSpecModbusClientModel(model_id=image[offset], data=raw, model_len=length)
        offset += 2 + length
    assert list(found) == [1, 701, 704, 713]
    assert found[701].W.cvalue == 4200
    assert found[701].TotWhAbs.cvalue == 10
    assert found[713].SoC.cvalue == 50
    assert found[704].WSetPct.cvalue is None
