"""Operating in two steps by way of the hub: select (what would happen?), then operate within a short time. Pure.

Breakers (island, reconnect) and drones that wait for their launch. The hub keeps who selected what, and its gateway or
`atoll drone` keeps the same again: the second step must match the first in both, and an old first step is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.commands import CommandResult, OperateDevice
from controller.hub_events import Effect, Publish
from controller.hub_state import Hub, Selected
from devices.clock import Instant
from devices.leases import OPERATE_MS, SELECT_FLOORS, SELECT_MS
from devices.mavlink_launch import OPERATE_LAUNCH, SELECT_LAUNCH, waiting_order
from devices.model import TWO_STEP, WRITABLE, DeviceKind, DeviceSpec, Setpoint
from devices.outputs import LOCKED_OUT
from devices.vda5050 import Action, ActionParameter

VERBS: Mapping[DeviceKind, Mapping[float, str]] = {
    DeviceKind.BREAKER: {0.0: "open", 1.0: "close"},
    DeviceKind.DRONE: {1.0: "launch"},
}
"""What can be asked of each kind, by value."""


@dataclass(frozen=True, slots=True)
class _Refused(Exception):
    """A step that is not taken, with code and words."""

    code: str
    message: str


def operate(hub: Hub, command: OperateDevice, now: Instant) -> tuple[CommandResult, list[Effect]]:
    """Takes one step, or refuses it with a reason; the effects tell gateway or drone."""
    try:
        device = _device(hub, command)
        message, effects = (
            _select(hub, device, command, now) if command.step == "select" else _do(hub, device, command, now)
        )
    except _Refused as refused:
        return CommandResult(command.id, False, refused.code, refused.message), []
    return CommandResult(command.id, True, "ok", message), effects


def select_ms(hub: Hub) -> int:
    """Returns how long a selection stands: 20 s, and 20 s of real time in a run that is faster."""
    return max(SELECT_MS, SELECT_FLOORS * hub.config.floor_ms)


def choices(hub: Hub, device: DeviceSpec) -> tuple[tuple[float, str], ...]:
    """Returns what an operator may ask of a device in two steps now: (value, verb); empty where nothing."""
    if device.kind not in VERBS or device.read_only or hub.config.advisory:
        return ()
    if device.kind is DeviceKind.DRONE and not _waiting(hub, device)[0]:
        return ()
    return tuple(VERBS[device.kind].items())


def _device(hub: Hub, command: OperateDevice) -> DeviceSpec:
    device = hub.config.site.device(command.device)
    if device is None or device.kind not in VERBS:
        known = [spec.id for spec in hub.config.site.devices if spec.kind in VERBS]
        raise _Refused("unknown-device", f"{command.device!r} is not operated in two steps: {', '.join(known)} are")
    if command.value not in VERBS[device.kind]:
        wanted = " or ".join(f"{value:g} ({verb})" for value, verb in VERBS[device.kind].items())
        raise _Refused("out-of-range", f"{device.id} takes {wanted}, not {command.value:g}")
    if device.read_only:
        raise _Refused("not-writable", f"{device.id} is marked read_only in the site file")
    if command.step not in ("select", "operate"):
        raise _Refused("bad-step", f"a step is select or operate, not {command.step!r}")
    if not command.reason.strip():
        raise _Refused("no-reason", "say why: the next shift and the log need a reason")
    if device.kind in TWO_STEP and (not hub.link_up or device.id not in hub.node_of):
        raise _Refused("unreachable", f"no gateway answers for {device.id}: operate it there (atoll operate)")
    return device


def _select(hub: Hub, device: DeviceSpec, command: OperateDevice, now: Instant) -> tuple[str, list[Effect]]:
    known = hub.selections.get(device.id)
    if known is not None and known.until > now and known.by != command.actor.name:
        raise _Refused("selected", f"{known.by} has selected {device.id} already; it is free again in some seconds")
    if hub.snapshot is not None and hub.snapshot.value(device.id, LOCKED_OUT) == 1.0:
        raise _Refused("locked-out", f"somebody works on {device.id}: its tag is taken off at its gateway only")
    order, flight = _waiting(hub, device) if device.kind is DeviceKind.DRONE else ("", "")
    if device.kind is DeviceKind.DRONE and not order:
        raise _Refused("no-flight", f"{device.id} has no flight that waits for its launch")
    until = Instant(now + select_ms(hub))
    hub.selections[device.id] = Selected(command.id, command.value, command.actor.name, until, order)
    text = flight or _consequence(hub, device, command.value)
    return f"{text} Operate it within {SELECT_MS // 1000} s.", [_tell(hub, device, command, command.id, order, now)]


def _do(hub: Hub, device: DeviceSpec, command: OperateDevice, now: Instant) -> tuple[str, list[Effect]]:
    known = hub.selections.pop(device.id, None)  # used up, right or wrong
    if known is None or known.until <= now:
        raise _Refused("not-selected", f"{device.id} is not selected, or was too long ago: select it again")
    if (known.id, known.value, known.by) != (command.selection, command.value, command.actor.name):
        verb = VERBS[device.kind][known.value]
        raise _Refused("other-selection", f"{known.by} selected {device.id} to {verb}: select what you mean")
    verb = VERBS[device.kind][command.value]
    message = f"{device.id} is told to {verb}; what it reports shows whether it did"
    return message, [_tell(hub, device, command, known.id, known.order, now)]


def _tell(hub: Hub, device: DeviceSpec, command: OperateDevice, selection: str, order: str, now: Instant) -> Effect:
    if device.kind is DeviceKind.DRONE:
        kind = SELECT_LAUNCH if command.step == "select" else OPERATE_LAUNCH
        named = (ActionParameter("orderId", order), ActionParameter("selection", selection))
        action = Action(kind, f"{command.step}-{command.id}", actionParameters=named)
        return Publish(hub.board.sessions[device.id].instant((action,), now))
    hub.sequence += 1
    setpoint = Setpoint(
        device.id, WRITABLE[device.kind], command.value, hub.config.epoch, hub.sequence, OPERATE_MS, 0.0,
        command.reason, command.step, selection,
    )  # fmt: skip
    return Publish(hub.host.setpoint(hub.node_of[device.id], setpoint, now))


def _waiting(hub: Hub, device: DeviceSpec) -> tuple[str, str]:
    session = hub.board.sessions.get(device.id)
    return ("", "") if session is None or not session.online else waiting_order(session.state)


def _consequence(hub: Hub, device: DeviceSpec, value: float) -> str:
    """Returns what would happen, in one or two sentences."""
    snapshot, site = hub.snapshot, hub.config.site
    seen = None if snapshot is None else snapshot.value(device.id, WRITABLE[device.kind])
    now_is = "in an unknown state" if seen is None else "closed" if seen else "open"
    text = f"{device.id} is {now_is}."
    if seen == value:
        text += " Nothing would change."
    elif device.id not in site.ties:
        text += " What hangs behind it gets power." if value else " What hangs behind it loses its power."
    elif value:
        text += " The village would be connected to the outside grid."
    else:
        text += f" The village would become an island. {_carried(hub)}"
    return text


def _carried(hub: Hub) -> str:
    """Returns what an island would have to carry itself, as far as it is known."""
    snapshot, site = hub.snapshot, hub.config.site
    if snapshot is None:
        return "Nothing is known of its stores."
    words: list[str] = []
    for grid in site.of_kind(DeviceKind.GRID):
        power = snapshot.value(grid.id, "W")
        unknown = "Power from outside unknown"
        words.append(unknown if power is None else f"{max(0.0, -power) / 1000:.1f} kW come from outside now")
    for battery in site.of_kind(DeviceKind.BATTERY):
        charge = snapshot.value(battery.id, "soc")
        words.append(f"{battery.id}: {'charge unknown' if charge is None else f'{charge:.0%}'}")
    for genset in site.of_kind(DeviceKind.GENSET):
        fuel = snapshot.value(genset.id, "fuel")
        words.append(f"{genset.id}: {'fuel unknown' if fuel is None else f'fuel {fuel:.0%}'}")
    return f"{'; '.join(words)}."
