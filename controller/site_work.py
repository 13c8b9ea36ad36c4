"""The site file's machines, crews and work orders: who can do what, when, and what has to be done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controller import site_schema as schema
from controller.site_problems import Finding, Path
from controller.site_types import DAYS, minutes
from devices.clock import Instant, parse_iso


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """A shared machine; hours are minutes of the day, `hours_left` the running hours until its service is due."""

    id: str
    kind: str
    hours: tuple[int, int]
    hours_left: float | None


@dataclass(frozen=True, slots=True)
class CrewSpec:
    """People who work together; shift in minutes of the day, days from Monday 0."""

    id: str
    skills: tuple[str, ...]
    shift: tuple[int, int]
    days: tuple[int, ...]
    price_per_h: float


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """What has to be done: on every local day inside `window`, or once until an instant."""

    id: str
    kind: str
    window: tuple[int, int]
    until: Instant | None
    duration_ms: int
    power_w: float
    machine: str
    services: str | None
    skills: tuple[str, ...]
    attended_ms: int | None
    after: tuple[str, ...]
    late_price_per_h: float
    skip_price: float


@dataclass(frozen=True, slots=True)
class WorkSpec:
    """All of it; empty where a site says nothing of work."""

    machines: tuple[MachineSpec, ...] = ()
    crews: tuple[CrewSpec, ...] = ()
    orders: tuple[WorkOrder, ...] = ()


def work_spec(file: schema.SiteFile) -> WorkSpec:
    """Returns what a checked file says of work."""
    return WorkSpec(
        tuple(MachineSpec(row.id, row.kind, _hours(row.hours), _left(row)) for row in file.machine),
        tuple(
            CrewSpec(
                row.id,
                tuple(row.skills),
                _hours(row.shift),
                tuple(DAYS.index(day) for day in row.days),
                row.price_per_h,
            )
            for row in file.crew
        ),
        tuple(_order(row) for row in file.work),
    )


def _hours(texts: list[str]) -> tuple[int, int]:
    start, end = (minutes(text) for text in texts)
    return start, end


def _left(row: schema.MachineTable) -> float | None:
    if row.service_every_h is None:
        return None
    return max(row.service_every_h - (row.running_h - row.serviced_h), 0.0)


def _order(row: schema.WorkTable) -> WorkOrder:
    return WorkOrder(
        row.id,
        row.kind,
        _hours(row.window),
        None if row.until is None else parse_iso(row.until),
        row.duration_ms,
        row.power_w,
        row.machine,
        row.services,
        tuple(row.skills),
        row.attended_ms,
        tuple(row.after),
        row.late_price_per_h,
        row.skip_price,
    )


def check_work_orders(file: schema.SiteFile) -> Iterable[Finding]:
    """Yields orders that nobody can do: unknown machines, skills that no crew has, windows that are too short."""
    kinds, ids = {row.kind for row in file.machine}, {row.id for row in file.machine}
    orders = {row.id for row in file.work}
    for index, row in enumerate(file.work):
        here = ("work", index)
        if row.machine and row.machine not in kinds:
            yield "110", (*here, "machine"), row.machine, "no machine is of this kind", f"one of: {sorted(kinds)}"
        if row.services is not None and row.services not in ids:
            yield "111", (*here, "services"), row.services, "no machine has this id", f"one of: {sorted(ids)}"
        yield from check_skills(file, here, row.skills)
        for name in row.after:
            if name not in orders or name == row.id:
                yield "113", (*here, "after"), name, "no other work order has this id", f"one of: {sorted(orders)}"
        if row.until is not None:
            try:
                parse_iso(row.until)
            except ValueError as error:
                yield "114", (*here, "until"), row.until, str(error), "2026-06-01T12:00:00+02:00"
        yield from _fits((*here, "window"), row.window, row.duration_ms)
    for index, machine in enumerate(file.machine):
        yield from _fits(("machine", index, "hours"), machine.hours, 60_000)
    for index, crew in enumerate(file.crew):
        yield from _fits(("crew", index, "shift"), crew.shift, 60_000)


def check_skills(file: schema.SiteFile, here: Path, skills: Sequence[str]) -> Iterable[Finding]:
    """Yields skills of a row at `here` that no one crew has together."""
    if skills and not any(set(skills) <= set(crew.skills) for crew in file.crew):
        yield "112", (*here, "skills"), ", ".join(skills), "no crew has these skills", "name a crew that has"


def _fits(path: Path, texts: list[str], duration_ms: int) -> Iterable[Finding]:
    start, end = _hours(texts)
    if (end - start) * 60_000 < duration_ms:
        need = f"it needs {-(-duration_ms // 60_000)} minutes; write a span across midnight as two rows"
        yield "115", path, "-".join(texts), "the span ends too soon after it begins", need
