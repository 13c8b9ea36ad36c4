"""What a simulation did: energies, money, lifelines, plan against actual; pure arithmetic over records and truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from controller.beliefs import DayResult, Score
from controller.civil import clock_text
from controller.outside import band_price
from controller.site import Site
from devices.clock import SLOT_MS, Instant
from devices.model import DeviceKind, IntervalRecord
from devices.simulated import HomeDay, Truth

WH_PRICE_DIVISOR = 1_000 * 1_000_000
"""Wh x micro-units per kWh, divided by this, are major units."""
ALARMS_NAMED = 4
"""A terminal's line of alarms of one kind names so many of what they were about; the JSON object has all."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What the community paid to and got from the outside [minor units]; cost = import - export + diesel."""

    import_minor: int
    export_minor: int
    diesel_minor: int

    @property
    def cost_minor(self) -> int:
        """Returns the net payment to the outside."""
        return self.import_minor - self.export_minor + self.diesel_minor


def outside_payment(site: Site, records: Iterable[IntervalRecord]) -> Outside:
    """Returns the net payment from the meters' records, each part rounded once, half to even.

    Grid energy by the charter's bands and export price, diesel by the genset's rated prices per kWh and running hour.
    """
    grids = {device.id for device in site.of_kind(DeviceKind.GRID)}
    gensets = {device.id: device for device in site.of_kind(DeviceKind.GENSET)}
    bought = sold = 0
    diesel = 0.0
    for record in records:
        if record.usage_point in grids:
            bought += record.import_delta * band_price(site, record.start)
            sold += record.export_delta * site.charter_at(record.start).export_price
        elif record.usage_point in gensets and record.export_delta > 0:
            ratings = next(device.ratings for name, device in gensets.items() if name == record.usage_point)
            diesel += record.export_delta / 1000 * ratings["energy_price"]
            diesel += SLOT_MS / 3_600_000 * ratings["fixed_price_per_h"]
    minor = 10**site.charter.minor_digits
    return Outside(
        _half_even(bought * minor, WH_PRICE_DIVISOR), _half_even(sold * minor, WH_PRICE_DIVISOR), round(diesel * minor)
    )


def _half_even(numerator: int, divisor: int) -> int:
    quotient, rest = divmod(numerator, divisor)
    if 2 * rest > divisor or (2 * rest == divisor and quotient % 2):
        return quotient + 1
    return quotient


def lifelines_missed(site: Site, days: Iterable[HomeDay]) -> int:
    """Returns the household-days on which a home got less than its lifeline although it wanted that much.

    A home that wants less than the lifeline must get all it wants.
    """
    entitled = {point for member in site.members if member.lifeline for point in member.usage_points}
    charter = site.charter
    return sum(
        1
        for day in days
        if day.home in entitled
        and (
            day.served_wh < min(day.demand_wh, charter.lifeline_wh)
            or day.served_ml < min(day.demand_ml, charter.lifeline_ml)
        )
    )


def day_row(day: DayResult) -> dict[str, object]:
    """Returns a closed day for a machine: money in major units, less is better."""
    shown = {"plan": day.plan, "rules": day.rules, "hindsight": day.hindsight, "metered": day.metered}
    rounded = {name: None if value is None else round(value, 2) for name, value in shown.items()}
    extra = {"saving": day.saving, "regret": day.regret}
    rounded |= {name: None if value is None else round(value, 2) for name, value in extra.items()}
    return {"day": day.day, **rounded, "planned_slots": day.planned_slots, "slots": day.slots, "note": day.note}


def score_rows(scores: Iterable[Score]) -> tuple[dict[str, object], ...]:
    """Returns mean absolute error, bias and the naive forecast's error per series and horizon, over all days."""
    sums: dict[tuple[str, int], list[float]] = {}
    for score in scores:
        row = sums.setdefault((score.series, score.lead_slots), [0.0] * 5)
        for at, value in enumerate((score.count, score.error_abs, score.error, score.naive_abs, score.actual)):
            row[at] += value
    return tuple(
        {
            "series": series,
            "ahead_h": lead / 4,
            "count": int(count),
            "mae": round(error_abs / count, 1),
            "bias": round(error / count, 1),
            "naive_mae": round(naive / count, 1),
            "mean": round(actual / count, 1),
        }
        for (series, lead), (count, error_abs, error, naive, actual) in sorted(sums.items())
        if count
    )


