"""Statements about meters and clocks, and the keys of gateways: checked, and written into the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from controller.commands import CommandResult
from controller.entry_words import register_words
from controller.ledger.canonical import Json
from controller.ledger.entries import Entry, SealedEntry, derived_id, is_entry_id
from controller.ledger.identity import BadSignature, verify_document
from controller.ledger.orders import Duplicate, Post, Rejection
from controller.ledger.sealing import is_shut
from controller.money.desk import Asked, Request
from controller.settlement.evidence import CLOCK_SET, METER_REPLACED, ClockSet, Evidence, Replacement
from controller.settlement.published import CHARTER, parse_rules
from controller.shell.journal import Journal
from controller.shell.signed_days import GATEWAY_KEY
from controller.store.key_entries import MEMBER_KEY
from controller.voting import VOTE_RULES
from devices.clock import DAY_MS, HOUR_MS, Instant
from devices.model import Commodity, IntervalRecord
from devices.records import RATE_MAX, flow_at_most

STATEMENTS = ("meter", "clock")
SOURCES = ("technician", "rtc", "gnss")
CLOCK_PURPOSE = "clock-set"
END_OF_TIME = Instant(2**52)
LOOK_BACK_MS = 400 * DAY_MS
WHOLE_MAX = 2**53
TEXT_MAX = 200
Stretch = tuple[Instant, Instant]


class _Refusal(ValueError):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Statements:
    """The one who writes them; durable with the journal's next commit."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._file = journal.file
        self._fresh: list[Entry] = []
        self._named = {
            (str(row.sealed().entry.body.get("node")), str(row.sealed().entry.body.get("key")))
            for row in journal.file.of_kind(GATEWAY_KEY)
        }

    def fresh(self) -> list[Entry]:
        """Returns the statements written since the last call."""
        found, self._fresh = self._fresh, []
        return found

    def name_key(self, node: str, key: str, now: Instant) -> None:
        """Writes which key a gateway signs with, unless the log says so already."""
        if (node, key) not in self._named:
            self._named.add((node, key))
            body: dict[str, Json] = {"node": node, "key": key}
            self._journal.must(Post(derived_id(now, GATEWAY_KEY, node, key), now, GATEWAY_KEY, (), body))

    def ask(self, asked: Asked, request: Request) -> tuple[CommandResult, Stretch | None]:
        """Carries out one request; returns the answer and the time in which days are to be settled again."""
        acts: Mapping[str, Callable[[Asked, Request], tuple[str, Stretch]]] = {
            "meter": self._meter,
            "clock": self._clock,
        }
        if not is_entry_id(asked.id):
            return CommandResult(asked.id, False, "bad-id", "a request carries a UUIDv7 made by its sender"), None
        try:
            message, stretch = acts[str(request["do"])](asked, request)
        except _Refusal as refusal:
            return CommandResult(asked.id, False, refusal.code, str(refusal)), None
        return CommandResult(asked.id, True, "ok", message), stretch

    def _meter(self, asked: Asked, request: Request) -> tuple[str, Stretch]:
        point, reason = _text(request, "usage_point"), _text(request, "reason")
        self._need_points([point])
        closing, opening = _pair(request, "closing"), _pair(request, "opening")
        newest = max((row.epoch for row in self._file.meters() if row.point == point), default=0)
        if not newest:
            raise _Refusal("unknown-meter", f"{point} has no records yet: there is no old meter to close")
        given = request.get("epoch")
        known = self._evidence().replaced.get(point, {})
        epoch = given if isinstance(given, int) else newest if newest > 1 and newest not in known else newest + 1
        since = Instant(self._file.last_start() - LOOK_BACK_MS)
        last = self._file.of_meter(point, epoch - 1, since, last=True)
        if last is None:
            raise _Refusal("unknown-meter", f"{point} has no records of meter {epoch - 1}")
        first = self._file.of_meter(point, epoch, since, last=False) if epoch <= newest else None
        at, water = _instant(request, asked.now), last.commodity is Commodity.WATER
        until = at if first is None else first.start
        _need_order(f"closing register of {point}", closing, (last.import_end, last.export_end), water, at_least=True)
        _need_possible(f"closing register of {point}", closing, last, until)
        if first is not None:
            start = first.import_start, first.export_start
            _need_order(f"opening register of {point}", opening, start, water, at_least=False)
        body = Replacement(point, epoch, closing, opening).body(at, reason, asked.by)
        member = self._file.tenant_at(point, at)
        if self._journal.seals(member):  # so that it is found, and its registers go, when the member's data are erased
            body["member"] = member
        self._post(asked, METER_REPLACED, body)
        more, ends = register_words(closing[0] - last.import_end, water=water), register_words(closing[0], water=water)
        message = (
            f"{point}: meter {epoch} follows meter {epoch - 1}, which closed at {ends}, {more} after its last record"
        )
        return message, (Instant(last.start), END_OF_TIME)

    def _clock(self, asked: Asked, request: Request) -> tuple[str, Stretch]:
        given = request.get("usage_points")
        points = [str(point) for point in cast("list[object]", given)] if isinstance(given, list) else []
        self._need_points(points)
        source, reason = _text(request, "source"), _text(request, "reason")
        if source not in SOURCES:
            raise _Refusal("bad-source", f"a clock is set from {', '.join(SOURCES)}, not {source!r}")
        at = _instant(request, asked.now)
        clock = ClockSet(frozenset(points), at, _whole(request, "error_ms"), _whole(request, "drift_ppm"))
        body = clock.body(source, reason, asked.by)
        if source == "technician":
            signer, body["signed"] = _signed_by(request.get("signed"), clock)
            self._need_other(signer, points)
        self._post(asked, CLOCK_SET, body)
        message = f"clock of {', '.join(points)}: off by at most {clock.error_ms} ms, drift {clock.drift_ppm} ppm"
        return message, (at, END_OF_TIME)

    def _evidence(self) -> Evidence:
        evidence = Evidence()
        for row in self._file.of_kind(METER_REPLACED):
            entry = row.sealed().entry
            if not is_shut(entry.body):
                evidence.absorb(entry)
        return evidence

    def _need_other(self, signer: str, points: Sequence[str]) -> None:
        """Refuses a household's statement about its own meters: how they are billed depends on it."""
        rules = parse_rules(self._file.latest_of_kind(CHARTER, 1)[0].sealed().entry.body)
        owners = {one.id for one in rules.members if {*points} & {*one.usage_points, *one.water_points}}
        for name in sorted(owners):
            if signer in self._keys_of(name):
                raise _Refusal(
                    "own-meter", f"{signer} is the key of {name}, whose meters these are: another person signs"
                )

    def _keys_of(self, member: str) -> set[str]:
        """Returns every key that the log has ever named for a member."""
        voters = (row.sealed().entry.body.get("of") for row in self._file.of_kind(VOTE_RULES))
        found = {str(of[member]) for of in voters if isinstance(of, Mapping) and member in of}
        bodies = (row.sealed().entry.body for row in self._file.of_kind(MEMBER_KEY))
        return found | {
            str(body.get(key)) for body in bodies if body.get("member") == member for key in ("key", "before")
        }

    def _need_points(self, points: Sequence[str]) -> None:
        unknown = dict.fromkeys(points)
        for row in reversed(self._file.of_kind(CHARTER)):  # the newest knows them nearly always
            if not unknown:
                break
            for point in parse_rules(row.sealed().entry.body).points():
                unknown.pop(point, None)
        if unknown or not points:
            raise _Refusal("unknown-meter", f"no charter knows {', '.join(unknown) or 'a usage point of no name'}")

    def _post(self, asked: Asked, kind: str, body: Mapping[str, Json]) -> None:
        outcome = self._journal.write(Post(asked.id, asked.now, kind, (), body))
        if isinstance(outcome, Rejection):
            raise _Refusal(outcome.code.value, outcome.message)
        if isinstance(outcome, Duplicate):
            return
        assert isinstance(outcome, SealedEntry)
        self._fresh.append(outcome.entry)


