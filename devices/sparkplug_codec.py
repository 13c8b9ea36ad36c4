"""Sparkplug B payloads and topics: values <-> bytes, with limits checked before anything is parsed.

Source: Eclipse Sparkplug 3.0.0, sections 4 (topics) and 6 (payloads). The host decodes live data with its own loop
(`sparkplug_host`), because objects for every metric would cost more than the parse; births, commands and deaths come
through here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias, cast

from google.protobuf.message import DecodeError

from devices import bounded_json
from devices.bounded_json import BadJson
from devices.clock import Instant
from devices.model import Quality
from devices.sparkplug_b_pb2 import Payload as PayloadPb

NAMESPACE = "spBv1.0"
BYTES_MAX = 256 * 1024
METRICS_MAX = 2_000
NAME_MAX = 128
STATE_BYTES_MAX = 1_024
INSTANT_MAX = 1 << 42
"""Time stamps up to the year 2109 are believed; above, protobuf's 64 bits hold nonsense."""

QUALITY_KEY = "Quality"
SIMULATED = "Simulated"
BD_SEQ = "bdSeq"
REBIRTH = "Node Control/Rebirth"
RECORDS_DEVICE = "records"
RECORDS_BATCH = "Records/batch"
RECORDS_ACK = "Records/ack"
RECORDS_DAY = "Records/day"
RECORDS_DAY_ACK = "Records/day-ack"
RECORDS_KEY = "Records/key"
"""The public key that signs `Records/day`: SubjectPublicKeyInfo, DER, in hex."""
SETPOINT_SUFFIX = "/setpoint"


class RemoteProtocolError(ValueError):
    """The peer sent something that is not Sparkplug within our limits."""


class TooLarge(RemoteProtocolError):
    """The peer sent more bytes or metrics than are read."""


class LocalProtocolError(RuntimeError):
    """Our own side asked for something that the session's state does not allow."""


class DataType(IntEnum):
    """Metric data types (Sparkplug 3.0, section 6.4.16)."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    DATASET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19


MetricValue: TypeAlias = float | int | bool | str | bytes | None

_INTS = frozenset({DataType.INT8, DataType.INT16, DataType.INT32, DataType.UINT8, DataType.UINT16, DataType.UINT32})
_LONGS = frozenset({DataType.INT64, DataType.UINT64, DataType.DATETIME})
_TEXTS = frozenset({DataType.STRING, DataType.TEXT, DataType.UUID})
_BYTES = frozenset({DataType.BYTES, DataType.FILE})
NUMERIC = _INTS | _LONGS | {DataType.FLOAT, DataType.DOUBLE, DataType.BOOLEAN}
BITS = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
"""Signed types travel as two's complement in an unsigned field of at least this width."""

FIELD: dict[int, str] = {
    **dict.fromkeys(_INTS, "int_value"),
    **dict.fromkeys(_LONGS, "long_value"),
    **dict.fromkeys(_TEXTS, "string_value"),
    **dict.fromkeys(_BYTES, "bytes_value"),
    DataType.FLOAT: "float_value",
    DataType.DOUBLE: "double_value",
    DataType.BOOLEAN: "boolean_value",
}
"""Which member of the protobuf oneof carries a data type; DataSet and Template are not read."""

