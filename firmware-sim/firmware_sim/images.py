"""Register images: what a Modbus master reads, made from the points at the moment it asks.

Layouts come from `devices.sunspec` (model definitions) and `devices.profile` (TOML maps), so a simulated device
and its driver cannot drift apart. An image is patched in place, only when somebody reads after time has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from devices.model import BusFault, DeviceSpec
from devices.profile import load_profile, points_of, scale_block
from devices.profile_schema import ProfilePoint
from devices.registers import NumberType, encode_number
from devices.sunspec import BASES, NUMBERS, ModelDef, PointDef, decode, encode_chain, model, scale_of
from devices.sunspec_points import SUNSPEC_CHAINS, SUNSPEC_POINTS, sunspec_values
from firmware_sim.points import Getter

SENTINEL = 0x8000
SEGMENT_GAP = 32
"""Registers of a profile device that lie no further apart answer in one read; the gaps read 0."""
RUNNING_RPM = 1500
EXPONENT_MAX = 6
NOT_A_NUMBER: Mapping[int, int] = {1: SENTINEL, 2: 0x7FC00000, 4: 0x7FF8000000000000}


def words(raw: int, size: int, low_first: bool = False) -> list[int]:
    """Returns a raw number (negative in two's complement) as registers."""
    parts = [(raw >> shift) & 0xFFFF for shift in range(16 * (size - 1), -1, -16)]
    return parts[::-1] if low_first else parts


@dataclass(slots=True)
class Field:
    """One number in an image: where it stands and how it is made from its point."""

    get: Getter
    kind: NumberType
    index: int
    factor: float  # raw = (value - offset) x factor / 10^exponent
    absent: int
    offset: float = 0.0
    low_first: bool = False
    downwards: bool = False  # registers that count round down
    scale_index: int | None = None
    mask: int = 0  # the bits of a register that are its own; 0: all
    exponent: int = 0
    lowest: int = 0
    highest: int = 0

    def __post_init__(self) -> None:
        """Works out which raw numbers are numbers (the ends are sentinels)."""
        self.lowest = self.kind.low + self.kind.signed
        self.highest = self.kind.high - (not self.kind.signed and self.kind.name != "bit")

    def put(self, registers: list[int]) -> None:
        """Writes the point's present value into the image, with a coarser scale factor where it would not fit."""
        value = self.get()
        if self.kind.real and value is not None:
            number = encode_number(self.kind, (value - self.offset) * self.factor, self.low_first)
            registers[self.index : self.index + self.kind.size] = number
            return
        if value is None:
            raw = self.absent
        else:
            raw = self._raw(value)
            if not self.lowest <= raw <= self.highest:
                raw = self._coarser(value, registers)
        index = self.index
        if self.mask:
            lowest_bit = self.mask & -self.mask
            registers[index] = registers[index] & ~self.mask | raw * lowest_bit & self.mask
        elif self.kind.size == 1:
            registers[index] = raw & 0xFFFF
        elif self.kind.size == 2 and not self.low_first:
            registers[index] = raw >> 16 & 0xFFFF
            registers[index + 1] = raw & 0xFFFF
        else:
            registers[index : index + self.kind.size] = words(raw, self.kind.size, self.low_first)

    def _coarser(self, value: float, registers: list[int]) -> int:
        while self.scale_index is not None and self.exponent < EXPONENT_MAX:
            self.exponent += 1
            registers[self.scale_index] = self.exponent & 0xFFFF
            if self.lowest <= (raw := self._raw(value)) <= self.highest:
                return raw
        return self._raw(value) % (self.highest + 1) if self.downwards else self.absent

    def _raw(self, value: float) -> int:
        exponent = self.exponent
        scaled = (value - self.offset) * self.factor
        if exponent:
            scaled = scaled / 10**exponent if exponent > 0 else scaled * 10**-exponent
        return int((scaled + 1e-6) // 1) if self.downwards else round(scaled)


@dataclass(slots=True)
class Segment:
    """A stretch of registers (or bits) that one function reads."""

    function: int
    base: int
    registers: list[int]
    fields: list[Field] = field(default_factory=list[Field])
    made_at: int = -1

    def read(self, address: int, count: int, version: int) -> list[int] | None:
        """Returns `count` registers, None where they lie outside; `version` changes when values may have."""
        first = address - self.base
        if first < 0 or count < 1 or first + count > len(self.registers):
            return None
        if version != self.made_at:
            self.made_at = version
            for entry in self.fields:
                entry.put(self.registers)
        return self.registers[first : first + count]


Control = Callable[[int, int, Sequence[int]], bool]
"""Takes (function, address, values) of a write; False = the device answers with an exception."""


@dataclass(slots=True)
class Device:
    """One unit on the bus: its segments, its controls and what is wrong with it."""

    spec: DeviceSpec
    segments: list[Segment]
    control: Control
    fault: str = ""  # silent, exception, garbage, stuck

    def read(self, function: int, address: int, count: int, version: int) -> Sequence[int] | BusFault:
        """Answers a read."""
        if self.fault:
            if self.fault == "silent":
                return BusFault.TIMEOUT
            if self.fault == "exception":
                return BusFault.EXCEPTION
            if self.fault == "garbage":
                return [SENTINEL if function > 2 else 1] * count
            version = self.segments[0].made_at  # stuck
        for segment in self.segments:
            if segment.function == function:
                found = segment.read(address, count, version)
                if found is not None:
                    return found
        return BusFault.EXCEPTION

    def write(self, function: int, address: int, values: Sequence[int]) -> BusFault | None:
        """Takes a write."""
        if self.fault == "silent":
            return BusFault.TIMEOUT
        if self.fault == "exception" or self.spec.read_only or not self.control(function, address, values):
            return BusFault.EXCEPTION
        return None


# -- SunSpec -------------------------------------------------------------------------------------------------------

Extras = Mapping[int, Mapping[str, Getter]]
"""Further SunSpec values by model and point name, in SunSpec's own unit and sign."""
Texts = Mapping[int, Mapping[str, float | str | None]]


def sunspec_segment(spec: DeviceSpec, points: Mapping[str, Getter], extras: Extras, fixed: Texts) -> Segment:
    """Returns a device's whole chain from register 40000, every live value wired to its point."""
    now = {name: get() for name, get in points.items()}
    values = sunspec_values(spec.kind, now)
    chain: list[tuple[int, Mapping[str, float | str | None]]] = []
    for model_id in SUNSPEC_CHAINS[spec.kind]:
        live = {name: get() for name, get in extras.get(model_id, {}).items()}
        chain.append((model_id, {**values.get(model_id, {}), **fixed.get(model_id, {}), **live}))
    registers = encode_chain(chain)
    segment = Segment(3, BASES[0], registers)
    offset = 2
    for model_id, _ in chain:
        definition = model(model_id)
        for mapping in SUNSPEC_POINTS[spec.kind]:
            if mapping.model == model_id and mapping.point in points:
                point = definition.points[mapping.name]
                counts = mapping.point.endswith("_wh")
                made = _sunspec_field(registers, offset, definition, point, points[mapping.point])
                made.factor, made.downwards = 1 / mapping.factor, counts
                segment.fields.append(made)
        for name, get in extras.get(model_id, {}).items():
            segment.fields.append(_sunspec_field(registers, offset, definition, definition.points[name], get))
        offset += definition.size
    return segment


def _sunspec_field(registers: list[int], start: int, definition: ModelDef, point: PointDef, get: Getter) -> Field:
    kind, absent = NUMBERS[point.type]
    scale = scale_of(definition, point)
    exponent, scale_index = 0, None
    if scale is not None:
        scale_index = start + scale.offset
        raw = registers[scale_index]
        exponent = raw - 65536 if raw > 32767 else raw
    return Field(get, kind, start + point.offset, 1.0, absent or 0, scale_index=scale_index, exponent=exponent)


@dataclass(slots=True)
class SunspecControl:
    """Takes writes into writable points and hands the whole model, decoded, to the device."""

    segment: Segment
    chain: Sequence[int]
    takers: Mapping[int, Callable[[Mapping[str, float | str | None], frozenset[str]], None]]

    def __call__(self, function: int, address: int, values: Sequence[int]) -> bool:
        """Applies one write; False outside writable points."""
        first = address - self.segment.base
        if function not in (6, 16) or not values:
            return False
        start = 2
        for model_id in self.chain:
            definition = model(model_id)
            if start <= first < start + definition.size:
                return self._write(definition, start, first, values)
            start += definition.size
        return False

    def _write(self, definition: ModelDef, start: int, first: int, values: Sequence[int]) -> bool:
        last = first + len(values)
        if last > start + definition.size or definition.id not in self.takers:
            return False
        touched = [
            p for p in definition.points.values() if first < start + p.offset + p.size and start + p.offset < last
        ]
        if not touched or not all(point.writable for point in touched):
            return False
        registers = self.segment.registers
        for entry in self.segment.fields:
            entry.put(registers)
        registers[first:last] = [value & 0xFFFF for value in values]
        decoded = decode(definition.id, registers[start : start + definition.size])
        self.takers[definition.id](decoded, frozenset(point.name for point in touched))
        self.segment.made_at = -1
        return True


# -- profiles -------------------------------------------------------------------------------------------------------


def profile_segments(spec: DeviceSpec, points: Mapping[str, Getter]) -> list[Segment]:
    """Returns the segments of a device that has a register map as data."""
    profile = load_profile(spec.driver.removeprefix("profile:"))
    segments: list[Segment] = []
    ordered = sorted(points_of(profile, spec.channels), key=lambda p: (p.function, p.address))
    for point in ordered:
        last = segments[-1] if segments else None
        end = last.base + len(last.registers) if last is not None else 0
        if last is None or last.function != point.function or point.address - end > SEGMENT_GAP:
            last = Segment(point.function, point.address, [])
            segments.append(last)
        last.registers.extend([0] * (point.address + point.size - last.base - len(last.registers)))
        if point.name in points:
            last.fields.append(_profile_field(point, last.base, points[point.name], profile.low_word_first))
    scales = scale_block(ordered)
    if scales is not None:  # exponents of 0
        segments.append(Segment(scales.function, scales.address, [0] * scales.count))
    return segments


def _profile_field(point: ProfilePoint, base: int, get: Getter, low_first: bool) -> Field:
    index, absent = point.address - base, min(point.absent, default=NOT_A_NUMBER.get(point.type.size, 0))
    if point.raw_range is not None and not point.absent:
        absent = 0xFFFF
    if point.above is not None:
        return Field(get, point.type, index, RUNNING_RPM / point.scale, absent, low_first=low_first)
    counts = point.name.endswith(("_wh", "_ml"))
    return Field(get, point.type, index, 1 / point.scale, absent, point.offset, low_first, counts, mask=point.mask)


@dataclass(slots=True)
class ProfileControl:
    """Takes the write steps of a profile: values go to `take`, on and off keys to `key`."""

    spec: DeviceSpec
    take: Callable[[float], None]
    key: Callable[[bool], None] | None
    segments: Sequence[Segment]

    def __call__(self, function: int, address: int, values: Sequence[int]) -> bool:
        """Applies one write; False where the profile has no such step."""
        profile = load_profile(self.spec.driver.removeprefix("profile:"))
        for rule in profile.writes.values():
            for step in rule.steps:
                same = step.address == address and (
                    step.function == function or {step.function, function} <= {6, 16, 5, 15}
                )
                size = step.type.size * (2 if step.complement else 1)
                if not same or len(values) != size:
                    continue
                if step.timer_ms:
                    self.take(1.0)
                elif step.key is None and step.type.name == "bit" and any(value > 1 for value in values):
                    continue
                elif step.key is None:
                    self._value(values, step.type, step.scale, profile.low_word_first)
                elif not self._keyed(values, step.key, step.complement, step.when):
                    continue
                for segment in self.segments:
                    segment.made_at = -1
                return True
        return False

    def _value(self, values: Sequence[int], kind: NumberType, scale: float, low_first: bool) -> None:
        if kind.name == "bit":
            self.take(1.0 if values[0] else 0.0)
            return
        raw = 0
        for value in reversed(values) if low_first else values:
            raw = raw << 16 | value & 0xFFFF
        if kind.signed and raw > kind.high:
            raw -= 1 << 16 * kind.size
        self.take(raw * scale)

    def _keyed(self, values: Sequence[int], key: int, complement: bool, when: str) -> bool:
        if values[0] != key or (complement and values[1] != key ^ 0xFFFF) or self.key is None:
            return False
        self.key(when == "on")
        return True
