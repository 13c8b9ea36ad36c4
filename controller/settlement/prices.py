"""Price rules: what shared energy costs in one slot, in whole micro-units per kWh, from public totals alone.

Flat, mid-market rate and supply-demand ratio come down to one price for the energy that members share; what is
not shared has the outside's price. Both sides pay and get the same price, so the community neither gains nor loses
by it (but for the floors' uWh). Bill sharing and the premium divide money of a whole period. Amounts are
integer numerators over 10^15 major units, as in `bills`.

`Shapley` samples orders of arrival; only the policy lab uses it, for its answer depends on everybody's data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Protocol

from controller.settlement.keys import Recomputable
from devices.units import UWH_PER_WH

PERMILLE = 1000


class PriceBroken(ValueError):
    """A price rule that cannot be applied."""


@dataclass(frozen=True, slots=True)
class SlotPrices:
    """The public figures of a slot: totals [Wh] and the outside's prices [micro-units per kWh]."""

    taken: int
    given: int
    import_price: int
    export_price: int


class PriceRule(Protocol):
    """One price for shared energy in each slot."""

    recomputable: ClassVar[Recomputable]

    def price(self, slot: SlotPrices) -> int:
        """Returns micro-units per kWh."""
        ...


@dataclass(frozen=True, slots=True)
class Flat:
    """One price, whatever happens. Rational for every member where it lies between feed-in and retail."""

    local_price: int
    recomputable: ClassVar[Recomputable] = Recomputable.HOUSEHOLD

    def price(self, slot: SlotPrices) -> int:
        """Returns the price of the charter."""
        return self.local_price


@dataclass(frozen=True, slots=True)
class MidMarket:
    """Half way between feed-in and retail.

    The textbook's three cases (demand equal to, above or below supply) average this price with the outside's over
    all energy of a side; here the shared part has the middle price and the rest the outside's, which is the same sum.
    """

    recomputable: ClassVar[Recomputable] = Recomputable.HOUSEHOLD

    def price(self, slot: SlotPrices) -> int:
        """Returns floor((import + export) / 2)."""
        return (slot.import_price + slot.export_price) // 2


@dataclass(frozen=True, slots=True)
class SupplyDemand:
    """Falls from retail to feed-in as supply grows to demand.

    Source: Liu et al. 2017, IEEE Trans. Power Systems 32(5): price = I x E / ((I - E) x ratio + E), ratio = supply
    / demand up to 1, then E. An outside that pays more than it asks leaves no band: then the middle price.
    """

    recomputable: ClassVar[Recomputable] = Recomputable.HOUSEHOLD

    def price(self, slot: SlotPrices) -> int:
        """Returns the price of shared energy."""
        retail, feed_in = slot.import_price, slot.export_price
        if feed_in > retail:
            return (retail + feed_in) // 2
        if slot.given >= slot.taken:
            return feed_in
        below = (retail - feed_in) * slot.given + feed_in * slot.taken
        return retail * feed_in * slot.taken // below if below else retail


@dataclass(frozen=True, slots=True)
class PeriodTotals:
    """Public figures of a bill period: energy [Wh], and the outside's bill and payment (numerators over 10^15)."""

    taken: int
    given: int
    cost: int
    income: int


NO_EXCHANGE = PeriodTotals(0, 0, 0, 0)


def net_exchange(slots: Sequence[SlotPrices]) -> PeriodTotals:
    """Returns the totals of a period in which the community trades with the outside only what it cannot share."""
    return PeriodTotals(
        sum(slot.taken for slot in slots),
        sum(slot.given for slot in slots),
        sum(max(0, slot.taken - slot.given) * slot.import_price for slot in slots) * UWH_PER_WH,
        sum(max(0, slot.given - slot.taken) * slot.export_price for slot in slots) * UWH_PER_WH,
    )


@dataclass(frozen=True, slots=True)
class BillSharing:
    """The outside's bill by energy taken, its payment by energy given. Not rational for every member."""

    recomputable: ClassVar[Recomputable] = Recomputable.HOUSEHOLD

    def amount(self, totals: PeriodTotals, taken: int, given: int) -> int:
        """Returns what a member owes; costs are rounded up and income down, so the community is never short.

        Raises:
            PriceBroken: the member took or gave more than all.
        """
        if not (0 <= taken <= totals.taken and 0 <= given <= totals.given):
            raise PriceBroken(f"a member with {taken} Wh taken and {given} Wh given is not part of {totals}")
        owed = -(-totals.cost * taken // totals.taken) if taken else 0
        return owed - (totals.income * given // totals.given if given else 0)


@dataclass(frozen=True, slots=True)
class Premium:
    """A premium per shared kWh, split by statute between takers and givers; the rest stays in the common fund."""

    price: int
    takers_permille: int
    givers_permille: int
    recomputable: ClassVar[Recomputable] = Recomputable.HOUSEHOLD

    def __post_init__(self) -> None:
        """Raises PriceBroken where the parts are negative or exceed the whole."""
        parts = self.takers_permille, self.givers_permille
        if min(parts) < 0 or sum(parts) > PERMILLE:
            raise PriceBroken(f"premium parts {parts} permille: none below 0, together at most {PERMILLE}")

    def amount(self, near: int, sold: int) -> int:
        """Returns what a member with these parts of the shared energy [uWh] is paid."""
        return (near * self.takers_permille + sold * self.givers_permille) * self.price // PERMILLE

    def fund(self, shared: int, paid: int) -> int:
        """Returns what stays in the common fund of the premium on `shared` [uWh] after `paid`; never negative."""
        return shared * self.price - paid


@dataclass(frozen=True, slots=True)
class Shapley:
    """Each member's mean marginal cost over sampled orders of arrival. For the policy lab only."""

    samples: int
    seed: int
    recomputable: ClassVar[Recomputable] = Recomputable.AUDITOR

    def amounts(self, members: Sequence[str], cost: Callable[[Sequence[int]], int]) -> tuple[int, ...]:
        """Returns each member's amount; their sum is cost(all) plus the floors' residue, below `members` units.

        `cost` takes the indices of a coalition. Orders are drawn by member id, and every order is used in both
        directions, so the answer does not depend on the order in which members are listed.

        Raises:
            PriceBroken: no sample.
        """
        sums = [0] * len(members)
        for order in self.orders(members):
            before = 0
            for count, member in enumerate(order, start=1):
                after = cost(order[:count])
                sums[member] += after - before
                before = after
        return tuple(-(-total // (2 * self.samples)) for total in sums)

    def orders(self, members: Sequence[str]) -> Iterator[list[int]]:
        """Yields the sampled orders of arrival, each followed by its reverse.

        Raises:
            PriceBroken: no sample.
        """
        if self.samples < 1:
            raise PriceBroken("Shapley needs at least one sample")
        for sample in range(self.samples):
            order = sorted(range(len(members)), key=lambda index: self._draw(sample, members[index]))
            yield order
            yield order[::-1]

    def _draw(self, sample: int, member: str) -> bytes:
        return sha256(f"{self.seed}/{sample}/{member}".encode()).digest()
