"""What a plan's step means to people, asset by asset: a battery follows a meter, a vehicle charges or is away. Pure."""

from __future__ import annotations

from optimizer.plan import AssetKind, Mode, Plan, Role, StorageStep
from optimizer.problem import AssetId

AWAY = "away"
ON, OFF = "on", "off"
BATTERY_WORDS = {
    Mode.FOLLOW: "follow the meter",
    Mode.HOLD: "hold",
    Mode.CHARGE: "charge",
    Mode.DISCHARGE: "discharge",
}
VEHICLE_WORDS = {
    Mode.FOLLOW: "charge from surplus",
    Mode.HOLD: "no charging",
    Mode.CHARGE: "charge",
    Mode.DISCHARGE: "give to the village",
}
OFF_WORDS = {
    AssetKind.BATTERY: "rest",
    AssetKind.VEHICLE: "no charging",
    AssetKind.GENSET: "stand still",
    AssetKind.PUMP: "rest",
    AssetKind.THERMAL: "rest",
    AssetKind.JOB: "not running",
}


def role(plan: Plan, asset: AssetId) -> Role:
    """Returns what an asset of a plan is; one that nobody has named does something when it is on."""
    unnamed = AssetKind.BATTERY if asset in plan.storages else AssetKind.JOB
    return plan.roles.get(asset, Role(unnamed, "run"))


def shown(role: Role, step: StorageStep) -> tuple[str, str]:
    """Returns (a storage step's mode as people see it, its words).

    A vehicle that follows the surplus without any in sight is not charged (`controller.vehicle_charging`): that is
    shown as HOLD. One that is out is `AWAY`, and the words say what for.
    """
    if step.away:
        return AWAY, step.reason.constraint
    if role.kind is AssetKind.BATTERY:
        return step.mode, BATTERY_WORDS[step.mode]
    mode = step.mode
    if mode is Mode.FOLLOW and step.expected_w <= 0:
        mode = Mode.DISCHARGE if step.expected_w < 0 else Mode.HOLD
    return mode, VEHICLE_WORDS[mode]


def steps_shown(plan: Plan, asset: AssetId) -> list[tuple[str, str]]:
    """Returns (mode, words) of every slot of an asset; of a unit the mode is `ON` or `OFF`."""
    one = role(plan, asset)
    if asset in plan.storages:
        return [shown(one, step) for step in plan.storages[asset]]
    return [(ON, _doing(one.does, step.speed)) if step.on else (OFF, OFF_WORDS[one.kind]) for step in plan.units[asset]]


def _doing(does: str, speed: float) -> str:
    return does if speed == 1.0 else f"{does} at {speed:.0%} speed"
