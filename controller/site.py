"""Site file -> frozen Site, or every problem at once with file, line, what was seen and how to mend it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ValidationError

from controller import site_schema as schema
from controller.settlement.charter import Charter, Member, TariffBand
from devices.clock import Instant, parse_iso
from devices.model import DeviceId, DeviceKind, DeviceSpec

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a site file."""

    code: str
    file: str
    line: int
    where: str
    seen: str
    message: str
    fix: str

    def __str__(self) -> str:
        seen = f" (seen: {self.seen})" if self.seen else ""
        return f"error[{self.code}] {self.file}:{self.line} {self.where}: {self.message}{seen}\n    fix: {self.fix}"


class SiteProblems(ValueError):
    """A site file that cannot be used."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """One edge gateway of the site."""

    id: str
    poll_ms: int


@dataclass(frozen=True, slots=True)
class DailyJob:
    """A job that comes every local day; window in minutes of the day."""

    id: str
    kind: str
    device: DeviceId
    place: str
    window: tuple[int, int]
    duration_ms: int
    power_w: float
    water_l: float
    skip_price: float


@dataclass(frozen=True, slots=True)
class Place:
    """A named spot, metres east and north of the village square."""

    id: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Site:
    """Everything the hub knows of the place it runs; made once, never changed."""

    id: str
    name: str
    timezone: str
    latitude: float
    longitude: float
    import_limit_w: float
    export_limit_w: float
    water_reserve: float
    water_high: float
    cycle_ms: int
    replan_ms: int
    plan_slots: int
    island_reserve: float
    charter: Charter
    members: tuple[Member, ...]
    gateways: tuple[GatewaySpec, ...]
    devices: tuple[DeviceSpec, ...]
    jobs: tuple[DailyJob, ...]
    places: tuple[Place, ...]
    critical: frozenset[DeviceId]
    tank_of: Mapping[DeviceId, DeviceId]
    ready_by: Mapping[DeviceId, int]
    simulate_start: Instant | None

    def of_kind(self, kind: DeviceKind) -> tuple[DeviceSpec, ...]:
        """Returns the devices of one kind, in file order."""
        return tuple(device for device in self.devices if device.kind is kind)

    def device(self, device: str) -> DeviceSpec | None:
        """Returns a device by id."""
        return next((spec for spec in self.devices if spec.id == device), None)

    def place(self, place: str) -> Place | None:
        """Returns a place by id."""
        return next((spot for spot in self.places if spot.id == place), None)


def load(text: str, file: str) -> Site:
    """Returns the Site that a site file describes.

    Raises:
        SiteProblems: anything is wrong; it carries every finding.
    """
    site, problems = check(text, file)
    if site is None or problems:
        raise SiteProblems(problems)
    return site


def check(text: str, file: str) -> tuple[Site | None, list[Problem]]:
    """Returns the Site if the file is sound, and every problem found (all at once, in file order)."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [_syntax_problem(error, file)]
    lines = LineIndex(text)
    try:
        parsed = schema.SiteFile.model_validate(document)
    except ValidationError as error:
        problems = [_schema_problem(finding, document, lines, file) for finding in error.errors(include_url=False)]
        return None, sorted(problems, key=lambda problem: problem.line)
    findings = list(_cross_check(parsed))
    problems = [
        Problem("SITE-" + code, file, lines.find(path), _where(path), seen, message, fix)
        for code, path, seen, message, fix in findings
    ]
    if problems:
        return None, sorted(problems, key=lambda problem: problem.line)
    return _build(parsed), []


def json_schema() -> dict[str, object]:
    """Returns the JSON Schema of the site file; units and ranges stand in it."""
    return schema.SiteFile.model_json_schema(by_alias=True)


class LineIndex:
    """Finds the line of a key path in TOML text; falls back to the nearest table that exists."""

    _HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\-\"' ]+?)\s*\]\]?\s*(?:#.*)?$")
    _KEY = re.compile(r"^\s*([A-Za-z0-9_\-\"']+)\s*=")

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        counts: dict[Path, int] = {}
        table: Path = ()
        for number, line in enumerate(text.splitlines(), start=1):
            header = self._HEADER.match(line)
            if header:
                table = self._table_path(header.group(1) == "[[", header.group(2), counts)
                self._lines.setdefault(table, number)
                continue
            key = self._KEY.match(line)
            if key:
                path = (*table, key.group(1).strip("\"'"))
                self._lines.setdefault(path, number)
                for inner in re.findall(r"[{,]\s*([A-Za-z0-9_\-]+)\s*=", line.partition("=")[2]):
                    self._lines.setdefault((*path, inner), number)

    @staticmethod
    def _table_path(is_array: bool, name: str, counts: dict[Path, int]) -> Path:
        parts = [part.strip().strip("\"'") for part in name.split(".")]
        path: Path = ()
        for depth, part in enumerate(parts):
            path = (*path, part)
            last = depth == len(parts) - 1
            if last and is_array:
                counts[path] = counts.get(path, -1) + 1
            if path in counts:
                path = (*path, counts[path])
        return path

    def find(self, path: Path) -> int:
        """Returns the 1-based line of `path`, or of its nearest parent; 1 when there is none."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._lines:
                return self._lines[path[:length]]
        return 1


def _where(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text or "file"


def _syntax_problem(error: tomllib.TOMLDecodeError, file: str) -> Problem:
    found = re.search(r"line (\d+)", str(error))
    line = int(found.group(1)) if found else 1
    return Problem("SITE-001", file, line, "file", "", f"not TOML: {error}", "mend this line, then check again")


_KINDS = tuple(kind.value for kind in DeviceKind)


def _real_path(location: tuple[str | int, ...]) -> Path:
    """Returns the key path without the discriminator that pydantic puts behind a device's index."""
    path = list(location)
    if len(path) > 2 and path[0] == "device" and path[2] in {*_KINDS}:
        del path[2]
    return tuple(path)


