"""`atoll pins`: the 40-pin header with who uses which pin, by the site file and by the kernel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.errors import ExitCode
from controller.cli.sites import load_site

if TYPE_CHECKING:
    from controller.site import Site
    from devices.shell.pin_holders import Line

HEADER = (
    *("3V3", "5V", "2", "5V", "3", "GND", "4", "14", "GND", "15", "17", "18", "27", "GND", "22", "23", "3V3", "24"),
    *("10", "GND", "9", "25", "11", "8", "GND", "7", "0", "1", "5", "GND", "6", "12", "13", "GND", "19", "16", "26"),
    *("20", "GND", "21"),
)
"""What stands at physical pins 1 to 40: a supply, or a BCM number."""
FUNCTIONS = {
    0: "ID EEPROM",
    1: "ID EEPROM",
    2: "I2C SDA",
    3: "I2C SCL",
    4: "1-Wire",
    14: "UART TX",
    15: "UART RX",
    7: "SPI CE1",
    8: "SPI CE0",
    9: "SPI MISO",
    10: "SPI MOSI",
    11: "SPI SCLK",
}
OURS = ("lg", "atoll")
"""What the kernel calls a line's holder when it is lgpio, which our gateway uses."""


@click.command()
@click.option("--site", type=click.Path(path_type=Path), default=None, help="The site file whose pins are meant.")
@click.option("--gateway", default=None, help="Only this gateway's pins (default: all of the site).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def pins(site: Path | None, gateway: str | None, as_json: bool) -> int:
    """Print the 40-pin header: the site file's use of each pin, who holds it in the kernel, and conflicts."""
    from devices.shell.pin_holders import header_lines

    lines, problem = header_lines()
    users = {} if site is None else _users(load_site(site), gateway)
    rows = [_row(place, what, users, lines) for place, what in enumerate(HEADER, 1)]
    conflicts = [row for row in rows if row["conflict"]]
    if as_json:
        click.echo(json.dumps({"schema": 1, "pins": rows, "kernel": not problem, "problem": problem}))
    else:
        _print(rows, problem)
    return ExitCode.FINDINGS if conflicts else ExitCode.OK


def _users(site: Site, gateway: str | None) -> dict[int, list[str]]:
    users: dict[int, list[str]] = {}
    for device in site.devices:
        if gateway is None or device.gateway == gateway:
            for pin in device.pins:
                users.setdefault(pin.pin, []).append(f"{device.id}.{pin.point} ({pin.use})")
                if pin.direction is not None:
                    named, text = users.setdefault(pin.direction, []), f"{device.id} (direction of GPIO{pin.pin})"
                    named += [text] if text not in named else []
    return users


def _row(place: int, what: str, users: dict[int, list[str]], lines: dict[int, Line]) -> dict[str, object]:
    if not what.isdigit():
        return {"pin": place, "name": what, "bcm": None, "function": "", "used_by": [], "holder": "", "conflict": ""}
    bcm = int(what)
    mine, line = users.get(bcm, []), lines.get(bcm)
    holder = "" if line is None or not line.used else line.consumer or "the kernel"
    return {
        "pin": place,
        "name": f"GPIO{bcm}",
        "bcm": bcm,
        "function": FUNCTIONS.get(bcm, ""),
        "used_by": mine,
        "holder": holder,
        "conflict": _conflict(bcm, mine, holder),
    }


def _conflict(bcm: int, mine: list[str], holder: str) -> str:
    if not mine:
        return ""
    if holder and not holder.startswith(OURS):
        return f"held by {holder}: free it (raspi-config, /boot/firmware/config.txt) or take another pin"
    if len({name if "(direction" in name else name.partition(".")[0] for name in mine}) > 1:
        return "wanted twice"
    return "the Pi's own ID EEPROM" if bcm in (0, 1) else ""


def _print(rows: list[dict[str, object]], problem: str) -> None:
    for left, right in zip(rows[::2], rows[1::2], strict=True):
        click.echo(f"{_text(left):>44} {left['pin']:>2} | {right['pin']:<2} {_text(right)}".rstrip())
    for row in rows:
        if row["conflict"]:
            click.echo(f"conflict at {row['name']} (pin {row['pin']}): {row['conflict']}", err=True)
    if problem:
        click.echo(f"kernel: {problem}", err=True)


def _text(row: dict[str, object]) -> str:
    used = row["used_by"]
    assert isinstance(used, list), "a row's users are a list"
    words = [str(row["name"]), *(str(name) for name in used)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if row["holder"]:
        words.append(f"[{row['holder']}]")
    elif not used and row["function"]:
        words.append(f"({row['function']})")
    return " ".join(words)
