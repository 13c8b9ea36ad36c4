"""`atoll simulate SITE --days N`: live through days on virtual time and report."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.sites import load_site

if TYPE_CHECKING:
    from controller.report import Report
    from controller.shell.simulation import Simulation
    from devices.clock import Instant


@click.command()
@click.argument("site", type=click.Path(path_type=Path))
@click.option("--days", type=click.FloatRange(0, 3660, min_open=True), default=1.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--cycle", type=click.IntRange(1, 900), default=60, show_default=True, help="Control cycle [s].")
@click.option(
    "--meter-poll", type=click.IntRange(1, 900), default=300, show_default=True, help="Meters and solar are read [s]."
)
@click.option("--replan", type=click.IntRange(60, 86_400), default=None, help="Time between plans [s] (default: site).")
@click.option("--no-plan", is_flag=True, help="Rules only: ask the planner for nothing.")
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
def simulate(  # noqa: PLR0913 - one argument per option
    site: Path,
    *,
    days: float,
    seed: int,
    cycle: int,
    meter_poll: int,
    replan: int | None,
    no_plan: bool,
    profiles: Path | None,
    data_dir: Path | None,
    durability: str,
    as_json: bool,
) -> None:
    """Live through DAYS of SITE on virtual time and report.

    Exit 0 only if no record was lost, the books balance and the ledger verifies.
    """
    from controller.report import lines
    from controller.shell.simulation import SimulationOptions

    place = load_site(site)
    if data_dir is not None and (data_dir / "ledger.db").exists():
        raise Refusal(
            f"{data_dir} holds a ledger already", ExitCode.CONFIG, hint="name a new --data-dir; nothing is overwritten"
        )
    options = SimulationOptions(
        seed=seed,
        cycle_ms=cycle * 1000,
        meter_poll_ms=meter_poll * 1000,
        replan_ms=None if replan is None else replan * 1000,
        plan=not no_plan,
        data_dir=data_dir,
        durability=durability,
        profiles=None if profiles is None else str(profiles),
    )
    simulation = build(place, options)
    try:
        report = live(simulation, days, quiet=as_json)
    finally:
        simulation.close()
    if as_json:
        click.echo(json.dumps(report.document()))
    else:
        click.echo("\n".join(lines(place, report)))
    raise SystemExit(0 if report.sound else 1)


def build(place: object, options: object) -> Simulation:
    """Returns the world to live in.

    Raises:
        Refusal: the profile file is broken (every line is told), or no fleet is installed.
    """
    from controller.shell.simulation import NoFleet, Simulation, SimulationOptions, start_of
    from controller.site import Site
    from devices.simulated import ProfileProblems

    assert isinstance(place, Site)
    assert isinstance(options, SimulationOptions)
    try:
        return Simulation(place, options, start_of(place))
    except ProfileProblems as error:
        count = len(error.problems)
        raise Refusal(f"{count} problem{'s' if count > 1 else ''} in the profiles\n{error}", ExitCode.CONFIG) from error
    except NoFleet as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error


def live(simulation: Simulation, days: float, *, quiet: bool) -> Report:
    """Lives through `days` with a progress bar on a terminal; returns the report."""
    from controller.shell.simulation import report_of

    begun = time.monotonic()
    until = cast("Instant", simulation.start + round(days * 86_400_000))
    simulation.world.run(until, progress_bar(simulation, until) if not quiet else None)
    simulation.world.drain()
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
