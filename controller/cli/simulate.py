"""`atoll simulate SITE --days N`: live through days on virtual time and report."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack, cast

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.sites import VILLAGE, load_site

if TYPE_CHECKING:
    from controller.report import Report
    from controller.shell.simulation import Simulation, SimulationOptions
    from controller.site import Site
    from devices.clock import Instant


GARBAGE = (100_000, 20, 20)
"""Objects, and then generations, between two collections."""


class How(TypedDict):
    """The options as they are given; times in seconds."""

    days: float
    seed: int
    cycle: int
    meter_poll: int
    replan: int | None
    no_plan: bool
    start: str | None
    happenings: tuple[str, ...]
    storm: tuple[str, float] | None
    no_warning: bool
    profiles: Path | None
    data_dir: Path | None
    durability: str
    as_json: bool


def _list_happenings(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked:
        return
    from controller.shell.happenings import kinds, kinds_text
    from controller.shell.simulation import NoFleet, fleet_factory

    try:
        click.echo("\n".join(kinds_text(kinds(fleet_factory()))))
    except NoFleet as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error
    ctx.exit()


@click.command()
@click.argument("site", type=click.Path(path_type=Path), default=VILLAGE)
@click.option("--days", type=click.FloatRange(0, 3660, min_open=True), default=1.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--cycle", type=click.IntRange(1, 900), default=60, show_default=True, help="Control cycle [s].")
@click.option(
    "--meter-poll", type=click.IntRange(1, 900), default=300, show_default=True, help="Meters and solar are read [s]."
)
@click.option(
    "--replan",
    type=click.IntRange(60, 86_400),
    default=None,
    help="Time between plans [s] (default: site, at least 900).",
)
@click.option("--no-plan", is_flag=True, help="Rules only: ask the planner for nothing.")
@click.option("--start", default=None, metavar="DATE", help="First day, or time, at the site (default: its file's).")
@click.option(
    "--happening",
    "happenings",
    multiple=True,
    metavar="'TIME NAME KEY=VALUE'",
    help="What happens when, such as '2026-06-03T10:20 meter-replaced device=home-03'; may be repeated.",
)
@click.option(
    "--list-happenings",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_happenings,
    help="Print every NAME with its keys, and exit.",
)
@click.option(
    "--storm",
    nargs=2,
    type=(str, float),
    default=None,
    metavar="AT HOURS",
    help="No grid and no sun from AT on, declared six hours before: how stores and vehicles met it is in the report.",
)
@click.option("--no-warning", is_flag=True, help="Nobody declares the --storm.")
@click.option("--profiles", type=click.Path(path_type=Path), default=None, help="Your own interval data (CSV).")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Keep the databases here.")
@click.option(
    "--durability",
    type=click.Choice(["FULL", "NORMAL", "OFF"]),
    default="OFF",
    show_default=True,
    help="How carefully --data-dir is written.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(site: Path, **how: Unpack[How]) -> None:
    """Live through DAYS of SITE (default: the example village) on virtual time and report.

    Exit 0 only if no record was lost, the books balance and the ledger verifies.
    """
    from controller.report import lines

    place = load_site(site)
    options, begin = _options(place, how)
    simulation = build(place, options, begin)
    try:
        report = live(simulation, how["days"], quiet=how["as_json"])
    except ValueError as error:  # a happening that this fleet does not know
        if not how["happenings"]:
            raise
        raise Refusal(str(error), ExitCode.USAGE) from error
    finally:
        simulation.close()
    click.echo(json.dumps(report.document()) if how["as_json"] else "\n".join(lines(place, report)))
    raise SystemExit(0 if report.sound else 1)


def _options(place: Site, how: How) -> tuple[SimulationOptions, Instant]:
    """Returns how to live, and from when on.

    Raises:
        Refusal: a time, a happening or a storm that cannot be, or a folder with a ledger in it.
    """
    from controller.shell.happenings import BadHappening, kinds, misplaced, parse_happening, parse_local
    from controller.shell.simulation import NoFleet, SimulationOptions, fleet_factory, start_of
    from controller.shell.storm_trial import parse_storm

    folder, storm = how["data_dir"], how["storm"]
    if folder is not None and (folder / "ledger.db").exists():
        raise Refusal(
            f"{folder} holds a ledger already", ExitCode.CONFIG, hint="name a new --data-dir; nothing is overwritten"
        )
    if how["no_warning"] and storm is None:
        raise Refusal("--no-warning goes with --storm AT HOURS: nothing else is warned of", ExitCode.USAGE)
    try:
        begin = start_of(place) if how["start"] is None else parse_local(how["start"], place.timezone)
        until = _end(begin, how["days"])
        happened = tuple(parse_happening(text, place.timezone) for text in how["happenings"])
        trial = storm and parse_storm(*storm, place.timezone, warned=not how["no_warning"], start=begin, until=until)
        wrong = misplaced(happened, kinds(fleet_factory()), place, begin, until) if happened else []
    except BadHappening as error:
        raise Refusal(str(error), ExitCode.USAGE) from error
    except NoFleet as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error
    if wrong:
        hint = "atoll simulate --list-happenings names them all with their keys"
        raise Refusal("\n".join(wrong), ExitCode.USAGE, hint=hint)
    options = SimulationOptions(
        seed=how["seed"],
        cycle_ms=how["cycle"] * 1000,
        meter_poll_ms=how["meter_poll"] * 1000,
        replan_ms=None if how["replan"] is None else how["replan"] * 1000,
        plan=not how["no_plan"],
        data_dir=folder,
        durability=how["durability"],
        profiles=None if how["profiles"] is None else str(how["profiles"]),
        happenings=happened,
        storm=trial,
    )
    return options, begin


def _end(begin: Instant, days: float) -> Instant:
    return cast("Instant", begin + round(days * 86_400_000))


def build(place: Site, options: SimulationOptions, begin: Instant) -> Simulation:
    """Returns the world to live in.

    Raises:
        Refusal: the profile file is broken (every line is told), no fleet is installed, or a hub writes to the folder.
    """
    from controller.shell.happenings import BadHappening
    from controller.shell.simulation import NoFleet, Simulation
    from devices.shell.data_lock import AlreadyRunning
    from devices.simulated import ProfileProblems

    try:
        return Simulation(place, options, begin)
    except BadHappening as error:
        raise Refusal(str(error), ExitCode.USAGE) from error
    except ProfileProblems as error:
        count = len(error.problems)
        raise Refusal(f"{count} problem{'s' if count > 1 else ''} in the profiles\n{error}", ExitCode.CONFIG) from error
    except (AlreadyRunning, NoFleet) as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error


def live(simulation: Simulation, days: float, *, quiet: bool) -> Report:
    """Lives through `days` with a progress bar on a terminal; returns the report."""
    from controller.shell.simulation import report_of

    gc.freeze()  # a world makes few cycles: looking for them at the usual pace takes 4 % of the time
    gc.set_threshold(*GARBAGE)
    begun, until = time.monotonic(), _end(simulation.start, days)
    simulation.live(until, progress_bar(simulation, until) if not quiet else None)
    seconds = time.monotonic() - begun
    return report_of(simulation, days, days * 86_400 / max(seconds, 1e-9))


def progress_bar(simulation: Simulation, until: Instant) -> Callable[[Instant], None] | None:
    """Returns what draws one line with clock, share and speed on a terminal; None when there is none."""
    if not sys.stderr.isatty():
        return None
    from controller.civil import clock_text

    begun, start, zone = time.monotonic(), simulation.start, simulation.site.timezone
    shown = [0.0]

    def draw(now: Instant) -> None:
        elapsed = time.monotonic() - begun
        if now < until and elapsed - shown[0] < 0.2:
            return
        shown[0] = elapsed
        share = (now - start) / max(1, until - start)
        left = elapsed / share - elapsed if share > 0 else 0.0
        bar = "#" * round(30 * share)
        line = f"\r[{bar:<30}] {share:4.0%}  {clock_text(zone, now)}  {left:4.0f} s left"
        click.echo(line + ("\n" if now >= until else ""), nl=False, err=True)

    return draw
