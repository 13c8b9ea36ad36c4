"""`atoll why DEVICE [TIME]` and `atoll why bill|entry|refusal ID`: reasons."""

from __future__ import annotations

import json
from pathlib import Path

import click

from controller.cli.errors import Refusal
from controller.cli.remote import data_dir_of, data_dir_option

ASKED = ("bill", "entry", "refusal")


@click.command()
@click.argument("device")
@click.argument("time", required=False)
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def why(device: str, time: str | None, *, data_dir: Path | None, as_json: bool) -> None:
    """Print what the plan has DEVICE do now, or at TIME (14:30, or ISO 8601), why, and what comes next.

    DEVICE may be a job, or the relay or machine that a job runs on.
    A time that is past is answered with the plan that was in force then.

    With `bill`, `entry` or `refusal` instead of DEVICE, print clause, inputs and arithmetic from the ledger:

    \b
      atoll why bill home-01/2026-06       a bill
      atoll why entry 4231                 any entry of the log, by its number or id
      atoll why refusal home-01/1/42       a record (meter, epoch, page), or a meter held back (2026-06-03/home-01)
    """  # noqa: D301 - click's own mark of a block
    if device in ASKED:
        _from_ledger(device, time, data_dir, as_json)
        return
    from controller.cli.plan import find_plan, instant_of
    from controller.plan_text import why as reason_of
    from controller.plan_text import why_lines

    folder = data_dir_of(data_dir)
    kept, status, now = find_plan(folder, None)
    at = now if time is None else instant_of(time, folder)
    if kept.plan.slot(at) is None or at < kept.made_at:
        kept, status, _ = find_plan(folder, time)
    found = reason_of(kept.plan, device, at)
    if found is None:
        names = ", ".join([*kept.plan.storages, *kept.plan.units, *kept.plan.job_devices])
        raise Refusal(
            f"the plan says nothing of {device!r} then", hint=f"it covers a day from when it was made: {names}"
        )
    document = {**found, "made_at": kept.made_at, "used": kept.used, "note": kept.note}
    if as_json:
        click.echo(json.dumps({"schema": 1, **document}))
        return
    for line in why_lines(found, kept.timezone, kept.currency):
        click.echo(line)
    if not kept.used:
        click.echo(f"  but         the plan is not followed: {kept.note}")
    elif status.startswith("no hub"):
        click.echo(f"  ({status})")


def _from_ledger(kind: str, identity: str | None, data_dir: Path | None, as_json: bool) -> None:
    from dataclasses import asdict

    from controller.cli.errors import ExitCode
    from controller.cli.remote import ledger_file
    from controller.shell.why_entry import NothingThere, Reasons
    from controller.store.ledger_file import NotALedger

    if not identity:
        raise Refusal(f"which {kind}? atoll why {kind} ID", ExitCode.USAGE)
    folder = data_dir_of(data_dir)
    try:
        reasons = Reasons(ledger_file(folder))
        try:
            asks = {"bill": reasons.bill, "entry": reasons.entry, "refusal": reasons.refusal}
            found = asks[kind](identity)
        finally:
            reasons.close()
    except NothingThere as error:
        raise Refusal(str(error)) from error
    except NotALedger as error:
        raise Refusal(str(error), hint=f"atoll ledger verify {folder} says more") from error
    click.echo(json.dumps({"schema": 1, **asdict(found)}, indent=2) if as_json else "\n".join(found.lines()))
