"""What a charter makes of one member's energy and water: shares, quantities, lines of a bill (docs/charter.md).

Part of atoll_verify.py, which proves what goes in here; shares no code with the program that made the bill. Whole
numbers: own and public energy in Wh, shares in uWh, water in mL, prices in micro-units per kWh, m3 or piece.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias, cast

Row: TypeAlias = Mapping[str, Any]  # an object of a document that the log holds
Line: TypeAlias = tuple[str, str, int, int]  # text, unit, price, quantity
Shares: TypeAlias = tuple[int, int, int]  # of one slot: taken from the community, given to it, shared by all [uWh]
FORMAT, UWH_PER_WH, MICRO, HOUR_MS = "atoll-charter/1", 1_000_000, 10**9, 3_600_000
KEYS = "proportional", "static", "hourly", "rounds", "participation", "shared-energy"
RULES = "flat", "mid-market", "supply-demand", "bill-sharing", "premium"
SITE_FILE: Row = {"sharing": {"key": "proportional"}, "fees": {}, "network": [], "service": []}
COPIED = "version", "currency", "minor_digits", "timezone", "export_price", "water_price", "bill_period", "rounding"
SERVICES = {"delivery": "deliveries"}  # what is counted in a bill: clause -> text of its line
CLAUSES = {
    *COPIED, "clock_tolerance_ms", "schema", "name", "valid_from", "valid_to", "slot_min", "late_window_h", "band",
    "sharing", "price", "lifeline", "fees", "network", "service", "storage", "dividend", "quorum", "vector", "format",
    "recomputable",
}  # fmt: skip


BAND, WEIGHTS = {"name": "text", "import_price": "whole"}, {"*": "whole"}
IDS = {
    "charter": {
        "sharing": "text",
        "rounding": "text",
        "clauses?": {"sharing": {"key": "text"}, "price": {"rule": "text"}},
    }
}
CLAUSES_FORM = {
    "valid_from": "whole", "version": "whole", "currency": "text", "minor_digits": "whole", "timezone": "text",
    "export_price": "whole", "water_price": "whole", "bill_period": "text", "rounding": "text", "band": [BAND],
    "clock_tolerance_ms?": "whole", "service": [{"name": "text", "price": "whole"}],
    "sharing": {
        "key": "text", "weights?": WEIGHTS, "hours?": [WEIGHTS], "default_weight?": "whole", "classes?": WEIGHTS,
        "default_class?": "whole", "communities?": [{"percent": WEIGHTS, "default_percent": "whole"}],
    },
    "price": {
        "rule": "text", "local_price?": "whole", "premium?": "whole", "takers_permille?": "whole",
        "givers_permille?": "whole",
    },
    "lifeline": {"wh": "whole", "price": "whole", "ml": "whole", "water_price": "whole", "not_for": ["text"]},
    "fees": {"levy_per_kwh?": "whole", "solidarity_per_kwh?": "whole", "per_bill?": "whole"},
    "network": [{"feeder": "text", "per_kwh": "whole", "members": ["text"]}],
    "storage?": {"owner": "text", "losses": "text", "points?": ["text"]},
}  # fmt: skip
RULES_FORM = {
    "grid_point": "text",
    "members": [{"id": "text", "lifeline": "truth", "usage_points": ["text"], "water_points": ["text"]}],
    "charter": {
        "version": "whole", "currency": "text", "minor_digits": "whole", "timezone": "text", "bands": [BAND],
        "export_price": "whole", "water_price": "whole", "local_price": "whole", "bill_period": "text",
        "lifeline_wh": "whole", "lifeline_price": "whole", "lifeline_ml": "whole", "lifeline_water_price": "whole",
        "clock_tolerance_ms?": "whole", "clauses?": CLAUSES_FORM,
    },
}  # fmt: skip
TABLE_FORM = {"days": [["text", "whole"]], "changes": [["whole", "whole"]], "end": "whole"}
RUN_FORM = {
    "taken": ["whole"], "given": ["whole"],
    "public?": {
        "shared": ["digits"], "taken_by_class?": [["whole", ["whole"]]], "taken_by_community?": [["digits"]],
        "given_by_community?": [["digits"]], "stored?": ["whole"], "released?": ["whole"],
    },
}  # fmt: skip


def fits(value: object, form: object) -> bool:
    """Returns whether a value has a form: a word, `[form]` of each item, `[form, form]`, or `{key: form}`.

    A key may be missing where it ends in `?`; `*` stands for every key. Numbers are not below 0.
    """
    if isinstance(form, dict):
        if type(value) is not dict:
            return False
        row, forms = cast("dict[str, object]", value), cast("dict[str, object]", form)
        if "*" in forms:
            return all(fits(one, forms["*"]) for one in row.values())
        names = [(name.removesuffix("?"), name, each) for name, each in forms.items()]
        return all(fits(row[key], each) if key in row else key != name for key, name, each in names)
    if isinstance(form, list):
        parts, each = cast("list[object]", value), cast("list[object]", form)
        if type(value) is not list or len(each) not in (1, len(parts)):
            return False
        return all(map(fits, parts, each if len(each) > 1 else repeat(each[0])))
    if form == "whole":
        return type(value) is int and 0 <= value < 2**53
    digits = form != "digits" or (type(value) is str and value.isascii() and value.isdigit())
    return type(value) is (bool if form == "truth" else str) and digits


class Terms(NamedTuple):
    """The rules of one day for one member."""

    charter: Row  # as the log publishes it
    members: Sequence[Row]
    member: Row
    bands: Sequence[int]  # of each slot
    start: int  # of the day

    @property
    def clauses(self) -> Row:
        flat = {"rule": "flat", "local_price": self.charter["local_price"]}
        return self.charter.get("clauses", {**SITE_FILE, "price": flat})

    def prices(self) -> list[int]:  # of energy from outside, in each slot
        return [self.charter["bands"][band]["import_price"] for band in self.bands]


class Quantities(NamedTuple):
    """A member's day: energy as it is priced and as it was shared [uWh], water [mL]."""

    lifeline: int
    local: int
    sold: int
    exported: int
    from_local: int
    from_outside: int
    water_lifeline: int
    water: int


