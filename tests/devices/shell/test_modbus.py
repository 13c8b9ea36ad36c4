"""Modbus over real TCP: pymodbus' own server as the device, and sockets that are silent, deaf or talk nonsense."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from devices.bus import BusAnswer, BusRead, BusWrite, BusWritten, ReadRequest, WriteRequest
from devices.model import BusFault, DeviceId
from devices.shell.modbus import Modbus, open_wire
from tests.devices.shell.modbus_server import served

ME = DeviceId("meter")
TIMEOUT_S = 0.2


@pytest.fixture
def server() -> Iterator[str]:
    """A pymodbus server with unit 1 (holding registers 100-109 = 0..9)."""
    with served(100, range(10)) as endpoint:
        yield endpoint


Answer = Callable[[bytes], bytes | None]


@pytest.fixture
def raw() -> Iterator[Callable[[Answer], str]]:
    """Starts TCP devices that answer each request frame by a function; None = silence."""
    listeners: list[socket.socket] = []

    def start(answer: Answer) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def talk(connection: socket.socket) -> None:
            with connection:
                while frame := connection.recv(300):
                    reply = answer(frame)
                    if reply is not None:
                        connection.sendall(reply)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.close()


def read(endpoint: str, unit: int = 1, function: int = 3, address: int = 100, count: int = 4) -> BusRead:
    return BusRead(ReadRequest(ME, 0, endpoint, unit, function, address, count))


def write(endpoint: str, values: tuple[int, ...], unit: int = 1) -> BusWrite:
    return BusWrite(WriteRequest(ME, "setpoint", endpoint, unit, 16, 101, values))


class Caller:
    """A Modbus shell and its answers."""

    def __init__(
        self, endpoints: dict[str, str] | None = None, read_only: frozenset[tuple[str, int]] = frozenset()
    ) -> None:
        self.answers: queue.Queue[BusAnswer | BusWritten] = queue.Queue()
        self.bus = Modbus(self.answers.put, endpoints, read_only, timeout_s=TIMEOUT_S)

    def ask(self, effect: BusRead | BusWrite) -> object:
        self.bus.submit(effect)
        answer = self.answers.get(timeout=10)
        return answer.registers if isinstance(answer, BusAnswer) else answer.fault


def frame(request: bytes, pdu: bytes) -> bytes:
    return request[:4] + (len(pdu) + 1).to_bytes(2, "big") + request[6:7] + pdu


def test_a_round_trip_over_tcp(server: str) -> None:
    caller = Caller(endpoints={"site:502": server})
    assert caller.ask(read("site:502")) == (0, 1, 2, 3)
    assert caller.ask(write("site:502", (77, 78))) is None
    assert caller.ask(read("site:502")) == (0, 77, 78, 3)
    assert caller.ask(read("site:502", address=5000)) is BusFault.EXCEPTION
    caller.bus.stop()


def test_read_only_never_emits_a_write(server: str) -> None:
    for read_only in (frozenset({(server, 1)}), frozenset({(server, -1)})):
        caller = Caller(read_only=read_only)
        assert caller.ask(write(server, (55,))) is BusFault.EXCEPTION
        assert caller.ask(read(server, address=101, count=1)) == (1,)
        caller.bus.stop()


def test_a_silent_unit_neither_closes_the_line_nor_stops_the_others(raw: Callable[[Answer], str]) -> None:
    connections: set[int] = set()

    def answer(request: bytes) -> bytes | None:
        connections.add(threading.get_ident())
        return None if request[6] == 9 else frame(request, b"\x03\x02\x00\x2a")

    endpoint = raw(answer)
    caller = Caller()
    for _ in range(3):
        assert caller.ask(read(endpoint, unit=9, count=1)) is BusFault.TIMEOUT
        assert caller.ask(read(endpoint, unit=1, count=1)) == (42,)
    assert len(connections) == 1
    caller.bus.stop()


def test_a_late_answer_is_not_taken_for_the_next(raw: Callable[[Answer], str]) -> None:
    late: list[bytes] = []

    def answer(request: bytes) -> bytes | None:
        if not late:
            late.append(frame(request, b"\x03\x02\x00\x01"))
            return None
        return late[0] + frame(request, b"\x03\x02\x00\x02")

    endpoint = raw(answer)
    caller = Caller()
    assert caller.ask(read(endpoint, count=1)) is BusFault.TIMEOUT
    assert caller.ask(read(endpoint, count=1)) == (2,)
    caller.bus.stop()


@pytest.mark.parametrize(
    ("pdu", "fault"),
    [
        (b"\x83\x02", BusFault.EXCEPTION),
        (b"\x83\x0b", BusFault.TIMEOUT),  # the serial gateway's word for a device that does not answer
        (b"\x83\x0a", BusFault.TIMEOUT),
    ],
)
def test_exception_codes(raw: Callable[[Answer], str], pdu: bytes, fault: BusFault) -> None:
    caller = Caller()
    assert caller.ask(read(raw(lambda request: frame(request, pdu)))) is fault
    caller.bus.stop()


@pytest.mark.parametrize(
    "reply",
    [
        lambda request: b"\x00" * 300,
        lambda request: b"HTTP/1.1 400 Bad Request\r\n\r\n",
        lambda request: frame(request, b"\x03"),
        lambda request: frame(request, b"\x03\xff\x00"),
        lambda request: frame(request, b"\x99\x00\x00"),
        lambda request: frame(request, b"\x10\x00\x00\x00\x01"),
        lambda request: frame(request, b""),
    ],
    ids=["zeros", "http", "no length", "short", "unknown function", "another function", "empty"],
)
def test_nonsense_is_a_fault_or_wrong_length_and_the_line_recovers(raw: Callable[[Answer], str], reply: Answer) -> None:
    replies: list[Answer] = [reply]

    def answer(request: bytes) -> bytes | None:
        return replies.pop()(request) if replies else frame(request, b"\x03\x02\x00\x2a")

    endpoint = raw(answer)
    caller = Caller()
    first = caller.ask(read(endpoint, count=1))
    assert isinstance(first, BusFault) or first == ()
    deadline = time.monotonic() + 10
    while caller.ask(read(endpoint, count=1)) != (42,):
        assert time.monotonic() < deadline, "the line must come back"
    caller.bus.stop()


def test_nobody_there_is_disconnected_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    caller = Caller()
    assert [caller.ask(read(f"127.0.0.1:{port}")) for _ in range(20)] == [BusFault.DISCONNECTED] * 20
    assert caller.ask(write(f"127.0.0.1:{port}", (1,))) is BusFault.DISCONNECTED
    caller.bus.stop()


def test_writes_go_before_waiting_reads(raw: Callable[[Answer], str]) -> None:
    seen: list[int] = []
    gate = threading.Event()

    def answer(request: bytes) -> bytes:
        gate.wait(TIMEOUT_S / 2)
        seen.append(request[7])
        return frame(request, b"\x10\x00\x65\x00\x01" if request[7] == 16 else b"\x03\x02\x00\x2a")

    endpoint = raw(answer)
    caller = Caller()
    for _ in range(4):
        caller.bus.submit(read(endpoint, count=1))
    caller.bus.submit(write(endpoint, (1,)))
    gate.set()
    for _ in range(5):
        caller.answers.get(timeout=10)
    assert seen.index(16) <= 1
    caller.bus.stop()


def test_a_relays_own_timer_goes_out_over_tcp_as_it_is() -> None:
    """Function 5 with a number that is no coil state, which pymodbus itself cannot say."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        wire = open_wire(f"127.0.0.1:{server.getsockname()[1]}", 5.0)
        heard: list[bytes] = []

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                heard.append(peer.recv(64))
                peer.sendall(heard[0])  # a relay echoes the request

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        assert wire.write(WriteRequest(DeviceId("r"), "on", "", 1, 5, 0x200, (7,))) is None
        thread.join(5)
        wire.close()
    assert heard[0][6:] == bytes.fromhex("01 05 0200 0007")
