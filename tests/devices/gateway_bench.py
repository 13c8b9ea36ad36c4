"""A gateway core on in-memory devices: register images made by our own encoders, time made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from devices.bus import BusAnswer, BusRead, BusWrite, BusWritten
from devices.clock import Instant
from devices.events import Incoming, LinkUp, Tick
from devices.gateway import (
    Effect,
    Event,
    ForgetRecords,
    Gateway,
    GatewayConfig,
    Log,
    RecordsStored,
    Saved,
    Send,
    StoreEpoch,
    StoreRecords,
    StoreSequence,
    step,
)
from devices.gateway_events import FetchRecords, RecordsFetched
from devices.model import BusFault, DeviceId, DeviceKind, DeviceSpec, IntervalRecord, Message, Setpoint, UsagePointId
from devices.outbox import Ack, Waiting, decode_batch, encode_acks
from devices.profile import encode_point, load_profile, points_of
from devices.records import MeterMark
from devices.sparkplug_codec import RECORDS_ACK, SETPOINT_SUFFIX, DataType, Metric, decode, encode_command
from devices.sparkplug_edge import encode_setpoint
from devices.sunspec import encode_chain
from devices.sunspec_points import SUNSPEC_CHAINS, sunspec_values

ENDPOINT = "127.0.0.1:5020"
T0 = Instant(1_780_272_000_000)  # a slot boundary


def spec(name: str, kind: DeviceKind, driver: str, unit: int, **ratings: float) -> DeviceSpec:
    return DeviceSpec(DeviceId(name), kind, driver, "gw-1", ENDPOINT, unit, ratings=ratings)


METER = spec("home-01", DeviceKind.METER, "sunspec", 1)
PV = spec("pv-01", DeviceKind.PV, "sunspec", 41, power_w_max=6000)
BATTERY = spec(
    "battery-1", DeviceKind.BATTERY, "sunspec", 101,
    energy_wh=120000, charge_w_max=40000, discharge_w_max=40000, soc_min=0.08, soc_max=0.97,
)  # fmt: skip
GENSET = spec("genset-1", DeviceKind.GENSET, "profile:dse73xx", 102, power_w_max=30000, power_w_min=9000)
PUMP = spec(
    "pump-1", DeviceKind.PUMP, "profile:relay_pump", 103,
    power_w=3000, flow_lpm=90, max_on_ms=14_400_000, min_rest_ms=60_000,
)  # fmt: skip
TANK = spec("tank-1", DeviceKind.TANK, "profile:level_4_20ma", 104, volume_l=30000)
CHARGER = spec("charger-1", DeviceKind.CHARGER, "profile:evse", 106, power_w_max=11000)
WATER = DeviceSpec(
    DeviceId("water-1"), DeviceKind.WATER_METERS, "profile:pulse_counter_16", "gw-1", ENDPOINT, 105,
    channels=("home-01.water", "clinic.water"),
)  # fmt: skip
ALL = (METER, PV, BATTERY, GENSET, PUMP, TANK, CHARGER, WATER)

START: Mapping[str, Mapping[str, float]] = {
    "home-01": {"W": 500, "import_wh": 10_000, "export_wh": 50, "V": 231},
    "pv-01": {"W": -2000, "export_wh": 70_000, "limit": 1.0},
    "battery-1": {"W": 0, "soc": 0.5, "import_wh": 0, "export_wh": 0, "setpoint": 0},
    "genset-1": {"W": 0, "export_wh": 0, "running": 0, "fuel": 0.8, "setpoint": 0},
    "pump-1": {"W": 0, "import_wh": 400, "flow_lpm": 0, "on": 0},
    "tank-1": {"level": 0.6},
    "charger-1": {"W": 0, "import_wh": 0, "soc": 0.4, "connected": 1, "setpoint": 0},
    "water-1": {"home-01.water_ml": 1000, "clinic.water_ml": 2000},
}


@dataclass
class Device:
    """One device's registers, remade from its values at every read; raw writes are kept."""

    spec: DeviceSpec
    values: dict[str, float | None]
    fault: BusFault | None = None
    garbage: dict[int, int] = field(default_factory=dict[int, int])  # address -> register, over everything else
    writes: list[tuple[int, int, tuple[int, ...]]] = field(default_factory=list[tuple[int, int, tuple[int, ...]]])
    deaf: bool = False  # takes writes and does nothing
    exception_at: int | None = None  # reads of this many registers, and all writes, are refused while set
    extra: int = 0  # registers too many in every answer

    def image(self) -> dict[tuple[int, int], int]:
        if self.spec.driver == "sunspec":
            models = sunspec_values(self.spec.kind, self.values)
            registers = encode_chain([(m, models.get(m, {})) for m in SUNSPEC_CHAINS[self.spec.kind]])
            return {(3, 40000 + i): register for i, register in enumerate(registers)}
        profile = load_profile(self.spec.driver.partition(":")[2])
        image: dict[tuple[int, int], int] = {}
        for point in points_of(profile, self.spec.channels):
            value = self.values.get(point.name)
            if point.name == "running" and value:
                value = 1500  # rpm
            for i, register in enumerate(encode_point(profile, point, value)):
                image[point.function, point.address + i] = register
        return image

    def read(self, function: int, address: int, count: int) -> tuple[int, ...] | BusFault:
        if self.fault is not None or count == self.exception_at:
            return self.fault or BusFault.EXCEPTION
        count += self.extra
        image = self.image()
        if self.spec.driver == "sunspec" and (function, address) not in image:
            return BusFault.EXCEPTION
        return tuple(self.garbage.get(a, image.get((function, a), 0)) for a in range(address, address + count))

    def write(self, function: int, address: int, values: tuple[int, ...]) -> BusFault | None:
        if self.fault is not None or self.exception_at is not None:
            return self.fault or BusFault.EXCEPTION
        self.writes.append((function, address, values))
        if not self.deaf:
            self._obey(values)
        return None

    def _obey(self, values: tuple[int, ...]) -> None:
        def signed(high: int, low: int) -> int:
            raw = high << 16 | low
            return raw - (1 << 32) if raw >> 31 else raw

        match self.spec.kind:
            case DeviceKind.PUMP:
                self.values["on"] = values[0]
                self.values["flow_lpm"] = 90 * values[0]
            case DeviceKind.BATTERY:
                self.values["setpoint"] = -signed(values[2], values[3])
            case DeviceKind.PV:
                self.values["limit"] = values[0] / 10000
            case DeviceKind.CHARGER:
                self.values["setpoint"] = signed(values[0], values[1])
            case DeviceKind.GENSET if values[0] in {35732, 35733}:
                self.values["running"] = float(values[0] == 35732)
            case DeviceKind.GENSET:
                self.values["setpoint"] = -signed(values[0], values[1])
            case _:
                raise AssertionError(f"{self.spec.id} was written to")


