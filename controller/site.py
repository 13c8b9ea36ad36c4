"""Site file -> frozen Site, or every problem at once with file, line, what was seen and how to mend it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from controller import site_schema as schema
from controller.settlement.charter import Charter, Member, TariffBand
from controller.site_check import Rows, cross_check, sound_part
from controller.site_problems import Document, Problem, SchemaFinding, SiteProblems, syntax_problem
from devices.clock import Instant, parse_iso
from devices.model import DeviceId, DeviceKind, DeviceSpec


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
    _kinds: Mapping[DeviceKind, tuple[DeviceSpec, ...]] = field(init=False, repr=False, compare=False)
    _by_id: Mapping[str, DeviceSpec] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Indexes the devices: every cycle asks for them many times."""
        kinds: dict[DeviceKind, tuple[DeviceSpec, ...]] = {}
        for device in self.devices:
            kinds[device.kind] = (*kinds.get(device.kind, ()), device)
        object.__setattr__(self, "_kinds", kinds)
        object.__setattr__(self, "_by_id", {device.id: device for device in self.devices})

    def of_kind(self, kind: DeviceKind) -> tuple[DeviceSpec, ...]:
        """Returns the devices of one kind, in file order."""
        return self._kinds.get(kind, ())

    def device(self, device: str) -> DeviceSpec | None:
        """Returns a device by id."""
        return self._by_id.get(device)

    def place(self, place: str) -> Place | None:
        """Returns a place by id."""
        return next((spot for spot in self.places if spot.id == place), None)


def load(text: str, file: str) -> Site:
    """Returns the Site that a site file describes.

    Raises:
        SiteProblems: anything is wrong; it carries every finding.
    """
    site, problems = check(text, file)
    if site is None:
        raise SiteProblems(problems)
    return site


def check(text: str, file: str) -> tuple[Site | None, list[Problem]]:
    """Returns the Site if the file is sound, else None and every problem, in file order.

    Where single rows or keys are broken, the rest is still checked for what no single table can know.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [syntax_problem(error, file)]
    document = Document(text, file, content)
    problems: list[Problem] = []
    rows = Rows({}, frozenset())
    try:
        parsed: schema.SiteFile | None = schema.SiteFile.model_validate(content)
    except ValidationError as error:
        findings = [SchemaFinding.parse(dict(found)) for found in error.errors(include_url=False)]
        problems = [document.schema_problem(finding) for finding in findings]
        parsed, rows = sound_part(content, findings)
    if parsed is not None:
        problems += [document.problem(finding) for finding in cross_check(parsed, rows)]
    if problems or parsed is None:
        return None, sorted(problems, key=lambda problem: problem.line)
    return _build(parsed), []


def json_schema() -> dict[str, object]:
    """Returns the JSON Schema of the site file; units and ranges stand in it."""
    return schema.SiteFile.model_json_schema(by_alias=True)


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
        devices=tuple(_device_spec(row, file.site.timezone) for row in file.device),
        jobs=tuple(_job(row) for row in file.job),
        places=tuple(Place(row.id, row.x, row.y) for row in file.place),
        critical=frozenset(
            DeviceId(row.id) for row in file.device if isinstance(row, schema.MeterDevice) and row.critical
        ),
        tank_of={DeviceId(row.id): DeviceId(row.tank) for row in file.device if isinstance(row, schema.PumpDevice)},
        ready_by={
            DeviceId(row.id): schema.minutes(row.ready_by)
            for row in file.device
            if isinstance(row, schema.ChargerDevice)
        },
        simulate_start=None if file.simulate is None else parse_iso(file.simulate.start),
    )


def _device_spec(row: schema.Device, timezone: str) -> DeviceSpec:
    simulate: dict[str, str | float] = {} if row.simulate is None else dict(row.simulate.model_dump())
    if isinstance(row, schema.PumpDevice):
        simulate["tank"] = row.tank
    if isinstance(row, schema.MeterDevice) and row.critical:
        simulate["critical"] = 1.0
    if isinstance(row, schema.ChargerDevice):
        simulate["timezone"] = timezone  # `leaves` and `returns` are local times
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
