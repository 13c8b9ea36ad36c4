"""Site file -> frozen Site, or every problem at once with file, line, what was seen and how to mend it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from controller import site_schema as schema
from controller.money.rules import ArrearsStep, MoneyRules, Officer
from controller.settlement.charter import Charter, Member, TariffBand
from controller.site_care import ColdBoxSpec, cold_boxes, simulated_box
from controller.site_check import Rows, cross_check, sound_part
from controller.site_deliveries import Delivery, delivery_of
from controller.site_device_schema import BusDeviceTable
from controller.site_edge import declared_interlocks, pin_specs, read_only_buses
from controller.site_emergency import EmergencySpec, emergency_spec
from controller.site_energy import EnergySpec, energy_spec
from controller.site_farm import FarmSpec, farm_spec
from controller.site_ledger import LedgerSpec, ledger_spec
from controller.site_problems import Document, Problem, SchemaFinding, SiteProblems, syntax_problem
from controller.site_types import DAYS, minutes
from controller.site_waste import WasteSpec, simulated_digester, waste_spec
from controller.site_water import WaterSpec, ZoneSpec, simulated_well, water_spec, water_zones
from controller.site_work import WorkSpec, work_spec
from controller.site_zones import SkySpec, sky_spec
from devices.clock import Instant, parse_iso
from devices.interlock_watch import Declared
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
    simulate_start: Instant | None
    ledger: LedgerSpec = field(default_factory=LedgerSpec)
    interlocks: tuple[Declared, ...] = ()
    ties: frozenset[DeviceId] = frozenset()  # breakers to the outside grid
    deliveries: tuple[Delivery, ...] = ()
    money: MoneyRules = field(default_factory=MoneyRules)
    water: WaterSpec = field(default_factory=WaterSpec)
    cold_boxes: tuple[ColdBoxSpec, ...] = ()
    farm: FarmSpec = field(default_factory=FarmSpec)
    waste: WasteSpec = field(default_factory=WasteSpec)
    work: WorkSpec = field(default_factory=WorkSpec)
    emergency: EmergencySpec = field(default_factory=EmergencySpec)
    sky: SkySpec = field(default_factory=SkySpec)
    energy: EnergySpec = field(default_factory=EnergySpec)
    anonymous_broker: bool = True  # clients without a login may do everything there
    charters: tuple[tuple[Instant, Charter], ...] = ()  # what holds from when, as published in the ledger
    _kinds: Mapping[DeviceKind, tuple[DeviceSpec, ...]] = field(init=False, repr=False, compare=False)
    _by_id: Mapping[str, DeviceSpec] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Indexes the devices: every cycle asks for them many times."""
        kinds: dict[DeviceKind, tuple[DeviceSpec, ...]] = {}
        for device in self.devices:
            kinds[device.kind] = (*kinds.get(device.kind, ()), device)
        object.__setattr__(self, "_kinds", kinds)
        object.__setattr__(self, "_by_id", {device.id: device for device in self.devices})

    @property
    def lifeline_homes(self) -> int:
        """Returns how many members have a lifeline."""
        return sum(1 for member in self.members if member.lifeline)

    def charter_at(self, at: Instant) -> Charter:
        """Returns the charter that holds then: the one in the ledger, or the site file's where none is known."""
        return _held(self.charters, at) or self.charter

    def under(self, charters: tuple[tuple[Instant, Charter], ...], now: Instant) -> Site:
        """Returns the site under what the ledger has published: `charter` is the one that holds now."""
        held = _held(charters, now) or self.charter
        same = held is self.charter and charters is self.charters
        return self if same else replace(self, charters=charters, charter=held)

    def of_kind(self, kind: DeviceKind) -> tuple[DeviceSpec, ...]:
        """Returns the devices of one kind, in file order."""
        return self._kinds.get(kind, ())

    def device(self, device: str) -> DeviceSpec | None:
        """Returns a device by id."""
        return self._by_id.get(device)

    def place(self, place: str) -> Place | None:
        """Returns a place by id."""
        return next((spot for spot in self.places if spot.id == place), None)


def _held(charters: tuple[tuple[Instant, Charter], ...], at: Instant) -> Charter | None:
    return next((charter for start, charter in reversed(charters) if start <= at), None)


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
        return None, [syntax_problem(error, file, text)]
    document = Document(text, file, content)
    problems: list[Problem] = []
    rows = Rows({}, frozenset())
    try:
        parsed: schema.SiteFile | None = schema.SiteFile.model_validate(content)
    except ValidationError as error:
        findings = [SchemaFinding.parse(dict(found)) for found in error.errors(include_url=False)]
        problems = [document.schema_problem(finding) for finding in findings]
        parsed, rows = sound_part(content, findings)
    zones: tuple[ZoneSpec, ...] = ()
    if parsed is not None:
        zones, found = water_zones(parsed, Path(file).parent)
        problems += [document.problem(finding) for finding in (*cross_check(parsed, rows), *map(rows.restore, found))]
    if problems or parsed is None:
        return None, sorted(problems, key=lambda problem: problem.line)
    return _build(parsed, zones), []


def json_schema() -> dict[str, object]:
    """Returns the JSON Schema of the site file; units and ranges stand in it."""
    return schema.SiteFile.model_json_schema(by_alias=True)