class Bench:
    """Gateway, devices, a disk that outlives restarts, and everything that was sent."""

    def __init__(self, specs: Sequence[DeviceSpec] = ALL, poll_ms: int = 1000, linked: bool = True) -> None:
        self.config = GatewayConfig(
            "gw-1", "village", tuple(specs), poll_ms, tank_of={DeviceId("pump-1"): DeviceId("tank-1")}
        )
        self.now = T0
        self.devices: dict[str, Device] = {s.id: Device(s, dict(START[s.id])) for s in specs}
        self.by_unit = {s.unit: self.devices[s.id] for s in specs}
        self.sent: list[Message] = []
        self.logs: list[Log] = []
        self.disk: dict[tuple[str, int, int], IntervalRecord] = {}
        self.marks: dict[str, MeterMark] = {}
        self.epoch = 0
        self.reads = 0
        self.sequence = 0
        self.told_sequence = -1
        self.gateway = Gateway(self.config, self.now)
        if linked:
            self.step(LinkUp())

    def restart(self) -> None:
        """The process is gone and back; memory is lost, the disk is not."""
        pages: dict[tuple[str, int], list[int]] = {}
        for point, epoch, page in self.disk:
            pages.setdefault((point, epoch), []).append(page)
        waiting = tuple(Waiting(UsagePointId(p), e, min(known), max(known)) for (p, e), known in pages.items())
        saved = Saved(waiting, tuple(self.marks.values()), self.epoch, sequence=self.told_sequence)
        self.gateway = Gateway(self.config, self.now, saved)
        self.step(LinkUp())

    def step(self, event: Event) -> None:
        """Steps the core and does what it asks, at once."""
        waiting: list[Event] = [event]
        while waiting:
            _, effects = step(self.gateway, waiting.pop(0), self.now)
            for effect in effects:
                waiting += self.perform(effect)

    def perform(self, effect: Effect) -> list[Event]:
        match effect:
            case BusRead(request):
                self.reads += 1
                device = self.by_unit[request.unit]
                return [BusAnswer(request, device.read(request.function, request.address, request.count))]
            case BusWrite(request):
                device = self.by_unit[request.unit]
                return [BusWritten(request, device.write(request.function, request.address, request.values))]
            case Send(message):
                self.sent.append(message)
            case Log():
                self.logs.append(effect)
            case StoreRecords(records, marks):
                self.disk |= {(r.usage_point, r.meter_epoch, r.page): r for r in records}
                self.marks |= {m.usage_point: m for m in marks}
                return [RecordsStored(records)]
            case FetchRecords(fetches):
                found = [
                    record
                    for one in fetches
                    for record in sorted(self.disk.values(), key=lambda r: r.page)
                    if (record.usage_point, record.meter_epoch) == (one.usage_point, one.meter_epoch)
                    and one.after < record.page <= one.after + one.count
                ]
                return [RecordsFetched(fetches, tuple(found))]
            case ForgetRecords(acks):
                for ack in acks:
                    self.disk = {
                        k: r
                        for k, r in self.disk.items()
                        if k[:2] != (ack.usage_point, ack.meter_epoch) or k[2] > ack.page
                    }
            case StoreEpoch(epoch):
                self.epoch = epoch
            case StoreSequence(_, sequence):
                self.told_sequence = sequence
        return []

    def run(self, duration_ms: int, each_ms: int | None = None) -> None:
        """Lets time pass, ticking at the core's own deadlines (or every `each_ms`)."""
        end = Instant(self.now + duration_ms)
        while True:
            due = self.gateway.next_deadline() if each_ms is None else Instant(self.now + each_ms)
            if due > end:
                break
            self.now = max(due, self.now)
            self.step(Tick())
        self.now = end

    def setpoint(self, device: str, value: float, **changes: float | str) -> None:
        """A lease from the hub, newer than the last one unless `sequence` or `epoch` say otherwise."""
        self.sequence += 1
        point = self.gateway.leases.outputs[DeviceId(device)].point
        lease = Setpoint(
            DeviceId(device),
            str(changes.get("point", point)),
            value,
            int(changes.get("epoch", 1)),
            int(changes.get("sequence", self.sequence)),
            int(changes.get("valid_ms", 30_000)),
            float(changes.get("fallback", 0.0)),
            "test",
        )
        payload = encode_command(
            [Metric(f"{lease.point}{SETPOINT_SUFFIX}", DataType.BYTES, encode_setpoint(lease))], self.now
        )
        self.step(Incoming(f"spBv1.0/village/DCMD/gw-1/{device}", payload))

    def ack(self, *acks: Ack) -> None:
        payload = encode_command([Metric(RECORDS_ACK, DataType.BYTES, encode_acks(acks))], self.now)
        self.step(Incoming("spBv1.0/village/DCMD/gw-1/records", payload))

    def codes(self) -> list[str]:
        return [log.code for log in self.logs]

    def batches(self) -> list[IntervalRecord]:
        """Every record that was sent, repeats included."""
        found: list[IntervalRecord] = []
        for message in self.sent:
            if message.topic.endswith("/DDATA/gw-1/records"):
                found += [
                    r
                    for m in decode(message.payload).metrics
                    if isinstance(m.value, bytes)
                    for r in decode_batch(m.value)
                ]
        return found

    def kinds(self, device: str) -> list[str]:
        """The Sparkplug message types sent for a device, in order."""
        return [m.topic.split("/")[2] for m in self.sent if m.topic.endswith(f"/{device}")]
