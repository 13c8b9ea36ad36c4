"""The edge node's side of Sparkplug B: births, data, deaths, and what the host may command. No I/O, no clock.

Source: Eclipse Sparkplug 3.0.0, sections 5 and 6.4; test names in tests/devices/test_sparkplug_edge.py are its
assertions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from devices import bounded_json
from devices.bounded_json import BadJson
from devices.clock import DAY_MS, Instant
from devices.model import DeviceId, Message, Quality, Readings, Setpoint
from devices.sparkplug_b_pb2 import Payload as PayloadPb
from devices.sparkplug_codec import (
    BD_SEQ,
    NAMESPACE,
    REBIRTH,
    RECORDS_ACK,
    RECORDS_BATCH,
    RECORDS_DAY,
    RECORDS_DAY_ACK,
    RECORDS_DEVICE,
    RECORDS_KEY,
    SETPOINT_SUFFIX,
    SIMULATED,
    DataType,
    LocalProtocolError,
    Metric,
    Payload,
    RemoteProtocolError,
    Topic,
    decode,
    decode_state,
    encode,
    parse_topic,
    put_quality,
    put_value,
    state_topic,
)
from devices.sparkplug_events import (
    DaysAcked,
    EdgeEvent,
    HostOnline,
    RebirthRequested,
    RecordsAcked,
    Rejected,
    SetpointReceived,
)

VALID_MS_MAX = 7 * DAY_MS
REASON_MAX = 200
SELECTION_MAX = 64
SETPOINT_BYTES_MAX = 4_096
NUMBER_MAX = 1 << 53
INT64 = 1 << 63


@dataclass(slots=True)
class _Born:
    """What the last birth of one device said: alias and type by name, name by alias."""

    metrics: dict[str, tuple[int, DataType]] = field(default_factory=dict[str, tuple[int, DataType]])
    names: dict[int, str] = field(default_factory=dict[int, str])
    kept: _Kept | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    """The last plain data message of a device: the next one has the same shape, so only its numbers are put in."""

    points: tuple[str, ...]
    message: PayloadPb
    metrics: tuple[tuple[PayloadPb.Metric, bool], ...]  # whether it is a Double; else Int64

    def refill(self, readings: Readings) -> bool:
        """Puts readings in; returns False where they are not as plain, and the message is then of no use."""
        at = readings.at
        self.message.timestamp = at
        for (pb, double), value in zip(self.metrics, readings.values, strict=True):
            if value is None or value - value != 0.0:
                return False
            pb.timestamp = at
            if double:
                pb.double_value = value
            elif isinstance(value, int) and -INT64 <= value < INT64:
                pb.long_value = value % (2 * INT64)
            else:
                return False
        return True


class EdgeSession:
    """One edge node's session. Owned by one loop, but for `will`, which the MQTT client calls as it connects."""

    def __init__(self, group: str, node: str, host_id: str = "atoll", bd_seq: int = 0, *, public_key: str = "") -> None:
        """Starts unborn; `bd_seq` is the number that the first CONNECT carries (0-255).

        `public_key` is what its signed days are checked with; "" where it signs none.
        """
        self.public_key = public_key
        self.group = group
        self.node = node
        self.host_id = host_id
        self.bd_seq = bd_seq & 0xFF
        self.counters: dict[str, int] = {}
        self._next_bd_seq = self.bd_seq
        self._seq = 0
        self._devices: dict[str, _Born] = {}
        self._aliases: dict[tuple[str, str], int] = {}
        self._born_at: Instant | None = None
        self._host_at = -1
        self._host_online: bool | None = None
        self._data_topics: dict[str, str] = {}

    def subscriptions(self) -> list[tuple[str, int]]:
        """Returns (topic filter, QoS): node and device commands, the host's state."""
        commands = f"{NAMESPACE}/{self.group}"
        return [
            (f"{commands}/NCMD/{self.node}", 1),
            (f"{commands}/DCMD/{self.node}/+", 1),
            (state_topic(self.host_id), 1),
        ]

    def will(self, now: Instant) -> Message:
        """Returns the NDEATH for the next CONNECT; every call takes the next bdSeq (after 255: 0)."""
        self.bd_seq = self._next_bd_seq
        self._next_bd_seq = (self.bd_seq + 1) & 0xFF
        return self.death(now)

    def death(self, now: Instant) -> Message:
        """Returns this session's NDEATH, to be sent before a clean disconnect."""
        payload = Payload(now, (Metric(BD_SEQ, DataType.INT64, self.bd_seq, timestamp=now),))
        return Message(self._topic("NDEATH"), encode(payload), qos=1)

    def birth(
        self, now: Instant, devices: Mapping[DeviceId, Sequence[Metric]], simulated: bool = False
    ) -> list[Message]:
        """Returns NBIRTH and one DBIRTH per device (`records` is added), seq from 0; also the answer to a rebirth.

        List every metric that the device will ever send, with its value now or None, and a metric
        `<point>/setpoint` (Bytes) per writable point. `simulated` marks every device's readings.
        """
        self._seq = 0
        self._devices.clear()
        self._born_at = now
        metrics = (
            Metric(BD_SEQ, DataType.INT64, self.bd_seq, timestamp=now),
            Metric(REBIRTH, DataType.BOOLEAN, value=False, timestamp=now),
        )
        messages = [self._message("NBIRTH", None, Payload(now, metrics))]
        for device, listed in devices.items():
            extra = (Metric(SIMULATED, DataType.BOOLEAN, value=True),) if simulated else ()
            messages.append(self.device_birth(device, (*listed, *extra), now))
        if RECORDS_DEVICE not in devices:
            messages.append(self.device_birth(DeviceId(RECORDS_DEVICE), self._records(), now))
        return messages

    def _records(self) -> list[Metric]:
        names = [RECORDS_BATCH, RECORDS_ACK]
        if self.public_key:
            names += [RECORDS_DAY, RECORDS_DAY_ACK]
        metrics = [Metric(name, DataType.BYTES) for name in names]
        if self.public_key:
            metrics.append(Metric(RECORDS_KEY, DataType.STRING, self.public_key))
        return metrics

    def device_birth(self, device: DeviceId, metrics: Sequence[Metric], now: Instant) -> Message:
        """Returns the DBIRTH of one device, for one that came back after `device_death`.

        Raises:
            LocalProtocolError: the node is not born yet.
        """
        self._require_born()
        born = _Born()
        listed: list[Metric] = []
        for metric in metrics:
            alias = self._aliases.setdefault((device, metric.name), len(self._aliases) + 1)
            born.metrics[metric.name] = (alias, metric.datatype)
            born.names[alias] = metric.name
            listed.append(replace(metric, alias=alias, timestamp=now if metric.timestamp is None else metric.timestamp))
        self._devices[device] = born
        self._data_topics[device] = self._topic("DDATA", device)
        return self._message("DBIRTH", device, Payload(now, tuple(listed)))

    def data(self, readings: Readings) -> Message:
        """Returns a DDATA with aliases only. A point that the birth did not list is left out and counted.

        Raises:
            LocalProtocolError: the device is not born.
        """
        born = self._devices.get(readings.device)
        if born is None:
            raise LocalProtocolError(f"{readings.device}: data before its birth; call birth() first")
        topic, kept = self._data_topics[readings.device], born.kept
        plain = not readings.historical and not any(readings.qualities)
        if plain and kept is not None and kept.points == readings.points and kept.refill(readings):
            return self._send(kept.message, topic)
        message = self._filled(born, readings)
        born.kept = _keep(born, readings.points, message) if plain else None
        return self._send(message, topic)

    def _filled(self, born: _Born, readings: Readings) -> PayloadPb:
        at, metrics, historical = readings.at, born.metrics, readings.historical
        message = PayloadPb(timestamp=at)
        add = message.metrics.add
        for point, value, quality in zip(readings.points, readings.values, readings.qualities, strict=True):
            entry = metrics.get(point)
            if entry is None:
                self._count("points_unborn")
                continue
            pb = add(alias=entry[0], timestamp=at)
            if historical:
                pb.is_historical = True
            if value is None or quality is Quality.BAD or value - value != 0.0:
                pb.is_null = True
            elif entry[1] is DataType.DOUBLE:
                pb.double_value = value
            else:
                self._put(pb, entry[1], value)
            if quality is not Quality.GOOD and quality is not Quality.BAD:
                put_quality(pb, quality)
        return message

    def data_bytes(self, device: DeviceId, name: str, payload: bytes, now: Instant) -> Message:
        """Returns a DDATA with one Bytes metric (`Records/batch`).

        Raises:
            LocalProtocolError: the device or the metric is not born.
        """
        born = self._devices.get(device)
        if born is None or name not in born.metrics:
            raise LocalProtocolError(f"{device}: {name} before its birth; call birth() first")
        message = PayloadPb(timestamp=now)
        message.metrics.add(alias=born.metrics[name][0], timestamp=now, bytes_value=payload)
        return self._send(message, self._data_topics[device])

    def device_death(self, device: DeviceId, now: Instant) -> Message:
        """Returns the DDEATH of a device that is lost; data needs a `device_birth` again.

        Raises:
            LocalProtocolError: the device is not born.
        """
        if self._devices.pop(device, None) is None:
            raise LocalProtocolError(f"{device}: death before its birth")
        return self._message("DDEATH", device, Payload(now, ()))

    def receive(self, message: Message, now: Instant) -> list[EdgeEvent]:
        """Returns what a message from the host means; anything malformed is one Rejected and a counter."""
        if message.topic == state_topic(self.host_id):
            return self._state(message.payload)
        try:
            topic = parse_topic(message.topic)
            payload = decode(message.payload)
        except RemoteProtocolError as error:
            self._count("rejected_malformed")
            return [Rejected(str(error))]
        if (topic.group, topic.node) != (self.group, self.node) or topic.kind not in ("NCMD", "DCMD"):
            return self._reject(f"{message.topic[:200]!r} is not for this node")
        return self._command(topic.device, payload)

    def _put(self, pb: PayloadPb.Metric, datatype: DataType, value: float) -> None:
        try:
            put_value(pb, datatype, value if datatype is DataType.FLOAT else round(value))
        except ValueError:  # beyond the type: not a number that anybody may use
            self._count("values_out_of_range")
            pb.is_null = True

    def _state(self, payload: bytes) -> list[EdgeEvent]:
        try:
            state = decode_state(payload)
        except RemoteProtocolError as error:
            self._count("rejected_malformed")
            return [Rejected(str(error))]
        if state.timestamp < self._host_at:
            self._count("state_stale")
            return []
        newer = state.timestamp > self._host_at
        self._host_at = state.timestamp
        events: list[EdgeEvent] = []
        if state.online is not self._host_online:
            events.append(HostOnline(state.online))
        self._host_online = state.online
        # A host that started after our birth never saw it.
        if state.online and newer and self._born_at is not None and state.timestamp > self._born_at:
            events.append(RebirthRequested())
        return events

    def _command(self, device: str | None, payload: Payload) -> list[EdgeEvent]:
        if device is None:
            asked = any(metric.name == REBIRTH and metric.value is True for metric in payload.metrics)
            return [RebirthRequested()] if asked else self._reject("NCMD without Node Control/Rebirth = true")
        born = self._devices.get(device)
        if born is None:
            return self._reject(f"DCMD for {device}, which is not born here")
        events: list[EdgeEvent] = []
        for metric in payload.metrics:
            name = metric.name
            if not name and metric.alias is not None:
                name = born.names.get(metric.alias, "")
            if not isinstance(metric.value, bytes):
                events += self._reject(f"DCMD {device}: {name!r} carries no bytes")
            elif name == RECORDS_ACK:
                events.append(RecordsAcked(metric.value))
            elif name == RECORDS_DAY_ACK:
                events.append(DaysAcked(metric.value))
            elif name.endswith(SETPOINT_SUFFIX):
                events.append(self._setpoint(device, name.removesuffix(SETPOINT_SUFFIX), metric.value))
            else:
                events += self._reject(f"DCMD {device}: unknown metric {name!r}, alias {metric.alias}")
        return events

    def _setpoint(self, device: str, point: str, payload: bytes) -> EdgeEvent:
        try:
            return SetpointReceived(decode_setpoint(DeviceId(device), point, payload))
        except RemoteProtocolError as error:
            self._count("rejected_malformed")
            return Rejected(str(error))

    def _reject(self, reason: str) -> list[EdgeEvent]:
        self._count("rejected_commands")
        return [Rejected(reason)]

    def _topic(self, kind: str, device: str | None = None) -> str:
        return str(Topic(self.group, kind, self.node, device))

    def _message(self, kind: str, device: str | None, payload: Payload) -> Message:
        return Message(self._topic(kind, device), encode(replace(payload, seq=self._take_seq())))

    def _send(self, message: PayloadPb, topic: str) -> Message:
        message.seq = self._take_seq()
        return Message(topic, message.SerializeToString())

    def _take_seq(self) -> int:
        seq = self._seq
        self._seq = (seq + 1) & 0xFF
        return seq

    def _require_born(self) -> None:
        if self._born_at is None:
            raise LocalProtocolError(f"{self.node}: not born; call birth() first")

    def _count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1


