"""Launching a drone in two steps: a flight that is loaded and checked waits on the ground until two words match. Pure.

VDA 5050 leaves room for actions of one's own: `selectLaunch` and `operateLaunch`, both with the parameters `orderId`
and `selection`. The second counts only within `SELECT_MS` of the first and with the same two; right or wrong, it uses
the selection up. What waits stands as information in the vehicle's state.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.clock import Instant
from devices.leases import SELECT_MS
from devices.vda5050_values import Action, InfoLevel, Information, Reference, State

SELECT_LAUNCH, OPERATE_LAUNCH = "selectLaunch", "operateLaunch"
WAITS = "launchWaits"


@dataclass(slots=True)
class Launch:
    """The gate before take-off of one drone."""

    selected: tuple[str, str, Instant] | None = None  # order, selection, until

    def take(self, action: Action, waiting: str, now: Instant) -> tuple[bool, str]:
        """Returns (whether the drone may take off now, why the action is refused, empty where it is not).

        `waiting` is the order that waits for its launch, empty where none does.
        """
        order, name = action.parameter("orderId"), action.parameter("selection")
        if not isinstance(order, str) or not isinstance(name, str) or not name:
            return False, "a launch names orderId and selection"
        if not waiting or order != waiting:
            return False, f"order {order!r} does not wait for its launch"
        if action.actionType == SELECT_LAUNCH:
            self.selected = order, name, Instant(now + SELECT_MS)
            return False, ""
        selected, self.selected = self.selected, None
        if selected is None or selected[2] <= now:
            return False, f"not selected, or more than {SELECT_MS // 1000} s ago"
        if selected[:2] != (order, name):
            return False, "another selection was made"
        return True, ""


def waiting_information(order: str, stops: int) -> Information:
    """Returns what stands in the state while a flight waits."""
    text = (
        f"Order {order} ({stops} nodes to reach) is loaded, compared and checked; it waits for its launch in two steps."
    )
    return Information(WAITS, InfoLevel.INFO, (Reference("orderId", order),), text)


def waiting_order(state: State | None) -> tuple[str, str]:
    """Returns (the order that waits for its launch, in words) by a vehicle's state; empty where none does."""
    for one in () if state is None else state.information or ():
        if one.infoType == WAITS:
            named = (entry.referenceValue for entry in one.infoReferences if entry.referenceKey == "orderId")
            return next(named, ""), one.infoDescription or ""
    return "", ""