def _schema_problem(finding: object, document: Mapping[str, object], lines: LineIndex, file: str) -> Problem:
    assert isinstance(finding, dict)
    kind, location, message = str(finding["type"]), tuple(finding["loc"]), str(finding["msg"])  # pyright: ignore[reportUnknownArgumentType]
    path = _real_path(location)  # pyright: ignore[reportUnknownArgumentType]
    if kind == "extra_forbidden":
        known = _known_keys(path, document)
        close = difflib.get_close_matches(str(path[-1]), known, 1)
        hint = f'did you mean "{close[0]}"?' if close else f"remove it; known keys here: {', '.join(known)}"
        return Problem(
            "SITE-010", file, lines.find(path), _where(path), "", f'unknown key "{path[-1]}": nothing reads it', hint
        )
    if kind == "missing":
        return Problem(
            "SITE-011", file, lines.find(path[:-1]), _where(path), "", "this key is missing", f"add {path[-1]} = ..."
        )
    seen = repr(finding.get("input"))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
    seen = seen if len(seen) <= 60 else seen[:57] + "..."
    return Problem("SITE-012", file, lines.find(path), _where(path), seen, message, _range_hint(finding.get("ctx")))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]


def _range_hint(context: object) -> str:
    if not isinstance(context, dict):
        return "give a value of the type and unit that `atoll check --schema` states"
    parts = ", ".join(f"{key} {value}" for key, value in context.items())  # pyright: ignore[reportUnknownVariableType]
    return f"allowed: {parts}"


def _known_keys(path: Path, document: Mapping[str, object]) -> list[str]:
    """Returns the keys that the schema knows in the table which holds `path`."""
    model: type[BaseModel] | None = schema.SiteFile
    value: object = document
    for part in path[:-1]:
        value = value[part] if isinstance(value, dict | list) else None  # type: ignore[index]
        if isinstance(part, int) or model is None:
            model = _device_model(value) if path[0] == "device" and isinstance(part, int) else model
            continue
        model = _field_model(model, part)
    if model is None:
        return []
    return sorted(field.alias or name for name, field in model.model_fields.items())


