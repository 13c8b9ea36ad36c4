"""`atoll check SITE`: every problem of a site file at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option

if TYPE_CHECKING:
    from controller.site import Site
    from controller.site_problems import Problem

ROUNDS = 3


@click.command()
@click.argument("site", required=False, type=click.Path(path_type=Path))
@click.option("--schema", is_flag=True, help="Print the JSON Schema of site files (keys, units, ranges) and stop.")
@click.option(
    "--fix", is_flag=True, help="Write the proposals into the file, shown as a diff; SITE.before-fix is kept."
)
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(site: Path | None, *, schema: bool, fix: bool, data_dir: Path | None, as_json: bool) -> None:
    """Check a site file and print every problem at once; exit 0 sound, 3 not.

    Where the data directory holds this site's ledger, the charter is held against it too.
    """
    from controller.site import check as check_site
    from controller.site import json_schema

    if schema:
        click.echo(json.dumps(json_schema(), indent=2))
        return
    if site is None:
        raise Refusal("which site file?", ExitCode.USAGE, hint="atoll check examples/village/site.toml")
    text = read_text(site)
    found, problems = check_site(text, str(site))
    proposed = proposal(text, str(site), problems)
    if fix and proposed != text:
        _write(site, text, proposed, as_json)
        found, problems = check_site(proposed, str(site))
    problems, notice = with_ledger(found, proposed if fix else text, str(site), problems, data_dir)
    if as_json:
        rows = [
            {
                "code": problem.code,
                "file": problem.file,
                "line": problem.line,
                "where": problem.where,
                "seen": problem.seen,
                "message": problem.message,
                "fix": problem.fix,
            }
            for problem in problems
        ]
        proposals = difference(text, proposed, site.name)
        click.echo(
            json.dumps(
                {"schema": 1, "ok": not problems, "problems": rows, "notice": notice, "proposal": proposals}, indent=2
            )
        )
    else:
        for problem in problems:
            click.echo(str(problem))
    if problems:
        if not as_json:
            hint = "" if fix or proposed == text else f"; `atoll check {site} --fix` writes the nearest that is allowed"
            click.echo(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in {site}{hint}")
        click.get_current_context().exit(int(ExitCode.CONFIG))
    if found is not None and not as_json:
        click.echo(
            f"{site} is sound: {len(found.devices)} devices, {len(found.members)} members, {len(found.jobs)} jobs"
        )
        if notice:
            click.echo(notice)


def with_ledger(
    found: Site | None, text: str, file: str, problems: Sequence[Problem], data_dir: Path | None
) -> tuple[Sequence[Problem], str]:
    """Returns (problems, notice) with what the ledger of a data directory has to say to a sound site file."""
    from controller.shell.ledger_site import against_ledger

    return (problems, "") if found is None else against_ledger(found, text, file, data_dir_of(data_dir))


def proposal(text: str, file: str, problems: Sequence[Problem]) -> str:
    """Returns the text with a proposal for every problem, checked again a few times, as mending may uncover others."""
    from controller.site import check as check_site
    from controller.site_repair import repaired

    for _ in range(ROUNDS):
        if not problems:
            break
        text = repaired(text, problems)
        problems = check_site(text, file)[1]
    return text


def difference(before: str, after: str, name: str) -> str:
    """Returns a unified diff, empty where nothing changed."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), name, f"{name} (new)", lineterm="", n=2)
    return "\n".join(lines)


def _write(site: Path, before: str, after: str, as_json: bool) -> None:
    from devices.shell.run_clock import write_whole

    kept = site.with_name(site.name + ".before-fix")
    try:
        write_whole(kept, before)
        write_whole(site, after)
    except OSError as error:
        raise Refusal(f"{site} cannot be written: {error.strerror}", ExitCode.CONFIG) from error
    if not as_json:
        click.echo(difference(before, after, site.name))
        click.echo(f"{site}: mended as far as it goes; look at each line. What it was: {kept}")


def read_text(path: Path) -> str:
    """Returns a file's text.

    Raises:
        Refusal: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise Refusal(f"{path}:{line} is not UTF-8 text", ExitCode.CONFIG, hint="save the file as UTF-8") from error
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}", ExitCode.CONFIG) from error
