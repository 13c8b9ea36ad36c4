"""What energy from outside costs, by the charter's civil-time bands."""

from __future__ import annotations

from controller.civil import local_time
from controller.site import Site
from devices.clock import SLOT_MS, Instant


def import_prices(site: Site, start: Instant, slots: int) -> tuple[int, ...]:
    """Returns the outside price of each slot [micro-units per kWh] by the charter's civil-time bands."""
    return tuple(band_price(site, Instant(start + slot * SLOT_MS)) for slot in range(slots))


def export_prices(site: Site, start: Instant, slots: int) -> tuple[int, ...]:
    """Returns what the outside pays in each slot [micro-units per kWh]."""
    return tuple(site.charter_at(Instant(start + slot * SLOT_MS)).export_price for slot in range(slots))


def band_price(site: Site, at: Instant) -> int:
    """Returns the outside price at an instant [micro-units per kWh]; a checked charter covers every minute."""
    local = local_time(site.timezone, at)
    minute = local.hour * 60 + local.minute
    return next(
        band.import_price
        for band in site.charter_at(at).bands
        if local.weekday() in band.days and band.start_minute <= minute < band.end_minute
    )
