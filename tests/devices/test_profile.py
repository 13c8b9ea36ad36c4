"""Profiles: every shipped one loads, reads back what its own encoder wrote, and a bad one lists all its faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import devices
from devices.bus import BusRead
from devices.clock import Instant
from devices.drivers import Unwritable
from devices.model import DeviceId, DeviceKind, DeviceSpec, Readings
from devices.poll import Unit
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
from devices.profile_levels import Standing, standing
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
    assert (base.name, high.name, base.variants) == ("x", "x.hv", ("hv",))
    assert [point.name for point in high.points] == ["W"]
    assert point_of(high, "W").address == 3
    assert not high.writes
    assert ProfileDriver(high).blocks[0].decode((1, 2, 3)) == [-600]


SCALED = """title = "t"
source = "s"
base = 1
[point.W]
address = 10
type = "int16"
scale = 1000
scale_at = 300
[point.import_wh]
address = 20
type = "uint32"
scale_at = 302
[point.hz]
address = 22
scale = 0.01
"""


def test_scale_registers_are_read_first_and_count_with_the_values_of_the_same_poll() -> None:
    made = ProfileDriver(parse_profile("t", SCALED))
    assert [(b.address, b.count, b.points, b.scaled) for b in made.blocks] == [
        (299, 3, (), False),
        (21, 1, ("hz",), False),
        (9, 1, ("W",), True),
        (19, 2, ("import_wh",), True),
    ]
    unit = Unit(DeviceSpec(DeviceId("m"), DeviceKind.METER, "profile:eastron_sdm120", "g"))
    unit._compile(made)
    for scales, expected in (((1, 0, 0xFFFF), (50.0, 70_000.0, 6554)), ((0, 0, 0x8000), (50.0, 7000.0, None))):
        answers = [scales, (5000,), (7,), (1, 0)]
        step = unit.begin(0)
        for answer in answers:
            assert isinstance(step, BusRead)
            step = unit.answer(step.request, answer, Instant(0), 0, 1000)
        assert isinstance(step, Readings)
        assert step.values == expected
    assert made.rollover("W", [(1, 0, 0xFFFF)]) == 327_680_000
    assert made.rollover("import_wh", [(1, 0, 0xFFFF)]) == round(0.1 * 2**32)
    assert made.rollover("import_wh", [None]) == 0, "unknown: no roll-over is assumed"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("scale_at = 302", "scale_at = 502", "scale_at is 299 to 501: more than 125 registers"),
        ("address = 10\n", "address = 10\nfunction = 4\n", "scale_at is used with two read functions"),
    ],
)
def test_scale_registers_that_no_one_request_reads_are_a_fault(old: str, new: str, expected: str) -> None:
    with pytest.raises(BadProfile, match=expected):
        parse_profile("t", SCALED.replace(old, new))


def test_an_unread_scale_register_makes_its_points_bad_and_no_others() -> None:
    made = ProfileDriver(parse_profile("t", SCALED))
    _, hz, power, _ = made.blocks
    assert hz.decode((5000,), None) == [50.0]
    assert power.decode((7,), None) == [None]


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
        ('source = "s"', 'source = "s"\nlevel = "gold"', "unknown key 'level'"),
        ('drop = ["state"]', 'drop = ["stat"]', "profile x.hv: drop: 'stat' is no point"),
        ("point.W = { scale = -100 }", "point.W = { scal = -100 }", "profile x.hv: [point.W]: unknown key 'scal'"),
        ("mask = 6", 'mask = 6\ntype = "int16"', "mask does not go with type int16"),
        ("sum = 3", "sum = 9", "sum is 9, must be 1 to 8"),
        ("sum = 3", "sum = 3\nscale_at = 70000", "scale_at is 70000, must be 0 to 65535"),
        ("mask = 6", "mask = 6\nscale_at = 7", "scale_at does not go with offset or mask"),
        ('type = "uint16"\nsum = 3', 'type = "float32"\nscale_at = 7', "scale_at does not go with type float32"),
    ],
)
def test_faults_of_variants_and_new_keys_are_named(old: str, new: str, expected: str) -> None:
    with pytest.raises(BadProfile) as caught:
        parse_profile("x", VARIANTS.replace(old, new))
    (problem,) = caught.value.problems
    assert expected in problem


FRAMED = """title = "t"
source = "s"
function = 4
[point]
V = { address = 0, type = "float32" }
[[golden]]
source = "manual, p. 1"
request = "01 04 0000 0002 71CB"
response = "01 04 04 4366 3334 1B38"
reads = { V = 230.2 }
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("71CB", "71CC", "request has a wrong CRC, 71 cc"),
        ("1B38", "1B", "response has a wrong CRC"),
        ("01 04 0000", "01 04 000g", "request is not hexadecimal"),
        ("{ V = 230.2 }", "{ W = 230.2 }", "reads names 'W': there are V"),
        ("{ V = 230.2 }", '{ V = "230" }', "reads V is '230', must be a number"),
        ("reads = ", "writes = ", "writes names 'V': there are none"),
        ("reads = { V = 230.2 }", "", "has either reads or writes"),
        ('source = "manual, p. 1"\n', "", "source is missing"),
        ('"01 04 04 4366 3334 1B38"', '"01 04 0000 0002 71CB"', "response is no answer to the request"),
        ('"01 04 0000 0002 71CB"', '"01 05 0000 FF00 8C3A"', "request has function 5, which does not read"),
        ("[[golden]]", "[golden]", "must be of type list"),
    ],
)
def test_golden_frames_that_prove_nothing_are_faults(old: str, new: str, expected: str) -> None:
    assert len(parse_profile("x", FRAMED).golden) == 1
    with pytest.raises(BadProfile, match=expected):
        parse_profile("x", FRAMED.replace(old, new))


