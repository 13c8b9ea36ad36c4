"""Named runs as drafts of entries: final per meter-day, bills per period, corrections of either.

A draft has everything but id and time; the books compare it with what stands in the log, so that a repeated
run writes nothing and a correction touches only what changed. Every draft is a pure function of records,
charter, tariff table and members.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.ledger.canonical import Json, encode
from controller.ledger.entries import Posting
from controller.ledger.merkle import leaf_hash, root_of
from controller.settlement.accounts import (
    bill_postings,
    closing_postings,
    day_postings,
    dividend_postings,
    grid_postings,
)
from controller.settlement.bills import (
    BodyBroken,
    Line,
    day_lines,
    exact,
    member_day_fields,
    merge,
    minor_text,
    parse_member_day,
    round_minor,
)
from controller.settlement.charter import Charter, Member
from controller.settlement.clauses import (
    ClauseDay,
    StoragePeriod,
    clause_day,
    dividend,
    dividend_steps,
    grid_cost,
    period_lines,
    service_lines,
)
from controller.settlement.intervals import Method, PointDay
from controller.settlement.prices import NO_EXCHANGE, PeriodTotals
from controller.settlement.sharing import GridDay, MemberDay, SlotTotals, grid_day, member_day, slot_totals
from controller.settlement.storage import NOTHING_STORED, StorageTotals, grid_fields, summed
from controller.settlement.tariff import LocalDay
from devices.units import UWH_PER_WH

SETTLE_DAY = "settle.day"
SETTLE_GRID = "settle.grid"
RUN_DAY = "run.day"
BILL = "bill"
RUN_BILL = "run.bill"
DIVIDEND = "dividend"
DELIVERY, DELIVERED = "delivery", "done"
"""Kind and state of the entry by which the hub notes that something has arrived."""
NO_SALTS: Mapping[str, str] = {}
RUN_KINDS = (SETTLE_DAY, SETTLE_GRID, RUN_DAY, BILL, DIVIDEND, RUN_BILL)
_UNNAMED = frozenset({Method.GAP, Method.GATEWAY})
"""A day with only these says no methods: ledgers from before there were others do not."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Who settles with whom by what: one published charter entry."""

    charter: Charter
    members: tuple[Member, ...]
    grid_point: str

    def energy_points(self) -> tuple[str, ...]:
        """Returns the usage points whose energy is shared, the grid meter not among them."""
        return tuple(point for member in self.members for point in member.usage_points)

    def water_points(self) -> tuple[str, ...]:
        """Returns the usage points whose water is billed."""
        return tuple(point for member in self.members for point in member.water_points)

    def points(self) -> tuple[str, ...]:
        """Returns every usage point that a meter-day waits for."""
        return (*self.energy_points(), *((self.grid_point,) if self.grid_point else ()), *self.water_points())


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry of a run before it has an id; (kind, member) names it within its period."""

    kind: str
    member: str
    postings: tuple[Posting, ...]
    body: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class DayResult:
    """One settled meter-day."""

    totals: SlotTotals
    members: Mapping[str, MemberDay]
    grid: GridDay
    held: tuple[tuple[str, str], ...]  # (usage point, why) of what is quarantined
    estimated: int  # slots
    drafts: tuple[Draft, ...]  # members in order, then the grid, then the run itself


@dataclass(frozen=True, slots=True)
class Rest:
    """What is known of members whose data were erased when their day is settled again for the others."""

    points: tuple[str, ...]  # every usage point of the day, in the order of the rules
    totals: SlotTotals  # theirs alone
    days: tuple[MemberDay, ...]  # as their postings have it
    held: Mapping[str, str]
    estimated: Mapping[str, int]
    records: int
    leaves: Mapping[str, bytes]  # of the run's inputs, by usage point


@dataclass(frozen=True, slots=True)
class BilledDay:
    """What a bill needs of a settled day, read back from the log."""

    day: str
    charter: Charter
    members: Mapping[str, MemberDay]
    grid_cost: int
    held: Mapping[str, Sequence[str]]  # member -> usage points that were held back
    lines: Mapping[str, tuple[Line, ...]] = field(default_factory=dict[str, tuple[Line, ...]])  # of a voted charter
    exchange: PeriodTotals = NO_EXCHANGE
    premium: int = 0
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])  # deliveries, ...
    keeper: str = ""  # of the storages whose result the charter divides
    storage: StorageTotals = NOTHING_STORED
    parts: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])  # deposited, used

    def lines_of(self, member: str) -> tuple[Line, ...]:
        """Returns a member's lines of this day."""
        if self.charter.clauses is None:
            return day_lines(self.charter, self.members[member])
        return (*self.lines.get(member, ()), *service_lines(self.charter, self.counts.get(member, {})))


