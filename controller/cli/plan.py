"""`atoll plan SITE`: the plan in force as a table and a picture, its accounts and its forecasts' scores."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import ask_if_running, data_dir_of, data_dir_option
from controller.cli.sites import load_site

if TYPE_CHECKING:
    from controller.beliefs import DayResult, KeptPlan, Score
    from controller.site import Site
    from devices.clock import Instant


@click.command()
@click.argument("site", type=click.Path(path_type=Path))
@data_dir_option
@click.option("--known", default=None, metavar="TIME", help="The plan that was known then: 14:30, or ISO 8601.")
@click.option("--scores", is_flag=True, help="How good the forecasts have been, by horizon.")
@click.option("--days", is_flag=True, help="What each closed day cost: plan, rules, hindsight, meters.")
@click.option("--advice", is_flag=True, help="What the plan would have saved (advisory mode).")
@click.option("--width", type=click.IntRange(20, 500), default=None, help="Columns (default: the terminal's).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(
    site: Path,
    *,
    data_dir: Path | None,
    known: str | None,
    scores: bool,
    days: bool,
    advice: bool,
    width: int | None,
    as_json: bool,
) -> None:
    """Print the plan of SITE: that of the running hub, or without one the last that its data directory keeps."""
    from controller.store.belief_file import BeliefReader

    place, folder = load_site(site), data_dir_of(data_dir)
    columns = width or shutil.get_terminal_size((100, 24)).columns
    if scores:
        print_scores(BeliefReader(folder).scores(), as_json=as_json)
    elif days or advice:
        _print_days(place, BeliefReader(folder).days(), advice=advice, as_json=as_json)
    else:
        kept, status, now = find_plan(folder, known)
        _print_plan(place, kept, (status, now), columns, as_json=as_json)


def find_plan(folder: Path, known: str | None) -> tuple[KeptPlan, str, Instant]:
    """Returns (plan, what is said of it, the time to mark): the hub's, else the last that was kept.

    Raises:
        Refusal: there is none (1).
    """
    from controller.beliefs import UnreadPlan
    from controller.store.belief_file import BeliefReader

    reader = BeliefReader(folder)
    if known is None:
        live = _from_hub(folder)
        if live is not None:
            return live
    at = None if known is None else instant_of(known, folder)
    kept = reader.plan(at)
    if kept is None:
        then = "" if known is None else f" of {known} or before"
        raise Refusal(
            f"no plan{then} is kept in {folder}", hint="a hub makes its first plan within a minute: atoll run hub SITE"
        )
    if isinstance(kept, UnreadPlan):
        raise Refusal(kept.words(), hint="nothing is lost: a hub makes a new plan within a minute (atoll run hub SITE)")
    return kept, "no hub answers: the last plan kept" if at is None else f"as known at {known}", at or kept.made_at


def _from_hub(folder: Path) -> tuple[KeptPlan, str, Instant] | None:
    from controller.beliefs import KeptPlan
    from devices.clock import Instant
    from optimizer.codec import Unreadable, decode
    from optimizer.plan import Plan

    answer = ask_if_running(folder, {"ask": "plan"})
    if answer is None:
        return None
    if answer.get("plan") is None:
        raise Refusal(f"the hub has no plan: {answer.get('status')}")
    try:
        made = decode(Plan, json.dumps(answer["plan"]))
    except Unreadable as error:
        raise Refusal(
            f"the hub that runs is of another version of Atoll: its plan cannot be read here ({error})",
            hint="restart the hub, or ask with the version that it runs: the console shows its plan",
        ) from error
    made_at, now = Instant(cast("int", answer["made_at"])), Instant(cast("int", answer["at"]))
    said = (str(answer[name]) for name in ("cause", "note", "timezone", "currency"))
    kept = KeptPlan(made_at, made, bool(answer["used"]), *said)
    return kept, str(answer["status"]), now


def instant_of(text: str, folder: Path) -> Instant:
    """Returns the instant of `14:30` (within half a day before the newest plan, or after it) or of an ISO 8601 text.

    Raises:
        Refusal: neither of them (2).
    """
    from controller.civil import local_instant, local_time
    from controller.store.belief_file import BeliefReader
    from devices.clock import DAY_MS, Instant, parse_iso

    if len(text) == 5 and text[2] == ":" and text.replace(":", "").isdigit():
        newest = BeliefReader(folder).plan()
        minute = int(text[:2]) * 60 + int(text[3:])
        if newest is None:
            raise Refusal(f"no plan is kept in {folder}")
        if minute < 1440 and int(text[3:]) < 60:
            at = local_instant(newest.timezone, local_time(newest.timezone, newest.made_at).date(), minute)
            return at if at >= newest.made_at - DAY_MS // 2 else Instant(at + DAY_MS)
    try:
        return parse_iso(text)
    except ValueError as error:
        raise Refusal(f"{text!r} is no time", ExitCode.USAGE, hint="write 14:30 or 2026-06-03T14:30:00Z") from error


def _print_plan(place: Site, kept: KeptPlan, said: tuple[str, Instant], width: int, *, as_json: bool) -> None:
    from controller.civil import clock_text
    from controller.plan_text import gantt, quality, remarks, rows, table
    from optimizer.codec import encode

    status, now = said
    if as_json:
        document = {
            "schema": 1,
            "made_at": kept.made_at,
            "status": status,
            "used": kept.used,
            "cause": kept.cause,
            "note": kept.note,
            "currency": place.charter.currency,
            "blocks": [
                {"device": row.asset, "from": row.start, "until": row.end, "what": row.what,
                 "why": row.reason.constraint, "marginal_price": row.reason.marginal_price}
                for row in rows(kept.plan)
            ],
            "plan": json.loads(encode(kept.plan)),
        }  # fmt: skip
        click.echo(json.dumps(document))
        return
    currency = place.charter.currency
    cost = f"expected cost {kept.plan.cost:.2f} {currency}, {quality(kept.plan, currency)}"
    click.echo(f"{place.name}: plan of {clock_text(place.timezone, kept.made_at)} ({kept.cause or 'asked'}); {cost}")
    click.echo(f"{status}; {'followed' if kept.used else 'NOT followed'}: {kept.note}")
    click.echo("")
    for line in [*gantt(kept.plan, place.timezone, width, now), "", *table(kept.plan, place.timezone, width)]:
        click.echo(line)
    notes = remarks(kept.plan, place.timezone, place.charter.currency)
    for line in ["", *notes] if notes else ():
        click.echo(textwrap.fill(line, max(width, 20), subsequent_indent="  "))


def print_scores(scores: Sequence[Score], *, as_json: bool) -> None:
    """Prints how good forecasts have been, a line for each series and horizon.

    Raises:
        Refusal: none is scored yet (1).
    """
    from controller.report import score_rows

    found = score_rows(scores)
    if as_json:
        click.echo(json.dumps({"schema": 1, "scores": found}))
        return
    if not found:
        raise Refusal("no forecast is scored yet", hint="the first scores are written when the first day is over")
    click.echo("forecasts of the last 14 days, W (water: L a quarter hour); bias = actual less forecast")
    names = ("mean", "MAE", "of mean", "bias")
    width = max(len(str(row["series"])) for row in found) + 1
    heads = "".join(f"{name:>10}" for name in names)
    click.echo(f"{'series':<{width}}{'ahead':>8}{heads}{'as a day before':>17}{'slots':>7}")
    for row in found:
        click.echo(_score_line(row, width))


def _score_line(row: Mapping[str, object], width: int) -> str:
    scale = 1000.0 if str(row["series"]).startswith("water") else 1.0
    mean, mae, bias, naive = (float(str(row[name])) / scale for name in ("mean", "mae", "bias", "naive_mae"))
    share = f"{mae / mean:.0%}" if mean else "--"
    ahead = f"{float(str(row['ahead_h'])):g} h"
    numbers = f"{mean:>10,.0f}{mae:>10,.0f}{share:>10}{bias:>+10,.0f}{naive:>17,.0f}"
    return f"{row['series']!s:<{width}}{ahead:>8}{numbers}{row['count']!s:>7}"


def _print_days(place: Site, found: Sequence[DayResult], *, advice: bool, as_json: bool) -> None:
    from controller.report import day_row

    shown = [day_row(day) for day in found if day.advisory or not advice]
    if as_json:
        click.echo(json.dumps({"schema": 1, "currency": place.charter.currency, "days": shown}))
        return
    if not shown:
        raise Refusal(
            "no day is closed yet", hint="each morning the day before is played by plan, by rules and with hindsight"
        )
    for line in day_lines(shown, place.charter.currency, advice=advice):
        click.echo(line)


def day_lines(days: Sequence[Mapping[str, object]], currency: str, *, advice: bool) -> list[str]:
    """Returns closed days, the newest first; with `advice` what the plan would have saved against the meters."""
    names = ("metered", "plan", "advised") if advice else ("plan", "rules", "hindsight", "metered", "saving", "regret")
    lines = [f"{'day':<12}" + "".join(f"{name:>11}" for name in names) + f"   {currency}, less is better"]
    for day in days:
        row = dict(day)
        if day["metered"] is not None and day["plan"] is not None:
            row["advised"] = float(str(day["metered"])) - float(str(day["plan"]))
        cells = "".join(f"{_number(row.get(name)):>11}" for name in names)
        lines.append(f"{day['day']!s:<12}{cells}   {day['note'] or ''}".rstrip())
    if advice:
        lines.append("advised: what the plan would have saved, stores at the day's end taken into account")
    return lines


def _number(value: object) -> str:
    return "--" if value is None else f"{float(str(value)):.2f}"
