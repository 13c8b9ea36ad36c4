"""The file of a pressure zone's table: JSON, written by `atoll water table`, read by hub and planner."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

import numpy as np

from optimizer.names import AssetId
from optimizer.zones import Configuration, ZoneTable, ZoneTank, table_problems

SCHEMA = "atoll-zone-1"


class BadZoneFile(ValueError):
    """A file that is no zone table; the message says what is wrong and where."""


def to_text(table: ZoneTable) -> str:
    """Returns a table as JSON."""
    document = {
        "schema": SCHEMA,
        "name": table.name,
        "units": {"volume": "kL", "flow": "kL/h", "power": "kW", "pressure": "m"},
        "tanks": [{"id": t.id, "low_kl": round(t.low_kl, 4), "high_kl": round(t.high_kl, 4)} for t in table.tanks],
        "configurations": [dict(c.speeds) for c in table.configurations],
        "levels_kl": [[round(kl, 4) for kl in axis] for axis in table.levels_kl],
        "demand_kl_per_h": list(table.demand_kl_per_h),
        "pressure_m_min": table.pressure_m_min,
        "inflow_kl_per_h": table.inflow_kl_per_h.tolist(),
        "power_kw": table.power_kw.tolist(),
        "pressure_m": table.pressure_m.tolist(),
    }
    return json.dumps(document, separators=(",", ":")) + "\n"


def from_text(text: str, where: str = "zone table") -> ZoneTable:
    """Returns the table of a file's text.

    Raises:
        BadZoneFile: it is not one, or its parts do not fit each other.
    """
    try:
        document = cast("object", json.loads(text))
    except ValueError as wrong:
        raise BadZoneFile(f"{where}: not JSON: {wrong}") from wrong
    if not isinstance(document, dict) or cast("Mapping[str, object]", document).get("schema") != SCHEMA:
        raise BadZoneFile(f"{where}: it does not say schema {SCHEMA!r}; make it with `atoll water table`")
    try:
        table = _table(cast("Mapping[str, list[object]]", document))
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        raise BadZoneFile(f"{where}: {type(wrong).__name__}: {wrong}") from wrong
    problems = table_problems(table)
    if problems:
        raise BadZoneFile(f"{where}: " + "; ".join(problems))
    return table


def _table(document: Mapping[str, list[object]]) -> ZoneTable:
    def floats(name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return np.array(document[name], dtype=np.float64)

    tanks = cast("list[Mapping[str, object]]", document["tanks"])
    configurations = cast("list[Mapping[str, float]]", document["configurations"])
    axes = cast("list[list[float]]", document["levels_kl"])
    return ZoneTable(
        str(document["name"]),
        tuple(
            ZoneTank(AssetId(str(t["id"])), float(cast("float", t["low_kl"])), float(cast("float", t["high_kl"])))
            for t in tanks
        ),
        tuple(
            Configuration(tuple((AssetId(pump), float(speed)) for pump, speed in one.items())) for one in configurations
        ),
        tuple(tuple(float(kl) for kl in axis) for axis in axes),
        tuple(float(cast("float", value)) for value in document["demand_kl_per_h"]),
        floats("inflow_kl_per_h"),
        floats("power_kw"),
        floats("pressure_m"),
        float(cast("float", document["pressure_m_min"])),
    )
