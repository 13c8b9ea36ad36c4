"""Sparkplug B 3.0 without I/O: the two sessions and what they say. Import from here.

`EdgeSession` is a gateway's side, `HostSession` the hub's. Bytes and topics <-> values: `sparkplug_codec`; the hub's
loop over live data: `sparkplug_live`. The protobuf module is generated; `sparkplug_b.proto` says how.
"""

from __future__ import annotations

from devices.sparkplug_codec import DataType, LocalProtocolError, Metric, RemoteProtocolError, TooLarge
from devices.sparkplug_edge import EdgeSession
from devices.sparkplug_events import (
    DaysAcked,
    DeviceData,
    DeviceOffline,
    DeviceOnline,
    EdgeEvent,
    HostEvent,
    HostOnline,
    NodeKey,
    NodeOffline,
    NodeOnline,
    RebirthRequested,
    RecordBatch,
    RecordDay,
    RecordsAcked,
    Rejected,
    Send,
    SetpointReceived,
)
from devices.sparkplug_host import HostSession

__all__ = [
    "DataType",
    "DaysAcked",
    "DeviceData",
    "DeviceOffline",
    "DeviceOnline",
    "EdgeEvent",
    "EdgeSession",
    "HostEvent",
    "HostOnline",
    "HostSession",
    "LocalProtocolError",
    "Metric",
    "NodeKey",
    "NodeOffline",
    "NodeOnline",
    "RebirthRequested",
    "RecordBatch",
    "RecordDay",
    "RecordsAcked",
    "Rejected",
    "RemoteProtocolError",
    "Send",
    "SetpointReceived",
    "TooLarge",
]
