"""What one gateway knows: made by its configuration and its disk, changed only by its step (devices/gateway.py)."""

from __future__ import annotations

from itertools import chain

from devices.backfill import BackFill
from devices.clock import Instant
from devices.day_book import DayBook
from devices.gateway_events import GatewayConfig, Saved, Tag
from devices.interlock_watch import Watch
from devices.interlocks import NO_FLOW_MS, Guarded, guard
from devices.leases import BOOT_GRACE_MS, HAZARD_MS, SELECT_FLOORS, SELECT_MS, Leases, Output, output_of
from devices.metering import Metering
from devices.model import WRITABLE, DeviceId
from devices.mqtt_profile import is_plain
from devices.mqtt_units import MqttUnit, PlainDevices
from devices.outbox import RESEND_MS, Outbox
from devices.poll import Unit, make_units
from devices.sparkplug import EdgeSession
from devices.vehicle_stops import VehicleStops

LATE_MS = 60_000
ANSWER_MS_MAX = 10_000
"""A read or write unanswered by the shell for so long counts as silence."""


class Gateway:
    """The state of one gateway."""

    def __init__(self, config: GatewayConfig, now: Instant, saved: Saved | None = None) -> None:
        """Sets everything up as after a start: nothing scanned, outputs left alone for a grace time.

        Raises:
            BadProfile: a device names a profile that does not exist or has faults.
            ValueError: a device names no driver.
        """
        saved = saved or Saved()
        self._config = config
        self.now = now
        self.elapsed = 0
        self.units = _units(config)
        self.plain = PlainDevices(self.units.values())
        public = "" if config.key is None else config.key.public.text()
        self.session = EdgeSession(config.site_id, config.id, bd_seq=saved.bd_seq, public_key=public)
        self.backfill = BackFill()
        self.outbox = Outbox()
        self.outbox.resume(saved.waiting, 0)
        self.days = DayBook(config.id, config.key, config.timezone)
        self.days.resume(saved.unsigned, saved.day_pages, saved.days)
        self.metering = Metering(config.devices, saved.marks, LATE_MS, config.slot_ms)
        self.leases = Leases(_outputs(config), saved.epoch, saved.sequence)
        self.guards = _guards(config)
        for device, guarded in self.guards.items():
            guarded.shows_flow = "flow_lpm" in self.units[device].columns
        self.stops = VehicleStops(config.id, config.interlocks, config.vehicles)
        outputs = chain.from_iterable(guarded.watches for guarded in self.guards.values())
        self.watches: tuple[Watch, ...] = (*outputs, *self.stops.watches)  # every declared interlock's memory
        self.tags: dict[DeviceId, Tag] = {}
        self.stored_latched = saved.latched
        self._restore(saved)
        self.watched = _watched(config)
        self.stopping = frozenset(watch.declared.sensor for watch in self.stops.watches)
        self.stored_epoch = saved.epoch
        self.next_poll = 0
        self.link_up = False
        self.host_online = True
        self.born: set[DeviceId] = set()  # devices that the host was told of and not told to forget
        self.counters: dict[str, int] = {}
        self.clock_quality = config.clock  # the shell may change it at any time
        self.clock_unsure_until = Instant(0)
        self.age_ms_max = 0
        self.answer_ms_max = 0
        self.config = config

    def _restore(self, saved: Saved) -> None:
        for tag in saved.tags:
            if tag.device in self.leases.outputs:
                self.put_tag(tag)
        for watch in self.watches:
            watch.latched = watch.declared.id in saved.latched

    def put_tag(self, tag: Tag) -> None:
        """Locks an output out."""
        self.tags[tag.device] = tag
        self.leases.outputs[tag.device].tag = f"{tag.holder}: {tag.reason}"
        self.guards[tag.device].tagged = True

    def take_tag(self, device: DeviceId) -> None:
        """Gives an output back; it stays at its default until somebody sets it."""
        del self.tags[device]
        output = self.leases.outputs[device]
        output.tag = ""
        output.wish, output.until = None if output.two_step else output.default, None
        self.guards[device].tagged = False

    @property
    def latched(self) -> frozenset[str]:
        """Returns the interlocks that wait for a person."""
        return frozenset(watch.declared.id for watch in self.watches if watch.latched)

    @property
    def config(self) -> GatewayConfig:
        """Returns the configuration in force. Its periods may be changed while it runs, its devices may not."""
        return self._config

    @config.setter
    def config(self, config: GatewayConfig) -> None:
        self._config = config
        poll_ms, floor_ms = config.poll_ms, config.deadline_floor_ms
        self.age_ms_max = max(3 * poll_ms, 3000, 2 * floor_ms)
        self.answer_ms_max = max(ANSWER_MS_MAX, 4 * floor_ms)
        self.leases.hazard_ms = max(HAZARD_MS, 3 * poll_ms if poll_ms > 1000 else 0, floor_ms)
        self.leases.select_ms = max(SELECT_MS, SELECT_FLOORS * floor_ms)
        self.outbox.resend_ms = max(RESEND_MS, floor_ms)
        self.next_poll = min(self.next_poll, self.elapsed + poll_ms)
        for meter in self.metering.meters:
            meter.late_ms = max(LATE_MS, 2 * poll_ms, floor_ms)
        for guarded in self.guards.values():
            guarded.reaction_ms = max(NO_FLOW_MS, 2 * poll_ms, floor_ms)

    def value(self, device: DeviceId, point: str) -> float | None:
        """Returns a reading for the interlocks: the number if it is good and young enough, else None."""
        unit = self.units.get(device)
        if unit is None or unit.good_at < 0:
            return None
        # A device that speaks by itself sets its own deadline.
        age_ms_max = unit.stale_ms if isinstance(unit, MqttUnit) else self.age_ms_max
        if self.elapsed - unit.good_at > age_ms_max:
            return None
        return unit.value(point)

    def next_deadline(self) -> Instant:
        """Returns when the next Tick is due."""
        due = self.next_poll
        lease = self.leases.next_deadline()
        if lease is not None and lease < due:
            due = lease
        if self.link_up and self.host_online:
            for resend in (self.outbox.next_deadline(), self.days.next_deadline()):
                if resend is not None and resend < due:
                    due = resend
        return Instant(self.now + max(0, due - self.elapsed))

    def count(self, name: str) -> None:
        """Adds one to a counter."""
        self.counters[name] = self.counters.get(name, 0) + 1