def settle_day(
    rules: Rules, charter_id: str, day: LocalDay, bands: Sequence[int], points: Mapping[str, PointDay],
    salts: Mapping[str, str] = NO_SALTS, rest: Rest | None = None,
) -> DayResult:  # fmt: skip
    """Returns one meter-day settled for everybody; `points` holds every expected usage point.

    `salts` are hex texts by usage point, of those whose registers nobody shall be able to guess from the log's hashes.
    With a `rest`, `rules` and `points` are those of the others.

    Raises:
        ValueError: the tariff table and the day disagree about the number of slots.
    """
    if len(bands) != day.slots:
        raise ValueError(f"{day.name} has {day.slots} slots, the tariff table {len(bands)}")
    totals = slot_totals([points[name] for name in rules.energy_points()], day.slots)
    if rest is not None:
        sums = (zip(totals.taken, rest.totals.taken, strict=True), zip(totals.given, rest.totals.given, strict=True))
        totals = SlotTotals(*(tuple(map(sum, rows)) for rows in sums))
    clauses = None
    if rules.charter.clauses is not None:
        clauses = clause_day(rules.charter, day.start, bands, rules.members, points)
        members = clauses.members
    else:
        members = {member.id: member_day(rules.charter, bands, totals, member, points) for member in rules.members}
    meter = points.get(rules.grid_point)
    grid = grid_day(rules.charter, bands, totals, meter)
    if clauses is not None:
        prices = [rules.charter.bands[band].import_price for band in bands]
        grid = replace(grid, cost=grid_cost(rules.charter, grid, totals, prices))
    head: dict[str, Json] = {"day": day.name, "start": day.start, "end": day.end, "charter": charter_id}
    drafts = [
        Draft(
            SETTLE_DAY,
            member.id,
            day_postings(member.id, members[member.id]),
            _day_body(head, member, members, points, salts) | _clause_lines(clauses, member.id),
        )
        for member in rules.members
    ]
    drafts.append(
        Draft(
            SETTLE_GRID,
            "",
            grid_postings(grid, [*members.values(), *(() if rest is None else rest.days)]),
            _grid_body(head, grid, meter) | _exchange(clauses),
        )
    )
    run, held = _run_body(head, totals, rules.points(), points, salts, rest)
    if clauses is not None:
        run["public"] = clauses.public
    drafts.append(Draft(RUN_DAY, "", (), run))
    return DayResult(totals, members, grid, held, sum(point.estimated for point in points.values()), tuple(drafts))


@dataclass(frozen=True, slots=True)
class Fixed:
    """Bills that stand whatever is settled again: whose, and what they come to together."""

    members: frozenset[str] = frozenset()
    billed: int = 0  # minor units
    exact: int = 0


NOTHING_FIXED = Fixed()


def settle_period(
    rules: Rules, name: str, days: Sequence[BilledDay], fixed: Fixed = NOTHING_FIXED
) -> tuple[Draft, ...]:
    """Returns the bills of a period, one per member but those that are fixed, and the entry that closes it.

    Money is rounded once per bill; the sum of the exact amounts is rounded once too, and the difference goes
    to the visible rounding account.
    """
    charter = rules.charter
    head: dict[str, Json] = {"period": name, "days": [day.day for day in days]}
    drafts: list[Draft] = []
    billed, numerator = fixed.billed, fixed.exact
    present = {member.id for member in rules.members}
    for member in [one for one in _billed(rules, days) if one.id not in fixed.members]:
        lines = merge(
            [*(day.lines_of(member.id) for day in days if member.id in day.members), *_whole(rules, member.id, days)]
        )
        amount = round_minor(exact(lines), charter.minor_digits)
        billed += amount
        numerator += exact(lines)
        held = [[day.day, point] for day in days for point in day.held.get(member.id, ())]
        body: dict[str, Json] = {
            **head,
            "member": member.id,
            "lines": [line_fields(line) for line in lines],
            "exact": str(exact(lines)),
            "amount": str(amount),
            "held": held,
        }
        if member.id not in present:
            body["final"] = True
        drafts.append(Draft(BILL, member.id, bill_postings(charter, member.id, amount), body))
    cost = sum(day.grid_cost for day in days) * UWH_PER_WH - sum(day.premium for day in days)
    outside = round_minor(cost, charter.minor_digits)
    total = round_minor(numerator, charter.minor_digits)
    closing: dict[str, Json] = {
        **head,
        "billed": str(billed),
        "exact": str(numerator),
        "rounding": str(total - billed),
        "outside": str(outside),
    }
    gain, paid = total - outside, dividend(charter, total - outside, rules.members)
    for member, each in paid.items():
        body = {
            **head,
            "member": member,
            "clause": "[dividend] permille",
            "gain": str(gain),
            "arithmetic": dividend_steps(charter, gain, len(paid), each),
            "text": f"dividend {name}: {minor_text(each, charter)}",
        }
        drafts.append(Draft(DIVIDEND, member, dividend_postings(charter, member, each), body))
    drafts.append(Draft(RUN_BILL, "", closing_postings(charter, billed, total, outside), closing))
    return tuple(drafts)


