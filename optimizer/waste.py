"""Waste as plant: a digester and its gas, and processing before the yard is full. Loads no solver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from optimizer.names import AssetId, Series
from optimizer.tasks import Task, TaskKind


@dataclass(frozen=True, slots=True)
class Digester:
    """Feed becomes gas by first-order decay, the holder keeps it, an engine burns it; what does not fit is flared."""

    id: AssetId
    yield_m3_per_kg: float
    decay_per_day: float
    undigested_kg: float  # fresh matter in the vessel now
    gas_now_m3: float
    holder_min_m3: float  # pressure for burner and pilot flame
    holder_max_m3: float
    engine_kw_max: float
    engine_kw_min: float
    gas_m3_per_kwh: float
    start_price: float
    running: bool = False


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """Electrical power per slot, gas in the holder at the end of each slot, and gas flared in it."""

    kw: Series
    gas_m3: Series
    flared_m3: Series


@dataclass(frozen=True, slots=True)
class GasPlant:
    """A digester with what it will make [m3 per slot] and what gas left at the end is worth [money per m3]."""

    digester: Digester
    made_m3: Series
    end_value: float
    engine: AssetId | None = None  # the set that burns it, where that has an id of its own

    @property
    def unit(self) -> AssetId:
        """Returns the id of the engine in a plan's units."""
        return self.engine or self.digester.id


def gas_made(digester: Digester, feed_kg: Sequence[float], slot_h: float) -> Series:
    """Returns the gas of each slot [m3]; what is fed in a slot begins to work in the next one."""
    left, made = digester.undigested_kg, list[float]()
    turned = 1.0 - exp(-digester.decay_per_day * slot_h / 24)
    for fed in feed_kg:
        made.append(left * turned * digester.yield_m3_per_kg)
        left = left * (1.0 - turned) + fed
    return tuple(made)


def burn(digester: Digester, made_m3: Sequence[float], kw: Sequence[float], slot_h: float) -> EnginePlan:
    """Returns what a schedule of the engine does to the gas holder."""
    gas, held, flared = digester.gas_now_m3, list[float](), list[float]()
    for made, power in zip(made_m3, kw, strict=True):
        gas += made - power * slot_h * digester.gas_m3_per_kwh
        flared.append(max(gas - digester.holder_max_m3, 0.0))
        gas -= flared[-1]
        held.append(gas)
    return EnginePlan(tuple(kw), tuple(held), tuple(flared))


def within_gas(digester: Digester, made_m3: Sequence[float], kw: Sequence[float], slot_h: float) -> Series:
    """Returns a schedule with less power, or none, in the slots in which the holder would run below its minimum."""
    gas, kept = digester.gas_now_m3, list[float]()
    for made, power in zip(made_m3, kw, strict=True):
        there = gas + made - digester.holder_min_m3
        most = min(power, there / (slot_h * digester.gas_m3_per_kwh))
        kept.append(most if power > 0.0 and most >= digester.engine_kw_min else 0.0)
        gas = min(gas + made - kept[-1] * slot_h * digester.gas_m3_per_kwh, digester.holder_max_m3)
    return tuple(kept)


@dataclass(frozen=True, slots=True)
class Yard:
    """Waste that waits for a machine."""

    id: AssetId
    held_kg: float
    most_kg: float
    arrives_kg: Series  # per slot
    machine_kind: str
    machine_kw: float
    kg_per_h: float
    skills: tuple[str, ...] = ()


def processing(yard: Yard, slot_h: float, batch_slots: int, skip_price: float) -> tuple[Task, ...]:
    """Returns the runs that a yard needs within the plan; each ends before the yard would be over its limit."""
    batch_kg = yard.kg_per_h * batch_slots * slot_h
    held, tasks, done_kg = yard.held_kg, list[Task](), 0.0
    total = yard.held_kg + sum(yard.arrives_kg)
    for number in range(int(total / batch_kg + 1e-9)):
        ready = next(
            (
                t
                for t in range(len(yard.arrives_kg))
                if held + sum(yard.arrives_kg[:t]) >= (number + 1) * batch_kg - 1e-9
            ),
            None,
        )
        if ready is None or ready + batch_slots > len(yard.arrives_kg):
            break
        full = next(
            (t for t in range(len(yard.arrives_kg)) if held + sum(yard.arrives_kg[: t + 1]) - done_kg > yard.most_kg),
            len(yard.arrives_kg),
        )
        due = max(full, ready + batch_slots)
        tasks.append(
            Task(
                AssetId(f"{yard.id}.{number}"),
                TaskKind.WASTE,
                (yard.machine_kw,) * batch_slots,
                earliest_slot=ready,
                due_slot=due,
                deadline_slot=len(yard.arrives_kg),
                late_price_per_h=skip_price / 10,
                skip_price=skip_price,
                machine_kind=yard.machine_kind,
                skills=yard.skills,
                attended_slots=1,
            )
        )
        done_kg += batch_kg
    return tuple(tasks)
