"""What people see of a storm: frozen values; console page, API and `atoll storm` only render them."""

from __future__ import annotations

from dataclasses import dataclass

from controller.storm import Check, Storm
from devices.clock import Instant


@dataclass(frozen=True, slots=True)
class RationRow:
    """One step of rationing as people read it: what is off, who gets what, and what it buys."""

    name: str
    text: str
    off: tuple[str, ...]  # what the hub switches off by itself
    asked: tuple[str, ...]  # what people are asked to do
    chance: float | None  # that every lifeline is served for the hours needed
    mean_hours: float | None
    holds: bool  # or would, if the outside were gone now


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The survival curve at one hour: of the ration that holds, of its two parts, and without any ration."""

    hours: int
    all: float
    energy: float
    water: float
    unrationed: float


@dataclass(frozen=True, slots=True)
class StormView:
    """The Storm page."""

    at: Instant
    timezone: str
    storm: Storm | None
    phase: str  # none, ahead, during
    causes: tuple[str, ...]
    ration: str
    why: str  # why this ration holds
    needed_h: float
    curve_from: Instant | None
    curve: tuple[CurvePoint, ...]
    rations: tuple[RationRow, ...]
    checklist: tuple[Check, ...]
    restart: tuple[tuple[str, ...], ...]
    restart_refused: tuple[tuple[str, str], ...]
    futures: int = 0
    supposed: bool = False  # no emergency: curve and rations are of an outage that would begin now
    shortages: tuple[str, ...] = ()  # of power, water, diesel and food: what is announced
