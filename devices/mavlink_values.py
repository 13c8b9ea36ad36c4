"""The words of MAVLink that Atoll uses: commands, modes, results, mission items. Names are the standard's own.

Source: https://mavlink.io/en/messages/common.html; ArduCopter `mode.h`; PX4 `px4_custom_mode.h`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from devices.mavlink_codec import Frame, Value

GROUND = (255, 190)
"""System and component of a ground station: 255 is what ArduPilot's MAV_GCS_SYSID expects."""
MODE_FLAG_CUSTOM = 1
MODE_FLAG_ARMED = 128
HEIGHT_STEP_M = 0.011
PARAMETER_STEP = 0.51
"""ArduPilot keeps a mission's heights in whole cm and most parameters as whole numbers."""


class Autopilot(StrEnum):
    """Whose rules the aircraft follows."""

    ARDUPILOT = "ardupilot"
    PX4 = "px4"


AUTOPILOT_IDS = {3: Autopilot.ARDUPILOT, 12: Autopilot.PX4}


class Command(IntEnum):
    """MAV_CMD."""

    NAV_WAYPOINT = 16
    NAV_LOITER_TIME = 19
    NAV_RETURN_TO_LAUNCH = 20
    NAV_LAND = 21
    NAV_TAKEOFF = 22
    DO_SET_MODE = 176
    DO_CHANGE_SPEED = 178
    DO_GRIPPER = 211
    MISSION_START = 300
    COMPONENT_ARM_DISARM = 400
    SET_MESSAGE_INTERVAL = 511
    REQUEST_MESSAGE = 512
    REQUEST_AUTOPILOT_CAPABILITIES = 520
    FENCE_POLYGON_INCLUSION = 5001
    FENCE_POLYGON_EXCLUSION = 5002


class MissionType(IntEnum):
    """MAV_MISSION_TYPE."""

    MISSION = 0
    FENCE = 1
    RALLY = 2


class Altitude(IntEnum):
    """MAV_FRAME: what a height counts from."""

    GLOBAL = 0
    GLOBAL_RELATIVE = 3
    GLOBAL_INT = 5
    GLOBAL_RELATIVE_INT = 6


class Result(IntEnum):
    """MAV_RESULT."""

    ACCEPTED = 0
    TEMPORARILY_REJECTED = 1
    DENIED = 2
    UNSUPPORTED = 3
    FAILED = 4
    IN_PROGRESS = 5
    CANCELLED = 6


class MissionResult(IntEnum):
    """MAV_MISSION_RESULT, the ones that we send or name."""

    ACCEPTED = 0
    ERROR = 1
    UNSUPPORTED_FRAME = 2
    UNSUPPORTED = 3
    NO_SPACE = 4
    INVALID = 5
    INVALID_SEQUENCE = 13
    DENIED = 14
    CANCELLED = 15


class Mode(StrEnum):
    """What flies the aircraft; OTHER is a person, or a mode that we never ask for."""

    AUTO = "auto"
    GUIDED = "guided"
    HOLD = "hold"
    RTL = "rtl"
    LAND = "land"
    TAKEOFF = "takeoff"
    OTHER = "other"


# ArduCopter's numbers; PX4's are main mode << 16 | sub mode << 24.
_ARDUCOPTER = {Mode.AUTO: 3, Mode.GUIDED: 4, Mode.HOLD: 5, Mode.RTL: 6, Mode.LAND: 9}
_PX4 = {
    Mode.TAKEOFF: 4 << 16 | 2 << 24,
    Mode.HOLD: 4 << 16 | 3 << 24,
    Mode.AUTO: 4 << 16 | 4 << 24,
    Mode.RTL: 4 << 16 | 5 << 24,
    Mode.LAND: 4 << 16 | 6 << 24,
}
_NUMBERS = {Autopilot.ARDUPILOT: _ARDUCOPTER, Autopilot.PX4: _PX4}


