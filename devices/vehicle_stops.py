"""Interlocks that stop vehicles: a robot or drone is paused over VDA 5050 by the gateway itself, without any hub. Pure.

A declared rule (people-zone) whose device is a vehicle has no output to narrow: while it holds, the vehicle is told
`startPause`, again every second until its state says that it stands, and again whenever it says that it does not.
When the rule lets go, the pause is taken back, but only one of our own: who paused it before stays the master of that.
A MAVLink drone hovers, and does not take off (devices/mavlink_pilot.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from devices.clock import Instant
from devices.interlock_watch import Declared, Sense, Watch
from devices.model import DeviceId, Message
from devices.outputs import Report
from devices.vda5050_codec import Address, Kind
from devices.vda5050_values import Action, BlockingType, Header, InstantActions, State

RETELL_MS = 1_000
"""A vehicle that does not say that it has followed is told again so often."""
START, STOP = "startPause", "stopPause"


@dataclass(slots=True)
class StoppedVehicle:
    """One vehicle and the rules that may stop it. Times are the gateway's elapsed milliseconds."""

    device: DeviceId
    address: Address
    gateway: str
    watches: tuple[Watch, ...]
    active: tuple[str, ...] = ()  # the rules that stop it now
    paused: bool | None = None  # what it says of itself; None: not heard yet
    ours: bool = False  # the pause that it is in was asked for by this gateway
    told_at: int | None = None
    _header: int = 0

    @property
    def prefix(self) -> str:
        """Returns how the ids of our actions begin: by them a restarted gateway knows its own pause again."""
        return f"interlock-{self.gateway}-"

    def heard(self, state: State) -> None:
        """Takes the vehicle's own word; a pause is ours where the last word about pauses was."""
        self.paused = bool(state.paused)
        words = [one.actionId for one in state.actionStates if one.actionType in (START, STOP)]
        self.ours = self.paused and bool(words) and words[-1].startswith(self.prefix)

    def look(self, sense: Sense, now: Instant, elapsed: int) -> tuple[list[Message], list[Report]]:
        """Returns what to tell the vehicle now, and what to log."""
        narrowings = [watch.look(sense, elapsed) for watch in self.watches]
        rules = tuple(one.rule for one in narrowings if one is not None)
        reports: list[Report] = []
        if rules != self.active:
            code = "interlock" if rules else "interlock-clear"
            said = f"is stopped by {', '.join(rules)}" if rules else "may go on"
            reports.append(Report(code, f"{self.device} {said}"))
            self.told_at = None  # at once
            self.active = rules
        wanted = START if rules and not self.paused else STOP if not rules and self.ours else ""
        if not wanted or (self.told_at is not None and elapsed - self.told_at < RETELL_MS):
            return [], reports
        self.told_at = elapsed
        return [self._tell(wanted, now)], reports

    def _tell(self, action: str, now: Instant) -> Message:
        """Returns one instant action, under a new id: a vehicle does each id once."""
        self._header += 1
        codec = self.address.codec
        body = InstantActions((Action(action, f"{self.prefix}{self.device}-{now}-{self._header}", BlockingType.HARD),))
        header = Header(self._header, now, codec.version, self.address.manufacturer, self.address.serial)
        return Message(self.address.topic(Kind.INSTANT_ACTIONS), codec.encode(header, body))


class VehicleStops:
    """The `vehicles` that interlocks of one gateway may stop."""

    def __init__(self, gateway: str, declared: Sequence[Declared], addresses: Mapping[DeviceId, Address]) -> None:
        """Takes those rules whose device is one of `addresses`; each begins stopped (devices/interlock_watch.py)."""
        watches = {device: tuple(Watch(one) for one in declared if one.device == device) for device in addresses}
        self.vehicles = tuple(
            StoppedVehicle(device, address, gateway, watches[device])
            for device, address in addresses.items()
            if watches[device]
        )
        self._by_topic = {one.address.topic(Kind.STATE): one for one in self.vehicles}

    @property
    def watches(self) -> list[Watch]:
        """Returns every rule, for latches and their reset."""
        return [watch for one in self.vehicles for watch in one.watches]

    def subscriptions(self) -> list[tuple[str, int]]:
        """Returns (topic, QoS): the states of these vehicles."""
        return [(topic, 0) for topic in self._by_topic]

    def receive(self, topic: str, payload: bytes) -> bool:
        """Takes a vehicle's state; returns False where the topic is no such. What cannot be read changes nothing."""
        vehicle = self._by_topic.get(topic)
        if vehicle is None:
            return False
        state = vehicle.address.codec.decode(State, payload).value
        if state is not None:
            vehicle.heard(state)
        return True

    def look(self, sense: Sense, now: Instant, elapsed: int) -> tuple[list[Message], list[Report]]:
        """Returns what to tell whom now."""
        messages: list[Message] = []
        reports: list[Report] = []
        for vehicle in self.vehicles:
            told, said = vehicle.look(sense, now, elapsed)
            messages += told
            reports += said
        return messages, reports
