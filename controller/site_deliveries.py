"""Deliveries of a site file: the value that the hub knows, and what the file's tables cannot say for themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller import site_schema as schema
from controller.site_problems import Finding
from controller.site_types import DAYS, minutes

AIR_KG_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something that is brought, fetched or moved on some days of the week; times in minutes of the local day."""

    id: str
    kind: str
    place: str
    from_place: str  # of a transfer; else the dock
    window: tuple[int, int]
    days: tuple[int, ...]  # Monday is 0
    ready: int  # the goods are at the dock from this minute on
    mass_kg: float
    service_ms: int
    priority: int
    by: str  # ground, air or any
    member: str
    store: str = ""  # the food store that it comes out of


def delivery_of(row: schema.DeliveryTable) -> Delivery:
    """Returns the value of a checked row."""
    start, end = (minutes(text) for text in row.window)
    return Delivery(
        row.id,
        row.kind,
        row.place,
        row.from_place or "",
        (start, end),
        tuple(DAYS.index(day) for day in row.days),
        0 if row.ready_at is None else minutes(row.ready_at),
        row.mass_kg,
        row.service_ms,
        row.priority,
        row.by or ("any" if row.kind == "medicine" else "ground"),
        row.member or "",
        row.store or "",
    )


def check_deliveries(file: schema.SiteFile) -> Iterable[Finding]:
    """Yields what is wrong with deliveries: unknown places and members, windows that nothing fits into, no vehicle."""
    places = {place.id for place in file.place}
    members = {member.id for member in file.member}
    kinds = {device.kind for device in file.device}
    for index, row in enumerate(file.delivery):
        here = ("delivery", index)
        for key, place in (("place", row.place), ("from_place", row.from_place)):
            if place is not None and place not in places:
                yield "063", (*here, key), place, "no place has this id", f"one of: {sorted(places)}"
        if (row.kind == "transfer") != (row.from_place is not None):
            yield (
                "064",
                (*here, "from_place"),
                row.from_place or "nothing",
                "a transfer, and only a transfer, says where it comes from",
                'kind = "transfer" and from_place = "PLACE", or neither',
            )
        start, end = (minutes(text) for text in row.window)
        ready = 0 if row.ready_at is None else minutes(row.ready_at)
        if end <= max(start, ready):
            yield (
                "065",
                (*here, "window"),
                "-".join(row.window),
                "the window ends before it starts or before the goods are ready",
                "write a window within one day that ends after ready_at",
            )
        wanted = {"ground": ("robot",), "air": ("drone",), "any": ("robot", "drone")}[delivery_of(row).by]
        if not kinds.intersection(wanted):
            yield "066", (*here, "by"), delivery_of(row).by, f"the site has no {' or '.join(wanted)}", "add the device"
        if row.by == "air" and (row.mass_kg > AIR_KG_MAX or row.kind in ("waste", "transfer")):
            yield (
                "067",
                (*here, "by"),
                f"{row.kind}, {row.mass_kg} kg",
                f"drones bring parcels and medicine of at most {AIR_KG_MAX:g} kg from the dock",
                'by = "ground"',
            )
        if row.member is not None and row.member not in members:
            yield "068", (*here, "member"), row.member, "no member has this id", f"one of: {sorted(members)}"
