"""Profiles: every shipped one loads, reads back what its own encoder wrote, and a bad one lists all its faults."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import devices
from devices.drivers import Unwritable
from devices.profile import (
    BadProfile,
    ProfileDriver,
    encode_point,
    load_profile,
    parse_profile,
    point_of,
    points_of,
    profile_names,
)
from devices.registers import READ_MAX

FOLDER = Path(devices.__file__).parent / "profiles"


def driver(name: str, channels: tuple[str, ...] = ()) -> ProfileDriver:
    return ProfileDriver(load_profile(name), channels)


def readings(name: str, image: dict[tuple[int, int], int], channels: tuple[str, ...] = ()) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for block in driver(name, channels).blocks:
        registers = [image.get((block.function, block.address + i), 0) for i in range(block.count)]
        found.update(zip(block.points, block.decode(registers), strict=True))
    return found


def image_of(name: str, values: dict[str, float | None], channels: tuple[str, ...] = ()) -> dict[tuple[int, int], int]:
    profile = load_profile(name)
    return {
        (point.function, point.address + i): register
        for point in points_of(profile, channels)
        for i, register in enumerate(encode_point(profile, point, values.get(point.name)))
    }


@pytest.mark.parametrize("name", profile_names())
def test_a_shipped_profile_is_short_sourced_and_readable_in_few_requests(name: str) -> None:
    profile = load_profile(name)
    assert len((FOLDER / f"{name}.toml").read_text().splitlines()) <= 40
    assert profile.title
    assert profile.source
    channels = tuple(f"c{i}" for i in range(len(profile.channels)))
    blocks = driver(name, channels).blocks
    assert len(blocks) <= 4
    assert all(0 < block.count <= READ_MAX for block in blocks)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("dse73xx", {"W": -12_345, "export_wh": 987_600, "fuel": 0.42, "setpoint": -9000}),
        ("relay_pump", {"on": 1, "W": 2980, "flow_lpm": 89.5, "import_wh": 4_000_000_000}),
        ("level_4_20ma", {"level": 0.625}),
        ("evse", {"W": 11_000, "import_wh": 123, "soc": 0.555, "connected": 1, "setpoint": 7400}),
    ],
)
def test_values_survive_the_registers(name: str, values: dict[str, float | None]) -> None:
    found = readings(name, image_of(name, values))
    assert {point: found[point] for point in values} == values


@given(st.lists(st.integers(0, 2**32 - 2), min_size=16, max_size=16))
def test_pulses_become_whole_millilitres(pulses: list[int]) -> None:
    channels = tuple(f"home-{i:02}.water" for i in range(16))
    values = {f"{c}_ml": float(p * 10) for c, p in zip(channels, pulses, strict=True)}
    found = readings("pulse_counter_16", image_of("pulse_counter_16", dict(values), channels), channels)
    assert found == values
    assert all(isinstance(value, int) for value in found.values())


@pytest.mark.parametrize(
    ("name", "registers", "point"),
    [
        ("dse73xx", {(3, 1027): 0xFFFF}, "fuel"),
        ("dse73xx", {(3, 1027): 0xFFF8}, "fuel"),
        ("dse73xx", {(3, 1536): 0x7FFF, (3, 1537): 0xFFFA}, "W"),
        ("dse73xx", {(3, 1800): 0xFFFF, (3, 1801): 0xFFFF}, "export_wh"),
        ("relay_pump", {(4, 0): 0x8000, (4, 1): 0}, "W"),
        ("level_4_20ma", {(4, 0): 3599}, "level"),
        ("level_4_20ma", {(4, 0): 21_001}, "level"),
        ("level_4_20ma", {(4, 0): 0}, "level"),
        ("evse", {(3, 4): 0xFFFF}, "soc"),
        ("evse", {(3, 5): 2}, "connected"),
    ],
)
def test_sentinels_and_broken_wires_are_no_numbers(
    name: str, registers: dict[tuple[int, int], int], point: str
) -> None:
    assert readings(name, registers)[point] is None


def test_a_level_just_under_4_ma_is_an_empty_tank() -> None:
    assert readings("level_4_20ma", {(4, 0): 3700})["level"] == 0
    assert readings("level_4_20ma", {(4, 0): 20_400})["level"] == 1


def test_engine_speed_tells_whether_the_genset_runs() -> None:
    assert readings("dse73xx", {(3, 1030): 1500})["running"] == 1
    assert readings("dse73xx", {(3, 1030): 90})["running"] == 0


def test_writes_follow_the_steps() -> None:
    (start_w, start_key) = driver("dse73xx").writes("setpoint", -9000, 0, 0, [])
    assert (start_w.address, start_w.values) == (42496, (0, 9000))
    assert start_key.values[0] ^ start_key.values[1] == 0xFFFF
    (_, stop_key) = driver("dse73xx").writes("setpoint", 0, 0, 0, [])
    assert stop_key.values == (35733, 29802)
    assert driver("relay_pump").writes("on", 1, 0, 0, [])[0].function == 5
    assert driver("evse").keep_alive_ms("setpoint") == 300_000


@pytest.mark.parametrize(
    ("name", "point", "value"), [("evse", "setpoint", -1), ("evse", "W", 5), ("relay_pump", "on", 2)]
)
def test_a_profile_writes_only_what_it_names_within_its_range(name: str, point: str, value: float) -> None:
    with pytest.raises(Unwritable):
        driver(name).writes(point, value, 0, 0, [])


def test_rollover_counts_in_our_unit() -> None:
    assert driver("pulse_counter_16", ("a",)).rollover("a_ml", []) == 2**32 * 10
    assert driver("dse73xx").rollover("export_wh", []) == 2**32 * 100


def test_base_1_and_low_word_first() -> None:
    profile = parse_profile(
        "x", 'title="t"\nsource="s"\nbase=1\nword_order="low-first"\n[point.W]\naddress=1\ntype="int32"\n'
    )
    point = point_of(profile, "W")
    assert point.address == 0
    words = encode_point(profile, point, -2)
    assert words == (0xFFFE, 0xFFFF)
    assert ProfileDriver(profile).blocks[0].decode(words) == [-2]


BROKEN = """
titel = "spelled wrong"
source = "nowhere"
function = 9
word_order = "middle"
base = true
[point.W]
adress = 3
type = "u8"
scale = 0
[point.on]
address = 70000
function = 1
absent = ["x"]
raw_range = [5, 1]
clamp = [1]
[point.both]
address = 3
type = "bit"
function = 3
[write.W]
steps = []
[write.on]
range = [0, 1]
steps = [
  { function = 3, address = 1 },
  { function = 6, address = 1, type = "uint32" },
  { adress = 4, function = 5, scale = 0 },
]
"""


def test_a_bad_profile_lists_everything_that_is_wrong() -> None:
    with pytest.raises(BadProfile) as caught:
        parse_profile("broken", BROKEN)
    text = "\n".join(caught.value.problems)
    for expected in (
        "unknown key 'titel': did you mean 'title'?",
        "title is missing",
        "function is 9",
        "word_order is 'middle'",
        "base is True",
        "[point.W]: unknown key 'adress': did you mean 'address'?",
        "[point.W]: address is missing",
        "[point.W]: type is 'u8'",
        "[point.W]: scale is 0",
        "[point.on]: address is 70000",
        "[point.on]: type uint16 does not go with read function 1",
        "[point.on]: absent is ['x']",
        "[point.on]: raw_range is [5, 1]",
        "[point.on]: clamp is [1]",
        "[point.both]: type bit does not go with read function 3",
        "[write.W]: range is missing",
        "[write.W]: steps is missing",
        "step 1: function is 3",
        "step 2: function 6 writes one register",
        "step 3: unknown key 'adress'",
        "step 3: scale is 0",
    ):
        assert expected in text
    assert all(problem.startswith("profile broken: ") for problem in caught.value.problems)


VARIANTS = """
title = "t"
source = "s"
level = "gold"
[point.W]
address = 3
type = "uint16"
sum = 3
scale = -10
[point.state]
address = 9
mask = 6
[write.state]
range = [0, 3]
steps = [{ function = 6, address = 9 }]
[variant.hv]
drop = ["state"]
point.W = { scale = -100 }
"""


def test_a_variant_overrides_single_keys_and_drops_points() -> None:
    base, high = parse_profile("x", VARIANTS), parse_profile("x", VARIANTS, "hv")
    assert (base.name, high.name, base.variants, high.level) == ("x", "x.hv", ("hv",), "gold")
    assert [point.name for point in high.points] == ["W"]
    assert point_of(high, "W").address == 3
    assert not high.writes
    assert ProfileDriver(high).blocks[0].decode((1, 2, 3)) == [-600]


def test_a_sum_and_a_mask_read_back_and_a_sum_without_one_part_is_no_number() -> None:
    profile = parse_profile("x", VARIANTS.replace("[point.W]", "[point.W]\nabsent = [65535]"))
    power, state = ProfileDriver(profile).blocks
    assert sum(encode_point(profile, point_of(profile, "W"), -1000)) == 100
    assert power.decode((40, 65535, 2)) == [None]
    assert state.decode((0b1100,)) == [2]
    assert encode_point(profile, point_of(profile, "state"), 3) == (6,)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('level = "gold"', 'level = "lead"', "level is 'lead', must be one of bronze, silver, gold"),
        ('drop = ["state"]', 'drop = ["stat"]', "profile x.hv: drop: 'stat' is no point"),
        ("point.W = { scale = -100 }", "point.W = { scal = -100 }", "profile x.hv: [point.W]: unknown key 'scal'"),
        ("mask = 6", 'mask = 6\ntype = "int16"', "mask does not go with type int16"),
        ("sum = 3", "sum = 9", "sum is 9, must be 1 to 8"),
    ],
)
def test_faults_of_variants_and_new_keys_are_named(old: str, new: str, expected: str) -> None:
    with pytest.raises(BadProfile) as caught:
        parse_profile("x", VARIANTS.replace(old, new))
    (problem,) = caught.value.problems
    assert expected in problem


def test_an_unknown_variant_names_those_there_are() -> None:
    with pytest.raises(BadProfile, match=r"deye_3p has no variant 'hvv': there are grid, pv, hv"):
        load_profile("deye_3p.hvv")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "point = 3",
        "[point]\nW = 3",
        "= 3",
        "variant = 3",
        "[variant]\nx = 3",
        "[channel]",
        "channel = 1",
        "write = 'x'\n",
    ],
)
def test_any_text_gives_a_list_of_problems(text: str) -> None:
    with pytest.raises(BadProfile) as caught:
        parse_profile("x", text)
    assert caught.value.problems


@given(st.text(max_size=80))
def test_noise_is_never_anything_but_a_bad_profile(text: str) -> None:
    with pytest.raises(BadProfile):
        parse_profile("x", text)


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(BadProfile, match=r"no profile 'sdm630': there are .*relay_pump"):
        load_profile("sdm630")


def test_more_channels_than_the_product_has_is_a_problem() -> None:
    with pytest.raises(BadProfile, match="16 channels, the site names 17"):
        driver("pulse_counter_16", tuple(f"c{i}" for i in range(17)))
