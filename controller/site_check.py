"""What no single table of a site file can know: duplicates, references, gaps. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from controller import site_schema as schema
from controller.site_care import check_care
from controller.site_deliveries import check_deliveries
from controller.site_device_schema import BusDeviceTable
from controller.site_edge import check_edge
from controller.site_emergency import check_emergency
from controller.site_energy import check_energy
from controller.site_farm import check_farm
from controller.site_ledger import check_ledger
from controller.site_network import check_network
from controller.site_problems import Finding, Path, SchemaFinding, child, instant_problem
from controller.site_types import DAYS, minutes
from controller.site_waste import check_waste
from controller.site_water import check_water
from controller.site_work import check_work_orders
from controller.site_zones import check_zones
from devices.endpoints import BadEndpoint, SerialEndpoint, parse_endpoint
from devices.mqtt_profile import load_mqtt_profile
from devices.profile import BadProfile, load_profile

UNMETERED = ("tank", "water_meters", "robot", "drone", "switch", "relay", "breaker", "flow_meter", "sensor")


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows of a broken file were left out to check the rest, so that findings keep the file's own numbers."""

    kept: Mapping[Path, Sequence[int]]  # list path -> original index of each row that is left
    dropped: frozenset[str]  # ids that would have been there

    def restore(self, finding: Finding) -> Finding:
        """Returns the finding with the row numbers of the file as it was written."""
        code, path, seen, message, fix = finding
        for depth in range(1, len(path)):
            index = path[depth]
            if path[:depth] in self.kept and isinstance(index, int):
                path = (*path[:depth], self.kept[path[:depth]][index], *path[depth + 1 :])
        return code, path, seen, message, fix

    def explains(self, finding: Finding) -> bool:
        """Returns whether a finding may only be there because a broken row was left out."""
        return bool(self.dropped) and (finding[0] in ("030", "042", "051", "052") or finding[2] in self.dropped)


def sound_part(content: Mapping[str, object], findings: Sequence[SchemaFinding]) -> tuple[schema.SiteFile | None, Rows]:
    """Returns the file without its broken rows and unknown keys, or None when that is not enough to read it."""
    rest = copy.deepcopy(dict(content))
    broken: dict[Path, set[int]] = {}
    for finding in findings:
        depth = next((place for place, part in enumerate(finding.path) if isinstance(part, int)), None)
        if finding.kind == "extra_forbidden":
            table = _at(rest, finding.path[:-1])
            if isinstance(table, dict):
                cast("dict[object, object]", table).pop(finding.path[-1], None)
        elif depth is not None:
            broken.setdefault(finding.path[:depth], set()).add(cast("int", finding.path[depth]))
        else:
            return None, Rows({}, frozenset())
    kept: dict[Path, list[int]] = {}
    dropped: set[str] = set()
    for path, indices in broken.items():
        rows = cast("list[object]", _at(rest, path))
        kept[path] = [index for index in range(len(rows)) if index not in indices]
        dropped.update(str(child(rows[index], "id")) for index in indices)
        rows[:] = [rows[index] for index in kept[path]]
    try:
        return schema.SiteFile.model_validate(rest), Rows(kept, frozenset(dropped))
    except ValidationError:
        return None, Rows({}, frozenset())


def _at(document: object, path: Path) -> object:
    for part in path:
        document = child(document, part)
    return document


def cross_check(file: schema.SiteFile, rows: Rows) -> list[Finding]:
    """Returns every finding of the whole file; a fault that several days share is told once."""
    found = [finding for finding in _cross_check(file) if not rows.explains(finding)]
    return [rows.restore(finding) for finding in _merged_days(found)]


def _merged_days(findings: Iterable[Finding]) -> list[Finding]:
    merged: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        code, path, seen, message, _ = finding
        merged.setdefault((code, path, message, seen[4:] if code in ("051", "052") else seen), []).append(finding)
    result: list[Finding] = []
    for group in merged.values():
        code, path, seen, message, fix = group[0]
        if len(group) > 1:
            seen = ", ".join(one[2][:3] for one in group) + seen[3:]
        result.append((code, path, seen, message, fix))
    return result


