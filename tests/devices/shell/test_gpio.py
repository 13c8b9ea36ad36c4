"""The pins by gpiozero on its mock factory: relays, debounce, pulses that outlive `kill -9`, a machine without pins."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpiozero.pins.mock import MockFactory

from devices.bus import ReadRequest, WriteRequest
from devices.clock import Instant
from devices.gateway_events import Tag
from devices.gpio import GpioDriver, pulse_address
from devices.model import BusFault, DeviceId, DeviceKind, DeviceSpec, PinSpec
from devices.shell import pin_holders
from devices.shell.gpio import GpioWire, open_factory
from devices.shell.guard_file import CountFile, Guard, GuardDamaged, GuardFile

ME = DeviceId("pump-1")
COUNTER = PinSpec("home-01.water_ml", 22, "counter", debounce_ms=0, ml_per_pulse=1000.0)


def device(*pins: PinSpec) -> DeviceSpec:
    return DeviceSpec(ME, DeviceKind.PUMP, "gpio:header", "gw-1", "gpio:header", pins=pins)


def read(wire: GpioWire, function: int, address: int, count: int = 1) -> tuple[int, ...] | BusFault:
    return wire.read(ReadRequest(ME, 0, "gpio:header", 0, function, address, count))


def write(wire: GpioWire, pin: int, *values: int) -> BusFault | None:
    return wire.write(WriteRequest(ME, "on", "gpio:header", 0, 5, pin, values))


@pytest.fixture
def counts(tmp_path: Path) -> Iterator[CountFile]:
    file = CountFile(tmp_path / "counts.bin")
    yield file
    file.close()


@pytest.fixture
def factory() -> Iterator[MockFactory]:
    made = MockFactory()
    yield made
    made.close()
    made.reset()


def test_a_relay_boots_switches_reads_back_and_ends_in_its_fail_state(counts: CountFile, factory: MockFactory) -> None:
    low = PinSpec("on", 17, "relay", active_low=True)
    closed = PinSpec("on", 18, "relay", boot=True, fail=True)
    wire = GpioWire([device(low), device(closed)], counts, lambda: factory)
    assert wire.problem == ""
    assert (factory.pin(17).state, factory.pin(18).state) == (True, True), "active low: off is high"
    assert read(wire, 1, 17) == (0,)
    assert write(wire, 17, 1) is None
    assert (factory.pin(17).state, read(wire, 1, 17)) == (False, (1,))
    assert write(wire, 17, 1, 1) is BusFault.EXCEPTION
    assert write(wire, 4, 1) is BusFault.DISCONNECTED
    assert write(wire, 18, 0) is None
    wire.close()
    ends = [factory.pin(pin).states[-1].state for pin in (17, 18)]
    assert ends == [True, True], "off by an active-low relay, on by the other's fail state"
    assert read(wire, 1, 17) is BusFault.DISCONNECTED


def test_a_switch_counts_after_its_debounce_time_only(counts: CountFile, factory: MockFactory) -> None:
    float_ = PinSpec("on", 5, "switch", active_low=True, pull="up", debounce_ms=150)
    wire = GpioWire([device(float_)], counts, lambda: factory)
    pin = factory.pin(5)
    assert read(wire, 2, 5) == (0,), "pulled up and open: off"
    pin.drive_low()
    assert read(wire, 2, 5) == (0,), "not yet"
    pin.drive_high()
    pin.drive_low()
    time.sleep(0.2)
    assert read(wire, 2, 5) == (1,)
    assert write(wire, 5, 1) is BusFault.EXCEPTION, "an input is never written"
    wire.close()


@pytest.mark.parametrize(
    ("pull", "active_low", "level", "value"),
    [
        ("none", False, True, 1),
        ("none", True, True, 0),
        ("up", True, False, 1),
        ("up", False, True, 1),
        ("down", False, True, 1),
        ("down", True, False, 1),
    ],
)
def test_active_level_and_pull_are_independent(
    counts: CountFile, factory: MockFactory, pull: str, active_low: bool, level: bool, value: int
) -> None:
    wire = GpioWire([device(PinSpec("on", 6, "switch", active_low, pull))], counts, lambda: factory)
    pin = factory.pin(6)
    if level:
        pin.drive_high()
    else:
        pin.drive_low()
    read(wire, 2, 6)
    assert read(wire, 2, 6) == (value,)
    wire.close()


def test_pulses_are_counted_and_go_on_after_a_restart(tmp_path: Path, factory: MockFactory) -> None:
    for total in (5, 10):
        kept = CountFile(tmp_path / "c.bin")
        wire = GpioWire([device(COUNTER)], kept, lambda: factory)
        for _ in range(5):
            factory.pin(22).drive_high()
            factory.pin(22).drive_low()
        words = read(wire, 4, pulse_address(22), 7)
        assert isinstance(words, tuple)
        assert words[3] == total
        assert read(wire, 4, pulse_address(22), 3) is BusFault.EXCEPTION
        wire.close()
        kept.close()


@pytest.mark.parametrize(("reverse_low", "level"), [(False, True), (True, False)])
def test_pulses_follow_their_direction_pin(
    tmp_path: Path, factory: MockFactory, reverse_low: bool, level: bool
) -> None:
    pin = PinSpec("volume_ml", 22, "counter", ml_per_pulse=1000.0, direction=23, reverse_low=reverse_low)
    spec = DeviceSpec(ME, DeviceKind.FLOW_METER, "gpio:header", "gw-1", "gpio:header", pins=(pin,))
    for forward, backward in ((3, 2), (6, 4)):  # the second time after a restart
        kept = CountFile(tmp_path / "c.bin")
        wire = GpioWire([spec], kept, lambda: factory)
        assert wire.problem == ""
        for backs, count in ((False, 3), (True, 2)):
            if level is backs:
                factory.pin(23).drive_high()
            else:
                factory.pin(23).drive_low()
            for _ in range(count):
                factory.pin(22).drive_high()
                factory.pin(22).drive_low()
        block = GpioDriver(spec).blocks[0]
        words = read(wire, block.function, block.address, block.count)
        assert isinstance(words, tuple)
        values = dict(zip(block.points, block.decode(words), strict=True))
        assert (values["volume_ml"], values["reverse"]) == (forward * 1000, 1.0)
        assert kept.get("pulse/volume_ml") == (forward, backward)
        wire.close()
        kept.close()


CHILD = """
import sys, time
from pathlib import Path
from gpiozero.pins.mock import MockFactory
from devices.model import DeviceId, DeviceKind, DeviceSpec, PinSpec
from devices.shell.gpio import GpioWire
from devices.shell.guard_file import CountFile
counts, factory = CountFile(Path(sys.argv[1])), MockFactory()
pin = PinSpec("w_ml", 22, "counter", ml_per_pulse=1000.0)
spec = DeviceSpec(DeviceId("w"), DeviceKind.WATER_METERS, "gpio:header", "g", "gpio:header", pins=(pin,))
wire, total = GpioWire([spec], counts, lambda: factory), counts.get("pulse/w_ml")[0]
while True:
    factory.pin(22).drive_high()
    factory.pin(22).drive_low()
    total += 1
    print(total, flush=True)
