"""The independent checker of food, care and waste: temperatures by small steps, stocks and gas by plain sums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from optimizer.care import ColdBox
from optimizer.plan import Violation
from optimizer.waste import Digester, EnginePlan

STEP_H = 1 / 120
NEAR_C = 0.05
NEAR = 1e-6


def _wrong(rule: str, slot: int | None, seen: float, limit: float, text: str) -> Violation:
    at = "" if slot is None else f" in slot {slot}"
    return Violation(rule, slot, seen, limit, f"{text}{at}: {seen:g}, limit {limit:g}")


def temperatures(
    box: ColdBox, start_c: float, ambient_c: Sequence[float], power_w: Sequence[float], slot_h: float
) -> list[float]:
    """Returns the temperature at the end of each slot, by explicit steps of half a minute."""
    now, found = start_c, list[float]()
    steps = max(1, round(slot_h / STEP_H))
    for ambient, power in zip(ambient_c, power_w, strict=True):
        for _ in range(steps):
            gained_w = box.ua_w_per_k * (ambient - now) - box.cop * power
            now += gained_w * slot_h / steps / box.capacity_wh_per_k
        found.append(now)
    return found


def check_cold(
    box: ColdBox, start_c: float, ambient_c: Sequence[float], power_w: Sequence[float], slot_h: float
) -> list[Violation]:
    """Returns where a box leaves its limits or asks for more than its compressor has."""
    found: list[Violation] = []
    for t, seen in enumerate(temperatures(box, start_c, ambient_c, power_w, slot_h)):
        if not box.low_c - NEAR_C <= seen <= box.high_c + NEAR_C:
            found.append(_wrong("cold", t, seen, box.high_c if seen > box.high_c else box.low_c, f"{box.id} degrees C"))
        if not 0.0 <= power_w[t] <= box.power_w_max + NEAR:
            found.append(_wrong("cold_power", t, power_w[t], box.power_w_max, f"{box.id} W"))
    return found


def check_engine(digester: Digester, made_m3: Sequence[float], plan: EnginePlan, slot_h: float) -> list[Violation]:
    """Returns where the gas engine leaves its power, or the holder its limits, or gas its balance."""
    return list(_engine(digester, made_m3, plan, slot_h))


def _engine(digester: Digester, made_m3: Sequence[float], plan: EnginePlan, slot_h: float) -> Iterator[Violation]:
    if not len(plan.kw) == len(plan.gas_m3) == len(plan.flared_m3) == len(made_m3):
        yield _wrong("gas_shape", None, len(plan.kw), len(made_m3), f"{digester.id} slots")
        return
    held = digester.gas_now_m3
    for t, kw in enumerate(plan.kw):
        if kw != 0.0 and not digester.engine_kw_min - NEAR <= kw <= digester.engine_kw_max + NEAR:
            yield _wrong("gas_engine", t, kw, digester.engine_kw_max, f"{digester.id} kW")
        if plan.flared_m3[t] < -NEAR:
            yield _wrong("gas_flare", t, plan.flared_m3[t], 0.0, f"{digester.id} flared m3")
        held = held + made_m3[t] - kw * slot_h * digester.gas_m3_per_kwh - plan.flared_m3[t]
        if abs(held - plan.gas_m3[t]) > 1e-4:
            yield _wrong("gas_balance", t, plan.gas_m3[t], held, f"{digester.id} m3")
        least = min(digester.holder_min_m3, digester.gas_now_m3)
        if not least - 1e-4 <= held <= digester.holder_max_m3 + 1e-4:
            yield _wrong("gas_holder", t, held, digester.holder_max_m3, f"{digester.id} m3")


def check_stock(
    in_store: float, arrivals: Mapping[int, float], taken: Mapping[int, float], most: float, slots: int
) -> list[Violation]:
    """Returns where more is taken than there is, or more is kept than fits."""
    found: list[Violation] = []
    held = in_store
    for t in range(slots):
        held += arrivals.get(t, 0.0) - taken.get(t, 0.0)
        if not -NEAR <= held <= most + NEAR:
            found.append(_wrong("stock", t, held, most if held > most else 0.0, "kg in the store"))
    return found
