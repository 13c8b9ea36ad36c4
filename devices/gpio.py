"""Pins of the gateway's own header as a device: which registers stand for them, and pulses into volume and flow. Pure.

To the core a set of pins is a device like any other: relays and switches are bits, a pulse input is a block of
registers. The shell (devices/shell/gpio.py) answers reads and writes of these addresses from the real pins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from devices.drivers import Unwritable
from devices.model import DeviceKind, DeviceSpec, PinSpec
from devices.registers import TYPES, Block, Reader, Registers, RegisterWrite, raw_reader, scaled

DRIVER = "gpio:header"
ENDPOINT = "gpio:header"
OUTPUT_BITS, INPUT_BITS, PULSES = 1, 2, 4
"""Read functions, as Modbus counts them: relays, switches, pulse inputs."""
PULSE_BASE, PULSE_STEP, PULSE_WORDS = 1000, 10, 7
"""A pulse input's registers begin at PULSE_BASE + PULSE_STEP x pin: count (4), mL/min (2, signed), flags (1)."""
PULSE_USES = ("counter", "flow")
FLOW_MAX = 0x7FFFFFFF
LEAK, LOW_FLOW, REVERSE, FAST = 1, 2, 4, 8
FLAGS: Mapping[str, int] = {"leak": LEAK, "low_flow": LOW_FLOW, "reverse": REVERSE, "too_fast": FAST}
"""Points that a meter on a pin has besides its own (`leak`; of several water meters `home-01.water_leak`): 1 while the
pulses are not plausible in this way."""
FLAGGED = (DeviceKind.FLOW_METER, DeviceKind.WATER_METERS)
LEAK_MS = 6 * 3_600_000
"""Water that has run for so long without a pause of `PAUSE_MS` is a leak."""
PAUSE_MS = 15 * 60_000
STILL_MS = 60_000
"""After so long without a pulse the flow is 0."""
LOW_MS = 600_000
"""A trickle (below LOW_SHARE of the rated flow, but not 0) for so long is a low flow."""
LOW_SHARE = 0.02
WINDOW_MS = 2_000
"""Flow is counted over this time, or over the time between two pulses where that is longer."""


def pulse_address(pin: int) -> int:
    """Returns where a pulse input's registers begin."""
    return PULSE_BASE + PULSE_STEP * pin


@dataclass(slots=True)
class PulseMeter:
    """One pulse input: a count that only grows, and what its rhythm says. Times in ms of a clock that never goes back.

    A pulse closer to the last one than the fastest flow allows is noise: it is not counted, and told (`too_fast`).
    With a direction input, pulses against the direction are counted apart and told (`reverse`); the flow is then
    negative, since what runs back delivers nothing.
    """

    spec: PinSpec
    count: int = 0
    backward: int = 0
    noise: int = 0
    last_at: int | None = None
    mark_at: int = 0
    mark_count: int = 0
    rate: float = 0.0  # pulses per ms, forward less backward
    running_since: int | None = None
    low_since: int | None = None
    noise_at: int | None = None
    backward_at: int | None = None

    @property
    def gap_ms_min(self) -> float:
        """Returns the shortest time between two true pulses."""
        if not self.spec.flow_lpm_max or not self.spec.ml_per_pulse:
            return 0.0
        return self.spec.ml_per_pulse / (self.spec.flow_lpm_max * 1000 / 60_000)

    def pulse(self, at: int, forward: bool = True) -> bool:
        """Takes one edge; returns whether it was counted."""
        if self.last_at is not None and at - self.last_at < 0.5 * self.gap_ms_min:
            self.noise += 1
            self.noise_at = at
            return False
        if self.last_at is None or at - self.last_at >= PAUSE_MS:
            self.running_since = at
        if self.last_at is None or at - self.last_at > STILL_MS:
            self.mark_at, self.mark_count = at, self.count - self.backward
        self.last_at = at
        if forward:
            self.count += 1
        else:
            self.backward += 1
            self.backward_at = at
        if at - self.mark_at >= WINDOW_MS:
            self.rate = (self.count - self.backward - self.mark_count) / (at - self.mark_at)
            self.mark_at, self.mark_count = at, self.count - self.backward
        return True

    def flow_lpm(self, now: int) -> float:
        """Returns the flow: the last rate, or what the wait since the last pulse still allows; 0 when it stands."""
        if self.last_at is None or now - self.last_at > STILL_MS:
            self.rate = 0.0
            return 0.0
        waited = max(now - self.last_at, 1)
        rate = max(-1 / waited, min(self.rate, 1 / waited)) if waited > WINDOW_MS else self.rate
        return rate * self.spec.ml_per_pulse * 60

    def flags(self, now: int) -> int:
        """Returns what is not plausible, as bits of LEAK, LOW_FLOW, REVERSE and FAST."""
        flow, found = self.flow_lpm(now), 0
        resting = self.last_at is None or now - self.last_at >= PAUSE_MS
        if not resting and self.running_since is not None and now - self.running_since >= LEAK_MS:
            found |= LEAK
        trickles = 0 < abs(flow) < LOW_SHARE * self.spec.flow_lpm_max
        self.low_since = (now if self.low_since is None else self.low_since) if trickles else None
        if self.low_since is not None and now - self.low_since >= LOW_MS:
            found |= LOW_FLOW
        if self.backward_at is not None and now - self.backward_at < STILL_MS:
            found |= REVERSE
        if self.noise_at is not None and now - self.noise_at < STILL_MS:
            found |= FAST
        return found

    def words(self, now: int) -> tuple[int, ...]:
        """Returns the registers of this input."""
        flow = max(-FLOW_MAX, min(round(self.flow_lpm(now) * 1000), FLOW_MAX))
        count = self.count & 0xFFFFFFFFFFFFFFFF
        counted = tuple(count >> shift & 0xFFFF for shift in (48, 32, 16, 0))
        return (*counted, flow >> 16 & 0xFFFF, flow & 0xFFFF, self.flags(now))


