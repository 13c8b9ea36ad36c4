"""A digester's gas engine follows the price: dynamic programming over gas in the holder and on or off."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

import numpy as np

from optimizer.arrays import FloatArray, IntArray
from optimizer.waste import Digester, EnginePlan, burn

STEPS = 24
"""Parts into which full power is cut; gas is counted in what one of them burns in a slot."""


def run_engine(
    digester: Digester, made_m3: Sequence[float], price: Sequence[float], slot_h: float, end_value: float
) -> EnginePlan:
    """Returns the engine's dearest hours at given prices: dynamic programming over gas in the holder and on or off.

    Args:
        digester: what there is.
        made_m3: gas of each slot.
        price: what a kWh is worth in each slot.
        slot_h: length of a slot.
        end_value: money per m3 left at the end.
    """
    unit = digester.engine_kw_max / STEPS * slot_h * digester.gas_m3_per_kwh  # m3
    least = max(1, ceil(digester.engine_kw_min / digester.engine_kw_max * STEPS - 1e-9))
    steps = (0, least, (least + STEPS) // 2, STEPS)
    top = floor((digester.holder_max_m3 - digester.holder_min_m3) / unit)
    usable = max(digester.gas_now_m3 - digester.holder_min_m3, 0.0)
    whole = np.floor(np.cumsum(np.array([usable, *made_m3])) / unit).astype(np.int64)
    arrived: IntArray = np.diff(whole)
    first = min(int(usable / unit), top)
    worth: FloatArray = np.zeros((2, top + 1))
    worth[:] = np.arange(top + 1) * (unit * end_value)
    choice: IntArray = np.zeros((len(made_m3), 2, top + 1), dtype=np.int64)
    level = np.arange(top + 1)
    for t in range(len(made_m3) - 1, -1, -1):
        new = np.full((2, top + 1), -np.inf)
        for was in (0, 1):
            for number, burnt in enumerate(steps):
                after = np.minimum(level + int(arrived[t]), top) - burnt
                earned = burnt / STEPS * digester.engine_kw_max * slot_h * price[t]
                started = digester.start_price if burnt and not was else 0.0
                value = earned - started + worth[int(burnt > 0), np.maximum(after, 0)]
                value[after < 0] = -np.inf
                better = value > new[was] + 1e-12
                new[was][better] = value[better]
                choice[t, was][better] = number
        worth = new
    on, kw = int(digester.running), list[float]()
    for t in range(len(made_m3)):
        burnt = steps[int(choice[t, on, first])]
        first = min(first + int(arrived[t]), top) - burnt
        on = int(burnt > 0)
        kw.append(burnt / STEPS * digester.engine_kw_max)
    return burn(digester, made_m3, kw, slot_h)
