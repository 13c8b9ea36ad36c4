"""From a lease to the wire: narrow by the interlocks, write what changed, re-arm timers, read back."""

from __future__ import annotations

from dataclasses import dataclass

from devices.bus import BusWrite, WriteRequest
from devices.drivers import Unwritable
from devices.interlocks import Guarded, Sense
from devices.leases import Output
from devices.model import DeviceKind
from devices.poll import Unit

IGNORED_MAX = 2
"""Polls that may show another value before the write is repeated and reported."""
REPEAT_POLLS = 60
"""A device that keeps ignoring its setpoint is told again every so many polls."""
LOCKED_OUT, IGNORES, LAPSED = "locked_out", "ignores_setpoint", "lease_lapsed"
STATE_POINTS = (LOCKED_OUT, IGNORES, LAPSED)
"""Points of every output beside its readings, 1 while it is so: a lock-out tag is on it; it reads back something else
than it was told; nobody has spoken for it since its last lease ran out."""


@dataclass(frozen=True, slots=True)
class Report:
    """Something about an output that the log and the operator should know."""

    code: str
    text: str


def state_of(output: Output) -> tuple[float, ...]:
    """Returns the values of `STATE_POINTS`. Nobody speaks for what is locked out or read only: no fault."""
    lapsed = output.lapsed and not output.tag and not output.read_only
    return float(bool(output.tag)), float(output.ignored >= IGNORED_MAX), float(lapsed)


def drive(
    output: Output, unit: Unit, guarded: Guarded, sense: Sense, elapsed: int, retry_ms: int
) -> tuple[list[BusWrite], list[Report]]:
    """Returns the writes that make the output what it may be now, and reports of changed interlocks."""
    reports: list[Report] = []
    seen = unit.value(output.point)
    wish = output.wish if output.wish is not None else seen
    if wish is None:
        return [], reports
    before = guarded.active
    verdict = guarded.narrow(wish, sense, elapsed)
    if verdict.rules != before:
        reports.append(_changed(output, wish, verdict.value, verdict.rules))
    untouched = output.wish is None and verdict.value == wish
    blocked = output.read_only or output.waiting or elapsed < output.retry_at or unit.dead
    if untouched or blocked or unit.driver is None or not _due(output, unit, verdict.value, elapsed):
        return [], reports
    valid_ms = output.remaining_ms(elapsed)
    fallback = min(max(output.fallback, guarded.band[0]), guarded.band[1])
    try:
        orders = unit.driver.writes(output.point, verdict.value, fallback, valid_ms, unit.last)
    except Unwritable as problem:
        output.retry_at = elapsed + retry_ms
        reports.append(Report("unwritable", f"{output.device}/{output.point} = {verdict.value:g}: {problem}"))
        return [], reports
    output.written, output.written_at, output.written_for_ms = verdict.value, elapsed, valid_ms
    output.waiting = len(orders)
    spec = unit.spec
    writes = [
        BusWrite(WriteRequest(spec.id, output.point, spec.endpoint, spec.unit, o.function, o.address, o.values))
        for o in orders
    ]
    return writes, reports


def _due(output: Output, unit: Unit, value: float, elapsed: int) -> bool:
    if output.written is None or value != output.written:
        return True
    age = elapsed - output.written_at
    keep_alive = unit.driver.keep_alive_ms(output.point) if unit.driver is not None else 0
    if keep_alive and value != output.default and age * 3 >= keep_alive:
        return True  # without it the device goes to its default by itself
    if unit.driver is None or not unit.driver.reverts:
        return False
    # The device's own timer must end with the lease: set again when a third is gone, and when the lease ended.
    if output.written_for_ms:
        return output.until is None or age * 3 >= output.written_for_ms
    return output.until is not None


def _changed(output: Output, wish: float, value: float, rules: tuple[str, ...]) -> Report:
    what = f"{output.device}/{output.point}"
    if not rules:
        return Report("interlock-clear", f"{what}: {wish:g} is allowed again")
    return Report("interlock", f"{what}: {wish:g} narrowed to {value:g} by {', '.join(rules)}")


def written(output: Output, failed: bool, elapsed: int, retry_ms: int) -> None:
    """Takes the outcome of one write; a failed one is tried again after `retry_ms`."""
    output.waiting = max(0, output.waiting - 1)
    if failed:
        output.written = None
        output.retry_at = elapsed + retry_ms


def read_back(output: Output, unit: Unit) -> list[Report]:
    """Compares a fresh poll with what was written; a device that does not follow is told again and reported."""
    seen = unit.value(output.point)
    if seen is None or output.written is None or output.waiting or output.written_at >= unit.asked_at:
        return []
    what = f"{output.device}/{output.point}"
    runs = unit.spec.kind is DeviceKind.PUMP and seen > 0 < output.written  # a drive's status bit knows no speed
    if runs or abs(seen - output.written) <= max(0.005, 0.02 * abs(output.written)):
        was, output.ignored = output.ignored, 0
        return [Report("follows", f"{what} follows again")] if was >= IGNORED_MAX else []
    output.ignored += 1
    if output.ignored != IGNORED_MAX and output.ignored % REPEAT_POLLS:
        return []
    told, output.written = output.written, None
    if output.ignored != IGNORED_MAX:
        return []
    return [Report("ignores-setpoint", f"{what}: told {told:g}, reads back {seen:g}: check remote mode of the device")]
