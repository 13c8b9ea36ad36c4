"""Samples of a point in equal steps for a picture: what may be used, and how bad the worst was. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from controller.store.series import PointRange
from devices.clock import MINUTE_MS, Instant
from devices.model import Quality

STEPS_MS = (5 * MINUTE_MS, 15 * MINUTE_MS, 30 * MINUTE_MS, 60 * MINUTE_MS)


@dataclass(frozen=True, slots=True)
class Graded:
    """A point in equal steps: the mean of what may be used (None: a gap), the worst quality (None: nothing heard)."""

    times: tuple[Instant, ...]
    means: tuple[float | None, ...]
    worst: tuple[Quality | None, ...]
    step_ms: int


def grade(found: PointRange, start: Instant, end: Instant) -> Graded:
    """Returns the samples in steps that are longer than the device's own interval."""
    step_ms = _step(found.times)
    count = max(1, -(-(end - start) // step_ms))
    sums, numbers = [0.0] * count, [0] * count
    worst: list[Quality | None] = [None] * count
    for at, value, quality in zip(found.times, found.values, found.qualities, strict=True):
        step = (at - start) // step_ms
        if not 0 <= step < count:
            continue
        if value is not None and quality <= Quality.UNCERTAIN:
            sums[step] += value
            numbers[step] += 1
        before = worst[step]
        if before is None or quality > before:
            worst[step] = quality
    times = tuple(Instant(start + index * step_ms) for index in range(count))
    means = tuple(total / number if number else None for total, number in zip(sums, numbers, strict=True))
    return Graded(times, means, tuple(worst), step_ms)


def _step(times: Sequence[Instant]) -> int:
    usual = median([b - a for a, b in pairwise(times[-1000:])]) if len(times) > 2 else 0
    return next((step for step in STEPS_MS if step >= 1.5 * usual), STEPS_MS[-1])
