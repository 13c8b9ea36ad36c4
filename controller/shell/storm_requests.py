"""What `hub.sock` is asked about storms, and the storm that outlives a restart, read back from the log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from controller.commands import Actor, CancelStorm, Command, DeclareStorm
from controller.shell.ledger_reader import LedgerReader
from controller.storm import Storm
from devices.clock import HOUR_MS, MINUTE_MS, Instant, parse_iso

REMEMBERED = 200


class BadTime(ValueError):
    """No time that can be understood."""


def moment(text: str, zone: str, now: Instant) -> Instant:
    """Returns the instant of `+6h`, `+90min`, a local time such as 2026-06-03T18:00, or ISO 8601 with offset.

    Raises:
        BadTime: none of these.
    """
    ahead = re.fullmatch(r"\+(\d{1,4})\s*(h|min|m)", text.strip())
    if ahead is not None:
        return Instant(now + int(ahead.group(1)) * (HOUR_MS if ahead.group(2) == "h" else MINUTE_MS))
    try:
        found = datetime.fromisoformat(text.strip())
        local = found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))
        return Instant(round(local.timestamp() * 1000))
    except (ValueError, OverflowError) as error:
        raise BadTime(f"{text!r} is no time: write 2026-06-03T18:00 (local), ISO 8601 with offset, or +6h") from error


def storm_command(
    request: Mapping[str, object], name: str, actor: Actor, zone: str, now: Instant
) -> Command | str | None:
    """Returns the command that a request asks for, what is wrong with it, or None where it is about something else."""
    reason = str(request.get("reason", ""))
    match request:
        case {"ask": "storm-declare", "from": str() as start, "until": str() as end}:
            try:
                return DeclareStorm(name, actor, moment(start, zone, now), moment(end, zone, now), reason)
            except BadTime as error:
                return str(error)
        case {"ask": "storm-cancel"}:
            return CancelStorm(name, actor, reason)
        case _:
            return None


def standing_storm(reader: LedgerReader, now: Instant) -> Storm | None:
    """Returns the declared storm that outlives the restart: the newest that was not cancelled and is not over."""
    entries = [entry for kind in ("storm", "storm-cancel") for entry in reader.of_kind(kind, REMEMBERED)]
    found: Storm | None = None
    for entry in sorted(entries, key=lambda entry: entry.seq):
        body = entry.body
        if body.get("result") != "ok":
            continue
        if entry.kind == "storm-cancel":
            found = None
        else:
            start, end, at = (parse_iso(str(body[key])) for key in ("from", "until", "at"))
            found = Storm(start, end, str(body["reason"]), str(body["by"]), at)
    return found if found is not None and found.end > now else None
