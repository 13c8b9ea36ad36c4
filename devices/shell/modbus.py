"""Modbus: one thread and one wire per endpoint, requests in, answers out, never an exception.

A unit that keeps silent costs a time-out on a bus that others wait for. So reads of silent units wait in a queue of
their own, and after one that cost T the next may not begin for 6 T: however many units are dead, the others keep at
least 6/7 of the bus.
"""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException, ModbusIOException
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import WriteSingleCoilRequest

from devices.bus import BusAnswer, BusRead, BusWrite, BusWritten, ReadRequest, WriteRequest
from devices.endpoints import BadEndpoint, SerialEndpoint, TcpEndpoint, parse_endpoint
from devices.model import BusFault
from devices.shell.serial_wire import TURNAROUND_S, SerialWire

TIMEOUT_S = 0.5
RECONNECT_S = 1.0
QUEUE_MAX = 1000
"""Reads waiting per endpoint at most; what comes on top is answered as a time-out at once."""
PROBE_SHARE = 6
"""A silent unit's time-out is followed by this many times as long without another one."""
_TARGET_SILENT = {0x0A, 0x0B}
"""Exception codes by which a TCP-to-serial gateway says that the device behind it does not answer."""
_BROKEN = (ModbusException, OSError, ValueError, IndexError, TypeError, struct.error)

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # every silence would be an ERROR line; the core reports it

Deliver = Callable[[BusAnswer | BusWritten], object]


class Modbus:
    """All endpoints of one gateway: Modbus TCP servers and serial ports."""

    def __init__(
        self,
        deliver: Deliver,
        endpoints: Mapping[str, str] | None = None,
        read_only: frozenset[tuple[str, int]] = frozenset(),
        timeout_s: float = TIMEOUT_S,
        wires: Mapping[str, Wire] | None = None,
    ) -> None:
        """Takes where answers go, the site's endpoints by the address really used, and what may never be written.

        `read_only` holds (endpoint, unit); unit -1 means every unit of that endpoint. `wires` are endpoints that are
        open already (the gateway's own pins).
        """
        self._deliver = deliver
        self._endpoints = dict(endpoints or {})
        self._read_only = read_only
        self._timeout_s = timeout_s
        self._buses: dict[str, _Bus] = {}
        for endpoint, wire in (wires or {}).items():
            self._start(endpoint, endpoint, wire)

    def _start(self, endpoint: str, address: str, wire: Wire) -> _Bus:
        bus = self._buses[endpoint] = _Bus(address, self._deliver, wire)
        bus.start()
        return bus

    def problem(self, endpoint: str) -> str:
        """Returns why an endpoint cannot be used at the moment, "" where it can or was never asked for."""
        bus = self._buses.get(endpoint)
        return "" if bus is None else bus.wire.problem

    def submit(self, effect: BusRead | BusWrite) -> None:
        """Queues a request; its answer is delivered from the endpoint's thread."""
        request = effect.request
        if isinstance(request, WriteRequest) and not self._may_write(request):
            self._deliver(BusWritten(request, BusFault.EXCEPTION))
            return
        bus = self._buses.get(request.endpoint)
        if bus is None:
            address = self._endpoints.get(request.endpoint, request.endpoint)
            bus = self._start(request.endpoint, address, open_wire(address, self._timeout_s))
        bus.put(request)

    def _may_write(self, request: WriteRequest) -> bool:
        return self._read_only.isdisjoint({(request.endpoint, request.unit), (request.endpoint, -1)})

    def stop(self) -> None:
        """Ends all threads; a request under way may still take its time-out."""
        for bus in self._buses.values():
            bus.stop()
        for bus in self._buses.values():
            bus.join(timeout=2 * self._timeout_s + 1)


class Wire(Protocol):
    """What a bus needs of its line; used from one thread, never raises."""

    problem: str
    late_s: float  # so long after a time-out an answer may still come that could be taken for another one's

    def read(self, request: ReadRequest) -> tuple[int, ...] | BusFault:
        """Returns the registers or bits, or why there are none."""
        ...

    def write(self, request: WriteRequest) -> BusFault | None:
        """Writes; returns None where the device took it."""
        ...

    def close(self) -> None:
        """Gives the line back."""
        ...


