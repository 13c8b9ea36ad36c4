"""What a person at the gateway may ask of it: state, lock-out tags, interlock resets, two-step operation. Pure.

None of this comes over the network: it enters by `gateway.sock` (devices/shell/gateway.py) and works without hub and
broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from devices.clock import iso
from devices.gateway import Gateway, drive_output, publish_state, stop_vehicles, store_guard
from devices.gateway_events import Effect, Log, Tag
from devices.leases import OPERATE_MS, SELECT_MS, Output
from devices.model import DeviceId, Setpoint

TEXT_MAX = 200
Answer = Mapping[str, object]


def ask(gateway: Gateway, request: Mapping[str, object]) -> tuple[Answer, list[Effect]]:
    """Returns the answer to one request and what must happen; anything malformed is an answer with `error`."""
    what = request.get("ask")
    if what == "status":
        return status(gateway), []
    if what == "reset":
        return _reset(gateway, request)
    if what not in ("lockout", "unlock", "select", "operate"):
        return {"error": f"no such request: {what!r}"[:TEXT_MAX]}, []
    device = DeviceId(str(request.get("device", "")))
    output = gateway.leases.outputs.get(device)
    if output is None:
        known = ", ".join(gateway.leases.outputs) or "none"
        return _refused("unknown-device", f"{device!r} is no output of this gateway: there are {known}"), []
    if what == "lockout":
        return _lock(gateway, output, request)
    if what == "unlock":
        return _unlock(gateway, output, request)
    return _two_step(gateway, output, what, request)


def status(gateway: Gateway) -> Answer:
    """Returns outputs with their leases, tags and interlocks, and the state of every device."""
    outputs = [
        {
            "device": output.device,
            "point": output.point,
            "value": gateway.units[output.device].value(output.point),
            "wish": output.wish,
            "remaining_ms": output.remaining_ms(gateway.elapsed),
            "fallback": output.fallback,
            "reason": output.reason,
            "locked_out": output.tag,
            "interlocks": list(gateway.guards[output.device].active),
            "hazardous": output.hazardous,
            "two_step": output.two_step,
        }
        for output in gateway.leases.outputs.values()
    ]
    devices = [
        {"id": unit.spec.id, "answers": unit.good_at >= 0 and not unit.failures, "problem": unit.problem}
        for unit in gateway.units.values()
    ]
    return {
        "gateway": gateway.config.id,
        "at": iso(gateway.now),
        "elapsed_ms": gateway.elapsed,
        "link_up": gateway.link_up,
        "hub_epoch": gateway.leases.epoch,
        "unsent_records": len(gateway.outbox),
        "untold_readings": len(gateway.backfill),
        "outputs": outputs,
        "devices": devices,
        "tags": [{**asdict(tag), "at": iso(tag.at)} for tag in gateway.tags.values()],
        "latched": sorted(gateway.latched),
        "vehicles": [
            {"device": one.device, "stopped_by": list(one.active), "paused": one.paused}
            for one in gateway.stops.vehicles
        ],
        "interlocks": [{"id": d.id, "rule": d.rule, "version": d.version} for d in gateway.config.interlocks],
        "counters": dict(gateway.counters),
    }


def _refused(code: str, message: str) -> Answer:
    return {"accepted": False, "code": code, "message": message}


def _taken(message: str, **more: object) -> Answer:
    return {"accepted": True, "code": "ok", "message": message, **more}


def _words(request: Mapping[str, object]) -> tuple[str, str]:
    return str(request.get("user", "somebody"))[:TEXT_MAX], str(request.get("reason", "")).strip()[:TEXT_MAX]


def _lock(gateway: Gateway, output: Output, request: Mapping[str, object]) -> tuple[Answer, list[Effect]]:
    holder, reason = _words(request)
    if not reason:
        return _refused("no-reason", "say why: whoever comes next must know"), []
    if output.tag:
        return _refused("locked-out", f"{output.device} has the tag of {output.tag}: it stays theirs"), []
    if output.two_step and gateway.value(output.device, output.point) != 0.0:
        said = f"{output.device} is closed, or its state is not known: open it first (atoll operate {output.device} 0)"
        return _refused("not-open", said), []
    gateway.put_tag(Tag(output.device, holder, reason, gateway.now))
    return _changed(gateway, output, "locked-out", f"{output.device} is locked out by {holder}: {reason}")


def _unlock(gateway: Gateway, output: Output, request: Mapping[str, object]) -> tuple[Answer, list[Effect]]:
    """Takes a tag off; only its holder may, or who says in so many words that the holder is gone (`force`)."""
    user, reason = _words(request)
    tag = gateway.tags.get(output.device)
    if tag is None:
        return _refused("not-locked", f"{output.device} has no tag"), []
    if tag.holder != user and request.get("force") is not True:
        return _refused("forbidden", f"the tag is {tag.holder}'s ({tag.reason}): only {tag.holder} takes it off"), []
    gateway.take_tag(output.device)
    by = user if tag.holder == user else f"{user} for {tag.holder}"
    return _changed(gateway, output, "unlocked", f"{output.device} is given back by {by}: {reason or 'work is done'}")


def _changed(gateway: Gateway, output: Output, code: str, text: str) -> tuple[Answer, list[Effect]]:
    effects: list[Effect] = [Log(code, text)]
    publish_state(gateway, output.device, effects)
    drive_output(gateway, output.device, effects)
    store_guard(gateway, effects)
    return _taken(text), effects


def _reset(gateway: Gateway, request: Mapping[str, object]) -> tuple[Answer, list[Effect]]:
    name = str(request.get("interlock", ""))
    user, reason = _words(request)
    if not reason:
        return _refused("no-reason", "say what was found and mended"), []
    reset = [watch.declared.device for watch in gateway.watches if watch.declared.id == name and watch.reset()]
    if not reset:
        return _refused("not-latched", f"no interlock {name!r} waits for a reset: {sorted(gateway.latched)} do"), []
    effects: list[Effect] = [Log("interlock-reset", f"{name} is reset by {user}: {reason}")]
    for device in reset:
        if device in gateway.guards:
            drive_output(gateway, device, effects)
    stop_vehicles(gateway, effects)
    store_guard(gateway, effects)
    return _taken(f"{name} is reset; it acts again as soon as its reading is outside"), effects


def _two_step(
    gateway: Gateway, output: Output, step: str, request: Mapping[str, object]
) -> tuple[Answer, list[Effect]]:
    value, name = request.get("value"), str(request.get("id", ""))[:64]
    if not isinstance(value, int | float) or value not in (0, 1):
        return _refused("out-of-range", f"{output.device} takes 0 (open) or 1 (close), not {value!r}"), []
    user, reason = _words(request)
    leases = gateway.leases
    setpoint = Setpoint(
        output.device, output.point, float(value), leases.epoch, 0, OPERATE_MS, 0.0, reason, step, f"{user}:{name}"
    )
    refusal = leases.accept(setpoint, gateway.elapsed, gateway.config.deadline_floor_ms, local=True)
    if refusal:
        code, _, text = refusal.partition(": ")
        return _refused(code, text), []
    effects: list[Effect] = [Log(step, f"{output.device}/{output.point} = {value:g} by {user}: {reason}")]
    if step == "select":
        seen = gateway.units[output.device].value(output.point)
        now_is = {0.0: "open", 1.0: "closed"}.get(-1.0 if seen is None else seen, "in an unknown state")
        message = f"{output.device} is {now_is}. Operate it within {SELECT_MS // 1000} s."
        return _taken(message, now=seen, valid_ms=SELECT_MS), effects
    drive_output(gateway, output.device, effects)
    return _taken(f"{output.device} is told {value:g}; its reading shows whether it followed"), effects
