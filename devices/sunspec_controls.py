"""SunSpec's controls: the registers that make a setpoint true, each with the device's own reversion timer.

All percentages are of the device's own maximum. Source: SunSpec models 123 (immediate controls), 124 (basic storage
control) and 704 (DER AC controls); their JSON definitions in pysunspec2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from devices.drivers import Unwritable
from devices.registers import Reader, Registers, RegisterWrite
from devices.sunspec import ModelAt, encode_point, model

TIMER_S_MAX = 65_534
BOTH_LIMITS = 3
"""StorCtl_Mod: bit 0 limits charging, bit 1 discharging."""
Exponent = Callable[[str], int]
"""Point -> exponent of its scale factor as last read; raises Unwritable where it is not known."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made true: `value` and `fallback` in our unit and sign, for `valid_ms` (0: for good)."""

    value: float
    fallback: float
    valid_ms: int

    @property
    def seconds(self) -> int:
        """Returns the time of the device's own timer."""
        return -(-self.valid_ms // 1000)


def limit_123(at: ModelAt, order: Order, exponent: Exponent) -> list[RegisterWrite]:
    """Returns the write of a PV limit [fraction of its maximum]; the device reverts to its own default."""
    values = (
        ("WMaxLimPct", order.value * 100),
        ("WMaxLimPct_WinTms", 0),
        ("WMaxLimPct_RvrtTms", min(order.seconds, TIMER_S_MAX)),
        ("WMaxLimPct_RmpTms", 0),
        ("WMaxLim_Ena", 1),
    )
    return [_write(at, values, exponent)]


def limit_704(at: ModelAt, order: Order, exponent: Exponent) -> list[RegisterWrite]:
    """Returns the write of a PV limit [fraction of its maximum] that reverts to the fallback by itself."""
    values = (
        ("WMaxLimPctEna", 1),
        ("WMaxLimPct", order.value * 100),
        ("WMaxLimPctRvrt", order.fallback * 100),
        ("WMaxLimPctEnaRvrt", 1),
        ("WMaxLimPctRvrtTms", order.seconds),
    )
    return [_write(at, values, exponent)]


def power_704(at: ModelAt, order: Order, exponent: Exponent) -> list[RegisterWrite]:
    """Returns the write of a battery's power [W, charging is positive] that reverts to the fallback by itself."""
    values = (
        ("WSetEna", 1),
        ("WSetMod", 1),
        ("WSet", -order.value),
        ("WSetRvrt", -order.fallback),
        ("WSetPct", None),
        ("WSetPctRvrt", None),
        ("WSetEnaRvrt", 1),
        ("WSetRvrtTms", order.seconds),
    )
    return [_write(at, values, exponent)]


def power_124(at: ModelAt, order: Order, exponent: Exponent, charge_w_max: float) -> list[RegisterWrite]:
    """Returns the two writes that hold a battery at a power: both rates pinned to it, then both limits switched on.

    Charging and discharging rates are fractions of WChaMax, the only maximum that the model shows. When the timer ends
    the device goes back to what it does by itself: the fallback cannot be told.
    """
    percent = order.value / charge_w_max * 100
    rates = (
        ("OutWRte", -percent),
        ("InWRte", percent),
        ("InOutWRte_WinTms", 0),
        ("InOutWRte_RvrtTms", min(order.seconds, TIMER_S_MAX)),
        ("InOutWRte_RmpTms", 0),
    )
    return [_write(at, rates, exponent), _write(at, (("StorCtl_Mod", BOTH_LIMITS),), exponent)]


def power_reader_124(mode: int, out_rate: Reader, in_rate: Reader, charge_w_max: Reader) -> Reader:
    """Returns a reader of the power that model 124 is held at [W]; None while it is free to choose."""

    def read_held(registers: Registers) -> float | None:
        given, taken, most = out_rate(registers), in_rate(registers), charge_w_max(registers)
        held = registers[mode] & BOTH_LIMITS == BOTH_LIMITS and registers[mode] != 0xFFFF
        if not held or given is None or taken is None or not most or given != -taken:
            return None
        return taken / 100 * most

    return read_held


def _write(at: ModelAt, values: Sequence[tuple[str, float | None]], exponent: Exponent) -> RegisterWrite:
    points = model(at.id).points
    words: list[int] = []
    try:
        for name, value in values:
            scale = exponent(name) if isinstance(points[name].scale, str) and value is not None else 0
            words.extend(encode_point(points[name], value, scale))
    except OverflowError as error:
        raise Unwritable(str(error)) from error
    return RegisterWrite(16, at.address + points[values[0][0]].offset, tuple(words))
