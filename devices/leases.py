"""Setpoints as leases: who may set an output, until when, and what it falls back to by itself.

Fencing: a setpoint of an older hub epoch, or not newer within its epoch, is refused with a reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from devices.model import DeviceId, DeviceKind, Setpoint

BOOT_GRACE_MS = 60_000
"""After a start the outputs are left as they are for this long, then they go to their default."""
VALID_MS_MAX = 24 * 3_600_000

DEFAULTS = {
    DeviceKind.PV: 1.0,
    DeviceKind.BATTERY: 0.0,
    DeviceKind.GENSET: 0.0,
    DeviceKind.PUMP: 0.0,
    DeviceKind.CHARGER: 0.0,
}
"""What an output is set to when nobody has spoken for it: off, or full production for PV."""


@dataclass(slots=True)
class Output:
    """One writable point and the lease on it. Times are the gateway's own elapsed milliseconds."""

    device: DeviceId
    point: str
    default: float
    read_only: bool = False
    wish: float | None = None  # None: nobody has spoken since the start
    fallback: float = 0.0
    until: int | None = None  # None: no lease, `wish` stands for good
    epoch: int = 0
    sequence: int = -1
    valid_ms: int = 0
    reason: str = ""
    written: float | None = None  # what the device was last told
    written_at: int = 0
    written_for_ms: int = 0
    retry_at: int = 0
    waiting: int = 0  # writes under way
    ignored: int = 0  # read-backs in a row that show something else

    def remaining_ms(self, elapsed: int) -> int:
        """Returns how long the lease still runs, 0 without one."""
        return 0 if self.until is None else max(0, self.until - elapsed)


@dataclass(slots=True)
class Leases:
    """All outputs of a gateway and the highest hub epoch seen."""

    outputs: dict[DeviceId, Output]
    epoch: int = 0
    refused: dict[str, int] = field(default_factory=dict[str, int])

    def accept(self, setpoint: Setpoint, elapsed: int, floor_ms: int) -> str:
        """Takes a setpoint, or returns why it is refused (empty when taken)."""
        problem = self._problem(setpoint)
        if problem:
            kind = problem.split(":", 1)[0]
            self.refused[kind] = self.refused.get(kind, 0) + 1
            return problem
        output = self.outputs[setpoint.device]
        self.epoch = setpoint.epoch
        output.epoch, output.sequence = setpoint.epoch, setpoint.sequence
        output.wish, output.fallback = setpoint.value, setpoint.fallback
        output.valid_ms = max(setpoint.valid_ms, floor_ms)
        output.until = elapsed + output.valid_ms
        output.reason = setpoint.reason
        return ""

    def _problem(self, setpoint: Setpoint) -> str:
        output = self.outputs.get(setpoint.device)
        where = f"{setpoint.device}/{setpoint.point}"
        if output is None or output.point != setpoint.point:
            return f"not-writable: {where} is no output of this gateway"
        if output.read_only:
            return f"read-only: {where} is marked read_only in the site file"
        if not (math.isfinite(setpoint.value) and math.isfinite(setpoint.fallback)):
            return f"not-a-number: {where} = {setpoint.value}, fallback {setpoint.fallback}"
        if not 0 < setpoint.valid_ms <= VALID_MS_MAX:
            return f"validity: {where} valid for {setpoint.valid_ms} ms, must be 1 to {VALID_MS_MAX}"
        if setpoint.epoch < self.epoch:
            return f"superseded: {where} from hub epoch {setpoint.epoch}, now {self.epoch}"
        if setpoint.epoch == output.epoch and setpoint.sequence <= output.sequence:
            return f"not-newer: {where} sequence {setpoint.sequence}, had {output.sequence}"
        return ""

    def expire(self, elapsed: int) -> list[Output]:
        """Returns the outputs whose lease has just run out; each now wishes its fallback, for good."""
        lapsed: list[Output] = []
        for output in self.outputs.values():
            if output.until is not None and output.until <= elapsed:
                output.wish, output.until = output.fallback, None
                lapsed.append(output)
        return lapsed

    def next_deadline(self) -> int | None:
        """Returns when the next lease runs out."""
        return min((o.until for o in self.outputs.values() if o.until is not None), default=None)