class NoWire:
    """Stands in for an endpoint that names no bus."""

    def __init__(self, problem: str) -> None:
        """Takes what is wrong with the endpoint."""
        self.problem = problem
        self.late_s = 0.0

    def read(self, request: ReadRequest) -> BusFault:
        """Returns DISCONNECTED."""
        return BusFault.DISCONNECTED

    def write(self, request: WriteRequest) -> BusFault:
        """Returns DISCONNECTED."""
        return BusFault.DISCONNECTED

    def close(self) -> None:
        """Does nothing."""


def open_wire(address: str, timeout_s: float = TIMEOUT_S, turnaround_s: float = TURNAROUND_S) -> Wire:
    """Returns the line behind an endpoint: `timeout_s` waits for TCP, `turnaround_s` for a device on a serial bus."""
    try:
        endpoint = parse_endpoint(address)
    except BadEndpoint as problem:
        return NoWire(str(problem))
    if isinstance(endpoint, SerialEndpoint):
        return SerialWire(endpoint, turnaround_s)
    return TcpWire(endpoint, timeout_s)


class _Bus(threading.Thread):
    """One endpoint: writes go before reads; a silent unit is asked when its turn has come."""

    def __init__(self, address: str, deliver: Deliver, wire: Wire) -> None:
        super().__init__(name=f"modbus {address}", daemon=True)
        self.wire = wire
        self._deliver = deliver
        self._wake = threading.Condition()
        self._writes: deque[WriteRequest] = deque()
        self._reads: deque[ReadRequest] = deque()
        self._probes: dict[tuple[int, str, int], ReadRequest] = {}  # by unit, device, block: asked once at a time
        self._stopping = False
        self._answering: set[int] = set()  # units that answered when they were last asked
        self._silent: dict[int, float] = {}  # unit -> when its last time-out ended
        self._probe_after = 0.0

    def put(self, request: ReadRequest | WriteRequest) -> None:
        with self._wake:
            if isinstance(request, WriteRequest):
                self._writes.append(request)
            elif request.unit in self._silent:
                self._probes[request.unit, request.device, request.block] = request
            elif len(self._reads) < QUEUE_MAX:
                self._reads.append(request)
            else:
                self._deliver(BusAnswer(request, BusFault.TIMEOUT))
            self._wake.notify()

    def stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def run(self) -> None:
        while (request := self._next()) is not None:
            started = time.monotonic()
            if isinstance(request, WriteRequest):
                fault = self.wire.write(request)
                self._heard(request.unit, fault, started)
                self._deliver(BusWritten(request, fault))
            else:
                answer = self.wire.read(request)
                self._heard(request.unit, answer if isinstance(answer, BusFault) else None, started)
                self._deliver(BusAnswer(request, answer))
        self.wire.close()

    def _heard(self, unit: int, fault: BusFault | None, started: float) -> None:
        """Keeps who answers, and how long the bus is free of probes after a time-out."""
        with self._wake:
            if fault is BusFault.TIMEOUT:
                now = time.monotonic()
                self._silent[unit] = now
                self._answering.discard(unit)
                self._probe_after = now + PROBE_SHARE * (now - started)
                for request in [waiting for waiting in self._reads if waiting.unit == unit]:
                    self._reads.remove(request)
                    self._probes[unit, request.device, request.block] = request
            elif fault is not BusFault.DISCONNECTED:
                self._silent.pop(unit, None)
                self._answering.add(unit)

    def _next(self) -> ReadRequest | WriteRequest | None:
        with self._wake:
            while not self._stopping:
                if self._writes:
                    return self._writes.popleft()
                due = self._probe_due()
                wait_s = None if due is None else due[0] - time.monotonic()
                if due is not None and wait_s is not None and wait_s <= 0:
                    return self._probes.pop(due[1])
                if self._reads:
                    return self._reads.popleft()
                self._wake.wait(wait_s)
            return None

    def _probe_due(self) -> tuple[float, tuple[int, str, int]] | None:
        """Returns when which silent unit may be asked; where no unit answers, there is nobody to wait for."""
        earliest = self._probe_after if self._answering else 0.0
        dues = [(max(earliest, self._silent.get(key[0], 0.0) + self.wire.late_s), key) for key in self._probes]
        return min(dues, default=None, key=lambda due: due[0])


