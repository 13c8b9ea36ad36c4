"""What is wrong with a charter file: contradictions, gaps and clauses that nothing reaches, each with its line.

Each finding names a month in which it shows (the first of its validity unless another does).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from controller.charter_file import base, key_of, price_of
from controller.charter_schema import CharterFile, VectorTable
from controller.ledger.identity import BadDid
from controller.settlement.keys import KeyBroken, Recomputable, Slot
from controller.settlement.prices import BillSharing, Premium, PriceBroken, Shapley, SlotPrices
from controller.settlement.storage import is_divided
from controller.settlement.tariff import TariffTable, compile_year, local_year
from controller.site_problems import LineIndex, Path, SchemaFinding, syntax_problem, where
from controller.site_types import DAYS, minutes
from controller.voting import voter_key
from devices.clock import parse_iso


class Kind(StrEnum):
    """What is wrong with a clause."""

    SYNTAX = "syntax"
    CONTRADICTION = "contradiction"
    GAP = "gap"
    UNREACHABLE = "unreachable"
    LAB_ONLY = "lab-only"
    """A rule that only an auditor can recompute: good for `atoll charter compare`, never in force for households."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One finding; `month` (2027-01) shows it, "" where the file cannot be read that far."""

    kind: Kind
    path: Path
    message: str
    fix: str
    month: str = ""
    line: int = 1

    def text(self, file: str) -> str:
        """Returns the finding as two lines for a person."""
        shown = f" [shows in {self.month}]" if self.month else ""
        return f"{self.kind} {file}:{self.line} {where(self.path)}: {self.message}{shown}\n    fix: {self.fix}"


OF_A_SITE = frozenset(("site", "device", "gateway", "member"))
"""Tables that a site file has, and no charter file."""
_READ_BY = {
    "weights": ("static",),
    "default_weight": ("static", "hourly", "own-key"),
    "slots": ("own-key",),
    "samples": ("shapley",),
    "seed": ("shapley",),
    "hours": ("hourly",),
    "classes": ("rounds",),
    "default_class": ("rounds",),
    "communities": ("participation",),
    "local_price": ("flat",),
    "premium": ("premium",),
    "takers_permille": ("premium",),
    "givers_permille": ("premium",),
}
_NEEDED = {
    "static": ("weights",),
    "hourly": ("hours",),
    "rounds": ("classes",),
    "participation": ("communities",),
    "own-key": ("slots",),
    "shapley": ("samples", "seed"),
    "flat": ("local_price",),
    "premium": ("premium", "takers_permille", "givers_permille"),
}