def _cross_check(file: schema.SiteFile) -> Iterable[Finding]:
    """Yields what no single table can know: duplicates, references, gaps."""
    yield from _check_names(file)
    yield from _check_devices(file)
    yield from _check_members(file)
    yield from _check_charter(file.charter)
    yield from _check_jobs(file)
    yield from check_ledger(file)
    yield from check_edge(file)
    yield from check_deliveries(file)
    yield from check_water(file)
    yield from check_care(file)
    yield from check_farm(file)
    yield from check_waste(file)
    yield from check_work_orders(file)
    yield from check_emergency(file.emergency, (row.id for row in file.device))
    yield from check_zones(file)
    yield from check_energy(file)
    yield from check_network(file)
    yield from _check_money(file)


def _check_money(file: schema.SiteFile) -> Iterable[Finding]:
    names = [row.name for row in file.treasury.officer]
    for index, name in enumerate(names):
        if name in names[:index]:
            here = ("treasury", "officer", index, "name")
            yield "020", here, name, "this officer is named before", "remove one of them"
    roles = [row.role for row in file.treasury.officer]
    if names and len(set(names)) < file.treasury.approvals:
        seen = str(file.treasury.approvals)
        yield (
            "095", ("treasury", "approvals"), seen, f"there are only {len(set(names))} officers who could approve",
            "name more officers or need fewer approvals",
        )  # fmt: skip
    for role, count in file.treasury.roles.items():
        if roles.count(role) < count:
            yield (
                "095", ("treasury", "roles", role), str(count), f"{roles.count(role)} officers have this role",
                "name an officer with it, or need fewer",
            )  # fmt: skip
    for index, row in enumerate(file.arrears.step):
        if row.keep_percent < 100 and row.step != "limit":
            yield (
                "096", ("arrears", "step", index, "keep_percent"), str(row.keep_percent),
                f"a {row.step} limits nothing", 'use step = "limit"; what is below the lifeline is never limited',
            )  # fmt: skip


def _duplicates(table: str, ids: Sequence[str]) -> Iterable[Finding]:
    first: dict[str, int] = {}
    for index, name in enumerate(ids):
        if name in first:
            yield (
                "020",
                (table, index, "id"),
                name,
                f"this id is used before, in {table}[{first[name]}]",
                "rename one of them",
            )
        first.setdefault(name, index)


def _check_names(file: schema.SiteFile) -> Iterable[Finding]:
    for table, rows in (
        ("gateway", file.gateway),
        ("member", file.member),
        ("device", file.device),
        ("job", file.job),
        ("place", file.place),
        ("interlock", file.interlock),
        ("delivery", file.delivery),
        ("machine", file.machine),
        ("crew", file.crew),
        ("work", file.work),
        ("well", file.well),
        ("water_zone", file.water_zone),
        ("cold_box", file.cold_box),
        ("digester", file.digester),
        ("field", file.field),
        ("crop", file.crop),
        ("batch", file.batch),
        ("food_store", file.food_store),
        ("yard", file.yard),
        ("zone", file.zone),
        ("shed_tier", file.shed_tier),
        ("feeder", file.feeder),
        ("appliance", file.appliance),
    ):
        yield from _duplicates(table, [row.id for row in rows])
    try:
        ZoneInfo(file.site.timezone)
    except (ZoneInfoNotFoundError, ValueError, IsADirectoryError):
        yield (
            "021",
            ("site", "timezone"),
            file.site.timezone,
            "no such time zone on this machine",
            "use an IANA name such as Pacific/Tongatapu",
        )
    if file.water.reserve_fraction >= file.water.high_fraction:
        yield (
            "022",
            ("water", "reserve_fraction"),
            str(file.water.reserve_fraction),
            "the drinking reserve is not below high_fraction",
            f"choose less than {file.water.high_fraction}",
        )
    if file.simulate is not None:
        yield from instant_problem(("simulate", "start"), file.simulate.start)


