"""Food from seeding to plate: growth with a band, work on batches, weather windows, stock, and what rounds deliver.

Water for irrigation is a demand of zones (`optimizer.irrigation` makes it from the soil's balance); here it becomes
robot work that takes water from the tank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from devices.clock import DAY_MS, Instant
from optimizer.problem import AssetId, Series
from optimizer.tasks import Task, TaskKind, Window

Z90 = 1.645
"""Of a normal distribution: five of a hundred batches are earlier, five are later."""


@dataclass(frozen=True, slots=True)
class Crop:
    """What a crop needs. Growth is counted in degree-days above `zero_c`."""

    name: str
    zero_c: float
    degree_days: float  # from seeding to ripe
    spread: float  # standard deviation of that, as a fraction
    kg_per_tray: float
    yield_spread: float
    keeps_days: float  # ripe on the plant, before it spoils


@dataclass(frozen=True, slots=True)
class Batch:
    """Trays of one crop, seeded together. `seeded_at` None: still to be planted."""

    id: AssetId
    crop: Crop
    trays: int
    seeded_at: Instant | None
    degree_days: float = 0.0  # so far
    seen: float | None = None  # ripeness by a survey, 0 to 1; counts more than the sum of temperatures


@dataclass(frozen=True, slots=True)
class Harvest:
    """When a batch is ripe and what it gives: in nine of ten cases within the bands."""

    early: Instant
    likely: Instant
    late: Instant
    kg_low: float
    kg: float
    kg_high: float


def expected_harvest(batch: Batch, now: Instant, mean_c: Sequence[float]) -> Harvest:
    """Returns the band of a batch's harvest; `mean_c` are the days' temperatures ahead, the last one goes on.

    The band narrows as the batch grows: only what is still to come is uncertain.
    """
    crop = batch.crop
    have = batch.degree_days if batch.seen is None else batch.seen * crop.degree_days
    left = max(crop.degree_days - have, 0.0)
    sd = crop.spread * sqrt(left * crop.degree_days)
    early, likely, late = (
        _reached(now, need, crop.zero_c, mean_c) for need in (left - Z90 * sd, left, left + Z90 * sd)
    )
    kg = batch.trays * crop.kg_per_tray
    part = (
        Z90 * crop.yield_spread * sqrt(left / crop.degree_days) if batch.seen is not None else Z90 * crop.yield_spread
    )
    return Harvest(early, likely, late, kg * max(1 - part, 0.0), kg, kg * (1 + part))


def _reached(now: Instant, need: float, zero_c: float, mean_c: Sequence[float]) -> Instant:
    days = 0.0
    for number in range(1_000):
        gain = max(mean_c[min(number, len(mean_c) - 1)] - zero_c, 0.0)
        if need <= gain:
            return Instant(now + round((days + (max(need, 0.0) / gain if gain > 0 else 0.0)) * DAY_MS))
        need -= gain
        days += 1.0
    return Instant(now + 1_000 * DAY_MS)


# ---------------------------------------------------------------------------------------------- work on batches


@dataclass(frozen=True, slots=True)
class Calendar:
    """How the plan's slots lie in time."""

    start: Instant
    slot_ms: int
    slots: int

    def slot(self, at: Instant) -> int:
        """Returns the slot of an instant, also outside the plan."""
        return (at - self.start) // self.slot_ms


@dataclass(frozen=True, slots=True)
class Practice:
    """How long the work on a batch takes here, and what it draws."""

    planting_slots: int = 4
    dosing_slots: int = 1
    dosing_kw: float = 0.4
    dosing_windows: tuple[Window, ...] = ()  # when nutrients may be given, one run in each
    harvest_slots: int = 6
    carry_slots: int = 2
    carry_kwh: float = 0.2
    skip_price: float = 40.0


def batch_tasks(batch: Batch, harvest: Harvest, calendar: Calendar, practice: Practice) -> tuple[Task, ...]:
    """Returns the work that a batch needs within the plan: plant or dose, harvest once ripe, carry to the store."""
    n = calendar.slots

    def task(part: str, kind: TaskKind, kw: Series, window: Window, **more: object) -> Task:
        fixed = {"late_price_per_h": 1.0, "skip_price": practice.skip_price, "due_slot": window[1]}
        chosen = {**fixed, "earliest_slot": window[0], "deadline_slot": window[1], **more}
        return Task(AssetId(f"{batch.id}.{part}"), kind, kw, **chosen)  # pyright: ignore[reportArgumentType]

    if batch.seeded_at is None:
        return (task("plant", TaskKind.PLANTING, (0.0,) * practice.planting_slots, (0, n), skills=("grow",)),)
    found = [
        task(f"dose{number}", TaskKind.DOSING, (practice.dosing_kw,) * practice.dosing_slots, (max(a, 0), min(b, n)))
        for number, (a, b) in enumerate(practice.dosing_windows)
        if b > 0 and a < n
    ]
    ripe = max(calendar.slot(harvest.early), 0)
    spoils = calendar.slot(Instant(harvest.late + round(batch.crop.keeps_days * DAY_MS)))
    if ripe + practice.harvest_slots + practice.carry_slots <= n:
        worth = practice.skip_price * 5
        cut = task(
            "harvest",
            TaskKind.HARVEST,
            (0.0,) * practice.harvest_slots,
            (ripe, n),
            skills=("grow",),
            skip_price=worth if spoils < n else practice.skip_price,
            deadline_slot=min(n, max(spoils, ripe + practice.harvest_slots)),
        )
        carry = task(
            "carry",
            TaskKind.CARRY,
            (0.0,) * practice.carry_slots,
            (ripe, n),
            robot=True,
            robot_kwh=practice.carry_kwh,
            after=(cut.id,),
            late_price_per_h=6.0,
            due_slot=min(ripe + practice.harvest_slots + practice.carry_slots, n),
        )
        found += [cut, carry]
    return tuple(found)


