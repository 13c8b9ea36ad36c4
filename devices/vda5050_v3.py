"""VDA 5050 3.0 beside 2.x: the same values, other names on the wire. No I/O.

Written as translation of JSON objects around the 2.x codec: names, enums and the split of action states differ, the
meaning of what we use does not. Zones have messages of their own in 3.0 (`zone_set`). Not read: factsheet, responses,
zone and edge requests.

Source: VDA 5050 3.0.0 (March 2026) and its JSON schemas (tests/golden/vda5050_3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from devices.bounded_json import JsonValue, compact
from devices.vda5050_codec import Body, Codec
from devices.vda5050_values import Header, InstantActions, Order, State
from devices.zones import Zone, ZoneKind

Table = dict[str, JsonValue]
_NODE = {"nodeDescription": "nodeDescriptor"}
_EDGE = {
    "edgeDescription": "edgeDescriptor",
    "maxSpeed": "maximumSpeed",
    "maxHeight": "maximumMobileRobotHeight",
    "minHeight": "minimumLoadHandlingDeviceHeight",
}
_ACTION = {"actionDescription": "actionDescriptor"}
_ACTION_STATE = {"actionDescription": "actionDescriptor", "resultDescription": "actionResult"}
_STATE = {"agvPosition": "mobileRobotPosition", "batteryState": "powerSupply"}
_POWER = {"batteryCharge": "stateOfCharge", "reach": "range"}
_POSITION = {"positionInitialized": "localized"}
_SAFETY = {"eStop": "activeEmergencyStop"}
_INFO = {"infoDescription": "infoDescriptor"}
# What 3.0 tells apart and 2.x does not, told as what asks for the same of a master.
_MODES = {"TEACH_IN": "TEACHIN", "STARTUP": "SERVICE", "INTERVENED": "MANUAL"}
_STATUSES = {"PAUSED": "RUNNING", "RETRIABLE": "FAILED"}
_LEVELS = {"URGENT": "WARNING", "CRITICAL": "FATAL"}
_CONNECTIONS = {"CONNECTION_BROKEN": "CONNECTIONBROKEN", "HIBERNATING": "OFFLINE"}
_BLOCKING = {"SINGLE": "HARD"}


@dataclass(frozen=True, slots=True)
class CodecV3(Codec):
    """The codec of 3.0; give it to an `Address` and master and vehicle sessions speak it."""

    version: str = "3.0.0"
    level: str = "v3"

    def outgoing(self, value: Body, body: Table) -> Table:
        """Returns a message's object as 3.0 writes it."""
        if isinstance(value, Order):
            return _order_out(body)
        if isinstance(value, InstantActions):
            return {"actions": _each(body.get("actions"), lambda action: {**_named(action, _ACTION), **_AT_ONCE})}
        if isinstance(value, State):
            return _state_out(body)
        return _turned(body, "connectionState", {"CONNECTIONBROKEN": "CONNECTION_BROKEN"})

    def incoming(self, cls: type[Body], message: Table) -> Table:
        """Returns a message's object as 2.x would have written it."""
        if cls is Order:
            return _order_in(message)
        if cls is InstantActions:
            return {**message, "actions": _each(message.get("actions"), _action_in)}
        if cls is State:
            return _state_in(message)
        return _turned(message, "connectionState", _CONNECTIONS)


V3_0 = CodecV3()
_AT_ONCE: Table = {"blockingType": "NONE"}


def zone_set(codec: CodecV3, header: Header, map_id: str, set_id: str, zones: Sequence[Zone]) -> bytes:
    """Returns the zoneSet message that bars a robot's closed zones and slows it in people zones."""
    found: list[JsonValue] = []
    for zone in zones:
        corners: list[JsonValue] = [{"x": x, "y": y} for x, y in zone.corners]
        if zone.kind is ZoneKind.PEOPLE and zone.speed_mps is not None:
            limit: Table = {"zoneType": "SPEED_LIMIT", "maximumSpeed": zone.speed_mps}
            found.append({"zoneId": zone.id, **limit, "vertices": corners})
        elif zone.kind in (ZoneKind.NO_GO, ZoneKind.PEOPLE):
            found.append({"zoneId": zone.id, "zoneType": "BLOCKED", "vertices": corners})
    body: Table = {"zoneSet": {"mapId": map_id, "zoneSetId": set_id, "zones": found}}
    return codec.headed(replace(header, version=codec.version), compact(body))


# -- order ---------------------------------------------------------------------------------------------------------