def _check_devices(file: schema.SiteFile) -> Iterable[Finding]:
    kinds = {device.id: device.kind for device in file.device}
    gateways = {gateway.id for gateway in file.gateway}
    units: dict[tuple[str, int], BusDeviceTable] = {}
    ports: dict[str, tuple[str, str]] = {}
    grids = [index for index, device in enumerate(file.device) if device.kind == "grid"]
    if len(grids) != 1:
        path: Path = ("device", grids[1], "kind") if grids else ("device",)
        yield (
            "030",
            path,
            f"{len(grids)} grid devices",
            "a site has exactly one grid meter",
            'keep one device with kind = "grid"',
        )
    for index, device in enumerate(file.device):
        here = ("device", index)
        if isinstance(device, schema.VehicleDevice):
            if device.driver != "vda5050":
                yield "031", (*here, "driver"), device.driver, "a vehicle speaks vda5050", 'driver = "vda5050"'
            continue
        if device.driver == "vda5050":
            yield (
                "031",
                (*here, "driver"),
                device.driver,
                f"a {device.kind} does not speak vda5050",
                'driver = "sunspec" or "profile:NAME"',
            )
        yield from _check_profile(here, device)
        if device.gateway not in gateways:
            yield (
                "033",
                (*here, "gateway"),
                device.gateway,
                "no gateway has this id",
                f"known gateways: {', '.join(sorted(gateways))}",
            )
        if device.driver != "gpio:header":
            yield from _check_unit(here, device, units)
            yield from _check_endpoint(here, device, ports)
        yield from _check_wire(here, device)
        yield from _check_references(here, device, kinds)


def _check_wire(here: Path, device: BusDeviceTable) -> Iterable[Finding]:
    """A device that speaks MQTT has a topic, and only such a one."""
    if device.driver.startswith("mqtt:") != device.endpoint.startswith("mqtt:"):
        fix = (
            'endpoint = "mqtt:TOPIC", the topic that the device is set to'
            if device.driver.startswith("mqtt:")
            else 'driver = "mqtt:NAME" (atoll profiles list), or the host:port of its bus'
        )
        seen = f"{device.driver} at {device.endpoint}"
        yield "039", (*here, "endpoint"), seen, "driver and endpoint are of two kinds", fix


def _check_profile(here: Path, device: BusDeviceTable) -> Iterable[Finding]:
    kind, _, name = device.driver.partition(":")
    if kind not in ("profile", "mqtt"):
        return
    try:
        if kind == "mqtt":
            load_mqtt_profile(name)
        else:
            load_profile(name)
    except BadProfile as error:
        yield (
            "032",
            (*here, "driver"),
            device.driver,
            error.problems[0].partition(":")[0],
            error.problems[0].partition(": ")[2] or "atoll profiles list",
        )


def _check_unit(here: Path, device: BusDeviceTable, units: dict[tuple[str, int], BusDeviceTable]) -> Iterable[Finding]:
    taken = units.setdefault((device.endpoint, device.unit), device)
    product, _, variant = device.driver.partition(".")
    one_product = product == taken.driver.partition(".")[0] and variant != taken.driver.partition(".")[2]
    if taken is not device and not one_product:
        yield (
            "034",
            (*here, "unit"),
            f"{device.endpoint} unit {device.unit}",
            f"{taken.id} has this unit already",
            "give each device its own unit id; only variants of one profile share a unit",
        )


def _check_endpoint(here: Path, device: BusDeviceTable, ports: dict[str, tuple[str, str]]) -> Iterable[Finding]:
    """One serial port has one text, in one gateway: two owners would take each other's answers."""
    path: Path = (*here, "endpoint")
    if device.endpoint.startswith("mqtt:"):
        return
    try:
        endpoint = parse_endpoint(device.endpoint)
    except BadEndpoint as error:
        yield "039", path, device.endpoint, str(error), "rtu:/dev/serial/by-id/NAME?baud=9600&parity=N"
        return
    if isinstance(endpoint, SerialEndpoint):
        first = ports.setdefault(endpoint.path, (device.endpoint, device.gateway))
        if first != (device.endpoint, device.gateway):
            seen = f"{device.endpoint} of {device.gateway}"
            fix = f'write endpoint = "{first[0]}", gateway = "{first[1]}" in all its devices'
            yield "039", path, seen, "another device names this serial port with other settings", fix


