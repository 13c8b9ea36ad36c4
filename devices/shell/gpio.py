"""The pins themselves, by gpiozero: relays, debounced switches, pulse counts that survive `kill -9`.

The pin factory is named, never guessed: `lgpio` (the extra `gpio`). gpiozero's own search would fall back to others
that fail with words nobody understands. A `Wire` like any other: one thread, never raises, and what cannot be read is a
fault.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from devices.bus import ReadRequest, WriteRequest
from devices.gpio import PULSE_USES, PULSES, PulseMeter, pulse_address
from devices.model import BusFault, DeviceSpec, PinSpec

if TYPE_CHECKING:
    from gpiozero.pins import Factory

log = logging.getLogger("atoll.gpio")

_TICK_MS = 1000


class Counts(Protocol):
    """Where pulse counts outlive the process."""

    def get(self, name: str, default: tuple[int, int] = (0, 0)) -> tuple[int, int]:
        """Returns a pair of numbers, or the default."""
        ...

    def put(self, name: str, first: int, second: int = 0) -> None:
        """Keeps a pair."""
        ...


def open_factory() -> Factory:
    """Returns the pin factory of a Raspberry Pi.

    Raises:
        OSError: there are no pins here, or what reaches them is not installed; says which and what to do.
    """
    try:
        from gpiozero.pins.lgpio import LGPIOFactory

        refused = cast("type[Exception]", import_module("lgpio").error)
    except ImportError as error:
        raise OSError(f"lgpio is not installed ({error}): pip install 'atoll[gpio]'") from error
    from gpiozero.exc import GPIOZeroError

    try:
        return LGPIOFactory()
    except (refused, GPIOZeroError, OSError, ValueError) as error:
        said = f"no GPIO chip can be opened ({error}): is this a Raspberry Pi, and this user in the group gpio?"
        raise OSError(f"{said} ls -l /dev/gpiochip*") from error


class GpioWire:
    """All pins of one gateway, under the addresses of devices/gpio.py."""

    def __init__(
        self, specs: Iterable[DeviceSpec], counts: Counts, factory: Callable[[], Factory] = open_factory
    ) -> None:
        """Sets every relay to its boot state at once; a pin that cannot be had is told in `problem` and reads bad."""
        self.problem = ""
        self.late_s = 0.0
        self._counts = counts
        self._lines: dict[int, _Line] = {}
        pins = {pin.pin: pin for spec in specs for pin in reversed(spec.pins)}
        if not pins:
            return
        try:
            self._factory = factory()
        except OSError as error:
            self.problem = str(error)
            log.warning("event=no-pins %s", error)
            return
        for number, pin in sorted(pins.items()):
            self._open(number, pin)

    def _open(self, number: int, pin: PinSpec) -> None:
        from gpiozero.exc import GPIOZeroError

        try:
            self._lines[number] = _line(pin, self._factory, self._counts)
        except (GPIOZeroError, OSError, ValueError, RuntimeError) as error:
            self.problem = f"GPIO{number} ({pin.point}): {error}: who has it? atoll pins"
            log.warning("event=pin-busy %s", self.problem)

    def read(self, request: ReadRequest) -> tuple[int, ...] | BusFault:
        """Returns the bits or registers of one pin."""
        line = self._lines.get(self._pin(request))
        if line is None:
            return BusFault.DISCONNECTED
        words = line.words()
        return words if len(words) == request.count else BusFault.EXCEPTION

    @staticmethod
    def _pin(request: ReadRequest) -> int:
        return (request.address - pulse_address(0)) // 10 if request.function == PULSES else request.address

    def write(self, request: WriteRequest) -> BusFault | None:
        """Switches a relay."""
        line = self._lines.get(request.address)
        if line is None:
            return BusFault.DISCONNECTED
        return None if line.switch(request.values) else BusFault.EXCEPTION

    def close(self) -> None:
        """Sets every relay to its fail state and gives the pins back."""
        for line in self._lines.values():
            line.close()
        self._lines.clear()


class _Line(Protocol):
    def words(self) -> tuple[int, ...]: ...

    def switch(self, values: Sequence[int]) -> bool: ...

    def close(self) -> None: ...


def _line(pin: PinSpec, factory: Factory, counts: Counts) -> _Line:
    if pin.use == "relay":
        return _Relay(pin, factory)
    return _Pulses(pin, factory, counts) if pin.use in PULSE_USES else _Switch(pin, factory)


class _Relay:
    """An output; what it reads is what the pin is at, not what was asked."""

    def __init__(self, pin: PinSpec, factory: Factory) -> None:
        from gpiozero import DigitalOutputDevice

        self._fail = pin.fail
        self._device = DigitalOutputDevice(
            pin.pin, active_high=not pin.active_low, initial_value=pin.boot, pin_factory=factory
        )

    def words(self) -> tuple[int, ...]:
        return (int(cast("int", self._device.value)),)  # pyright: ignore[reportUnknownMemberType]

    def switch(self, values: Sequence[int]) -> bool:
        if len(values) != 1:
            return False
        self._device.value = bool(values[0])
        return True

    def close(self) -> None:
        self._device.value = self._fail
        self._device.close()


def _pull(pin: PinSpec) -> dict[str, Any]:
    """Returns gpiozero's pull_up and active_state: without a pull it must be told what is active."""
    if pin.pull == "none":
        return {"pull_up": None, "active_state": not pin.active_low}
    return {"pull_up": pin.pull == "up", "active_state": None}