"""


@pytest.mark.integration
def test_no_pulse_is_lost_by_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "counts.bin"
    seen = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        ) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(200)]
            os.kill(child.pid, signal.SIGKILL)
            lines += child.stdout.read().splitlines()
        whole = [int(line) for line in lines if line.strip().isdigit()]
        assert whole[0] == seen + 1
        kept = CountFile(path)
        seen = kept.get("pulse/w_ml")[0]
        kept.close()
        assert seen in (whole[-1], whole[-1] + 1, whole[-2] + 1), "every pulse that was told is there"


def test_a_machine_without_pins_says_what_to_do_and_reads_bad(counts: CountFile) -> None:
    wire = GpioWire([device(COUNTER)], counts)
    if Path("/dev/gpiochip0").exists():
        pytest.skip("this machine has pins")
    assert "lgpio" in wire.problem or "gpiochip" in wire.problem
    assert read(wire, 4, pulse_address(22), 7) is BusFault.DISCONNECTED
    with pytest.raises(OSError, match=r"atoll\[gpio\]|gpiochip"):
        open_factory()
    assert GpioWire([], counts).problem == "", "nobody asks for pins that no device has"


def test_a_pin_that_another_has_is_named_and_the_others_work(counts: CountFile, factory: MockFactory) -> None:
    from gpiozero import LED

    taken = LED(17, pin_factory=factory)
    wire = GpioWire([device(PinSpec("on", 17, "relay")), device(PinSpec("on", 18, "relay"))], counts, lambda: factory)
    assert "GPIO17" in wire.problem
    assert read(wire, 1, 17) is BusFault.DISCONNECTED
    assert read(wire, 1, 18) == (0,)
    wire.close()
    taken.close()


def test_a_torn_slot_leaves_the_number_before(tmp_path: Path) -> None:
    path = tmp_path / "c.bin"
    kept = CountFile(path)
    kept.put("a", 1, 7)
    kept.put("b", 5)
    kept.put("a", 2)
    kept.close()
    data = bytearray(path.read_bytes())
    assert CountFile(path).get("a") == (2, 0)
    for index in range(0, len(data), 3):
        torn = bytearray(data)
        torn[index] ^= 0xFF
        path.write_bytes(torn)
        assert CountFile(path).get("a") in {(1, 7), (2, 0)}, index
    full = CountFile(tmp_path / "d.bin")
    for number in range(64):
        full.put(f"n{number}", number)
    with pytest.raises(ValueError, match="no room"):
        full.put("one more", 1)
    full.close()


def test_tags_come_back_and_a_damaged_file_is_never_taken_for_none(tmp_path: Path) -> None:
    file = GuardFile(tmp_path / "guard.json")
    assert file.load() == Guard()
    tag = Tag(ME, "ana", "bearing", Instant(5))
    file.save([tag], {"feeder"})
    assert GuardFile(tmp_path / "guard.json").load() == Guard((tag,), frozenset({"feeder"}))
    for text in ("", "{}", "[]", '{"tags": [[1]], "latched": []}', '{"tags": 5, "latched": []}'):
        (tmp_path / "guard.json").write_text(text)
        with pytest.raises(GuardDamaged, match="what is locked out"):
            file.load()


def test_the_kernels_own_words_are_read() -> None:
    line = struct.pack("=32s32sIIQ160s16s", b"GPIO4", b"onewire@0", 4, 0, 0b1001, b"", b"")
    assert len(line) == 256
    assert pin_holders.parse_line(line) == pin_holders.Line(4, "GPIO4", "onewire@0", used=True, output=True)
    chip = struct.pack("=32s32sI", b"gpiochip0", b"pinctrl-bcm2711", 58)
    assert pin_holders.parse_chip(chip) == ("gpiochip0", "pinctrl-bcm2711", 58)


def test_without_a_chip_or_with_another_the_reason_is_named(tmp_path: Path) -> None:
    assert "no GPIO" in pin_holders.header_lines(tmp_path)[1]
    (tmp_path / "gpiochip0").write_bytes(b"")
    lines, problem = pin_holders.header_lines(tmp_path)
    assert lines == {}
    assert "gpiochip0" in problem
