"""What the machine itself says of its health: power, heat, disk, memory, clock, watchdog, ports. Reads /proc and /sys.

Every function takes the root folder, so that a test can show it any machine. Nothing here raises: what cannot be read
is a check that was skipped, with the reason.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
HOT_C, WARM_C = 80.0, 70.0
FREE_MIN, FREE_LOW = 200_000_000, 1_000_000_000
MEMORY_MIN, MEMORY_LOW = 60_000, 150_000  # KiB
CARD_BYTES_PER_DAY = 2_000_000_000
WELL_KNOWN = {22: "ssh", 53: "DNS", 67: "DHCP", 80: "web", 123: "time", 443: "web", 5353: "mDNS"}
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
CHECKED_S_MIN = 600.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `state` is pass, warn, fail or skip; `fix` says what to do."""

    name: str
    state: str
    seen: str
    fix: str = ""


def power(root: Path = ROOT) -> Finding:
    """Returns whether the supply was too weak (Raspberry Pi firmware, or a voltage monitor)."""
    text = _text(root / THROTTLED)
    alarms = sorted(root.glob("sys/class/hwmon/hwmon*/in0_lcrit_alarm"))
    if text:
        bits = int(text, 16)
        if bits & 0x1:
            return Finding(
                "power", "fail", f"under-voltage now (get_throttled {text})", "a stronger supply or thicker cable"
            )
        if bits & 0x10000:
            return Finding(
                "power", "warn", f"under-voltage since the start ({text})", "a stronger supply or thicker cable"
            )
        return Finding("power", "pass", "no under-voltage since the start")
    if alarms:
        low = _text(alarms[0]) == "1"
        return Finding("power", "fail" if low else "pass", "under-voltage now" if low else "no under-voltage",
                       "a stronger supply or thicker cable" if low else "")  # fmt: skip
    return Finding("power", "skip", "this machine does not measure its supply")


def temperature(root: Path = ROOT) -> Finding:
    """Returns how hot the processor is."""
    readings = [int(text) / 1000 for path in root.glob("sys/class/thermal/thermal_zone*/temp") if (text := _text(path))]
    if not readings:
        return Finding("temperature", "skip", "no sensor")
    hottest = max(readings)
    state = "fail" if hottest >= HOT_C else "warn" if hottest >= WARM_C else "pass"
    return Finding("temperature", state, f"{hottest:.0f} °C", "shade, air, a heat sink" if state != "pass" else "")


def disk(data_dir: Path) -> Finding:
    """Returns how much room is left for data."""
    place = _existing(data_dir)
    free = shutil.disk_usage(place).free
    state = "fail" if free < FREE_MIN else "warn" if free < FREE_LOW else "pass"
    return Finding(
        "disk",
        state,
        f"{free / 1e9:.1f} GB free at {place}",
        "" if state == "pass" else "free space: du -xh / | sort -h | tail",
    )


def card_wear(root: Path = ROOT) -> Finding:
    """Returns how much the card was written since the start, per day."""
    uptime = _text(root / "proc/uptime").split()
    seconds = float(uptime[0]) if uptime else 0.0
    card = next((path for path in sorted(root.glob("sys/block/mmcblk*/stat"))), None)
    if card is None or seconds < CHECKED_S_MIN:
        return Finding("card", "skip", "no SD card" if card is None else "the machine has only just started")
    written = int(_text(card).split()[6]) * 512 / seconds * 86_400
    state = "warn" if written > CARD_BYTES_PER_DAY else "pass"
    fix = "journald volatile, no swap on the card, log2ram" if state == "warn" else ""
    return Finding("card", state, f"{written / 1e6:.0f} MB a day written", fix)


def writable(data_dir: Path) -> Finding:
    """Returns whether the data directory can be written; a card that failed is mounted read-only by the kernel."""
    place = _existing(data_dir)
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        return Finding(
            "filesystem",
            "fail",
            f"{place} is read-only",
            "dmesg | grep -i -e ext4 -e mmc: a failing card? Restore onto a new one",
        )
    if not os.access(place, os.W_OK):
        return Finding("filesystem", "fail", f"{place} cannot be written by this user", f"sudo chown -R $USER {place}")
    return Finding("filesystem", "pass", f"{place} can be written")