def _field_model(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    for name, field in model.model_fields.items():
        if key in (name, field.alias):
            return _model_in(field.annotation)
    return None


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def _device_model(value: object) -> type[BaseModel] | None:
    kind = value.get("kind") if isinstance(value, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    for model in schema.DeviceTable.__subclasses__() + schema.BusDeviceTable.__subclasses__():
        field = model.model_fields.get("kind")
        if field is not None and kind in getattr(field.annotation, "__args__", ()):
            return model
    return None


Finding = tuple[str, Path, str, str, str]


def _cross_check(file: schema.SiteFile) -> Iterable[Finding]:
    """Yields what no single table can know: duplicates, references, gaps."""
    yield from _check_names(file)
    yield from _check_devices(file)
    yield from _check_members(file)
    yield from _check_charter(file.charter)
    yield from _check_jobs(file)


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
        yield from _check_instant(("simulate", "start"), file.simulate.start)


def _check_instant(path: Path, text: str) -> Iterable[Finding]:
    try:
        parse_iso(text)
    except ValueError as error:
        yield "023", path, text, str(error), "write 2026-06-03T09:40:00Z"


def _check_devices(file: schema.SiteFile) -> Iterable[Finding]:
    kinds = {device.id: device.kind for device in file.device}
    gateways = {gateway.id for gateway in file.gateway}
    units: dict[tuple[str, int], str] = {}
    profiles = _profile_names()
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
        if device.driver.startswith("profile:") and device.driver[8:] not in profiles:
            yield (
                "032",
                (*here, "driver"),
                device.driver,
                "no such profile",
                f"known profiles: {', '.join(sorted(profiles))}",
            )
        if device.gateway not in gateways:
            yield (
                "033",
                (*here, "gateway"),
                device.gateway,
                "no gateway has this id",
                f"known gateways: {', '.join(sorted(gateways))}",
            )
        taken = units.setdefault((device.endpoint, device.unit), device.id)
        if taken != device.id:
            yield (
                "034",
                (*here, "unit"),
                f"{device.endpoint} unit {device.unit}",
                f"{taken} has this unit already",
                "give each device its own unit id",
            )
        yield from _check_references(here, device, kinds)


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
    metered = {device.id for device in file.device if device.kind not in ("tank", "water_meters", "robot", "drone")}
    channels = {name for device in file.device if isinstance(device, schema.WaterMetersDevice) for name in device.channels}
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
    yield from _check_instant(("charter", "valid_from"), charter.valid_from)
    for day in schema.DAYS:
        spans = sorted(
            (schema.minutes(band.start), schema.minutes(band.end), index)
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
                    f"the next band on {day} starts at {reached // 60:02d}:{reached % 60:02d}",
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
        start, end = (schema.minutes(text) for text in job.window)
        if (end - start) * 60_000 < job.duration_ms:
            yield (
                "062",
                (*here, "window"),
                "-".join(job.window),
                "the job does not fit into its window",
                f"the window needs {job.duration_ms // 60_000} minutes",
            )


def _profile_names() -> frozenset[str]:
    folder = resources.files("devices") / "profiles"
    return frozenset(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def _build(file: schema.SiteFile) -> Site:
    site, control = file.site, file.control
    return Site(
        id=site.id,
        name=site.name,
        timezone=site.timezone,
        latitude=site.latitude,
        longitude=site.longitude,
        import_limit_w=file.grid.import_limit_w,
        export_limit_w=file.grid.export_limit_w,
        water_reserve=file.water.reserve_fraction,
        water_high=file.water.high_fraction,
        cycle_ms=control.cycle_ms,
        replan_ms=control.replan_ms,
        plan_slots=control.plan_slots,
        island_reserve=control.island_reserve_fraction,
        charter=_charter(file),
        members=tuple(
            Member(row.id, row.name, tuple(row.usage_points), tuple(row.water_points), row.lifeline, row.role)
            for row in file.member
        ),
        gateways=tuple(GatewaySpec(row.id, row.poll_ms) for row in file.gateway),
        devices=tuple(_device_spec(row) for row in file.device),
        jobs=tuple(_job(row) for row in file.job),
        places=tuple(Place(row.id, row.x, row.y) for row in file.place),
        critical=frozenset(
            DeviceId(row.id) for row in file.device if isinstance(row, schema.MeterDevice) and row.critical
        ),
        tank_of={DeviceId(row.id): DeviceId(row.tank) for row in file.device if isinstance(row, schema.PumpDevice)},
        ready_by={
            DeviceId(row.id): schema.minutes(row.ready_by) for row in file.device if isinstance(row, schema.ChargerDevice)
        },
        simulate_start=None if file.simulate is None else parse_iso(file.simulate.start),
    )


def _device_spec(row: schema.Device) -> DeviceSpec:
    simulate: dict[str, str | float] = {} if row.simulate is None else dict(row.simulate.model_dump())
    if isinstance(row, schema.PumpDevice):
        simulate["tank"] = row.tank
    if isinstance(row, schema.MeterDevice) and row.critical:
        simulate["critical"] = 1.0
    on_bus = isinstance(row, schema.BusDeviceTable)
    return DeviceSpec(
        id=DeviceId(row.id),
        kind=DeviceKind(row.kind),
        driver=row.driver,
        gateway=row.gateway if on_bus else "",
        endpoint=row.endpoint if on_bus else "",
        unit=row.unit if on_bus else 0,
        behind=DeviceId(row.behind) if isinstance(row, schema.PvDevice) and row.behind is not None else None,
        read_only=row.read_only if on_bus else False,
        channels=tuple(row.channels) if isinstance(row, schema.WaterMetersDevice) else (),
        ratings={name: float(value) for name, value in row.ratings.model_dump().items()},
        simulate=simulate,
    )


def _job(row: schema.JobTable) -> DailyJob:
    start, end = (schema.minutes(text) for text in row.window)
    return DailyJob(
        row.id,
        row.kind,
        DeviceId(row.device),
        row.place,
        (start, end),
        row.duration_ms,
        row.power_w,
        row.water_l,
        row.skip_price,
    )


def _charter(file: schema.SiteFile) -> Charter:
    row = file.charter
    bands = tuple(
        TariffBand(
            band.name,
            schema.minutes(band.start),
            schema.minutes(band.end),
            tuple(schema.DAYS.index(day) for day in band.days),
            band.import_price,
        )
        for band in row.bands
    )
    return Charter(
        version=row.version,
        valid_from=parse_iso(row.valid_from),
        currency=row.currency,
        minor_digits=row.minor_digits,
        timezone=file.site.timezone,
        bands=bands,
        export_price=row.export_price,
        local_price=row.local_price,
        sharing=row.sharing,
        lifeline_wh=row.lifeline_wh,
        lifeline_price=row.lifeline_price,
        lifeline_ml=row.lifeline_ml,
        lifeline_water_price=row.lifeline_water_price,
        water_price=row.water_price,
        bill_period=row.bill_period,
    )
