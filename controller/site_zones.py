"""Zones, MAVLink drones and flight authorisations of a site: the values, and what the tables cannot say themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from controller import site_schema as schema
from controller.site_problems import Finding
from controller.site_zones_schema import MavlinkTable, VdaTable
from devices.clock import parse_iso
from devices.flight_rules import POSITION_ERROR_M, Authorisation
from devices.model import DeviceId
from devices.polygons import clearance, inside, simple
from devices.vda5050_codec import Address, Codec
from devices.vda5050_v3 import V3_0
from devices.zones import AIR_KEEP_OUT, Zone, ZoneKind

DOCK = "dock"
INTERFACE, MANUFACTURER = "vda5050", "atoll"
"""The first levels of our own vehicles' topics."""


@dataclass(frozen=True, slots=True)
class MavlinkSpec:
    """One drone's wire and flight figures, as `MavlinkTable`."""

    endpoint: str
    height_m: float
    wind_mps: float
    climb_wh: float
    remote_id: str
    gateway: str  # on whose machine the radio is
    two_step: bool  # people launch each flight


@dataclass(frozen=True, slots=True)
class SkySpec:
    """Zones of the map and what is known of drones; empty where a site says nothing of them."""

    zones: tuple[Zone, ...] = ()
    aircraft: Mapping[str, MavlinkSpec] = field(default_factory=dict[str, MavlinkSpec])
    authorisations: Mapping[str, Authorisation] = field(default_factory=dict[str, Authorisation])
    addresses: Mapping[str, Address] = field(default_factory=dict[str, Address])  # of makers' vehicles
    maps: Mapping[str, str] = field(default_factory=dict[str, str])

    def address(self, device: DeviceId) -> Address:
        """Returns where a vehicle is spoken to: a maker's topics, or ours."""
        return self.addresses.get(device, Address(INTERFACE, MANUFACTURER, device))

    def drones_of(self, gateways: Collection[str]) -> tuple[str, ...]:
        """Returns the MAVLink drones whose radio is on the machine of one of these gateways, in the file's order."""
        return tuple(drone for drone, spec in self.aircraft.items() if spec.gateway in gateways)


def sky_spec(file: schema.SiteFile) -> SkySpec:
    """Returns the values of checked tables."""
    return SkySpec(
        zones=tuple(_zone(row) for row in file.zone),
        aircraft={row.id: _aircraft(row.mavlink, file) for row in _vehicles(file) if row.mavlink is not None},
        authorisations={
            row.device: Authorisation(row.reference, row.operator, parse_iso(row.until))
            for row in file.flight_authorisation
        },
        addresses={row.id: _address(row.id, row.vda5050) for row in _vehicles(file) if row.vda5050 is not None},
        maps={row.id: row.vda5050.map for row in _vehicles(file) if row.vda5050 is not None},
    )


def check_zones(file: schema.SiteFile) -> Iterable[Finding]:
    """Yields what is wrong with zones, drones and authorisations, each with its place in the file."""
    sound: list[Zone] = []
    for index, row in enumerate(file.zone):
        here, zone = ("zone", index), _zone(row)
        if not simple(zone.corners):
            fix = "list the corners in order around the zone, without crossing"
            yield "180", (*here, "corners"), f"{len(row.corners)} corners", "its sides cross, or it has no area", fix
        else:
            sound.append(zone)
        if row.ceiling_m is not None and row.kind != "geofence":
            what = "an autopilot's keep-out fence has no heights: only a geofence has a ceiling"
            yield "181", (*here, "ceiling_m"), str(row.ceiling_m), what, 'remove it, or kind = "geofence"'
        if row.speed_mps is not None and row.kind != "people":
            what = "only in a people zone a robot may pass slowly"
            yield "181", (*here, "speed_mps"), str(row.speed_mps), what, 'remove it, or kind = "people"'
    yield from _check_addresses(file)
    yield from _check_aircraft(file, sound)
    yield from _check_authorisations(file)
    yield from _check_ways(file, sound)


def _check_addresses(file: schema.SiteFile) -> Iterable[Finding]:
    taken: dict[str, str] = {}
    for index, device in enumerate(file.device):
        if not isinstance(device, schema.VehicleDevice):
            continue
        here, table = ("device", index, "vda5050"), device.vda5050 or VdaTable()
        if device.vda5050 is not None and device.mavlink is not None:
            seen, fix = device.id, "keep one of both tables"
            yield "186", here, seen, "a MAVLink drone's topics are those of atoll drone", fix
        address = f"{table.interface}/v2/{table.manufacturer}/{table.serial or device.id}"
        other = taken.setdefault(address, device.id)
        if other != device.id:
            yield "186", here, address, f"{other} has the same topics", "each vehicle has its own serial number"


