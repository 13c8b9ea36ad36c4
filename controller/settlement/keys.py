"""Sharing keys: who gets which of the community's energy in one slot, in whole uWh.

Every key floors each member's part and shows what the floors leave. A key names the public figures from which a
household computes its own part without its neighbours' data; `publishes` lists them. The site file's charter is settled
by `proportional` (`controller.settlement.sharing`), a voted one by any key here that a household can recompute
(`controller.settlement.clauses`, over arrays); the policy lab knows all.

Source: keys of DE, AT, FR, ES, CZ and IT law as listed in the decision for the ledger (static, dynamic, ex-ante
coefficients, own key, rounds, participation factors, shared energy with premium).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

from devices.units import UWH_PER_WH

FULL_BP = 10_000
"""A whole participation, in basis points."""


class Recomputable(StrEnum):
    """Who can repeat a rule: a household from its own data and public figures, or only one who sees all."""

    HOUSEHOLD = "household"
    AUDITOR = "auditor"


class KeyBroken(ValueError):
    """A sharing key that cannot be applied: weights, factors or rounds that do not fit."""


@dataclass(frozen=True, slots=True)
class Slot:
    """What each member took and gave in one slot [Wh], members in one fixed order."""

    taken: tuple[int, ...]
    given: tuple[int, ...]

    @property
    def matched(self) -> int:
        """Returns the most that the community can share in this slot [Wh]."""
        return min(sum(self.taken), sum(self.given))


@dataclass(frozen=True, slots=True)
class Shares:
    """Each member's part of the community's energy [uWh], and the public amount shared."""

    near: tuple[int, ...]  # taken from the community
    sold: tuple[int, ...]  # given to the community
    shared: int  # no side sums to more

    @property
    def near_residue(self) -> int:
        """Returns what the floors left on the takers' side [uWh]."""
        return self.shared - sum(self.near)

    @property
    def sold_residue(self) -> int:
        """Returns what the floors left on the givers' side [uWh]."""
        return self.shared - sum(self.sold)


class SharingKey(Protocol):
    """How a slot is shared. `index` counts the slots of the data from 0."""

    recomputable: ClassVar[Recomputable]
    publishes: ClassVar[tuple[str, ...]]

    def share(self, slot: Slot, index: int) -> Shares:
        """Returns the parts of one slot."""
        ...


@dataclass(frozen=True, slots=True)
class Proportional:
    """By consumption in the slot: what the hub settles by today."""

    recomputable: ClassVar[Recomputable] = Recomputable.HOUSEHOLD
    publishes: ClassVar[tuple[str, ...]] = ("taken", "given")

    def share(self, slot: Slot, index: int) -> Shares:
        """Returns floor(own x matched / total) for both sides; nothing that could be shared is wasted."""
        matched = slot.matched * UWH_PER_WH
        return Shares(_split(slot.taken, matched), _split(slot.given, matched), matched)


@dataclass(frozen=True, slots=True)
class Static:
    """By fixed weights: each member has its part of the production; what it does not use goes outside."""

    weights: tuple[int, ...]
    recomputable: ClassVar[Recomputable] = Recomputable.HOUSEHOLD
    publishes: ClassVar[tuple[str, ...]] = ("weights", "given", "shared")

    def share(self, slot: Slot, index: int) -> Shares:
        """Returns min(own need, own part of the production) per member."""
        return _weighted(slot, self.weights)