def check(text: str) -> tuple[CharterFile | None, list[Clause]]:
    """Returns the charter (None where it cannot be read) and every finding, in file order."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem = syntax_problem(error, "", text)
        message = problem.message.partition(" (at line")[0]  # the line stands before it
        return None, [Clause(Kind.SYNTAX, (), message, problem.fix, line=problem.line)]
    if OF_A_SITE & content.keys():
        message = "this is a site file, not a charter file: the rules in its [charter] are written otherwise"
        fix = "atoll check FILE judges it; docs/charter.md shows a charter file"
        return None, [Clause(Kind.SYNTAX, (), message, fix)]
    lines = LineIndex(text)
    try:
        file = CharterFile.model_validate(content)
    except ValidationError as error:
        rows = [SchemaFinding.parse(dict(found)) for found in error.errors(include_url=False)]
        return None, _placed(lines, [_schema(row) for row in rows])
    return file, _placed(lines, findings(file))


def findings(file: CharterFile) -> list[Clause]:
    """Returns what is wrong with a charter that could be read, each with the month that shows it; no lines."""
    found = list(_moments(file))
    if found:
        return found
    found = [*_bands(file), *_clauses(file), *_prices(file), *_key(file), *_quorum(file), *_vectors(file)]
    month = first_month(file)
    return [_with(clause, clause.month or month) for clause in found]


def first_month(file: CharterFile) -> str:
    """Returns the first local month in which the charter holds."""
    moment = parse_iso(file.valid_from)
    return f"{datetime.fromtimestamp(moment / 1000, ZoneInfo(file.timezone)):%Y-%m}"


def _placed(lines: LineIndex, found: list[Clause]) -> list[Clause]:
    placed = [
        Clause(clause.kind, clause.path, clause.message, clause.fix, clause.month, lines.find(clause.path))
        for clause in found
    ]
    return sorted(placed, key=lambda clause: clause.line)


def _with(clause: Clause, month: str) -> Clause:
    return Clause(clause.kind, clause.path, clause.message, clause.fix, month)


def _schema(finding: SchemaFinding) -> Clause:
    match finding.kind:
        case "extra_forbidden":
            return Clause(Kind.UNREACHABLE, finding.path, "unknown clause: nothing reads it", "remove it")
        case "missing":
            return Clause(Kind.GAP, finding.path, "this clause is missing", f"add {finding.path[-1]} = ...")
        case _:
            message, fix = finding.words()
            if isinstance(finding.seen, float) and any(word in str(finding.path[-1]) for word in ("price", "per_")):
                fix = f"prices are whole micro-units, a millionth of the currency: {round(finding.seen * 1e6)}"
            return Clause(Kind.SYNTAX, finding.path, message, fix)


def _moments(file: CharterFile) -> Iterator[Clause]:
    try:
        ZoneInfo(file.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        yield Clause(Kind.SYNTAX, ("timezone",), f"{file.timezone!r} is no time zone", "an IANA name: Europe/Berlin")
    known = [("valid_from", file.valid_from), *([("valid_to", file.valid_to)] if file.valid_to else [])]
    moments: list[int] = []
    for name, written in known:
        try:
            moments.append(parse_iso(written))
        except ValueError as error:
            yield Clause(Kind.SYNTAX, (name,), str(error), "write 2027-01-01T00:00:00+01:00")
    if len(moments) == 2 and moments[0] >= moments[1]:
        yield Clause(Kind.CONTRADICTION, ("valid_to",), "ends before it begins", "an instant after valid_from")


def _bands(file: CharterFile) -> Iterator[Clause]:
    owner: dict[tuple[int, int], int] = {}
    for index, band in enumerate(file.bands):
        first, last = minutes(band.start), minutes(band.end)
        if first >= last:
            message = f"band {band.name!r} is empty: it begins at {band.start} and ends at {band.end}"
            yield Clause(Kind.UNREACHABLE, ("band", index), message, "write a band over midnight as two")
        held = [(DAYS.index(day), minute) for day in band.days for minute in range(first, last)]
        other = next(((owner[at], at) for at in held if at in owner), None)
        if other is not None:
            day, minute = other[1]
            message = (
                f"band {band.name!r} and band {file.bands[other[0]].name!r} both hold on {DAYS[day]} {_clock(minute)}"
            )
            yield Clause(Kind.CONTRADICTION, ("band", index), message, "let each minute have one band")
        owner.update(dict.fromkeys(held, index))
    gap = next(((day, minute) for day in range(7) for minute in range(1440) if (day, minute) not in owner), None)
    if gap is not None:
        message = f"no tariff band holds on {DAYS[gap[0]]} {_clock(gap[1])}"
        yield Clause(Kind.GAP, ("band", 0), message, "add a band, or widen one")
        return
    yield from _unused_bands(file)


def _unused_bands(file: CharterFile) -> Iterator[Clause]:
    """Finds bands that no slot has: shorter than a slot, or in a time of validity that never meets them."""
    charter, start = base(file), parse_iso(file.valid_from)
    end = None if file.valid_to is None else parse_iso(file.valid_to)
    table: TariffTable = compile_year(charter, local_year(charter, start), "check")
    used: set[int] = set()
    for index, (change, band) in enumerate(zip(table.changes, table.bands, strict=True)):
        until = table.changes[index + 1] if index + 1 < len(table.changes) else table.end
        if end is None or (change < end and until > start):
            used.add(band)
    if end is None or end <= table.end:
        for index, band in enumerate(file.bands):
            if index not in used and minutes(band.start) < minutes(band.end):
                message = f"band {band.name!r} holds in no slot while the charter does"
                yield Clause(Kind.UNREACHABLE, ("band", index), message, "remove it, or begin it on a quarter hour")


def _clauses(file: CharterFile) -> Iterator[Clause]:
    for table, chosen, row in (
        ("sharing", file.sharing.key, file.sharing),
        ("price", file.price.rule, file.price),
    ):
        for name in sorted(row.model_fields_set & _READ_BY.keys()):
            default = getattr(type(row).model_construct(), name)  # written out in the canonical document
            if chosen not in _READ_BY[name] and getattr(row, name) != default:
                message = f"{name} has no effect: {table} is {chosen!r}"
                fix = f"remove it, or choose {' or '.join(_READ_BY[name])}"
                yield Clause(Kind.UNREACHABLE, (table, name), message, fix)
        for name in _NEEDED.get(chosen, ()):
            if name not in row.model_fields_set:
                yield Clause(Kind.GAP, (table,), f"{chosen!r} needs {name}", f"add {name} = ...")
    for table, rule in (("sharing", key_of(file, ())), ("price", price_of(file))):
        if rule.recomputable is not Recomputable.HOUSEHOLD:
            message = f"{table} {type(rule).__name__}: only an auditor can recompute it, a household cannot"
            yield Clause(Kind.LAB_ONLY, (table,), message, "compare with it; put another into force")
    yield from _storage(file)
    yield from _services(file)
    yield from _together(file)


def _together(file: CharterFile) -> Iterator[Clause]:
    """Finds clauses that do not go together."""
    lifeline = file.lifeline
    if lifeline.wh and file.price.rule == "bill-sharing":
        message = "the lifeline block has no effect: bill sharing divides one bill by energy taken"
        yield Clause(Kind.UNREACHABLE, ("lifeline", "wh"), message, "choose another price rule, or remove the block")
    if (file.price.rule == "premium") != (file.sharing.key == "shared-energy"):
        message = f"sharing {file.sharing.key!r} with price {file.price.rule!r}: the premium is for shared energy only"
        yield Clause(
            Kind.CONTRADICTION, ("price", "rule"), message, "choose both of shared-energy and premium, or none"
        )
    seen: dict[str, str] = {}
    for index, row in enumerate(file.network):
        for member in row.members:
            if member in seen:
                message = f"{member} is on feeder {seen[member]!r} and on {row.feeder!r}"
                yield Clause(Kind.CONTRADICTION, ("network", index, "members"), message, "name it once")
            seen[member] = row.feeder


def _storage(file: CharterFile) -> Iterator[Clause]:
    """Finds a division of stored energy that cannot be metered or priced, or that divides nothing."""
    storage = file.storage
    if storage is None:
        return
    if not is_divided(storage):
        if storage.points is not None:
            message = "points has no effect: the community owns what is stored and bears the losses, as for any meter"
            yield Clause(Kind.UNREACHABLE, ("storage", "points"), message, "remove it, or choose depositor or use")
        return
    if storage.points is None:
        yield Clause(Kind.GAP, ("storage",), "which meters are storages?", 'add points = ["battery-1"]')
    elif len(set(storage.points)) != len(storage.points):
        yield Clause(Kind.CONTRADICTION, ("storage", "points"), "a meter is named twice", "name each once")
    if file.sharing.key != "proportional" or file.price.rule not in ("flat", "mid-market", "supply-demand"):
        message = (
            f"sharing {file.sharing.key!r} with price {file.price.rule!r}: what a storage's charge costs in a slot"
        )
        message += " is only known by proportional shares at a price of the slot"
        fix = "choose proportional with flat, mid-market or supply-demand, or leave it to the community"
        yield Clause(Kind.CONTRADICTION, ("storage", "owner"), message, fix)


def _services(file: CharterFile) -> Iterator[Clause]:
    """Finds services with two prices."""
    seen: set[str] = set()
    for index, row in enumerate(file.service):
        if row.name in seen:
            yield Clause(Kind.CONTRADICTION, ("service", index, "name"), f"{row.name} has two prices", "keep one")
        seen.add(row.name)


def _prices(file: CharterFile) -> Iterator[Clause]:
    local = file.price.local_price
    for index, band in enumerate(file.bands):
        if file.export_price > band.import_price:
            message = f"the outside pays {file.export_price} and asks {band.import_price} in {band.name!r}"
            yield Clause(Kind.CONTRADICTION, ("band", index, "import_price"), message, "check both prices")
        elif file.price.rule == "flat" and local is not None and local > band.import_price:
            message = f"local_price {local} is above the {band.import_price} of {band.name!r}: sharing costs more"
            yield Clause(Kind.CONTRADICTION, ("price", "local_price"), message, "at most the cheapest band")
    if file.price.rule == "flat" and local is not None and local < file.export_price:
        message = f"local_price {local} is below export_price {file.export_price}: selling to members costs"
        yield Clause(Kind.CONTRADICTION, ("price", "local_price"), message, "at least export_price")
    cheapest = min(band.import_price for band in file.bands)
    if file.lifeline.wh and file.lifeline.price > cheapest:
        message = f"the lifeline price {file.lifeline.price} is above {cheapest}, which energy costs without it"
        yield Clause(Kind.CONTRADICTION, ("lifeline", "price"), message, "at most the cheapest band")
    if file.lifeline.ml and file.lifeline.water_price > file.water_price:
        message = f"lifeline water costs {file.lifeline.water_price}, other water {file.water_price}"
        yield Clause(Kind.CONTRADICTION, ("lifeline", "water_price"), message, "at most water_price")


def _key(file: CharterFile) -> Iterator[Clause]:
    sharing = file.sharing
    named = {member for row in sharing.communities or [] for member in row.percent}
    try:
        key_of(file, (*sorted(named), "anybody else"))
    except KeyBroken as error:
        yield Clause(Kind.CONTRADICTION, ("sharing", "communities"), str(error), "at most 100 % per member")
    try:
        price_of(file)
    except PriceBroken as error:
        yield Clause(Kind.CONTRADICTION, ("price", "givers_permille"), str(error), "at most 1000 together")
    rows: list[dict[str, int]] = [sharing.weights or {}, *(sharing.hours or [])]
    for index, weights in enumerate(rows):
        if weights and not sharing.default_weight and not any(weights.values()):
            path: Path = ("sharing", "hours") if index else ("sharing", "weights")
            yield Clause(Kind.GAP, path, "nobody has a weight above zero", "give somebody a weight")


def _quorum(file: CharterFile) -> Iterator[Clause]:
    quorum = file.quorum
    for index, key in enumerate(quorum.of):
        try:
            voter_key(key)
        except BadDid as error:
            yield Clause(Kind.SYNTAX, ("quorum", "of", index), str(error), "what `atoll key show FILE` prints")
    if len(set(quorum.of)) != len(quorum.of):
        yield Clause(Kind.CONTRADICTION, ("quorum", "of"), "an approver is named twice", "name each once")
    if quorum.approvals > len(set(quorum.of)):
        message = f"{quorum.approvals} approvals of {len(set(quorum.of))} approvers: this charter can never be changed"
        yield Clause(Kind.UNREACHABLE, ("quorum", "approvals"), message, "at most the number of approvers")


def _vectors(file: CharterFile) -> Iterator[Clause]:
    if not file.vector:
        yield Clause(Kind.GAP, ("sharing",), "no test vector", "add a [[vector]]: another program proves by it")
    for index, vector in enumerate(file.vector):
        members = sorted(vector.taken.keys() | vector.given.keys())
        try:
            found = _vector(file, vector, members)
        except (KeyBroken, PriceBroken) as error:
            found = {"rule": str(error)}
        for name, message in found.items():
            yield Clause(Kind.CONTRADICTION, ("vector", index, name), message, "mend the vector or the rule")


def _vector(file: CharterFile, vector: VectorTable, members: list[str]) -> Mapping[str, str]:
    """Returns what differs between a vector and the charter's own rules, by key."""
    slot = Slot(tuple(vector.taken.get(m, 0) for m in members), tuple(vector.given.get(m, 0) for m in members))
    shares, rule = key_of(file, members).share(slot, 0), price_of(file)
    found: dict[str, str] = {}
    for name, wanted, got in (("near", vector.near, shares.near), ("sold", vector.sold, shares.sold)):
        real = {member: str(part) for member, part in zip(members, got, strict=True) if part}
        if {member: part for member, part in wanted.items() if part != "0"} != real:
            found[name] = f"the vector says {wanted}, the charter's rules say {real}"
    if vector.price is not None and not isinstance(rule, BillSharing | Premium | Shapley):
        price = rule.price(SlotPrices(sum(slot.taken), sum(slot.given), vector.import_price, file.export_price))
        if price != vector.price:
            found["price"] = f"the vector says {vector.price}, the charter's rules say {price}"
    return found


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