def _check_references(here: Path, device: schema.Device, kinds: Mapping[str, str]) -> Iterable[Finding]:
    if isinstance(device, schema.PvDevice) and device.behind is not None and kinds.get(device.behind) != "meter":
        yield (
            "035",
            (*here, "behind"),
            device.behind,
            "no meter has this id",
            "name the meter that this inverter sits behind, or drop the key",
        )
    if isinstance(device, schema.PumpDevice) and kinds.get(device.tank) != "tank":
        yield "036", (*here, "tank"), device.tank, "no tank has this id", "name the tank that this pump fills"
    if isinstance(device, schema.BatteryDevice) and device.ratings.soc_min >= device.ratings.soc_max:
        yield (
            "037",
            (*here, "ratings", "soc_min"),
            str(device.ratings.soc_min),
            "soc_min is not below soc_max",
            f"choose less than {device.ratings.soc_max}",
        )
    if isinstance(device, schema.GensetDevice) and device.ratings.power_w_min > device.ratings.power_w_max:
        yield (
            "038",
            (*here, "ratings", "power_w_min"),
            str(device.ratings.power_w_min),
            "the minimum load is above power_w_max",
            f"choose at most {device.ratings.power_w_max}",
        )


def _check_members(file: schema.SiteFile) -> Iterable[Finding]:
    metered = {device.id for device in file.device if device.kind not in UNMETERED}
    channels = {
        name for device in file.device if isinstance(device, schema.WaterMetersDevice) for name in device.channels
    }
    owner: dict[str, str] = {}
    for index, member in enumerate(file.member):
        for key, known in (("usage_points", metered), ("water_points", channels)):
            points = member.usage_points if key == "usage_points" else member.water_points
            for place, point in enumerate(points):
                path: Path = ("member", index, key, place)
                if point not in known:
                    yield "040", path, point, "no meter has this id", "name a metered device or a water channel"
                elif owner.setdefault(point, member.id) != member.id:
                    yield (
                        "041",
                        path,
                        point,
                        f"{owner[point]} is billed for this meter already",
                        "a meter belongs to one member",
                    )
    for index, device in enumerate(file.device):
        if device.kind == "meter" and device.id not in owner:
            yield (
                "042",
                ("device", index, "id"),
                device.id,
                "this meter belongs to no member: its energy would be billed to nobody",
                "add it to a member's usage_points",
            )


def _check_charter(charter: schema.CharterTable) -> Iterable[Finding]:
    yield from instant_problem(("charter", "valid_from"), charter.valid_from)
    for day in DAYS:
        spans = sorted(
            (minutes(band.start), minutes(band.end), index)
            for index, band in enumerate(charter.bands)
            if day in band.days
        )
        reached = 0
        for start, end, index in spans:
            path = ("charter", "bands", index, "from")
            if end <= start:
                yield (
                    "050",
                    path,
                    f"{start // 60:02d}:{start % 60:02d}",
                    "the band ends before it starts",
                    "write a band across midnight as two",
                )
            elif start != reached:
                what = "overlaps the band before it" if start < reached else "leaves a gap before it"
                yield (
                    "051",
                    path,
                    f"{day} {start // 60:02d}:{start % 60:02d}",
                    f"the band {what}",
                    f"the next band of that day starts at {reached // 60:02d}:{reached % 60:02d}",
                )
            reached = max(reached, end)
        if reached != 1440:
            yield (
                "052",
                ("charter", "bands"),
                day,
                f"no price after {reached // 60:02d}:{reached % 60:02d}",
                "cover the day to 24:00",
            )


def _check_jobs(file: schema.SiteFile) -> Iterable[Finding]:
    vehicles = {device.id for device in file.device if isinstance(device, schema.VehicleDevice)}
    places = {place.id for place in file.place}
    for index, job in enumerate(file.job):
        here = ("job", index)
        if job.device not in vehicles:
            yield "060", (*here, "device"), job.device, "no robot or drone has this id", f"one of: {sorted(vehicles)}"
        if job.place not in places:
            yield "061", (*here, "place"), job.place, "no place has this id", f"one of: {sorted(places)}"
        start, end = (minutes(text) for text in job.window)
        if (end - start) * 60_000 < job.duration_ms:
            yield (
                "062",
                (*here, "window"),
                "-".join(job.window),
                "the job does not fit into its window",
                f"the window needs {job.duration_ms // 60_000} minutes",
            )
