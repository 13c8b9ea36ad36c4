"""What each error code means, what to look at first, and what to do: the texts behind `atoll help CODE`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """A code's meaning, its causes in the order in which to check them, and the command to go on with."""

    meaning: str
    check: tuple[str, ...]
    then: str


_SITE = "atoll check SITE"
CODES: dict[str, Explanation] = {
    "SITE-001": Explanation(
        "The site file is no TOML text.",
        ("a quote or bracket that is not closed, on the named line or the one before", "a key written twice"),
        _SITE,
    ),
    "SITE-010": Explanation(
        "A key that nothing reads, so that what it says would not happen.",
        ("its spelling (the nearest known key is named)", "the table it stands in"),
        "atoll check --schema",
    ),
    "SITE-011": Explanation(
        "A key is missing.", ("the table it belongs to, as the message names it",), "atoll check --schema"
    ),
    "SITE-012": Explanation(
        "A value of the wrong type, or outside its range.",
        ("the unit in the key's name (_w, _wh, _ms)", "quotes around a number", "a comma for a decimal point"),
        "atoll check --schema",
    ),
    "SITE-020": Explanation("Two things have the same id.", ("a copied table whose id was not changed",), _SITE),
    "SITE-021": Explanation("The time zone is not known.", ("its spelling: Region/City",), _SITE),
    "SITE-022": Explanation("The drinking-water reserve is not below the high mark.", ("both fractions",), _SITE),
    "SITE-023": Explanation("An instant that cannot be read.", ("write 2026-06-03T09:40:00Z",), _SITE),
    "SITE-030": Explanation("A site has exactly one grid meter.", ('devices with kind = "grid"',), _SITE),
    "SITE-031": Explanation(
        "Driver and kind do not go together.",
        ("robots and drones: vda5050; all others: sunspec or profile:NAME",),
        _SITE,
    ),
    "SITE-032": Explanation(
        "The device's profile does not exist, or has faults.",
        ("the name", "the variant after the dot"),
        "atoll profiles list",
    ),
    "SITE-033": Explanation("The device names a gateway that the site does not have.", ("[[gateway]] ids",), _SITE),
    "SITE-034": Explanation(
        "Two devices have the same unit id on one bus.",
        ("the id shown on each device", "only variants of one profile may share a unit"),
        "atoll scan modbus ENDPOINT",
    ),
    "SITE-035": Explanation("`behind` names no meter.", ("the meter's id",), _SITE),
    "SITE-036": Explanation("The pump names no tank.", ("the tank's id",), _SITE),
    "SITE-037": Explanation("soc_min is not below soc_max.", ("both fractions",), _SITE),
    "SITE-038": Explanation("The genset's minimum load is above its maximum.", ("power_w_min, power_w_max",), _SITE),
    "SITE-039": Explanation(
        "The endpoint names no bus, or one serial port is named in two ways.",
        ("host:port, or rtu:/dev/serial/by-id/NAME?baud=9600&parity=N&stop=1", "the same text in all its devices"),
        "ls -l /dev/serial/by-id",
    ),
    "SITE-040": Explanation("A member names a meter that does not exist.", ("the device's id or channel",), _SITE),
    "SITE-041": Explanation("Two members name one meter.", ("who is billed for it",), _SITE),
    "SITE-042": Explanation(
        "A meter belongs to no member.", ("add it to a member's usage_points or water_points",), _SITE
    ),
    "SITE-050": Explanation("A price band ends before it starts.", ("write a band across midnight as two",), _SITE),
    "SITE-051": Explanation("Price bands overlap or leave a gap.", ("from and to of the band before it",), _SITE),
    "SITE-052": Explanation("The day has no price to its end.", ("the last band ends at 24:00",), _SITE),
    "SITE-060": Explanation("A job names no vehicle.", ("the robot's or drone's id",), _SITE),
    "SITE-061": Explanation("A job names no place.", ("[[place]] ids",), _SITE),
    "SITE-062": Explanation("A job does not fit into its window.", ("duration_ms", "the window's times"), _SITE),
    "PROF-001": Explanation(
        "A profile has a fault; all its faults are listed.",
        ("the named table and key", "the keys that there are: devices/profile_schema.py"),
        "atoll profiles check FILE",
    ),
    "BUS-001": Explanation(
        "The bus itself cannot be used: no such port or host, no permission, or another owner.",
        (
            "the adapter is plugged in: ls -l /dev/serial/by-id",
            "no other program has the port: a gateway that runs, ModemManager",
            "this user is in the group dialout",
            "TCP: the host answers, and the device takes one more connection",
        ),
        "atoll scan modbus ENDPOINT --quick",
    ),
    "BUS-002": Explanation(
        "Something is heard on the bus that is no Modbus.",
        (
            "another master on the same bus",
            "baud rate and parity of this device",
            "termination (120 ohm at both ends only) and bias",
            "shield and ground; cable beside a motor's",
        ),
        "atoll scan modbus rtu:PORT (without settings: tries the usual ones)",
    ),
    "BUS-003": Explanation(
        "The device does not answer.",
        (
            "the unit id that its display shows",
            "its supply",
            "A and B at this device (swapped is the most frequent fault of all)",
            "baud rate and parity of this device",
        ),
        "atoll scan modbus ENDPOINT --quick",
    ),
    "BUS-004": Explanation(
        "The device answers, but refuses these registers.",
        ("the profile or its variant: another model or firmware", "the device's password or remote mode"),
        "atoll profiles list",
    ),
    "WRITE-001": Explanation(
        "The point cannot be written: read-only, no such control, or the value is out of range.",
        ("read_only in the site file", "the range in the message", "the sign rule: charging is positive"),
        "atoll read DEV",
    ),
    "WRITE-002": Explanation(
        "The device took the write but reads back something else.",
        ("its remote or local switch", "its own limits", "the scale: compare with its display"),
        "atoll read DEV --raw",
    ),
    "WRITE-003": Explanation(
        "A write could not be taken back: the device may still hold the value.",
        ("the device itself: switch it to local or off", "its supply and wires", "then read it"),
        "atoll read DEV",
    ),
}
