"""One serial port as the only master of its RS-485 bus: silences, deadlines, and nothing that is not an answer.

The port is locked (`flock`): a second owner, in this process or another, is refused.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import TypeVar

import serial

from devices.bus import ReadRequest, WriteRequest
from devices.endpoints import SerialEndpoint
from devices.model import BusFault
from devices.rtu import FRAME_MAX, NO_FRAME, NoFrame, answer_size, read_answer, request_frame, write_answer

TURNAROUND_S = 0.3
"""A device begins to answer within this time, or it is silent."""
REOPEN_S = 1.0
GAP_S_MIN = 0.00175
"""Silence between frames where 3.5 characters are shorter (above 19200 Bd)."""
CHUNK_S = 0.05
"""USB adapters hand over bytes in portions; a longer pause inside a frame breaks it."""
JAM_S = 0.1
"""A bus on which somebody speaks unasked for so long is jammed."""
LATE_S = 1.0
"""RS-485 answers carry no number: a unit that was silent is not asked again before its answer can no longer come."""
T = TypeVar("T")
_BROKEN = (OSError, ValueError)  # serial.SerialException is an OSError


class SerialWire:
    """Sends requests on a serial port, one at a time, from one thread."""

    def __init__(self, endpoint: SerialEndpoint, turnaround_s: float = TURNAROUND_S) -> None:
        """Opens nothing yet: the port is opened when it is first needed, and again after it was gone."""
        self._endpoint = endpoint
        self._turnaround_s = turnaround_s
        self._port: serial.Serial | None = None
        self._down_until = 0.0
        self._quiet_at = 0.0  # when the line fell silent
        self._gaps: dict[int, float] = {}
        self.problem = ""
        self.late_s = LATE_S

    def close(self) -> None:
        """Gives the port back."""
        if self._port is not None:
            self._port.close()
            self._port = None

    def read(self, request: ReadRequest) -> tuple[int, ...] | BusFault:
        """Returns the registers or bits; a broken frame is asked for once more."""
        if request.gap_ms:
            self._gaps[request.unit] = request.gap_ms / 1000
        answer = self._exchange(request, lambda data: read_answer(request, data))
        if answer is NO_FRAME:
            answer = self._exchange(request, lambda data: read_answer(request, data))
        return BusFault.GARBLED if isinstance(answer, NoFrame) else answer

    def write(self, request: WriteRequest) -> BusFault | None:
        """Writes; returns None where the device has confirmed it."""
        answer = self._exchange(request, lambda data: write_answer(request, data))
        return BusFault.GARBLED if isinstance(answer, NoFrame) else answer

    def _exchange(
        self, request: ReadRequest | WriteRequest, parse: Callable[[bytes], T | NoFrame]
    ) -> T | BusFault | NoFrame:
        port = self._opened()
        if port is None:
            return BusFault.DISCONNECTED
        try:
            data = request_frame(request)
            if not self._wait_for_silence(port, request.unit):
                return BusFault.GARBLED
            port.write(data)
            sent_s = len(data) * self._endpoint.character_s
            return self._listen(port, parse, sent_s, answer_size(request) * self._endpoint.character_s)
        except _BROKEN as problem:
            self.problem = f"{self._endpoint.path}: {problem}"
            self.close()
            return BusFault.DISCONNECTED

    def _opened(self) -> serial.Serial | None:
        if self._port is not None:
            return self._port
        now = time.monotonic()
        if now < self._down_until:
            return None
        line = self._endpoint
        try:
            self._port = serial.Serial(
                line.path,
                baudrate=line.baud,
                parity=line.parity,
                stopbits=line.stop,
                timeout=0,
                write_timeout=1,
                exclusive=True,
            )
        except _BROKEN as problem:
            self._down_until = now + REOPEN_S
            self.problem = _reason(line.path, problem)
            return None
        self._quiet_at = time.monotonic()
        self.problem = ""
        return self._port

    def _wait_for_silence(self, port: serial.Serial, unit: int) -> bool:
        """Throws away what nobody asked for and keeps the silence between frames; False where the bus is jammed."""
        gap = max(3.5 * self._endpoint.character_s, GAP_S_MIN, self._gaps.get(unit, 0.0))
        started = time.monotonic()
        while True:
            left = self._quiet_at + gap - time.monotonic()
            if not self._receive(port, max(left, 0.0)) and left <= 0:
                return True
            if time.monotonic() - started > JAM_S + gap:
                self.problem = f"{self._endpoint.path}: somebody speaks without being asked: the bus is jammed"
                return False

    def _listen(
        self, port: serial.Serial, parse: Callable[[bytes], T | NoFrame], sent_s: float, answer_s: float
    ) -> T | BusFault | NoFrame:
        """Returns what the bytes mean; `TIMEOUT` where none came, `NO_FRAME` where they are no answer."""
        started = time.monotonic()
        data = b""
        while len(data) <= 2 * FRAME_MAX:
            now = time.monotonic()
            until = started + sent_s + self._turnaround_s
            if data:
                until = min(until + answer_s, self._quiet_at + CHUNK_S + 2 * self._endpoint.character_s)
            if now >= until:
                return NO_FRAME if data else BusFault.TIMEOUT
            more = self._receive(port, until - now)
            if more:
                data += more
                answer = parse(data)
                if not isinstance(answer, NoFrame):
                    return answer
        return NO_FRAME

    def _receive(self, port: serial.Serial, wait_s: float) -> bytes:
        if not select.select([port], [], [], wait_s)[0]:
            return b""
        data = port.read(FRAME_MAX)
        self._quiet_at = time.monotonic()
        if not data:
            raise OSError("the adapter is gone")
        return data


def _reason(path: str, problem: Exception) -> str:
    text = str(problem)
    if "exclusively lock" in text:
        return f"{path}: another program has this port (one owner per port)"
    if "No such file" in text:
        return f"{path}: no such port: is the adapter plugged in? ls /dev/serial/by-id"
    if "Permission" in text:
        return f"{path}: no permission: add this user to the group dialout"
    return f"{path}: {text}"
