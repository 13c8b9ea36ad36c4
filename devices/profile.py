"""Register maps as data: one TOML file per product (devices/profiles), compiled into a driver.

`profile_schema` has the keys a profile may use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files

from devices.drivers import Unwritable
from devices.profile_schema import BadProfile, Profile, ProfilePoint, WriteStep, parse_profile
from devices.registers import (
    Block,
    Reader,
    Registers,
    RegisterWrite,
    encode_number,
    raw_reader,
    scaled,
    times_power_of_ten,
    whole,
    within,
)

__all__ = [
    "BadProfile",
    "Profile",
    "ProfileDriver",
    "encode_point",
    "load_profile",
    "parse_profile",
    "point_of",
    "points_of",
    "present_scales",
    "profile_names",
    "profile_text",
    "scale_block",
]


def profile_names() -> list[str]:
    """Returns the names of the shipped profiles, sorted; a variant is named `PROFILE.VARIANT`."""
    return sorted(
        p.name.removesuffix(".toml")
        for p in files("devices").joinpath("profiles").iterdir()
        if p.name.endswith(".toml")
    )


def profile_text(name: str) -> str:
    """Returns a shipped profile's TOML."""
    return files("devices").joinpath("profiles").joinpath(f"{name}.toml").read_text(encoding="utf-8")


@lru_cache(maxsize=64)
def load_profile(name: str) -> Profile:
    """Returns a shipped profile, or one variant of it: `deye_3p` or `deye_3p.hv`.

    Raises:
        BadProfile: no such profile (the message lists those there are) or faults in it.
    """
    product, _, variant = name.partition(".")
    if product not in profile_names():
        raise BadProfile([f"no profile {product!r}: there are {', '.join(profile_names())}"])
    return parse_profile(product, profile_text(product), variant)


def point_of(profile: Profile, name: str, channels: Sequence[str] = ()) -> ProfilePoint:
    """Returns the definition behind a point name; channel points are `<usage point><suffix>`.

    Raises:
        KeyError: the profile has no such point.
    """
    for point in points_of(profile, channels):
        if point.name == name:
            return point
    raise KeyError(f"profile {profile.name} has no point {name!r}")


def points_of(profile: Profile, channels: Sequence[str] = ()) -> tuple[ProfilePoint, ...]:
    """Returns the profile's points with the site's channel names in place.

    Raises:
        BadProfile: more channels than the product has.
    """
    if len(channels) > len(profile.channels):
        raise BadProfile(
            [f"profile {profile.name} has {len(profile.channels)} channels, the site names {len(channels)}"]
        )
    named = (replace(p, name=f"{c}{profile.channel_suffix}") for p, c in zip(profile.channels, channels, strict=False))
    return (*profile.points, *named)


def scale_block(points: Sequence[ProfilePoint]) -> Block | None:
    """Returns the one read of the scale registers that points name, None where none does."""
    used = [(point.scale_at, point.function) for point in points if point.scale_at is not None]
    if not used:
        return None
    (first, function), (last, _) = min(used), max(used)
    return Block(function, first, last - first + 1, (), ())


def present_scales(profile: Profile, last: Sequence[Registers | None]) -> Profile:
    """Returns the profile with the power of ten of its scale registers, as last read, in each point's `scale`.

    A point whose scale register was not read, or holds no exponent, keeps its `scale_at`.
    """
    scales = scale_block((*profile.points, *profile.channels))
    if scales is None:
        return profile
    points, channels = ([_present_scale(p, scales, last) for p in part] for part in (profile.points, profile.channels))
    return replace(profile, points=tuple(points), channels=tuple(channels))


def _present_scale(point: ProfilePoint, scales: Block, last: Sequence[Registers | None]) -> ProfilePoint:
    registers = last[0] if last else None
    if point.scale_at is None or registers is None:
        return point
    factor = times_power_of_ten(lambda _: 1.0, point.scale_at - scales.address)(registers)
    return point if factor is None else replace(point, scale=point.scale * factor, scale_at=None)


def point_value_reader(point: ProfilePoint, index: int, low_word_first: bool, scale_index: int | None = None) -> Reader:
    """Returns a reader of one point whose first register stands at `index` of a block, its scale at `scale_index`."""
    numbers = [_number_reader(point, index + i * point.type.size, low_word_first) for i in range(point.sum)]
    read = scaled(numbers[0] if len(numbers) == 1 else _sum(numbers), point.scale, point.offset)
    if scale_index is not None:
        read = times_power_of_ten(read, scale_index)
    if point.range is not None:
        read = within(read, *point.range)
    if point.above is not None:
        read = _above(read, point.above)
    if point.clamp is not None:
        read = _clamped(read, *point.clamp)
    return whole(read) if point.name.endswith(("_wh", "_ml")) else read


def _number_reader(point: ProfilePoint, index: int, low_word_first: bool) -> Reader:
    read = raw_reader(point.type, index, point.absent, low_word_first)
    if point.mask:
        read = _masked(read, point.mask)
    return read if point.raw_range is None else within(read, *point.raw_range)


def _masked(read: Reader, mask: int) -> Reader:
    lowest = mask & -mask

    def read_masked(registers: Registers) -> float | None:
        value = read(registers)
        return None if value is None else (int(value) & mask) // lowest

    return read_masked


def _sum(readers: Sequence[Reader]) -> Reader:
    def read_sum(registers: Registers) -> float | None:
        total = 0.0
        for read in readers:
            value = read(registers)
            if value is None:
                return None
            total += value
        return total

    return read_sum


def _above(read: Reader, threshold: float) -> Reader:
    def read_above(registers: Registers) -> float | None:
        value = read(registers)
        return None if value is None else float(value > threshold)

    return read_above


