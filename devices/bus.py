"""What the gateway's core asks of the Modbus shell and what comes back; plain values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from devices.model import BusFault, DeviceId

SCAN = -1
"""Block number of a request that belongs to a SunSpec scan."""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """One Modbus read (function 1-4). `block` is the driver's block that it brings, or `SCAN`.

    `gap_ms` is the silence that the product needs before it.
    """

    device: DeviceId
    block: int
    endpoint: str
    unit: int
    function: int
    address: int
    count: int
    gap_ms: int = 0


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """One Modbus write (function 5, 6, 15, 16) for the sake of a device's point.

    With function 5, 0 and 1 are a coil's states; a larger number goes out as it is (a relay's own timer).
    """

    device: DeviceId
    point: str
    endpoint: str
    unit: int
    function: int
    address: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BusRead:
    """Effect: read, then hand over a `BusAnswer`."""

    request: ReadRequest


@dataclass(frozen=True, slots=True)
class BusWrite:
    """Effect: write before any waiting read of the endpoint, then hand over a `BusWritten`."""

    request: WriteRequest


@dataclass(frozen=True, slots=True)
class BusAnswer:
    """Event: the registers (or bits) of a read, or why there are none."""

    request: ReadRequest
    registers: tuple[int, ...] | BusFault


@dataclass(frozen=True, slots=True)
class BusWritten:
    """Event: a write was taken (`fault` None) or not."""

    request: WriteRequest
    fault: BusFault | None
