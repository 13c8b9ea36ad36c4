"""The sharing keys over many slots at once, for the policy lab: arrays [slots, members], the same whole numbers.

`keys` is the reference; tests hold both to the last uWh. Where a product could pass 63 bits the arrays turn into
Python's own integers: slower, never wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.settlement.keys import (
    FULL_BP,
    Hourly,
    KeyBroken,
    OwnKey,
    Participation,
    Rounds,
    SharedEnergy,
    SharingKey,
    Static,
)
from devices.units import UWH_PER_WH

Whole = NDArray[np.int64]
WORD = 2**63 - 1
HOUR_SLOTS = 4


@dataclass(frozen=True, slots=True)
class SharesBlock:
    """`keys.Shares` for every slot: near and sold [slots, members], shared [slots], all in uWh.

    Shared energy counts hours: its rows are hours, not slots.
    """

    near: Whole
    sold: Whole
    shared: Whole


def share_block(key: SharingKey, taken: Whole, given: Whole, first: int) -> SharesBlock:
    """Returns the shares of slots `first`, `first` + 1, ...

    Raises:
        KeyBroken: the key does not fit the data.
    """
    match key:
        case Static(weights):
            return _weighted(taken, given, np.array([weights], np.int64))
        case Hourly(rows, per_hour, origin):
            hours = (origin + np.arange(first, first + len(taken)) // per_hour) % len(rows)
            return _weighted(taken, given, np.array(rows, np.int64)[hours])
        case OwnKey(rows):
            if first + len(taken) > len(rows):
                raise KeyBroken(f"own key: slot {len(rows)} has no weights, there are {len(rows)} rows")
            return _weighted(taken, given, np.array(rows[first : first + len(taken)], np.int64))
        case Rounds(classes):
            return _rounds(taken, given, classes)
        case Participation(factors):
            return _participation(taken, given, factors)
        case SharedEnergy():
            return _proportional(by_hour(taken), by_hour(given))
        case _:
            return _proportional(taken, given)


def by_hour(rows: Whole) -> Whole:
    """Returns the sums of each four rows; a rest of fewer is an hour too."""
    return np.add.reduceat(rows, np.arange(0, len(rows), HOUR_SLOTS), axis=0)


def _proportional(taken: Whole, given: Whole) -> SharesBlock:
    matched = np.minimum(taken.sum(axis=1), given.sum(axis=1)) * UWH_PER_WH
    return SharesBlock(split(taken, matched), split(given, matched), matched)


def _weighted(taken: Whole, given: Whole, weights: Whole) -> SharesBlock:
    if weights.shape[1] != taken.shape[1]:
        raise KeyBroken(f"{weights.shape[1]} weights for {taken.shape[1]} members")
    total = weights.sum(axis=1)
    if weights.min(initial=0) < 0 or (total <= 0).any():
        raise KeyBroken("weights: none may be negative and their sum must be above zero")
    offered = given.sum(axis=1) * UWH_PER_WH
    parts = _floor(weights, offered[:, None], np.broadcast_to(total[:, None], (len(taken), 1)))
    near = np.minimum(taken * UWH_PER_WH, parts)
    shared: Whole = near.sum(axis=1)
    return SharesBlock(near, split(given, shared), shared)


def _rounds(taken: Whole, given: Whole, classes: Sequence[int]) -> SharesBlock:
    ranks = np.array(classes, np.int64)
    if len(ranks) != taken.shape[1]:
        raise KeyBroken(f"{len(ranks)} classes for {taken.shape[1]} members")
    matched = np.minimum(taken.sum(axis=1), given.sum(axis=1)) * UWH_PER_WH
    left, near = matched.copy(), np.zeros_like(taken)
    for rank in np.unique(ranks):
        own = np.flatnonzero(ranks == rank)
        wanted = taken[:, own]
        served = np.minimum(left, wanted.sum(axis=1) * UWH_PER_WH)
        near[:, own] = split(wanted, served)
        left -= served
    return SharesBlock(near, split(given, matched), matched)


def _participation(taken: Whole, given: Whole, factors: Sequence[Sequence[int]]) -> SharesBlock:
    near, sold = np.zeros_like(taken), np.zeros_like(given)
    shared = np.zeros(len(taken), np.int64)
    for row in factors:
        own = np.array(row, np.int64)
        if len(own) != taken.shape[1]:
            raise KeyBroken(f"{len(own)} factors for {taken.shape[1]} members")
        took, gave = taken * UWH_PER_WH * own // FULL_BP, given * UWH_PER_WH * own // FULL_BP
        matched = np.minimum(took.sum(axis=1), gave.sum(axis=1))
        near += split(took, matched)
        sold += split(gave, matched)
        shared += matched
    return SharesBlock(near, sold, shared)


def split(parts: Whole, amount: Whole) -> Whole:
    """Returns floor(part x amount / sum of parts) for each slot's row; rows that sum to zero give zeros."""
    total = parts.sum(axis=1)
    return _floor(parts, amount[:, None], np.maximum(total, 1)[:, None])


def _floor(a: Whole, b: Whole, c: Whole) -> Whole:
    """Returns floor(a x b / c) for a, b >= 0 and c > 0, exact beyond 63 bits too."""
    if int(a.max(initial=0)) * int(b.max(initial=0)) <= WORD:
        return a * b // c
    # a = x c + y with y < c, and b = 10^6 q + r: floor(a b / c) = x b + floor(y b / c), y b in two steps.
    whole, rest = np.divmod(a, c)
    if int(c.max(initial=1)) <= WORD // (UWH_PER_WH + 1):
        high, low = np.divmod(b, UWH_PER_WH)
        if int(rest.max(initial=0)) * max(int(high.max(initial=0)), UWH_PER_WH) <= WORD // 2:
            quotient, left = np.divmod(rest * high, c)
            return whole * b + quotient * UWH_PER_WH + (left * UWH_PER_WH + rest * low) // c
    exact = a.astype(object) * b.astype(object) // c.astype(object)
    return exact.astype(np.int64)
