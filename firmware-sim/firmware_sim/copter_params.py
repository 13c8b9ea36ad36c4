"""What the simulated autopilots are set to: the parameters that decide fail-safes, as a careful operator sets them.

Source: ArduCopter parameter list (FENCE_*, FS_*, BATT_*, DID_ENABLE); PX4 parameter reference (GF_*, NAV_*, COM_*).
"""

from __future__ import annotations

from typing import Final

from devices.mavlink_values import Autopilot

DEFAULTS: Final[dict[Autopilot, dict[str, float]]] = {
    Autopilot.ARDUPILOT: {
        "SYSID_THISMAV": 1,
        "SYSID_MYGCS": 255,
        "FENCE_ENABLE": 1,
        "FENCE_TYPE": 7,
        "FENCE_ACTION": 1,
        "FENCE_ALT_MAX": 60.5,
        "FENCE_RADIUS": 3000,
        "FENCE_MARGIN": 2,
        "FS_GCS_ENABLE": 1,
        "FS_OPTIONS": 0,
        "BATT_FS_LOW_ACT": 2,
        "BATT_FS_CRT_ACT": 1,
        "BATT_LOW_VOLT": 21.2,
        "BATT_CRT_VOLT": 20.4,
        "BATT_LOW_MAH": 0,
        "BATT_CRT_MAH": 0,
        "RTL_ALT": 1500,
        "DID_ENABLE": 0,
    },
    Autopilot.PX4: {
        "SYS_AUTOSTART": 4001,
        "GF_ACTION": 3,
        "GF_MAX_VER_DIST": 60.5,
        "GF_MAX_HOR_DIST": 3000,
        "NAV_DLL_ACT": 2,
        "COM_DL_LOSS_T": 10,
        "COM_LOW_BAT_ACT": 3,
        "BAT_LOW_THR": 0.15,
        "BAT_CRIT_THR": 0.07,
        "MIS_TAKEOFF_ALT": 10.5,
        "RTL_RETURN_ALT": 15.5,
        "DID_ENABLE": 0,
    },
}