def clock(synchronised: bool, root: Path = ROOT) -> Finding:
    """Returns who keeps the clock right; a Pi 4 has no clock of its own over a power cut."""
    rtc = any(root.glob("sys/class/rtc/rtc*"))
    if synchronised:
        return Finding(
            "time", "pass", "synchronised" + ("" if rtc else "; no RTC: wrong after a power cut until synchronised")
        )
    if rtc:
        return Finding(
            "time", "warn", "not synchronised, kept by the RTC", "an NTP server, a GNSS receiver, or set it by hand"
        )
    return Finding(
        "time", "fail", "not synchronised, and no RTC", "an NTP server, a GNSS receiver, or an RTC module (DS3231)"
    )


def watchdog(root: Path = ROOT) -> Finding:
    """Returns whether a hung machine starts again by itself."""
    found = sorted(root.glob("sys/class/watchdog/watchdog*/state"))
    if not found:
        return Finding("watchdog", "skip", "this machine has none")
    if any(_text(path) == "active" for path in found):
        return Finding("watchdog", "pass", "armed")
    return Finding("watchdog", "warn", "there, and not armed", "RuntimeWatchdogSec=15 in /etc/systemd/system.conf")


def memory(root: Path = ROOT) -> Finding:
    """Returns how much memory is left."""
    facts = _meminfo(root)
    left = facts.get("MemAvailable", 0)
    if not facts:
        return Finding("memory", "skip", "no /proc/meminfo")
    swapped = facts.get("SwapTotal", 0) - facts.get("SwapFree", 0)
    state = "fail" if left < MEMORY_MIN else "warn" if left < MEMORY_LOW or swapped > 200_000 else "pass"
    said = f"{left / 1024:.0f} of {facts.get('MemTotal', 0) / 1024:.0f} MiB left" + (
        f", {swapped / 1024:.0f} MiB swapped" if swapped else ""
    )
    return Finding("memory", state, said, "" if state == "pass" else "ps aux --sort -rss | head")


def word_size() -> Finding:
    """Returns whether this Python is a 64-bit one: the planner's wheels exist for nothing else."""
    bits = struct.calcsize("P") * 8
    if bits == 64:
        return Finding("system", "pass", f"64-bit {os.uname().machine}, kernel {os.uname().release}")
    return Finding(
        "system", "fail", f"{bits}-bit system", "install the 64-bit image: OR-Tools and numpy have no 32-bit wheels"
    )


def open_ports(expected: Mapping[int, str], root: Path = ROOT) -> Finding:
    """Returns what listens to the whole network and is not expected to."""
    ports = sorted({port for name in ("tcp", "tcp6") for port in _listening(root / "proc/net" / name)})
    known = {**WELL_KNOWN, **expected}
    strange = [str(port) for port in ports if port not in known]
    said = ", ".join(f"{port} {known[port]}" for port in ports if port in known) or "nothing"
    if strange:
        return Finding(
            "ports",
            "warn",
            f"open to the network: {', '.join(strange)}; known: {said}",
            f"ss -ltnp 'sport = :{strange[0]}'",
        )
    return Finding("ports", "pass", f"open to the network: {said}")


def _listening(path: Path) -> list[int]:
    """Returns the ports bound to every address, of a /proc/net/tcp table."""
    found: list[int] = []
    for line in _text(path).splitlines()[1:]:
        columns = line.split()
        if len(columns) > 3 and columns[3] == "0A":
            address, _, port = columns[1].rpartition(":")
            if not address.strip("0"):
                found.append(int(port, 16))
    return found


def holders(path: Path, root: Path = ROOT) -> list[str]:
    """Returns the processes that have a device file open, as `name (pid)`; only one's own without root."""
    real = os.path.realpath(path)
    found: list[str] = []
    for process in root.glob("proc/[0-9]*"):
        try:
            links = [str(link.readlink()) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if real in links and int(process.name) != os.getpid():
            found.append(f"{_text(process / 'comm') or '?'} ({process.name})")
    return found


def _meminfo(root: Path) -> dict[str, int]:
    rows = (line.split() for line in _text(root / "proc/meminfo").splitlines())
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
