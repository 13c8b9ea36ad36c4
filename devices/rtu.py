"""Modbus RTU as a master speaks it: requests to frames, noisy bytes to answers. No I/O.

Written out here, not taken from pymodbus, because on RS-485 an answer carries neither address nor transaction number:
what is taken for an answer must be chosen with more care (unit, function, length and CRC must all fit; garbage before
and after is skipped), and the line needs its silences. pymodbus and libmodbus are the peers in the tests.

Source: MODBUS over Serial Line 1.02, sections 2.5.1 and 6.2; MODBUS Application Protocol 1.1b3.
"""

from __future__ import annotations

import struct
from enum import Enum

from devices.bus import ReadRequest, WriteRequest
from devices.model import BusFault

FRAME_MAX = 256
EXCEPTION_SIZE = 5
WRITE_ANSWER_SIZE = 8
_SILENT_TARGET = {0x0A, 0x0B}
"""Exception codes by which a gateway says that the device behind it does not answer."""


class NoFrame(Enum):
    """What bytes are that hold no answer (yet)."""

    NO_FRAME = 0


NO_FRAME = NoFrame.NO_FRAME


def _table() -> tuple[int, ...]:
    table: list[int] = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC = _table()


def crc16(data: bytes) -> int:
    """Returns the CRC of a frame's bytes; it follows them low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc


def frame(unit: int, pdu: bytes) -> bytes:
    """Returns unit, PDU and CRC."""
    body = bytes((unit,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


def request_frame(request: ReadRequest | WriteRequest) -> bytes:
    """Returns the frame that asks for this.

    Raises:
        ValueError: no such function, or numbers that do not fit the frame.
    """
    try:
        return frame(request.unit, _pdu(request))
    except struct.error as error:
        raise ValueError(f"request does not fit a frame: {request}") from error


def _pdu(request: ReadRequest | WriteRequest) -> bytes:
    function, address = request.function, request.address
    if isinstance(request, ReadRequest):
        if function not in (1, 2, 3, 4):
            raise ValueError(f"no read function {function}")
        return struct.pack(">BHH", function, address, request.count)
    values = request.values
    match function:
        case 5:
            return struct.pack(">BHH", 5, address, coil_word(values[0]))
        case 6:
            return struct.pack(">BHH", 6, address, values[0])
        case 15:
            size = (len(values) + 7) // 8
            bits = sum(1 << i for i, bit in enumerate(values) if bit).to_bytes(size, "little")
            return struct.pack(">BHHB", 15, address, len(values), size) + bits
        case 16:
            return struct.pack(f">BHHB{len(values)}H", 16, address, len(values), 2 * len(values), *values)
        case _:
            raise ValueError(f"no write function {function}")


def coil_word(value: int) -> int:
    """Returns what function 5 carries for 0, 1, or a number that goes out as it is."""
    return 0xFF00 if value == 1 else value


def answer_size(request: ReadRequest | WriteRequest) -> int:
    """Returns how many bytes the answer to a request has."""
    if isinstance(request, WriteRequest):
        return WRITE_ANSWER_SIZE
    return 5 + (2 * request.count if request.function > 2 else (request.count + 7) // 8)


def read_answer(request: ReadRequest, data: bytes) -> tuple[int, ...] | BusFault | NoFrame:
    """Returns the registers or bits that the bytes so far hold, the device's refusal, or `NO_FRAME`."""
    size = answer_size(request)
    head = bytes((request.unit, request.function, size - 5))
    body = _find(data, head, size)
    if body is None:
        return _refusal(request, data)
    if request.function > 2:
        return struct.unpack_from(f">{request.count}H", body, 3)
    bits = int.from_bytes(body[3:-2], "little")
    return tuple(bits >> i & 1 for i in range(request.count))


def write_answer(request: WriteRequest, data: bytes) -> BusFault | NoFrame | None:
    """Returns None where the bytes so far confirm the write, the device's refusal, or `NO_FRAME`."""
    head = bytes((request.unit,)) + _pdu(request)[:5]  # function, address, and value or count come back
    if _find(data, head, WRITE_ANSWER_SIZE) is not None:
        return None
    return _refusal(request, data)


def _refusal(request: ReadRequest | WriteRequest, data: bytes) -> BusFault | NoFrame:
    body = _find(data, bytes((request.unit, request.function | 0x80)), EXCEPTION_SIZE)
    if body is None:
        return NO_FRAME
    return BusFault.TIMEOUT if body[2] in _SILENT_TARGET else BusFault.EXCEPTION


def _find(data: bytes, head: bytes, size: int) -> bytes | None:
    """Returns the last frame of this size that begins with `head` and whose CRC is right."""
    start = data.rfind(head)
    while start >= 0:
        body = data[start : start + size]
        if len(body) == size and crc16(body[:-2]) == int.from_bytes(body[-2:], "little"):
            return body
        start = data.rfind(head, 0, start)
    return None
