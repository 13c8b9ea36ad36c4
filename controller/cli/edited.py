"""Writing a site file that a verb has edited: checked first, shown as a diff, the sound text before it kept beside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from controller.cli.check import difference
from controller.cli.errors import ExitCode, Refusal

site_option: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--site",
    type=click.Path(path_type=Path),
    envvar="ATOLL_SITE",
    default="site.toml",
    show_default=True,
    help="The site file ($ATOLL_SITE).",
)


def save(site: Path, before: str, after: str, *, dry_run: bool, as_json: bool) -> None:
    """Prints what changes and writes it, unless the new text has problems: then nothing is written.

    Raises:
        Refusal: the new text has problems, or the file cannot be written.
    """
    from controller.shell.site_change import last_good
    from controller.site import check
    from devices.shell.run_clock import write_whole

    problems = check(after, str(site))[1]
    if problems:
        said = "\n".join(str(problem) for problem in problems)
        missing = [p.where.partition("].")[2] for p in problems if p.code == "SITE-011" and "device[" in p.where]
        hint = "".join(f"--set {key}=VALUE " for key in missing) or f"atoll help {problems[0].code}"
        raise Refusal(f"nothing was written: {len(problems)} problem(s)\n{said}", ExitCode.CONFIG, hint=hint)
    changed = difference(before, after, site.name)
    try:
        if not dry_run and before != after:
            if before and not check(before, str(site))[1]:
                write_whole(last_good(site), before)
            write_whole(site, after)
    except OSError as error:
        raise Refusal(f"{site} cannot be written: {error.strerror}", ExitCode.CONFIG) from error
    if as_json:
        row = {"schema": 1, "ok": True, "file": str(site), "written": not dry_run and before != after, "diff": changed}
        click.echo(json.dumps(row, indent=2))
    else:
        click.echo(changed or f"{site}: nothing changes")
        if dry_run:
            click.echo("--dry-run: nothing was written")