@dataclass(frozen=True, slots=True)
class Hourly:
    """By coefficients fixed beforehand for each hour, used again from the start when they end.

    `origin` is the hour that slot 0 of the data falls into, counted from the first coefficient's.
    """

    coefficients: tuple[tuple[int, ...], ...]
    slots_per_hour: int = 4
    origin: int = 0
    recomputable: ClassVar[Recomputable] = Recomputable.HOUSEHOLD
    publishes: ClassVar[tuple[str, ...]] = ("coefficients", "given", "shared")

    def share(self, slot: Slot, index: int) -> Shares:
        """Returns the static shares by the weights of this hour."""
        return _weighted(slot, self.coefficients[(self.origin + index // self.slots_per_hour) % len(self.coefficients)])


@dataclass(frozen=True, slots=True)
class OwnKey:
    """By weights that the organiser supplies afterwards for every slot; how it found them, only an auditor sees."""

    weights: tuple[tuple[int, ...], ...]
    recomputable: ClassVar[Recomputable] = Recomputable.AUDITOR
    publishes: ClassVar[tuple[str, ...]] = ("weights of the slot", "given", "shared")

    def share(self, slot: Slot, index: int) -> Shares:
        """Returns the static shares by the weights of this slot.

        Raises:
            KeyBroken: no weights for it.
        """
        if index >= len(self.weights):
            raise KeyBroken(f"own key: slot {index} has no weights, there are {len(self.weights)} rows")
        return _weighted(slot, self.weights[index])


@dataclass(frozen=True, slots=True)
class Rounds:
    """In rounds: those of the first class take what they need, then the next class of what is left.

    `classes[i]` is member i's round, 0 first. Within a round by need.
    """

    classes: tuple[int, ...]
    recomputable: ClassVar[Recomputable] = Recomputable.HOUSEHOLD
    publishes: ClassVar[tuple[str, ...]] = ("classes", "taken by class", "given")

    def share(self, slot: Slot, index: int) -> Shares:
        """Returns the parts; every class is served in full or shares the rest by need."""
        _fits(self.classes, slot, "classes")
        left = matched = slot.matched * UWH_PER_WH
        near = [0] * len(slot.taken)
        for rank in sorted(set(self.classes)):
            wanted = [took if own == rank else 0 for took, own in zip(slot.taken, self.classes, strict=True)]
            served = min(left, sum(wanted) * UWH_PER_WH)
            near = [a + b for a, b in zip(near, _split(wanted, served), strict=True)]
            left -= served
        return Shares(tuple(near), _split(slot.given, matched), matched)


@dataclass(frozen=True, slots=True)
class Participation:
    """Members of several communities: community c sees `factors[c][i]` basis points of member i's energy."""

    factors: tuple[tuple[int, ...], ...]
    recomputable: ClassVar[Recomputable] = Recomputable.HOUSEHOLD
    publishes: ClassVar[tuple[str, ...]] = ("factors", "taken by community", "given by community")

    def __post_init__(self) -> None:
        """Raises KeyBroken where a factor is negative or a member's factors exceed the whole."""
        for member, own in enumerate(zip(*self.factors, strict=True)):
            if min(own) < 0 or sum(own) > FULL_BP:
                raise KeyBroken(f"member {member} takes part with {sum(own) / 100:g} %; a whole is 100 %")

    def share(self, slot: Slot, index: int) -> Shares:
        """Returns the sum over the communities, each proportional to what it sees."""
        near, sold, shared = [0] * len(slot.taken), [0] * len(slot.given), 0
        for factors in self.factors:
            _fits(factors, slot, "factors")
            taken, given = _parts(slot.taken, factors), _parts(slot.given, factors)
            matched = min(sum(taken), sum(given))
            near = [a + b for a, b in zip(near, _split(taken, matched), strict=True)]
            sold = [a + b for a, b in zip(sold, _split(given, matched), strict=True)]
            shared += matched
        return Shares(tuple(near), tuple(sold), shared)


@dataclass(frozen=True, slots=True)
class SharedEnergy:
    """min(injection, withdrawal), as one figure that earns a premium; energy itself is billed as outside energy.

    The split serves to divide the premium (`prices.Premium`). The Italian decree counts it per hour: hand in slots
    that are summed to hours.
    """

    recomputable: ClassVar[Recomputable] = Recomputable.HOUSEHOLD
    publishes: ClassVar[tuple[str, ...]] = ("taken", "given")

    def share(self, slot: Slot, index: int) -> Shares:
        """Returns each member's part of the shared energy, by what it took and by what it gave."""
        return Proportional().share(slot, index)


def _split(parts: Sequence[int], amount: int) -> tuple[int, ...]:
    """Returns floor(part x amount / sum of parts) for each part."""
    total = sum(parts)
    return tuple(part * amount // total for part in parts) if total else (0,) * len(parts)


def _parts(energy: Sequence[int], factors: Sequence[int]) -> list[int]:
    return [wh * UWH_PER_WH * factor // FULL_BP for wh, factor in zip(energy, factors, strict=True)]


def _weighted(slot: Slot, weights: Sequence[int]) -> Shares:
    _fits(weights, slot, "weights")
    total, given = sum(weights), sum(slot.given)
    if min(weights, default=0) < 0 or total <= 0:
        raise KeyBroken(f"weights {tuple(weights)!r}: none may be negative and their sum must be above zero")
    near = tuple(
        min(took * UWH_PER_WH, given * UWH_PER_WH * weight // total)
        for took, weight in zip(slot.taken, weights, strict=True)
    )
    return Shares(near, _split(slot.given, sum(near)), sum(near))


def _fits(row: Sequence[int], slot: Slot, name: str) -> None:
    if len(row) != len(slot.taken):
        raise KeyBroken(f"{len(row)} {name} for {len(slot.taken)} members")