def _units(config: GatewayConfig) -> dict[DeviceId, Unit]:
    plain = {spec.id: MqttUnit(spec) for spec in config.devices if is_plain(spec)}
    polled = make_units([spec for spec in config.devices if spec.id not in plain])
    return {spec.id: unit for spec in config.devices if (unit := plain.get(spec.id) or polled.get(spec.id)) is not None}


def _outputs(config: GatewayConfig) -> dict[DeviceId, Output]:
    outputs: dict[DeviceId, Output] = {}
    grace = max(BOOT_GRACE_MS, config.deadline_floor_ms)
    for spec in config.devices:
        point = WRITABLE.get(spec.kind)
        if point is not None and spec.driver != "vda5050":
            outputs[spec.id] = output_of(spec, point, grace)
    return outputs


def _guards(config: GatewayConfig) -> dict[DeviceId, Guarded]:
    return {
        spec.id: guard(
            spec,
            config.tank_of.get(spec.id),
            config.tank_high,
            NO_FLOW_MS,
            config.interlocks,
            config.flow_of.get(spec.id),
        )
        for spec in config.devices
        if spec.kind in WRITABLE and spec.driver != "vda5050"
    }


def _watched(config: GatewayConfig) -> dict[DeviceId, tuple[DeviceId, ...]]:
    """Returns the outputs to look at again when a device has been read: its own, a tank's pumps, and whom it stops."""
    watched: dict[DeviceId, list[DeviceId]] = {}
    for device in _outputs(config):
        watched.setdefault(device, []).append(device)
        tank = config.tank_of.get(device)
        if tank is not None:
            watched.setdefault(tank, []).append(device)
        if device in config.flow_of:
            watched.setdefault(config.flow_of[device], []).append(device)
    for declared in config.interlocks:
        if declared.device not in config.vehicles:
            watched.setdefault(declared.sensor, []).append(declared.device)
    return {device: tuple(dict.fromkeys(outputs)) for device, outputs in watched.items()}
