"""A digester's gas engine follows the price: dynamic programming over gas in the holder and on or off."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

import numpy as np

from optimizer.arrays import FloatArray, IntArray
from optimizer.waste import Digester, EnginePlan, burn

_EQUAL = 1e-12
"""Money that is no difference: of equal steps the one that burns least."""
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
    level, burns = np.arange(top + 1), np.array(steps)
    runs = (burns > 0).astype(np.int64)
    worth: FloatArray = np.zeros((2, top + 1))  # of what comes, by (on, level)
    worth[:] = level * (unit * end_value)
    less = np.arange(len(steps)) * _EQUAL
    starts: FloatArray = np.zeros((2, len(steps)))
    starts[0] = digester.start_price * runs  # by (on before, step)
    choice: IntArray = np.zeros((len(made_m3), 2, top + 1), dtype=np.int64)
    for t in range(len(made_m3) - 1, -1, -1):
        after = np.minimum(level + int(arrived[t]), top) - burns[:, None]
        earned = burns / STEPS * digester.engine_kw_max * slot_h * price[t]
        then = worth[runs[:, None], np.maximum(after, 0)]
        value = np.where(after < 0, -np.inf, then + (earned - starts)[:, :, None])  # by (on before, step, level)
        choice[t] = np.argmax(value - less[:, None], axis=1)
        worth = value.max(axis=1)
    on, kw = int(digester.running), list[float]()
    for t in range(len(made_m3)):
        burnt = steps[int(choice[t, on, first])]
        first = min(first + int(arrived[t]), top) - burnt
        on = int(burnt > 0)
        kw.append(burnt / STEPS * digester.engine_kw_max)
    return burn(digester, made_m3, kw, slot_h)