WIRE_QUALITY = {Quality.GOOD: 192, Quality.UNCERTAIN: 64, Quality.STALE: 500, Quality.BAD: 0}
"""Sparkplug's codes are 0, 192 and 500; 64 is OPC's `uncertain`."""
FROM_WIRE_QUALITY = {code: quality for quality, code in WIRE_QUALITY.items()}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `value` None means is_null; `timestamp` None means that of the payload."""

    name: str
    datatype: DataType
    value: MetricValue = None
    alias: int | None = None
    timestamp: Instant | None = None
    quality: Quality | None = None
    historical: bool = False


@dataclass(frozen=True, slots=True)
class Payload:
    """One Sparkplug payload; `seq` None where the standard wants none (commands, NDEATH)."""

    timestamp: Instant | None
    metrics: tuple[Metric, ...]
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Topic:
    """`spBv1.0/group/kind/node[/device]`."""

    group: str
    kind: str
    node: str
    device: str | None = None

    def __str__(self) -> str:
        tail = "" if self.device is None else f"/{self.device}"
        return f"{NAMESPACE}/{self.group}/{self.kind}/{self.node}{tail}"


@dataclass(frozen=True, slots=True)
class HostState:
    """The payload of `spBv1.0/STATE/<host id>`."""

    online: bool
    timestamp: Instant


_DEVICE_KINDS = frozenset({"DBIRTH", "DDATA", "DDEATH", "DCMD"})
_NODE_KINDS = frozenset({"NBIRTH", "NDATA", "NDEATH", "NCMD"})
_ID = re.compile(r"[^+#/\x00-\x1f]{1,128}\Z")


def parse_topic(text: str) -> Topic:
    """Returns the parts of a node or device topic.

    Raises:
        RemoteProtocolError: another shape, an unknown message kind, an empty or overlong id.
    """
    parts = text.split("/", 5)
    if parts[0] == NAMESPACE and all(_ID.match(part) for part in parts):
        if len(parts) == 4 and parts[2] in _NODE_KINDS:
            return Topic(parts[1], parts[2], parts[3])
        if len(parts) == 5 and parts[2] in _DEVICE_KINDS:
            return Topic(parts[1], parts[2], parts[3], parts[4])
    raise RemoteProtocolError(f"{text[:200]!r} is not a Sparkplug topic")


def state_topic(host_id: str) -> str:
    """Returns the topic on which a host application says whether it is online."""
    return f"{NAMESPACE}/STATE/{host_id}"


def encode_state(state: HostState) -> bytes:
    """Returns `{"online":true,"timestamp":T}`."""
    return bounded_json.compact({"online": state.online, "timestamp": int(state.timestamp)})


def decode_state(payload: bytes) -> HostState:
    """Returns what a STATE payload says.

    Raises:
        RemoteProtocolError: not that JSON object.
    """
    try:
        value = bounded_json.parse(payload, STATE_BYTES_MAX)
    except BadJson as error:
        raise RemoteProtocolError(f"STATE: {error}") from None
    if isinstance(value, dict):
        online, timestamp = value.get("online"), value.get("timestamp")
        if isinstance(online, bool) and type(timestamp) is int and 0 <= timestamp < INSTANT_MAX:
            return HostState(online, Instant(timestamp))
    raise RemoteProtocolError('STATE is not {"online": bool, "timestamp": ms}')


def parse(payload: bytes) -> PayloadPb:
    """Returns the protobuf message, after checking bytes and the number of metrics.

    Raises:
        TooLarge: over 256 KiB or 2,000 metrics.
        RemoteProtocolError: not protobuf.
    """
    size = len(payload)
    if size > BYTES_MAX:
        raise TooLarge(f"{size} bytes, at most {BYTES_MAX} are read")
    if size > 2 * METRICS_MAX and _metrics_over(payload, METRICS_MAX):
        raise TooLarge(f"more than {METRICS_MAX} metrics")
    try:
        return PayloadPb.FromString(payload)
    except DecodeError as error:
        raise RemoteProtocolError(f"not a Sparkplug payload: {error}") from None


def decode(payload: bytes) -> Payload:
    """Returns all metrics as values; a metric of a type that is not read (DataSet, Template) is left out.

    A metric without a datatype (data, commands) gets the widest type of the member that it uses.

    Raises:
        RemoteProtocolError: too large, malformed, or text that is not UTF-8.
    """
    message = parse(payload)
    metrics = [metric for pb in message.metrics if (metric := decode_metric(pb)) is not None]
    return Payload(
        timestamp=instant(message.timestamp) if message.HasField("timestamp") else None,
        metrics=tuple(metrics),
        seq=message.seq if message.HasField("seq") else None,
    )


def encode(payload: Payload) -> bytes:
    """Returns the protobuf bytes; the inverse of `decode` for every payload that fits its metrics' types.

    Raises:
        ValueError: a number beyond its data type.
        TypeError: a value of another type than its data type takes.
    """
    message = PayloadPb()
    if payload.timestamp is not None:
        message.timestamp = payload.timestamp
    for metric in payload.metrics:
        _fill(message.metrics.add(), metric)
    if payload.seq is not None:
        message.seq = payload.seq
    return message.SerializeToString()


def instant(raw: int) -> Instant | None:
    """Returns a believable instant, or None."""
    return Instant(raw) if raw < INSTANT_MAX else None


def signed(raw: int, bits: int) -> int:
    """Returns the two's complement reading of the low `bits` of an unsigned field."""
    raw &= (1 << bits) - 1
    return raw - (1 << bits) if raw >> (bits - 1) else raw


_WIDEST = {
    "int_value": DataType.UINT32,
    "long_value": DataType.UINT64,
    "float_value": DataType.FLOAT,
    "double_value": DataType.DOUBLE,
    "boolean_value": DataType.BOOLEAN,
    "string_value": DataType.STRING,
    "bytes_value": DataType.BYTES,
}


