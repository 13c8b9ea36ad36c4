"""Golden frames of a profile: bytes that a maker, or somebody who has the product, has published, with what they mean.

They are the only proof that a map fits a product which Atoll's own tests can hold; the tests replay each of them byte
for byte. Frames are Modbus RTU, CRC included.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from devices.bus import ReadRequest
from devices.model import BusFault, DeviceId
from devices.rtu import crc16, read_answer

GOLDEN_KEYS: Mapping[str, type] = {
    "source": str,  # where the bytes were published
    "request": str,  # hexadecimal, spaces as one likes
    "response": str,
    "reads": dict,  # point -> value in our unit, every point within the request; or
    "writes": dict,  # the one point -> value that the request sets
    "valid_ms": int,  # with writes: for how long, where the request starts the product's own timer
}
READS, WRITES = (1, 2, 3, 4), (5, 6, 15, 16)
ProblemSink = Callable[[str, str], None]
"""Takes (where, what)."""


@dataclass(frozen=True, slots=True)
class GoldenFrame:
    """One request and its answer; either `reads` or `writes` says what they mean."""

    source: str
    request: bytes
    response: bytes
    reads: Mapping[str, float] = field(default_factory=dict[str, float])
    writes: Mapping[str, float] = field(default_factory=dict[str, float])
    valid_ms: int = 0

    @property
    def read_request(self) -> ReadRequest:
        """Returns what is asked; only where `reads` is filled."""
        unit, function = self.request[:2]
        address, count = (int.from_bytes(self.request[at : at + 2], "big") for at in (2, 4))
        return ReadRequest(DeviceId("golden"), 0, "", unit, function, address, count)

    def registers(self) -> tuple[int, ...]:
        """Returns the registers or bits of the answer; only where `reads` is filled."""
        found = read_answer(self.read_request, self.response)
        assert isinstance(found, tuple), "golden_frames lets no other answer pass"
        return found


def golden_frames(
    entries: Iterable[object], points: Collection[str], writes: Collection[str], problem: ProblemSink
) -> tuple[GoldenFrame, ...]:
    """Returns the frames of a profile's `[[golden]]`; every fault goes to `problem`."""
    frames: list[GoldenFrame] = []
    for number, entry in enumerate(entries, 1):
        frame = _frame(f"[[golden]] {number}", entry, points, writes, problem)
        if frame is not None:
            frames.append(frame)
    return tuple(frames)


def _frame(
    where: str, entry: object, points: Collection[str], writes: Collection[str], problem: ProblemSink
) -> GoldenFrame | None:
    if not isinstance(entry, dict):
        problem(where, f"is {entry!r}, must be a table")
        return None
    table = cast("dict[str, object]", entry)
    found: list[str] = [f"unknown key {key!r}" for key in table if key not in GOLDEN_KEYS]
    found += [
        f"{key} is {value!r}, must be of type {GOLDEN_KEYS[key].__name__}"
        for key, value in table.items()
        if key in GOLDEN_KEYS and not isinstance(value, GOLDEN_KEYS[key])
    ]
    found += [f"{key} is missing" for key in ("source", "request", "response") if key not in table]
    if ("reads" in table) == ("writes" in table):
        found.append("has either reads or writes")
    if not found:
        frame = GoldenFrame(
            str(table["source"]),
            _bytes("request", table, found),
            _bytes("response", table, found),
            _values("reads", table, points, found),
            _values("writes", table, writes, found),
            int(cast("int", table.get("valid_ms", 0))),
        )
        if not found:
            found += _contradictions(frame)
        if not found:
            return frame
    for text in found:
        problem(where, text)
    return None


def _bytes(key: str, table: Mapping[str, object], found: list[str]) -> bytes:
    try:
        data = bytes.fromhex(str(table[key]))
    except ValueError as error:
        found.append(f"{key} is not hexadecimal: {error}")
        return b""
    if len(data) < 5 or crc16(data[:-2]) != int.from_bytes(data[-2:], "little"):
        found.append(f"{key} has a wrong CRC, {data[-2:].hex(' ')}: copied wrongly?")
    return data


def _values(key: str, table: Mapping[str, object], known: Collection[str], found: list[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, value in cast("dict[str, object]", table.get(key, {})).items():
        if name not in known:
            found.append(f"{key} names {name!r}: there are {', '.join(known) or 'none'}")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            found.append(f"{key} {name} is {value!r}, must be a number")
        else:
            values[name] = float(value)
    return values


def _contradictions(frame: GoldenFrame) -> list[str]:
    function = frame.request[1]
    if function not in (READS if frame.reads else WRITES):
        return [f"request has function {function}, which does not {'read' if frame.reads else 'write'}"]
    if frame.writes:
        return [] if len(frame.writes) == 1 else ["writes names several points: one request sets one"]
    answer = read_answer(frame.read_request, frame.response) if len(frame.request) == 8 else BusFault.GARBLED
    return [] if isinstance(answer, tuple) else ["response is no answer to the request"]