class GpioDriver:
    """Reads and writes the pins of one device."""

    def __init__(self, spec: DeviceSpec) -> None:
        """Makes one block per pin.

        Raises:
            ValueError: the device names no pins.
        """
        if not spec.pins:
            raise ValueError(f"{spec.id}: driver {DRIVER} needs [device.pins]")
        self._pins = {pin.point: pin for pin in spec.pins}
        blocks: dict[int, list[tuple[str, Reader]]] = {}
        first: dict[int, PinSpec] = {}
        for pin in spec.pins:
            first.setdefault(pin.pin, pin)
            blocks.setdefault(pin.pin, []).append((pin.point, _reader(pin)))
        for number, pin in first.items():
            if pin.use in PULSE_USES and spec.kind in FLAGGED:
                prefix = f"{pin.point.removesuffix('_ml')}_" if spec.kind is DeviceKind.WATER_METERS else ""
                blocks[number] += [(prefix + name, _flag(bit)) for name, bit in FLAGS.items()]
        self._blocks = tuple(_block(first[number], named) for number, named in blocks.items())

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Returns one block per pin."""
        return self._blocks

    @property
    def reverts(self) -> bool:
        """Returns False: a pin stays as it is set until the gateway ends."""
        return False

    def rollover(self, point: str, last: Sequence[Registers | None]) -> int:
        """Returns 0: the count has 64 bits."""
        del point, last
        return 0

    def keep_alive_ms(self, point: str) -> int:
        """Returns 0: a pin needs no repetition."""
        del point
        return 0

    def writes(
        self, point: str, value: float, fallback: float, valid_ms: int, last: Sequence[Registers | None]
    ) -> list[RegisterWrite]:
        """Returns the one write that switches a relay."""
        del fallback, valid_ms, last
        pin = self._pins.get(point)
        if pin is None or pin.use != "relay":
            raise Unwritable(f"{point} is no relay pin: {', '.join(p.point for p in self._pins.values())}")
        if value not in (0.0, 1.0):
            raise Unwritable(f"{point} = {value}: a relay is 0 or 1")
        return [RegisterWrite(5, pin.pin, (int(value),))]


def _block(pin: PinSpec, named: Sequence[tuple[str, Reader]]) -> Block:
    points, readers = tuple(name for name, _ in named), tuple(read for _, read in named)
    if pin.use in PULSE_USES:
        return Block(PULSES, pulse_address(pin.pin), PULSE_WORDS, points, readers)
    return Block(OUTPUT_BITS if pin.use == "relay" else INPUT_BITS, pin.pin, 1, points, readers)


def _reader(pin: PinSpec) -> Reader:
    def volume(registers: Registers) -> float:
        count = registers[0] << 48 | registers[1] << 32 | registers[2] << 16 | registers[3]
        return round(count * pin.ml_per_pulse)

    def bit(registers: Registers) -> float:
        return registers[0]

    flow = scaled(raw_reader(TYPES["int32"], 4, frozenset()), 0.001)
    readers: Mapping[str, Reader] = {"counter": volume, "flow": flow}
    return readers.get(pin.use, bit)


def _flag(mask: int) -> Reader:
    return lambda registers: float(bool(registers[6] & mask))
