"""Modbus RTU on a pseudo-terminal with a real line's timing: noise, silence, babble; never a wrong value."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator

import pytest

from devices.bus import BusAnswer, BusRead, BusWrite, BusWritten, ReadRequest, WriteRequest
from devices.model import BusFault, DeviceId
from devices.profile import load_profile
from devices.shell.modbus import Modbus
from devices.shell.serial_wire import LATE_S
from firmware_sim.products import Product, Rack
from firmware_sim.shell.serial_bus import Faults, SerialBus
from tests.devices.shell.conftest import WAIT_S

BAUD = 115200  # the tests' line is fast; the benchmark's is not
FIRST = (0x4366, 0)  # 230.0 as float32, which a fresh meter shows

Start = Callable[..., SerialBus]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts buses of SDM120 meters; ends them afterwards."""
    buses: list[SerialBus] = []

    def start(*units: int, faults: Faults | None = None, silent: set[int] | None = None) -> SerialBus:
        rack = Rack({unit: Product(load_profile("eastron_sdm120")) for unit in units}, silent or set())
        rack.units[99] = Product(load_profile("relay_4ch"))
        buses.append(SerialBus(rack, BAUD, faults))
        buses[-1].start()
        return buses[-1]

    yield start
    for bus in buses:
        bus.stop()


class Master:
    """A Modbus shell on one port."""

    def __init__(self, bus: SerialBus, read_only: bool = False) -> None:
        self.endpoint = f"rtu:{bus.path}?baud={BAUD}"
        self.answers: queue.Queue[BusAnswer | BusWritten] = queue.Queue()
        locked = frozenset({(self.endpoint, -1)}) if read_only else frozenset[tuple[str, int]]()
        self.modbus = Modbus(self.answers.put, read_only=locked)

    def submit(self, unit: int, address: int = 0, count: int = 2, gap_ms: int = 0) -> None:
        device = DeviceId(f"m{unit}")
        self.modbus.submit(BusRead(ReadRequest(device, address, self.endpoint, unit, 4, address, count, gap_ms)))

    def ask(self, unit: int, address: int = 0, count: int = 2, gap_ms: int = 0) -> object:
        self.submit(unit, address, count, gap_ms)
        answer = self.answers.get(timeout=20)
        assert isinstance(answer, BusAnswer)
        return answer.registers

    def tell(self, unit: int, address: int, *values: int, function: int = 5) -> object:
        request = WriteRequest(DeviceId(f"m{unit}"), "on", self.endpoint, unit, function, address, values)
        self.modbus.submit(BusWrite(request))
        answer = self.answers.get(timeout=20)
        assert isinstance(answer, BusWritten)
        return answer.fault


@pytest.fixture
def master() -> Iterator[Callable[..., Master]]:
    """Makes masters; stops them before their buses end."""
    masters: list[Master] = []

    def make(bus: SerialBus, read_only: bool = False) -> Master:
        masters.append(Master(bus, read_only))
        return masters[-1]

    yield make
    for made in masters:
        made.modbus.stop()


def test_reads_writes_and_refusals(start: Start, master: Callable[..., Master]) -> None:
    mine = master(start(1, 2))
    assert mine.ask(1) == FIRST
    assert mine.ask(2, count=76)[:2] == FIRST  # pyright: ignore[reportIndexIssue]
    assert mine.ask(1, address=500) is BusFault.EXCEPTION
    assert mine.tell(99, 2, 1) is None
    assert mine.tell(99, 2, 1, function=6) is BusFault.EXCEPTION
    assert mine.tell(99, 2, 1, function=7) is BusFault.DISCONNECTED


def test_a_read_only_bus_never_emits_a_write(start: Start, master: Callable[..., Master]) -> None:
    bus = start(1)
    mine = master(bus, read_only=True)
    assert mine.tell(99, 2, 1) is BusFault.EXCEPTION
    assert not bus.requests
    assert mine.ask(1) == FIRST


@pytest.mark.parametrize("noise", [0.2, 0.5])
def test_noise_costs_answers_but_never_gives_a_wrong_value(
    start: Start, master: Callable[..., Master], noise: float
) -> None:
    mine = master(start(1, faults=Faults(noise=noise, seed=7)))
    answers = [mine.ask(1) for _ in range(60)]
    good = [answer for answer in answers if not isinstance(answer, BusFault)]
    assert set(good) == {FIRST}
    assert len(good) >= len(answers) * (1 - noise)


