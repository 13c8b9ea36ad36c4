"""One meter-day for everybody: who used whose energy, by public slot totals.

What a household needs to recompute its own day: its own records, the charter with its tariff table, and the
public totals of every slot (`taken`, `given`, published in the run entry). In each slot

    matched = min(taken, given)
    from the community   = floor(own import [Wh] * 10^6 * matched / taken)    [uWh], the rest from outside
    sold to the community = floor(own export [Wh] * 10^6 * matched / given)   [uWh], the rest goes outside

The first `lifeline_wh` of a household's local day have the lifeline price, in slot order, taking community
energy first; water alike, by the day's sum. Nothing is rounded but by those floors; money is rounded once
per bill. The few uWh that the floors leave in the pool are visible and closed by the day's grid entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.settlement.charter import Charter, Member
from controller.settlement.intervals import PointDay
from devices.units import UWH_PER_WH


@dataclass(frozen=True, slots=True)
class SlotTotals:
    """Public totals per slot [Wh] over all usage points that are settled; the grid meter apart."""

    taken: tuple[int, ...]
    given: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MemberDay:
    """What one member used and gave on one day, split the way it is priced [uWh, mL]."""

    lifeline: int
    local: int  # bought from the community beyond the lifeline
    outside: tuple[int, ...]  # bought from outside beyond the lifeline, per tariff band
    sold: int  # to the community
    exported: int  # to the outside
    water_lifeline: int
    water: int  # beyond the lifeline
    from_local: int  # all community energy used, lifeline included
    from_outside: int  # all outside energy used, lifeline included

    @property
    def used(self) -> int:
        """Returns all energy taken [uWh]."""
        return self.from_local + self.from_outside

    @property
    def given(self) -> int:
        """Returns all energy given [uWh]."""
        return self.sold + self.exported

    @property
    def water_used(self) -> int:
        """Returns all water taken [mL]."""
        return self.water_lifeline + self.water


@dataclass(frozen=True, slots=True)
class GridDay:
    """The community's exchange with the outside by its grid meter [Wh], priced per slot."""

    import_wh: int
    export_wh: int
    cost: int  # exact: sum of Wh x micro-units per kWh, exports subtracted
    estimated: bool  # the grid meter was held back: computed from the totals instead


def slot_totals(points: Sequence[PointDay], slots: int) -> SlotTotals:
    """Returns the public totals over the usage points of a day; what is quarantined counts as zero."""
    taken, given = [0] * slots, [0] * slots
    for point in points:
        if point.quarantine is None:
            taken = [a + b for a, b in zip(taken, point.imports, strict=True)]
            if any(point.exports):
                given = [a + b for a, b in zip(given, point.exports, strict=True)]
    return SlotTotals(tuple(taken), tuple(given))


def member_day(
    charter: Charter,
    bands: Sequence[int],
    totals: SlotTotals,
    member: Member,
    points: Mapping[str, PointDay],
) -> MemberDay:
    """Returns a member's day from its own points and the public totals alone.

    `bands` holds the tariff band of each slot; `points` may hold only this member's.
    """
    energy = [points[name] for name in member.usage_points if name in points]
    imports = _sum([point.imports for point in energy], len(bands))
    exports = _sum([point.exports for point in energy], len(bands))
    left = charter.lifeline_wh * UWH_PER_WH if member.lifeline else 0
    lifeline = local = from_local = used = sold = given = 0
    outside = [0] * len(charter.bands)
    for slot, (took, gave) in enumerate(zip(imports, exports, strict=True)):
        if not took and not gave:
            continue
        taken, offered = totals.taken[slot], totals.given[slot]
        matched = min(taken, offered)
        if took:
            all_of_it = took * UWH_PER_WH
            near = all_of_it * matched // taken
            far = all_of_it - near
            used += all_of_it
            from_local += near
            if left:
                first = min(left, near)
                second = min(left - first, far)
                left -= first + second
                lifeline += first + second
                near -= first
                far -= second
            local += near
            outside[bands[slot]] += far
        if gave:
            given += gave * UWH_PER_WH
            sold += gave * UWH_PER_WH * matched // offered
    water = sum(sum(points[name].imports) for name in member.water_points if name in points)
    free = min(water, charter.lifeline_ml) if member.lifeline else 0
    return MemberDay(
        lifeline, local, tuple(outside), sold, given - sold, free, water - free, from_local, used - from_local
    )


def grid_day(charter: Charter, bands: Sequence[int], totals: SlotTotals, meter: PointDay | None) -> GridDay:
    """Returns what the community took from and gave to the outside, and its exact cost."""
    if meter is None or meter.quarantine is not None:
        imports = [max(0, a - b) for a, b in zip(totals.taken, totals.given, strict=True)]
        exports = [max(0, b - a) for a, b in zip(totals.taken, totals.given, strict=True)]
    else:
        imports, exports = list(meter.imports), list(meter.exports)
    prices = [band.import_price for band in charter.bands]
    cost = sum(wh * prices[band] for wh, band in zip(imports, bands, strict=True)) - sum(exports) * charter.export_price
    held = meter is None or meter.quarantine is not None
    return GridDay(sum(imports), sum(exports), cost, held)


def _sum(series: Sequence[tuple[int, ...]], slots: int) -> Sequence[int]:
    if len(series) == 1:
        return series[0]
    return [sum(values) for values in zip(*series, strict=True)] if series else [0] * slots
