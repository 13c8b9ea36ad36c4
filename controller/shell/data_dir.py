"""What the hub keeps in its data directory beside the databases: the count of its starts."""

from __future__ import annotations

import json
from pathlib import Path

from devices.bounded_json import BadJson, parse
from devices.shell.run_clock import write_whole

LEDGER = "ledger.db"
CONSOLE = "console.db"
RUN = "run.json"
FLEET = "fleet.json"
HUB = "hub.json"
OPERATOR_CODE = "operator-code.txt"


class HubFileBroken(ValueError):
    """hub.json cannot be read; without it an older hub's setpoints could not be told from ours."""


def next_epoch(data_dir: Path) -> int:
    """Returns this start's number, durably one higher than the last: it fences out an older hub's setpoints.

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
    write_whole(path, json.dumps({"epoch": last + 1}) + "\n")
    return last + 1
