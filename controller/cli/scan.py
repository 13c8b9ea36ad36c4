"""`atoll scan modbus|sunspec|mqtt|gpio`: who is on a bus, a broker or the header, and what it looks like."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.field import Trouble, trouble

if TYPE_CHECKING:
    from devices.shell.modbus import Wire

TURNAROUND_S = 0.1
"""What a unit that is there needs at most to begin its answer; an absent one costs as much."""
QUICK_TURNAROUND_S = 0.08
"""In a hurry: products answer within 50 ms, radio bridges do not."""
TCP_TIMEOUT_S = 0.3
SETTINGS = (
    "baud=9600&parity=N",
    "baud=19200&parity=E",
    "baud=9600&parity=E",
    "baud=19200&parity=N",
    "baud=38400&parity=N",
)


@dataclass(slots=True)
class Unit:
    """A unit that was found."""

    unit: int
    answer_ms: int
    endpoint: str
    models: list[int] = field(default_factory=list[int])
    profiles: list[str] = field(default_factory=list[str])
    values: dict[str, float | None] = field(default_factory=dict[str, "float | None"])

    def text(self) -> str:
        """Returns one line."""
        like = "something that no shipped profile fits: atoll profiles list"
        if self.models:
            like = f'SunSpec, models {" ".join(map(str, self.models))}     driver = "sunspec"'
        elif self.profiles:
            also = f" (or {', '.join(self.profiles[1:4])})" if self.profiles[1:] else ""
            shown = "  ".join(f"{name} {value:g}" for name, value in self.values.items() if value is not None)
            like = f'driver = "profile:{self.profiles[0]}"{also}   {shown}'
        return f"  unit {self.unit:<4}{self.answer_ms:>5} ms  {like}"


@click.group()
def scan() -> None:
    """Find the devices on a bus."""


@scan.command("modbus")
@click.argument("endpoint")
@click.option(
    "--quick",
    is_flag=True,
    help="Only the ids that products come with (1-10, 17, 100, 126, 240-247), or those of --units, at 80 ms each.",
)
@click.option("--units", help="Which ids: 1-10,17,100 (default: 1-247).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def scan_modbus(endpoint: str, *, quick: bool, units: str | None, as_json: bool) -> None:
    """Ask every unit id of ENDPOINT (HOST:PORT or rtu:/dev/serial/by-id/NAME) for an answer.

    A serial port without `?baud=...` is tried with the usual settings until somebody answers. It only reads. A gateway
    that runs has its serial port to itself: stop it first.
    """
    from devices.endpoints import RTU
    from devices.shell.field_bus import QUICK

    wanted: Sequence[int] = QUICK if quick and units is None else _ids(units or "1-247")
    if quick:
        wanted = [*(unit for unit in QUICK if unit in wanted), *(unit for unit in wanted if unit not in QUICK)]
    tries = [endpoint]
    if endpoint.startswith(RTU) and "?" not in endpoint:
        tries = [f"{endpoint}?{settings}" for settings in SETTINGS]
    found: list[Unit] = []
    noise = 0
    for text in tries:
        if len(tries) > 1:
            click.echo(f"{text}: {len(wanted)} ids", err=True)
        some, garbled = _scan(text, wanted, QUICK_TURNAROUND_S if quick else TURNAROUND_S, as_json)
        found, noise = found + some, noise + garbled
        if found:
            break
    if not found:
        code = "BUS-002" if noise else "BUS-003"
        seen = f"{len(wanted)} ids, {len(tries)} line settings" + (f", {noise} broken answers" if noise else "")
        then = f"atoll scan modbus '{endpoint}'" if quick else "atoll help BUS-003"
        raise Trouble(code, endpoint, "nobody answers", seen, then).tell(as_json)
    if as_json:
        rows = [{name: getattr(unit, name) for name in Unit.__slots__} for unit in found]
        click.echo(json.dumps({"schema": 1, "ok": True, "endpoint": found[0].endpoint, "units": rows}, indent=2))
        return
    click.echo(f'endpoint = "{found[0].endpoint}"')
    for unit in found:
        click.echo(unit.text())


@scan.command("sunspec")
@click.argument("endpoint")
@click.option("--unit", type=click.IntRange(0, 247), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def scan_sunspec(endpoint: str, unit: int, *, as_json: bool) -> None:
    """Walk a unit's SunSpec model chain and print what it holds, trip settings and curves (705-712) in words."""
    from devices.model import DeviceId, DeviceKind, DeviceSpec
    from devices.shell.field_bus import Polled, read_curves, sunspec_chain
    from devices.shell.modbus import open_wire
    from devices.sunspec import UnknownModel, model
    from devices.sunspec_curves import curve_text

    wire = open_wire(endpoint, TCP_TIMEOUT_S)
    try:
        walk, fault = sunspec_chain(wire, unit)
        problem = wire.problem or walk.failure
        curves = {} if fault else {curve.model: curve for curve in read_curves(wire, unit, walk.chain)}
    finally:
        wire.close()
    if fault is not None:
        spec = DeviceSpec(DeviceId("sunspec"), DeviceKind.METER, "sunspec", "", endpoint, unit)
        raise trouble(spec, Polled(fault=fault, problem=problem)).tell(as_json)
    rows: list[dict[str, object]] = [
        {"model": entry.id, "address": entry.address, "length": entry.length} for entry in walk.chain
    ]
    for row, entry in zip(rows, walk.chain, strict=True):
        if entry.id in curves:
            row |= {"points": curves[entry.id].values, "problem": curves[entry.id].problem}
    if as_json:
        click.echo(json.dumps({"schema": 1, "ok": True, "models": rows}, indent=2))
        return
    for entry in walk.chain:
        try:
            said = f"{len(model(entry.id).points)} points"
        except UnknownModel:
            said = "a model of the maker's own"
        click.echo(f"  model {entry.id:<6}at {entry.address:<6}{entry.length:>4} registers  {said}")
        if entry.id in curves:
            click.echo(f"      {curve_text(curves[entry.id])}")