def unknown(charter: Row) -> list[str]:
    """Returns the rules that cannot be recomputed here; none, or all by name."""
    rules, ids = charter.get("clauses"), [charter["sharing"], charter["rounding"]]
    if rules is None:
        return [] if ids == ["proportional", "half-even-per-bill"] else ids
    ids += [rules["sharing"]["key"], rules["price"]["rule"], *sorted(rules.keys() - CLAUSES)]
    known = ids[:2] == [FORMAT, "half-even-per-bill"] and ids[2] in KEYS and ids[3] in RULES and len(ids) == 4
    return [] if known else ids


def storage_known(charter: Row) -> bool:
    """Returns whether what a charter says of stored energy can be recomputed here."""
    rules: Row = charter.get("clauses", {})
    clause: Row = rules.get("storage", {"owner": "community", "losses": "community"})
    owner, losses = clause["owner"], clause["losses"]
    named = owner in ("community", "depositor") and losses in ("community", "depositor", "use")
    if not named or clause.keys() - {"owner", "losses", "points"}:
        return False
    whole = bool(clause.get("points")) and rules["sharing"]["key"] == KEYS[0] and rules["price"]["rule"] in RULES[:3]
    return owner == losses == "community" or whole


def divided(terms: Terms) -> bool:
    """Returns whether the charter divides the result of storages."""
    clause: Row = terms.clauses.get("storage", {})
    return bool(clause) and (clause["owner"], clause["losses"]) != ("community", "community")


def keeps(terms: Terms) -> list[str]:
    """Returns the member's storages whose result the charter divides."""
    own: list[str] = terms.member["usage_points"] if terms.member and divided(terms) else []
    names: list[str] = terms.clauses["storage"]["points"] if own else []
    return [name for name in names if name in own] if names and names[0] in own else []


def stored(terms: Terms, run: Row, tooks: list[int], gaves: list[int]) -> list[int]:
    """Returns a day's storages: paid, fetched, charged, released, deposited and used by all; own deposited and used.

    Money in 1e-15, energy in uWh; nothing where the charter divides nothing.
    """
    if not divided(terms):
        return [0] * 8
    rule, feed_in, keeper = terms.clauses["price"], terms.charter["export_price"], bool(keeps(terms))
    found, rows = [0] * 8, (run["public"]["stored"], run["public"]["released"], run["taken"], run["given"])
    for into, out, taken, given, took, gave, retail in zip(*rows, tooks, gaves, terms.prices(), strict=True):
        price, matched = _price(rule, retail, feed_in, taken, given), min(taken, given)
        near, sold = _part(into * UWH_PER_WH, matched, taken), _part(out * UWH_PER_WH, matched, given)
        covered = near if given > out else 0
        day = [near * price + (into * UWH_PER_WH - near) * retail, sold * price + (out * UWH_PER_WH - sold) * feed_in]
        day += [into * UWH_PER_WH, out * UWH_PER_WH, covered, (taken - into) * UWH_PER_WH]
        day += [_part(covered, gave - out * keeper, given - out), (took - into * keeper) * UWH_PER_WH]
        found = [a + b for a, b in zip(found, day, strict=True)]
    return found


