"""A charter that says it was voted for is proven by `atoll ledger verify`: its vote is counted again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from controller.ledger.canonical import Json
from controller.ledger.entries import derived_id
from controller.ledger.identity import SigningKey, sign_document
from controller.ledger.orders import Post
from controller.shell.ledger_verify import verify
from controller.voting import VOTE_CAST, VOTE_OPEN, VOTE_RESULT, Electorate, opening
from devices.clock import HOUR_MS, Instant
from tests.charters import charter_file, document
from tests.controller.shell.test_ballot_box import CHANGE, KEYS, START, Community

SOON, LATER = Instant(START + HOUR_MS), Instant(START + 30 * HOUR_MS)


class Forger(Community):
    """A community whose hub writes into its log what it likes."""

    def write(self, kind: str, body: dict[str, Any], at: Instant = SOON) -> str:
        self.asked += 1
        identity = derived_id(at, "forged", self.asked)
        self.books._journal.must(Post(identity, at, kind, (), cast("dict[str, Json]", body)))
        return identity

    def open_vote(self) -> None:
        assert self.open(START).accepted

    def ballot(self, who: str, key: SigningKey, choice: str = "yes", **changes: object) -> dict[str, Any]:
        paper = sign_document("ballot", cast("Any", self.vote().ballot(choice) | changes), key)
        return {"vote": self.vote().id, "voter": who, "choice": choice, "paper": paper}


def invented(town: Forger) -> None:
    town.books._book.adopt(derived_id(START, "no such vote"), document(charter_file(CHANGE)), SOON)


def still_open(town: Forger) -> None:
    town.open_vote()
    town.books._book.adopt(town.vote().id, town.vote().document, SOON)


def other_clauses(town: Forger) -> None:
    town.open_vote()
    assert town.cast(SOON, "home-01").accepted
    assert town.cast(SOON, "home-02").accepted
    town.books.till.votes.due(LATER)
    town.books._book.adopt(town.vote().id, document(charter_file(CHANGE, lifeline=1)), LATER)


def other_prices(town: Forger) -> None:
    town.open_vote()
    assert town.cast(SOON, "home-01").accepted
    assert town.cast(SOON, "home-02").accepted
    town.books.run_due(LATER)
    standing = town.books._journal.file.of_kind("charter")[-1].sealed().entry.body
    charter = cast("dict[str, Any]", standing["charter"]) | {"export_price": 1}
    town.write("charter", {**standing, "charter": charter}, LATER)


def declared(town: Forger) -> None:
    town.open_vote()
    town.write(VOTE_RESULT, town.vote().result() | {"passed": True, "yes": ["home-01", "home-02"]}, LATER)


def declared_early(town: Forger) -> None:
    town.open_vote()
    town.write(VOTE_RESULT, cast("Any", town.vote().result()))


def by_a_stranger(town: Forger) -> None:
    town.open_vote()
    town.write(VOTE_CAST, town.ballot("home-01", SigningKey(b"x" * 32)))


def in_anothers_name(town: Forger) -> None:
    town.open_vote()
    town.write(VOTE_CAST, town.ballot("home-02", KEYS["home-01"]))


def for_another_vote(town: Forger) -> None:
    town.open_vote()
    town.write(VOTE_CAST, town.ballot("home-01", KEYS["home-01"], digest="00" * 32))


def altered(town: Forger) -> None:
    town.open_vote()
    body = town.ballot("home-01", KEYS["home-01"], "no")
    body["choice"] = body["paper"]["document"]["choice"] = "yes"
    town.write(VOTE_CAST, body)


def by_fewer(town: Forger) -> None:
    rules = town.books.till.votes._reader.electorate(START)
    fewer = Electorate({"home-01": KEYS["home-01"].did}, 1, 24)
    town.write(VOTE_OPEN, opening(document(charter_file(CHANGE)), fewer, rules[0], "ana", START), START)


FORGED: list[tuple[Callable[[Forger], None], str]] = [
    (invented, "has not passed in this log before"),
    (still_open, "has not passed in this log before"),
    (other_clauses, "vote 1 was about"),
    (other_prices, "its terms are not those that vote 1 was about"),
    (declared, "yes is [] recounted"),
    (declared_early, "before it was over"),
    (by_a_stranger, "not-a-voter"),
    (in_anothers_name, "voter is 'home-01' by the signed ballot"),
    (for_another_vote, "other-proposal"),
    (altered, "bad-signature"),
    (by_fewer, "of is {"),
]


@pytest.mark.parametrize(("story", "words"), FORGED)
def test_a_vote_that_was_not_is_named(tmp_path: Path, story: Callable[[Forger], None], words: str) -> None:
    town = Forger(tmp_path / "ledger.db")
    town.books.run_due(START)
    story(town)
    town.books.commit(LATER)
    town.books._file.close()
    found = [finding for finding in verify(tmp_path).findings if finding.table == "entries"]
    assert len(found) == 1, found
    assert words in found[0].message