def test_levels_are_what_is_proved() -> None:
    read_only = parse_profile("x", FRAMED)
    assert standing(read_only) == Standing("silver")
    assert standing(replace(read_only, golden=())).level == "bronze"
    relay = load_profile("relay_4ch")
    keeps = {name: replace(rule, keep_alive_s=60, fail="off") for name, rule in relay.writes.items()}
    assert standing(replace(relay, writes=keeps)) == Standing("gold")
    written = tuple(frame for frame in relay.golden if frame.reads)
    assert standing(replace(relay, writes=keeps, golden=written)).missing == (
        "a published frame or capture of a write: [[golden]]",
    )
    assert standing(load_profile("evse")) == Standing("reference")


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


SLOW = """
title = "t"
source = "s"
function = 3
[point]
W = { address = 0 }
V = { address = 1 }
celsius = { address = 2, every = 3 }
soc = { address = 50, every = 3, scale = 0.01, range = [0, 1] }
"""


def test_slow_points_are_read_at_every_third_poll_and_keep_their_last_value_between() -> None:
    driver = ProfileDriver(parse_profile("slow", SLOW))
    assert [(b.address, b.count, b.every) for b in driver.blocks] == [(0, 2, 1), (2, 1, 3), (50, 1, 3)]
    unit = Unit(DeviceSpec(DeviceId("d"), DeviceKind.METER, "profile:eastron_sdm120", "gw", "e:1", 1))
    unit._compile(driver)
    asked: list[list[int]] = []
    seen: list[tuple[float | None, ...]] = []
    for poll in range(7):
        addresses: list[int] = []
        read: object = unit.begin(poll * 1000)
        while isinstance(read, BusRead):
            request = read.request
            addresses.append(request.address)
            answer = tuple(10 * poll + a for a in range(request.count))
            read = unit.answer(request, answer, Instant(0), poll * 1000, 1000)
        assert isinstance(read, Readings)
        asked.append(addresses)
        seen.append(read.values)
    assert asked == [[0, 2, 50], [0], [0, 2, 50], [0], [0], [0, 2, 50], [0]]
    assert seen[1] == (10, 11, 0, 0)
    assert seen[4] == (40, 41, 20, 0.2)
    assert seen[5] == (50, 51, 50, 0.5)


def test_what_a_device_does_without_its_master_is_said_with_a_time() -> None:
    rule = '[write.on]\nrange = [0, 1]\nsteps = [{ function = 5, address = 0 }]\nfail = "off"\n'
    with pytest.raises(BadProfile, match="after how long"):
        parse_profile("p", SLOW + rule)
    assert parse_profile("p", SLOW + rule + "keep_alive_s = 30\n").writes["on"].fail == "off"
    assert load_profile("relay_4ch").writes["on"].fail == "stays"
    assert load_profile("relay_pump").writes["on"].fail == "reverts"


TIMED = """
title = "t"
source = "s"
function = 1
[point]
on = { address = 0, type = "bit" }
[write.on]
range = [0, 1]
steps = [
  { when = "on", function = 5, address = 512, type = "int16", timer_ms = 100 },
  { when = "off", function = 5, address = 0 },
]
"""


@pytest.mark.parametrize(
    ("valid_ms", "sent"), [(700, 7), (701, 8), (1, 2), (0, 0x7FFF), (10**9, 0x7FFF)]
)  # 1 would look like a coil's on; a lease without end is as long as the timer goes
def test_a_timer_of_the_products_own_gets_the_leases_time(valid_ms: int, sent: int) -> None:
    timed = ProfileDriver(parse_profile("t", TIMED))
    assert timed.reverts
    assert timed.profile.writes["on"].fail == "off"
    assert timed.keep_alive_ms("on") == 3_276_700, "a lease that is longer is told again before that"
    assert [(w.function, w.address, w.values) for w in timed.writes("on", 1, 0, valid_ms, [])] == [(5, 512, (sent,))]
    assert [(w.function, w.address, w.values) for w in timed.writes("on", 0, 0, valid_ms, [])] == [(5, 0, (0,))]


@pytest.mark.parametrize("wrong", ['when = "off"', "function = 16", "key = 3"])
def test_a_timer_goes_with_on_and_one_register(wrong: str) -> None:
    key = wrong.split(maxsplit=1)[0]
    right = {"when": 'when = "on"', "function": "function = 5"}.get(key, "timer_ms = 100")
    text = TIMED.replace(right, wrong if key != "key" else "timer_ms = 100, key = 3", 1)
    with pytest.raises(BadProfile, match="timer_ms goes with"):
        parse_profile("t", text)