def decode_metric(pb: PayloadPb.Metric) -> Metric | None:
    """Returns one metric; None when its type is not read. A value that does not fit its type becomes None and BAD.

    Raises:
        RemoteProtocolError: a name that is not UTF-8.
    """
    name = cast("str | bytes", pb.name)  # protobuf hands out text that is not UTF-8 as bytes
    if isinstance(name, bytes):
        raise RemoteProtocolError(f"a metric's name {name[:40]!r} is not UTF-8")
    member = pb.WhichOneof("value")
    if pb.HasField("datatype"):
        if pb.datatype not in FIELD:
            return None
        datatype = DataType(pb.datatype)
    elif member is None:
        datatype = DataType.DOUBLE
    else:
        datatype = _WIDEST[member]
    value: MetricValue = None
    quality = wire_quality(pb.properties) if pb.HasField("properties") else None
    if not pb.is_null:
        value = member_value(pb, datatype)
        quality = Quality.BAD if value is None else quality
    return Metric(
        name=name[:NAME_MAX],
        datatype=datatype,
        value=value,
        alias=pb.alias if pb.HasField("alias") else None,
        timestamp=instant(pb.timestamp) if pb.HasField("timestamp") else None,
        quality=quality,
        historical=pb.is_historical,
    )


def member_value(pb: PayloadPb.Metric, datatype: DataType) -> MetricValue:
    """Returns the value, or None when the oneof member is not that of `datatype` or the number is not finite."""
    field = FIELD.get(datatype)
    if field is None or not pb.HasField(field):  # pyright: ignore[reportArgumentType] - typeshed wants literals
        return None
    value: MetricValue = getattr(pb, field)
    if datatype in BITS:
        return signed(pb.long_value if datatype is DataType.INT64 else pb.int_value, BITS[datatype])
    if isinstance(value, float) and value - value != 0.0:
        return None
    return None if field == "string_value" and isinstance(value, bytes) else value  # not UTF-8


def wire_quality(properties: PayloadPb.PropertySet) -> Quality | None:
    """Returns what the property `Quality` says; None without one, BAD for a code that nobody defined."""
    for key, value in zip(properties.keys, properties.values, strict=False):
        if key == QUALITY_KEY:
            return FROM_WIRE_QUALITY.get(value.int_value, Quality.BAD)
    return None


def put_quality(pb: PayloadPb.Metric, quality: Quality) -> None:
    """Adds the property `Quality` (Int32)."""
    pb.properties.keys.append(QUALITY_KEY)
    pb.properties.values.add(type=DataType.INT32, int_value=WIRE_QUALITY[quality])


def put_value(pb: PayloadPb.Metric, datatype: DataType, value: MetricValue) -> None:
    """Sets the oneof member that `datatype` wants, or is_null."""
    if value is None:
        pb.is_null = True
    elif datatype in BITS:
        if not isinstance(value, int) or not -(1 << BITS[datatype] - 1) <= value < 1 << BITS[datatype] - 1:
            raise ValueError(f"{value!r} is no {datatype.name}")
        setattr(pb, FIELD[datatype], value & (1 << 64 if datatype is DataType.INT64 else 1 << 32) - 1)
    else:
        setattr(pb, FIELD[datatype], value)


def _fill(pb: PayloadPb.Metric, metric: Metric) -> None:
    if metric.name:
        pb.name = metric.name
    if metric.alias is not None:
        pb.alias = metric.alias
    if metric.timestamp is not None:
        pb.timestamp = metric.timestamp
    pb.datatype = metric.datatype
    if metric.historical:
        pb.is_historical = True
    put_value(pb, metric.datatype, metric.value)
    if metric.quality is not None:
        put_quality(pb, metric.quality)


def encode_command(metrics: Sequence[Metric], now: Instant) -> bytes:
    """Returns an NCMD or DCMD payload: a time stamp and no seq (tck-id-payloads-ncmd-seq, -dcmd-seq)."""
    return encode(Payload(now, tuple(metrics)))


def _metrics_over(payload: bytes, limit: int) -> bool:
    """Returns whether more than `limit` fields number 2 stand at top level; walks over lengths, makes no objects."""
    position, size, found = 0, len(payload), 0
    while position < size:
        tag, position = _varint(payload, position)
        kind = tag & 7
        if kind == 2:
            length, position = _varint(payload, position)
            position += length
            if tag >> 3 == 2:
                found += 1
                if found > limit:
                    return True
        elif kind == 0:
            _, position = _varint(payload, position)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            return False  # groups: the parser decides
    return False


def _varint(payload: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while position < len(payload) and shift < 70:
        byte = payload[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return result, position
