"""What people see: frozen values made by the core each cycle; console pages, API and `atoll status` only render them.

No value stands without unit, quality and age.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.clock import Instant
from devices.model import Quality


@dataclass(frozen=True, slots=True)
class Value:
    """One number as shown. `value` is None when there is none to trust."""

    label: str
    value: float | None
    unit: str
    quality: Quality
    age_ms: int
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class FlowView:
    """One bar of the power-flow picture; W by the sign rule (positive = into the device)."""

    id: str
    label: str  # "13 homes", "Solar", "Battery", "Diesel", "Grid", "Pump", "Charger"
    kind: str
    power: Value


@dataclass(frozen=True, slots=True)
class Writable:
    """The one point of a device that an operator may hold, with its unit and range."""

    point: str
    unit: str  # "W", "fraction" or "on/off"
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device: what it reports and what it was last told."""

    id: str
    kind: str
    label: str
    online: bool
    values: tuple[Value, ...]
    setpoint: str  # "charge up to 12.0 kW" or ""
    why: str  # reason of the setpoint
    hold: str  # "operator holds 2000 W until 10:05: cleaning" or ""
    ready: str = ""  # vehicles: "ready", or the first reason why not
    writable: Writable | None = None  # None: nothing here can be held
    choices: tuple[tuple[float, str], ...] = ()  # (value, verb) that are operated in two steps


@dataclass(frozen=True, slots=True)
class AlarmView:
    """One alarm in the words that an operator needs."""

    id: str
    state: str  # ISA-18.2: unacknowledged, acknowledged, returned-unacknowledged, ...
    priority: str  # low, medium, high
    device: str
    text: str
    consequence: str
    response: str
    since: Instant
    acknowledged_by: str = ""
    code: str = ""  # of `atoll help`


@dataclass(frozen=True, slots=True)
class NextAction:
    """What happens next and why."""

    at: Instant
    device: str
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class NowView:
    """The Now page and `atoll status`."""

    version: int  # grows with every change: the live stream sends it as event id
    at: Instant
    site: str
    timezone: str
    mode: str  # auto, hold, simulated
    simulated: bool
    clock: str  # synchronised, holdover, unknown
    speed: float
    broker: str  # which broker and what it cannot do
    link: str  # live, stale, lost
    flows: tuple[FlowView, ...]
    battery_soc: Value
    battery_reserve: float
    battery_hours: float | None  # to the reserve at the present power
    tank_level: Value
    tank_reserve: float
    tank_hours: float | None  # to the reserve at the expected demand, without pumping
    devices: tuple[DeviceView, ...]
    alarms: tuple[AlarmView, ...]
    next_actions: tuple[NextAction, ...]
    plan_status: str  # "plan of 09:30, optimal, cost 12.31" or "rules only: planner timed out"
    plan_age_ms: int | None
    ledger_size: int
    ledger_root: str
    counters: tuple[tuple[str, int], ...]  # rejected messages, rebirths, dropped, ...


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One device's row of the Gantt picture: (start, end, label, mode, reason) blocks."""

    device: str
    label: str
    blocks: tuple[tuple[Instant, Instant, str, str, str], ...]


@dataclass(frozen=True, slots=True)
class PlanSeries:
    """One line on the common time axis; times in `PlanView.times`, None where unknown."""

    name: str  # "load forecast", "load actual", "solar forecast", "battery plan", ...
    unit: str
    kind: str  # forecast, plan, actual
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class WorkRow:
    """One line of the work list: who does what with which machine, or why it is left out (then without times)."""

    what: str
    starts: Instant | None
    ends: Instant | None
    who: str
    machine: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class PlanDay:
    """One closed day on the planner's objective [money, less is better]; None where it is not known."""

    day: str
    plan: float | None
    rules: float | None
    hindsight: float | None
    metered: float | None
    saving: float | None  # rules less plan
    regret: float | None  # plan less hindsight
    note: str = ""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """How far a forecast has been off, so many hours ahead; W, or L a quarter hour for water."""

    series: str
    ahead_h: float
    count: int
    mean: float
    mae: float
    bias: float  # actual less forecast
    naive_mae: float  # of `as a day before`


@dataclass(frozen=True, slots=True)
class PlanView:
    """Forecast, plan and actual on one axis, and what each device does next and why."""

    at: Instant
    made_at: Instant | None
    status: str
    cost: float | None
    bound: float | None
    currency: str
    times: tuple[Instant, ...]
    series: tuple[PlanSeries, ...]
    rows: tuple[PlanRow, ...]
    used: bool = True  # whether the plan is followed
    note: str = ""  # why it is, or why not
    cause: str = ""  # what asked for it
    days: tuple[PlanDay, ...] = ()  # closed days, the newest first
    scores: tuple[ScoreRow, ...] = ()
    known: Instant | None = None  # the page shows what was known then
    work: tuple[WorkRow, ...] = ()
    remarks: tuple[str, ...] = ()  # limits that are not kept, what is shed, what was odd about the question
    forecast: str = ""  # who forecasts, and what the weather file does
    quality: str = ""  # how far the plan is from the best that there can be


@dataclass(frozen=True, slots=True)
class BillLineView:
    """One line of a bill so far: quantity x price = amount, exact text."""

    text: str
    quantity: str
    price: str
    amount: str


@dataclass(frozen=True, slots=True)
class HomeView:
    """A household's own page."""

    id: str
    label: str
    at: Instant
    used_today_wh: int
    exported_today_wh: int
    local_share: float | None  # fraction of today's energy that came from the community
    lifeline_wh: int
    lifeline_left_wh: int
    water_today_ml: int
    lifeline_ml: int
    lifeline_left_ml: int
    best_hours: tuple[tuple[Instant, Instant, str], ...]  # of the next day, with why
    period_start: Instant
    lines: tuple[BillLineView, ...]
    total: str
    provisional: bool
    hourly_wh: tuple[tuple[Instant, int], ...]  # the last 24 h
