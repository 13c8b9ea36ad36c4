"""Our points as points of SunSpec models: where each stands, its factor and sign.

The only place where signs of SunSpec devices turn (devices/units.py has the rule). Used by the gateway to decode and by
the simulator, in the other direction, to make register images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devices.model import DeviceKind


@dataclass(frozen=True, slots=True)
class SunspecPoint:
    """Point of ours = SunSpec value x factor (the sign rule and percent to fraction happen here).

    Where the point named `enable` reads 0, the value is `disabled` instead.
    """

    point: str
    model: int
    name: str
    factor: float = 1.0
    enable: str = ""
    disabled: float | None = None


SUNSPEC_POINTS: Mapping[DeviceKind, tuple[SunspecPoint, ...]] = {
    DeviceKind.METER: (
        SunspecPoint("W", 203, "W"),
        SunspecPoint("import_wh", 203, "TotWhImp"),
        SunspecPoint("export_wh", 203, "TotWhExp"),
        SunspecPoint("V", 203, "PhVphA"),
    ),
    DeviceKind.GRID: (
        SunspecPoint("W", 203, "W", -1.0),
        SunspecPoint("import_wh", 203, "TotWhImp"),
        SunspecPoint("export_wh", 203, "TotWhExp"),
        SunspecPoint("V", 203, "PhVphA"),
        SunspecPoint("hz", 203, "Hz"),
    ),
    DeviceKind.PV: (
        SunspecPoint("W", 103, "W", -1.0),
        SunspecPoint("export_wh", 103, "WH"),
        SunspecPoint("limit", 123, "WMaxLimPct", 0.01, "WMaxLim_Ena", 1.0),
    ),
    DeviceKind.BATTERY: (
        SunspecPoint("W", 701, "W", -1.0),
        SunspecPoint("soc", 713, "SoC", 0.01),
        SunspecPoint("import_wh", 701, "TotWhAbs"),
        SunspecPoint("export_wh", 701, "TotWhInj"),
        SunspecPoint("setpoint", 704, "WSet", -1.0),
    ),
}
"""SunSpec: meters count import from the grid side as positive W, generators and storages production."""

SUNSPEC_CHAINS: Mapping[DeviceKind, tuple[int, ...]] = {
    DeviceKind.METER: (1, 203),
    DeviceKind.GRID: (1, 203),
    DeviceKind.PV: (1, 103, 123),
    DeviceKind.BATTERY: (1, 701, 704, 713),
}
"""The models a simulated device of each kind shows, in this order."""

INSTEAD: Mapping[tuple[DeviceKind, str], tuple[SunspecPoint, ...]] = {
    (DeviceKind.PV, "W"): (SunspecPoint("W", 701, "W", -1.0),),
    (DeviceKind.PV, "export_wh"): (SunspecPoint("export_wh", 701, "TotWhInj"),),
    (DeviceKind.PV, "limit"): (SunspecPoint("limit", 704, "WMaxLimPct", 0.01, "WMaxLimPctEna", 1.0),),
    (DeviceKind.BATTERY, "W"): (SunspecPoint("W", 103, "W", -1.0),),
    (DeviceKind.BATTERY, "export_wh"): (SunspecPoint("export_wh", 103, "WH"),),
    (DeviceKind.BATTERY, "soc"): (SunspecPoint("soc", 124, "ChaState", 0.01),),
    (DeviceKind.BATTERY, "setpoint"): (SunspecPoint("setpoint", 124, "InWRte"),),
}
"""Where a device without the model above may show the same: IEEE 1547 inverters (701, 704), older storages (124)."""

_OWN_CURVES = (
    SunspecPoint("volt_var", 705, "Ena"),
    SunspecPoint("volt_watt", 706, "Ena"),
    SunspecPoint("trip_lv", 707, "Ena"),
    SunspecPoint("trip_hv", 708, "Ena"),
    SunspecPoint("trip_lf", 709, "Ena"),
    SunspecPoint("trip_hf", 710, "Ena"),
    SunspecPoint("freq_droop", 711, "Ena"),
    SunspecPoint("watt_var", 712, "Ena"),
)
EXTRAS: Mapping[DeviceKind, tuple[SunspecPoint, ...]] = {
    DeviceKind.PV: (
        SunspecPoint("available_w", 122, "WAval"),
        SunspecPoint("max_w", 702, "WMax"),
        SunspecPoint("max_w", 121, "WMax"),
        SunspecPoint("permitted", 703, "ES"),
        *_OWN_CURVES,
    ),
    DeviceKind.BATTERY: (
        SunspecPoint("max_w", 702, "WMax"),
        SunspecPoint("permitted", 703, "ES"),
        *_OWN_CURVES,
    ),
}
"""What a device may show beside the points of its kind, where it has the model: power that sun and inverter could give
now, its set maximum, whether it may feed in (703: enter service), whether its own curves are on (`sunspec_curves`)."""
EXTRAS_EVERY = 10
"""Such a model of its own is read at every so many polls."""
STRINGS: Mapping[int, str] = {160: "DCW", 714: "DCW"}
"""Model -> power of each of its DC inputs, shown as `dc1_w`, `dc2_w`, ... of a solar inverter [W, made is positive]."""
STRINGS_MAX = 8

ALTERNATIVES: Mapping[int, tuple[int, ...]] = {
    203: (203, 201, 202, 204, 213, 211, 212, 214),
    103: (103, 101, 102, 113, 111, 112),
    713: (713, 802),
}
"""Models with the same points under the same names, as whole numbers or floats: a real device may show any of them."""


def sunspec_values(kind: DeviceKind, values: Mapping[str, float | None]) -> dict[int, dict[str, float | None]]:
    """Returns SunSpec values by model and name for points of ours (the inverse of the driver's reading).

    A PV `limit` below 1 also enables itself, otherwise it is disabled.
    """
    models: dict[int, dict[str, float | None]] = {m: {} for m in SUNSPEC_CHAINS[kind]}
    for mapping in SUNSPEC_POINTS[kind]:
        value = values.get(mapping.point)
        divisor = 1 / mapping.factor
        models[mapping.model][mapping.name] = None if value is None else value * divisor
        if mapping.enable:
            models[mapping.model][mapping.enable] = 0 if value in (None, mapping.disabled) else 1
    return models
