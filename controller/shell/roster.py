"""Who joins and who leaves: registers at both ends stand in the log, and leaving takes effect by itself at midnight.

The site file names the members; whoever has left is taken out of the rules although it still names them. The days
until then are billed at the end of the bill period like all others, by a bill that says that it is the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from controller.commands import CommandResult
from controller.ledger.canonical import Json
from controller.ledger.orders import Duplicate, Post, Rejection
from controller.money.desk import Asked, Request
from controller.settlement.charter import Member
from controller.settlement.tenancy import JOIN, LEAVE
from controller.shell.ballot_box import BallotBox
from controller.shell.journal import LogWriter
from controller.store.ledger_port import LedgerStore
from devices.clock import Instant

_NOTHING: Mapping[str, object] = {}


def left(store: LedgerStore, now: Instant) -> dict[str, Instant]:
    """Returns who has left by an instant and not joined again since, with the midnight at which they left."""
    found: dict[str, tuple[int, Instant]] = {}
    for row in store.of_kind(LEAVE):
        body = row.sealed().entry.body
        at = Instant(int(str(body["at"])))
        if at <= now:
            found[row.member] = row.seq, at
    for row in store.of_kind(JOIN):
        if row.member in found and found[row.member][0] < row.seq:
            del found[row.member]
    return {member: at for member, (_, at) in found.items()}


class _Refused(ValueError):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Roster:
    """Takes notes of joining and leaving; durable after the next commit."""

    def __init__(self, journal: LogWriter, votes: BallotBox) -> None:
        self._journal = journal
        self._votes = votes

    def ask(self, asked: Asked, request: Request) -> CommandResult:
        """Notes one joining or leaving, or says why not."""
        kind = LEAVE if request.get("do") == "member-leave" else JOIN
        row = self._journal.store.by_id(asked.id)
        if row is not None and row.kind == kind:
            return CommandResult(asked.id, True, "duplicate", f"{row.member}: this stands in the log")
        try:
            body, message = self._leave(asked, request) if kind == LEAVE else self._join(asked, request)
        except _Refused as error:
            return CommandResult(asked.id, False, error.code, str(error))
        match self._journal.write(Post(asked.id, asked.now, kind, (), body)):
            case Rejection() as refused:
                return CommandResult(asked.id, False, refused.code.value, refused.message)
            case Duplicate():
                return CommandResult(asked.id, True, "duplicate", message)
            case _:
                return CommandResult(asked.id, True, "ok", message)

    def _leave(self, asked: Asked, request: Request) -> tuple[dict[str, Json], str]:
        rules = self._votes.rules(asked.now)
        member = next((one for one in rules.members if one.id == request.get("member")), None)
        if member is None:
            names = ", ".join(one.id for one in rules.members)
            raise _Refused("unknown-member", f"{request.get('member')!r} is no member; members: {names}")
        if member.role == "community":
            raise _Refused("unknown-member", f"{member.id} is the community itself: it cannot leave")
        already = self._noted(member.id)
        if already is not None:
            raise _Refused("already-leaving", f"{member.id} leaves on {already} already")
        day, at = _midnight(request.get("on"), ZoneInfo(rules.charter.timezone), asked.now)
        registers = _registers(request, member)
        body: dict[str, Json] = {
            "member": member.id, "day": day, "at": at, "registers": registers, "by": asked.by,
            "clause": "[[member]] of the site file",
        }  # fmt: skip
        return body, f"{member.id} leaves on {day} at 00:00; the days before are billed at the end of their bill period"

    def _join(self, asked: Asked, request: Request) -> tuple[dict[str, Json], str]:
        coming, name = self._votes.coming(asked.now), request.get("member")
        gone = left(self._journal.store, Instant(2**52)).get(str(name))
        member = next((one for rules in coming for one in rules.members if one.id == name), None)
        if member is None and gone is None:
            raise _Refused(
                "unknown-member", f"{name!r} is no member: add it to the site file and start the hub, then note it"
            )
        registers = _registers(request, member) if member is not None else _registers(request, None)
        body: dict[str, Json] = {"member": str(name), "registers": registers, "by": asked.by}
        again = "; it had left, and is a member again" if gone is not None else ""
        return body, f"{name} joins with {len(registers)} opening registers{again}"

    def _noted(self, member: str) -> str | None:
        if member not in left(self._journal.store, Instant(2**52)):
            return None
        rows = [row for row in self._journal.store.of_kind(LEAVE) if row.member == member]
        return str(rows[-1].sealed().entry.body["day"])


def _midnight(given: object, zone: ZoneInfo, now: Instant) -> tuple[str, Instant]:
    """Returns (day, its first instant) at the community; the next midnight where none is given."""
    today = datetime.fromtimestamp(now / 1000, zone).date()
    try:
        day = date.fromisoformat(given) if isinstance(given, str) and given else today + timedelta(days=1)
    except ValueError as error:
        raise _Refused("bad-day", f"{given!r} is no day: write 2026-07-01") from error
    at = Instant(int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000))
    if at <= now:
        raise _Refused("bad-day", f"{day} has begun: nobody leaves in the past; give a later day")
    return day.isoformat(), at


def _registers(request: Request, member: Member | None) -> dict[str, Json]:
    """Returns usage point -> [import, export] in Wh or mL, of every meter of the member."""
    given = request.get("registers")
    rows = cast("Mapping[str, object]", given) if isinstance(given, dict) else _NOTHING
    found: dict[str, Json] = {}
    for point, values in rows.items():
        match values:
            case [int() as imported, int() as exported] if 0 <= imported < 2**53 and 0 <= exported < 2**53:
                found[point] = [imported, exported]
            case _:
                raise _Refused("bad-register", f"{point}: {values!r} is not [import, export] in whole Wh or mL")
    points = () if member is None else (*member.usage_points, *member.water_points)
    missing = [point for point in points if point not in found]
    strange = [point for point in found if member is not None and point not in points]
    if missing or strange:
        words = [f"read the display of {point} and give it too: --register {point}=IN/OUT" for point in missing]
        words += [f"{', '.join(strange)} is no meter of this member"] if strange else []
        raise _Refused("bad-register", "; ".join(words))
    return found
