"""Which past day stands for which day of a future: in blocks, the first of them after days like today. Pure."""

from __future__ import annotations

from collections.abc import Sequence

BLOCK_DAYS = 2
"""Days that are drawn together: a cloudy day is rarely alone."""

LIKE = 4
"""Of all past days, the share (1 in so many) most like today that the first day is drawn from."""

LIKE_MIN = 3


def drawn(order: Sequence[int], count: int, number: int, day: int, like: int = 0) -> int:
    """Returns the past day (of `count`, 0 the oldest) that stands for `day` of the future with this number.

    `order` names the days to draw from, first those before which it was as it is today; the first
    day comes from the `like` first of them (0: a quarter). The draw is a fixed sequence,
    so equal pasts give equal futures.
    """
    block, within = divmod(day, BLOCK_DAYS)
    if block == 0:
        near = order[: like or max(LIKE_MIN, len(order) // LIKE)]
        first = near[number % len(near)]
    else:
        first = order[_mixed(number * 1_009 + block) % len(order)]
    return min(first + within, count - 1)


def _mixed(value: int) -> int:
    """Returns a whole number that looks drawn by lot (a multiplicative hash), the same each time."""
    value = (value * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03) & (1 << 64) - 1
    return (value ^ value >> 31) * 0xBF58476D1CE4E5B9 >> 17 & 0xFFFFFFFF
