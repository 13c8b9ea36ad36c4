"""The order in which loads come back after an outage: stages whose inrush the supply can carry. Pure.

A motor draws several times its power while it starts. Loads are put back by rank, and within one stage only as many
as keep what runs already plus everybody's inrush within the limit. A load that never fits is named, not started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_NEAR = 1e-6


@dataclass(frozen=True, slots=True)
class Load:
    """Something that was off and is to run again."""

    id: str
    rank: int  # lower comes first; lifelines have 0
    running_w: float
    inrush_w: float  # at the moment of starting; at least `running_w`


@dataclass(frozen=True, slots=True)
class Stage:
    """What is switched on together, and the highest power at that moment."""

    loads: tuple[str, ...]
    peak_w: float


@dataclass(frozen=True, slots=True)
class Restart:
    """Stages in order, and what does not fit at all, with why."""

    stages: tuple[Stage, ...]
    refused: tuple[tuple[str, str], ...] = ()


def restart_order(loads: Sequence[Load], limit_w: float, base_w: float = 0.0) -> Restart:
    """Returns the stages for `loads` under `limit_w` while `base_w` is drawn already.

    A stage takes the next loads by rank while they fit; a later rank never overtakes one that still waits.
    """
    stages: list[Stage] = []
    refused: list[tuple[str, str]] = []
    running = base_w
    group: list[Load] = []

    def close() -> None:
        nonlocal running, group
        if group:
            peak = running + sum(load.inrush_w for load in group)
            stages.append(Stage(tuple(load.id for load in group), peak))
            running += sum(load.running_w for load in group)
            group = []

    for load in sorted(loads, key=lambda one: (one.rank, -one.inrush_w, one.id)):
        inrush = max(load.inrush_w, load.running_w)
        if group and (
            load.rank != group[0].rank or running + sum(one.inrush_w for one in group) + inrush > limit_w + _NEAR
        ):
            close()
        if running + inrush > limit_w + _NEAR:
            refused.append(
                (load.id, f"its start needs {inrush:.0f} W and {max(0.0, limit_w - running):.0f} W are left")
            )
            continue
        group.append(Load(load.id, load.rank, load.running_w, inrush))
    close()
    return Restart(tuple(stages), tuple(refused))


def check_restart(order: Restart, loads: Sequence[Load], limit_w: float, base_w: float = 0.0) -> list[str]:
    """Returns what is wrong with an order, recomputed from the loads alone; empty when nothing is."""
    known = {load.id: load for load in loads}
    wrong: list[str] = []
    seen = [name for stage in order.stages for name in stage.loads] + [name for name, _ in order.refused]
    if sorted(seen) != sorted(known):
        wrong.append(f"every load once: {sorted(known)}, seen {sorted(seen)}")
        return wrong
    running, rank = base_w, -(1 << 30)
    for number, stage in enumerate(order.stages):
        peak = running + sum(max(known[name].inrush_w, known[name].running_w) for name in stage.loads)
        if peak > limit_w + _NEAR:
            wrong.append(f"stage {number}: {peak:.0f} W at the start, the limit is {limit_w:.0f} W")
        if abs(peak - stage.peak_w) > 1e-3:
            wrong.append(f"stage {number}: says {stage.peak_w:.0f} W, it is {peak:.0f} W")
        lowest = min(known[name].rank for name in stage.loads)
        if lowest < rank:
            wrong.append(f"stage {number}: {', '.join(stage.loads)} comes after what matters less")
        rank = max(known[name].rank for name in stage.loads)
        running += sum(known[name].running_w for name in stage.loads)
    return wrong
