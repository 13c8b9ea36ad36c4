"""The host application's side of Sparkplug B over all edge nodes of a group. No I/O, no clock.

Data is delivered as it comes; a gap in `seq` starts the reorder timer, the missing message stops it, and when it runs
out the node is asked for a rebirth (repeats back off). A late message older than what its device has sent since comes
out as historical, so that it cannot touch the live image.

Source: Eclipse Sparkplug 3.0.0, sections 5.2-5.13 and 6.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from devices.clock import Instant
from devices.model import DeviceId, Message, Quality, Readings, Setpoint
from devices.sparkplug_b_pb2 import Payload as PayloadPb
from devices.sparkplug_codec import (
    BD_SEQ,
    NAMESPACE,
    NUMERIC,
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
    HostState,
    Metric,
    Payload,
    RemoteProtocolError,
    TooLarge,
    Topic,
    decode,
    decode_state,
    encode_command,
    encode_state,
    parse,
    parse_topic,
    state_topic,
)
from devices.sparkplug_edge import encode_setpoint
from devices.sparkplug_events import (
    DeviceData,
    DeviceOffline,
    DeviceOnline,
    HostEvent,
    NodeKey,
    NodeOffline,
    NodeOnline,
    RecordBatch,
    RecordDay,
    Send,
)
from devices.sparkplug_live import AHEAD_MS_MAX, BornDevice, columns, past, remember, unusual

NODES_MAX = 1_024
DEVICES_MAX = 1_024
METRICS_PER_NODE_MAX = 20_000
REORDER_WINDOW = 32
"""So many messages behind count as late ones of this session; further behind is read as a jump ahead."""
REBIRTH_BACKOFF_MAX = 64


@dataclass(slots=True)
class _Node:
    """One edge node's session as the host sees it."""

    id: str
    online: bool = False
    bd_seq: int | None = None
    next_seq: int = 0
    missing: dict[int, None] = field(default_factory=dict[int, None])
    gap_until: Instant | None = None
    devices: dict[str, BornDevice] = field(default_factory=dict[str, BornDevice])
    confirm_until: Instant | None = None
    wants_rebirth: bool = False
    asked_at: Instant | None = None
    backoff: int = 1


