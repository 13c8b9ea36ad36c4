"""What gateways know of their meters and outputs, as alarm conditions: each clears by itself when it is gone. Pure.

Gateways tell it as points beside the readings: `devices.gpio.FLAGS` of meters on pins, `devices.outputs.STATE_POINTS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.alarms import Condition, Priority
from controller.image import Snapshot
from controller.site import Site
from devices.clock import MINUTE_MS
from devices.gpio import FLAGGED
from devices.model import TWO_STEP, WRITABLE, DeviceKind, DeviceSpec
from devices.outputs import IGNORES, LAPSED


@dataclass(frozen=True, slots=True)
class _Flag:
    """One flag of a pulse meter, in the words that an operator needs."""

    code: str
    priority: Priority
    text: str  # after the meter's name
    consequence: str
    response: str
    delay_ms: int = 0


FLAG_WORDS: Mapping[str, _Flag] = {
    "leak": _Flag(
        "EDGE-001",
        Priority.MEDIUM,
        "has run for six hours without a pause: a leak, or a tap left open",
        "drinking water is lost, and somebody is billed for it",
        "close the valve behind the meter: if it still turns, the pipe leaks before the house",
    ),
    "low_flow": _Flag(
        "EDGE-002",
        Priority.LOW,
        "has trickled for ten minutes, below 2 % of its rated flow",
        "so little may be a dripping tap, a filter that clogs, or a meter that sticks: it measures badly there",
        "look at taps, cistern and filter; compare with the meter's own wheel",
    ),
    "reverse": _Flag(
        "EDGE-003",
        Priority.MEDIUM,
        "turns backwards",
        "used water may get into the drinking water; what runs back is not billed",
        "check the non-return valve, and that the meter is mounted in the direction of its arrow",
    ),
    "too_fast": _Flag(
        "EDGE-004",
        Priority.LOW,
        "pulses faster than its greatest flow",
        "such pulses are not counted",
        "check the pulse cable's shield and the contact; flow_lpm_max and ml_per_pulse of the pin",
        MINUTE_MS,
    ),
}


def find(site: Site, snapshot: Snapshot, *, commands: bool, settle_ms: int) -> Iterable[Condition]:
    """Yields what holds now; a reading that is bad or old raises nothing here (that its device is silent does).

    Without `commands` (advisory, safe mode) this hub speaks for no output, so that a lapsed lease is no fault.
    """
    for device in site.devices:
        if device.kind in FLAGGED:
            yield from _flags(device, snapshot)
        if device.kind in WRITABLE and device.gateway:
            yield from _output(device, snapshot, settle_ms, commands=commands)


def _flags(device: DeviceSpec, snapshot: Snapshot) -> Iterable[Condition]:
    several = device.kind is DeviceKind.WATER_METERS
    for meter in device.channels if several else (str(device.id),):
        for name, flag in FLAG_WORDS.items():
            if snapshot.value(device.id, f"{meter}_{name}" if several else name) == 1.0:
                text = f"{meter} {flag.text}"
                words = (flag.consequence, flag.response, flag.delay_ms, flag.code)
                yield Condition(f"{name.replace('_', '-')}.{meter}", flag.priority, device.id, text, *words)


def _output(device: DeviceSpec, snapshot: Snapshot, settle_ms: int, *, commands: bool) -> Iterable[Condition]:
    if snapshot.value(device.id, IGNORES) == 1.0:
        yield Condition(
            f"ignores.{device.id}",
            Priority.HIGH if device.kind in TWO_STEP else Priority.MEDIUM,
            device.id,
            f"{device.id} does not do what it is told: it reads back something else",
            "the plan counts on it in vain; the gateway repeats the setpoint each minute",
            f"see whether {device.id} is on local or manual, or limits itself",
            settle_ms,
            "EDGE-005",
        )
    if commands and snapshot.value(device.id, LAPSED) == 1.0:
        yield Condition(
            f"lapsed.{device.id}",
            Priority.MEDIUM,
            device.id,
            f"nothing has spoken for {device.id} since its last setpoint ran out",
            "it stands at its own safe value",
            "see the gateway's log for setpoint-refused, and whether the hub's commands reach it: atoll status",
            settle_ms,
            "EDGE-006",
        )