class TcpWire:
    """A Modbus TCP connection by pymodbus; opened when needed, closed when its bytes can no longer be trusted."""

    def __init__(self, endpoint: TcpEndpoint, timeout_s: float) -> None:
        """Connects at the first request."""
        self._client = ModbusTcpClient(endpoint.host, port=endpoint.port, timeout=timeout_s, retries=0)
        self._address = f"{endpoint.host}:{endpoint.port}"
        self._down_until = 0.0
        self.problem = ""
        self.late_s = 0.0  # transaction numbers tell

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def _connected(self) -> bool:
        """Returns whether there is a connection; a refused one is not asked for again at once."""
        if self._client.connected:
            return True
        if time.monotonic() < self._down_until:
            return False
        if self._client.connect():
            self.problem = ""
            return True
        self.problem = f"{self._address}: nobody takes the connection"
        self._down_until = time.monotonic() + RECONNECT_S
        return False

    def read(self, request: ReadRequest) -> tuple[int, ...] | BusFault:
        """Returns the registers or bits, or why there are none."""
        if not self._connected():
            return BusFault.DISCONNECTED
        try:
            answer = self._ask(request)
        except _BROKEN as problem:
            return self._fault(problem)
        if answer.isError():
            return _refusal(answer)
        if request.function in {1, 2}:
            return tuple(int(bit) for bit in answer.bits[: request.count])
        return tuple(answer.registers)

    def _ask(self, request: ReadRequest) -> ModbusPDU:
        client, address, count, unit = self._client, request.address, request.count, request.unit
        match request.function:
            case 1:
                return client.read_coils(address, count=count, device_id=unit)
            case 2:
                return client.read_discrete_inputs(address, count=count, device_id=unit)
            case 3:
                return client.read_holding_registers(address, count=count, device_id=unit)
            case 4:
                return client.read_input_registers(address, count=count, device_id=unit)
            case _:
                raise ValueError(f"no read function {request.function}")

    def write(self, request: WriteRequest) -> BusFault | None:
        """Writes; returns None where the device took it."""
        if not self._connected():
            return BusFault.DISCONNECTED
        try:
            answer = self._tell(request, request.values)
        except _BROKEN as problem:
            return self._fault(problem)
        return _refusal(answer) if answer.isError() else None

    def _tell(self, request: WriteRequest, values: Sequence[int]) -> ModbusPDU:
        client, address, unit = self._client, request.address, request.unit
        match request.function:
            case 5:
                if values[0] in (0, 1):
                    return client.write_coil(address, bool(values[0]), device_id=unit)
                return client.execute(False, _RawCoil(values[0], unit, address))
            case 6:
                return client.write_register(address, values[0], device_id=unit)
            case 15:
                return client.write_coils(address, [bool(value) for value in values], device_id=unit)
            case 16:
                return client.write_registers(address, list(values), device_id=unit)
            case _:
                raise ValueError(f"no write function {request.function}")

    def _fault(self, problem: Exception) -> BusFault:
        if isinstance(problem, ModbusIOException):
            return BusFault.TIMEOUT
        # Whatever else went wrong, the byte stream can no longer be trusted: start it afresh.
        self._client.close()
        return BusFault.DISCONNECTED if isinstance(problem, (ConnectionException, OSError)) else BusFault.EXCEPTION


class _RawCoil(WriteSingleCoilRequest):
    """Function 5 with a number that is no coil state; pymodbus itself knows only on and off."""

    def __init__(self, word: int, unit: int, address: int) -> None:
        super().__init__(dev_id=unit, address=address, bits=[True])
        self._word = word

    def encode(self) -> bytes:
        """Returns address and number."""
        return struct.pack(">HH", self.address, self._word)


def _refusal(answer: ModbusPDU) -> BusFault:
    return BusFault.TIMEOUT if answer.exception_code in _TARGET_SILENT else BusFault.EXCEPTION