@dataclass(frozen=True, slots=True)
class StormSeen:
    """How a simulated village met a storm."""

    begins: Instant
    ends: Instant
    warned: bool
    stored: Mapping[str, float | None]  # fraction held by batteries and tanks when it came; None: not reported
    away: tuple[str, ...]  # vehicles that were not at home when it came
    unserved_wh: int
    unserved_ml: int
    restart: str | None  # the order in which loads came back; None: there was no restart


@dataclass(frozen=True, slots=True)
class Report:
    """The result of `atoll simulate --json`; names are a contract."""

    days: float
    seed: int
    records_sent: int
    records_committed: int
    records_lost: int
    entries: int
    ledger_ok: bool
    imbalance: int
    lifeline_missed: int
    unserved_wh: int
    unserved_ml: int
    import_wh: int
    export_wh: int
    pv_wh: int
    genset_wh: int
    load_wh: int
    battery_in_wh: int
    battery_out_wh: int
    cost_minor: int
    currency: str
    cycle_s: float
    meter_poll_s: float
    replan_s: float
    plans_asked: int
    plans_used: int
    plan_failures: Mapping[str, int]
    plans_shadow: int  # good plans that were not followed: the rules beat them
    plan_causes: Mapping[str, int]
    plan_days: tuple[Mapping[str, object], ...]  # per closed day: plan, rules, hindsight, metered [major units]
    forecast_scores: tuple[Mapping[str, object], ...]
    plan_error_w: float | None  # mean |planned - actual| exchange with the outside
    alarms: Mapping[str, int]
    missions: Mapping[str, int]
    deliveries: Mapping[str, int]
    votes: tuple[Mapping[str, object], ...]  # vote, charter, state, yes, no, need, valid_from, days_settled
    bills_minor: Mapping[str, int]
    rounding_minor: int  # what rounding each bill once has left over
    outside_minor: int  # what the bills owe the outside
    treasury_minor: int  # what they leave to the treasury
    durability: str
    ledger_root: str
    trace_hash: str
    speed: float
    storm: StormSeen | None = None

    @property
    def sound(self) -> bool:
        """Returns whether nothing was lost and the books balance."""
        return self.records_lost == 0 and self.imbalance == 0 and self.ledger_ok

    def document(self) -> dict[str, object]:
        """Returns the JSON object."""
        return asdict(self)


def energy_truth(truth: Truth) -> dict[str, int]:
    """Returns the physics' totals under the report's names."""
    return {
        "unserved_wh": truth.unserved_wh,
        "unserved_ml": truth.unserved_ml,
        "import_wh": truth.import_wh,
        "export_wh": truth.export_wh,
        "pv_wh": truth.pv_wh,
        "genset_wh": truth.genset_wh,
        "load_wh": truth.load_wh,
        "battery_in_wh": truth.battery_in_wh,
        "battery_out_wh": truth.battery_out_wh,
    }


def lines(site: Site, report: Report) -> list[str]:
    """Returns the report for a terminal."""

    def kwh(watt_hours: int) -> str:
        return f"{watt_hours / 1000:10,.1f} kWh"

    def money(minor: int) -> str:
        digits = site.charter.minor_digits
        return f"{minor / 10**digits:,.{digits}f} {site.charter.currency}"

    sources = report.pv_wh + report.import_wh + report.genset_wh
    out = [
        f"{site.name}: {report.days:g} days, seed {report.seed}, {report.speed:,.0f} simulated seconds a second",
        f"  cycle {report.cycle_s:g} s, meters every {report.meter_poll_s:g} s, plan every {report.replan_s:g} s",
        f"  databases {report.durability}",
        "",
        f"  {'solar':<22}{kwh(report.pv_wh)}   {report.pv_wh / max(1, sources):6.1%} of what came in",
        f"  {'from the grid':<22}{kwh(report.import_wh)}   {report.import_wh / max(1, sources):6.1%}",
        f"  {'diesel':<22}{kwh(report.genset_wh)}   {report.genset_wh / max(1, sources):6.1%}",
        f"  {'used':<22}{kwh(report.load_wh)}",
        f"  {'to the grid':<22}{kwh(report.export_wh)}",
        f"  {'through the battery':<22}{kwh(report.battery_in_wh)} in, {report.battery_out_wh / 1000:,.1f} kWh out",
        f"  {'not served':<22}{kwh(report.unserved_wh)}, {report.unserved_ml / 1e6:,.2f} m3 of water",
        "",
        f"  paid to the outside   {money(report.cost_minor)}",
        f"  plans                 {report.plans_used} used of {report.plans_asked}"
        + (f", off by {report.plan_error_w / 1000:.1f} kW on average" if report.plan_error_w is not None else ""),
    ]
    out += [f"    not used: {count} x {cause}" for cause, count in report.plan_failures.items()]
    if report.plans_shadow:
        out.append(f"    not followed: {report.plans_shadow} (the rules were better)")
    out += _day_lines(site, report)
    if report.deliveries:
        out += [f"  deliveries            {', '.join(f'{n} {state}' for state, n in report.deliveries.items())}"]
    out += [
        f"  vote {row['vote']}: {row['charter']}, {row['state']} with {row['yes']} yes and {row['no']} no"
        f" ({row['need']} needed); holds from {row['valid_from']}, has settled {row['days_settled']} days"
        for row in report.votes
    ]
    out += [f"  missions              {', '.join(f'{n} {state}' for state, n in report.missions.items()) or 'none'}"]
    out += [] if report.storm is None else _storm_lines(site, report.storm)
    out += [f"  lifelines missed      {report.lifeline_missed} household-days"]
    out += [f"  alarms                {sum(report.alarms.values())}"]
    out += _alarm_lines(report.alarms)
    out += _bill_lines(report, money)
    out += [
        "",
        f"  records               {report.records_sent} sent, {report.records_committed} committed,"
        f" {report.records_lost} lost",
        f"  ledger                {report.entries} entries, {'sound' if report.ledger_ok else 'BROKEN'},"
        f" imbalance {report.imbalance}, root {report.ledger_root[:16]}",
        f"  trace                 {report.trace_hash}",
    ]
    return out


