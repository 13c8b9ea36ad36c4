"""Live Sparkplug data into columns: what a hub does all day, so one plain loop and a table per device.

`columns` takes what our own gateways send (aliases, one time stamp, Double and Int64) and answers None for anything
else; `unusual` takes everything that Sparkplug allows. Both give the same readings for the same message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from devices.clock import Instant
from devices.model import DeviceId, Quality, Readings
from devices.sparkplug_b_pb2 import Payload as PayloadPb
from devices.sparkplug_codec import FIELD, NUMERIC, DataType, instant, member_value, wire_quality
from devices.sparkplug_layout import Layout, learn

AHEAD_MS_MAX = 5_000
"""A sender's clock may be so far ahead of ours; data from further ahead would never grow old and is dated now."""

LAYOUTS_MAX = 16
"""Layouts per device: registers that grow by a byte, seq above 127."""

Count = Callable[[str], None]

_GOOD: tuple[tuple[Quality, ...], ...] = tuple((Quality.GOOD,) * count for count in range(65))
_DOUBLE = DataType.DOUBLE
_INT64 = DataType.INT64


@dataclass(slots=True)
class BornDevice:
    """What the last birth of one device said: what its aliases and names stand for."""

    id: DeviceId
    node: str
    by_alias: dict[int, tuple[str, DataType]]
    by_name: dict[str, tuple[str, DataType]]
    aliases: dict[str, int]
    simulated: bool
    born_at: Instant
    last_at: Instant
    confirmed: bool = True  # False between a rebirth of its node and its own DBIRTH
    layouts: dict[int, Layout | None] = field(default_factory=dict[int, "Layout | None"])  # by message length


@dataclass(slots=True)
class _Column:
    points: list[str]
    values: list[float | None]
    qualities: list[Quality]


def past(raw: Instant | None, now: Instant, count: Count) -> Instant:
    """Returns a sender's time stamp, or `now` without one or for one too far ahead."""
    if raw is None:
        return now
    if raw > now + AHEAD_MS_MAX:
        count("timestamps_ahead")
        return now
    return raw


def remember(device: BornDevice, payload: bytes, readings: Readings) -> None:
    """Learns the layout of a usual message, so that the next one like it is read by `Layout.read`."""
    size = len(payload)
    if size in device.layouts or not all(quality is Quality.GOOD for quality in readings.qualities):
        return
    if len(device.layouts) >= LAYOUTS_MAX:
        device.layouts.clear()
    device.layouts[size] = learn(payload, readings.points)


def columns(device: BornDevice, message: PayloadPb, now: Instant, count: Count) -> Readings | None:
    """Returns the readings of a usual message, or None: let `unusual` look at it."""
    at = message.timestamp
    if at > now + AHEAD_MS_MAX:
        return None
    by_alias = device.by_alias
    points: list[str] = []
    values: list[float | None] = []
    qualities: list[Quality] | None = None
    for metric in message.metrics:
        entry = by_alias.get(metric.alias)
        if entry is None or metric.timestamp != at or metric.is_historical:
            return None
        value: float | None
        if entry[1] is _DOUBLE:
            value = metric.double_value
            plain = value - value == 0.0 if value else metric.HasField("double_value")
        elif entry[1] is _INT64:
            value = metric.long_value
            plain = value > 0 or metric.HasField("long_value")
            if value >> 63:
                value -= 1 << 64
        else:
            return None
        if not plain or metric.is_null or metric.HasField("properties"):
            if qualities is None:
                qualities = [Quality.GOOD] * len(points)
            value, quality = judged(metric, entry[1], count)
            qualities.append(quality)
        elif qualities is not None:
            qualities.append(Quality.GOOD)
        points.append(entry[0])
        values.append(value)
    size = len(points)
    judgement = tuple(qualities) if qualities is not None else _GOOD[size] if size < 65 else (Quality.GOOD,) * size
    return Readings(device.id, Instant(at), tuple(points), tuple(values), judgement, device.simulated)


def unusual(
    device: BornDevice, message: PayloadPb, now: Instant, late: bool, count: Count
) -> tuple[list[Readings], bool]:
    """Returns the readings of any message, one per time stamp and history flag, and whether all metrics were known.

    `late` means that the message was overtaken: what is older than the device's last data is then history.
    """
    base = past(instant(message.timestamp) if message.HasField("timestamp") else None, now, count)
    groups: dict[tuple[Instant, bool], _Column] = {}
    known = True
    for metric in message.metrics:
        entry = device.by_alias.get(metric.alias) if metric.HasField("alias") else device.by_name.get(metric.name)
        if entry is None:
            count("unknown_alias")
            known = False
            continue
        name, datatype = entry
        if datatype not in NUMERIC:
            continue
        at = past(instant(metric.timestamp), now, count) if metric.HasField("timestamp") else base
        historical = metric.is_historical or (late and at < device.last_at)
        value, quality = judged(metric, datatype, count)
        column = groups.setdefault((at, historical), _Column([], [], []))
        column.points.append(name)
        column.values.append(value)
        column.qualities.append(quality)
    readings = [
        Readings(
            device=device.id,
            at=at,
            points=tuple(column.points),
            values=tuple(column.values),
            qualities=tuple(column.qualities),
            simulated=device.simulated,
            historical=historical,
        )
        for (at, historical), column in groups.items()
    ]
    return readings, known


def judged(metric: PayloadPb.Metric, datatype: DataType, count: Count) -> tuple[float | None, Quality]:
    """Returns (value, quality); a wrong datatype, NaN and infinity are BAD and have no value."""
    if metric.is_null:
        return None, Quality.BAD
    value = member_value(metric, datatype)
    if not isinstance(value, int | float):
        right_member = metric.HasField(FIELD[datatype])  # pyright: ignore[reportArgumentType] - typeshed wants literals
        count("not_finite" if right_member else "wrong_datatype")
        return None, Quality.BAD
    quality = wire_quality(metric.properties) if metric.HasField("properties") else None
    if quality is Quality.BAD:
        return None, Quality.BAD
    return (int(value) if isinstance(value, bool) else value), quality or Quality.GOOD
