"""The hard load of cold boxes in the question for the planner: load that is never shed."""

from __future__ import annotations

from dataclasses import replace

from controller.plan_forecast import Forecast
from controller.site import Site
from optimizer.care import hard_load_kw


def with_cold_boxes(site: Site, outlook: Forecast) -> Forecast:
    """Returns the forecast with the cold boxes in its load and critical load.

    A box behind a meter is in the load that was forecast from it, behind a critical one in the critical load too. One
    without a meter is added to both.
    """
    slots = len(outlook.load_kw)

    def held(boxes: list[bool]) -> float:
        return sum(
            hard_load_kw((spec.box,), (spec.ambient_c,))[0]
            for spec, here in zip(site.cold_boxes, boxes, strict=True)
            if here
        )

    unmetered = held([spec.behind is None for spec in site.cold_boxes])
    hard = held([spec.behind not in site.critical for spec in site.cold_boxes])
    load = tuple(kw + unmetered for kw in outlook.load_kw)
    critical = tuple(min(outlook.critical_kw[slot] + hard, load[slot]) for slot in range(slots))
    return replace(outlook, load_kw=load, critical_kw=critical)