def _keep(born: _Born, points: tuple[str, ...], message: PayloadPb) -> _Kept | None:
    """Returns a message to fill again, if every point is in it with a number of the two usual types."""
    types = [born.metrics[point][1] for point in points if point in born.metrics]
    metrics = tuple(message.metrics)
    usual = all(kind in (DataType.DOUBLE, DataType.INT64) for kind in types)
    if len(types) != len(points) or not usual or any(pb.is_null for pb in metrics):
        return None
    doubles = (kind is DataType.DOUBLE for kind in types)
    return _Kept(points, message, tuple(zip(metrics, doubles, strict=True)))


def encode_setpoint(setpoint: Setpoint) -> bytes:
    """Returns `[value, epoch, sequence, valid_ms, fallback, reason]` as JSON; a select or operate adds `step, id`."""
    two_step = [setpoint.step, setpoint.selection] if setpoint.step else []
    return bounded_json.compact(
        [
            setpoint.value,
            setpoint.epoch,
            setpoint.sequence,
            setpoint.valid_ms,
            setpoint.fallback,
            setpoint.reason[:REASON_MAX],
            *two_step,
        ]
    )


def decode_setpoint(device: DeviceId, point: str, payload: bytes) -> Setpoint:
    """Returns the lease that a DCMD carries.

    Raises:
        RemoteProtocolError: not six (or eight) values of the right types; a lease of over seven days.
    """
    try:
        fields = bounded_json.parse(payload, SETPOINT_BYTES_MAX, depth_max=1)
    except BadJson as error:
        raise RemoteProtocolError(f"setpoint {device}/{point}: {error}") from None
    if isinstance(fields, list) and len(fields) in {6, 8} and isinstance(fields[5], str):
        step, selection = fields[6:] or ("", "")
        value, back = _number(fields[0]), _number(fields[4])
        epoch, sequence, valid_ms = (_whole(field) for field in fields[1:4])
        named = step in ("", "select", "operate") and isinstance(selection, str) and len(selection) <= SELECTION_MAX
        whole = min(epoch, sequence) >= 0 and 0 < valid_ms <= VALID_MS_MAX
        if value is not None and back is not None and named and whole:
            reason = fields[5][:REASON_MAX]
            return Setpoint(device, point, value, epoch, sequence, valid_ms, back, reason, str(step), str(selection))
    raise RemoteProtocolError(
        f"setpoint {device}/{point}: want [value, epoch, sequence, valid_ms, fallback, reason], saw {payload[:100]!r}"
    )


def _number(value: bounded_json.JsonValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > NUMBER_MAX:
        return None
    return float(value)


def _whole(value: bounded_json.JsonValue) -> int:
    return value if type(value) is int and value <= NUMBER_MAX else -1
