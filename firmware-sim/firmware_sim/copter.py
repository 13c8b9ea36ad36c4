"""A simulated quadcopter that speaks MAVLink like ArduCopter or PX4: parameters, mission and fence, arming, flight.

`receive` and `advance` give the frames to send; `shell.copter_live` puts them on a UDP socket. What it does by itself,
without a ground station, is what a real autopilot does: fence, lost-link and battery fail-safes by its own parameters.

Source: https://mavlink.io/en/services/; ArduCopter and PX4 documentation of each parameter in `copter_params`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from devices.clock import Instant
from devices.mavlink_codec import Frame, Value
from devices.mavlink_params import fields_of, value_of
from devices.mavlink_values import (
    MODE_FLAG_ARMED,
    MODE_FLAG_CUSTOM,
    Autopilot,
    Command,
    Item,
    MissionType,
    Mode,
    Result,
    mode_number,
    mode_of,
)
from devices.polygons import inside
from firmware_sim.copter_body import CopterBody
from firmware_sim.copter_params import DEFAULTS
from firmware_sim.copter_transfer import Shelf

STEP_MS = 50
TAKEOFF_M = 10.0
RTL_M = 15.0
IDS = {Autopilot.ARDUPILOT: 3, Autopilot.PX4: 12}
# MISSION_FLOAT, PARAM_FLOAT/BYTEWISE, MISSION_INT, COMMAND_INT, MISSION_FENCE, MAVLINK2.
CAPABILITIES = {Autopilot.ARDUPILOT: 1 | 2 | 4 | 8 | 8192 | 16384, Autopilot.PX4: 1 | 4 | 8 | 16 | 8192 | 16384}
SEVERITY_ALERT, SEVERITY_INFO = 1, 6
NAVIGATES = range(16, 94)
FORCE = 21196.0
MISSION_COMPLETE = 5
BOOTED_SINCE_MS = 60_000
TELEMETRY_MS = {
    "HEARTBEAT": 1000,
    "SYS_STATUS": 1000,
    "BATTERY_STATUS": 1000,
    "GLOBAL_POSITION_INT": 250,
    "GPS_RAW_INT": 1000,
    "EXTENDED_SYS_STATE": 500,
    "HOME_POSITION": 2000,
    "MISSION_CURRENT": 500,
    "OPEN_DRONE_ID_ARM_STATUS": 1000,
}


@dataclass(slots=True)
class Copter:
    """One aircraft: its autopilot's state and its body."""

    autopilot: Autopilot
    body: CopterBody
    now: Instant
    system: int = 1
    params: dict[str, float] = field(default_factory=dict[str, float])
    shelf: Shelf = field(default_factory=Shelf)
    armed: bool = False
    mode: Mode = Mode.HOLD
    current: int = 0
    gripped: bool = True
    remote_id: dict[str, Frame] = field(default_factory=dict[str, Frame])
    ground_at: Instant | None = None
    complete: bool = False
    failsafe: str = ""
    deaf_params: bool = False
    booted: int = 0
    _hold_until: Instant | None = None
    _wanted_z: float = TAKEOFF_M
    _told: dict[str, int] = field(default_factory=dict[str, int])
    _out: list[Frame] = field(default_factory=list[Frame])

    def __post_init__(self) -> None:
        """Fills in the parameters that were not given."""
        self.params = {**DEFAULTS[self.autopilot], **self.params}
        self.booted = self.now - BOOTED_SINCE_MS

    def reboot(self) -> None:
        """Starts anew: disarmed, its lists kept (autopilots store them), everything else forgotten."""
        self.armed, self.mode, self.failsafe, self.current = False, Mode.HOLD, "", 0
        self.remote_id, self.ground_at, self._told, self._hold_until = {}, None, {}, None
        self.shelf, self.booted = Shelf(self.shelf.lists), self.now

    # -- wire --------------------------------------------------------------------------------------------------------

    def receive(self, frame: Frame, now: Instant) -> list[Frame]:
        """Returns the answers to a frame; those for another system are not ours."""
        if frame.whole("target_system") not in (0, self.system):
            return []
        match frame.name:
            case "HEARTBEAT":
                if frame.system == self.params.get("SYSID_MYGCS", frame.system):
                    self.ground_at = now
            case "COMMAND_LONG" | "COMMAND_INT":
                self._command(frame, now)
            case "SET_MODE":
                self._set_mode(mode_of(self.autopilot, frame.whole("custom_mode")))
            case "PARAM_REQUEST_READ" | "PARAM_REQUEST_LIST" | "PARAM_SET":
                self._param(frame)
            case "OPEN_DRONE_ID_BASIC_ID" | "OPEN_DRONE_ID_SYSTEM" | "OPEN_DRONE_ID_OPERATOR_ID":
                self.remote_id[frame.name] = frame
            case "MISSION_SET_CURRENT":
                self.current = frame.whole("seq")
                self._say("MISSION_CURRENT")
            case _:
                self._out += self.shelf.receive(frame, now)
                if int(MissionType.MISSION) in self.shelf.changed:
                    self._new_mission()
                self.shelf.changed.clear()
        return self._take()

    def advance(self, now: Instant) -> list[Frame]:
        """Flies up to `now`, in steps; returns telemetry and what else there is to say."""
        while self.now < now:
            step = min(STEP_MS, now - self.now)
            self.now = Instant(self.now + step)
            self._fly(step / 1000)
            self.body.drain(step / 1000)
            self._watch()
        self._out += self.shelf.due(now)
        for name, every in TELEMETRY_MS.items():
            if now - self._told.get(name, -every) >= every:
                self._told[name] = now
                self._say(name)
        return self._take()

    def _take(self) -> list[Frame]:
        out, self._out = self._out, []
        return out

    def _text(self, severity: int, text: str) -> None:
        self._out.append(Frame("STATUSTEXT", {"severity": severity, "text": text[:50]}))

    # -- flight ------------------------------------------------------------------------------------------------------

    def _fly(self, seconds: float) -> None:
        body = self.body
        if not self.armed:
            body.rest(motors=False)
        elif self.mode is Mode.AUTO:
            self._mission(seconds)
        elif self.mode is Mode.TAKEOFF:
            if body.towards(body.x, body.y, self._wanted_z, seconds):
                self.mode = Mode.HOLD
        elif self.mode is Mode.RTL:
            home = math.hypot(body.x, body.y) < 0.6
            height = max(body.z, RTL_M) if not home else 0.0
            if body.z < RTL_M - 0.6 and not home:
                body.towards(body.x, body.y, RTL_M, seconds)
            elif body.towards(0.0, 0.0, height, seconds) and home:
                self._landed()
        elif self.mode is Mode.LAND:
            if body.towards(body.x, body.y, 0.0, seconds) and body.on_ground:
                self._landed()
        else:
            body.rest(motors=True)

    def _mission(self, seconds: float) -> None:
        items = self.shelf.lists[int(MissionType.MISSION)]
        if self.current >= len(items):
            self.mode = Mode.HOLD
            return
        item = items[self.current]
        if not self._item_over(item, seconds):
            return
        self._hold_until = None
        self._out.append(Frame("MISSION_ITEM_REACHED", {"seq": self.current}))
        if self.mode is not Mode.AUTO or not self.armed:
            return
        self.current += 1
        if self.current < len(items):
            self._say("MISSION_CURRENT")
        else:
            self.current, self.complete = len(items) - 1, True
            self.mode = Mode.HOLD
            self._say("MISSION_CURRENT")

    def _item_over(self, item: Item, seconds: float) -> bool:
        body = self.body
        x, y = body.local(item.x / 1e7, item.y / 1e7) if item.x or item.y else (body.x, body.y)
        match item.command:
            case Command.NAV_TAKEOFF:
                return body.towards(body.x, body.y, item.z, seconds)
            case Command.NAV_WAYPOINT if self.autopilot is Autopilot.ARDUPILOT and self.current == 0:
                return True  # its home
            case Command.NAV_WAYPOINT | Command.NAV_LOITER_TIME:
                return body.towards(x, y, item.z or body.z, seconds) and self._held(item.p1)
            case 93:  # NAV_DELAY
                body.rest(motors=True)
                return self._held(item.p1)
            case Command.NAV_LAND:
                above = math.hypot(x - body.x, y - body.y) < 0.6
                if body.towards(x, y, 0.0 if above else max(body.z, 2.0), seconds) and above and body.on_ground:
                    self._landed()
                    return True
                return False
            case Command.NAV_RETURN_TO_LAUNCH:
                self.mode = Mode.RTL
                return True
            case Command.DO_GRIPPER:
                self.gripped = item.p2 != 0
                return True
            case _:
                return True

    def _held(self, seconds: float) -> bool:
        if self._hold_until is None:
            self._hold_until = Instant(self.now + round(1000 * seconds))
        self.body.rest(motors=True)
        return self.now >= self._hold_until

    def _landed(self) -> None:
        self.armed = False
        self.body.z = 0.0
        self.mode = Mode.HOLD
        self._text(SEVERITY_INFO, "Landed, disarmed")
        self._say("EXTENDED_SYS_STATE")
        self._say("HEARTBEAT")

    # -- fail-safes --------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if not self.armed or self.mode in (Mode.RTL, Mode.LAND):
            return
        ardupilot, params = self.autopilot is Autopilot.ARDUPILOT, self.params
        link_on = params["FS_GCS_ENABLE"] if ardupilot else params["NAV_DLL_ACT"]
        if ardupilot and self.mode is Mode.AUTO and int(params["FS_OPTIONS"]) & 2:
            link_on = 0
        lost_s = 5.0 if ardupilot else params["COM_DL_LOSS_T"]
        quiet = self.now - (self.ground_at if self.ground_at is not None else self.now)
        if link_on and quiet > 1000 * lost_s:
            self._escape("GCS failsafe")
        elif self.body.charge < 0.15 and (params["BATT_FS_LOW_ACT"] if ardupilot else params["COM_LOW_BAT_ACT"] >= 2):
            self._escape("Battery failsafe")
        elif (params["FENCE_ENABLE"] and params["FENCE_ACTION"] if ardupilot else params["GF_ACTION"] >= 2) and (
            self._outside()
        ):
            self._escape("Fence breach")

    def _outside(self) -> bool:
        here, items, index = self.body.degrees(), self.shelf.lists[int(MissionType.FENCE)], 0
        top = self.params.get("FENCE_ALT_MAX" if self.autopilot is Autopilot.ARDUPILOT else "GF_MAX_VER_DIST", 0.0)
        if top > 0 and self.body.z > top:
            return True
        while index < len(items):
            count = max(1, int(items[index].p1))
            corners = [(item.x / 1e7, item.y / 1e7) for item in items[index : index + count]]
            wanted = items[index].command == Command.FENCE_POLYGON_INCLUSION
            if count >= 3 and inside(corners, here) is not wanted:
                return True
            index += count
        return False

    def _escape(self, why: str) -> None:
        self.failsafe, self.mode = why, Mode.RTL
        self._text(SEVERITY_ALERT, why)

    # -- commands ----------------------------------------------------------------------------------------------------

    def _command(self, frame: Frame, now: Instant) -> None:
        number = frame.whole("command")
        result = self._obey(number, frame, now)
        fields: dict[str, Value] = {"command": number, "result": int(result), "target_system": frame.system}
        self._out.insert(0, Frame("COMMAND_ACK", {**fields, "target_component": frame.component}))

    def _obey(self, number: int, frame: Frame, now: Instant) -> Result:
        first, second = frame.number("param1"), frame.number("param2")
        match number:
            case Command.COMPONENT_ARM_DISARM:
                return self._arm(force=second == FORCE) if first else self._disarm(force=second == FORCE)
            case Command.NAV_TAKEOFF:
                raw = frame.fields.get("param7", frame.fields.get("z", math.nan))
                height = float(raw) if isinstance(raw, (int, float)) and math.isfinite(raw) else TAKEOFF_M
                self._wanted_z = height - self.body.home_alt if height > self.body.home_alt else height
                self.mode = Mode.TAKEOFF
                return Result.ACCEPTED if self.armed else Result.DENIED
            case Command.NAV_LAND:
                return self._set_mode(Mode.LAND)
            case Command.NAV_RETURN_TO_LAUNCH:
                return self._set_mode(Mode.RTL)
            case Command.DO_SET_MODE:
                custom = int(second)
                if self.autopilot is Autopilot.PX4:
                    custom = custom << 16 | int(frame.number("param3")) << 24
                return self._set_mode(mode_of(self.autopilot, custom))
            case Command.MISSION_START:
                return self._set_mode(Mode.AUTO) if self.armed else Result.DENIED
            case Command.DO_GRIPPER:
                self.gripped = second != 0
                return Result.ACCEPTED
            case Command.REQUEST_MESSAGE:
                return Result.ACCEPTED if self._say_number(int(first)) else Result.UNSUPPORTED
            case Command.REQUEST_AUTOPILOT_CAPABILITIES:
                self._say("AUTOPILOT_VERSION")
                return Result.ACCEPTED
            case Command.SET_MESSAGE_INTERVAL | Command.DO_CHANGE_SPEED:
                return Result.ACCEPTED
            case _:
                return Result.UNSUPPORTED

    def _set_mode(self, mode: Mode) -> Result:
        if mode is Mode.OTHER:
            return Result.DENIED
        if mode is Mode.AUTO:
            if not self.shelf.lists[int(MissionType.MISSION)]:
                return Result.DENIED
            self._hold_until, self.complete = None, False
        if mode is Mode.HOLD or self.armed or mode in (Mode.GUIDED, Mode.AUTO):
            self.mode = mode
        self._say("HEARTBEAT")
        return Result.ACCEPTED

    def _arm(self, *, force: bool) -> Result:
        why = "" if force else self._unready()
        if why:
            self._text(SEVERITY_ALERT, f"PreArm: {why}")
            return Result.DENIED
        self.armed, self.failsafe = True, ""
        self.current = 0 if self.mode is not Mode.AUTO else self.current
        self._say("HEARTBEAT")
        return Result.ACCEPTED

    def _unready(self) -> str:
        if self.body.charge < 0.2:
            return "Battery 1 low"
        if self.autopilot is Autopilot.ARDUPILOT and self.mode not in (Mode.GUIDED, Mode.HOLD):
            return "Mode not armable"
        return self._remote_id_missing()

    def _remote_id_missing(self) -> str:
        if not self.params.get("DID_ENABLE"):
            return ""
        wanted = ("OPEN_DRONE_ID_BASIC_ID", "OPEN_DRONE_ID_SYSTEM", "OPEN_DRONE_ID_OPERATOR_ID")
        missing = [name.removeprefix("OPEN_DRONE_ID_") for name in wanted if name not in self.remote_id]
        return f"missing {missing[0]}" if missing else ""

    def _disarm(self, *, force: bool) -> Result:
        if not self.body.on_ground and not force:
            return Result.DENIED
        self.armed = False
        self._say("HEARTBEAT")
        return Result.ACCEPTED

    def _new_mission(self) -> None:
        """ArduPilot keeps its home in item 0, whatever was sent there."""
        self.current = 0
        items = self.shelf.lists[int(MissionType.MISSION)]
        if self.autopilot is Autopilot.ARDUPILOT and items:
            lat, lon = self.body.home_lat, self.body.home_lon
            home = Item(Command.NAV_WAYPOINT, round(lat * 1e7), round(lon * 1e7), self.body.home_alt, frame=0)
            self.shelf.lists[int(MissionType.MISSION)] = (home, *items[1:])

    # -- parameters --------------------------------------------------------------------------------------------------

    def _param(self, frame: Frame) -> None:
        if self.deaf_params:
            return
        names = sorted(self.params)
        if frame.name == "PARAM_REQUEST_LIST":
            wanted = names
        elif frame.name == "PARAM_SET":
            name, value = frame.text("param_id"), value_of(self.autopilot, frame)
            if name not in self.params or value is None:
                return
            self.params[name], wanted = value, [name]
        else:
            index = frame.whole("param_index")
            wanted = [frame.text("param_id")] if index < 0 else names[index : index + 1]
        for name in wanted:
            if name in self.params:
                place: dict[str, Value] = {"param_count": len(names), "param_index": names.index(name)}
                value = fields_of(self.autopilot, name, self.params[name])
                self._out.append(Frame("PARAM_VALUE", {**value, **place}))

    # -- telemetry ---------------------------------------------------------------------------------------------------

    def _say_number(self, number: int) -> bool:
        name = {148: "AUTOPILOT_VERSION", 242: "HOME_POSITION", 1: "SYS_STATUS", 147: "BATTERY_STATUS"}.get(number, "")
        if name:
            self._say(name)
        return bool(name)

    def _say(self, name: str) -> None:
        if name == "OPEN_DRONE_ID_ARM_STATUS" and not self.params.get("DID_ENABLE"):
            return
        self._out.append(Frame(name, self._fields(name)))

    def _fields(self, name: str) -> dict[str, Value]:
        match name:
            case "HEARTBEAT":
                flags = MODE_FLAG_CUSTOM | (MODE_FLAG_ARMED if self.armed else 0) | 0x1C
                custom = mode_number(self.autopilot, self.mode)
                head: dict[str, Value] = {"type": 2, "autopilot": IDS[self.autopilot], "mavlink_version": 3}
                status = 5 if self.failsafe and self.armed else 4 if self.armed else 3
                return {**head, "base_mode": flags, "custom_mode": custom, "system_status": status}
            case "MISSION_CURRENT":
                total = len(self.shelf.lists[int(MissionType.MISSION)])
                state = MISSION_COMPLETE if self.complete else 3 if self.mode is Mode.AUTO else 2
                return {"seq": self.current, "total": max(0, total - 1), "mission_state": state}
            case "EXTENDED_SYS_STATE":
                return {"vtol_state": 0, "landed_state": 1 if self.body.on_ground else 2}
            case "AUTOPILOT_VERSION":
                return {"capabilities": CAPABILITIES[self.autopilot], "flight_sw_version": 0x04060000, "uid": 77}
            case "OPEN_DRONE_ID_ARM_STATUS":
                why = self._remote_id_missing()
                return {"status": int(bool(why)), "error": why}
            case _:
                return self._measured(name)

    def _measured(self, name: str) -> dict[str, Value]:
        body = self.body
        lat, lon = body.degrees()
        place: dict[str, Value] = {"lat": round(lat * 1e7), "lon": round(lon * 1e7)}
        place |= {"alt": round(1000 * (body.home_alt + body.z))}
        remaining, volts = round(100 * body.charge), round(1000 * body.volts)
        milliamps = round(body.used_w / body.volts * 100)
        boot = max(0, self.now - self.booted)
        match name:
            case "GLOBAL_POSITION_INT":
                speeds: dict[str, Value] = {"vx": round(100 * body.vy), "vy": round(100 * body.vx)}
                speeds |= {"vz": round(-100 * body.vz), "hdg": round(100 * body.heading)}
                return {**place, **speeds, "relative_alt": round(1000 * body.z), "time_boot_ms": boot}
            case "GPS_RAW_INT":
                return {**place, "fix_type": 3, "satellites_visible": 14, "eph": 80, "epv": 120, "time_usec": boot}
            case "HOME_POSITION":
                home: dict[str, Value] = {
                    "latitude": round(body.home_lat * 1e7),
                    "longitude": round(body.home_lon * 1e7),
                    "altitude": round(1000 * body.home_alt),
                }
                return {**home, "q": (1.0, 0.0, 0.0, 0.0)}
            case "SYS_STATUS":
                sensors = 0x2000F
                present: dict[str, Value] = {f"onboard_control_sensors_{key}": sensors for key in _SENSOR_KEYS}
                power: dict[str, Value] = {"voltage_battery": volts, "current_battery": milliamps}
                return {**present, **power, "battery_remaining": remaining}
            case _:
                cells = tuple([volts // 6] * 6 + [65535] * 4)
                pack: dict[str, Value] = {"voltages": cells, "current_battery": milliamps, "temperature": 2500}
                return {**pack, "battery_remaining": remaining, "current_consumed": -1, "energy_consumed": -1}


_SENSOR_KEYS = ("present", "enabled", "health")
