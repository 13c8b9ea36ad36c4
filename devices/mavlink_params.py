"""Parameter values on the wire: ArduPilot writes every number as a float, PX4 puts whole numbers' bytes into the float.

Source: https://mavlink.io/en/services/parameter.html#parameter-encoding.
"""

from __future__ import annotations

import math
import struct

from devices.mavlink_codec import Frame, Value
from devices.mavlink_values import Autopilot

INT32, REAL32 = 6, 9
_WHOLE = {1: "<B3x", 2: "<b3x", 3: "<H2x", 4: "<h2x", 5: "<I", 6: "<i"}


def value_of(autopilot: Autopilot, frame: Frame) -> float | None:
    """Returns the number in a PARAM_VALUE or PARAM_SET; None where it holds none."""
    raw = frame.fields.get("param_value", math.nan)
    if not isinstance(raw, (int, float)):
        return None
    layout = _WHOLE.get(frame.whole("param_type"))
    if autopilot is Autopilot.PX4 and layout is not None:
        return float(struct.unpack(layout, struct.pack("<f", raw))[0])
    return float(raw) if math.isfinite(raw) else None


def fields_of(autopilot: Autopilot, name: str, value: float) -> dict[str, Value]:
    """Returns the fields of a PARAM_VALUE or PARAM_SET; a whole number is an INT32."""
    whole = float(value).is_integer()
    wire = value
    if autopilot is Autopilot.PX4 and whole:
        wire = struct.unpack("<f", struct.pack("<i", int(value)))[0]
    return {"param_id": name, "param_value": float(wire), "param_type": INT32 if whole else REAL32}