def _order_out(body: Table) -> Table:
    def node(one: Table) -> Table:
        place = one.get("nodePosition")
        kept = place if not isinstance(place, dict) else _without(place, "allowedDeviationXY", "allowedDeviationTheta")
        position: Table = {} if kept is None else {"nodePosition": kept}
        return {**_named(one, _NODE), **position, "actions": _each(one.get("actions"), _action_out)}

    def edge(one: Table) -> Table:
        named = _without(_named(one, _EDGE), "startNodeId", "endNodeId")
        return {**named, "actions": _each(one.get("actions"), _action_out)}

    order = _without(body, "zoneSetId")
    return {**order, "nodes": _each(body.get("nodes"), node), "edges": _each(body.get("edges"), edge)}


def _order_in(message: Table) -> Table:
    """The ends of an edge are the nodes before and after it by sequence id."""
    nodes = _each(
        message.get("nodes"), lambda one: {**_back(one, _NODE), "actions": _each(one.get("actions"), _action_in)}
    )
    names = {
        one["sequenceId"]: one.get("nodeId", "") for one in _tables(nodes) if isinstance(one.get("sequenceId"), int)
    }

    def edge(one: Table) -> Table:
        at = one.get("sequenceId")
        ends: Table = {"startNodeId": "", "endNodeId": ""}
        if isinstance(at, int):
            ends = {"startNodeId": names.get(at - 1, ""), "endNodeId": names.get(at + 1, "")}
        return {**_back(one, _EDGE), **ends, "actions": _each(one.get("actions"), _action_in)}

    return {**message, "nodes": nodes, "edges": _each(message.get("edges"), edge)}


def _action_out(action: Table) -> Table:
    return _named(action, _ACTION)


def _action_in(action: Table) -> Table:
    return _turned(_back(action, _ACTION), "blockingType", _BLOCKING)


# -- state ---------------------------------------------------------------------------------------------------------


def _state_out(body: Table) -> Table:
    state = _named(_without(body, "zoneSetId"), _STATE)
    state = _turned(state, "operatingMode", {"TEACHIN": "TEACH_IN"})
    inner = (("powerSupply", _POWER), ("mobileRobotPosition", _POSITION), ("safetyState", _SAFETY))
    for key, names in inner:
        part = state.get(key)
        if isinstance(part, dict):
            state[key] = _turned(_named(part, names), "activeEmergencyStop", {"AUTOACK": "MANUAL"})
    state["actionStates"] = _each(state.get("actionStates"), lambda one: _named(one, _ACTION_STATE))
    state["instantActionStates"] = []
    if "information" in state:
        state["information"] = _each(state["information"], lambda one: _named(one, _INFO))
    return state


def _state_in(message: Table) -> Table:
    state = _turned(_back(message, _STATE), "operatingMode", _MODES)
    for key, names in (("batteryState", _POWER), ("agvPosition", _POSITION), ("safetyState", _SAFETY)):
        part = state.get(key)
        if isinstance(part, dict):
            state[key] = _back(part, names)

    def action(one: Table) -> Table:
        return _turned(_back(one, _ACTION_STATE), "actionStatus", _STATUSES)

    of_order, at_once = _each(state.get("actionStates"), action), _each(state.get("instantActionStates"), action)
    if isinstance(of_order, list) and isinstance(at_once, list):
        of_order = [*of_order, *at_once]
    state["actionStates"] = of_order
    state["errors"] = _each(state.get("errors"), lambda one: _turned(one, "errorLevel", _LEVELS))
    if "information" in state:
        state["information"] = _each(state["information"], lambda one: _back(one, _INFO))
    return state


# -- small things --------------------------------------------------------------------------------------------------


def _named(table: Table, names: dict[str, str]) -> Table:
    return {names.get(key, key): value for key, value in table.items()}


def _back(table: Table, names: dict[str, str]) -> Table:
    return _named(table, {new: old for old, new in names.items()})


def _turned(table: Table, key: str, words: dict[str, str]) -> Table:
    value = table.get(key)
    return {**table, key: words[value]} if isinstance(value, str) and value in words else table


def _without(table: Table, *keys: str) -> Table:
    return {key: value for key, value in table.items() if key not in keys}


def _tables(value: JsonValue) -> list[Table]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _each(value: JsonValue, change: Callable[[Table], Table]) -> JsonValue:
    """Returns a list with every object changed; what is no list of objects stays, for the reader to complain of."""
    if not isinstance(value, list):
        return value
    return [change(one) if isinstance(one, dict) else one for one in cast("list[JsonValue]", value)]