def mode_number(autopilot: Autopilot, mode: Mode) -> int:
    """Returns HEARTBEAT.custom_mode of a mode (PX4 has no GUIDED before take-off: its HOLD)."""
    table = _NUMBERS[autopilot]
    return table.get(mode, table[Mode.HOLD])


def mode_of(autopilot: Autopilot, number: int) -> Mode:
    """Returns the mode that a custom_mode means."""
    return next((mode for mode, known in _NUMBERS[autopilot].items() if known == number), Mode.OTHER)


@dataclass(frozen=True, slots=True)
class Item:
    """One mission or fence item; x and y are 1e-7 degrees, z metres above the frame's zero."""

    command: int
    x: int = 0
    y: int = 0
    z: float = 0.0
    frame: int = Altitude.GLOBAL_RELATIVE_INT
    p1: float = 0.0
    p2: float = 0.0
    p3: float = 0.0
    p4: float = 0.0

    def to_frame(self, seq: int, kind: MissionType, target: tuple[int, int]) -> Frame:
        """Returns the MISSION_ITEM_INT that carries this item."""
        fields: dict[str, Value] = {
            "target_system": target[0],
            "target_component": target[1],
            "seq": seq,
            "frame": self.frame,
            "command": self.command,
            "current": int(seq == 0),
            "autocontinue": 1,
            "param1": self.p1,
            "param2": self.p2,
            "param3": self.p3,
            "param4": self.p4,
            "x": self.x,
            "y": self.y,
            "z": self.z,
            "mission_type": int(kind),
        }
        return Frame("MISSION_ITEM_INT", fields)

    @classmethod
    def of_frame(cls, frame: Frame) -> Item:
        """Returns the item in a MISSION_ITEM_INT or (old) MISSION_ITEM, whose x and y are degrees."""
        scale = 1 if frame.name == "MISSION_ITEM_INT" else 1e7
        x, y = round(frame.number("x") * scale), round(frame.number("y") * scale)
        parameters = [frame.number(f"param{index}") for index in (1, 2, 3, 4)]
        return cls(frame.whole("command"), x, y, frame.number("z"), frame.whole("frame"), *parameters)

    def same(self, other: Item) -> bool:
        """Returns whether an autopilot that stores this may read back that.

        Frames 0/5 and 3/6 differ only in how x and y are coded; heights are kept in cm, parameters as floats. A fence
        has no heights, and autopilots give its frame back as they like.
        """
        if self.command != other.command or abs(self.x - other.x) > 1 or abs(self.y - other.y) > 1:
            return False
        fence = self.command in (Command.FENCE_POLYGON_INCLUSION, Command.FENCE_POLYGON_EXCLUSION)
        if not fence and (_uncoded(self.frame) != _uncoded(other.frame) or abs(self.z - other.z) > HEIGHT_STEP_M):
            return False
        return abs(self.p1 - other.p1) <= PARAMETER_STEP and abs(self.p2 - other.p2) <= PARAMETER_STEP

    def text(self) -> str:
        """Returns the item for people."""
        name = Command(self.command).name if self.command in Command.__members__.values() else str(self.command)
        return f"{name} {degrees(self.x):.7f} {degrees(self.y):.7f} {self.z:g} m ({self.p1:g}, {self.p2:g})"


def _uncoded(frame: int) -> int:
    return {5: 0, 6: 3}.get(frame, frame)


def degrees(value: int) -> float:
    """Returns degrees of a coordinate in 1e-7 degrees."""
    return value / 1e7


def command_long(command: Command, target: tuple[int, int], *parameters: float, confirmation: int = 0) -> Frame:
    """Returns a COMMAND_LONG; parameters that are left out are 0."""
    values = (*parameters, *[0.0] * (7 - len(parameters)))
    fields: dict[str, Value] = {f"param{index}": float(value) for index, value in enumerate(values, 1)}
    fields |= {"target_system": target[0], "target_component": target[1]}
    return Frame("COMMAND_LONG", {**fields, "command": int(command), "confirmation": confirmation})