def _check_aircraft(file: schema.SiteFile, zones: list[Zone]) -> Iterable[Finding]:
    taken: dict[str, str] = {}
    fences = [zone for zone in zones if zone.kind is ZoneKind.GEOFENCE]
    for index, device in enumerate(file.device):
        if not isinstance(device, schema.VehicleDevice) or device.mavlink is None:
            continue
        here = ("device", index, "mavlink")
        if device.kind != "drone":
            yield "182", here, device.kind, "only drones fly by MAVLink here", 'kind = "drone", or remove the table'
        other = taken.setdefault(device.mavlink.endpoint, device.id)
        if other != device.id:
            seen, fix = device.mavlink.endpoint, "one port or radio for each"
            yield "182", (*here, "endpoint"), seen, f"{other} has the same endpoint", fix
        known = [gateway.id for gateway in file.gateway]
        if device.mavlink.gateway is not None and device.mavlink.gateway not in known:
            fix = f"known gateways: {', '.join(known)}"
            yield "033", (*here, "gateway"), device.mavlink.gateway, "no gateway has this id", fix
        if not fences:
            fix = 'add [[zone]] kind = "geofence" with corners and ceiling_m'
            yield "183", here, device.id, "a drone flies only inside a geofence, and there is none", fix
        low = [zone for zone in fences if zone.ceiling_m is not None and zone.ceiling_m < device.mavlink.height_m]
        if low:
            seen, what = str(device.mavlink.height_m), f"above the ceiling of {low[0].id}, {low[0].ceiling_m:g} m"
            yield "183", (*here, "height_m"), seen, what, f"height_m = {low[0].ceiling_m:g} or less"


def _check_authorisations(file: schema.SiteFile) -> Iterable[Finding]:
    drones = sorted(row.id for row in _vehicles(file) if row.kind == "drone")
    for index, row in enumerate(file.flight_authorisation):
        here = ("flight_authorisation", index)
        if row.device not in drones:
            yield "184", (*here, "device"), row.device, "no drone has this id", f"one of: {drones}"
        try:
            parse_iso(row.until)
        except ValueError as error:
            yield "023", (*here, "until"), row.until, str(error), 'until = "2027-01-01T00:00:00Z"'


def _check_ways(file: schema.SiteFile, zones: list[Zone]) -> Iterable[Finding]:
    """Yields the daily jobs whose straight way from the dock nobody may take."""
    places = {row.id: (row.x, row.y) for row in file.place}
    kinds = {row.id: row.kind for row in _vehicles(file)}
    dock = places.get(DOCK, (0.0, 0.0))
    for index, job in enumerate(file.job):
        spot, kind = places.get(job.place), kinds.get(job.device)
        if spot is None or kind is None:
            continue
        for zone in zones:
            if zone_blocks(zone, drone=kind == "drone", start=dock, end=spot):
                seen, fix = f"{DOCK} to {job.place}", "move the place or the zone"
                what = f"the way of {kind} {job.device} {'leaves' if zone.kind is ZoneKind.GEOFENCE else 'enters'}"
                yield "185", ("job", index, "place"), seen, f"{what} {zone.kind} zone {zone.id}", fix


def zone_blocks(zone: Zone, *, drone: bool, start: tuple[float, float], end: tuple[float, float]) -> bool:
    """Returns whether a straight way may not be taken because of this zone."""
    if drone:
        if zone.kind is ZoneKind.GEOFENCE:
            inner = inside(zone.corners, start) and inside(zone.corners, end)
            return not inner or clearance(zone.corners, start, end) < POSITION_ERROR_M
        return zone.kind in AIR_KEEP_OUT and zone.touches(start, end)
    barred = zone.kind is ZoneKind.NO_GO or (zone.kind is ZoneKind.PEOPLE and zone.speed_mps is None)
    return barred and zone.touches(start, end)


def _address(device: str, row: VdaTable) -> Address:
    older = Codec(version=f"{row.version}.0", instant_key=row.instant_actions)
    codec = V3_0 if row.version == "3.0" else older
    return Address(row.interface, row.manufacturer, row.serial or device, codec)


def _vehicles(file: schema.SiteFile) -> list[schema.VehicleDevice]:
    return [row for row in file.device if isinstance(row, schema.VehicleDevice)]


def _zone(row: schema.ZoneTable) -> Zone:
    corners = tuple((corner[0], corner[1]) for corner in row.corners)
    return Zone(row.id, ZoneKind(row.kind), corners, row.ceiling_m, row.speed_mps)


def _aircraft(row: MavlinkTable, file: schema.SiteFile) -> MavlinkSpec:
    first = file.gateway[0].id if file.gateway else ""
    where, launch = row.gateway or first, row.launch == "two-step"
    return MavlinkSpec(row.endpoint, row.height_m, row.wind_mps, row.climb_wh, row.remote_id, where, launch)
