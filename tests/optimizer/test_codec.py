"""Problem and plan as text: the same value comes back, and nothing else is accepted."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from math import inf, nan
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.codec import Answered, Question, Unreadable, decode, encode
from optimizer.plan import Infeasible, Plan
from optimizer.problem import AssetId, Problem, Stop
from optimizer.solve import solve
from tests.optimizer.problems import problems, village


@cache
def village_plan() -> Plan:
    plan = solve(village(), Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    return plan


@settings(max_examples=50)
@given(problems(), st.integers(0, 99))
def test_a_question_comes_back_as_it_was(problem: Problem, seed: int) -> None:
    question = Question(seed, problem, Stop(seconds=None, nodes=7), seed)
    text = encode(question)
    assert decode(Question, text) == question
    assert encode(decode(Question, text)) == text
    assert "\n" not in text


def test_a_plan_and_a_refusal_come_back_as_they_were() -> None:
    plan = village_plan()
    for answer in (
        Answered(1, 0.5, 1000, plan=plan),
        Answered(2, 0.5, 1000, infeasible=Infeasible(("no water",))),
        Answered(3, 0.5, 1000, failure="it broke"),
    ):
        assert decode(Answered, encode(answer)) == answer


def test_what_only_the_planner_needs_does_not_travel() -> None:
    plan = village_plan()
    assert plan.bound_prices
    assert "bound_prices" not in encode(plan)
    assert decode(Plan, encode(plan)).bound_prices == ()


@settings(max_examples=50)
@given(problems())
def test_a_question_with_rows_as_columns_comes_back_as_it_was(problem: Problem) -> None:
    question = Question(1, problem, Stop(seconds=None, nodes=7), 2)
    text = encode(question, packed=True)
    assert decode(Question, text) == question
    assert encode(decode(Question, text), packed=True) == text


def test_a_plan_with_rows_as_columns_is_shorter_and_comes_back_with_its_reasons() -> None:
    plan = village_plan()
    answer = Answered(1, 0.5, 1000, plan=plan)
    text = encode(answer, packed=True)
    assert decode(Answered, text) == answer
    assert 2 * len(text) < len(encode(answer))


def wrong_columns() -> list[tuple[str, dict[str, object]]]:
    """Returns (what the message has to name, columns of one pump's steps with one thing wrong)."""
    binding: dict[str, object] = {"limit": ["load"], "asset": [""], "slot": [0], "price": [0.1]}
    reason: dict[str, object] = {
        "constraint": ["a", "b"],
        "marginal_price": [0.1, None],
        "alternative": ["", ""],
        "alternative_cost": [None, None],
        "binding": {"there": [True, False], "rows": binding},
    }
    steps: dict[str, object] = {"on": [True, False], "power_w": [1000, 0], "reason": reason, "speed": [1.0, 0.5]}
    two: dict[str, object] = {"there": [True, True], "rows": binding}
    return [
        ("", steps),
        ("different lengths", {**steps, "on": [True]}),
        ("missing \\['on'\\]", {name: column for name, column in steps.items() if name != "on"}),
        ("unknown \\['surprise'\\]", {**steps, "surprise": [1, 2]}),
        ("power_w.1: 0.5 is not int", {**steps, "power_w": [1000, 0.5]}),
        ("on.0: 1 is not bool", {**steps, "on": [1, False]}),
        ("on: True is not a list", {**steps, "on": True}),
        ("marginal_price.0: number too large", {**steps, "reason": {**reason, "marginal_price": [inf, 0.1]}}),
        ("binding: 1 rows are not", {**steps, "reason": {**reason, "binding": two}}),
        (
            "limit.0: 'no' is not one of",
            {**steps, "reason": {**reason, "binding": {"there": [True, False], "rows": {**binding, "limit": ["no"]}}}},
        ),
    ]


@pytest.mark.parametrize(("named", "columns"), wrong_columns())
def test_a_wrong_column_is_named_with_its_place(named: str, columns: dict[str, object]) -> None:
    plan = village_plan()
    tree = json.loads(encode(plan))
    tree["units"] = {"pump": columns}
    text = json.dumps(tree).replace("Infinity", "1e999")
    if not named:
        assert [step.power_w for step in decode(Plan, text).units[AssetId("pump")]] == [1000, 0]
        return
    with pytest.raises(Unreadable, match=named):
        decode(Plan, text)


@pytest.mark.parametrize("number", [nan, inf, -inf])
def test_no_number_that_is_none_leaves(number: float) -> None:
    with pytest.raises(Unreadable):
        encode(replace(village(), shed_price=number))


def tree() -> dict[str, object]:
    return cast("dict[str, object]", json.loads(encode(village())))


WRONG: list[tuple[str, object]] = [
    ("slot_ms", 900000.0),
    ("slot_ms", True),
    ("slot_ms", "900000"),
    ("shed_price", "5"),
    ("shed_price", True),
    ("shed_price", None),
    ("load_kw", {"0": 1.0}),
    ("load_kw", [1.0, None]),
    ("load_kw", [1.0, [2.0]]),
    ("grid", []),
    ("batteries", [{}]),
    ("surprise", 1),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_wrong_value_is_named_with_its_place(key: str, value: object) -> None:
    with pytest.raises(Unreadable, match=key):
        decode(Problem, json.dumps({**tree(), key: value}))


def test_a_missing_key_is_named() -> None:
    whole = tree()
    del whole["pv_kw"]
    with pytest.raises(Unreadable, match="missing \\['pv_kw'\\]"):
        decode(Problem, json.dumps(whole))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "NaN",
        '{"start": NaN}',
        '{"shed_price": 1e999}',
        "[" * 100_000,
        b"\xff\xfe\x00",
        '{"start": 1, "start": 2}',
    ],
)
def test_junk_is_unreadable_and_nothing_else(text: str | bytes) -> None:
    with pytest.raises(Unreadable):
        decode(Problem, text)


def test_numbers_too_large_are_refused() -> None:
    with pytest.raises(Unreadable, match="shed_price"):
        decode(Problem, json.dumps({**tree(), "shed_price": 0}).replace('"shed_price": 0', '"shed_price": 1e999'))
    with pytest.raises(Unreadable, match="shed_price"):
        decode(Problem, json.dumps({**tree(), "shed_price": 10**400}))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(Question, data)
