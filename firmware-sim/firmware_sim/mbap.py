"""Modbus TCP as a device speaks it: frames in, answers out. No I/O.

Written out here, not taken from pymodbus' server, because a simulated device must be able to keep silent and must
make its registers at the moment of the read; the tests read it back with pymodbus' and pysunspec2's clients.

Source: MODBUS Application Protocol 1.1b3; MODBUS Messaging on TCP/IP 1.0b (MBAP header).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Protocol

from devices.model import BusFault

HEADER = struct.Struct(">HHHB")  # transaction, protocol 0, length from the unit id on, unit id
LENGTH_MAX = 254
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
BITS_MAX, REGISTERS_MAX = 2000, 125
COIL_ON, COIL_OFF = 0xFF00, 0x0000
TIMERS = 0x0200
"""From here on relay boards take a time instead of a coil's state."""


class Units(Protocol):
    """The units behind one endpoint."""

    def read(self, unit: int, function: int, address: int, count: int) -> Sequence[int] | BusFault:
        """Answers a read."""
        ...

    def write(self, unit: int, function: int, address: int, values: Sequence[int]) -> BusFault | None:
        """Takes a write."""
        ...


class BrokenFrame(ValueError):
    """The byte stream is no Modbus TCP: the connection must be closed."""


class Stream:
    """One connection: bytes in any portions -> answers in order."""

    def __init__(self, units: Units) -> None:
        self._units = units
        self._buffer = bytearray()

    def receive(self, data: bytes) -> bytes:
        """Returns the answers to every whole request so far; b"" where a unit is silent.

        Raises:
            BrokenFrame: protocol id or length cannot be.
        """
        self._buffer += data
        answers = bytearray()
        while len(self._buffer) >= HEADER.size:
            transaction, protocol, length, unit = HEADER.unpack_from(self._buffer)
            if protocol != 0 or not 2 <= length <= LENGTH_MAX:
                raise BrokenFrame(f"protocol {protocol}, length {length}: not Modbus TCP")
            if len(self._buffer) < 6 + length:
                break
            pdu = bytes(self._buffer[HEADER.size : 6 + length])
            del self._buffer[: 6 + length]
            answer = respond(self._units, unit, pdu)
            if answer is not None:
                answers += HEADER.pack(transaction, 0, len(answer) + 1, unit) + answer
        return bytes(answers)


def respond(units: Units, unit: int, pdu: bytes) -> bytes | None:
    """Returns the answer to one request, None for silence."""
    function = pdu[0]
    if function in (1, 2, 3, 4):
        return _read(units, unit, pdu)
    if function not in (5, 6, 15, 16):
        return _exception(function, ILLEGAL_FUNCTION)
    values = _written(pdu)
    if values is None:
        return _exception(function, ILLEGAL_VALUE)
    fault = units.write(unit, function, int.from_bytes(pdu[1:3], "big"), values)
    return pdu[:5] if fault is None else _refusal(function, fault)


def _read(units: Units, unit: int, pdu: bytes) -> bytes | None:
    function, bits = pdu[0], pdu[0] < 3
    if len(pdu) != 5:
        return _exception(function, ILLEGAL_VALUE)
    address, count = struct.unpack_from(">HH", pdu, 1)
    if not 1 <= count <= (BITS_MAX if bits else REGISTERS_MAX):
        return _exception(function, ILLEGAL_VALUE)
    found = units.read(unit, function, address, count)
    if isinstance(found, BusFault):
        return _refusal(function, found)
    if not bits:
        return struct.pack(f">BB{count}H", function, 2 * count, *found)
    packed = sum(1 << i for i, bit in enumerate(found) if bit).to_bytes((count + 7) // 8, "little")
    return bytes((function, len(packed))) + packed


def _written(pdu: bytes) -> list[int] | None:
    """Returns the values of a write request, None where it is malformed."""
    function = pdu[0]
    if len(pdu) < 5:
        return None
    second = int.from_bytes(pdu[3:5], "big")
    if function == 5:
        if len(pdu) != 5:
            return None
        if second in (COIL_ON, COIL_OFF):
            return [int(second == COIL_ON)]
        return [second] if int.from_bytes(pdu[1:3], "big") >= TIMERS else None
    if function == 6:
        return [second] if len(pdu) == 5 else None
    size = (second + 7) // 8 if function == 15 else 2 * second
    if second < 1 or len(pdu) != 6 + size or pdu[5] != size:
        return None
    if function == 16:
        return list(struct.unpack_from(f">{second}H", pdu, 6))
    mask = int.from_bytes(pdu[6:], "little")
    return [mask >> i & 1 for i in range(second)]


def _refusal(function: int, fault: BusFault) -> bytes | None:
    return _exception(function, ILLEGAL_ADDRESS) if fault is BusFault.EXCEPTION else None


def _exception(function: int, code: int) -> bytes:
    return bytes((function | 0x80, code))
