"""Setpoints as leases: who may set an output, until when, and what it falls back to by itself.

Fencing: a setpoint of an older hub epoch, or not newer within its epoch, is refused with a reason. What is operated in
two steps (breakers) needs a selection first, and then the same id, value and epoch within `SELECT_MS`; it is moved once
and then left as it is. An output with a lock-out tag takes nothing from anybody until the tag is gone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from devices.model import TWO_STEP, DeviceId, DeviceKind, DeviceSpec, Setpoint

HAZARD_MS = 2_500
"""A hazardous output is told again within this time, or it falls back: with the write, safe 3 s after the hub died."""
SELECT_MS = 20_000
"""A selection stands for so long; in a run that is faster than the clock, 20 s of real time."""
SELECT_FLOORS = 40
"""So many deadline floors (500 ms of real time) are that."""
OPERATE_MS = 10_000
"""A two-step output is driven to its new value for so long, and then left as it is."""
BOOT_GRACE_MS = 60_000
"""After a start the outputs are left as they are for this long, then they go to their default."""
VALID_MS_MAX = 24 * 3_600_000

DEFAULTS = {
    DeviceKind.PV: 1.0,
    DeviceKind.BATTERY: 0.0,
    DeviceKind.GENSET: 0.0,
    DeviceKind.PUMP: 0.0,
    DeviceKind.CHARGER: 0.0,
    DeviceKind.THERMAL: 0.0,
    DeviceKind.RELAY: 0.0,
    DeviceKind.BREAKER: 0.0,
}
"""What an output is set to when nobody has spoken for it: off, or full production for PV."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Somebody means to operate this output next."""

    id: str
    value: float
    epoch: int
    until: int  # elapsed ms


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
    lapsed: bool = False  # its last lease ran out, and nobody has spoken since
    two_step: bool = False
    hazardous: bool = False
    tag: str = ""  # who locked it out and why; nothing is taken while it is there
    selection: Selection | None = None

    def remaining_ms(self, elapsed: int) -> int:
        """Returns how long the lease still runs, 0 without one."""
        return 0 if self.until is None else max(0, self.until - elapsed)


