"""`/api/v1`: read-only JSON. Every number carries its unit in its name or beside it; times are ISO 8601 UTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request

from controller.console.desk import Reader, desk_of
from controller.console.source import LedgerEntry
from controller.views import AlarmView, DeviceView, NowView, PlanDay, ScoreRow, Value
from devices.clock import DAY_MS, Instant, iso, parse_iso
from devices.model import PointId

PREFIX = "/api/v1"
router = APIRouter(prefix=PREFIX)
POINTS_MAX = 20
STEPS_MAX = 10_000
SPAN_MS_MAX = 366 * DAY_MS
SEQ_MAX = 2**53


@dataclass(frozen=True, slots=True)
class ApiValue:
    """A number with unit, quality and age; null when there is none to trust."""

    label: str
    value: float | None
    unit: str
    quality: str
    age_ms: int
    simulated: bool


@dataclass(frozen=True, slots=True)
class ApiFlow:
    """Power of one group of devices; positive = from the bus into the device."""

    id: str
    label: str
    kind: str
    power: ApiValue


@dataclass(frozen=True, slots=True)
class ApiDevice:
    """One device."""

    id: str
    kind: str
    label: str
    online: bool
    values: list[ApiValue]
    setpoint: str
    why: str
    hold: str
    ready: str


@dataclass(frozen=True, slots=True)
class ApiAlarm:
    """One alarm."""

    id: str
    state: str
    priority: str
    device: str
    text: str
    consequence: str
    response: str
    since_utc: str
    acknowledged_by: str
    code: str


@dataclass(frozen=True, slots=True)
class ApiAction:
    """What happens next and why."""

    at_utc: str
    device: str
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class ApiNow:
    """The state of the village at one instant."""

    version: int
    at_utc: str
    site: str
    timezone: str
    mode: str
    simulated: bool
    clock: str
    speed_factor: float
    broker: str
    link: str
    flows: list[ApiFlow]
    battery_soc: ApiValue
    battery_reserve_fraction: float
    battery_hours_to_reserve: float | None
    tank_level: ApiValue
    tank_reserve_fraction: float
    tank_hours_to_reserve: float | None
    devices: list[ApiDevice]
    alarms: list[ApiAlarm]
    next_actions: list[ApiAction]
    plan_status: str
    plan_age_ms: int | None
    ledger_size_entries: int
    ledger_root_sha256: str
    counters: dict[str, int]


@dataclass(frozen=True, slots=True)
class ApiSeries:
    """One line on the plan's time axis."""

    name: str
    unit: str
    kind: str
    values: list[float | None]


@dataclass(frozen=True, slots=True)
class ApiBlock:
    """What one device is to do for a while, and why."""

    device: str
    start_utc: str
    end_utc: str
    label: str
    mode: str
    reason: str


@dataclass(frozen=True, slots=True)
class ApiPlan:
    """Forecast, plan and actual on one axis."""

    at_utc: str
    at_ms: int
    made_at_utc: str | None
    status: str
    cost: float | None
    bound: float | None
    currency: str
    times_ms: list[int]
    series: list[ApiSeries]
    blocks: list[ApiBlock]
    used: bool
    note: str
    cause: str
    days: list[PlanDay]
    scores: list[ScoreRow]


@dataclass(frozen=True, slots=True)
class ApiLine:
    """One line of a bill: exact text."""

    text: str
    quantity: str
    price: str
    amount: str


@dataclass(frozen=True, slots=True)
class ApiHour:
    """Energy used in one hour."""

    start_utc: str
    used_wh: int


@dataclass(frozen=True, slots=True)
class ApiBestHour:
    """A good time to use energy."""

    start_utc: str
    end_utc: str
    why: str


@dataclass(frozen=True, slots=True)
class ApiHome:
    """One household today."""

    id: str
    label: str
    at_utc: str
    used_today_wh: int
    exported_today_wh: int
    local_share_fraction: float | None
    lifeline_wh: int
    lifeline_left_wh: int
    water_today_ml: int
    lifeline_ml: int
    lifeline_left_ml: int
    best_hours: list[ApiBestHour]
    period_start_utc: str
    lines: list[ApiLine]
    total: str
    provisional: bool
    hourly: list[ApiHour]


