"""Who holds which GPIO line, asked of the kernel itself (character device, ABI v2); needs no library and no root.

Source: Linux include/uapi/linux/gpio.h, gpiochip_info and gpio_v2_line_info.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

CHIP_INFO = 0x8044B401  # _IOR(0xB4, 0x01, struct gpiochip_info)
LINE_INFO = 0xC100B405  # _IOWR(0xB4, 0x05, struct gpio_v2_line_info)
_CHIP = struct.Struct("=32s32sI")
_LINE = struct.Struct("=32s32sIIQ160s16s")
USED, OUTPUT = 1 << 0, 1 << 3
HEADER_LABELS = ("pinctrl-bcm", "pinctrl-rp1")
"""What the kernel calls the chip behind the 40-pin header, on a Pi 1-4 and on a Pi 5."""


@dataclass(frozen=True, slots=True)
class Line:
    """What the kernel says of one line: `consumer` is who holds it, "" where nobody says."""

    offset: int
    name: str
    consumer: str
    used: bool
    output: bool


def parse_chip(data: bytes) -> tuple[str, str, int]:
    """Returns (name, label, lines) of a `gpiochip_info`."""
    name, label, lines = _CHIP.unpack(data)
    return _text(name), _text(label), lines


def parse_line(data: bytes) -> Line:
    """Returns a `gpio_v2_line_info`."""
    name, consumer, offset, _, flags, _, _ = _LINE.unpack(data)
    return Line(offset, _text(name), _text(consumer), bool(flags & USED), bool(flags & OUTPUT))


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode(errors="replace")


def header_lines(folder: Path = Path("/dev")) -> tuple[dict[int, Line], str]:
    """Returns the lines of the header's chip by BCM number, and why there are none."""
    chips = sorted(folder.glob("gpiochip*"))
    if not chips:
        return {}, f"no {folder}/gpiochip*: this machine has no GPIO (or its kernel no GPIO character device)"
    seen: list[str] = []
    for chip in chips:
        try:
            descriptor = os.open(chip, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            seen.append(f"{chip}: {error.strerror}: add this user to the group gpio")
            continue
        try:
            _, label, lines = parse_chip(fcntl.ioctl(descriptor, CHIP_INFO, bytes(_CHIP.size)))
            if label.startswith(HEADER_LABELS):
                return {n: _ask(descriptor, n) for n in range(min(28, lines))}, ""
            seen.append(f"{chip}: {label}")
        except OSError as error:
            seen.append(f"{chip}: {error.strerror}")
        finally:
            os.close(descriptor)
    return {}, f"no chip of a Raspberry Pi's header: {'; '.join(seen)}"


@dataclass(frozen=True, slots=True)
class Chip:
    """One chip with all its lines; `header` where it is the one behind the 40 pins."""

    path: str
    label: str
    header: bool
    lines: tuple[Line, ...]


def chips(folder: Path = Path("/dev")) -> tuple[list[Chip], list[str]]:
    """Returns every chip that may be opened, and what is wrong with the others."""
    found: list[Chip] = []
    problems: list[str] = []
    for path in sorted(folder.glob("gpiochip*")):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            problems.append(f"{path}: {error.strerror}: add this user to the group gpio")
            continue
        try:
            _, label, count = parse_chip(fcntl.ioctl(descriptor, CHIP_INFO, bytes(_CHIP.size)))
            lines = tuple(_ask(descriptor, n) for n in range(count))
            found.append(Chip(str(path), label, label.startswith(HEADER_LABELS), lines))
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
        finally:
            os.close(descriptor)
    return found, problems


def _ask(descriptor: int, offset: int) -> Line:
    request = _LINE.pack(b"", b"", offset, 0, 0, b"", b"")
    return parse_line(fcntl.ioctl(descriptor, LINE_INFO, request))
