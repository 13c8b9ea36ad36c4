"""The mark that `atoll restore` leaves beside a ledger: it may be an old copy, so its log signs nothing yet.

While it is there no head is signed, no record acknowledged, nothing booked for people and nobody erased. It goes when
as many witnesses as the site asks for have cosigned the ledger's newest head anew: none of them has seen a longer one.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from devices.bounded_json import BadJson, parse

RESTORED = "restored.json"
LOG_RESTORED = "log.restored"
"""The log goes on from a copy by a person's decision (`--new-log`): body `made`, `entries`, `root` of the copy."""


class Withheld(RuntimeError):
    """The ledger was restored, and it is not known yet whether it is an old copy."""


@dataclass(frozen=True, slots=True)
class Restored:
    """Which copy was put back; `new_log`: the log goes on from it whatever witnesses have seen."""

    made: str
    entries: int
    root: str
    new_log: bool = False

    def words(self) -> str:
        """Returns what people are told while the mark is there."""
        return (
            f"this ledger was restored from a backup of {self.made or 'unknown age'}: nothing is signed, booked or"
            " acknowledged until enough witnesses have answered that they know no newer one"
        )


def leave_mark(data_dir: Path, mark: Restored) -> None:
    """Writes the mark durably."""
    place = data_dir / RESTORED
    with place.open("w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(mark)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    _sync(data_dir)


def mark_beside(ledger: str | Path) -> Restored | None:
    """Returns the mark beside a ledger file; one that cannot be read counts."""
    path = Path(ledger).parent / RESTORED
    if str(ledger) == ":memory:" or not path.exists():
        return None
    try:
        content = parse(path.read_bytes())
    except BadJson:
        content = None
    match content:
        case {"made": str() as made, "entries": int() as entries, "root": str() as root, "new_log": bool() as new_log}:
            return Restored(made, entries, root, new_log)
        case _:
            return Restored("", 0, "")


def lift_mark(data_dir: Path) -> None:
    """Removes the mark durably."""
    (data_dir / RESTORED).unlink(missing_ok=True)
    _sync(data_dir)


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
