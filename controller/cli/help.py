"""`atoll help CODE`: what an error code means and what to check first, without a connection."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict

import click

from controller.cli.codes import CODES
from controller.cli.errors import ExitCode, Refusal


@click.command()
@click.argument("code", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def help(code: str | None, *, as_json: bool) -> None:  # noqa: A001 - the verb's name
    """Explain an error code such as BUS-003; without one, list them all."""
    if code is None:
        rows = {name: entry.meaning for name, entry in CODES.items()}
        if as_json:
            click.echo(json.dumps({"schema": 1, "codes": rows}, indent=2))
        else:
            for name, meaning in rows.items():
                click.echo(f"{name:<11}{meaning}")
        return
    name = code.upper()
    if name not in CODES:
        area, _, number = name.partition("-")
        padded = f"{area}-{number.zfill(3)}"  # SITE-10 means SITE-010
        near = [padded] if padded in CODES else difflib.get_close_matches(name, CODES, 1)
        hint = f"did you mean {near[0]}?   atoll help {near[0]}" if near else "atoll help lists all codes"
        raise Refusal(f"there is no code {code!r}", ExitCode.USAGE, hint=hint)
    entry = CODES[name]
    if as_json:
        click.echo(json.dumps({"schema": 1, "code": name, **asdict(entry)}, indent=2))
        return
    click.echo(f"{name}: {entry.meaning}")
    for number, check in enumerate(entry.check, 1):
        click.echo(f"  check {number}: {check}")
    click.echo(f"  then:    {entry.then}")
