"""All batteries as one: what commitment and futures plan with, before the LP gives each its part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.arrays import FloatArray
from optimizer.problem import Battery


@dataclass(frozen=True, slots=True)
class Store:
    """All batteries as one; powers at the bus, energies in the cells."""

    low_kwh: float
    high_kwh: float
    now_kwh: float
    charge_kw_max: float
    discharge_kw_max: float
    charge_efficiency: float
    discharge_efficiency: float
    wear_price: float
    reserve_kwh: float
    reserve_price: float
    terminal_value: float
    final_kwh: float
    final_price: float

    def clipped(self, power_kw: FloatArray, slot_h: float) -> FloatArray:
        """Returns the power that ratings and charge allow over a slot."""
        most = min(self.charge_kw_max, (self.high_kwh - self.now_kwh) / self.charge_efficiency / slot_h)
        least = min(self.discharge_kw_max, (self.now_kwh - self.low_kwh) * self.discharge_efficiency / slot_h)
        return np.clip(power_kw, -max(least, 0.0), max(most, 0.0))

    def stored(self, power_kw: FloatArray, slot_h: float) -> FloatArray:
        """Returns what a bus power adds to the cells in a slot [kWh]."""
        return np.where(power_kw > 0, power_kw * self.charge_efficiency, power_kw / self.discharge_efficiency) * slot_h


def store_of(batteries: Sequence[Battery], final_price: float = 0.0) -> Store:
    """Returns batteries as one store: energies and powers added, the rest weighted by energy."""
    size = sum(b.energy_kwh for b in batteries) or 1.0

    def mean(values: list[float]) -> float:
        return sum(b.energy_kwh * value for b, value in zip(batteries, values, strict=True)) / size

    return Store(
        low_kwh=sum(min(b.soc_min_kwh, b.soc_now_kwh) for b in batteries),
        high_kwh=sum(max(b.soc_max_kwh, b.soc_now_kwh) for b in batteries),
        now_kwh=sum(b.soc_now_kwh for b in batteries),
        charge_kw_max=sum(b.charge_kw_max for b in batteries),
        discharge_kw_max=sum(b.discharge_kw_max for b in batteries),
        charge_efficiency=mean([b.charge_efficiency for b in batteries]),
        discharge_efficiency=mean([b.discharge_efficiency for b in batteries]),
        wear_price=mean([b.wear_price for b in batteries]),
        reserve_kwh=sum(b.reserve_kwh for b in batteries),
        reserve_price=mean([b.reserve_price for b in batteries]),
        terminal_value=mean([b.terminal_value for b in batteries]),
        final_kwh=sum(b.final_kwh for b in batteries),
        final_price=final_price,
    )