def test_one_owner_per_port(start: Start, master: Callable[..., Master]) -> None:
    bus = start(1)
    first, second = master(bus), master(bus)
    assert first.ask(1) == FIRST
    assert second.ask(1) is BusFault.DISCONNECTED
    assert "another program has this port" in second.modbus.problem(second.endpoint)
    first.modbus.stop()
    time.sleep(1.1)  # the second tries again once a second
    assert second.ask(1) == FIRST
    assert second.modbus.problem(second.endpoint) == ""


def test_a_port_that_is_not_there_says_what_to_do() -> None:
    answers: queue.Queue[BusAnswer | BusWritten] = queue.Queue()
    modbus = Modbus(answers.put)
    for endpoint, said in (
        ("rtu:/dev/serial/by-id/none", "is the adapter plugged in?"),
        ("rtu:/dev/x?baud=1", "baud=1: must be"),
    ):
        modbus.submit(BusRead(ReadRequest(DeviceId("m"), 0, endpoint, 1, 3, 0, 1)))
        answer = answers.get(timeout=5)
        assert isinstance(answer, BusAnswer)
        assert answer.registers is BusFault.DISCONNECTED
        assert said in modbus.problem(endpoint)
    modbus.stop()


def test_a_babbling_bus_gives_no_value_and_comes_back(start: Start, master: Callable[..., Master]) -> None:
    bus = start(1, 2)
    mine = master(bus)
    assert mine.ask(1) == FIRST
    bus.faults.babble = True
    for _ in range(20):  # on a busy machine the babbler has pauses, and a request may get through to no answer
        assert mine.ask(1) is BusFault.GARBLED
        assert mine.ask(2) is BusFault.GARBLED
        if "jammed" in mine.modbus.problem(mine.endpoint):
            break
    assert "jammed" in mine.modbus.problem(mine.endpoint)
    bus.faults.babble = False
    assert mine.ask(2) == FIRST
    assert mine.ask(1) == FIRST


def test_a_late_answer_is_not_taken_for_the_next(start: Start, master: Callable[..., Master]) -> None:
    """The same unit, function and length at another address: on RS-485 nothing in the frame tells them apart."""
    bus = start(1, faults=Faults(late_s={1: 0.45}))
    mine = master(bus)
    assert mine.ask(1, address=0) is BusFault.TIMEOUT
    bus.faults.late_s.clear()
    current = mine.ask(1, address=6)
    assert current == (0x40A0, 0)  # 5.0 A, not the 230 V that came late
    (_, first), (_, second) = bus.requests
    assert second - first >= LATE_S


def test_the_silence_that_a_product_needs_is_kept(start: Start, master: Callable[..., Master]) -> None:
    bus = start(1)
    mine = master(bus)
    mine.ask(1)
    started = time.monotonic()
    for _ in range(5):
        mine.ask(1, gap_ms=60)
    assert time.monotonic() - started >= 0.3


def test_dead_units_leave_the_others_six_sevenths_of_the_bus(start: Start, master: Callable[..., Master]) -> None:
    """Two dead units, asked as eagerly as can be, against two that are polled back to back."""
    bus = start(1, 2)
    mine = master(bus)
    for unit in (1, 2, 8, 9):
        mine.ask(unit)
    answered = 0
    started = time.monotonic()
    for unit in (1, 2, 8, 9):
        mine.submit(unit)

    def dead() -> list[int]:
        return [unit for unit, at in bus.requests if unit in {8, 9} and at > started]

    while (lasted := time.monotonic() - started) < 4 or (set(dead()) != {8, 9} and lasted < WAIT_S):
        answer = mine.answers.get(timeout=5)
        assert isinstance(answer, BusAnswer)
        answered += not isinstance(answer.registers, BusFault)
        mine.submit(answer.request.unit)
    assert set(dead()) == {8, 9}
    assert len(dead()) <= 2 + lasted / 1.8  # 0.3 s each, 1.8 s between them
    assert answered > 40
