"""`atoll meter replace POINT --closing I,E --opening I,E --reason R`: two meters become one series."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.desk import ask_desk, tell
from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_option


@click.group()
def meter() -> None:
    """Tell the ledger what happened to a meter; days that it changes are settled again."""


@meter.command()
@click.argument("point")
@click.option(
    "--closing", required=True, metavar="IMPORT[,EXPORT]", help="The old meter's display at the end [Wh, mL]."
)
@click.option("--opening", required=True, metavar="IMPORT[,EXPORT]", help="The new meter's display at the start.")
@click.option("--reason", required=True, help="Why it was replaced.")
@click.option("--epoch", type=click.IntRange(2), default=None, help="Which meter it is (default: the newest one).")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replace(
    *, point: str, closing: str, opening: str, reason: str, epoch: int | None, data_dir: Path | None, as_json: bool
) -> None:
    """Join the new meter at usage point POINT to the old one by their registers.

    What both counted between their records falls into the gap between them, and is billed. Until then the day of the
    replacement is held back for this account.
    """
    request: dict[str, object] = {
        "do": "meter",
        "usage_point": point,
        "closing": _registers("--closing", closing),
        "opening": _registers("--opening", opening),
        "reason": reason,
        **({} if epoch is None else {"epoch": epoch}),
    }
    tell(ask_desk(data_dir, request), as_json)


def _registers(option: str, text: str) -> list[int]:
    """Returns [import, export] of `81234,120` or `81234`.

    Raises:
        Refusal: not one or two whole numbers.
    """
    parts = text.split(",")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        raise Refusal(f"{option} {text!r} is not IMPORT or IMPORT,EXPORT in whole Wh (water: mL)", ExitCode.USAGE)
    return [int(part) for part in [*parts, "0"][:2]]
