"""Any product of `devices/profiles` as a simulated device: its registers are made from the profile alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from devices.model import BusFault
from devices.profile import Profile, encode_point, points_of, scale_block
from devices.profile_schema import ProfilePoint, WriteStep
from firmware_sim.inverter import Unit

COILS, INPUTS, HOLDING, INPUT_REGISTERS = 1, 2, 3, 4
PLAUSIBLE: Mapping[str, float] = {"V": 230.0, "A": 5.0, "W": 1150.0, "hz": 50.0, "soc": 0.5, "celsius": 20.0}
"""What a fresh device shows where its range allows; every other point shows the middle of its range, or 0."""


class Product:
    """One unit: the tables of a profile's points; addresses between the points of one block read 0."""

    def __init__(self, profile: Profile, channels: Sequence[str] = ()) -> None:
        """Makes a device that shows plausible values and takes the profile's writes."""
        self.profile = profile
        self.points = {point.name: point for point in points_of(profile, channels)}
        self._tables: dict[int, dict[int, int]] = {COILS: {}, INPUTS: {}, HOLDING: {}, INPUT_REGISTERS: {}}
        self._shown: dict[str, float | None] = {}
        self._timers: dict[str, int] = {}  # ms left, by point
        scales = scale_block(tuple(self.points.values()))
        if scales is not None:
            self.put(scales.function, scales.address, (0,) * scales.count)
        for first in self.points.values():
            self._fill_gap(first)
        for point in self.points.values():
            self.show(point.name, plausible(point))

    def _fill_gap(self, first: ProfilePoint) -> None:
        """Makes the gap behind a point readable where the profile reads across it."""
        end = first.address + first.size
        later = [p.address for p in self.points.values() if p.function == first.function and p.address >= end]
        if later and min(later) - end <= self.profile.block_gap:
            self._tables[first.function].update(dict.fromkeys(range(end, min(later)), 0))

    def show(self, name: str, value: float | None) -> None:
        """Sets what a point reads as [our unit and sign]; None = not available, where the product can say so.

        Raises:
            KeyError: the profile has no such point.
            OverflowError: the value does not fit the register.
        """
        point = self.points[name]
        table = self._tables[point.function]
        exponent = 0 if point.scale_at is None else table[point.scale_at]
        words = encode_point(self.profile, point, value, exponent - 65536 if exponent > 32767 else exponent)
        self._shown[name] = value
        if point.mask:
            kept = table.get(point.address, 0) & ~point.mask
            words = (kept | words[0], *words[1:])
        self.put(point.function, point.address, words)

    def rescale(self, name: str, exponent: int) -> None:
        """Sets the scale register of a point, and what every point that uses it shows, as a technician does.

        Raises:
            KeyError: no such point, or it has no scale register.
            OverflowError: a value does not fit its register at that scale.
        """
        at = self.points[name].scale_at
        if at is None:
            raise KeyError(f"{name} of {self.profile.name} has no scale register")
        self.put(self.points[name].function, at, (exponent & 0xFFFF,))
        for other in self.points.values():
            if other.scale_at == at:
                self.show(other.name, self._shown[other.name])

    def put(self, function: int, address: int, words: Sequence[int]) -> None:
        """Sets raw registers or bits of the table that a read function reads."""
        self._tables[function].update(zip(range(address, address + len(words)), words, strict=True))

    def read(self, function: int, address: int, count: int) -> Sequence[int] | BusFault:
        """Answers a read; an address that no point or gap covers is refused."""
        table = self._tables[function]
        found = [table.get(a) for a in range(address, address + count)]
        return BusFault.EXCEPTION if None in found else [word for word in found if word is not None]

    def write(self, function: int, address: int, values: Sequence[int]) -> BusFault | None:
        """Takes what is a step of the profile's writes, and shows it at the point that was written."""
        for name, rule in self.profile.writes.items():
            for step in rule.steps:
                if self._is(step, function, address, values):
                    self._timers.pop(name, None)
                    if step.timer_ms:
                        self._timers[name] = values[0] * step.timer_ms
                    else:
                        self.put(HOLDING if function in {6, 16} else COILS, address, values)
                    if step.key is None or step.when == "off" or all(other.key is not None for other in rule.steps):
                        self.show(name, self._value(step, values))
                    return None
        return BusFault.EXCEPTION

    def _is(self, step: WriteStep, function: int, address: int, values: Sequence[int]) -> bool:
        if (step.function, step.address) != (function, address):
            return False
        words = step.type.size * (2 if step.complement else 1)
        if step.type.name == "bit" and any(value > 1 for value in values):
            return False  # a number that only a timer takes
        if len(values) != words or (step.complement and values[1] != values[0] ^ 0xFFFF):
            return False
        return step.key is None or values[0] == step.key

    def pass_time(self, elapsed_ms: int) -> None:
        """Lets the product's own timers run; what they began ends when they do."""
        for name, left_ms in list(self._timers.items()):
            self._timers[name] = left_ms - elapsed_ms
            if left_ms <= elapsed_ms:
                del self._timers[name]
                self.show(name, 0.0)

    def _value(self, step: WriteStep, values: Sequence[int]) -> float:
        if step.timer_ms:
            return 1.0
        if step.key is not None:
            return 0.0 if step.when == "off" else 1.0
        raw = 0
        for word in reversed(values) if self.profile.low_word_first else values:
            raw = raw << 16 | word
        if step.type.signed and raw > step.type.high:
            raw -= 1 << 16 * step.type.size
        return raw * step.scale


def plausible(point: ProfilePoint) -> float:
    """Returns a value that a device in service might show, within the point's range."""
    if point.raw_range is not None:
        return sum(point.raw_range) // 2 * point.scale + point.offset
    low, high = point.range or (0.0, 0.0)
    wish = PLAUSIBLE.get(point.name, (low + high) / 2 if point.name not in {"import_wh", "export_wh"} else 123_000.0)
    if point.range is None:
        return wish if point.name in {"import_wh", "export_wh"} and point.type.size > 1 else point.offset
    return wish if low <= wish <= high else max(low, -abs(wish)) if high <= 0 else high


AnyUnit = TypeVar("AnyUnit", bound=Unit)


@dataclass(slots=True)
class Rack(Generic[AnyUnit]):
    """Several products on one bus, by unit id; a unit that is not there, or silent, does not answer."""

    units: dict[int, AnyUnit]
    silent: set[int] = field(default_factory=set[int])

    def read(self, unit: int, function: int, address: int, count: int) -> Sequence[int] | BusFault:
        """Answers a read."""
        product = self.units.get(unit)
        if product is None or unit in self.silent:
            return BusFault.TIMEOUT
        return product.read(function, address, count)

    def write(self, unit: int, function: int, address: int, values: Sequence[int]) -> BusFault | None:
        """Takes a write."""
        product = self.units.get(unit)
        if product is None or unit in self.silent:
            return BusFault.TIMEOUT
        return product.write(function, address, values)

    def pass_time(self, elapsed_ms: int) -> None:
        """Lets the timers of all units run."""
        for unit in self.units.values():
            unit.pass_time(elapsed_ms)