@dataclass(frozen=True, slots=True)
class ApiHead:
    """The ledger's signed tree head."""

    at_utc: str
    size_entries: int
    root_sha256: str
    checkpoint: str


@dataclass(frozen=True, slots=True)
class ApiPosting:
    """One leg of an entry; exact decimal text."""

    account: str
    asset: str
    amount: str
    unit: str


@dataclass(frozen=True, slots=True)
class ApiEntry:
    """One ledger entry."""

    seq: int
    at_utc: str
    kind: str
    id: str
    text: str
    postings: list[ApiPosting]


@dataclass(frozen=True, slots=True)
class ApiProof:
    """An entry with its RFC 9162 inclusion proof: leaf hash = SHA-256(0x00 || leaf)."""

    entry: ApiEntry
    leaf: str
    size_entries: int
    path_sha256: list[str]
    root_sha256: str


@dataclass(frozen=True, slots=True)
class ApiPointSeries:
    """Means per step of one point."""

    point: str
    values: list[float | None]


@dataclass(frozen=True, slots=True)
class ApiHistory:
    """Means per step on one axis; null where nothing good was heard."""

    start_utc: str
    step_ms: int
    times_ms: list[int]
    series: list[ApiPointSeries]


@router.get("/now")
def get_now(request: Request, _: Reader) -> ApiNow:
    """The whole village now: flows, stores, devices, alarms, next actions."""
    return api_now(desk_of(request).source.now())


@router.get("/alarms")
def get_alarms(request: Request, _: Reader) -> list[ApiAlarm]:
    """All alarms that are not normal."""
    return [_alarm(alarm) for alarm in desk_of(request).source.now().alarms]


@router.get("/plan")
def get_plan(request: Request, _: Reader) -> ApiPlan:
    """Forecast, plan and actual, and what each device is to do."""
    plan = desk_of(request).source.plan()
    blocks = [
        ApiBlock(row.device, iso(start), iso(end), label, mode, reason)
        for row in plan.rows
        for start, end, label, mode, reason in row.blocks
    ]
    series = [ApiSeries(one.name, one.unit, one.kind, list(one.values)) for one in plan.series]
    made = None if plan.made_at is None else iso(plan.made_at)
    return ApiPlan(
        iso(plan.at), plan.at, made, plan.status, plan.cost, plan.bound, plan.currency, list(plan.times), series,
        blocks, plan.used, plan.note, plan.cause, list(plan.days), list(plan.scores),
    )  # fmt: skip


@router.get("/homes/{home}")
def get_home(request: Request, _: Reader, home: Annotated[str, Path(max_length=100)]) -> ApiHome:
    """One household: used today, lifeline left, best hours, bill so far."""
    found = desk_of(request).source.home(home)
    if found is None:
        raise HTTPException(404, f"there is no home {home!r}")
    return ApiHome(
        found.id, found.label, iso(found.at), found.used_today_wh, found.exported_today_wh, found.local_share,
        found.lifeline_wh, found.lifeline_left_wh, found.water_today_ml, found.lifeline_ml, found.lifeline_left_ml,
        [ApiBestHour(iso(start), iso(end), why) for start, end, why in found.best_hours],
        iso(found.period_start),
        [ApiLine(line.text, line.quantity, line.price, line.amount) for line in found.lines],
        found.total, found.provisional, [ApiHour(iso(at), wh) for at, wh in found.hourly_wh],
    )  # fmt: skip


@router.get("/ledger/head")
def get_ledger_head(request: Request, _: Reader) -> ApiHead:
    """Size, root and signed checkpoint of the ledger."""
    head = desk_of(request).source.ledger_head()
    return ApiHead(iso(head.at), head.size, head.root, head.checkpoint)