def _billed(rules: Rules, days: Sequence[BilledDay]) -> list[Member]:
    """Returns who gets a bill: the members at the end of the period, then those who have left in it."""
    present = {member.id for member in rules.members}
    gone = {name: None for day in days for name in day.members if name not in present}
    return [*rules.members, *(Member(name, name, (), ()) for name in gone)]


def _whole(rules: Rules, member: str, days: Sequence[BilledDay]) -> Iterator[tuple[Line, ...]]:
    """Yields the lines that voted charters reckon over all their days of the period."""
    charters = {day.charter.version: day.charter for day in days if day.charter.clauses is not None}
    for version, charter in charters.items():
        own = [day for day in days if day.charter.version == version and member in day.members]
        if own:
            rows = [_totals_row(day.exchange) for day in days if day.charter.version == version]
            exchange = PeriodTotals(*map(sum, zip(*rows, strict=True)))
            whole_bill = version == rules.charter.version
            of_all = _sum_days([day.members[member] for day in own])
            yield period_lines(charter, exchange, of_all, _storage(days, version, member), whole_bill=whole_bill)


def _storage(days: Sequence[BilledDay], version: int, member: str) -> StoragePeriod:
    """Returns a period's storages under one charter; who keeps them on its last day passes their result on."""
    mine = [day for day in days if day.charter.version == version]
    parts = [day.parts.get(member, (0, 0)) for day in mine]
    own = sum(part[0] for part in parts), sum(part[1] for part in parts)
    return StoragePeriod(summed(day.storage for day in mine), own, mine[-1].keeper == member)


def _totals_row(totals: PeriodTotals) -> tuple[int, int, int, int]:
    return totals.taken, totals.given, totals.cost, totals.income


def _sum_days(days: Sequence[MemberDay]) -> MemberDay:
    """Returns the energy of several days as one, outside and water left out."""
    return MemberDay(
        sum(day.lifeline for day in days), sum(day.local for day in days), (), sum(day.sold for day in days),
        sum(day.exported for day in days), 0, 0, sum(day.from_local for day in days),
        sum(day.from_outside for day in days),
    )  # fmt: skip


def _clause_lines(clauses: ClauseDay | None, member: str) -> dict[str, Json]:
    if clauses is None:
        return {}
    lines: dict[str, Json] = {"lines": [line_fields(line) for line in clauses.lines[member]]}
    return (
        lines if clauses.storage is None else lines | {"storage": [str(part) for part in clauses.storage.parts[member]]}
    )


def _exchange(clauses: ClauseDay | None) -> dict[str, Json]:
    if clauses is None:
        return {}
    rows: dict[str, Json] = {"exchange": [str(part) for part in _totals_row(clauses.exchange)]}
    return rows | {"premium": str(clauses.premium)} | grid_fields(clauses.storage)


def parse_lines(body: Mapping[str, Json]) -> tuple[Line, ...]:
    """Returns the lines in the body of a day that a voted charter settled; none of any other day."""
    rows = body.get("lines")
    return tuple(parse_line(row) for row in rows if isinstance(row, Mapping)) if isinstance(rows, list) else ()


