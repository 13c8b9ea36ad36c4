"""A solar inverter that shows what it does by itself: SunSpec models 1, 103, 123, and its trip settings, 707 to 711.

For a technician's bus; the village's inverters live in `bus` and show none of it. Its settings are made up, of the
usual kind for 50 Hz, and nobody on the wire can change them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from devices.model import BusFault
from devices.sunspec import BASES, END_MODEL, encode_chain, encode_model, model

POINTS_MAX = 4
LV, HV = ((45.0, 0.16), (70.0, 2.0)), ((115.0, 60.0), (120.0, 0.16))
LF, HF = ((47.5, 0.1),), ((51.5, 0.1),)
"""Steps of the must-trip curves: (percent of nominal voltage or Hz, seconds)."""
LIMIT = 123


class Unit(Protocol):
    """One unit of a bus."""

    def read(self, function: int, address: int, count: int) -> Sequence[int] | BusFault:
        """Answers a read."""
        ...

    def write(self, function: int, address: int, values: Sequence[int]) -> BusFault | None:
        """Takes a write, or refuses it."""
        ...

    def pass_time(self, elapsed_ms: int) -> None:
        """Lets the unit's own timers run."""
        ...


class SunspecInverter:
    """One unit: 3 kW at 230 V, a limit that may be set, curves that may not."""

    def __init__(self) -> None:
        """Makes its registers."""
        plant = {"W": 3000, "WH": 123_000, "Hz": 50.0, "PhVphA": 230.0, "St": 4}
        limit = {"WMaxLimPct": 100, "WMaxLim_Ena": 0, "Conn": 1}
        common = {"Mn": "Atoll", "Md": "simulated inverter", "SN": "1"}
        self._registers = encode_chain([(1, common), (103, plant), (LIMIT, limit)])[:-2]
        start = len(self._registers) - model(LIMIT).size
        self._writable = range(start + 2, len(self._registers))
        for number, steps in ((707, LV), (708, HV), (709, LF), (710, HF)):
            self._registers += trip_model(number, steps)
        self._registers += [*_droop(), END_MODEL, 0]

    def read(self, function: int, address: int, count: int) -> Sequence[int] | BusFault:
        """Answers a read of holding registers."""
        first = address - BASES[0]
        if function != 3 or first < 0 or first + count > len(self._registers):
            return BusFault.EXCEPTION
        return self._registers[first : first + count]

    def write(self, function: int, address: int, values: Sequence[int]) -> BusFault | None:
        """Takes a write of the limit; its curves are refused."""
        first = address - BASES[0]
        if function not in {6, 16} or first not in self._writable or first + len(values) - 1 not in self._writable:
            return BusFault.EXCEPTION
        self._registers[first : first + len(values)] = values
        return None

    def pass_time(self, elapsed_ms: int) -> None:
        """Does nothing: its timers are not simulated."""


def trip_model(number: int, steps: Sequence[tuple[float, float]]) -> list[int]:
    """Returns model 707-710 with one set, which trips at these steps; it has no may-trip curve and no cessation."""
    hertz = number in {709, 710}
    inner = [1]  # ReadOnly
    for part in (steps, (), ()):
        inner.append(len(part))
        for level, seconds in [*part, *[(0.0, 0.0)] * (POINTS_MAX - len(part))]:
            inner += _wide(round(level * 100)) if hertz else [round(level * 10)]
            inner += _wide(round(seconds * 100))
    scales = {"Hz_SF": -2} if hertz else {"V_SF": -1}
    fixed = {"Ena": 1, "AdptCrvReq": 0, "AdptCrvRslt": 1, "NPt": POINTS_MAX, "NCrvSet": 1, "Tms_SF": -2, **scales}
    return encode_model(number, fixed, model(number).size - 2 + len(inner)) + inner


def _droop() -> list[int]:
    inner = [*_wide(200), *_wide(200), 5, 5, *_wide(5), 0, 1]  # 0.2 Hz dead, 5 % both ways, within 5 s
    fixed = {"Ena": 1, "NCtl": 1, "RvrtTms": 0, "RvrtRem": 0, "RvrtCtl": 0, "Db_SF": -3, "K_SF": -2, "RspTms_SF": 0}
    return encode_model(711, fixed, model(711).size - 2 + len(inner)) + inner


def _wide(number: int) -> list[int]:
    return [number >> 16, number & 0xFFFF]
