"""The units on the bus: each device of the site with its image and its controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from devices.model import DeviceKind, DeviceSpec
from devices.sunspec_points import SUNSPEC_CHAINS
from firmware_sim.images import (
    Device,
    Extras,
    ProfileControl,
    Segment,
    SunspecControl,
    Texts,
    profile_segments,
    sunspec_segment,
)
from firmware_sim.machines import NEVER, PPM, Battery
from firmware_sim.plain import PlainDevice
from firmware_sim.points import getters, volts
from firmware_sim.village import Plant, Village, by_id

Decoded = Mapping[str, float | str | None]
Taker = Callable[[Decoded, frozenset[str]], None]
W_MAX_PCT = 0
"""WSetMod: the setpoint is a percentage; 1 = watts."""


def make_device(village: Village, spec: DeviceSpec) -> Device:
    """Returns one unit of the bus.

    Raises:
        LookupError: the driver or kind has no simulated counterpart.
    """
    points = getters(village, spec)
    if spec.driver == "sunspec":
        if spec.kind not in SUNSPEC_CHAINS:
            raise LookupError(f"device {spec.id}: no SunSpec models for a {spec.kind}")
        segment = sunspec_segment(spec, points, _extras(village, spec), _fixed(village, spec))
        takers = {}
        if spec.kind is DeviceKind.BATTERY and village.battery is not None:
            takers = {704: _battery_taker(village, village.battery)}
        elif spec.kind is DeviceKind.PV:
            takers = {123: _plant_taker(village, _plant(village, spec))}
        return Device(spec, [segment], SunspecControl(segment, SUNSPEC_CHAINS[spec.kind], takers))
    segments = profile_segments(spec, points)
    return Device(spec, segments, _profile_control(village, spec, segments))


def _plant(village: Village, spec: DeviceSpec) -> Plant:
    return by_id(village.plants, spec.id)


def _fixed(village: Village, spec: DeviceSpec) -> Texts:
    common = {"Mn": "Atoll", "Md": f"simulated {spec.kind}", "Vr": "1", "SN": spec.id, "DA": spec.unit}
    fixed: dict[int, Mapping[str, float | str | None]] = {1: common}
    if spec.kind in (DeviceKind.METER, DeviceKind.GRID):
        fixed[203] = {"Evt": 0}
    elif spec.kind is DeviceKind.PV:
        fixed[103] = {"St": 4, "Evt1": 0, "Hz": 50.0, "PhVphA": 230.0}
        fixed[123] = {"Conn": 1}
    elif spec.kind is DeviceKind.BATTERY and village.battery is not None:
        fixed[701] = {"ACType": 3, "St": 1, "InvSt": 3, "ConnSt": 1, "Alrm": 0, "Hz": 50.0}
        fixed[704] = {"WSetMod": 1, "WSetPct": 0, "WSetPctRvrt": 0}
        fixed[713] = {"WHRtg": spec.ratings.get("energy_wh", 0.0), "SoH": 100.0, "Sta": 1}
    return fixed


def _extras(village: Village, spec: DeviceSpec) -> Extras:
    if spec.kind is DeviceKind.PV:
        plant = _plant(village, spec)
        timer = {"WMaxLimPct_RvrtTms": lambda: plant.reversion_s, "WMaxLim_Ena": lambda: int(plant.enabled)}
        return {123: timer}
    battery = village.battery
    if spec.kind is not DeviceKind.BATTERY or battery is None:
        return {203: {"Hz": lambda: 50.0}} if spec.kind is DeviceKind.METER else {}
    controls = {
        "WSetEna": lambda: int(battery.set_w is not None),
        "WSetRvrt": lambda: -(battery.reversion_w or 0),
        "WSetEnaRvrt": lambda: int(battery.reversion_w is not None),
        "WSetRvrtTms": lambda: battery.reversion_s,
        "WSetRvrtRem": lambda: _remaining_s(village, battery),
    }
    return {
        701: {"LNV": lambda: volts(village)},
        704: controls,
        713: {"WHAvail": lambda: max(0.0, battery.cells.soc * spec.ratings.get("energy_wh", 0.0))},
    }


def _remaining_s(village: Village, battery: Battery) -> int:
    return 0 if battery.lease_until == NEVER else max(0, -(-(battery.lease_until - village.at) // 1000))


def _number(decoded: Decoded, name: str) -> float | None:
    value = decoded.get(name)
    return value if isinstance(value, (int, float)) else None


def _battery_taker(village: Village, battery: Battery) -> Taker:
    def watts(decoded: Decoded, suffix: str) -> int | None:
        """Returns the set or reversion power by our sign rule; None = no number."""
        if _number(decoded, "WSetMod") == W_MAX_PCT:
            percent = _number(decoded, f"WSetPct{suffix}")
            if percent is None:
                return None
            return -round(percent / 100 * (battery.discharge_w if percent > 0 else battery.charge_w))
        value = _number(decoded, f"WSet{suffix}")
        return None if value is None else -round(value)

    def take(decoded: Decoded, touched: frozenset[str]) -> None:
        if not any(name.startswith("WSet") for name in touched):
            return
        enabled = _number(decoded, "WSetEna") == 1
        reverts = _number(decoded, "WSetEnaRvrt") == 1
        seconds = round(_number(decoded, "WSetRvrtTms") or 0)
        reversion = watts(decoded, "Rvrt") if reverts else None
        battery.lease(watts(decoded, "") if enabled else None, village.at, seconds, reversion)
        village.touch()

    return take


def _plant_taker(village: Village, plant: Plant) -> Taker:
    def take(decoded: Decoded, touched: frozenset[str]) -> None:
        if not any(name.startswith("WMaxLim") for name in touched):
            return
        percent = _number(decoded, "WMaxLimPct")
        plant.enabled = _number(decoded, "WMaxLim_Ena") == 1 and percent is not None
        plant.limit_ppm = PPM if percent is None else min(max(round(percent * PPM / 100), 0), PPM)
        plant.reversion_s = round(_number(decoded, "WMaxLimPct_RvrtTms") or 0)
        plant.lease_until = village.at + plant.reversion_s * 1000 if plant.enabled and plant.reversion_s else NEVER
        village.touch()

    return take


def make_plain(village: Village, spec: DeviceSpec) -> PlainDevice:
    """Returns a device that speaks plain MQTT.

    Raises:
        LookupError: the kind has no simulated counterpart.
        BadProfile: there is no such profile.
    """
    points = {"V": lambda: volts(village), **getters(village, spec)}
    return PlainDevice(spec, points, taker(village, spec))


def taker(village: Village, spec: DeviceSpec) -> Callable[[float], None]:
    """Returns what a written value does to the physics behind a device."""

    def take(value: float) -> None:
        now = village.at
        if spec.kind is DeviceKind.GENSET:
            by_id(village.gensets, spec.id).target_w = max(0, -round(value))
        elif spec.kind is DeviceKind.PUMP:
            by_id(village.plumbing.pumps, spec.id).switch(value, now)
        elif spec.kind is DeviceKind.CHARGER and village.charger is not None:
            village.charger.set(max(0, round(value)), now)
        elif spec.kind is DeviceKind.RELAY:
            by_id(village.switched, spec.id).switch(value != 0, now)
        elif spec.kind is DeviceKind.THERMAL:
            by_id(village.stores, spec.id).set(max(0, round(value)), now)
        elif spec.kind is DeviceKind.BATTERY and village.battery is not None:
            village.battery.lease(round(value), now, 0, 0)
        elif spec.kind is DeviceKind.PV:
            plant = _plant(village, spec)
            plant.enabled, plant.limit_ppm = value < 1, min(max(round(value * PPM), 0), PPM)
        village.touch()

    return take


def _profile_control(village: Village, spec: DeviceSpec, segments: list[Segment]) -> ProfileControl:
    def key(start: bool) -> None:
        by_id(village.gensets, spec.id).command(start, village.at)
        village.touch()

    def drive(on: bool) -> None:
        """A drive's control word: the speed has been written before it."""
        pump = by_id(village.plumbing.pumps, spec.id)
        pump.switch(pump.speed_ppm / PPM if on else 0.0, village.at)
        village.touch()

    keys = {DeviceKind.GENSET: key, DeviceKind.PUMP: drive}
    return ProfileControl(spec, taker(village, spec), keys.get(spec.kind), segments)
