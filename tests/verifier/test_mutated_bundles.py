"""Program and page give one report on every bundle that was changed at random, also where the log itself was forged."""

from __future__ import annotations

import base64
import json
import random

import pytest

from tests.verifier import villages
from tests.verifier.mutations import forged, mutated_bundle, mutated_text
from tests.verifier.page import judged
from verifier.atoll_verify import judge

GOLDEN = sorted(path for path in villages.GOLDEN.glob("*.json") if path.stem != "new-log-key")  # one key can be forged
QUICK = ("seller", "signed", "voted-rounds", "sealed-salted")


def test_a_part_that_no_version_names_cannot_be_judged() -> None:
    good = json.loads((villages.GOLDEN / "signed.json").read_bytes())
    made: list[bytes] = []
    for part in ("entries", "records", "consistency"):
        top = json.loads(json.dumps(good))
        if part == "consistency":
            top[part] = {"size": 1, "proof": [], "more": 1}
        else:
            next(iter(top[part].values() if part == "records" else top[part]))["more"] = 1
        made.append(villages.resealed(top))
    own = [judge(one) for one in made]
    assert {(one["verdict"], one["message"]) for one in own} == {
        ("cannot judge", "has other parts than its version names")
    }
    assert judged([base64.b64encode(one).decode() for one in made]) == own


def test_a_salt_belongs_to_version_4_and_to_what_the_log_has_hashed() -> None:
    good = (villages.GOLDEN / "sealed-salted.json").read_bytes()
    older, other = json.loads(good), json.loads(good)
    older["atoll_bundle"] = 3
    entry = villages.entry_of(other, "settle.day")
    opened = json.loads(entry["opened"])
    opened["inputs"][0][3] = "0" * 64
    entry["opened"] = villages.canonical(opened).decode()
    made = [good, villages.resealed(older), villages.resealed(other)]
    own = [judge(one) for one in made]
    assert [one["verdict"] for one in own] == ["ok", "cannot judge", "differs"]
    assert own[1]["message"] == "has 4 values, not 3"
    assert judged([base64.b64encode(one).decode() for one in made]) == own


def test_both_give_the_same_report_on_a_forged_vote(request: pytest.FixtureRequest) -> None:
    data, rng = (villages.GOLDEN / "vote-shown-rounds.json").read_bytes(), random.Random(37)
    count = 600 if request.config.getoption("--deep") else 40
    made = [forged(data, rng, ("vote.open", "vote.result")) for _ in range(count)]
    own = [judge(one) for one in made]
    assert judged([base64.b64encode(one).decode() for one in made]) == own
    assert {"ok", "differs", "cannot judge"} <= {str(one["verdict"]) for one in own}


@pytest.mark.parametrize(
    "name", [pytest.param(one.stem, marks=() if one.stem in QUICK else pytest.mark.deep) for one in GOLDEN]
)
def test_both_give_the_same_report(name: str, request: pytest.FixtureRequest) -> None:
    data, rng, count = (villages.GOLDEN / f"{name}.json").read_bytes(), random.Random(name), 20
    if request.config.getoption("--deep"):
        count = 600
    ways = [forged, forged, mutated_bundle] + [mutated_text] * bool(json.loads(data).get("ocmf"))
    made = [ways[number % len(ways)](data, rng) for number in range(count)]
    seen: set[str] = set()
    for start in range(0, count, 100):
        some = made[start : start + 100]
        own = [judge(one) for one in some]
        assert judged([base64.b64encode(one).decode() for one in some]) == own
        seen |= {str(one["verdict"]) for one in own}
    assert {"differs", "cannot judge"} <= seen
