"""`atoll check SITE`: every problem of a site file at once."""

from __future__ import annotations

import json
from pathlib import Path

import click

from controller.cli.errors import ExitCode, Refusal


@click.command()
@click.argument("site", required=False, type=click.Path(path_type=Path))
@click.option("--schema", is_flag=True, help="Print the JSON Schema of site files (keys, units, ranges) and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(site: Path | None, schema: bool, as_json: bool) -> None:
    """Check a site file and print every problem at once; exit 0 sound, 3 not."""
    from controller.site import check as check_site
    from controller.site import json_schema

    if schema:
        click.echo(json.dumps(json_schema(), indent=2))
        return
    if site is None:
        raise Refusal("which site file?", ExitCode.USAGE, hint="atoll check examples/village/site.toml")
    found, problems = check_site(read_text(site), str(site))
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
        click.echo(json.dumps({"schema": 1, "ok": not problems, "problems": rows}, indent=2))
    else:
        for problem in problems:
            click.echo(str(problem))
    if problems:
        if not as_json:
            click.echo(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in {site}")
        raise SystemExit(int(ExitCode.CONFIG))
    if found is not None and not as_json:
        click.echo(
            f"{site} is sound: {len(found.devices)} devices, {len(found.members)} members, {len(found.jobs)} jobs"
        )


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
