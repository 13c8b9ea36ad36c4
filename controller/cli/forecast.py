"""`atoll forecast SITE`: what load, sun and water are expected to be, by whom, and how near each has been."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from controller.cli.errors import Refusal
from controller.cli.remote import ask_if_running, data_dir_of, data_dir_option
from controller.cli.sites import load_site

if TYPE_CHECKING:
    from controller.store.belief_file import BeliefReader

SLOTS_PER_HOUR = 4
COLUMNS = (("load", "load kW", 1e-3, 4), ("pv", "solar kW", 1e-3, 4), ("water", "water L", 1e-3, 1))
"""(series, heading, factor, slots that a mean is taken over; 1: the hour's sum)"""

Row = Sequence[int]


@click.command()
@click.argument("site", type=click.Path(path_type=Path))
@data_dir_option
@click.option("--scores", is_flag=True, help="How near each who could forecast has been, by horizon.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def forecast(site: Path, *, data_dir: Path | None, scores: bool, as_json: bool) -> None:
    """Print what SITE expects of the day ahead: as its hub has it, or without one as it was kept last."""
    from controller.store.belief_file import BeliefReader

    place, folder = load_site(site), data_dir_of(data_dir)
    reader = BeliefReader(folder)
    if scores:
        from controller.cli.plan import print_scores

        print_scores(reader.scores(members=True), as_json=as_json)
        return
    found = _from_hub(folder) or _kept(reader)
    if found is None:
        raise Refusal(f"no forecast is kept in {folder}", hint="a hub makes one with each plan: atoll run hub SITE")
    if as_json:
        click.echo(json.dumps({"schema": 1, **found}))
        return
    for line in lines(place.timezone, found):
        click.echo(line)


def _from_hub(folder: Path) -> dict[str, object] | None:
    answer = ask_if_running(folder, {"ask": "forecast"})
    return None if answer is None or answer.get("made_at") is None else dict(answer)


def _kept(reader: BeliefReader) -> dict[str, object] | None:
    kept = reader.belief()
    if kept is None:
        return None
    return {
        "made_at": kept.made_at,
        "start": kept.start,
        "slot_ms": kept.slot_ms,
        "words": "no hub answers: the last forecast kept",
        "series": {name: list(values) for name, values in kept.values},
        "bands": {},
    }


def lines(zone: str, found: Mapping[str, object]) -> list[str]:
    """Returns a forecast as text: an hour a line, where known with what four futures of five lie between."""
    from controller.civil import clock_text
    from devices.clock import HOUR_MS, Instant

    series = cast("Mapping[str, Row]", found["series"])
    bands = cast("Mapping[str, Mapping[str, Row]]", found["bands"])
    start = cast("int", found["start"])
    said = [f"made {clock_text(zone, Instant(cast('int', found['made_at'])))}; {found['words']}", ""]
    said.append(f"{'from':<18}" + "".join(f"{heading:>10}{'low .. high':>20}" for _, heading, _, _ in COLUMNS))
    first = -start % HOUR_MS // (HOUR_MS // SLOTS_PER_HOUR)
    for at in range(first, min(map(len, series.values())) - SLOTS_PER_HOUR + 1, SLOTS_PER_HOUR):
        cells = ""
        for name, _, factor, over in COLUMNS:
            cells += f"{_hour(series.get(name, ()), at, factor / over):>10}"
            band = bands.get(name)
            between = (
                "" if band is None else " .. ".join(_hour(band[end], at, factor / over) for end in ("low", "high"))
            )
            cells += f"{between:>20}"
        said.append(f"{clock_text(zone, Instant(start + at * HOUR_MS // SLOTS_PER_HOUR)):<18}{cells}".rstrip())
    return said


def _hour(row: Row, at: int, factor: float) -> str:
    part = row[at : at + SLOTS_PER_HOUR]
    return f"{sum(part) * factor:,.1f}" if len(part) == SLOTS_PER_HOUR else "--"