def _clamped(read: Reader, low: float, high: float) -> Reader:
    def read_clamped(registers: Registers) -> float | None:
        value = read(registers)
        return None if value is None else min(max(value, low), high)

    return read_clamped


def encode_point(profile: Profile, point: ProfilePoint, value: float | None, exponent: int = 0) -> tuple[int, ...]:
    """Returns the registers that read back as `value` [our unit and sign]; None = a sentinel or 0.

    `exponent` is what the point's scale register holds.

    Raises:
        OverflowError: the value does not fit the register type.
    """
    if value is None:
        return _absent_words(profile, point) * point.sum
    raw = (value - point.offset) / point.scale / 10.0**exponent
    if point.mask:
        raw = round(raw) * (point.mask & -point.mask)
    words: tuple[int, ...] = ()
    for left in range(point.sum, 0, -1):  # a sum's parts are as equal as whole numbers can be
        part = raw / left if point.type.real else round(raw / left)
        words += encode_number(point.type, part, profile.low_word_first)
        raw -= part
    return words


NOT_A_NUMBER: Mapping[int, int] = {2: 0x7FC00000, 4: 0x7FF8000000000000}


def _absent_words(profile: Profile, point: ProfilePoint) -> tuple[int, ...]:
    raw = NOT_A_NUMBER[point.type.size] if point.type.real else min(point.absent, default=0)
    words = tuple((raw >> 16 * i) & 0xFFFF for i in range(point.type.size - 1, -1, -1))
    return words[::-1] if profile.low_word_first else words


class ProfileDriver:
    """Reads and writes a device by its profile."""

    def __init__(self, profile: Profile, channels: Sequence[str] = ()) -> None:
        """Compiles the block reads; neighbours within `block_gap` share one."""
        self.profile = profile
        self._points = {point.name: point for point in points_of(profile, channels)}
        points = tuple(self._points.values())
        self._scales = scale_block(points)
        self._blocks = tuple(_coalesce(profile, points, self._scales))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Returns the block reads of one poll."""
        return self._blocks

    @property
    def reverts(self) -> bool:
        """Returns whether a write starts a timer of the product; else it stands, or until its keep-alive is over."""
        return any(step.timer_ms for rule in self.profile.writes.values() for step in rule.steps)

    def rollover(self, point: str, last: Sequence[Registers | None]) -> int:
        """Returns 2^bits x scale of the counting register, 0 while its scale register was not read."""
        definition = self._points[point]
        if definition.scale_at is not None and self._scales is not None:
            definition = _present_scale(definition, self._scales, last)
        if definition.type.real or definition.scale_at is not None:
            return 0
        return round((definition.type.high + 1) * abs(definition.scale))

    def keep_alive_ms(self, point: str) -> int:
        """Returns the profile's keep-alive time in ms, or the longest that the product's own timer goes."""
        rule = self.profile.writes.get(point)
        if rule is None:
            return 0
        timers = [step.timer_ms * step.type.high for step in rule.steps if step.timer_ms]
        return rule.keep_alive_s * 1000 or min(timers, default=0)

    def writes(
        self, point: str, value: float, fallback: float, valid_ms: int, last: Sequence[Registers | None]
    ) -> list[RegisterWrite]:
        """Returns the profile's steps for this value."""
        del fallback, last
        rule = self.profile.writes.get(point)
        if rule is None:
            raise Unwritable(f"profile {self.profile.name} cannot write {point}")
        if not rule.low <= value <= rule.high:
            raise Unwritable(f"{point} = {value} is outside {rule.low} to {rule.high} of profile {self.profile.name}")
        state = "off" if value == 0 else "on"
        return [self._step(step, value, valid_ms) for step in rule.steps if step.when in {"always", state}]

    def _step(self, step: WriteStep, value: float, valid_ms: int) -> RegisterWrite:
        if step.timer_ms:
            return RegisterWrite(step.function, step.address, (step.timer(valid_ms),))
        raw = value / step.scale if step.key is None else step.key
        try:
            words = encode_number(step.type, raw, self.profile.low_word_first)
        except OverflowError as error:
            raise Unwritable(f"profile {self.profile.name}: {error}") from error
        if step.complement:
            words += tuple(word ^ 0xFFFF for word in words)
        return RegisterWrite(step.function, step.address, words)


def _coalesce(profile: Profile, points: Sequence[ProfilePoint], scales: Block | None) -> list[Block]:
    groups: list[list[ProfilePoint]] = []
    for point in sorted(points, key=lambda p: (p.every, p.function, p.scale_at is not None, p.address)):
        if groups and _joins(profile, groups[-1], point):
            groups[-1].append(point)
        else:
            groups.append([point])
    blocks = [_block(profile, group, scales) for group in groups]
    if scales is not None:  # first, so that what follows at this poll can be scaled
        blocks.insert(0, scales)
    return blocks


def _joins(profile: Profile, group: Sequence[ProfilePoint], point: ProfilePoint) -> bool:
    end = max(p.address + p.size for p in group)
    kinds = [(p.function, p.every, p.scale_at is None) for p in (group[0], point)]
    return (
        kinds[0] == kinds[1]
        and point.address - end <= profile.block_gap
        and max(end, point.address + point.size) - group[0].address <= profile.block_max
    )


def _block(profile: Profile, group: Sequence[ProfilePoint], scales: Block | None) -> Block:
    start = group[0].address
    count = max(p.address + p.size for p in group) - start
    readers: list[Reader] = []
    for p in group:
        scale_index = None if p.scale_at is None or scales is None else count + p.scale_at - scales.address
        readers.append(point_value_reader(p, p.address - start, profile.low_word_first, scale_index))
    names, scaled_by = tuple(p.name for p in group), group[0].scale_at is not None
    return Block(group[0].function, start, count, names, tuple(readers), group[0].every, scaled_by)
