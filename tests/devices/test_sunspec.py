"""SunSpec: definitions from pysunspec2's JSON, codec both ways, the scan on sound and broken images."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sunspec2.modbus import client as reference

from devices.drivers import Unwritable
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
from devices.sunspec_driver import SunspecDriver
from devices.sunspec_points import SUNSPEC_CHAINS, sunspec_values


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
    with pytest.raises(Unwritable, match="123, 124 or 704"):
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


@pytest.mark.parametrize(
    ("kind", "models", "values"),
    [
        *[(DeviceKind.METER, (1, m), {"W": 750.0, "import_wh": 123456}) for m in (201, 202, 204, 211, 212, 213, 214)],
        *[(DeviceKind.PV, (1, m, 123), {"W": -3000.0, "export_wh": 5000}) for m in (101, 102, 111, 112, 113)],
        (DeviceKind.BATTERY, (1, 701, 704, 802), {"W": -500.0, "soc": 0.5}),
    ],
)
def test_every_model_of_a_kind_reads_the_same(
    kind: DeviceKind, models: tuple[int, ...], values: dict[str, float]
) -> None:
    usual = sunspec_values(kind, dict(values))
    merged = {name: value for one in usual.values() for name, value in one.items()}
    image = encode_chain([(m, {n: v for n, v in merged.items() if n in model(m).points}) for m in models])
    memory = Memory(image)
    driver = SunspecDriver(kind, scan(memory).chain)
    assert driver.missing == ()
    found: dict[str, float | None] = {}
    for block in driver.blocks:
        registers = memory.read(block.address, block.count)
        assert not isinstance(registers, BusFault)
        found.update(zip(block.points, block.decode(registers), strict=True))
    for name, value in values.items():
        assert found[name] == pytest.approx(value), name


NUMERIC = {
    "int16",
    "uint16",
    "float32",
    "acc32",
    "acc64",
    "uint32",
    "int32",
    "uint64",
}  # pysunspec2 takes acc 0 for nothing
ISSUE_MODELS = (
    *(1, 101, 102, 103, 111, 112, 113, 120, 121, 122, 123, 124, 160),
    *(201, 202, 203, 204, 211, 212, 213, 214, *range(701, 715), 802),
)


def test_all_the_models_in_one_chain_are_scanned_and_read_as_pysunspec2_reads_them() -> None:
    """Our image, our scan, and an independent reader over it: every fixed number of every model is the same."""
    counts = {"NPt", "NCrv", "NCrvSet", "NCtl", "NPrt", "N", "NStr"}

    def values(number: int) -> dict[str, float | str | None]:
        """No curves and no ports: what a model repeats is not there; the rest counts up."""
        points = model(number).points
        plain = {n: 1.0 + i % 7 for i, (n, p) in enumerate(points.items()) if p.type in NUMERIC}
        return {**plain, **{n: 0 for n, p in points.items() if p.type == "count" or n in counts}}

    image = encode_chain([(m, {"Mn": "Atoll"} if m == 1 else values(m)) for m in ISSUE_MODELS])
    memory = Memory(image)
    chain = scan(memory).chain
    assert [entry.id for entry in chain] == list(ISSUE_MODELS)
    read = by_pysunspec2(image)
    assert list(read) == list(ISSUE_MODELS)
    for entry, theirs in zip(chain, read.values(), strict=True):
        ours = decode(entry.id, memory.image[entry.address - 40000 : entry.address - 40000 + entry.length + 2])
        for name, point in theirs.points.items():
            if name in ours and isinstance(ours[name], int | float):
                assert point.cvalue == pytest.approx(ours[name]), (entry.id, name)


def writes_into(image: list[int], driver: SunspecDriver, *order: object) -> list[tuple[int, int]]:
    """Does what the driver orders, as the device would; returns (address, count) of each write."""
    done: list[tuple[int, int]] = []
    for write in driver.writes(*order):  # type: ignore[arg-type]
        assert write.function == 16
        start = write.address - 40000
        image[start : start + len(write.values)] = write.values
        done.append((write.address, len(write.values)))
    return done


def by_pysunspec2(image: list[int]) -> dict[int, reference.SunSpecModbusClientModel]:
    """An independent reader of the whole chain."""
    raw = b"".join(register.to_bytes(2, "big") for register in image)
    device = reference.SunSpecModbusClientDevice()
    device.read = lambda addr, count: raw[2 * (int(addr) - 40000) : 2 * (int(addr) - 40000 + int(count))]  # type: ignore[attr-defined]
    device.base_addr_list = [40000]
    device.scan()
    return {one.model_id: one for one in device.model_list}


def read_of(kind: DeviceKind, image: list[int]) -> dict[str, float | None]:
    driver, last = driver_and_last(kind, image)
    found: dict[str, float | None] = {}
    for block, registers in zip(driver.blocks, last, strict=True):
        assert registers is not None
        found.update(zip(block.points, block.decode(registers), strict=True))
    return found


NEW_PV = [
    (1, {"Mn": "Atoll"}),
    (701, {"W": 3210, "TotWhInj": 4444}),
    (702, {"WMax": 5000}),
    (703, {"ES": 1}),
    (704, {"WMaxLimPctEna": 0, "WMaxLimPct": 100}),
    (705, {"Ena": 1, "NPt": 0, "NCrv": 0}),
]


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(1000, 3_600_000))
def test_an_ieee_1547_inverter_takes_a_limit_that_reverts_to_the_fallback(
    limit: float, fallback: float, valid_ms: int
) -> None:
    image = encode_chain(NEW_PV)
    assert read_of(DeviceKind.PV, image) == {
        "W": -3210, "export_wh": 4444, "limit": 1.0, "max_w": 5000, "permitted": 1, "volt_var": 1,
    }  # fmt: skip
    driver, last = driver_and_last(DeviceKind.PV, image)
    assert driver.missing == ()
    assert len(writes_into(image, driver, "limit", limit, fallback, valid_ms, last)) == 1
    theirs = by_pysunspec2(image)[704]
    assert theirs.WMaxLimPct.cvalue == pytest.approx(limit * 100, abs=0.006)
    assert theirs.WMaxLimPctRvrt.cvalue == pytest.approx(fallback * 100, abs=0.006)
    assert theirs.WMaxLimPctRvrtTms.cvalue == -(-valid_ms // 1000)
    assert (theirs.WMaxLimPctEna.cvalue, theirs.WMaxLimPctEnaRvrt.cvalue) == (1, 1)
    assert read_of(DeviceKind.PV, image)["limit"] == pytest.approx(limit, abs=0.0001)


STORAGE = [
    (1, {"Mn": "Atoll"}),
    (103, {"W": 1500, "WH": 99_000}),
    (124, {"WChaMax": 5000, "StorCtl_Mod": 0, "ChaState": 64, "OutWRte": 100, "InWRte": 100, "InOutWRte_SF": -2}),
]


@settings(max_examples=15, deadline=None)
@given(st.integers(-5000, 5000), st.integers(1000, 70_000_000))
def test_an_older_storage_is_held_at_a_power_by_both_its_rates(watts: int, valid_ms: int) -> None:
    image = encode_chain(STORAGE)
    before = read_of(DeviceKind.BATTERY, image)
    assert (before["W"], before["soc"], before["export_wh"]) == (-1500, 0.64, 99_000)
    assert before["setpoint"] is None, "free to choose: nothing holds it"
    driver, last = driver_and_last(DeviceKind.BATTERY, image)
    assert driver.missing == ("import_wh",)
    rates, mode = writes_into(image, driver, "setpoint", float(watts), 0.0, valid_ms, last)
    assert (rates[1], mode[1]) == (5, 1), "what stands between them can only be read"
    theirs = by_pysunspec2(image)[124]
    assert theirs.InWRte.cvalue == pytest.approx(watts / 50, abs=0.006)
    assert theirs.OutWRte.cvalue == -theirs.InWRte.cvalue
    assert theirs.InOutWRte_RvrtTms.cvalue == min(-(-valid_ms // 1000), 65_534)
    assert (theirs.StorCtl_Mod.cvalue, theirs.WChaMax.cvalue) == (3, 5000)
    assert read_of(DeviceKind.BATTERY, image)["setpoint"] == pytest.approx(watts, abs=0.3)


def test_a_storage_that_does_not_know_its_maximum_takes_nothing() -> None:
    driver, last = driver_and_last(DeviceKind.BATTERY, encode_chain([(1, {}), (124, {"ChaState": 50})]))
    with pytest.raises(Unwritable, match="WChaMax"):
        driver.writes("setpoint", 100.0, 0.0, 1000, last)
    with pytest.raises(Unwritable, match="not known"):
        driver.writes("setpoint", 100.0, 0.0, 1000, [None] * len(last))


@pytest.mark.parametrize("model_id", [160, 714])
def test_each_dc_input_of_an_inverter_is_a_point(model_id: int) -> None:
    definition = model(model_id)
    powers = (1200, 800, 0)
    count = {160: "N", 714: "NPrt"}[model_id]
    body = encode_model(model_id, {count: 3, "DCW_SF": 0})
    for power in powers:
        repetition = [0x8000] * definition.group_size
        repetition[definition.group["DCW"].offset] = power
        body += repetition
    body[1] = len(body) - 2
    usual = encode_chain([(1, {"Mn": "Atoll"}), (103, {"W": 1990, "WH": 5}), (122, {"WAval": 2500}), (123, {})])
    image = [*usual[:-2], *body, END_MODEL, 0]
    found = read_of(DeviceKind.PV, image)
    assert [found[f"dc{i}_w"] for i in (1, 2, 3)] == list(powers)
    assert "dc4_w" not in found
    assert found["available_w"] == 2500
    driver, _ = driver_and_last(DeviceKind.PV, image)
    assert [block.every for block in driver.blocks] == [1, 1, 10, 10], "extras are read at every tenth poll"


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
