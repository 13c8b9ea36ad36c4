"""Which part of several plants under one sky is in order: they are compared with each other, day by day. Pure.

A day on which all bring little was dark; a day on which some bring little while others shine is a lost string, and it
is lost tomorrow as well. Only who knows the two apart can say from the past whether the sun fills the stores again.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, nan

IN_ORDER = 0.8
"""A plant that brings this share of what its neighbours let one expect is in order: shade differs by the day."""

USUAL = 0.9
"""Of all days known, the place (0 least, 1 most) of the one that tells what a plant in order brings in the sun."""

FACTOR_MAX = 3.0
"""Days on which nearly everything was lost teach little of the sky: they are not stretched further."""


def as_now(days: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Returns for each day the factor that makes of its gain what the plants of today would have had of its sky.

    `days[d][i]` is what plant i gained on day d, the newest day first, all in one unit; a plant that did not tell,
    or was told to bring less, is nan on that day and taken for one in order.
    """
    shares = in_order(days)
    return tuple(min(FACTOR_MAX, shares[0] / share) if share > 0.0 else 1.0 for share in shares)


def in_order(days: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Returns for each day what share of all plants was in order, weighted by size; 1 where nothing can be compared."""
    if not days or len(days[0]) < 2:
        return (1.0,) * len(days)
    sizes = [_usual([day[plant] for day in days]) for plant in range(len(days[0]))]
    total = sum(sizes)
    if total <= 0.0:
        return (1.0,) * len(days)
    beside = [_beside(day, sizes) for day in days]
    usual = [_usual([day[plant] for day in beside]) for plant in range(len(sizes))]
    healthy = [
        [share / most if share < IN_ORDER * most else 1.0 for share, most in zip(day, usual, strict=True)]
        for day in beside
    ]
    return tuple(sum(size * part for size, part in zip(sizes, day, strict=True)) / total for day in healthy)


def _beside(day: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Returns what each plant brought beside the best of its neighbours, each by its own size; 1 in the dark.

    Of four and more the second best tells of the sky: one mad meter must not make all others look lost.
    """
    shares = [gain / size if size > 0.0 else nan for gain, size in zip(day, sizes, strict=True)]
    known = sorted(share for share in shares if not isnan(share))
    sky = known[-2 if len(known) > 3 else -1] if known else 0.0
    return [min(1.0, share / sky) if not isnan(share) and sky > 0.0 else 1.0 for share in shares]


def _usual(values: Sequence[float]) -> float:
    known = sorted(value for value in values if not isnan(value))
    return known[min(len(known) - 1, int(USUAL * len(known)))] if known else 0.0
