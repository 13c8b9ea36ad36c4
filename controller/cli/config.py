"""`atoll config show|diff|apply|confirm|rollback`: changes of the site file that take themselves back."""

from __future__ import annotations

import json
from pathlib import Path

import click

from controller.cli.check import difference, read_text, with_ledger
from controller.cli.edited import site_option
from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_option

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
NEW = click.argument("new", type=click.Path(path_type=Path))


@click.group()
def config() -> None:
    """Change the site file so that a mistake undoes itself."""


@config.command()
@site_option
@JSON
def show(*, site: Path, as_json: bool) -> None:
    """Say whether the site file is sound, what waits for a confirmation, and where the last good text is."""
    from controller.shell.site_change import settle, state
    from controller.site import check

    said = settle(site)
    problems = check(read_text(site), str(site))[1]
    row = {"schema": 1, "ok": not problems, **state(site), "problems": len(problems), "done": said}
    if as_json:
        click.echo(json.dumps(row, indent=2))
        return
    click.echo(f"{site}: {'sound' if not problems else f'{len(problems)} problems: atoll check {site}'}")
    if said:
        click.echo(said)
    waits = row.get("pending")
    if isinstance(waits, dict):
        click.echo(f"a change by {waits['by']} goes back in {waits['left_s']} s: atoll config confirm --site {site}")  # pyright: ignore[reportUnknownArgumentType]
    if row["last_good"]:
        click.echo(f"last good: {row['last_good']}   (atoll config rollback)")


@config.command()
@NEW
@site_option
@data_dir_option
@JSON
def diff(new: Path, *, site: Path, data_dir: Path | None, as_json: bool) -> None:
    """Show what NEW would change, and whether it is sound; exit 0 sound, 3 not."""
    from controller.site import check

    after = read_text(new)
    found, problems = check(after, str(new))
    problems, notice = with_ledger(found, after, str(new), problems, data_dir)
    changed = difference(read_text(site), after, site.name)
    if as_json:
        row = {"schema": 1, "ok": not problems, "diff": changed, "problems": [str(problem) for problem in problems]}
        click.echo(json.dumps({**row, "notice": notice}, indent=2))
    else:
        click.echo("\n".join(filter(None, (changed or "nothing changes", notice))))
        for problem in problems:
            click.echo(str(problem))
    if problems:
        click.get_current_context().exit(int(ExitCode.CONFIG))


@config.command()
@NEW
@site_option
@click.option(
    "--timeout", default=120.0, show_default=True, type=click.FloatRange(1, 86_400), help="Seconds to confirm."
)
@data_dir_option
@JSON
def apply(new: Path, *, site: Path, timeout: float, data_dir: Path | None, as_json: bool) -> None:
    """Put NEW in the place of the site file for --timeout seconds; `atoll config confirm` makes it stay.

    Not confirmed, it goes back by itself, also when this process, the terminal or the machine dies. `atoll run all`
    starts its hub and gateways again with each of both changes.
    """
    from controller.shell.site_change import apply as put
    from controller.shell.site_change import pending, start_watcher, user
    from controller.site import check

    before, after = read_text(site), read_text(new)
    found, problems = check(after, str(new))
    problems, notice = with_ledger(found, after, str(new), problems, data_dir)
    if problems:
        said = "\n".join(str(problem) for problem in problems)
        raise Refusal(f"nothing was applied: {len(problems)} problem(s)\n{said}", ExitCode.CONFIG)
    waits = pending(site)
    if waits is not None and waits.left_s() > 0:
        hint = f"atoll config confirm --site {site}   or: atoll config rollback --site {site}"
        raise Refusal(f"error[CFG-001] another change waits ({waits.left_s():.0f} s left)", ExitCode.RETRY, hint=hint)
    if before == after:
        raise Refusal("nothing changes", ExitCode.FINDINGS, hint=f"atoll config diff {new}")
    try:
        put(site, before, after, timeout, user())
        watcher = start_watcher(site)
    except OSError as error:
        raise Refusal(f"{site} cannot be written: {error}", ExitCode.CONFIG) from error
    if as_json:
        row = {"schema": 1, "ok": True, "file": str(site), "timeout_s": timeout, "watcher": watcher}
        click.echo(json.dumps({**row, "notice": notice, "diff": difference(before, after, site.name)}, indent=2))
        return
    click.echo(difference(before, after, site.name))
    if notice:
        click.echo(notice)
    click.echo(f"applied; goes back by itself in {timeout:g} s. If all is well: atoll config confirm --site {site}")


@config.command()
@site_option
@JSON
def confirm(*, site: Path, as_json: bool) -> None:
    """Keep the change that was applied."""
    from controller.shell.site_change import NoChange
    from controller.shell.site_change import confirm as keep

    try:
        keep(site)
    except NoChange as error:
        raise Refusal(f"error[CFG-002] {error}", ExitCode.FINDINGS, hint="atoll help CFG-002") from error
    click.echo(json.dumps({"schema": 1, "ok": True, "file": str(site)}) if as_json else f"{site}: the change stays")


@config.command()
@site_option
@JSON
def rollback(*, site: Path, as_json: bool) -> None:
    """Take the change back now, or put the last good text back."""
    from controller.shell.site_change import apply as put
    from controller.shell.site_change import last_good, pending_file, take_back, user

    if not take_back(site):
        if not last_good(site).is_file():
            raise Refusal(
                f"there is no {last_good(site)}", ExitCode.FINDINGS, hint="it is kept from the first change on"
            )
        put(site, read_text(site), read_text(last_good(site)), 0.0, user())
        pending_file(site).unlink()
    said = f"{site}: the text before is back"
    click.echo(json.dumps({"schema": 1, "ok": True, "file": str(site)}) if as_json else said)


@config.command(hidden=True)
@site_option
def watch(*, site: Path) -> None:
    """Wait for the confirmation and take the change back when it does not come (started by apply)."""
    from controller.shell.site_change import watch as wait

    said = wait(site)
    if said:
        click.echo(said)
