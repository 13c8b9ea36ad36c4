"""Voted charters: the verifiers recompute every key, price and fee, and name what a hub does otherwise."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from controller.charter_schema import CharterFile
from controller.settlement.charter import charter_document, member_document
from controller.settlement.runs import BILL, line_fields, settle_period
from devices.clock import SLOT_MS, Instant
from tests.charters import FEES, charter_file
from tests.controller.settlement.test_clauses import PRICES, SHARING, START, intervals, settled, year
from tests.verifier import villages
from tests.verifier.page import judged
from verifier import atoll_clauses, atoll_verify
from verifier.atoll_clauses import Period, Terms, line_of
from verifier.atoll_verify import judge

PREMIUM = 'rule = "premium"\npremium = 110000\ntakers_permille = 400\ngivers_permille = 500'
CASES = [*((key, price) for key in SHARING for price in PRICES), ("shared-energy", "premium")]
STORAGE = '[storage]\nowner = "{}"\nlosses = "{}"\npoints = ["home-03"]\n'
DIVIDED = [("depositor", "depositor"), ("depositor", "use"), ("depositor", "community"), ("community", "use")]


def household(rules: Any, start: int, bodies: list[dict], taken: Any, given: Any, index: int) -> tuple[list, list]:
    """Returns (days, lines of the bill) as the verifier has them from one member's own intervals."""
    charter: Any = json.loads(json.dumps(charter_document(rules.charter)))
    members: Any = [member_document(member) for member in rules.members]
    period, days, lines = Period(), [], dict[tuple[str, str, int], int]()
    for at, body in enumerate(bodies):
        day = year().day_of(Instant(start + 96 * at * SLOT_MS))
        bands = [year().band_at(Instant(slot)) for slot in range(day.start, day.end, SLOT_MS)]
        terms = Terms(charter, members, members[index], bands, day.start)
        assert (atoll_clauses.unknown(charter), atoll_clauses.contradicted(charter, members)) == ([], "")
        tooks, gaves = ([int(row[index]) for row in rows[96 * at : 96 * (at + 1)]] for rows in (taken, given))
        near, sold, shared = atoll_clauses.shares(terms, body, tooks, gaves)
        assert [str(part) for part in shared] == body["public"]["shared"]
        q, outside, made = atoll_clauses.settled(terms, body, tooks, gaves, 0, near, sold)
        days.append(({**q._asdict(), "outside": tuple(outside)}, [line_of(*line) for line in made]))
        period.add(terms, body, q, atoll_clauses.stored(terms, body, tooks, gaves))
        for kind, what, price, quantity in made:
            lines[kind, what, price] = lines.get((kind, what, price), 0) + quantity
    for kind, what, price, quantity in period.lines(last=True):
        lines[kind, what, price] = lines.get((kind, what, price), 0) + quantity
    return days, [(*name, quantity) for name, quantity in lines.items()]


@pytest.mark.parametrize(("key", "price"), CASES)
def test_a_household_finds_its_bill_under_every_key_and_price(key: str, price: str) -> None:
    sharing = SHARING.get(key, f'key = "{key}"')
    lifeline = 0 if price == "bill-sharing" else 2000
    file = charter_file(
        START, sharing=sharing, price=PRICES.get(price, PREMIUM), lifeline=lifeline, more=FEES, period="month"
    )
    found_alike(file)


@pytest.mark.parametrize("price", ["flat", "mid-market", "supply-demand"])
@pytest.mark.parametrize(("owner", "losses"), DIVIDED)
def test_a_household_finds_its_part_of_a_storage(owner: str, losses: str, price: str) -> None:
    file = charter_file(START, price=PRICES[price], more=FEES + STORAGE.format(owner, losses), period="month")
    texts = found_alike(file)
    assert ("storage, by energy stored" in texts) == ("depositor" in (owner, losses))
    assert ("storage losses, by use" in texts) == (losses == "use")
    assert "storage, passed on" in texts


