"""Problem and plan as text: the same value comes back, and nothing else is accepted."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.codec import Answered, Question, Unreadable, decode, encode
from optimizer.plan import Infeasible, Plan
from optimizer.problem import Problem, Stop
from optimizer.solve import solve
from tests.optimizer.problems import problems, village


@settings(max_examples=50)
@given(problems(), st.integers(0, 99))
def test_a_question_comes_back_as_it_was(problem: Problem, seed: int) -> None:
    question = Question(seed, problem, Stop(seconds=None, nodes=7), seed)
    text = encode(question)
    assert decode(Question, text) == question
    assert encode(decode(Question, text)) == text
    assert "\n" not in text


def test_a_plan_and_a_refusal_come_back_as_they_were() -> None:
    plan = solve(village(), Stop(seconds=None), 1)
    assert isinstance(plan, Plan)
    for answer in (
        Answered(1, 0.5, 1000, plan=plan),
        Answered(2, 0.5, 1000, infeasible=Infeasible(("no water",))),
        Answered(3, 0.5, 1000, failure="it broke"),
    ):
        assert decode(Answered, encode(answer)) == answer


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
