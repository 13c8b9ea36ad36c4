"""A reading against what the device's own display shows: does the map fit, and if not, what is wrong with it?

Used when a device is put into service. A wrong word order, scale or sign gives a number that looks like one; only a
value known from elsewhere tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from devices.profile import Profile, ProfilePoint, point_value_reader

TOLERANCE = 0.05
"""How far reading and display may differ, as a fraction of the known value."""
SCALES = (0.001, 0.01, 0.1, 10.0, 100.0, 1000.0)


class Fit(StrEnum):
    """What a comparison found."""

    FITS = "fits"
    NO_NUMBER = "no number"
    WORD_ORDER = "word order"
    SIGN = "sign"
    SCALE = "scale"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The verdict; `read` is what the map makes of the registers, `mended` what it would read with the fault mended."""

    fit: Fit
    read: float | None
    mended: float | None = None


def compare(profile: Profile, point: ProfilePoint, registers: Sequence[int], known: float) -> Comparison:
    """Returns whether a point's own registers say `known` [our unit and sign], and what is wrong where they do not.

    A known value of 0 proves nothing and is `OTHER` unless it is read as 0.
    """
    read = _read(point, registers, profile.low_word_first)
    if _close(read, known):
        return Comparison(Fit.FITS, read)
    free = replace(point, range=None, raw_range=None, clamp=None)
    swapped = _read(free, registers, not profile.low_word_first)
    if point.type.size > 1 and _close(swapped, known):
        return Comparison(Fit.WORD_ORDER, read, swapped)
    value = _read(free, registers, profile.low_word_first)
    if value is None:
        return Comparison(Fit.NO_NUMBER, read)
    if _close(-value, known):
        return Comparison(Fit.SIGN, read, -value)
    for factor in SCALES:
        if _close(value * factor, known) or _close(-value * factor, known):
            return Comparison(Fit.SCALE, read, value * factor)
    return Comparison(Fit.OTHER, read)


def _read(point: ProfilePoint, registers: Sequence[int], low_word_first: bool) -> float | None:
    return point_value_reader(point, 0, low_word_first)(registers)


def _close(value: float | None, known: float) -> bool:
    return value is not None and abs(value - known) <= TOLERANCE * abs(known)
