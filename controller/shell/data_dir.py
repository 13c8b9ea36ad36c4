"""What the hub keeps in its data directory beside the databases: the count of its starts."""

from __future__ import annotations

import json
from pathlib import Path

from devices.bounded_json import BadJson, parse
from devices.clock import SECOND_MS, Instant
from devices.shell.run_clock import write_whole

LEDGER = "ledger.db"
CONSOLE = "console.db"
RUN = "run.json"
FLEET = "fleet.json"
HUB = "hub.json"
OPERATOR_CODE = "operator-code.txt"


class HubFileBroken(ValueError):
    """hub.json cannot be read; without it an older hub's setpoints could not be told from ours."""


def next_epoch(data_dir: Path, now: Instant) -> int:
    """Returns this start's number, durably higher than the last: it fences out an older hub's setpoints.

    It is never below the seconds of the run's clock: gateways remember the highest that they have seen, so a hub whose
    file was lost or restored from an old copy would otherwise be refused by all of them.

    Raises:
        HubFileBroken: the file holds something else.
    """
    path = data_dir / HUB
    last = 0
    if path.exists():
        try:
            content = parse(path.read_bytes())
        except BadJson as error:
            raise HubFileBroken(f'{path}: {error}; write {{"epoch": N}} with N above every epoch in the log') from error
        match content:
            case {"epoch": int() as found} if found >= 0:
                last = found
            case _:
                raise HubFileBroken(f'{path} holds no epoch; write {{"epoch": N}} with N above every epoch in the log')
    epoch = max(last + 1, now // SECOND_MS)
    write_whole(path, json.dumps({"epoch": epoch}) + "\n")
    return epoch
