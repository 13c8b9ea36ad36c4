"""`atoll doctor`: is this machine fit, and what is to be mended first? It takes seconds and changes nothing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.errors import ExitCode
from controller.cli.remote import data_dir_of, data_dir_option

if TYPE_CHECKING:
    from controller.shell.checkup import Patient

ORDER = ("fail", "warn", "pass", "skip")


@click.command()
@data_dir_option
@click.option(
    "--site", type=click.Path(path_type=Path), envvar="ATOLL_SITE", help="The site file ($ATOLL_SITE, or ./site.toml)."
)
@click.option("--broker", default="127.0.0.1:1883", show_default=True, metavar="HOST:PORT", help="Where it should be.")
@click.option("--fix", is_flag=True, help="Mend what is safe: key permissions, stale sockets, half-written files.")
@click.option("--quiet", is_flag=True, help="Only what is not all right.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(*, data_dir: Path | None, site: Path | None, broker: str, fix: bool, quiet: bool, as_json: bool) -> None:
    """Check power, heat, disk, clock, watchdog, ports, pins, broker, devices, ledger, backup and keys.

    Each check says pass, warn, fail or skip, what was seen and what to do. Exit 0 where nothing failed, else 1.
    """
    from controller.shell.checkup import examine, mend

    patient = patient_of(data_dir_of(data_dir), site, broker)
    mended = list(mend(patient)) if fix else []
    findings = list(examine(patient))
    failed = [finding for finding in findings if finding.state == "fail"]
    counts = {state: sum(finding.state == state for finding in findings) for state in ORDER}
    if as_json:
        rows = [asdict(finding) for finding in findings]
        click.echo(
            json.dumps({"schema": 1, "ok": not failed, "counts": counts, "mended": mended, "checks": rows}, indent=2)
        )
    else:
        for line in mended:
            click.echo(f"  fixed {line}")
        for finding in findings:
            if not quiet or finding.state in ("fail", "warn"):
                click.echo(f"  {finding.state.upper():<5}{finding.name:<14}{finding.seen}")
                if finding.fix:
                    click.echo(f"       {'':<14}fix: {finding.fix}")
        click.echo(", ".join(f"{count} {state}" for state, count in counts.items()))
    if failed:
        click.get_current_context().exit(int(ExitCode.FINDINGS))


def patient_of(data_dir: Path, site: Path | None, broker: str) -> Patient:
    """Returns what is looked at; a site file that cannot be used is a finding, no error."""
    from controller.shell.checkup import Patient
    from controller.site import check

    here = Path("site.toml")
    file = site or (here if here.is_file() else None)
    if file is None:
        return Patient(data_dir, None, None, broker)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return Patient(data_dir, None, file, broker, f"{file} cannot be read: {error}")
    found, problems = check(text, str(file))
    said = f"{len(problems)} problem(s), the first: {problems[0].code} line {problems[0].line}" if problems else ""
    return Patient(data_dir, found, file, broker, said)
