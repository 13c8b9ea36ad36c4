"""Modbus RTU frames: requests as pymodbus makes them, answers out of noise, and never a wrong one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU

from devices.bus import ReadRequest, WriteRequest
from devices.endpoints import BadEndpoint, SerialEndpoint, TcpEndpoint, parse_endpoint
from devices.model import BusFault, DeviceId
from devices.rtu import NO_FRAME, crc16, frame, read_answer, request_frame, write_answer

ME = DeviceId("meter")
READ = ReadRequest(ME, 0, "rtu:/dev/x", 17, 4, 0x34, 2)
ANSWER = frame(17, bytes((4, 4, 0x41, 0x20, 0, 0)))


def read(function: int, count: int, unit: int = 17) -> ReadRequest:
    return ReadRequest(ME, 0, "rtu:/dev/x", unit, function, 0, count)


def write(function: int, *values: int) -> WriteRequest:
    return WriteRequest(ME, "on", "rtu:/dev/x", 1, function, 0x0102, values)


@given(st.binary(min_size=1, max_size=253))
def test_the_crc_is_that_of_pymodbus(data: bytes) -> None:
    assert crc16(data).to_bytes(2, "little") == FramerRTU.compute_CRC(data).to_bytes(2, "big")


def test_requests_are_those_of_the_standard() -> None:
    assert request_frame(ReadRequest(ME, 0, "", 1, 3, 0, 3)).hex() == "010300000003" + "05cb"  # a soil probe's manual
    assert request_frame(write(5, 1))[1:6].hex() == "050102ff00"
    assert request_frame(write(6, 77))[1:6].hex() == "060102004d"
    assert request_frame(write(15, *[1, 0, 1] * 3))[1:9].hex() == "0f01020009026d01"
    assert request_frame(write(16, 1, 65535))[1:11].hex() == "10010200020400" + "01ffff"
    for wrong in (read(9, 1), write(3, 1), write(6, 70000)):
        with pytest.raises(ValueError, match=r"function|fit"):
            request_frame(wrong)


@pytest.mark.parametrize("before", [b"", b"\x00\xff\x11", ANSWER[:-1], bytes((17, 4, 4))])
@pytest.mark.parametrize("after", [b"", b"\xee"])
def test_an_answer_is_found_between_garbage(before: bytes, after: bytes) -> None:
    assert read_answer(READ, before + ANSWER + after) == (0x4120, 0)


@pytest.mark.parametrize("data", [b"", ANSWER[:-1], frame(18, ANSWER[1:-2]), frame(17, bytes((4, 2, 1, 2)))])
def test_another_units_or_lengths_answer_is_none(data: bytes) -> None:
    assert read_answer(READ, data) is NO_FRAME


@given(st.integers(0, len(ANSWER) * 8 - 1))
def test_one_flipped_bit_is_never_a_value(bit: int) -> None:
    bent = bytearray(ANSWER)
    bent[bit // 8] ^= 1 << bit % 8
    assert not isinstance(read_answer(READ, bytes(bent)), tuple)


@given(st.binary(max_size=300))
def test_noise_is_no_answer(data: bytes) -> None:
    assert not isinstance(read_answer(READ, data), tuple)
    assert write_answer(write(16, 1, 2), data) is not None


def test_bits_exceptions_and_confirmed_writes() -> None:
    assert read_answer(read(1, 10), frame(17, bytes((1, 2, 0b00000101, 0b10)))) == (1, 0, 1, 0, 0, 0, 0, 0, 0, 1)
    assert read_answer(READ, frame(17, b"\x84\x02")) is BusFault.EXCEPTION
    assert read_answer(READ, frame(17, b"\x84\x0b")) is BusFault.TIMEOUT
    assert write_answer(write(6, 77), frame(1, b"\x06\x01\x02\x00\x4d")) is None
    assert write_answer(write(6, 77), frame(1, b"\x06\x01\x02\x00\x4e")) is NO_FRAME
    assert write_answer(write(16, 1, 2), frame(1, b"\x10\x01\x02\x00\x02")) is None
    assert write_answer(write(16, 1, 2), frame(1, b"\x90\x03")) is BusFault.EXCEPTION


def test_endpoints() -> None:
    assert parse_endpoint("meter-3.lan:502") == TcpEndpoint("meter-3.lan", 502)
    port = parse_endpoint("rtu:/dev/serial/by-id/usb-FTDI?baud=19200&parity=e")
    assert port == SerialEndpoint("/dev/serial/by-id/usb-FTDI", 19200, "E", 1)
    assert isinstance(port, SerialEndpoint)
    assert port.settings == "19200 8E1"
    assert parse_endpoint(str(port)) == port


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("meter", "write HOST:PORT"),
        ("meter:0", "no endpoint"),
        ("rtu:ttyUSB0", "whole path"),
        ("rtu:/dev/x?baudrate=9600", "unknown line setting baudrate"),
        ("rtu:/dev/x?baud=9601", "baud=9601: must be one of 1200"),
        ("rtu:/dev/x?parity=M", "parity=M: must be one of N, E, O"),
    ],
)
def test_an_endpoint_that_names_no_bus_says_what_to_write(text: str, said: str) -> None:
    with pytest.raises(BadEndpoint, match=said):
        parse_endpoint(text)
