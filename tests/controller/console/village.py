"""A whole village in memory: real view values, real Merkle proofs, commands that take effect."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

from controller.commands import (
    AcknowledgeAlarm,
    CancelStorm,
    Command,
    CommandResult,
    DeclareStorm,
    HoldDevice,
    MoneyRequest,
    OperateDevice,
    ReleaseDevice,
)
from controller.community_values import (
    CharterPage,
    CharterView,
    ClosingLine,
    MemberLine,
    MoneyPage,
    ProposalLine,
    ReceiptLine,
    VoteView,
)
from controller.console.source import (
    HomeEntry,
    LedgerBalance,
    LedgerEntry,
    LedgerHead,
    LedgerPosting,
    LedgerProof,
)
from controller.ledger.identity import SigningKey
from controller.store.series import PointRange, Series
from controller.storm import Check, Storm
from controller.storm_values import CurvePoint, RationRow, StormView
from controller.views import (
    AlarmView,
    BillLineView,
    DeviceView,
    FlowView,
    HomeView,
    NextAction,
    NowView,
    PlanDay,
    PlanRow,
    PlanSeries,
    PlanView,
    ScoreRow,
    Value,
    WorkRow,
    Writable,
)
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS, Instant, floor_to, parse_iso
from devices.model import PointId, Quality

KEY = SigningKey(bytes(31) + b"\7")
AT = parse_iso("2026-06-03T07:40:00Z")


def charter_page() -> CharterPage:
    facts = (("Sharing", "proportional"), ("Paid by the outside", "0.05 EUR/kWh"))
    changes = (("Sharing", "proportional", "rounds"), ("Paid by the outside", "0.05 EUR/kWh", "0.06 EUR/kWh"))
    first = VoteView(
        1, "Fair shares v2", "passed", Instant(AT - 9 * DAY_MS), Instant(AT - 2 * DAY_MS), Instant(AT - DAY_MS), "ana",
        2, ("home-01", "home-02"), ("home-03",), (), "4f" * 32, (),
    )  # fmt: skip
    second = VoteView(
        2, "Clinic first <v3>", "open", Instant(AT - DAY_MS), Instant(AT + DAY_MS), Instant(AT + 5 * DAY_MS), "ana",
        2, ("home-01",), (), ("home-02", "home-03"), "a0" * 32, changes,
    )  # fmt: skip
    charter = CharterView(2, Instant(AT - DAY_MS), 1, facts)
    return CharterPage(AT, charter, "A change needs 2 of 3 voters within 168 h", (second, first))


def money_page() -> MoneyPage:
    return MoneyPage(
        at=AT,
        accounts=(("till:cash", "120.50 EUR"), ("community:treasury", "-80.00 EUR")),
        budgets=(("repairs", "pump parts", "300.00 EUR"),),
        loans=(("Ana's house", "solar kit", "90.00 EUR of 120.00 EUR"),),
        proposals=(
            ProposalLine(
                2,
                "45.00 EUR to Pump Ltd",
                "open",
                ("ana",),
                "1 of 2 approvals are there",
                Instant(AT + DAY_MS),
                "b7" * 32,
                {"ben": "", "cleo": KEY.did},
            ),
            ProposalLine(1, "budget repairs: 300.00 EUR", "done", ("ana", "ben"), "", Instant(AT)),
        ),
        members=(
            MemberLine("Ana's house", "owes 41.20 EUR", "20.10 EUR", 12, "talk"),
            MemberLine("The clinic", "has 3.00 EUR credit", "", 0, ""),
        ),
        receipts=(ReceiptLine(7, AT, "Ana's house", "20.50 EUR", "bank", "B-17"),),
        receipts_all=7,
        closed=((Instant(AT - 30 * DAY_MS), "ana and ben"),),
        closing=ClosingLine("ana", "2026-05-31"),
        officers={"ana": "treasurer", "ben": "auditor", "cleo": "member"},
        keys={},
    )


def value(label: str, number: float | None, unit: str, quality: Quality = Quality.GOOD, age_ms: int = 1_000) -> Value:
    return Value(label, number, unit, quality, age_ms, simulated=True)


def watts(number: float | None, quality: Quality = Quality.GOOD, age_ms: int = 1_000) -> Value:
    return value("W", number, "W", quality, age_ms)


FLOWS = (
    FlowView("pv", "Solar", "pv", watts(-31_400)),
    FlowView("grid-1", "Grid", "grid", watts(-1_850)),
    FlowView("genset-1", "Diesel", "genset", watts(0)),
    FlowView("homes", "13 homes", "meter", watts(9_700)),
    FlowView("clinic", "Clinic", "meter", watts(2_150)),
    FlowView("battery-1", "Battery", "battery", watts(16_400)),
    FlowView("pump-1", "Well pump", "pump", watts(3_000)),
    FlowView("charger-1", "Charger", "charger", watts(2_000, Quality.STALE, 260_000)),
)

DEVICES = (
    DeviceView(
        "grid-1",
        "grid",
        "Grid connection",
        True,
        (watts(-1_850), value("V", 231.4, "V"), value("hz", 50.01, "Hz")),
        "",
        "",
        "",
    ),
    DeviceView(
        "battery-1",
        "battery",
        "Battery",
        True,
        (watts(16_400), value("soc", 0.62, "fraction")),
        "charge up to 40.0 kW",
        "solar surplus is cheaper than the evening band",
        "",
        writable=Writable("setpoint", "W", -40_000, 40_000),
    ),
    DeviceView(
        "genset-1",
        "genset",
        "Diesel generator",
        True,
        (watts(0), value("fuel", 0.78, "fraction"), value("running", 0, "")),
        "off",
        "the grid is there and cheaper",
        "",
        writable=Writable("setpoint", "W", -30_000, 0),
    ),
    DeviceView(
        "pump-1",
        "pump",
        "Well pump",
        True,
        (watts(3_000), value("flow_lpm", 89.5, "L/min")),
        "on",
        "fills the tank from surplus until 11:15",
        "",
        writable=Writable("on", "on/off", 0, 1),
    ),
    DeviceView(
        "tie",
        "breaker",
        "Breaker",
        True,
        (value("closed", 1.0, ""),),
        "",
        "",
        "",
        choices=((0.0, "open"), (1.0, "close")),
    ),
    DeviceView("tank-1", "tank", "Water tank", True, (value("level", 0.71, "fraction"),), "", "", ""),
    DeviceView(
        "charger-1",
        "charger",
        "Car charger",
        False,
        (watts(2_000, Quality.STALE, 260_000), value("soc", None, "fraction", Quality.BAD, 260_000)),
        "charge up to 2.0 kW",
        "ready by 07:00",
        "operator holds 2000 W until 10:05: car is needed at ten",
        writable=Writable("setpoint", "W", 0, 11_000),
    ),
    DeviceView(
        "pv-10",
        "pv",
        "Solar Jonas",
        True,
        (watts(-11_250), value("limit", 1.0, "fraction")),
        "no limit",
        "",
        "",
        writable=Writable("limit", "fraction", 0, 1),
    ),
    DeviceView("home-07", "meter", "Grete", True, (watts(640), value("V", 229.8, "V", Quality.UNCERTAIN)), "", "", ""),
    DeviceView("robot-1", "robot", "Field robot", True, (value("soc", 0.83, "fraction"),), "", "", "", "ready"),
    DeviceView(
        "drone-1", "drone", "Drone", True, (value("soc", 0.24, "fraction"),), "", "", "", "charging: 24 % is below 30 %"
    ),
)

ALARMS = (
    AlarmView(
        "charger-1/silent",
        "unacknowledged",
        "medium",
        "charger-1",
        "Car charger has not answered for 4 min",
        "The car may not be full by 07:00.",
        "Look at the charger's breaker; unit 106 on the bus.",
        Instant(AT - 4 * MINUTE_MS),
    ),
    AlarmView(
        "grid-1/limit",
        "acknowledged",
        "low",
        "grid-1",
        "Import was at 92 % of the feeder limit",
        "",
        "",
        Instant(AT - 9 * HOUR_MS),
        "Mele",
    ),
)


def now_view(**changes: object) -> NowView:
    """Returns the village at 09:40; any field may be changed."""
    view = NowView(
        version=1,
        at=AT,
        site="Motu village",
        timezone="Europe/Berlin",
        mode="auto",
        simulated=True,
        clock="synchronised",
        speed=60.0,
        broker="mosquitto 2.0.11, own child on 127.0.0.1:1883",
        link="live",
        flows=FLOWS,
        battery_soc=value("soc", 0.62, "fraction"),
        battery_reserve=0.25,
        battery_hours=None,
        tank_level=value("level", 0.71, "fraction"),
        tank_reserve=0.35,
        tank_hours=31.4,
        devices=DEVICES,
        alarms=ALARMS,
        next_actions=(
            NextAction(
                Instant(AT + 20 * MINUTE_MS),
                "robot-1",
                "Irrigation of the field",
                "solar surplus from 10:00, tank is above its reserve",
            ),
            NextAction(Instant(AT + 95 * MINUTE_MS), "pump-1", "Pump stops", "tank reaches 95 % at 11:15"),
            NextAction(
                Instant(AT + 140 * MINUTE_MS),
                "drone-1",
                "Parcel flight to the clinic",
                "surplus is largest from 12:00; battery is at 30 % by then",
            ),
            NextAction(
                Instant(AT + 8 * HOUR_MS), "battery-1", "Battery carries the evening", "evening band costs 0.42 EUR/kWh"
            ),
        ),
        plan_status="plan of 09:30, optimal, cost 12.31 EUR",
        plan_age_ms=600_000,
        ledger_size=0,
        ledger_root="",
        counters=(("rejected_messages", 0), ("rebirths", 1), ("dropped", 0), ("records_waiting", 3)),
    )
    return replace(view, **changes)  # type: ignore[arg-type]  # tests name fields of NowView


def plan_view(at: Instant = AT) -> PlanView:
    """Returns a day: six hours back, thirty ahead, in quarters."""
    start = floor_to(Instant(at - 6 * HOUR_MS), SLOT_MS)
    times = tuple(Instant(start + index * SLOT_MS) for index in range(36 * 4))
    hour = [((t / HOUR_MS) + 2) % 24 for t in times]
    sun = tuple(-max(0.0, 36_000 * math.sin((h - 5) / 16 * math.pi)) if 5 < h < 21 else 0.0 for h in hour)
    load = tuple(9_000 + 3_500 * math.sin((h - 8) / 3) + 7_000 * math.exp(-((h - 19.5) ** 2) / 3) for h in hour)
    battery = tuple(max(-22_000.0, min(22_000.0, -(s + one) * 0.9)) for s, one in zip(sun, load, strict=True))
    soc, level = [], 0.45
    for power in battery:
        level = min(0.97, max(0.12, level + power / 4 / 120_000 * 0.8))
        soc.append(level)

    def past(line: Sequence[float], wobble: float) -> tuple[float | None, ...]:
        return tuple(
            v * (1 + wobble * math.sin(i)) if t <= at else None
            for i, (t, v) in enumerate(zip(times, line, strict=True))
        )

    series = (
        PlanSeries("load forecast", "W", "forecast", load),
        PlanSeries("solar forecast", "W", "forecast", sun),
        PlanSeries("battery plan", "W", "plan", battery),
        PlanSeries("load low", "W", "band", tuple(0.8 * v for v in load)),
        PlanSeries("load high", "W", "band", tuple(1.2 * v for v in load)),
        PlanSeries("load", "W", "actual", past(load, 0.12)),
        PlanSeries("solar", "W", "actual", past(sun, 0.09)),
        PlanSeries("battery", "fraction", "plan", tuple(soc)),
        PlanSeries("tank", "fraction", "plan", tuple(0.6 + 0.2 * math.sin((h - 6) / 4) for h in hour)),
        PlanSeries("battery so far", "fraction", "actual", past(soc, 0.02)),
    )

    def block(since: float, hours: float, label: str, mode: str, why: str) -> tuple[Instant, Instant, str, str, str]:
        return Instant(at + round(since * HOUR_MS)), Instant(at + round((since + hours) * HOUR_MS)), label, mode, why

    rows = (
        PlanRow(
            "battery-1",
            "Battery",
            (
                block(-5, 4, "hold", "hold", "keeps the reserve for the morning"),
                block(-1, 8, "charge from sun", "follow", "surplus is worth 0.05, the evening 0.42 EUR/kWh"),
                block(7.5, 5, "carry the evening", "discharge", "evening band 0.42 EUR/kWh"),
                block(14, 6, "hold", "hold", "reserve for lifelines"),
            ),
        ),
        PlanRow("genset-1", "Diesel", ()),
        PlanRow(
            "pump-1",
            "Well pump",
            (block(-0.5, 2, "on", "on", "tank to 95 % from surplus"), block(23, 1.5, "on", "on", "tomorrow's surplus")),
        ),
        PlanRow(
            "charger-1",
            "Charger",
            (
                block(-0.2, 0.5, "held", "held", "operator: car is needed at ten"),
                block(9, 4, "charge", "on", "ready by 07:00; shares the cheap night"),
            ),
        ),
        PlanRow(
            "robot-1",
            "Field robot",
            (block(0.34, 1.5, "irrigation", "job", "surplus, inside the window 08:00 to 18:00"),),
        ),
        PlanRow("drone-1", "Drone", (block(2.4, 0.5, "parcel", "job", "largest surplus"),)),
    )
    work = (
        WorkRow("print-brackets.20260601", at, Instant(at + 3 * HOUR_MS), "workshop", "printer-1"),
        WorkRow("pump-check.20260601", None, None, "", "", "no crew can do fitting"),
    )
    return PlanView(
        at,
        Instant(at - 10 * MINUTE_MS),
        "optimal",
        12.31,
        12.24,
        "EUR",
        times,
        series,
        rows,
        work=work,
        used=False,
        note="rules: over the last 3 days they cost 30.00, plans 36.00",
        cause="forecast missed: 8.2 kW more net load than expected",
        days=(
            PlanDay("2026-06-03", 71.37, 80.24, 65.68, 73.26, 8.87, 5.69),
            PlanDay("2026-06-02", None, None, None, None, None, None, "not compared: there was an outage"),
        ),
        scores=(
            ScoreRow("load", 1.0, 187, 21_667.0, 4_600.0, 2_136.0, 4_627.0),
            ScoreRow("water", 1.0, 187, 275.0, 73.0, -5.0, 76.0),
        ),
    )


def storm_view(at: Instant = AT) -> StormView:
    """Returns a storm that comes in six hours, rationed."""
    chances = [max(0.0, 1.0 - h / 80) for h in range(97)]
    return StormView(
        at=at,
        timezone="Europe/Berlin",
        storm=Storm(Instant(at + 6 * HOUR_MS), Instant(at + 36 * HOUR_MS), "cyclone Vaianu", "ana", at),
        phase="ahead",
        causes=("storm warning: cyclone Vaianu",),
        ration="half",
        why="the mildest that serves every lifeline for 30 h with 95% (97%); one step milder: 40%",
        needed_h=30.0,
        curve_from=Instant(at + 6 * HOUR_MS),
        curve=tuple(CurvePoint(h, c, c, 1.0, c * c) for h, c in enumerate(chances)),
        rations=(
            RationRow("none", "everybody gets what they ask for", (), (), 0.1, 11.0, holds=False),
            RationRow("half", "lifelines and half", ("charger-1",), ("2 kWh a day",), 0.97, 44.0, holds=True),
        ),
        checklist=(
            Check("tank-1", 0.95, 0.84, False, "tank-1 reaches 84% of 95%"),
            Check("battery-1", 0.97, 0.97, True, "battery-1 is charged (97%)"),
        ),
        restart=(("pump-1",), ("charger-1",)),
        restart_refused=(("mill-1", "its start needs 54000 W and 27000 W are left"),),
        futures=32,
    )


def home_view(home: str = "home-07", label: str = "Grete", at: Instant = AT) -> HomeView:
    """Returns one household's page."""
    start = floor_to(Instant(at - DAY_MS), HOUR_MS)
    hourly = tuple(
        (Instant(start + i * HOUR_MS), 180 + round(420 * math.exp(-((i - 10) ** 2) / 6)) + 40 * (i % 3))
        for i in range(24)
    )
    return HomeView(
        id=home,
        label=label,
        at=at,
        used_today_wh=2_140,
        exported_today_wh=5_320,
        local_share=0.87,
        lifeline_wh=2_000,
        lifeline_left_wh=640,
        water_today_ml=64_000,
        lifeline_ml=150_000,
        lifeline_left_ml=86_000,
        best_hours=(
            (
                Instant(at + HOUR_MS),
                Instant(at + 5 * HOUR_MS),
                "the sun gives more than the village uses: 0.14 EUR/kWh",
            ),
            (Instant(at + 26 * HOUR_MS), Instant(at + 30 * HOUR_MS), "tomorrow's noon surplus"),
        ),
        period_start=Instant(at - 9 * HOUR_MS - 40 * MINUTE_MS),
        lines=(
            BillLineView("Lifeline energy", "1.360 kWh", "0.06 EUR/kWh", "0.08 EUR"),
            BillLineView("Energy from the village", "0.780 kWh", "0.14 EUR/kWh", "0.11 EUR"),
            BillLineView("Energy given", "−5.320 kWh", "0.14 EUR/kWh", "−0.74 EUR"),
            BillLineView("Lifeline water", "0.064 m³", "0.50 EUR/m³", "0.03 EUR"),
        ),
        total="−0.52 EUR",
        provisional=True,
        hourly_wh=hourly,
    )


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Returns the RFC 9162 root, straight from its definition."""
    if not leaves:
        return _hash(b"")
    if len(leaves) == 1:
        return _hash(b"\x00" + leaves[0])
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return _hash(b"\x01" + root_of(leaves[:split]) + root_of(leaves[split:]))


def path_of(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Returns the RFC 9162 inclusion path, straight from its definition."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*path_of(index, leaves[:split]), root_of(leaves[split:])]
    return [*path_of(index - split, leaves[split:]), root_of(leaves[:split])]


class Village:
    """A ConsoleSource in memory."""

    def __init__(self, entries: int = 61) -> None:
        self.view = now_view()
        self.plan_value = plan_view()
        self.storm_value = storm_view()
        self.charter_value, self.money_value = charter_page(), money_page()
        self.commands: list[Command] = []
        self.samples: dict[PointId, PointRange] = {}
        self.home_labels = {
            f"home-{n:02d}": name
            for n, name in enumerate(
                (
                    "Anahera",
                    "Bruno",
                    "Chloe",
                    "Dilan",
                    "Efua",
                    "Farid",
                    "Grete",
                    "Hemi",
                    "Ines",
                    "Jonas",
                    "Kiri",
                    "Lupe",
                    "Mosese",
                ),
                1,
            )
        }
        self.entries: list[LedgerEntry] = []
        self.leaves: list[str] = []
        self.alter: int | None = None  # this entry's bytes are shown altered
        self._changed = threading.Condition()
        for seq in range(entries):
            kind = ("energy", "checkpoint", "command", "bill")[seq % 4]
            postings = (
                LedgerPosting("home:home-07", "energy", "−1.250000", "kWh"),
                LedgerPosting("community", "energy", "1.250000", "kWh"),
            )
            self.append(kind, f"{kind} number {seq}", postings if kind == "energy" else ())

    def append(self, kind: str, text: str, postings: tuple[LedgerPosting, ...] = ()) -> None:
        seq = len(self.entries)
        entry = LedgerEntry(
            seq, Instant(AT - (200 - seq) * SLOT_MS), kind, f"01890a5d-ac96-774b-bcce-{seq:012x}", text, postings
        )
        self.entries.append(entry)
        self.leaves.append(
            json.dumps(
                {"at": entry.at, "id": entry.id, "kind": kind, "text": text, "v": 1},
                ensure_ascii=False,
                separators=(",", ":"),
                sort_keys=True,
            )
        )
        self.change(ledger_size=seq + 1, ledger_root=self._root())

    def change(self, **fields: object) -> None:
        with self._changed:
            self.view = replace(self.view, version=self.view.version + 1, **fields)  # type: ignore[arg-type]  # as in now_view
            self._changed.notify_all()

    def _root(self) -> str:
        return root_of([leaf.encode() for leaf in self.leaves]).hex()

    def now(self) -> NowView:
        return self.view

    def storm(self) -> StormView:
        return self.storm_value

    def charter(self) -> CharterPage:
        return self.charter_value

    def ballot(self, number: int, choice: str) -> Mapping[str, object] | None:
        return {"vote": "x", "choice": choice} if number == 2 else None

    def vote_file(self, number: int) -> bytes | None:
        return b'{"atoll_vote":1}' if number == 1 else None

    def money(self) -> MoneyPage:
        return self.money_value

    def close_paper(self, period: str) -> Mapping[str, object] | None:
        return {"trial": "00", "until": 1} if period == "2026-06" else None

    def plan(self, known: Instant | None = None) -> PlanView:
        if known is not None:
            return replace(self.plan_value, at=known, known=known)
        return self.plan_value

    def homes(self) -> tuple[HomeEntry, ...]:
        return tuple(HomeEntry(id, label, 2_140, 640) for id, label in self.home_labels.items())

    def home(self, home: str) -> HomeView | None:
        return home_view(home, self.home_labels[home]) if home in self.home_labels else None

    def ledger_head(self) -> LedgerHead:
        note = (
            f"atoll.example/village\n{len(self.leaves)}\n8GVHYNb0WQbZJcFUJ0yqFc7sP0f4YF3nLZ2v0R4m1oA=\n"
            "\n— atoll.example/village pmpZ0Wk0XWc="
        )
        return LedgerHead(AT, len(self.leaves), self._root(), note)

    def ledger_entries(self, before: int | None, limit: int) -> tuple[LedgerEntry, ...]:
        end = len(self.entries) if before is None else min(before, len(self.entries))
        return tuple(reversed(self.entries[max(0, end - limit) : end]))

    def ledger_entry(self, seq: int) -> LedgerProof | None:
        if not 0 <= seq < len(self.entries):
            return None
        leaf = self.leaves[seq]
        shown = leaf.replace("number", "nummer") if seq == self.alter else leaf
        path = path_of(seq, [one.encode() for one in self.leaves])
        return LedgerProof(self.entries[seq], shown, len(self.leaves), tuple(part.hex() for part in path), self._root())

    def ledger_balances(self) -> tuple[LedgerBalance, ...]:
        return (
            LedgerBalance("home:home-07", "Grete", "money", "−0.52", "EUR"),
            LedgerBalance("community", "Motu cooperative", "money", "0.52", "EUR"),
            LedgerBalance("home:home-07", "Grete", "energy", "−12.500000", "kWh"),
            LedgerBalance("community", "Motu cooperative", "energy", "12.500000", "kWh"),
        )

    def series(self, points: Sequence[PointId], start: Instant, end: Instant, step_ms: int) -> Series:
        times = tuple(Instant(at) for at in range(start, end, step_ms))
        return Series(times, {point: tuple(float(i) for i in range(len(times))) for point in points})

    def ranges(self, points: Sequence[PointId], start: Instant, end: Instant) -> dict[PointId, PointRange]:
        return {point: self.samples.get(point, PointRange((), (), ())) for point in points}

    def command(self, command: Command) -> CommandResult:
        if any(one.id == command.id for one in self.commands):
            return CommandResult(command.id, True, "duplicate", "This was done already.")
        self.commands.append(command)
        match command:
            case AcknowledgeAlarm():
                alarms = tuple(
                    replace(a, state="acknowledged", acknowledged_by=command.actor.name) if a.id == command.alarm else a
                    for a in self.view.alarms
                )
                self.change(alarms=alarms)
                return CommandResult(command.id, True, "ok", "The alarm is acknowledged.")
            case HoldDevice():
                text = f"operator holds {command.value:g} until later: {command.reason}"
                self._hold(command.device, text)
                return CommandResult(command.id, True, "ok", f"{command.device} is held.")
            case OperateDevice(step="select"):
                return CommandResult(command.id, True, "ok", f"{command.device} is closed. The village would be alone.")
            case OperateDevice():
                known = any(one.id == command.selection for one in self.commands)
                return CommandResult(command.id, known, "ok" if known else "not-selected", f"{command.device} is told.")
            case ReleaseDevice():
                self._hold(command.device, "")
                return CommandResult(command.id, True, "ok", f"{command.device} follows the plan again.")
            case DeclareStorm() | CancelStorm():
                return CommandResult(command.id, True, "ok", "The storm is noted.")
            case MoneyRequest():
                return CommandResult(command.id, False, "unknown-request", "This village has no ledger to book in.")

    def _hold(self, device: str, text: str) -> None:
        self.change(devices=tuple(replace(d, hold=text) if d.id == device else d for d in self.view.devices))

    def changed(self, version: int, timeout_s: float) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self.view.version > version, timeout_s)
            return self.view.version