def parse_exchange(body: Mapping[str, Json]) -> tuple[PeriodTotals, int]:
    """Returns (exchange, premium) in the body of a `settle.grid` entry; nothing where a site file's charter held."""
    rows = body.get("exchange")
    if not isinstance(rows, list) or len(rows) != 4:
        return NO_EXCHANGE, 0
    taken, given, cost, income = (int(str(row)) for row in rows)
    return PeriodTotals(taken, given, cost, income), int(str(body.get("premium", "0")))


def line_fields(line: Line) -> dict[str, Json]:
    """Returns a bill line as the log holds it."""
    return {"text": line.text, "quantity": str(line.quantity), "unit": line.unit, "price": str(line.price)}


def parse_line(fields: Mapping[str, Json]) -> Line:
    """Returns the bill line in a log body."""
    return Line(str(fields["text"]), int(str(fields["quantity"])), str(fields["unit"]), int(str(fields["price"])))


def parse_day(body: Mapping[str, Json]) -> MemberDay:
    """Returns the quantities in the body of a `settle.day` entry.

    Raises:
        ValueError: they are not there (BodyBroken) or no decimal strings.
    """
    quantities = body.get("quantities")
    if not isinstance(quantities, Mapping):
        raise BodyBroken(f"quantities are {quantities!r}, not an object")
    return parse_member_day(quantities)


def _day_body(
    head: Mapping[str, Json], member: Member, members: Mapping[str, MemberDay], points: Mapping[str, PointDay],
    salts: Mapping[str, str],
) -> dict[str, Json]:  # fmt: skip
    own = [points[name] for name in (*member.usage_points, *member.water_points)]
    methods: list[Json] = [[point.point, str(method), count] for point in own for method, count in point.methods]
    if {method for point in own for method, _ in point.methods} <= _UNNAMED:
        methods = []
    return {
        **head,
        **({"methods": methods} if methods else {}),
        "member": member.id,
        "quantities": member_day_fields(members[member.id]),
        "estimated": sum(point.estimated for point in own),
        "held": [[point.point, point.quarantine.value] for point in own if point.quarantine],
        "inputs": [_input(point, salts) for point in own],
    }


def _grid_body(head: Mapping[str, Json], grid: GridDay, meter: PointDay | None) -> dict[str, Json]:
    return {
        **head,
        "import_wh": str(grid.import_wh),
        "export_wh": str(grid.export_wh),
        "cost": str(grid.cost),
        "estimated": grid.estimated,
        "inputs": [] if meter is None else [_input(meter, NO_SALTS)],
    }


def _run_body(
    head: Mapping[str, Json], totals: SlotTotals, names: Sequence[str], points: Mapping[str, PointDay],
    salts: Mapping[str, str], rest: Rest | None,
) -> tuple[dict[str, Json], tuple[tuple[str, str], ...]]:  # fmt: skip
    """Returns the public body of a run, and (usage point, why) of what is held back."""
    why = {name: point.quarantine.value for name, point in points.items() if point.quarantine}
    filled = {name: point.estimated for name, point in points.items() if point.estimated}
    leaves = {name: leaf_hash(encode(_input(points[name], salts))) for name in names}
    records = sum(points[name].records for name in names)
    if rest is not None:
        names, records = rest.points, records + rest.records
        why, filled, leaves = {**why, **rest.held}, {**filled, **rest.estimated}, {**leaves, **rest.leaves}
    held = tuple((name, why[name]) for name in names if name in why)
    body: dict[str, Json] = {
        **head,
        "taken": list(totals.taken),
        "given": list(totals.given),
        "held": [[name, reason] for name, reason in held],
        "estimated": [[name, filled[name]] for name in names if name in filled],
        "records": records,
        "input_root": root_of([leaves[name] for name in names]).hex(),
    }
    return body, held


def _input(point: PointDay, salts: Mapping[str, str]) -> list[Json]:
    """Returns [usage point, records, root of their leaves], and the salt if there is one: what the run commits to.

    The log shows the hash of this; without the salt a day without use could be found by trying registers.
    """
    salt = salts.get(point.point)
    return [point.point, point.records, point.root.hex(), *([salt] if salt else [])]


def salted_in(body: Mapping[str, Json]) -> dict[str, str]:
    """Returns the salts in the body of a day's entry, by usage point."""
    inputs = body.get("inputs")
    rows = [row for row in inputs if isinstance(row, list)] if isinstance(inputs, list) else []
    return {str(row[0]): str(row[3]) for row in rows if len(row) == 4}