@router.get("/ledger/entries")
def get_ledger_entries(
    request: Request,
    _: Reader,
    before: Annotated[int | None, Query(ge=0, le=SEQ_MAX, description="only entries with a smaller seq")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[ApiEntry]:
    """Entries, newest first."""
    return [_entry(entry) for entry in desk_of(request).source.ledger_entries(before, limit)]


@router.get("/ledger/entries/{seq}")
def get_ledger_entry(request: Request, _: Reader, seq: Annotated[int, Path(ge=0, le=SEQ_MAX)]) -> ApiProof:
    """One entry with its inclusion proof."""
    found = desk_of(request).source.ledger_entry(seq)
    if found is None:
        raise HTTPException(404, f"the ledger has no entry {seq}")
    return ApiProof(_entry(found.entry), found.leaf, found.size, list(found.path), found.root)


@router.get("/series")
def get_series(
    request: Request,
    _: Reader,
    point: Annotated[list[str], Query(min_length=1, max_length=POINTS_MAX, description="device/point, repeatable")],
    start: Annotated[str, Query(max_length=40, description="ISO 8601 with offset")],
    end: Annotated[str, Query(max_length=40, description="ISO 8601 with offset, exclusive")],
    step_ms: Annotated[int, Query(ge=1_000, le=DAY_MS)] = 900_000,
) -> ApiHistory:
    """Means per step of recorded points."""
    since, until = _instant("start", start), _instant("end", end)
    if not 0 < until - since <= SPAN_MS_MAX or (until - since) / step_ms > STEPS_MAX:
        raise HTTPException(422, f"end must follow start by at most 366 days and {STEPS_MAX} steps")
    found = desk_of(request).source.series([PointId(one) for one in point], since, until, step_ms)
    series = [ApiPointSeries(str(one), list(values)) for one, values in found.columns.items()]
    return ApiHistory(iso(since), step_ms, list(found.times), series)


def api_now(now: NowView) -> ApiNow:
    """Returns the JSON form of the Now view."""
    return ApiNow(
        version=now.version,
        at_utc=iso(now.at),
        site=now.site,
        timezone=now.timezone,
        mode=now.mode,
        simulated=now.simulated,
        clock=now.clock,
        speed_factor=now.speed,
        broker=now.broker,
        link=now.link,
        flows=[ApiFlow(flow.id, flow.label, flow.kind, _value(flow.power)) for flow in now.flows],
        battery_soc=_value(now.battery_soc),
        battery_reserve_fraction=now.battery_reserve,
        battery_hours_to_reserve=now.battery_hours,
        tank_level=_value(now.tank_level),
        tank_reserve_fraction=now.tank_reserve,
        tank_hours_to_reserve=now.tank_hours,
        devices=[_device(device) for device in now.devices],
        alarms=[_alarm(alarm) for alarm in now.alarms],
        next_actions=[ApiAction(iso(one.at), one.device, one.text, one.why) for one in now.next_actions],
        plan_status=now.plan_status,
        plan_age_ms=now.plan_age_ms,
        ledger_size_entries=now.ledger_size,
        ledger_root_sha256=now.ledger_root,
        counters=dict(now.counters),
    )


def _value(value: Value) -> ApiValue:
    return ApiValue(value.label, value.value, value.unit, value.quality.name.lower(), value.age_ms, value.simulated)


def _device(device: DeviceView) -> ApiDevice:
    values = [_value(value) for value in device.values]
    return ApiDevice(
        device.id,
        device.kind,
        device.label,
        device.online,
        values,
        device.setpoint,
        device.why,
        device.hold,
        device.ready,
    )


def _alarm(alarm: AlarmView) -> ApiAlarm:
    return ApiAlarm(
        alarm.id, alarm.state, alarm.priority, alarm.device, alarm.text, alarm.consequence, alarm.response,
        iso(alarm.since), alarm.acknowledged_by, alarm.code,
    )  # fmt: skip


def _entry(entry: LedgerEntry) -> ApiEntry:
    postings = [ApiPosting(one.account, one.asset, one.amount, one.unit) for one in entry.postings]
    return ApiEntry(entry.seq, iso(entry.at), entry.kind, entry.id, entry.text, postings)


def _instant(name: str, text: str) -> Instant:
    try:
        return parse_iso(text.replace(" ", "+"))  # an unescaped + arrives as a space
    except (ValueError, OverflowError) as error:
        raise HTTPException(422, f"{name}: {error}") from error
