"""`atoll clock set POINT... --error-ms E --drift-ppm D --source technician|rtc|gnss`: how far a clock may be off."""

from __future__ import annotations

import time
from pathlib import Path

import click

from controller.cli.desk import ask_desk, tell
from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_option


@click.group()
def clock() -> None:
    """Tell the ledger how far the clocks of meters may be off, where no time comes from the internet."""


@clock.command(name="set")
@click.argument("points", nargs=-1, required=True)
@click.option("--error-ms", type=click.IntRange(0), required=True, help="Off by at most this, when it was compared.")
@click.option("--drift-ppm", type=click.IntRange(0), required=True, help="Drifts by at most this from then on.")
@click.option("--source", type=click.Choice(["technician", "rtc", "gnss"]), required=True, help="Compared with what.")
@click.option("--reason", required=True, help="Why, and how it was measured.")
@click.option("--at", "at_ms", type=click.IntRange(0), default=None, help="When [ms UTC] (default: now).")
@click.option("--key", type=click.Path(path_type=Path, exists=True), help="The technician's key file, who signs it.")
@click.option("--passphrase", default="", envvar="ATOLL_PASSPHRASE", help="Of the key file.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def set_(  # noqa: PLR0913 - one argument per option
    *,
    points: tuple[str, ...],
    error_ms: int,
    drift_ppm: int,
    source: str,
    reason: str,
    at_ms: int | None,
    key: Path | None,
    passphrase: str,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """State how far the clock behind usage points POINTS may be off; a technician signs it with --key.

    Within the charter's tolerance intervals are billed as they stand, and marked; beyond it they are averaged.
    """
    from controller.settlement.evidence import ClockSet
    from devices.clock import Instant

    at = Instant(_now(data_dir) if at_ms is None else at_ms)
    stated = ClockSet(frozenset(points), at, error_ms, drift_ppm)
    request: dict[str, object] = {
        "do": "clock",
        "usage_points": sorted(points),
        "at": at,
        "error_ms": error_ms,
        "drift_ppm": drift_ppm,
        "source": source,
        "reason": reason,
    }
    if source == "technician":
        if key is None:
            raise Refusal("a technician's time-set is signed: name your key file with --key", ExitCode.USAGE)
        request["signed"] = _signed(stated, key, passphrase)
    tell(ask_desk(data_dir, request), as_json)


def _now(data_dir: Path | None) -> int:
    """Returns the hub's own time [ms UTC] (a demo has its own); this machine's where no hub runs."""
    from controller.cli.remote import data_dir_of
    from controller.shell.control import HubUnreachable, ask

    try:
        at = ask(data_dir_of(data_dir), {"ask": "status"}).get("at")
    except HubUnreachable:
        at = None
    return at if isinstance(at, int) else time.time_ns() // 1_000_000


def _signed(stated: object, key: Path, passphrase: str) -> dict[str, object]:
    from controller.ledger.identity import sign_document
    from controller.settlement.evidence import ClockSet
    from controller.shell.key_file import KeyFileProblem, read_key_file
    from controller.shell.statements import CLOCK_PURPOSE, clock_paper

    assert isinstance(stated, ClockSet)
    try:
        return dict(sign_document(CLOCK_PURPOSE, clock_paper(stated), read_key_file(key, passphrase)))
    except KeyFileProblem as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error
