"""Distances in time and the worth of a limit in words. Plain Python: the hub says them too."""

from __future__ import annotations

from optimizer.plan import Binding, Limit


def later(slots: int, slot_ms: int) -> str:
    """Returns a distance in time: `45 min`, `3 h`, `2 h 30 min`."""
    minutes = slots * slot_ms // 60_000
    hours, rest = divmod(minutes, 60)
    return " ".join(
        part for part in (f"{hours} h" if hours else "", f"{rest} min" if rest or not hours else "") if part
    )


def effect(binding: Binding, slot: int, slot_ms: int) -> str:
    """Returns what a limit is worth in words: the sentence that `relax` can put to the test."""
    when = (
        "here"
        if binding.slot == slot
        else f"{later(abs(binding.slot - slot), slot_ms)} " + ("later" if binding.slot > slot else "earlier")
    )
    saved = f"{binding.price:.3f}"
    return {
        Limit.LOAD: f"one kWh less load {when} saves {saved}",
        Limit.IMPORT: f"one kWh more through the import limit {when} saves {saved}",
        Limit.EXPORT: f"one kWh more through the export limit {when} earns {saved}",
        Limit.STORED: f"one kWh more in the store {when} saves {saved}",
        Limit.FULL: f"one kWh more room in the store {when} saves {saved}",
        Limit.CHARGE_POWER: f"one kWh more charged {when} saves {saved}",
        Limit.DISCHARGE_POWER: f"one kWh more discharged {when} saves {saved}",
        Limit.TANK: f"one kL more in the tank {when} saves {saved}",
        Limit.NEED: f"one kWh less for the vehicle saves {saved}",
    }[binding.limit]