def _bill_lines(report: Report, money: Callable[[int], str]) -> list[str]:
    """Returns each member's bills, and that with the rounding account they are what outside and treasury get."""
    billed, total = sum(report.bills_minor.values()), report.outside_minor + report.treasury_minor
    same = "=" if billed + report.rounding_minor == total else "IS NOT"
    return [
        "",
        "  bills",
        *(f"    {name:<12}{money(amount):>16}" for name, amount in report.bills_minor.items()),
        f"    {money(billed)} of bills + {money(report.rounding_minor)} of rounding {same} {money(total)},",
        f"    of which {money(report.outside_minor)} to the outside and {money(report.treasury_minor)} to the treasury",
    ]


def _alarm_lines(alarms: Mapping[str, int]) -> list[str]:
    """Returns a line for each kind of alarm (`mission`) with what it was about, the most frequent first."""
    kinds: dict[str, dict[str, int]] = {}
    for name, count in alarms.items():
        kind, _, about = name.partition(".")
        if about[-8:].isdecimal():  # a mission of one day
            about = about.rpartition(".")[0]
        own = kinds.setdefault(kind, {})
        own[about] = own.get(about, 0) + count
    found: list[str] = []
    for kind, own in sorted(kinds.items()):
        most = sorted(own.items(), key=lambda row: -row[1])
        named = ", ".join(f"{about} {count}" if len(own) > 1 else about for about, count in most[:ALARMS_NAMED])
        rest = f" and {len(own) - ALARMS_NAMED} more" if len(own) > ALARMS_NAMED else ""
        found.append(f"    {sum(own.values()):4d} x {kind}{f': {named}' if named else ''}{rest}")
    return found


def _storm_lines(site: Site, storm: StormSeen) -> list[str]:
    """Returns how the village met the storm."""
    begins, ends = clock_text(site.timezone, storm.begins), clock_text(site.timezone, storm.ends)
    held = (f"{name} {'unknown' if share is None else f'{share:.0%}'}" for name, share in storm.stored.items())
    return [
        f"  storm                 {begins} to {ends}, {'with' if storm.warned else 'without'} a warning",
        f"    when it came        {', '.join(held)}; vehicles out: {', '.join(storm.away) or 'none'}",
        f"    while it blew       {storm.unserved_wh / 1000:,.1f} kWh and {storm.unserved_ml / 1e6:,.2f} m3 not served",
        f"    restart             {storm.restart or 'none'}",
    ]


def _day_lines(site: Site, report: Report) -> list[str]:
    """Returns what planning was worth: the same days by plan, by rules and with hindsight, in one model."""
    known = [row for row in report.plan_days if row["hindsight"] is not None]
    if not known:
        return []

    def total(name: str) -> float:
        return sum(float(str(row[name])) for row in known)

    currency = site.charter.currency
    return [
        f"    over {len(known)} closed days: plan {total('plan'):.2f}, rules {total('rules'):.2f}, hindsight"
        f" {total('hindsight'):.2f} {currency}: saved {total('saving'):.2f}, regret {total('regret'):.2f}"
    ]
