"""`atoll storm declare|cancel|show|rations`: a storm is coming; how long the lifelines last, and who gets what."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import click

from controller.cli.remote import ask_hub, command, data_dir_option


@click.group()
def storm() -> None:
    """Declare a storm, take it back, and see how long every lifeline lasts."""


@storm.command()
@click.option("--from", "start", required=True, help="When it begins: 2026-06-03T18:00 (local), ISO 8601, or +6h.")
@click.option("--until", "end", required=True, help="When it is over, in the same forms.")
@click.option("--reason", required=True, help="Why; it stands on every page and in the log.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the hub's answer as JSON.")
def declare(*, start: str, end: str, reason: str, data_dir: Path | None, as_json: bool) -> None:
    """Declare a storm: stores are filled and vehicles called home before it, plans are made for lifelines.

    A second declaration takes the place of the first.
    """
    command(data_dir, {"ask": "storm-declare", "from": start, "until": end, "reason": reason}, as_json)


@storm.command()
@click.option("--reason", required=True, help="Why; it stands in the log.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the hub's answer as JSON.")
def cancel(*, reason: str, data_dir: Path | None, as_json: bool) -> None:
    """Take the declaration back."""
    command(data_dir, {"ask": "storm-cancel", "reason": reason}, as_json)


@storm.command()
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(*, data_dir: Path | None, as_json: bool) -> None:
    """Print the checklist, the survival curve, the order of shedding and the restart."""
    from controller.storm_text import storm_lines

    _print(data_dir, storm_lines, as_json)


@storm.command()
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def rations(*, data_dir: Path | None, as_json: bool) -> None:
    """Print who gets what, and why."""
    from controller.storm_text import ration_lines

    _print(data_dir, ration_lines, as_json)


def _print(data_dir: Path | None, lines: Callable[[Mapping[str, object]], Iterable[str]], as_json: bool) -> None:
    document: Mapping[str, object] = ask_hub(data_dir, {"ask": "storm"})
    if as_json:
        click.echo(json.dumps({"schema": 1, **document}))
        return
    click.echo("\n".join(lines(document)).strip("\n"))