def contradicted(charter: Row, members: Sequence[Row]) -> str:
    """Returns the first field in which a published charter says something else than the clauses voted for, or ''."""
    rules = charter.get("clauses")
    if rules is None:
        return ""
    life, seen = rules["lifeline"], {key: charter[key] for key in COPIED}
    seen |= {key: charter[key] for key in ("lifeline_wh", "lifeline_price", "lifeline_ml", "lifeline_water_price")}
    right = {key: rules[key] for key in COPIED} | {f"lifeline_{key}": life[key] for key in life if key != "not_for"}
    seen["bands"] = [[band["name"], band["import_price"]] for band in charter["bands"]]
    right["bands"] = [[band["name"], band["import_price"]] for band in rules["band"]]
    seen["lifeline"] = [member["lifeline"] for member in members]
    right["lifeline"] = [member["id"] not in life["not_for"] for member in members]
    for found, document in ((seen, charter), (right, rules)):
        found["clock_tolerance_ms"] = document.get("clock_tolerance_ms")
    return next((key for key, value in seen.items() if value != right[key]), "")


def shares(terms: Terms, run: Row, tooks: list[int], gaves: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Returns (taken from the community, given to it, shared by all) per slot [uWh]; shared energy counts hours.

    What is shared by all is what the run should say; 0 where its other public figures contradict each other.
    """
    key, rows = terms.clauses["sharing"]["key"], [tooks, gaves, run["taken"], run["given"]]
    if key == "shared-energy":
        rows = [[sum(row[at : at + 4]) for at in range(0, len(row), 4)] for row in rows]
    other = {"static": _weighted, "hourly": _weighted, "rounds": _rounds, "participation": _participation}.get(key)
    slots = enumerate(zip(*rows, strict=True))
    found = [other(terms, run, slot, *each) if other else _proportional(*each) for slot, each in slots]
    near, sold, shared = ([*column] for column in zip(*found, strict=True))
    return near, sold, shared


def _part(own: int, amount: int, total: int) -> int:
    return own * amount // total if total else 0


def _proportional(took: int, gave: int, taken: int, given: int) -> Shares:
    matched = min(taken, given) * UWH_PER_WH
    return _part(took, matched, taken), _part(gave, matched, given), matched


def _weighted(terms: Terms, run: Row, slot: int, took: int, gave: int, taken: int, given: int) -> Shares:
    sharing, me = terms.clauses["sharing"], terms.member["id"]
    hour, hours = (terms.start - terms.clauses["valid_from"]) // HOUR_MS + slot // 4, sharing.get("hours", [])
    row: Row = hours[hour % len(hours)] if sharing["key"] == "hourly" else sharing["weights"]
    weights: dict[str, int] = {one["id"]: row.get(one["id"], sharing["default_weight"]) for one in terms.members}
    near = min(took * UWH_PER_WH, given * UWH_PER_WH * weights[me] // sum(weights.values()))
    shared = int(run["public"]["shared"][slot])  # by everybody's need: only its bounds can be told
    fits = near <= shared <= min(taken, given) * UWH_PER_WH
    return near, _part(gave, shared, given), shared if fits else 0


def _rounds(terms: Terms, run: Row, slot: int, took: int, gave: int, taken: int, given: int) -> Shares:
    sharing, matched = terms.clauses["sharing"], min(taken, given) * UWH_PER_WH
    own, left, near = sharing.get("classes", {}).get(terms.member["id"], sharing["default_class"]), matched, 0
    for rank, wanted in run["public"]["taken_by_class"]:
        served = min(left, wanted[slot] * UWH_PER_WH)
        left -= served
        near += _part(took, served, wanted[slot]) if rank == own else 0
    fits = sum(wanted[slot] for _, wanted in run["public"]["taken_by_class"]) == taken
    return near, _part(gave, matched, given), matched if fits else 0


def _participation(terms: Terms, run: Row, slot: int, took: int, gave: int, taken: int, given: int) -> Shares:
    near = sold = shared = 0
    both = [[int(row[slot]) for row in run["public"][f"{side}_by_community"]] for side in ("taken", "given")]
    for row, all_taken, all_given in zip(terms.clauses["sharing"].get("communities", []), *both, strict=True):
        percent = row["percent"].get(terms.member["id"], row["default_percent"])
        matched = min(all_taken, all_given)
        near += _part(took * UWH_PER_WH * percent // 100, matched, all_taken)
        sold += _part(gave * UWH_PER_WH * percent // 100, matched, all_given)
        shared += matched
    fits = sum(both[0]) <= taken * UWH_PER_WH and sum(both[1]) <= given * UWH_PER_WH
    return near, sold, shared if fits else 0


def settled(
    terms: Terms, run: Row, tooks: list[int], gaves: list[int], water: int, near: list[int], sold: list[int]
) -> tuple[Quantities, list[int], list[Line]]:
    """Returns a member's quantities, those from outside per tariff band, and the day's lines."""
    charter, rule, retail = terms.charter, terms.clauses["price"]["rule"], terms.prices()
    free, by_slot, shared = terms.member["lifeline"], rule != "bill-sharing", (sum(near), sum(sold))
    if rule == "premium":  # energy is billed as the outside's; what was shared earns the premium
        near = sold = [0] * len(tooks)
    left, lifeline, outside = charter["lifeline_wh"] * UWH_PER_WH * (free and by_slot), 0, [0] * len(charter["bands"])
    bought = list[int]()
    for took, own, band in zip(tooks, near, terms.bands, strict=True):
        far = took * UWH_PER_WH - own
        first = min(left, own)
        second = min(left - first, far)
        left, lifeline = left - first - second, lifeline + first + second
        bought.append(own - first)
        outside[band] += far - second
    used, given = sum(tooks) * UWH_PER_WH, sum(gaves) * UWH_PER_WH
    cheap = min(water, charter["lifeline_ml"]) if free else 0
    q = Quantities(
        lifeline, sum(bought), shared[1], given - shared[1], shared[0], used - shared[0], cheap, water - cheap
    )
    feed_in, both = charter["export_price"], (run["taken"], run["given"])
    local = [_price(terms.clauses["price"], price, feed_in, *each) for price, *each in zip(retail, *both, strict=True)]
    lines: list[Line] = [] if not by_slot else [
        ("lifeline energy", "uWh", charter["lifeline_price"], lifeline),
        *_traded("energy from the community", rule, bought, local, 1),
        *((f"energy from outside, {band['name']}", "uWh", band["import_price"], part)
          for band, part in zip(charter["bands"], outside, strict=True)),
        *_traded("energy sold to the community", rule, sold, local, -1),
        ("energy sold to the outside", "uWh", -feed_in, given - sum(sold)),
    ]  # fmt: skip
    fees, me = terms.clauses["fees"], terms.member["id"]
    levies = [("levy", fees.get("levy_per_kwh", 0)), ("solidarity share", fees.get("solidarity_per_kwh", 0))]
    feeders = [row for row in terms.clauses["network"] if me in row["members"]][:1]
    levies += [(f"network fee, feeder {row['feeder']}", row["per_kwh"]) for row in feeders]
    lines += [(text, "uWh", price, used) for text, price in levies if price]
    lines += [("lifeline water", "mL", charter["lifeline_water_price"], cheap)]
    lines += [("water", "mL", charter["water_price"], water - cheap)]
    return q, outside, [line for line in lines if line[3]]


def _price(rule: Row, retail: int, feed_in: int, taken: int, given: int) -> int:
    """Returns the price of shared energy in one slot. Source: Liu et al. 2017 for supply and demand."""
    if rule["rule"] == "flat":
        return rule["local_price"]
    if rule["rule"] == "mid-market" or feed_in > retail:
        return (retail + feed_in) // 2
    below = (retail - feed_in) * given + feed_in * taken
    return feed_in if given >= taken else retail * feed_in * taken // below if below else retail


def _traded(text: str, rule: str, energy: list[int], prices: list[int], sign: int) -> list[Line]:
    """Returns a line per price that the charter names, or what prices of every slot come to."""
    each = list(zip(energy, prices, strict=True))
    if rule == "supply-demand":
        amount = sum(part * price for part, price in each)
        return [
            (f"{text}, price by slot", "uWh", 0, sum(energy)),
            (f"{text}, slot by slot", "amount", 1, sign * amount),
        ]
    sums = {price: sum(part for part, own in each if own == price) for price in sorted(set(prices))}
    return [(text, "uWh", sign * price, part) for price, part in sums.items()]


def pieces(terms: Terms, counts: Mapping[str, int]) -> list[Line]:
    """Returns the lines of what is counted in pieces (deliveries)."""
    rows = [row for row in terms.clauses["service"] if row["name"] in SERVICES and row["price"]]
    lines = [(SERVICES[row["name"]], row["name"], row["price"], counts.get(row["name"], 0)) for row in rows]
    return [line for line in lines if line[3]]


class Period:
    """All days of a bill that one voted charter settled: what is reckoned once."""

    def __init__(self) -> None:
        self.charter: Row = {}
        self.totals = [0, 0, 0, 0]  # all taken, all given [Wh]; the outside's bill, its payment [1e-15]
        self.own: list[Quantities] = []
        self.storage, self.keeper = [0] * 8, False  # what `stored` says, of all days; whether they are kept at the end

    def add(self, terms: Terms, run: Row, own: Quantities | None, storage: list[int]) -> None:
        self.charter, self.keeper = terms.charter, bool(keeps(terms))
        self.storage = [a + b for a, b in zip(self.storage, storage, strict=True)]
        taken, given, shared = run["taken"], run["given"], [int(text) for text in run["public"]["shared"]]
        if terms.clauses["price"]["rule"] == "bill-sharing":
            cost = sum((t * UWH_PER_WH - s) * p for t, s, p in zip(taken, shared, terms.prices(), strict=True))
            income = (sum(given) * UWH_PER_WH - sum(shared)) * terms.charter["export_price"]
            self.totals = [a + b for a, b in zip(self.totals, (sum(taken), sum(given), cost, income), strict=True)]
        self.own += [own] if own else []

    def lines(self, *, last: bool) -> list[Line]:
        """Returns the lines of the period; `last` says that this charter is in force at its end."""
        rule, fee = self.charter["clauses"]["price"], self.charter["clauses"]["fees"].get("per_bill", 0)
        taken, given, cost, income = self.totals
        q, found = [sum(column) for column in zip(*self.own, strict=True)], list[Line]()
        if not self.own:
            return []
        if rule["rule"] == "bill-sharing":
            took, gave = (q[4] + q[5]) // UWH_PER_WH, (q[2] + q[3]) // UWH_PER_WH
            found.append(("share of the outside's bill", "amount", 1, -(-cost * took // taken) if took else 0))
            found.append(("share of the outside's payment", "amount", 1, -(income * gave // given) if gave else 0))
        elif rule["rule"] == "premium":
            paid = (q[4] * rule["takers_permille"] + q[2] * rule["givers_permille"]) * rule["premium"] // 1000
            found.append(("premium on shared energy", "amount", 1, -paid))
        found += self._storage()
        found += [("fee per bill", "amount", 1, fee * MICRO)] if last else []
        return [line for line in found if line[3]]

    def _storage(self) -> list[Line]:
        clause: Row = self.charter["clauses"].get("storage", {"owner": "", "losses": ""})
        paid, fetched, charged, released, all_deposited, all_used, deposited, used = self.storage
        lost = paid * (charged - released) // charged if charged else 0
        margin = fetched - paid + lost
        by_deposit = margin * (clause["owner"] == "depositor") - lost * (clause["losses"] == "depositor")
        by_deposit, by_use = by_deposit * bool(all_deposited), lost * (clause["losses"] == "use" and bool(all_used))
        return [
            ("storage, passed on", "amount", 1, (by_deposit - by_use) * self.keeper),
            ("storage, by energy stored", "amount", 1, -(by_deposit * deposited // all_deposited) if deposited else 0),
            ("storage losses, by use", "amount", 1, -(-by_use * used // all_used) if used else 0),
        ]


def decimal(value: int, places: int, least: int = 2) -> str:  # value / 10^places, exact
    whole, fraction = divmod(abs(value), 10**places)
    text = str(fraction).rjust(places, "0").rstrip("0").ljust(least, "0") if places else "0" * least
    return "-" * (value < 0) + str(whole) + ("." + text if text else "")


def line_of(text: str, unit: str, price: int, quantity: int) -> dict[str, str]:  # as the log holds it
    return {"text": text, "quantity": str(quantity), "unit": unit, "price": str(price)}


def add(lines: dict[tuple[str, str, int], int], made: list[Line]) -> None:  # same text, unit and price are one line
    for text, unit, price, quantity in made:
        lines[text, unit, price] = lines.get((text, unit, price), 0) + quantity