@dataclass(slots=True)
class Leases:
    """All outputs of a gateway and the highest hub epoch seen."""

    outputs: dict[DeviceId, Output]
    epoch: int = 0
    sequence: int = -1  # the highest taken within `epoch`, over all outputs, before the last start
    hazard_ms: int = HAZARD_MS
    select_ms: int = SELECT_MS
    refused: dict[str, int] = field(default_factory=dict[str, int])

    def accept(self, setpoint: Setpoint, elapsed: int, floor_ms: int, local: bool = False) -> str:
        """Takes a setpoint, or returns why it is refused (empty when taken).

        A `local` one comes from a person at the gateway: it takes no part in the hub's numbering.
        """
        fenced = "" if local else self._fence_problem(setpoint)
        problem = self._problem(setpoint) or fenced or self._step_problem(setpoint, elapsed)
        if problem:
            kind = problem.split(":", 1)[0]
            self.refused[kind] = self.refused.get(kind, 0) + 1
            return problem
        output = self.outputs[setpoint.device]
        if not local:
            if setpoint.epoch > self.epoch:
                self.epoch, self.sequence = setpoint.epoch, -1
            output.epoch, output.sequence = setpoint.epoch, setpoint.sequence
        if setpoint.step == "select":
            output.selection = Selection(setpoint.selection, setpoint.value, setpoint.epoch, elapsed + self.select_ms)
            return ""
        output.wish, output.fallback = setpoint.value, setpoint.fallback
        output.valid_ms = max(self._longest(output, setpoint), floor_ms)
        output.until = elapsed + output.valid_ms
        output.reason = setpoint.reason
        output.selection, output.lapsed = None, False
        return ""

    def _longest(self, output: Output, setpoint: Setpoint) -> int:
        if output.two_step:
            return OPERATE_MS
        return min(setpoint.valid_ms, self.hazard_ms) if output.hazardous else setpoint.valid_ms

    def _problem(self, setpoint: Setpoint) -> str:
        output = self.outputs.get(setpoint.device)
        where = f"{setpoint.device}/{setpoint.point}"
        if output is None or output.point != setpoint.point:
            return f"not-writable: {where} is no output of this gateway"
        if output.tag:
            return f"locked-out: {where}: {output.tag}"
        if output.read_only:
            return f"read-only: {where} is marked read_only in the site file"
        if not (math.isfinite(setpoint.value) and math.isfinite(setpoint.fallback)):
            return f"not-a-number: {where} = {setpoint.value}, fallback {setpoint.fallback}"
        if not 0 < setpoint.valid_ms <= VALID_MS_MAX:
            return f"validity: {where} valid for {setpoint.valid_ms} ms, must be 1 to {VALID_MS_MAX}"
        return ""

    def _fence_problem(self, setpoint: Setpoint) -> str:
        output = self.outputs.get(setpoint.device)
        if output is None:
            return ""
        where = f"{setpoint.device}/{setpoint.point}"
        if setpoint.epoch < self.epoch:
            return f"superseded: {where} from hub epoch {setpoint.epoch}, now {self.epoch}"
        had = max(output.sequence if setpoint.epoch == output.epoch else -1, self._before(setpoint.epoch))
        if setpoint.sequence <= had:
            return f"not-newer: {where} sequence {setpoint.sequence}, had {had}"
        return ""

    def _before(self, epoch: int) -> int:
        """Returns the sequence that was taken before this gateway's last start: a replay of those is refused too."""
        return self.sequence if epoch == self.epoch else -1

    def _step_problem(self, setpoint: Setpoint, elapsed: int) -> str:
        """Returns what is wrong with the order of select and operate, empty where nothing is."""
        output = self.outputs[setpoint.device]
        where = f"{setpoint.device}/{setpoint.point}"
        if not output.two_step:
            return f"one-step: {where} is not selected, it is set" if setpoint.step else ""
        if setpoint.step == "select":
            return "" if setpoint.selection else f"no-id: a selection of {where} needs an id"
        if setpoint.step != "operate":
            return f"select-first: {where} is operated only after a selection"
        selected, output.selection = output.selection, None  # used up, right or wrong
        if selected is None or selected.until <= elapsed:
            return f"not-selected: {where} has no selection, or it is too old"
        if (selected.id, selected.value, selected.epoch) != (setpoint.selection, setpoint.value, setpoint.epoch):
            return f"other-selection: {where} was selected for {selected.value:g} by {selected.id!r}"
        return ""

    def expire(self, elapsed: int) -> list[Output]:
        """Returns the outputs whose lease has just run out; each now wishes its fallback, for good.

        A two-step output wishes nothing any more: only an interlock or a tag moves it.
        """
        lapsed: list[Output] = []
        for output in self.outputs.values():
            if output.until is not None and output.until <= elapsed:
                output.wish, output.until = None if output.two_step else output.fallback, None
                output.lapsed = not output.two_step
                lapsed.append(output)
        return lapsed

    def next_deadline(self) -> int | None:
        """Returns when the next lease runs out."""
        return min((o.until for o in self.outputs.values() if o.until is not None), default=None)


def default_of(spec: DeviceSpec) -> float:
    """Returns what a device goes to when nobody speaks for it; a relay may rest on, where that serves people."""
    return spec.ratings.get("rest", DEFAULTS[spec.kind])


def output_of(spec: DeviceSpec, point: str, grace_ms: int) -> Output:
    """Returns a device's output as after a start: left alone for `grace_ms`, then at its default."""
    default = default_of(spec)
    return Output(
        spec.id,
        point,
        default,
        spec.read_only,
        fallback=default,
        until=min(grace_ms, HAZARD_MS) if spec.hazardous else grace_ms,
        two_step=spec.kind in TWO_STEP,
        hazardous=spec.hazardous,
    )