class _Switch:
    """An input that counts as changed when it has stayed so for its debounce time."""

    def __init__(self, pin: PinSpec, factory: Factory) -> None:
        from gpiozero import DigitalInputDevice

        self._device = DigitalInputDevice(pin.pin, pin_factory=factory, **_pull(pin))
        # With a pull, gpiozero takes the pulled level for idle; what the site file calls active decides.
        self._turned = pin.pull != "none" and pin.active_low != (pin.pull == "up")
        self._debounce_s = pin.debounce_ms / 1000
        self._stable = self._raw()
        self._seen, self._since = self._stable, time.monotonic()
        self._device.when_activated = self._device.when_deactivated = self._edge

    def _raw(self) -> bool:
        return bool(self._device.value) != self._turned

    def _edge(self) -> None:
        self._seen, self._since = self._raw(), time.monotonic()

    def words(self) -> tuple[int, ...]:
        raw, now = self._raw(), time.monotonic()
        if raw != self._seen:
            self._seen, self._since = raw, now
        if now - self._since >= self._debounce_s:
            self._stable = self._seen
        return (int(self._stable),)

    def switch(self, values: Sequence[int]) -> bool:
        del values
        return False

    def close(self) -> None:
        self._device.close()


class _Pulses:
    """A pulse input; each counted pulse is with the kernel before the next one can come.

    Its direction input is read at every pulse. Which level is backward is the level of the pin itself: `active_low`
    and debounce are the pulse's own.
    """

    def __init__(self, pin: PinSpec, factory: Factory, counts: Counts) -> None:
        from gpiozero import DigitalInputDevice

        self._name = f"pulse/{pin.point}"
        self._counts = counts
        count, backward = counts.get(self._name)
        self._meter = PulseMeter(pin, count, backward)
        self._debounce_ms = pin.debounce_ms
        self._rose_at: int | None = None
        self._device = DigitalInputDevice(pin.pin, pin_factory=factory, **_pull(pin))
        self._direction: Any = None  # gpiozero's pins carry no types
        if pin.direction is not None:
            self._direction = DigitalInputDevice(pin.direction, pin_factory=factory, **_pull(pin))
        self._reverse_level = not pin.reverse_low
        self._device.when_activated = self._edge

    def _forward(self) -> bool:
        if self._direction is None:
            return True
        return bool(self._direction.pin.state) != self._reverse_level

    @staticmethod
    def _now() -> int:
        return int(time.monotonic() * _TICK_MS)

    def _edge(self) -> None:
        at = self._now()
        if self._rose_at is not None and at - self._rose_at < self._debounce_ms:
            return
        self._rose_at = at
        if self._meter.pulse(at, self._forward()):
            self._counts.put(self._name, self._meter.count, self._meter.backward)

    def words(self) -> tuple[int, ...]:
        return self._meter.words(self._now())

    def switch(self, values: Sequence[int]) -> bool:
        del values
        return False

    def close(self) -> None:
        self._device.close()
        if self._direction is not None:
            self._direction.close()
