"""An order in force as plain JSON values and back; an action that stands in several lists stays one object."""

from __future__ import annotations

from typing import cast

from firmware_sim.orders import Action, Order, Stop
from firmware_sim.state import ForeignState, dump, restore

ACTION = ("id", "type", "parameters", "status", "result")
STOP = ("node_id", "sequence", "released", "x", "y", "edge_id", "edge_sequence")
ORDER = ("id", "update", "last_node", "last_sequence")


def dump_order(order: Order) -> dict[str, object]:
    """Returns the order; stops and the present node name their actions by id."""
    return {
        **dump(order, ORDER),
        "actions": [dump(action, ACTION) for action in order.actions],
        "here": [action.id for action in order.here],
        "stops": [dump(stop, STOP) | {"actions": [action.id for action in stop.actions]} for stop in order.stops],
    }


def restore_order(saved: object) -> Order:
    """Returns the order of a saved state.

    Raises:
        ForeignState: it is none.
    """
    table = cast("dict[str, object]", saved) if isinstance(saved, dict) else {}
    order = Order()
    restore(order, ORDER, table)
    for entry in _rows(table, "actions"):
        action = Action("", "")
        restore(action, ACTION, entry)
        order.actions.append(action)
    by_id = {action.id: action for action in order.actions}
    for entry in _rows(table, "stops"):
        stop = Stop("", 0, False, None, None)
        restore(stop, STOP, entry)
        stop.actions = [by_id[name] for name in _rows(entry, "actions") if name in by_id]
        order.stops.append(stop)
    order.here = [by_id[name] for name in _rows(table, "here") if name in by_id]
    return order


def _rows(table: object, name: str) -> list[str]:
    """Returns a list of the table: ids, or (told apart by `restore`) tables of attributes."""
    if not isinstance(table, dict):
        raise ForeignState("saved order is no table: delete the state file to start anew")
    rows = cast("dict[str, object]", table).get(name)
    if not isinstance(rows, list):
        raise ForeignState(f"saved order lacks {name}: delete the state file to start anew")
    return cast("list[str]", rows)
