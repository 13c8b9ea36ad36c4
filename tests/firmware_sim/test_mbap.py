from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.model import BusFault
from firmware_sim.mbap import BrokenFrame, Stream


class Units:
    """Unit 1 answers with addresses, unit 2 refuses, every other keeps silent."""

    def __init__(self) -> None:
        self.written: list[tuple[int, int, list[int]]] = []

    def read(self, unit: int, function: int, address: int, count: int) -> Sequence[int] | BusFault:
        if unit != 1:
            return BusFault.EXCEPTION if unit == 2 else BusFault.TIMEOUT
        values = [(address + i) % 65536 for i in range(count)]
        return [value & 1 for value in values] if function < 3 else values

    def write(self, unit: int, function: int, address: int, values: Sequence[int]) -> BusFault | None:
        if unit != 1:
            return BusFault.EXCEPTION if unit == 2 else BusFault.TIMEOUT
        self.written.append((function, address, list(values)))
        return None


def frame(pdu: bytes, unit: int = 1, transaction: int = 7) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def ask(pdu: bytes, unit: int = 1) -> bytes:
    return Stream(Units()).receive(frame(pdu, unit))


def test_registers_and_bits() -> None:
    assert ask(bytes.fromhex("0300100002")) == frame(bytes.fromhex("030400100011"))
    assert ask(bytes.fromhex("040010 0001")) == frame(bytes.fromhex("04020010"))
    assert ask(bytes.fromhex("010000000a")) == frame(bytes.fromhex("0102aa02"))


def test_silence_and_exceptions() -> None:
    assert ask(bytes.fromhex("0300100002"), unit=3) == b""
    assert ask(bytes.fromhex("0300100002"), unit=2) == frame(bytes.fromhex("8302"), unit=2)
    assert ask(bytes.fromhex("2b0e0100")) == frame(bytes.fromhex("ab01"))
    assert ask(bytes.fromhex("030010007e")) == frame(bytes.fromhex("8303")), "126 registers"
    assert ask(bytes.fromhex("0300")) == frame(bytes.fromhex("8303"))


@pytest.mark.parametrize(
    ("pdu", "written"),
    [
        ("050000ff00", (5, 0, [1])),
        ("0500000000", (5, 0, [0])),
        ("0600051234", (6, 5, [0x1234])),
        ("0f0003000a02cd01", (15, 3, [1, 0, 1, 1, 0, 0, 1, 1, 1, 0])),
        ("100001000204000a0102", (16, 1, [10, 0x102])),
    ],
)
def test_writes(pdu: str, written: tuple[int, int, list[int]]) -> None:
    units = Units()
    assert Stream(units).receive(frame(bytes.fromhex(pdu))) == frame(bytes.fromhex(pdu)[:5])
    assert units.written == [written]


@pytest.mark.parametrize("pdu", ["0500001234", "10000100020400", "0f0003000a01cd", "1000010000", "05"])
def test_malformed_writes_change_nothing(pdu: str) -> None:
    units = Units()
    answer = Stream(units).receive(frame(bytes.fromhex(pdu)))
    assert answer[8:] == b"\x03"
    assert not units.written


def test_what_is_no_modbus_is_refused() -> None:
    for junk in (b"GET / HTTP/1.1\r\n", struct.pack(">HHHB", 1, 0, 1, 1), struct.pack(">HHHB", 1, 0, 300, 1)):
        with pytest.raises(BrokenFrame):
            Stream(Units()).receive(junk)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_requests_come_in_any_portions(portions: list[int]) -> None:
    whole = b"".join(frame(struct.pack(">BHH", 3, i, 1), transaction=i) for i in range(9))
    stream, answers, at = Stream(Units()), b"", 0
    for size in [*portions, len(whole)]:
        answers += stream.receive(whole[at : at + size])
        at += size
    assert answers == b"".join(frame(struct.pack(">BBH", 3, 2, i), transaction=i) for i in range(9))


@given(st.binary(min_size=1, max_size=253))
def test_any_request_is_answered_or_met_with_silence(pdu: bytes) -> None:
    answer = Stream(Units()).receive(frame(pdu))
    assert struct.unpack(">HHHB", answer[:7])[2] == len(answer) - 6