def _build(file: schema.SiteFile, zones: tuple[ZoneSpec, ...]) -> Site:
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
        devices=tuple(_device_spec(row, file, read_only_buses(file)) for row in file.device),
        jobs=tuple(_job(row) for row in file.job),
        places=tuple(Place(row.id, row.x, row.y) for row in file.place),
        critical=frozenset(
            DeviceId(row.id) for row in file.device if isinstance(row, schema.MeterDevice) and row.critical
        ),
        tank_of={DeviceId(row.id): DeviceId(row.tank) for row in file.device if isinstance(row, schema.PumpDevice)},
        money=_money(file),
        simulate_start=None if file.simulate is None else parse_iso(file.simulate.start),
        ledger=ledger_spec(file),
        interlocks=declared_interlocks(file.interlock),
        ties=frozenset(DeviceId(r.id) for r in file.device if isinstance(r, schema.BreakerDevice) and r.island),
        water=water_spec(file, zones),
        cold_boxes=cold_boxes(file),
        farm=farm_spec(file),
        waste=waste_spec(file),
        work=work_spec(file),
        emergency=emergency_spec(file.emergency),
        sky=sky_spec(file),
        energy=energy_spec(file),
        anonymous_broker=file.broker.anonymous,
        deliveries=tuple(delivery_of(row) for row in file.delivery),
    )


def _money(file: schema.SiteFile) -> MoneyRules:
    treasury, arrears = file.treasury, file.arrears
    return MoneyRules(
        due_days=arrears.due_days,
        steps=tuple(ArrearsStep(row.after_days, row.step, row.keep_percent) for row in arrears.step),
        officers=tuple(Officer(row.name, row.role, row.key) for row in treasury.officer),
        approvals=treasury.approvals,
        roles=tuple(sorted(treasury.roles.items())),
        proposal_days=treasury.proposal_days,
    )


BEHIND = (schema.PvDevice, schema.RelayDevice)
"""Devices that may sit behind a meter."""


def _device_spec(row: schema.Device, file: schema.SiteFile, read_only: frozenset[str]) -> DeviceSpec:
    simulate: dict[str, str | float] = {} if row.simulate is None else dict(row.simulate.model_dump(exclude_none=True))
    if isinstance(row, schema.PumpDevice):
        simulate |= {"tank": row.tank, "source": row.source or "", "recovery": row.recovery}
        simulate["speeds"] = " ".join(f"{one.speed:g}:{one.flow_lpm:g}:{one.power_w:g}" for one in row.speed)
        simulate["phases"] = " ".join(f"{one.flow_lpm:g}:{one.power_w:g}" for one in row.phase)
    if isinstance(row, schema.WaterMetersDevice):
        simulate["tank"] = row.tank or ""
    if isinstance(row, schema.MeterDevice) and row.critical:
        simulate["critical"] = 1.0
    if isinstance(row, schema.ChargerDevice | schema.ThermalDevice):
        simulate["timezone"] = file.site.timezone  # `leaves`, `returns` and `draws` are local times
    if isinstance(row, schema.ThermalDevice):
        simulate["draws"] = " ".join(f"{draw.at}={draw.energy_wh:g}" for draw in row.draws)
    if isinstance(row, schema.SensorDevice):
        simulate |= simulated_box(file, row.id) | simulated_well(file, row.id) | simulated_digester(file, row.id)
    if isinstance(row, schema.FlowMeterDevice):
        pump = next(
            (one.id for one in file.device if isinstance(one, schema.PumpDevice) and one.flow_meter == row.id), ""
        )
        simulate |= {"pump": pump} if pump else {}
    on_bus = isinstance(row, BusDeviceTable)
    return DeviceSpec(
        id=DeviceId(row.id),
        kind=DeviceKind(row.kind),
        driver=row.driver,
        gateway=row.gateway if on_bus else "",
        endpoint=row.endpoint if on_bus else _topics(row),
        unit=row.unit if on_bus else 0,
        behind=DeviceId(row.behind) if isinstance(row, BEHIND) and row.behind is not None else None,
        read_only=row.read_only or row.endpoint in read_only if on_bus else False,
        hazardous=row.hazardous if on_bus else False,
        pins=pin_specs(row) if on_bus else (),
        channels=tuple(row.channels) if isinstance(row, schema.WaterMetersDevice) else (),
        ratings=_ratings(row),
        simulate=simulate,
    )


def _ratings(row: schema.Device) -> dict[str, float]:
    ratings = {name: float(value) for name, value in row.ratings.model_dump(exclude_none=True).items()}
    if isinstance(row, schema.ThermalDevice):
        ratings["cold"] = float(row.use == "cold")
    if isinstance(row, schema.RelayDevice) and row.shed is not None:
        ratings["rest"] = float(row.shed.on == "served")
    if isinstance(row, schema.PumpDevice) and row.phase:
        ratings["batch"] = 1.0
    return ratings


def _topics(row: schema.Device) -> str:
    """Returns INTERFACE/MANUFACTURER/SERIAL/VERSION of a maker's vehicle; empty for ours."""
    own = row.vda5050 if isinstance(row, schema.VehicleDevice) else None
    return "" if own is None else f"{own.interface}/{own.manufacturer}/{own.serial or row.id}/{own.version}"


def _job(row: schema.JobTable) -> DailyJob:
    start, end = (minutes(text) for text in row.window)
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
            minutes(band.start),
            minutes(band.end),
            tuple(DAYS.index(day) for day in band.days),
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
        clock_tolerance_ms=row.clock_tolerance_ms,
    )
