"""Modbus TCP: one thread and one connection per endpoint, requests in, answers out, never an exception."""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException, ModbusIOException
from pymodbus.pdu import ModbusPDU

from devices.bus import BusAnswer, BusRead, BusWrite, BusWritten, ReadRequest, WriteRequest
from devices.model import BusFault

TIMEOUT_S = 0.5
RECONNECT_S = 1.0
QUEUE_MAX = 1000
"""Reads waiting per endpoint at most; what comes on top is answered as a time-out at once."""
_TARGET_SILENT = {0x0A, 0x0B}
"""Exception codes by which a TCP-to-serial gateway says that the device behind it does not answer."""
_BROKEN = (ModbusException, OSError, ValueError, IndexError, TypeError, struct.error)

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # every silence would be an ERROR line; the core reports it

Deliver = Callable[[BusAnswer | BusWritten], object]


class Modbus:
    """All endpoints of one gateway."""

    def __init__(
        self,
        deliver: Deliver,
        endpoints: Mapping[str, str] | None = None,
        read_only: frozenset[tuple[str, int]] = frozenset(),
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Takes where answers go, the site's endpoints by the address really used, and what may never be written.

        `read_only` holds (endpoint, unit); unit -1 means every unit of that endpoint.
        """
        self._deliver = deliver
        self._endpoints = dict(endpoints or {})
        self._read_only = read_only
        self._timeout_s = timeout_s
        self._buses: dict[str, _Bus] = {}

    def submit(self, effect: BusRead | BusWrite) -> None:
        """Queues a request; its answer is delivered from the endpoint's thread."""
        request = effect.request
        if isinstance(request, WriteRequest) and not self._may_write(request):
            self._deliver(BusWritten(request, BusFault.EXCEPTION))
            return
        bus = self._buses.get(request.endpoint)
        if bus is None:
            address = self._endpoints.get(request.endpoint, request.endpoint)
            bus = self._buses[request.endpoint] = _Bus(address, self._deliver, self._timeout_s)
            bus.start()
        bus.put(request)

    def _may_write(self, request: WriteRequest) -> bool:
        return self._read_only.isdisjoint({(request.endpoint, request.unit), (request.endpoint, -1)})

    def stop(self) -> None:
        """Ends all threads; a request under way may still take its time-out."""
        for bus in self._buses.values():
            bus.stop()
        for bus in self._buses.values():
            bus.join(timeout=2 * self._timeout_s + 1)


class _Bus(threading.Thread):
    """One endpoint: writes go before reads, one request at a time."""

    def __init__(self, address: str, deliver: Deliver, timeout_s: float) -> None:
        super().__init__(name=f"modbus {address}", daemon=True)
        host, _, port = address.rpartition(":")
        self._client = ModbusTcpClient(host or "127.0.0.1", port=int(port), timeout=timeout_s, retries=0)
        self._deliver = deliver
        self._wake = threading.Condition()
        self._writes: deque[WriteRequest] = deque()
        self._reads: deque[ReadRequest] = deque()
        self._stopping = False
        self._down_until = 0.0

    def put(self, request: ReadRequest | WriteRequest) -> None:
        with self._wake:
            if isinstance(request, WriteRequest):
                self._writes.append(request)
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
            if isinstance(request, WriteRequest):
                self._deliver(BusWritten(request, self._write(request)))
            else:
                self._deliver(BusAnswer(request, self._read(request)))
        self._client.close()

    def _next(self) -> ReadRequest | WriteRequest | None:
        with self._wake:
            while not (self._stopping or self._writes or self._reads):
                self._wake.wait()
            if self._stopping:
                return None
            return self._writes.popleft() if self._writes else self._reads.popleft()

    def _connected(self) -> bool:
        """Returns whether there is a connection; a refused one is not asked for again at once."""
        if self._client.connected:
            return True
        if time.monotonic() < self._down_until:
            return False
        if self._client.connect():
            return True
        self._down_until = time.monotonic() + RECONNECT_S
        return False

    def _read(self, request: ReadRequest) -> tuple[int, ...] | BusFault:
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

    def _write(self, request: WriteRequest) -> BusFault | None:
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
                return client.write_coil(address, bool(values[0]), device_id=unit)
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


def _refusal(answer: ModbusPDU) -> BusFault:
    return BusFault.TIMEOUT if answer.exception_code in _TARGET_SILENT else BusFault.EXCEPTION