def found_alike(file: CharterFile) -> set[str]:
    """Compares each member's bill as it finds it itself with the hub's; returns the texts of all lines."""
    data = intervals()
    rules, billed, bodies = settled(file, data)
    drafts = {draft.member: draft.body for draft in settle_period(rules, "p", billed) if draft.kind == BILL}
    texts: set[str] = set()
    for index, name in enumerate(data.members):
        days, lines = household(rules, START, bodies, data.taken, data.given, index)
        for found, day in zip(days, billed, strict=True):
            own = day.members[name]
            assert found[0] == {key: getattr(own, key) for key in found[0]}
            assert found[1] == [line_fields(line) for line in day.lines[name]]
        assert [line_of(*line) for line in lines] == drafts[name]["lines"]
        texts |= {line[0] for line in lines}
    return texts


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Returns the bills of weeks in which a vote took effect, by charter, member and period."""
    found = {
        f"{name} home-02 2026-W23": (villages.GOLDEN / f"vote-shown-{name}.json").read_bytes()
        for name in ("rounds", "premium")
    }
    for name in ("hourly", "static", "participation", "stored"):
        path = villages.voted(tmp_path_factory.mktemp(name), name)
        found |= {f"{name} {bill}": data for bill, data in villages.bundles(path).items()}
    return found


def test_bills_over_a_change_by_vote_are_recomputed_by_both_verifiers(bundles: dict[str, bytes]) -> None:
    assert {name.split()[0] for name in bundles} == set(villages.VOTED)
    assert len(bundles) == 2 + 4 * 3
    reports: dict[str, Any] = {name: judge(data) for name, data in bundles.items()}
    for name, report in reports.items():
        assert report["verdict"] == "ok", (name, report)
        lines = [what for what, _ in report["lines"]]
        assert "charter 2026-06-04" in lines, "the vote is named, with the hash of what was voted for"
        assert dict(report["lines"])["vote 2026-06-04"].startswith("passed: 2 yes, 0 no, 2 needed; ")
        assert ("line deliveries" in lines) == ("home-02" in name)
    page = judged([base64.b64encode(data).decode() for data in bundles.values()])
    assert [report["verdict"] for report in page] == ["ok"] * len(page)
    assert [report["lines"] for report in page] == [report["lines"] for report in reports.values()]


@pytest.mark.parametrize(
    ("name", "kind", "change", "where"),
    [
        ("rounds", "charter", lambda body: body["charter"].update(export_price=1), "charter of 2026-06-04"),
        ("rounds", "charter", lambda body: body["members"][0].update(lifeline=False), "charter of 2026-06-04"),
        ("rounds", "run.day", lambda body: body["public"]["taken_by_class"][0][1].__setitem__(50, 10**6), "shared"),
        ("premium", "run.day", lambda body: body["public"]["shared"].__setitem__(11, "7"), "shared"),
        ("static", "run.day", lambda body: body["public"]["shared"].__setitem__(40, "1" + "0" * 12), "shared"),
        ("participation", "run.day", lambda body: body["public"]["given_by_community"][0].__setitem__(48, "1" * 14),
         "shared"),
        ("stored", "run.day", lambda body: body["public"].update(stored=[0] * 96), "line storage"),
        ("stored", "run.day", lambda body: body["public"]["stored"].__setitem__(48, 10**6), "stored"),
        ("static", "delivery", lambda body: body.update(state="lost"), "line fee per bill"),
        ("static", "vote.result", lambda body: body.update(passed=False), "vote 0"),
        ("static", "vote.result", lambda body: body.update(yes=["home-01", "home-01"]), "vote 0"),
        ("static", "vote.result", lambda body: body.update(yes=["home-01", "nobody"]), "vote 0"),
        ("static", "vote.result", lambda body: body.update(digest="00" * 32), "vote 0"),
        ("static", "vote.open", lambda body: body.update(need=3), "vote 0"),
        ("static", "vote.open", lambda body: body.update(digest="00" * 32), "vote 0"),
        ("static", "vote.open", lambda body: body["document"].update(name="other"), "vote 0"),
        ("static", "delivery", lambda body: body.update(member="home-01"), "line fee per bill"),
    ],
)  # fmt: skip
def test_what_a_hub_does_otherwise_is_named(bundles, monkeypatch, name, kind, change, where) -> None:
    """The log itself is made to hold something false: the proofs are let through, the arithmetic is not."""
    document = json.loads(bundles[f"{name} home-02 2026-W23"])
    root = base64.b64decode(document["checkpoint"].split("\n")[2])
    rows = [(row, entry) for row in document["entries"] if (entry := json.loads(row["document"]))["kind"] == kind]
    row, entry = next((row, entry) for row, entry in reversed(rows) if kind != "charter" or "vote" in entry["body"])
    change(entry["body"])
    row["document"] = villages.canonical(entry).decode()
    forged = villages.resealed(document)
    real = atoll_verify.climb
    monkeypatch.setattr(
        atoll_verify, "climb", lambda at, size, leaf, proof: (b"", root) if size > 20 else real(at, size, leaf, proof)
    )
    report = judge(forged)
    assert (report["verdict"], where in str(report["where"])) == ("differs", True), report


@pytest.mark.parametrize("kind", ["vote.open", "vote.result"])
def test_a_bundle_without_the_vote_says_so(bundles: dict[str, bytes], kind: str) -> None:
    document = json.loads(bundles["rounds home-02 2026-W23"])
    document["entries"].remove(villages.entry_of(document, kind))
    without, old = villages.resealed(document), (villages.GOLDEN / "voted-rounds.json").read_bytes()
    reports: list[Any] = [judge(without), *judged([base64.b64encode(data).decode() for data in (without, old)])]
    for report in reports:
        assert (report["verdict"], dict(report["lines"])["vote 2026-06-04"]) == ("ok", "not shown to be voted for")


def test_a_clause_that_is_not_known_cannot_be_judged() -> None:
    charter = {"sharing": "atoll-charter/1", "rounding": "half-even-per-bill"}
    clauses = {"sharing": {"key": "rounds"}, "price": {"rule": "flat"}}
    assert atoll_clauses.unknown({**charter, "clauses": clauses}) == []
    assert atoll_clauses.unknown({**charter, "clauses": {**clauses, "demurrage": 1}})[-1] == "demurrage"
    assert atoll_clauses.unknown({**charter, "clauses": {**clauses, "sharing": {"key": "own-key"}}})[2] == "own-key"
    assert atoll_clauses.unknown({**charter, "sharing": "atoll-charter/2", "clauses": clauses})[0] == "atoll-charter/2"