class HostSession:
    """The session of one host application. Owned by one loop, but for `will` (called as the MQTT client connects)."""

    def __init__(self, group: str, host_id: str = "atoll", reorder_ms: int = 2_000) -> None:
        """Knows no node yet; `reorder_ms` is how long a missing message is waited for."""
        self.group = group
        self.host_id = host_id
        self.reorder_ms = reorder_ms
        self.counters: dict[str, int] = {}
        self._rebirth_every_ms = max(5_000, 2 * reorder_ms)
        self._state_at: Instant | None = None
        self._online = False
        self._nodes: dict[str, _Node] = {}
        self._routes: dict[str, BornDevice] = {}
        self._state_topic = state_topic(host_id)

    # -- what the host says -----------------------------------------------------------------------------------------

    def subscriptions(self) -> list[tuple[str, int]]:
        """Returns (topic filter, QoS): what nodes and devices send, and the own STATE; never anybody's commands."""
        kinds = ("NBIRTH/+", "NDATA/+", "NDEATH/+", "DBIRTH/+/+", "DDATA/+/+", "DDEATH/+/+")
        return [(self._state_topic, 1), *((f"{NAMESPACE}/{self.group}/{kind}", 1) for kind in kinds)]

    def will(self, now: Instant) -> Message:
        """Returns STATE offline for the next CONNECT; its time stamp is that of the birth to come."""
        self._state_at = now
        return self._state(online=False)

    def birth(self, now: Instant) -> Message:
        """Returns STATE online, to be published once subscribed."""
        if self._state_at is None:
            self._state_at = now
        self._online = True
        return self._state(online=True)

    def death(self) -> Message:
        """Returns STATE offline, to be published before a clean disconnect; nothing is re-asserted after it."""
        self._online = False
        return self._state(online=False)

    def setpoint(self, node: str, setpoint: Setpoint, now: Instant) -> Message:
        """Returns the DCMD that leases a point."""
        return self._command(node, setpoint.device, setpoint.point + SETPOINT_SUFFIX, encode_setpoint(setpoint), now)

    def ack(self, node: str, payload: bytes, now: Instant) -> Message:
        """Returns the DCMD that acknowledges records (`devices.outbox.encode_acks`)."""
        return self._command(node, RECORDS_DEVICE, RECORDS_ACK, payload, now)

    def ack_days(self, node: str, payload: bytes, now: Instant) -> Message:
        """Returns the DCMD that acknowledges signed days (`devices.day_book.encode_day_acks`)."""
        return self._command(node, RECORDS_DEVICE, RECORDS_DAY_ACK, payload, now)

    def _command(self, node: str, device: str, name: str, value: bytes, now: Instant) -> Message:
        """Names the metric by its alias alone if the birth gave one (tck-id-payloads-alias-data-cmd-requirement)."""
        known = self._nodes.get(node)
        born = None if known is None else known.devices.get(device)
        alias = None if born is None or not born.confirmed else born.aliases.get(name)
        metric = Metric("" if alias is not None else name, DataType.BYTES, value, alias=alias, timestamp=now)
        return Message(str(Topic(self.group, "DCMD", node, device)), encode_command((metric,), now))

    def _state(self, *, online: bool) -> Message:
        assert self._state_at is not None
        return Message(self._state_topic, encode_state(HostState(online, self._state_at)), qos=1, retain=True)

    # -- what the host hears ----------------------------------------------------------------------------------------

    def receive(self, topic: str, payload: bytes, now: Instant) -> list[HostEvent]:
        """Returns what a message means; anything malformed, oversized or misplaced is dropped and counted."""
        device = self._routes.get(topic)
        try:
            if device is not None:
                return self._device_data(device, payload, now)
            if topic == self._state_topic:
                return self._own_state(payload, now)
            return self._receive(parse_topic(topic), payload, now)
        except TooLarge:
            self._count("rejected_oversize")
        except RemoteProtocolError:
            self._count("rejected_malformed")
        return []

    def _receive(self, topic: Topic, payload: bytes, now: Instant) -> list[HostEvent]:
        if topic.group != self.group:
            self._count("rejected_topic")
            return []
        node = self._nodes.get(topic.node)
        match topic.kind:
            case "NBIRTH":
                return self._node_birth(topic.node, decode(payload), now)
            case "NDEATH":
                return [] if node is None else self._node_death(node, decode(payload), now)
            case "NCMD" | "DCMD":
                self._count("rejected_topic")
                return []
            case _:
                if node is None or not node.online:
                    parse(payload)
                    return self._unknown(topic.node, now)
                return self._online_node(node, topic, payload, now)

    def _online_node(self, node: _Node, topic: Topic, payload: bytes, now: Instant) -> list[HostEvent]:
        message = decode(payload)
        if message.seq is None:
            raise RemoteProtocolError(f"{topic.kind} without seq")
        if self._in_order(node, message.seq, now) is None:
            return []
        if topic.kind == "NDATA" or topic.device is None:
            self._count("node_data_ignored")  # our points belong to devices
            return []
        if topic.kind == "DBIRTH":
            return self._device_birth(node, topic.device, message, now)
        device = node.devices.get(topic.device)
        if topic.kind == "DDEATH":
            return [] if device is None else self._device_death(device, message, now)
        self._count("data_before_birth")
        return self._ask_rebirth(node, now) if device is None else []

    def due(self, now: Instant) -> list[HostEvent]:
        """Returns what has become due: rebirths after a gap or repeated, devices that a rebirth left out."""
        events: list[HostEvent] = []
        for node in self._nodes.values():
            if node.gap_until is not None and node.gap_until <= now:
                node.gap_until = None
                node.missing.clear()
                node.wants_rebirth = True
                self._count("gaps_timed_out")
            if node.confirm_until is not None and node.confirm_until <= now:
                node.confirm_until = None
                events += self._drop(node, [device for device in node.devices.values() if not device.confirmed], now)
            if node.wants_rebirth:
                events += self._ask_rebirth(node, now)
        return events

    def next_deadline(self) -> Instant | None:
        """Returns when `due` must be called at the latest."""
        deadlines: list[Instant] = []
        for node in self._nodes.values():
            deadlines += [at for at in (node.gap_until, node.confirm_until) if at is not None]
            if node.wants_rebirth:
                deadlines.append(self._may_ask_at(node))
        return min(deadlines, default=None)

    # -- births and deaths ------------------------------------------------------------------------------------------

    def _node_birth(self, name: str, message: Payload, now: Instant) -> list[HostEvent]:
        node = self._nodes.get(name) or self._add_node(name)
        if node is None:
            return []
        if message.seq is None:
            raise RemoteProtocolError("NBIRTH without seq")
        bd_seq = next((metric.value for metric in message.metrics if metric.name == BD_SEQ), None)
        node.bd_seq = bd_seq if isinstance(bd_seq, int) else None
        node.online = True
        node.next_seq = (message.seq + 1) & 0xFF
        node.missing.clear()
        node.gap_until = None
        node.wants_rebirth = False
        node.backoff = 1
        for device in node.devices.values():
            device.confirmed = False
        self._forget_routes(node)
        node.confirm_until = Instant(now + self.reorder_ms) if node.devices else None
        return [NodeOnline(name, self._past(message.timestamp, now))]

    def _node_death(self, node: _Node, message: Payload, now: Instant) -> list[HostEvent]:
        bd_seq = next((metric.value for metric in message.metrics if metric.name == BD_SEQ), None)
        if node.bd_seq is not None and bd_seq != node.bd_seq:
            self._count("deaths_of_other_sessions")
            return []
        if not node.online:
            return []
        node.online = False
        node.gap_until = node.confirm_until = None
        node.missing.clear()
        node.wants_rebirth = False
        self._forget_routes(node)
        node.devices.clear()
        return [NodeOffline(node.id, now)]

    def _device_birth(self, node: _Node, name: str, message: Payload, now: Instant) -> list[HostEvent]:
        self._check_room(node, name, message)
        self._check_aliases(node, name, message)
        at = self._past(message.timestamp, now)
        listed = [metric for metric in message.metrics if metric.name]
        metrics = {metric.name: (metric.name, metric.datatype) for metric in listed}
        aliases = {metric.name: metric.alias for metric in listed if metric.alias is not None}
        device = BornDevice(
            id=DeviceId(name),
            node=node.id,
            by_alias={alias: metrics[name] for name, alias in aliases.items()},
            by_name=metrics,
            aliases=aliases,
            simulated=any(metric.name == SIMULATED and metric.value is True for metric in listed),
            born_at=at,
            last_at=at,
        )
        node.devices[name] = device
        self._routes[str(Topic(self.group, "DDATA", node.id, name))] = device
        if name == RECORDS_DEVICE:
            keys = [m.value for m in listed if m.name == RECORDS_KEY and isinstance(m.value, str) and m.value]
            return [NodeKey(node.id, key) for key in keys]
        numeric = [metric for metric in listed if metric.datatype in NUMERIC and metric.name != SIMULATED]
        born = DeviceOnline(node.id, device.id, tuple(metric.name for metric in numeric))
        return [born, *self._birth_values(device, numeric, at, now)]

    def _birth_values(
        self, device: BornDevice, metrics: Iterable[Metric], at: Instant, now: Instant
    ) -> Iterable[HostEvent]:
        """Yields the birth's values; metrics with an older time of their own come apart."""
        by_time: dict[Instant, list[Metric]] = {}
        for metric in metrics:
            own = at if metric.timestamp is None else self._past(metric.timestamp, now)
            by_time.setdefault(own, []).append(metric)
        for own, group in by_time.items():
            qualities = tuple(Quality.BAD if m.value is None else m.quality or Quality.GOOD for m in group)
            values = tuple(
                None if quality is Quality.BAD or not isinstance(m.value, int | float) else m.value
                for m, quality in zip(group, qualities, strict=True)
            )
            names = tuple(m.name for m in group)
            yield DeviceData(
                device.node, Readings(device.id, own, names, values, qualities, simulated=device.simulated)
            )

    def _check_room(self, node: _Node, name: str, message: Payload) -> None:
        known = sum(len(device.by_name) for device in node.devices.values() if device.id != name)
        crowded = name not in node.devices and len(node.devices) >= DEVICES_MAX
        if crowded or known + len(message.metrics) > METRICS_PER_NODE_MAX:
            raise TooLarge(f"{node.id}: more than {DEVICES_MAX} devices or {METRICS_PER_NODE_MAX} metrics")

    def _check_aliases(self, node: _Node, name: str, message: Payload) -> None:
        """Counts aliases that another device of the node has too; tables per device keep them apart all the same."""
        taken = {alias for device in node.devices.values() if device.id != name for alias in device.by_alias}
        clashes = sum(metric.alias in taken for metric in message.metrics if metric.alias is not None)
        if clashes:
            self._count("alias_clashes", clashes)

    def _device_death(self, device: BornDevice, message: Payload, now: Instant) -> list[HostEvent]:
        at = self._past(message.timestamp, now)
        if at < device.born_at:
            self._count("late")  # overtaken by the next birth
            return []
        return self._drop(self._nodes[device.node], [device], at)

    def _drop(self, node: _Node, devices: Iterable[BornDevice], at: Instant) -> list[HostEvent]:
        events: list[HostEvent] = []
        for device in devices:
            del node.devices[device.id]
            self._routes.pop(str(Topic(self.group, "DDATA", node.id, device.id)), None)
            if device.id != RECORDS_DEVICE:
                events.append(DeviceOffline(node.id, device.id, at))
        return events

    def _forget_routes(self, node: _Node) -> None:
        for device in node.devices:
            self._routes.pop(str(Topic(self.group, "DDATA", node.id, device)), None)

    # -- order and rebirth ------------------------------------------------------------------------------------------

    def _in_order(self, node: _Node, seq: int, now: Instant) -> bool | None:
        """Returns True for the next message, False for one that was missing, None for one that was seen already."""
        if seq > 0xFF:
            raise RemoteProtocolError(f"seq {seq}")
        if seq == node.next_seq:
            node.next_seq = (seq + 1) & 0xFF
            return True
        if seq in node.missing:
            del node.missing[seq]
            self._count("late")
            if not node.missing:
                node.gap_until = None
            return False
        ahead = (seq - node.next_seq) & 0xFF
        if ahead >= 256 - REORDER_WINDOW:
            self._count("duplicates")
            return None
        self._count("sequence_gaps")
        for step in range(ahead):
            node.missing[(node.next_seq + step) & 0xFF] = None
        if node.gap_until is None:
            node.gap_until = Instant(now + self.reorder_ms)
        node.next_seq = (seq + 1) & 0xFF
        return True

    def _unknown(self, name: str, now: Instant) -> list[HostEvent]:
        self._count("data_before_birth")
        node = self._nodes.get(name) or self._add_node(name)
        return [] if node is None else self._ask_rebirth(node, now)

    def _add_node(self, name: str) -> _Node | None:
        if len(self._nodes) >= NODES_MAX:
            self._count("rejected_nodes")
            return None
        node = self._nodes[name] = _Node(name)
        return node

    def _may_ask_at(self, node: _Node) -> Instant:
        return Instant(0 if node.asked_at is None else node.asked_at + self._rebirth_every_ms * node.backoff)

    def _ask_rebirth(self, node: _Node, now: Instant) -> list[HostEvent]:
        """Asks at most once per pause; the pause doubles while the node does not answer."""
        node.wants_rebirth = True
        if now < self._may_ask_at(node):
            return []
        if node.asked_at is not None:
            node.backoff = min(2 * node.backoff, REBIRTH_BACKOFF_MAX)
        node.asked_at = now
        self._count("rebirths")
        command = encode_command((Metric(REBIRTH, DataType.BOOLEAN, value=True, timestamp=now),), now)
        return [Send(Message(str(Topic(self.group, "NCMD", node.id)), command))]

    def _own_state(self, payload: bytes, now: Instant) -> list[HostEvent]:
        """Answers somebody's word that we are offline (an old will, a broker's memory) at once."""
        state = decode_state(payload)
        if state.online or not self._online or self._state_at is None:
            return []
        if self._state_at < state.timestamp <= now:
            self._state_at = state.timestamp  # else nobody would believe ours
        self._count("state_reasserted")
        return [Send(self._state(online=True))]

    # -- live data --------------------------------------------------------------------------------------------------

    def _device_data(self, device: BornDevice, payload: bytes, now: Instant) -> list[HostEvent]:
        node = self._nodes[device.node]
        layout = device.layouts.get(len(payload))
        if layout is not None:
            read = layout.read(device.id, payload, device.simulated)
            if read is not None and read[0] == node.next_seq and read[1].at <= now + AHEAD_MS_MAX:
                node.next_seq = (read[0] + 1) & 0xFF
                device.last_at = read[1].at
                return [DeviceData(device.node, read[1])]
        message = parse(payload)
        seq = message.seq
        late = False
        if seq == node.next_seq and (seq or message.HasField("seq")):
            node.next_seq = (seq + 1) & 0xFF
        elif not message.HasField("seq"):
            raise RemoteProtocolError("DDATA without seq")
        else:
            in_order = self._in_order(node, seq, now)
            if in_order is None:
                return []
            late = not in_order
        if device.id == RECORDS_DEVICE:
            return self._records(node, device, message, now)
        readings = None if late else columns(device, message, now, self._count)
        if readings is not None:
            device.last_at = readings.at
            remember(device, payload, readings)
            return [DeviceData(node.id, readings)]
        found, known = unusual(device, message, now, late, self._count)
        device.last_at = max((entry.at for entry in found if not entry.historical), default=device.last_at)
        events: list[HostEvent] = [DeviceData(node.id, entry) for entry in found]
        return events if known else [*events, *self._ask_rebirth(node, now)]

    def _records(self, node: _Node, device: BornDevice, message: PayloadPb, now: Instant) -> list[HostEvent]:
        events: list[HostEvent] = []
        for metric in message.metrics:
            entry = device.by_alias.get(metric.alias) if metric.HasField("alias") else device.by_name.get(metric.name)
            if entry is None:
                self._count("unknown_alias")
                events += self._ask_rebirth(node, now)
            elif entry[0] == RECORDS_BATCH and metric.HasField("bytes_value"):
                events.append(RecordBatch(node.id, metric.bytes_value))
            elif entry[0] == RECORDS_DAY and metric.HasField("bytes_value"):
                events.append(RecordDay(node.id, metric.bytes_value))
            else:
                self._count("wrong_datatype")
        return events

    def _past(self, raw: Instant | None, now: Instant) -> Instant:
        return past(raw, now, self._count)

    def _count(self, name: str, times: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + times
