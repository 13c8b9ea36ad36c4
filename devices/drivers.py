"""What the gateway needs of a device on a wire: which blocks to read, which registers a setpoint writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from devices.registers import Block, Registers, RegisterWrite


class Unwritable(ValueError):
    """This device cannot take that setpoint (no such control, read-only, scale factor unknown, out of range)."""


class Driver(Protocol):
    """What the gateway needs of a device: blocks to read and registers to write. No state, no I/O."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Returns the reads of one poll."""
        ...

    @property
    def reverts(self) -> bool:
        """Returns whether a write carries the device's own reversion timer, which must be set again in time."""
        ...

    def rollover(self, point: str, last: Sequence[Registers | None]) -> int:
        """Returns the value at which a counting point starts again from 0 [the point's unit], 0 if it never does."""
        ...

    def keep_alive_ms(self, point: str) -> int:
        """Returns after how long without a write the device gives the setpoint up, 0 if never or by its own timer."""
        ...

    def writes(
        self, point: str, value: float, fallback: float, valid_ms: int, last: Sequence[Registers | None]
    ) -> list[RegisterWrite]:
        """Returns the writes that make `value` true, with the device's own reversion timer where it has one.

        `valid_ms` 0 means for good; `last` holds the last good answer per block, None where there is none.

        Raises:
            Unwritable: the device cannot take it.
        """
        ...
