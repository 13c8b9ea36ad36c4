"""The seam to the simulated fleet: what `atoll simulate`, `atoll demo` and tests may ask of it.

The fleet is found by entry point (`atoll.fleet`), never imported. It is one deterministic object: same
devices, profiles, seed and calls in the same order give the same answers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from devices.clock import Instant
from devices.model import BusFault, DeviceId, DeviceSpec, Message


@dataclass(frozen=True, slots=True)
class HomeDay:
    """What one household wanted and got on one UTC day, known only to the simulator."""

    home: DeviceId
    day: Instant
    demand_wh: int
    served_wh: int
    demand_ml: int
    served_ml: int


@dataclass(frozen=True, slots=True)
class Truth:
    """Energies since the start, whole Wh, straight from the physics (not from meters)."""

    pv_wh: int
    import_wh: int
    export_wh: int
    genset_wh: int
    load_wh: int
    battery_in_wh: int
    battery_out_wh: int
    unserved_wh: int
    unserved_ml: int
    home_days: tuple[HomeDay, ...]


@dataclass(frozen=True, slots=True)
class HappeningKind:
    """What a named happening does, which arguments it needs and which it may have besides."""

    words: str
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()

    def problem(self, name: str, arguments: Collection[str]) -> str:
        """Returns what is wrong with the names of its arguments, or ''."""
        if set(self.needs) <= set(arguments) <= {*self.needs, *self.may}:
            return ""
        also = f" and, if you like, {', '.join(self.may)}" if self.may else ""
        return (
            f"{name} takes {', '.join(self.needs) or 'nothing'}{also}; got {', '.join(sorted(arguments)) or 'nothing'}"
        )


class Fleet(Protocol):
    """Every simulated device of a site. Time only moves forward, and only by `advance`."""

    def advance(self, now: Instant) -> None:
        """Integrates the physics up to `now`."""
        ...

    def read(self, endpoint: str, unit: int, function: int, address: int, count: int) -> Sequence[int] | BusFault:
        """Answers a Modbus read (function 1-4) with `count` registers or bits as of the last `advance`."""
        ...

    def write(self, endpoint: str, unit: int, function: int, address: int, values: Sequence[int]) -> BusFault | None:
        """Takes a Modbus write (function 5, 6, 15, 16)."""
        ...

    def receive(self, message: Message) -> None:
        """Hands a message from the hub to the vehicle that its topic names; others are ignored."""
        ...

    def messages(self) -> list[Message]:
        """Returns and forgets what the vehicles want published."""
        ...

    def next_deadline(self) -> Instant:
        """Returns when the vehicles must be advanced again at the latest."""
        ...

    def happen(self, name: str, arguments: Mapping[str, str | float]) -> None:
        """Makes a named happening true from now on.

        Some names: `device-silent`, `device-back`, `grid-lost`, `grid-back`, `register-garbage`, `modbus-exception`.

        Raises:
            ValueError: unknown name or argument; the message lists the known names.
        """
        ...

    def registers(self, device: str) -> tuple[int, int]:
        """Returns the import and export register [Wh] that a meter's display shows as of the last `advance`.

        Raises:
            ValueError: no such meter.
        """
        ...

    def truth(self) -> Truth:
        """Returns the energies so far."""
        ...

    def save(self) -> str:
        """Returns the whole state as JSON text (registers, charge, levels, vehicles)."""
        ...

    def load(self, text: str) -> None:
        """Goes on from a saved state; the next `advance` integrates from its instant."""
        ...


class FleetFactory(Protocol):
    """The object behind the entry point `atoll.fleet`."""

    @property
    def happenings(self) -> Mapping[str, HappeningKind]:
        """Returns what may befall its fleets, by name."""
        ...

    def build(self, devices: Sequence[DeviceSpec], start: Instant, seed: int, profiles: str | None) -> Fleet:
        """Returns a fleet at `start`; `profiles` is the path of a user's CSV or None for the built-in year.

        Raises:
            ProfileProblems: the CSV is broken; its `.problems` lists every line.
        """
        ...

    def serve(self, fleet: Fleet, run_json: str, broker: str, state_file: str) -> None:
        """Runs the fleet on real wires (Modbus TCP servers, MQTT) until SIGTERM; clock from `run_json`."""
        ...


class ProfileProblems(ValueError):
    """A profile CSV that cannot be used; `problems` holds one text per finding, with its line number."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
