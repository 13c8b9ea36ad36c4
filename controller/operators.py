"""What people ask of the hub: permission, sanity, effect, audit entry, reply. Part of the hub's step; pure."""

from __future__ import annotations

from controller import two_step
from controller.alarms import AlarmChange
from controller.civil import clock_text
from controller.commands import (
    AcknowledgeAlarm,
    CancelStorm,
    Command,
    CommandResult,
    DeclareStorm,
    HoldDevice,
    MoneyRequest,
    OperateDevice,
    ReleaseDevice,
    Role,
)
from controller.cycle import Hold, full_band
from controller.hub_events import Audit, Bookkeep, Effect, Reply
from controller.hub_state import Hub
from controller.ledger.entries import derived_id, is_entry_id
from controller.storm import Storm, refusal
from devices.clock import DAY_MS, Instant, iso, parse_iso
from devices.model import TWO_STEP, WRITABLE, DeviceId

HOLD_MAX_MS = DAY_MS
TEXT_MAX = 500
UNTIL_MAX = parse_iso("9999-12-31T00:00:00Z")


def give(hub: Hub, command: Command, now: Instant) -> list[Effect]:
    """Permission, sanity, effect, audit entry, reply; a repeated id gets its first answer again."""
    for result in hub.answered:
        if result.id == command.id:
            return [Reply(result)]
    if not is_entry_id(command.id):
        return [Reply(CommandResult(command.id, False, "bad-id", "a command carries a UUIDv7 made by its sender"))]
    if not _recordable(command):
        message = f"a command ends before the year 9999 and its texts have at most {TEXT_MAX} whole characters"
        return [Reply(CommandResult(command.id, False, "bad-command", message))]
    if command.actor.role is not Role.OPERATOR:
        refused = CommandResult(command.id, False, "forbidden", f"{command.actor.name} may look, not command")
        return [*_audit_command(command, refused, now), Reply(refused)]
    if hub.config.advisory and not isinstance(command, AcknowledgeAlarm):
        refused = CommandResult(command.id, False, "advisory", "this hub only advises: it can send nothing to a device")
        if hub.config.safe:
            text = "safe mode after too many starts: telemetry and console only; mend the cause, then restart the hub"
            refused = CommandResult(command.id, False, "safe-mode", text)
        return [*_audit_command(command, refused, now), Reply(refused)]
    match command:
        case MoneyRequest():
            return [Bookkeep(command)]  # the ledger judges it, and is its own log
        case AcknowledgeAlarm():
            result, journal = _acknowledge(hub, command, now)
            _remember(hub, result)
            hub.version += 1
            return [*journal, *_audit_command(command, result, now), Reply(result)]
        case OperateDevice():
            result, told = two_step.operate(hub, command, now)
            _remember(hub, result)
            return [*_audit_command(command, result, now), *told, Reply(result)]
        case _:
            result = _rule(hub, command, now)
    _remember(hub, result)
    hub.next_cycle = now  # the rules act on it at once
    return [*_audit_command(command, result, now), Reply(result)]


def _rule(hub: Hub, command: HoldDevice | ReleaseDevice | DeclareStorm | CancelStorm, now: Instant) -> CommandResult:
    """Does what the rules act on."""
    match command:
        case HoldDevice():
            return _hold(hub, command, now)
        case ReleaseDevice():
            return _release(hub, command)
        case DeclareStorm():
            return _declare(hub, command, now)
        case CancelStorm():
            return _cancel(hub, command)


def _remember(hub: Hub, result: CommandResult) -> None:
    """Keeps what was done, so that a repeat is harmless; what was refused may be asked again."""
    if result.accepted:
        hub.answered.append(result)


def _recordable(command: Command) -> bool:
    """Returns whether the log can hold what the command says: nothing is done that could not be written down."""
    texts = [command.actor.name, command.actor.via]
    match command:
        case OperateDevice():
            texts += [command.device, command.reason, command.step, command.selection]
        case HoldDevice():
            texts += [command.device, command.reason]
            if not 0 <= command.until <= UNTIL_MAX:
                return False
        case ReleaseDevice():
            texts += [command.device, command.reason]
        case DeclareStorm():
            texts += [command.reason]
            if not 0 <= command.start <= UNTIL_MAX or not 0 <= command.end <= UNTIL_MAX:
                return False
        case CancelStorm():
            texts += [command.reason]
        case AcknowledgeAlarm():
            texts += [command.alarm, command.note]
        case MoneyRequest():
            pass  # the desk has its own limits
    return all(len(text) <= TEXT_MAX and text.encode(errors="ignore").decode() == text for text in texts)


