"""VDA 5050 2.1 without I/O: values, codec and the two sides' sessions. Import from here.

`VehicleSession` is a vehicle's side, `MasterSession` the hub's for one vehicle. Values: `vda5050_values`; codec:
`vda5050_codec`, one `Codec` per version and dialect.
"""

from __future__ import annotations

from devices import vda5050_master as master
from devices import vda5050_vehicle as vehicle
from devices.vda5050_codec import V2_0, V2_0_LIB, V2_1, Address, Codec, Decoded, Kind
from devices.vda5050_master import BadOrder, MasterEvent, MasterSession, OrderInHand, OrderState
from devices.vda5050_orders import Progress, shape_problem
from devices.vda5050_values import (
    Action,
    ActionParameter,
    ActionState,
    ActionStatus,
    AgvPosition,
    BatteryState,
    BlockingType,
    Connection,
    ConnectionState,
    Edge,
    EStop,
    Header,
    InstantActions,
    Node,
    NodePosition,
    OperatingMode,
    Order,
    SafetyState,
    State,
    VehicleError,
)
from devices.vda5050_vehicle import Condition, VehicleEvent, VehicleSession

__all__ = [
    "V2_0",
    "V2_0_LIB",
    "V2_1",
    "Action",
    "ActionParameter",
    "ActionState",
    "ActionStatus",
    "Address",
    "AgvPosition",
    "BadOrder",
    "BatteryState",
    "BlockingType",
    "Codec",
    "Condition",
    "Connection",
    "ConnectionState",
    "Decoded",
    "EStop",
    "Edge",
    "Header",
    "InstantActions",
    "Kind",
    "MasterEvent",
    "MasterSession",
    "Node",
    "NodePosition",
    "OperatingMode",
    "Order",
    "OrderInHand",
    "OrderState",
    "Progress",
    "SafetyState",
    "State",
    "VehicleError",
    "VehicleEvent",
    "VehicleSession",
    "master",
    "shape_problem",
    "vehicle",
]
