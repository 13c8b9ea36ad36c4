"""Load that can be switched off tier by tier: what is off in a shortage, and in which order it comes back. Pure.

Off goes at once, the cheapest tier first; back comes the dearest tier first, in stages whose inrush the supply carries
(`optimizer.restart`). What is off stays so for ten minutes at least: compressors must not be started in a row.
Lifelines are on no such switch (`site_energy`), and nothing here writes: it asks by the emergency rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from controller.image import Snapshot
from controller.site import Site
from controller.site_energy import Switch
from devices.clock import MINUTE_MS, Instant
from devices.model import DeviceId, DeviceKind
from optimizer.plan import Plan
from optimizer.restart import Load, restart_order
from optimizer.survival import Ration

LEAST_OFF_MS = 10 * MINUTE_MS
INRUSH = 2.0
"""Of a switch's power where the site says nothing: cold load pick-up, as of relays in `controller.emergency`."""

EMPTY, ENOUGH = 0.05, 0.15
"""Of a battery, above its minimum: without an outside all tiers go below the first, and come back above the second."""

FUEL_LEAST = 0.02
HALF = 0.5


def by_ration(switches: Sequence[Switch], ration: Ration) -> dict[DeviceId, str]:
    """Returns what a ration switches off: of the power on switches what is not to be served, cheapest tiers first."""
    share = 1.0 - ration.power_share
    if ration.power_share > HALF:  # what it saves, devices of other kinds save
        return {}
    total = sum(one.power_w for one in switches)
    return _first(switches, share * total, f"ration {ration.name}")


def by_plan(switches: Sequence[Switch], plan: Plan, slot: int) -> dict[DeviceId, str]:
    """Returns what a plan sheds in a slot, tier by tier, as far as whole switches come near it."""
    found: dict[DeviceId, str] = {}
    for tier, series in plan.shed_by_tier_kw.items():
        mine = [one for one in switches if one.tier == tier]
        found |= _first(mine, series[slot] * 1000, f"the plan sheds {series[slot]:.1f} kW of {tier}")
    return found


def _first(switches: Sequence[Switch], watts: float, why: str) -> dict[DeviceId, str]:
    """Returns the switches, in their order, that together come nearest to a power."""
    found: dict[DeviceId, str] = {}
    for one in switches:
        if watts >= HALF * one.power_w:
            found[one.device] = why
            watts -= one.power_w
    return found


def nearly_empty(site: Site, snapshot: Snapshot, *, already: bool) -> bool:
    """Returns whether the fullest battery is nearly at its end; `already`: it was, and has to fill up first."""
    above = [
        soc - battery.ratings["soc_min"]
        for battery in site.of_kind(DeviceKind.BATTERY)
        if (soc := snapshot.value(battery.id, "soc")) is not None
    ]
    return bool(above) and max(above) < (ENOUGH if already else EMPTY)


def supply_w(site: Site, snapshot: Snapshot, *, cut_off: bool) -> float:
    """Returns what may be drawn: the connection's limit, or what batteries and sets with fuel can give without one."""
    if not cut_off:
        return site.import_limit_w
    batteries = [one.ratings["discharge_w_max"] for one in site.of_kind(DeviceKind.BATTERY) if snapshot.online(one.id)]
    gensets = [
        one.ratings["power_w_max"]
        for one in site.of_kind(DeviceKind.GENSET)
        if (snapshot.value(one.id, "running") or 0.0) > 0.0 and (snapshot.value(one.id, "fuel") or 1.0) > FUEL_LEAST
    ]
    return sum(batteries) + sum(gensets)


@dataclass(slots=True)
class Off:
    """One switch that is off."""

    since: Instant
    why: str
    back: Instant | None = None  # when it is its turn


@dataclass(slots=True)
class Shedding:
    """What is off; owned by the hub's emergency."""

    off: dict[DeviceId, Off] = field(default_factory=dict[DeviceId, Off])
    empty: bool = False  # the batteries are nearly at their end
    looked: bool = False

    def look(self, site: Site, snapshot: Snapshot, wanted: Mapping[DeviceId, str], *, cut_off: bool) -> Iterator[str]:
        """Brings what is off to what a shortage wants; yields what has changed, in words for the log."""
        now, switches = snapshot.now, site.energy.switches
        if not self.looked:  # a hub that starts anew finds off what the last one shed
            self.looked = True
            self.off |= {one.device: Off(now, "shed before the restart") for one in _seen_off(switches, snapshot)}
        news = [one for one in switches if one.device in wanted and one.device not in self.off]
        for one in news:
            self.off[one.device] = Off(now, wanted[one.device])
        if news:
            yield f"off: {_names(news)} ({wanted[news[0].device]})"
        for device, state in self.off.items():
            if device in wanted:
                state.why, state.back = wanted[device], None
        self._plan_return(site, snapshot, wanted, cut_off=cut_off)
        back = [one for one in switches if (at := self._back(one)) is not None and at <= now]
        for one in back:
            del self.off[one.device]
        if back:
            yield f"on again: {_names(back)}"

    def reasons(self) -> dict[DeviceId, str]:
        """Returns why each switch that is off is off."""
        return {device: state.why for device, state in self.off.items()}

    def _back(self, one: Switch) -> Instant | None:
        state = self.off.get(one.device)
        return None if state is None else state.back

    def _plan_return(self, site: Site, snapshot: Snapshot, wanted: Mapping[DeviceId, str], *, cut_off: bool) -> None:
        """Gives those that nobody wants off any more their turn, after who has one: what does not fit waits on."""
        now, gap = snapshot.now, site.emergency.restart_gap_ms
        free = [
            one
            for one in site.energy.switches
            if (state := self.off.get(one.device)) is not None
            and one.device not in wanted
            and state.back is None
            and now - state.since >= LEAST_OFF_MS
        ]
        if not free:
            return
        rank = {tier.id: -tier.price for tier in site.energy.tiers}
        order_of = {price: number for number, price in enumerate(sorted(set(rank.values())))}
        inrush = site.emergency.inrush_factor
        loads = [
            Load(one.device, order_of[rank[one.tier]], one.power_w, inrush.get(one.device, INRUSH) * one.power_w)
            for one in free
        ]
        drawn = sum(max(0.0, snapshot.value(one.id, "W") or 0.0) for one in site.of_kind(DeviceKind.METER))
        coming = sum(one.power_w for one in site.energy.switches if self._back(one) is not None)
        order = restart_order(loads, supply_w(site, snapshot, cut_off=cut_off), drawn + coming)
        first = max([now, *(state.back + gap for state in self.off.values() if state.back is not None)])
        for number, stage in enumerate(order.stages):
            for name in stage.loads:
                state = self.off[DeviceId(name)]
                state.back, state.why = Instant(first + number * gap), "it waits for its turn to come back"
        for name, why in order.refused:
            self.off[DeviceId(name)].why = f"it cannot come back yet: {why}"


def _seen_off(switches: Iterable[Switch], snapshot: Snapshot) -> Iterator[Switch]:
    for one in switches:
        on = snapshot.value(one.device, "on")
        if on is not None and on != one.served:
            yield one


def _names(switches: Iterable[Switch]) -> str:
    return ", ".join(f"{one.device} ({one.tier}, {one.power_w / 1000:.1f} kW)" for one in switches)