def _hold(hub: Hub, command: HoldDevice, now: Instant) -> CommandResult:
    def refuse(code: str, message: str) -> CommandResult:
        return CommandResult(command.id, False, code, message)

    device = hub.config.site.device(command.device)
    if device is None:
        known = ", ".join(spec.id for spec in hub.config.site.devices if spec.kind in WRITABLE)
        return refuse("unknown-device", f"there is no device {command.device!r}; these can be held: {known}")
    if device.kind in TWO_STEP:
        return refuse("two-step", f"{device.id} is not held: it is selected and then operated (atoll operate)")
    if device.kind not in WRITABLE or device.read_only:
        return refuse("not-writable", f"{device.id} ({device.kind}) takes no setpoint")
    band = full_band(device)
    if not band.low <= command.value <= band.high:
        return refuse("out-of-range", f"{command.value:g} is outside {band.low:g} to {band.high:g} for {device.id}")
    if not command.reason.strip():
        return refuse("no-reason", "say why: the next shift and the log need a reason")
    if not now < command.until <= now + HOLD_MAX_MS:
        return refuse("bad-expiry", "a hold ends within 24 hours from now")
    hold = Hold(device.id, command.value, command.until, command.reason.strip(), command.actor.name)
    hub.holds[device.id] = hold
    until = clock_text(hub.config.site.timezone, command.until)
    return CommandResult(command.id, True, "ok", f"{device.id} is held at {command.value:g} until {until}")


def _release(hub: Hub, command: ReleaseDevice) -> CommandResult:
    if hub.holds.pop(DeviceId(command.device), None) is None:
        return CommandResult(command.id, False, "not-held", f"{command.device} is not held")
    return CommandResult(command.id, True, "ok", f"{command.device} is released")


def _declare(hub: Hub, command: DeclareStorm, now: Instant) -> CommandResult:
    wrong = refusal(command.start, command.end, command.reason, now)
    if wrong:
        return CommandResult(command.id, False, "bad-storm", wrong)
    before = hub.emergency.storm
    storm = Storm(command.start, command.end, command.reason.strip(), command.actor.name, now)
    hub.emergency.storm = storm
    instead = "" if before is None else ", in place of the one before"
    return CommandResult(command.id, True, "ok", f"declared: {storm.text(hub.config.site.timezone)}{instead}")


def _cancel(hub: Hub, command: CancelStorm) -> CommandResult:
    storm = hub.emergency.storm
    if storm is None:
        return CommandResult(command.id, False, "no-storm", "no storm is declared")
    hub.emergency.storm = None
    return CommandResult(command.id, True, "ok", f"cancelled: {storm.text(hub.config.site.timezone)}")


def _acknowledge(hub: Hub, command: AcknowledgeAlarm, now: Instant) -> tuple[CommandResult, list[Effect]]:
    change = hub.alarms.acknowledge(command.alarm, command.actor.name, command.note, now)
    if change is None:
        message = f"no alarm {command.alarm!r} waits for an acknowledgement"
        return CommandResult(command.id, False, "unknown-alarm", message), []
    return CommandResult(command.id, True, "ok", f"{command.alarm} is acknowledged"), [journal(change)]


def _audit_command(command: Command, result: CommandResult, now: Instant) -> list[Effect]:
    body: list[tuple[str, str]] = [
        ("by", command.actor.name),
        ("role", command.actor.role),
        ("via", command.actor.via),
        ("at", iso(now)),
        ("result", result.code),
        ("message", result.message),
    ]
    match command:
        case HoldDevice():
            kind = "hold"
            body += [
                ("device", command.device),
                ("value", f"{command.value:.15g}"),  # a restarted hub reads it back
                ("until", iso(command.until)),
                ("reason", command.reason),
            ]
        case OperateDevice():
            kind = command.step if command.step in ("select", "operate") else "operate"
            body += [
                ("device", command.device),
                ("value", f"{command.value:g}"),
                ("reason", command.reason),
                ("selection", command.selection or command.id),
            ]
        case ReleaseDevice():
            kind = "release"
            body += [("device", command.device), ("reason", command.reason)]
        case AcknowledgeAlarm():
            kind = "acknowledge"
            body += [("alarm", command.alarm), ("note", command.note)]
        case DeclareStorm():
            kind = "storm"  # a restarted hub reads it back
            body += [("from", iso(command.start)), ("until", iso(command.end)), ("reason", command.reason)]
        case CancelStorm():
            kind = "storm-cancel"
            body += [("reason", command.reason)]
        case MoneyRequest():
            kind = "money"
            body += [("do", str(command.request.get("do"))[:TEXT_MAX])]
    name = command.id if result.accepted else derived_id(now, "refused", command.id)
    return [Audit(kind, name, tuple(body))]


def journal(change: AlarmChange) -> Audit:
    """Returns the log's entry of an alarm's transition."""
    body = (
        ("alarm", change.id),
        ("from", change.before),
        ("to", change.after),
        ("text", change.text),
        ("by", change.by),
    )
    return Audit("alarm", derived_id(change.at, "alarm", change.id, change.after), body)
