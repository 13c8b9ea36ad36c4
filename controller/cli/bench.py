"""`atoll bench NAME`: runs benchmarks/NAME.py, prints its figures and writes them into docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import cast

import click

from controller.cli.checkout import ROOT, commit
from controller.cli.errors import ExitCode, Refusal

Plain = str | int | float | bool | None
Figure = Plain | Sequence[Mapping[str, Plain]]
Figures = Mapping[str, Figure]

FOLDER = ROOT / "benchmarks"
PAGE = ROOT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `./atoll bench NAME`; one row per commit and machine, the newest first. A `+` after the commit means that
tracked files differed from it.
"""
COLUMNS = "| date | commit | machine | seed | figures |"
RULE = "|---|---|---|---|---|"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured row of docs/benchmarks.md."""

    date: str
    commit: str
    machine: str
    figures: Figures

    def text(self) -> str:
        """Returns the row as Markdown."""
        shown = ", ".join(f"{name} {_text(value)}" for name, value in self.figures.items() if name != "seed")
        return f"| {self.date} | {self.commit} | {self.machine} | {_text(self.figures.get('seed'))} | {shown} |"

    def replaces(self, line: str) -> bool:
        """Returns whether an earlier row is of the same commit, machine, seed and (of one benchmark's) case."""
        cells = [cell.strip() for cell in line.split("|")]
        same = cells[2:5] == [self.commit, self.machine, _text(self.figures.get("seed"))]
        return same and ("case" not in self.figures or f"case {_text(self.figures['case'])}," in cells[5])


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True})
@click.argument("name", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--list", "listing", is_flag=True, help="List the benchmarks.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--no-record", is_flag=True, help="Leave docs/benchmarks.md alone.")
def bench(*, name: str | None, arguments: tuple[str, ...], listing: bool, as_json: bool, no_record: bool) -> None:
    """Run a benchmark and write its figures down.

    NAME is a file of benchmarks/; ARGUMENTS are the benchmark's own.
    """
    if listing or name is None:
        for path in sorted(FOLDER.glob("[a-z]*.py")):
            click.echo(f"{path.stem.replace('_', '-'):<12} {_first_line(path)}")
        return
    figures = _load(name)(arguments)
    if as_json:
        click.echo(json.dumps(figures))
    else:
        width = max(map(len, figures), default=0)
        for key, value in figures.items():
            click.echo(f"{key:<{width}}  {_text(value)}")
    if not no_record:
        record(PAGE, name, Row(f"{datetime.now(UTC):%Y-%m-%d}", commit() or "-", machine(), figures))


def record(page: Path, name: str, row: Row) -> None:
    """Puts a row at the top of its benchmark's table in `page`, in place of an earlier one of the same run."""
    text = page.read_text() if page.exists() else HEAD
    title = f"## {name}\n"
    if title not in text:
        text = f"{text.rstrip()}\n\n{title}\n{COLUMNS}\n{RULE}\n"
    before, _, rest = text.partition(title)
    section, mark, after = rest.partition("\n## ")
    kept = [line for line in section.splitlines() if not (line.startswith("| 2") and row.replaces(line))]
    kept.insert(kept.index(RULE) + 1, row.text())
    page.parent.mkdir(exist_ok=True)
    page.write_text(before + title + "\n".join(kept).rstrip() + "\n" + mark + after)


def machine() -> str:
    """Returns what a figure depends on most: processor, cores, architecture and Python."""
    model = ""
    for path, key in (("/proc/device-tree/model", ""), ("/proc/cpuinfo", "model name")):
        try:
            lines = Path(path).read_text(errors="replace").splitlines()
        except OSError:
            continue
        model = model or next((line.split(":")[-1].strip("\0 ") for line in lines if line.startswith(key)), "")
    return f"{model or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _load(name: str) -> Callable[[Sequence[str]], Figures]:
    path = FOLDER / f"{name.replace('-', '_')}.py"
    specification = spec_from_file_location(f"benchmarks.{path.stem}", path) if path.is_file() else None
    if specification is None or specification.loader is None:
        raise Refusal(f"there is no benchmark {name!r}.", ExitCode.USAGE, hint="`atoll bench --list` names them.")
    module = module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look their module up there
    specification.loader.exec_module(module)
    return cast("Callable[[Sequence[str]], Figures]", module.run)


def _first_line(path: Path) -> str:
    return path.read_text().lstrip('"').partition("\n")[0].rstrip('"')


def _text(value: Figure) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.1f}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(" ".join(f"{key} {_text(one)}" for key, one in case.items()) for case in value)
    return str(value)