def clock_paper(clock: ClockSet) -> dict[str, Json]:
    """Returns what a technician signs."""
    return {
        "usage_points": sorted(clock.usage_points),
        "at": clock.at,
        "error_ms": clock.error_ms,
        "drift_ppm": clock.drift_ppm,
    }


def _signed_by(paper: object, clock: ClockSet) -> tuple[str, dict[str, Json]]:
    """Returns (did:key, signed paper) of the technician.

    Raises:
        _Refusal: there is none, or it is not over this statement.
    """
    if not isinstance(paper, Mapping):
        raise _Refusal("not-signed", "a technician's time-set is signed with the technician's key file (--key)")
    document = cast("Mapping[str, Json]", paper)
    try:
        signer, said = verify_document(CLOCK_PURPOSE, document)
    except BadSignature as error:
        raise _Refusal("bad-signature", str(error)) from error
    if said != clock_paper(clock):
        raise _Refusal("bad-signature", f"what is signed is {said}, not this time-set")
    return signer, dict(document)


def _need_order(what: str, given: tuple[int, int], known: tuple[int, int], water: bool, *, at_least: bool) -> None:
    for name, seen, other in zip(("import", "export"), given, known, strict=True):
        if (seen < other) if at_least else (seen > other):
            relation = "below the last record's" if at_least else "above the first record's"
            read, right = (register_words(register, water=water) for register in (seen, other))
            raise _Refusal("bad-register", f"{what}: {name} {read} is {relation} {right}; read the display again")


def _need_possible(what: str, given: tuple[int, int], last: IntervalRecord, until: Instant) -> None:
    """Refuses a closing register that no meter reaches between its last record and its end."""
    water, most = last.commodity is Commodity.WATER, flow_at_most(RATE_MAX[last.commodity], until - last.end)
    for name, seen, known in zip(("import", "export"), given, (last.import_end, last.export_end), strict=True):
        if seen - known > most:
            read, more, limit = (register_words(register, water=water) for register in (seen, seen - known, most))
            raise _Refusal(
                "bad-register",
                f"{what}: {name} {read} is {more} above the last record's, {(until - last.end) / HOUR_MS:.1f} h before;"
                f" at most {limit} can have flown since: read the display again",
            )


def _text(request: Request, key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not value.strip() or len(value) > TEXT_MAX or not value.isprintable():
        raise _Refusal("bad-text", f"{key} is missing, longer than {TEXT_MAX} characters, or does not print")
    return value.strip()


def _whole(request: Request, key: str) -> int:
    value = request.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < WHOLE_MAX:
        raise _Refusal("bad-number", f"{key} is {value!r}, not a whole number from 0 on")
    return value


def _pair(request: Request, key: str) -> tuple[int, int]:
    match request.get(key):
        case [int() as imported, int() as exported] if (
            min(imported, exported) >= 0 and max(imported, exported) < WHOLE_MAX
        ):
            return imported, exported
        case other:
            raise _Refusal("bad-register", f"{key} is {other!r}, not an import and an export register")


def _instant(request: Request, now: Instant) -> Instant:
    if request.get("at") is None:
        return now
    at = Instant(_whole(request, "at"))
    if at > now:
        raise _Refusal("bad-time", "what has not happened yet cannot be stated")
    return at
