"""What the verbs at the bus have in common: which device, over which wire, and errors that say what to check first."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.codes import CODES
from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of

if TYPE_CHECKING:
    from devices.model import DeviceSpec
    from devices.shell.field_bus import Polled

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


@dataclass(frozen=True, slots=True)
class Place:
    """Which device, from a site file or from the options --endpoint, --unit, --driver and --kind."""

    site: Path | None
    endpoint: str
    unit: int
    driver: str
    kind: str


def place_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --site, --endpoint, --unit, --driver and --kind."""
    options: tuple[Decorator, ...] = (
        click.option("--site", type=click.Path(path_type=Path), help="Site file in which the device stands."),
        click.option("--endpoint", default="", help="Without a site file: HOST:PORT or rtu:/dev/...?baud=9600."),
        click.option("--unit", type=click.IntRange(0, 247), default=1, show_default=True, help="With --endpoint."),
        click.option("--driver", default="sunspec", show_default=True, help="With --endpoint: sunspec, profile:NAME."),
        click.option("--kind", default="meter", show_default=True, help="With --endpoint and sunspec: meter, pv, ..."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def device_of(place: Place, name: str) -> DeviceSpec:
    """Returns the device that the options mean.

    Raises:
        Refusal: none or more than one is meant.
    """
    from controller.cli.sites import load_site
    from devices.model import DeviceId, DeviceKind, DeviceSpec

    if place.site is not None:
        specs = {str(spec.id): spec for spec in load_site(place.site).devices if spec.driver != "vda5050"}
        if name not in specs:
            raise Refusal(
                f"no device {name!r} on a bus in {place.site}", ExitCode.USAGE, hint=f"there are {', '.join(specs)}"
            )
        return specs[name]
    if not place.endpoint:
        raise Refusal("which bus?", ExitCode.USAGE, hint="--site FILE, or --endpoint HOST:PORT|rtu:/dev/... --unit N")
    if place.kind not in list(DeviceKind):
        raise Refusal(f"no kind {place.kind!r}", ExitCode.USAGE, hint=f"there are {', '.join(DeviceKind)}")
    return DeviceSpec(DeviceId(name), DeviceKind(place.kind), place.driver, "", place.endpoint, place.unit)


def hub_runs(data_dir: Path | None) -> bool:
    """Returns whether a hub answers on this data directory."""
    from controller.shell.control import HubUnreachable, ask

    try:
        ask(data_dir_of(data_dir), {"ask": "status"})
    except HubUnreachable:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error of the bus: code, place, what was seen."""

    code: str
    place: str
    said: str
    seen: str
    command: str
    exit_code: ExitCode = ExitCode.UNREACHABLE

    def tell(self, as_json: bool) -> Refusal:
        """Returns the refusal to raise; as JSON it is printed already and the refusal only carries the exit code."""
        entry = CODES[self.code]
        if as_json:
            row = {"code": self.code, "place": self.place, "message": self.said, "seen": self.seen}
            click.echo(
                json.dumps({"schema": 1, "ok": False, **row, "check": entry.check, "try": self.command}, indent=2)
            )
            click.get_current_context().exit(int(self.exit_code))
        checks = "\n       ".join(f"{number} {check}" for number, check in enumerate(entry.check, 1))
        seen = f"seen:  {self.seen}\n" if self.seen else ""
        return Refusal(
            f"error[{self.code}] {self.place}: {self.said}",
            self.exit_code,
            hint=f"{seen}check: {checks}\ntry:   {self.command}     (atoll help {self.code})",
        )


def trouble(spec: DeviceSpec, polled: Polled) -> Trouble:
    """Returns what a poll that brought nothing means."""
    from devices.model import BusFault

    if spec.driver.startswith("mqtt:"):
        code = "MQTT-001" if polled.fault is BusFault.DISCONNECTED else "MQTT-002"
        said = "the broker cannot be used" if code == "MQTT-001" else "nothing was heard of it"
        return Trouble(code, f"{spec.id} ({spec.endpoint})", said, polled.problem, "atoll scan mqtt --seconds 70")
    place = f"{spec.id} ({spec.endpoint}, unit {spec.unit})"
    scan = f"atoll scan modbus '{spec.endpoint}' --quick"
    match polled.fault:
        case BusFault.TIMEOUT:
            return Trouble("BUS-003", place, "no answer", polled.problem, scan)
        case BusFault.GARBLED:
            return Trouble("BUS-002", place, "an answer that is none", polled.problem, scan)
        case BusFault.EXCEPTION:
            seen = polled.problem or f"it refuses every register of {spec.driver}"
            return Trouble("BUS-004", place, "it answers, but not to this", seen, "atoll profiles list")
        case _:
            return Trouble("BUS-001", place, "the bus cannot be used", polled.problem, scan)
