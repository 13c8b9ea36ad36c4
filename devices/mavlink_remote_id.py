"""Remote ID as the ground's part of it: who operates, where from, which aircraft. Sent every second. Pure.

The aircraft's transmitter adds position, height, speed and time by itself and says by OPEN_DRONE_ID_ARM_STATUS whether
it has all it needs.

Source: https://mavlink.io/en/services/opendroneid.html; 14 CFR 89.315; EN 4709-002.
"""

from __future__ import annotations

from devices.flight_rules import FlightRules
from devices.mavlink_codec import Frame, Value

SERIAL_NUMBER = 1
MULTIROTOR = 2
OPERATOR_TAKEOFF_PLACE = 0
UNKNOWN_HEIGHT_M = -1000.0


def frames(rules: FlightRules, target: tuple[int, int]) -> list[Frame]:
    """Returns BASIC_ID, OPERATOR_ID, SELF_ID and SYSTEM; none where the site file names no serial number."""
    record = rules.authorisation
    if not rules.serial or record is None:
        return []
    to: dict[str, Value] = {"target_system": target[0], "target_component": target[1]}
    lat, lon = round(rules.origin[0] * 1e7), round(rules.origin[1] * 1e7)
    serial: dict[str, Value] = {"id_type": SERIAL_NUMBER, "ua_type": MULTIROTOR, "uas_id": padded(rules.serial, 20)}
    where: dict[str, Value] = {"operator_location_type": OPERATOR_TAKEOFF_PLACE, "operator_latitude": lat}
    where |= {"operator_longitude": lon, "operator_altitude_geo": UNKNOWN_HEIGHT_M, "area_count": 1}
    where |= {"area_ceiling": UNKNOWN_HEIGHT_M, "area_floor": UNKNOWN_HEIGHT_M, "classification_type": 0}
    return [
        Frame("OPEN_DRONE_ID_BASIC_ID", {**to, **serial}),
        Frame("OPEN_DRONE_ID_OPERATOR_ID", {**to, "operator_id_type": 0, "operator_id": record.operator_id}),
        Frame("OPEN_DRONE_ID_SELF_ID", {**to, "description_type": 0, "description": f"ref {record.reference}"}),
        Frame("OPEN_DRONE_ID_SYSTEM", {**to, **where}),
    ]


def padded(text: str, length: int) -> tuple[int, ...]:
    """Returns a text as the byte array that MAVLink's id fields are."""
    return tuple(text.encode("ascii", "replace")[:length].ljust(length, b"\0"))
