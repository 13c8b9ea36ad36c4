"""The simulated fleet of one site: physics, bus and vehicles behind the seam `devices.simulated.Fleet`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from devices.clock import SECOND_MS, Instant
from devices.model import BusFault, DeviceKind, DeviceSpec, Message
from devices.mqtt_profile import is_plain
from devices.simulated import Fleet, Truth
from firmware_sim.build import build_village
from firmware_sim.bus import make_device, make_plain
from firmware_sim.happenings import HAPPENINGS, displayed, happen
from firmware_sim.images import Device
from firmware_sim.plain import PlainDevice
from firmware_sim.points import truth
from firmware_sim.profiles import Profiles, load_built_in, load_csv
from firmware_sim.state import ForeignState, dump_village, restore_village
from firmware_sim.vehicles import Vehicle
from firmware_sim.village import Village

if TYPE_CHECKING:
    from firmware_sim.live import Speaker

STATE_VERSION = 3
VEHICLES = (DeviceKind.ROBOT, DeviceKind.DRONE)
UNPLAYED = (DeviceKind.SWITCH, DeviceKind.RELAY, DeviceKind.BREAKER, DeviceKind.FLOW_METER, DeviceKind.SENSOR)
"""Kinds that the village has no physics for; they stay silent, as pins do."""


PLAYED = frozenset({"ua_w_per_k", "power_w", "well", "holder_m3", "level", "celsius", "pump"})
"""What makes them play all the same: a sensor in a fridge, a well or a gas holder or told what to show, a load behind a
relay, a flow meter."""


class VillageFleet:
    """Every simulated device of a site; see `devices.simulated.Fleet`."""

    def __init__(self, village: Village, devices: Sequence[DeviceSpec]) -> None:
        self.village = village
        self.bus: dict[tuple[str, int], Device] = {}
        self.faults: dict[str, Device | PlainDevice] = {}
        self.plain: list[PlainDevice] = []
        moving = sorted((spec for spec in devices if spec.kind in VEHICLES), key=lambda s: s.kind is DeviceKind.DRONE)
        self.vehicles = [
            Vehicle.of(spec, village.docks[i], village.water, Instant(village.at)) for i, spec in enumerate(moving)
        ]
        for spec in devices:
            played = spec.kind not in (*VEHICLES, *UNPLAYED) or PLAYED & spec.simulate.keys()
            if played and is_plain(spec):
                plain = make_plain(village, spec)
                plain.link_up(Instant(village.at))
                self.plain.append(plain)
                self.faults[spec.id] = plain
            elif played and not spec.pins:
                device = make_device(village, spec)
                self.bus[spec.endpoint, spec.unit] = self.faults[spec.id] = device

    def advance(self, now: Instant) -> None:
        """Integrates the physics up to `now`; vehicles cut the steps where one of them does something else."""
        village = self.village
        while village.at < now:
            end = now
            for vehicle in self.vehicles:
                end = min(end, vehicle.next_change())
            village.advance(max(end, village.at + 1))
            for vehicle in self.vehicles:
                vehicle.advance(Instant(village.at))
        for device in self.plain:
            device.advance(now)

    def read(self, endpoint: str, unit: int, function: int, address: int, count: int) -> Sequence[int] | BusFault:
        """Answers a Modbus read; an absent unit is silence."""
        device = self.bus.get((endpoint, unit))
        return BusFault.TIMEOUT if device is None else device.read(function, address, count, self.village.at)

    def write(self, endpoint: str, unit: int, function: int, address: int, values: Sequence[int]) -> BusFault | None:
        """Takes a Modbus write; an absent unit is silence."""
        device = self.bus.get((endpoint, unit))
        return BusFault.TIMEOUT if device is None else device.write(function, address, values)

    def receive(self, message: Message) -> None:
        """Hands a message to whom its topic names."""
        for one in (*self.vehicles, *self.plain):
            if one.concerns(message.topic):
                one.receive(message, Instant(self.village.at))

    def messages(self) -> list[Message]:
        """Returns and forgets what vehicles and devices want published."""
        return [message for one in (*self.vehicles, *self.plain) for message in one.take_messages()]

    def endpoints(self) -> set[str]:
        """Returns the Modbus endpoints of the site."""
        return {endpoint for endpoint, _ in self.bus}

    def speakers(self) -> list[Speaker]:
        """Returns who speaks MQTT by itself: vehicles, and devices without a bus."""
        return [*self.vehicles, *self.plain]

    def next_deadline(self) -> Instant:
        """Returns when somebody has something to say or do next; a day ahead without any."""
        idle = self.village.at + 86_400 * SECOND_MS
        due = [*(vehicle.next_deadline() for vehicle in self.vehicles), *(device.next_at for device in self.plain)]
        return Instant(max(min(due, default=idle), self.village.at + 1))

    def happen(self, name: str, arguments: Mapping[str, str | float]) -> None:
        """Makes a named happening true from now on."""
        happen(self.village, self.faults, self.vehicles, name, arguments)

    def registers(self, device: str) -> tuple[int, int]:
        """Returns the import and export register [Wh] that a meter's display shows."""
        return displayed(self.village, device)

    def truth(self) -> Truth:
        """Returns the energies so far."""
        return truth(self.village)

    def save(self) -> str:
        """Returns the whole state as JSON text."""
        state = {
            "version": STATE_VERSION,
            **dump_village(self.village),
            "vehicles": {vehicle.spec.id: vehicle.dump() for vehicle in self.vehicles},
        }
        return json.dumps(state, separators=(",", ":"))

    def load(self, text: str) -> None:
        """Goes on from a saved state.

        Raises:
            ForeignState: the text is no state of this site and version.
        """
        try:
            state: object = json.loads(text)
        except ValueError as error:
            raise ForeignState(f"saved state is not JSON ({error}): delete the state file to start anew") from error
        if not isinstance(state, dict) or cast("dict[str, object]", state).get("version") != STATE_VERSION:
            raise ForeignState("saved state is of another version: delete the state file to start anew")
        table = cast("dict[str, object]", state)
        restore_village(self.village, table)
        vehicles = cast("dict[str, object]", table.get("vehicles", {}))
        for vehicle in self.vehicles:
            vehicle.restore(vehicles.get(vehicle.spec.id), Instant(self.village.at))
        for device in self.bus.values():
            for segment in device.segments:
                segment.made_at = -1


class Factory:
    """The object behind the entry point `atoll.fleet`."""

    happenings = HAPPENINGS

    def __init__(self) -> None:
        self._built_in: Profiles | None = None

    def build(self, devices: Sequence[DeviceSpec], start: Instant, seed: int, profiles: str | None) -> Fleet:
        """Returns a fleet at `start`.

        Raises:
            ProfileProblems: the CSV is broken.
            LookupError: a device of the site has no simulated counterpart or no profile column.
        """
        data = self._year() if profiles is None else load_csv(profiles, devices)
        return VillageFleet(build_village(devices, start, seed, data, self._year), devices)

    def serve(self, fleet: Fleet, run_json: str, broker: str, state_file: str) -> None:
        """Runs the fleet on real wires until SIGTERM."""
        if not isinstance(fleet, VillageFleet):
            raise TypeError(f"{type(fleet).__name__} was not built by this factory")
        from firmware_sim.live import serve  # noqa: PLC0415 - asyncio and paho only where there are wires

        serve(fleet, run_json, broker, state_file)

    def _year(self) -> Profiles:
        if self._built_in is None:
            self._built_in = load_built_in()
        return self._built_in


factory = Factory()