@scan.command("mqtt")
@click.argument("broker", default="127.0.0.1:1883")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=10.0, show_default=True, help="How long to listen.")
@click.option(
    "--username", default="", help="Where the broker asks for one; the password comes from ATOLL_MQTT_PASSWORD."
)
@click.option("--password", envvar="ATOLL_MQTT_PASSWORD", default="", help="Better in ATOLL_MQTT_PASSWORD.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def scan_mqtt(broker: str, *, seconds: float, username: str, password: str, as_json: bool) -> None:
    """Listen on a broker (HOST:PORT) and say who speaks: Sparkplug, Tasmota, ESPHome, Homie, VDA 5050, Home Assistant.

    It publishes nothing. A device that speaks once a minute is heard with --seconds 70.
    """
    from devices.mqtt_listen import identify
    from devices.shell.mqtt_ear import BrokerSilent, listen

    try:
        heard = listen(broker, seconds, username, password)
    except BrokerSilent as error:
        raise Trouble(
            "MQTT-001", broker, "no broker can be used there", str(error), f"atoll doctor --broker {broker}"
        ).tell(as_json) from error
    found = identify(heard)
    if as_json:
        rows = [{"protocol": one.protocol, "id": one.id, "said": one.said, "proposal": one.proposal} for one in found]
        click.echo(
            json.dumps({"schema": 1, "ok": True, "broker": broker, "topics": len(heard), "devices": rows}, indent=2)
        )
        return
    for one in found:
        click.echo(f"  {one.protocol:<15}{one.id:<28}{one.said}".rstrip())
        if one.proposal:
            click.echo(f"  {'':<15}{one.proposal}")
    click.echo(f"{len(found)} devices, {len(heard)} topics in {seconds:g} s")


@scan.command("gpio")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def scan_gpio(*, as_json: bool) -> None:
    """List the GPIO chips of this machine, their lines and who holds them; it changes nothing."""
    from devices.shell.pin_holders import chips

    found, problems = chips()
    if as_json:
        rows = [
            {"chip": chip.path, "label": chip.label, "header": chip.header,
             "lines": [{"offset": n.offset, "name": n.name, "holder": n.consumer, "used": n.used} for n in chip.lines]}
            for chip in found
        ]  # fmt: skip
        click.echo(json.dumps({"schema": 1, "ok": bool(found), "chips": rows, "problems": problems}, indent=2))
    else:
        for chip in found:
            used = [f"{n.offset} {n.consumer or 'the kernel'}" for n in chip.lines if n.used]
            header = "  the 40-pin header" if chip.header else ""
            click.echo(f"  {chip.path}  {chip.label}  {len(chip.lines)} lines{header}")
            click.echo(f"    held: {', '.join(used) or 'none'}")
    if not found:
        seen = "; ".join(problems) or "no /dev/gpiochip*"
        raise Trouble("GPIO-001", "this machine", "no GPIO chip can be used", seen, "atoll pins").tell(as_json)


def _ids(text: str) -> Sequence[int]:
    ids: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise Refusal(f"--units {text!r}: {part!r} is no id", ExitCode.USAGE, hint="write 1-10,17,100")
        ids += range(int(first), int(last or first) + 1)
    if not ids or min(ids) < 1 or max(ids) > 247:
        raise Refusal(f"--units {text!r}: ids are 1 to 247", ExitCode.USAGE, hint="write 1-10,17,100")
    return ids


def _scan(endpoint: str, units: Sequence[int], turnaround_s: float, as_json: bool) -> tuple[list[Unit], int]:
    from devices.model import BusFault
    from devices.shell.field_bus import find_units
    from devices.shell.modbus import open_wire

    wire = open_wire(endpoint, TCP_TIMEOUT_S, turnaround_s)
    found: list[Unit] = []
    garbled = 0
    try:
        for answer in find_units(wire, units):
            if answer is BusFault.DISCONNECTED:
                raise Trouble("BUS-001", endpoint, "the bus cannot be used", wire.problem, "atoll help BUS-001").tell(
                    as_json
                )
            if isinstance(answer, BusFault):
                garbled += 1
            else:
                found.append(_identified(wire, Unit(answer.unit, answer.answer_ms, endpoint)))
    finally:
        wire.close()
    return found, garbled


def _identified(wire: Wire, unit: Unit) -> Unit:
    from devices.shell.field_bus import likely_profiles, sunspec_chain

    unit.models = [entry.id for entry in sunspec_chain(wire, unit.unit)[0].chain]
    if not unit.models:
        likely = likely_profiles(wire, unit.unit)
        unit.profiles = [name for name, _ in likely]
        unit.values = likely[0][1] if likely else {}
    return unit
