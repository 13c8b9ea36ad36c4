"""How far a product's map is proved: computed from what the profile carries and the tests replay, never claimed.

tests/devices/test_profile_conformance.py proves for every profile, against the simulator made of it, that it reads,
takes writes, comes back after silence, goes bad instead of stale and refuses what is out of range. What no simulator
can prove is that the map is the product's: for that a profile needs golden frames.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.model import WRITABLE
from devices.mqtt_profile import MqttProfile
from devices.profile_schema import FAILS, Profile

REFERENCE, BRONZE, SILVER, GOLD = LEVELS = ("reference", "bronze", "silver", "gold")
"""reference: Atoll's own definition, no product stands behind it.
bronze: reads, reconnects, goes bad when silent or out of range, against the simulator made of it.
silver: and a published frame of the product reads as it was published.
gold: and it is written: a published frame of a write, and an output that falls back by itself when its gateway dies.
"""
REFERENCE_SOURCE = "Atoll reference device"


@dataclass(frozen=True, slots=True)
class Standing:
    """A level, and what is missing for the next one; nothing where there is none to reach."""

    level: str
    missing: tuple[str, ...] = ()


def standing(profile: Profile) -> Standing:
    """Returns how far a Modbus profile (or one variant) is proved."""
    if profile.source.startswith(REFERENCE_SOURCE):
        return Standing(REFERENCE)
    if not any(frame.reads for frame in profile.golden):
        return Standing(BRONZE, ("a published frame or capture of a read: [[golden]]",))
    if not profile.writes:
        return Standing(SILVER)
    missing: list[str] = []
    if not any(frame.writes for frame in profile.golden):
        missing.append("a published frame or capture of a write: [[golden]]")
    leased = {name: rule for name, rule in profile.writes.items() if name in WRITABLE.values()}
    if not leased:
        missing.append(f"a lease: {', '.join(profile.writes)} is written by hand only")
    stays = [name for name, rule in leased.items() if rule.fail == FAILS[0]]
    if stays:
        missing.append(f"a fallback of its own: {', '.join(stays)} stays as it is when the gateway dies")
    return Standing(SILVER, tuple(missing)) if missing else Standing(GOLD)


def mqtt_standing(profile: MqttProfile) -> Standing:
    """Returns how far the profile of a device that speaks MQTT is proved."""
    if not profile.golden:
        return Standing(BRONZE, ("a published message or capture: [[golden]]",))
    if not profile.writes:
        return Standing(SILVER)
    return Standing(SILVER, ("a fallback of its own: no such product takes a timer with its command",))
