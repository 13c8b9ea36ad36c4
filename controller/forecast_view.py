"""What is expected, by whom, and whether weather helped: as people and programs are told. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from controller.hub_state import Hub
from controller.plan_forecast import PER_UNIT, Forecast
from devices.clock import SLOT_MS, Instant, iso

WORDS = {"like-days": "like days", "ridge": "regression", "mean": "the mean of like days and regression"}


def forecast_words(hub: Hub, now: Instant) -> str:
    """Returns who forecasts and what the weather file does, in one line; empty before the first plan."""
    outlook = hub.planning.forecast
    if outlook is None or not outlook.by:
        return ""
    said = ", ".join(f"{'sun' if name == 'pv' else name} by {WORDS[member]}" for name, member in outlook.by)
    return f"{said}; {_weather_words(hub, outlook, now)}"


def _weather_words(hub: Hub, outlook: Forecast, now: Instant) -> str:
    if not hub.config.site.energy.weather:
        return "no weather file is named"
    why = hub.weather.unfit(now)
    if why:
        return f"weather is not used: {why}"
    issued = "" if hub.weather.issued is None else f" of {iso(hub.weather.issued)}"
    return f"the regression uses weather{issued}" if outlook.weather else "weather waits for days to learn from"


def forecast_document(hub: Hub, now: Instant) -> Mapping[str, object]:
    """Returns the forecast of the plan in force: W, and mL per slot, as `atoll forecast` prints it."""
    outlook = hub.planning.forecast
    if outlook is None:
        return {"at": now, "made_at": None, "words": ""}
    return {
        "at": now,
        "made_at": outlook.made_at,
        "start": outlook.start,
        "slot_ms": SLOT_MS,
        "by": dict(outlook.by),
        "words": forecast_words(hub, now),
        "series": {name: [round(PER_UNIT[name] * value) for value in row] for name, row in outlook.series().items()},
        "bands": {
            band.name: {
                "low": [round(PER_UNIT[band.name] * value) for value in band.low],
                "high": [round(PER_UNIT[band.name] * value) for value in band.high],
            }
            for band in outlook.bands
        },
    }
