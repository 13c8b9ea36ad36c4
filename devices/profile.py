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
    "profile_names",
    "profile_text",
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


def point_value_reader(point: ProfilePoint, index: int, low_word_first: bool) -> Reader:
    """Returns a reader of one point whose first register stands at `index` of a block."""
    numbers = [_number_reader(point, index + i * point.type.size, low_word_first) for i in range(point.sum)]
    read = scaled(numbers[0] if len(numbers) == 1 else _sum(numbers), point.scale, point.offset)
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


def encode_point(profile: Profile, point: ProfilePoint, value: float | None) -> tuple[int, ...]:
    """Returns the registers that read back as `value` [our unit and sign]; None = a sentinel or 0.

    Raises:
        OverflowError: the value does not fit the register type.
    """
    if value is None:
        return _absent_words(profile, point) * point.sum
    raw = (value - point.offset) / point.scale
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
        self._blocks = tuple(_coalesce(profile, tuple(self._points.values())))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Returns the block reads of one poll."""
        return self._blocks

    @property
    def reverts(self) -> bool:
        """Returns False: what a profile writes stands until it is written again or the keep-alive time is over."""
        return False

    def rollover(self, point: str, last: Sequence[Registers | None]) -> int:
        """Returns 2^bits x scale of the counting register."""
        del last
        definition = self._points[point]
        return 0 if definition.type.real else round((definition.type.high + 1) * abs(definition.scale))

    def keep_alive_ms(self, point: str) -> int:
        """Returns the profile's keep-alive time in ms."""
        rule = self.profile.writes.get(point)
        return 0 if rule is None else rule.keep_alive_s * 1000

    def writes(
        self, point: str, value: float, fallback: float, valid_ms: int, last: Sequence[Registers | None]
    ) -> list[RegisterWrite]:
        """Returns the profile's steps for this value."""
        del fallback, valid_ms, last
        rule = self.profile.writes.get(point)
        if rule is None:
            raise Unwritable(f"profile {self.profile.name} cannot write {point}")
        if not rule.low <= value <= rule.high:
            raise Unwritable(f"{point} = {value} is outside {rule.low} to {rule.high} of profile {self.profile.name}")
        state = "off" if value == 0 else "on"
        return [self._step(step, value) for step in rule.steps if step.when in {"always", state}]

    def _step(self, step: WriteStep, value: float) -> RegisterWrite:
        raw = value / step.scale if step.key is None else step.key
        try:
            words = encode_number(step.type, raw, self.profile.low_word_first)
        except OverflowError as error:
            raise Unwritable(f"profile {self.profile.name}: {error}") from error
        if step.complement:
            words += tuple(word ^ 0xFFFF for word in words)
        return RegisterWrite(step.function, step.address, words)


def _coalesce(profile: Profile, points: Sequence[ProfilePoint]) -> list[Block]:
    groups: list[list[ProfilePoint]] = []
    for point in sorted(points, key=lambda p: (p.function, p.address)):
        if groups and _joins(profile, groups[-1], point):
            groups[-1].append(point)
        else:
            groups.append([point])
    return [_block(profile, group) for group in groups]


def _joins(profile: Profile, group: Sequence[ProfilePoint], point: ProfilePoint) -> bool:
    end = max(p.address + p.size for p in group)
    same = group[0].function == point.function
    return (
        same
        and point.address - end <= profile.block_gap
        and max(end, point.address + point.size) - group[0].address <= profile.block_max
    )


def _block(profile: Profile, group: Sequence[ProfilePoint]) -> Block:
    start = group[0].address
    count = max(p.address + p.size for p in group) - start
    readers = tuple(point_value_reader(p, p.address - start, profile.low_word_first) for p in group)
    return Block(group[0].function, start, count, tuple(p.name for p in group), readers)