# ------------------------------------------------------------------------------- weather, water, spraying


@dataclass(frozen=True, slots=True)
class SprayLimits:
    """When spraying is allowed and works."""

    wind_m_s_max: float = 4.0
    rain_mm_max: float = 0.1
    temperature_c_max: float = 25.0
    dry_slots_after: int = 8  # no rain for so long afterwards, or it washes off


def spray_windows(
    wind_m_s: Sequence[float], rain_mm: Sequence[float], temperature_c: Sequence[float], limits: SprayLimits
) -> tuple[Window, ...]:
    """Returns the spans of slots in which spraying is allowed and stays dry afterwards."""
    n = len(wind_m_s)
    good = [
        wind_m_s[t] <= limits.wind_m_s_max
        and temperature_c[t] <= limits.temperature_c_max
        and all(mm <= limits.rain_mm_max for mm in rain_mm[t : t + limits.dry_slots_after + 1])
        for t in range(n)
    ]
    spans: list[Window] = []
    begun: int | None = None
    for t, fine in enumerate([*good, False]):
        if fine and begun is None:
            begun = t
        elif not fine and begun is not None:
            spans.append((begun, t))
            begun = None
    return tuple(spans)


@dataclass(frozen=True, slots=True)
class ZoneNeed:
    """What one zone's soil asks for; `optimizer.irrigation` makes it."""

    zone: AssetId
    kl: float
    window: Window
    loss_price: float  # what leaving it dry costs


def irrigation_tasks(needs: Sequence[ZoneNeed], kl_per_slot: float, kw: float, kwh_per_slot: float) -> tuple[Task, ...]:
    """Returns robot work that brings each zone its water, out of the first tank."""
    found: list[Task] = []
    for need in needs:
        length = max(1, round(need.kl / kl_per_slot + 0.499))
        found.append(
            Task(
                AssetId(f"{need.zone}.irrigate"),
                TaskKind.IRRIGATION,
                (kw,) * length,
                earliest_slot=need.window[0],
                due_slot=need.window[1],
                deadline_slot=need.window[1],
                late_price_per_h=0.0,
                skip_price=need.loss_price,
                robot=True,
                robot_kwh=kwh_per_slot * length,
                water_kl=(need.kl / length,) * length,
            )
        )
    return tuple(found)


# ------------------------------------------------------------------------------------- stock and deliveries


@dataclass(frozen=True, slots=True)
class Order:
    """Food that a household or kitchen wants, by a time."""

    id: str
    place: str
    kg: float
    due_slot: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """What rounds are asked to bring: it is in the store from `ready_slot` on."""

    order: str
    place: str
    kg: float
    ready_slot: int
    due_slot: int


def deliveries(
    in_store_kg: float, arrivals: Mapping[int, float], orders: Sequence[Order]
) -> tuple[tuple[Delivery, ...], tuple[Order, ...]]:
    """Returns what can be delivered in time, earliest wish first, and the orders that cannot be met.

    `arrivals` are kg by the slot in which they reach the store: count a harvest's low end, and nobody waits in vain.
    """
    found: list[Delivery] = []
    short: list[Order] = []
    promised = 0.0
    for order in sorted(orders, key=lambda one: (one.due_slot, one.id)):
        here, ready = in_store_kg, 0 if in_store_kg >= promised + order.kg - 1e-9 else None
        for slot, kg in sorted(arrivals.items()):
            here += kg
            if ready is None and here >= promised + order.kg - 1e-9:
                ready = slot
        if ready is None or ready >= order.due_slot:
            short.append(order)
            continue
        promised += order.kg
        found.append(Delivery(order.id, order.place, order.kg, ready, order.due_slot))
    return tuple(found), tuple(short)


def stock_kg(in_store_kg: float, arrivals: Mapping[int, float], taken: Mapping[int, float], slots: int) -> Series:
    """Returns what is in the store at the end of each slot."""
    held, series = in_store_kg, list[float]()
    for t in range(slots):
        held += arrivals.get(t, 0.0) - taken.get(t, 0.0)
        series.append(held)
    return tuple(series)


PRODUCE_KWH_PER_KG_K = 3.9 / 3600
"""Heat of fresh produce (nine tenths water): 3.9 kJ per kg and degree."""


def pull_down_kwh(arrivals: Mapping[int, float], field_c: float, room_c: float, slots: int) -> Series:
    """Returns the heat that produce brings into a cold room in each slot [kWh]; `arrivals` are kg by slot."""
    return tuple(arrivals.get(t, 0.0) * max(field_c - room_c, 0.0) * PRODUCE_KWH_PER_KG_K for t in range(slots))
