"""Sharing keys: nothing is shared twice, the floors' rest is visible, and a member's place in the list is nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.settlement.keys import (
    Hourly,
    KeyBroken,
    OwnKey,
    Participation,
    Proportional,
    Recomputable,
    Rounds,
    SharedEnergy,
    SharingKey,
    Slot,
    Static,
)

WH = st.integers(0, 20_000)
UWH = 1_000_000


@st.composite
def cases(draw) -> tuple[Slot, list[int], list[int]]:
    """A slot with one number per member, and another order of the members."""
    rows = draw(st.lists(st.tuples(WH, WH, st.integers(0, 9)), min_size=1, max_size=9))
    slot = Slot(tuple(row[0] for row in rows), tuple(row[1] for row in rows))
    return slot, [row[2] for row in rows], draw(st.permutations(range(len(rows))))


def keys(numbers: list[int]) -> list[SharingKey]:
    weights = tuple(number + 1 for number in numbers)
    halves = tuple(number * 500 for number in numbers)
    return [
        Proportional(),
        Static(weights),
        Hourly((weights, weights[::-1])),
        OwnKey((weights,)),
        Rounds(tuple(number % 3 for number in numbers)),
        Participation((halves, tuple(10_000 - half for half in halves))),
        SharedEnergy(),
    ]


@given(cases())
def test_no_key_shares_more_than_there_is_and_the_rest_is_visible(case) -> None:
    slot, numbers, _ = case
    for key in keys(numbers):
        shares = key.share(slot, 0)
        assert 0 <= shares.shared <= slot.matched * UWH
        assert all(0 <= part <= took * UWH for part, took in zip(shares.near, slot.taken, strict=True))
        assert all(0 <= part <= gave * UWH for part, gave in zip(shares.sold, slot.given, strict=True))
        floors = 2 * len(numbers)  # one per member and round or community
        assert 0 <= shares.near_residue <= floors + len(numbers)
        assert 0 <= shares.sold_residue <= floors


@given(cases())
def test_a_members_place_in_the_list_does_not_matter(case) -> None:
    slot, numbers, order = case
    moved = Slot(tuple(slot.taken[i] for i in order), tuple(slot.given[i] for i in order))
    pairs = zip(keys(numbers), keys([numbers[i] for i in order]), strict=True)
    for key, other in pairs:
        if isinstance(key, Hourly):  # its second row is the first in the order of the list
            continue
        before, after = key.share(slot, 0), other.share(moved, 0)
        assert after.near == tuple(before.near[i] for i in order)
        assert after.sold == tuple(before.sold[i] for i in order)


@given(cases())
def test_dynamic_keys_waste_nothing(case) -> None:
    slot, numbers, _ = case
    for key in (Proportional(), Rounds(tuple(number % 3 for number in numbers)), SharedEnergy()):
        assert key.share(slot, 0).shared == slot.matched * UWH


@given(cases())
def test_a_household_finds_its_proportional_part_from_public_totals(case) -> None:
    slot, _, _ = case
    near = Proportional().share(slot, 0).near
    taken = sum(slot.taken)
    assert near == tuple(own * UWH * slot.matched // taken if own else 0 for own in slot.taken)


@given(cases())
def test_a_household_finds_its_part_of_rounds_from_the_totals_of_the_classes(case) -> None:
    slot, numbers, _ = case
    classes = [number % 3 for number in numbers]
    near = Rounds(tuple(classes)).share(slot, 0).near
    for member, rank in enumerate(classes):
        before = sum(took for took, own in zip(slot.taken, classes, strict=True) if own < rank)
        same = sum(took for took, own in zip(slot.taken, classes, strict=True) if own == rank)
        served = min(max(0, slot.matched - before), same)
        assert near[member] == (slot.taken[member] * UWH * served // same if same else 0)


@given(cases())
def test_no_class_gets_anything_before_those_above_it_are_served(case) -> None:
    slot, numbers, _ = case
    classes = [number % 3 for number in numbers]
    near = Rounds(tuple(classes)).share(slot, 0).near
    worst = max((rank for part, rank in zip(near, classes, strict=True) if part), default=0)
    for part, took, rank in zip(near, slot.taken, classes, strict=True):
        assert rank >= worst or part == took * UWH


def test_a_static_key_wastes_what_its_owner_does_not_use() -> None:
    slot = Slot((0, 1000, 0), (0, 0, 1000))
    shares = Static((1, 1, 0)).share(slot, 0)
    assert shares.near == (0, 500 * UWH, 0)
    assert shares.sold == (0, 0, 500 * UWH)


def test_hours_take_their_own_coefficients() -> None:
    slot = Slot((1000, 1000, 0), (0, 0, 1000))
    key = Hourly(((1, 0, 0), (0, 1, 0)))
    assert key.share(slot, 3).near == (1000 * UWH, 0, 0)
    assert key.share(slot, 4).near == (0, 1000 * UWH, 0)
    assert key.share(slot, 8) == key.share(slot, 0)
    assert Hourly(key.coefficients, origin=-3).share(slot, 0) == key.share(slot, 4)


def test_participation_in_two_communities_never_exceeds_the_whole() -> None:
    slot = Slot((1000, 0), (0, 1000))
    assert Participation(((6000, 10_000), (4000, 0))).share(slot, 0).near == (600 * UWH, 0)
    with pytest.raises(KeyBroken, match="120 %"):
        Participation(((6000,), (6000,)))


@pytest.mark.parametrize("key", [Static((1,)), Static((0, 0)), Static((2, -1)), Rounds((0,)), OwnKey(())])
def test_a_key_that_does_not_fit_is_refused(key: SharingKey) -> None:
    with pytest.raises(KeyBroken):
        key.share(Slot((1, 1), (1, 1)), 0)


def test_only_the_organisers_own_key_needs_an_auditor() -> None:
    auditor = [key for key in keys([1, 2]) if key.recomputable is Recomputable.AUDITOR]
    assert [type(key) for key in auditor] == [OwnKey]
