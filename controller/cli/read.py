"""`atoll read DEV[.POINT]`: what a device says now, from the bus itself or from the hub that runs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.field import Place, device_of, place_options, trouble
from controller.cli.remote import ask_hub, data_dir_of, data_dir_option

if TYPE_CHECKING:
    from devices.model import DeviceSpec
    from devices.shell.field_bus import Polled

LISTEN_S = 10.0
QUALITIES = ("good", "uncertain", "stale", "bad")


@click.command()
@click.argument("target", metavar="DEV[.POINT]")
@place_options
@data_dir_option
@click.option("--watch", is_flag=True, help="Once a second until Ctrl-C.")
@click.option("--raw", is_flag=True, help="Also the registers as they came.")
@click.option("--curves", is_flag=True, help="Also a SunSpec device's trip settings and curves (models 705-712).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (a line each with --watch).")
def read(  # noqa: PLR0913 - one argument per option
    target: str,
    *,
    site: Path | None,
    endpoint: str,
    unit: int,
    driver: str,
    kind: str,
    data_dir: Path | None,
    watch: bool,
    raw: bool,
    curves: bool,
    as_json: bool,
) -> None:
    """Read DEV, or one point of it.

    A device that speaks MQTT is listened to on $ATOLL_BROKER (default 127.0.0.1:1883) for $ATOLL_LISTEN_S seconds (10).

    With --site or --endpoint it asks the device itself (it only reads; a serial port must be free). Without, it asks
    the hub that runs on --data-dir, which tells what the device said last.
    """
    place = Place(site, endpoint, unit, driver, kind)
    while True:
        if watch and not as_json:
            click.echo(time.strftime("%H:%M:%S"))
        try:
            if site is None and not endpoint:
                _from_hub(target, data_dir, as_json)
            else:
                _from_bus(target, place, _How(raw, curves, as_json))
        except Refusal as refusal:
            if not watch or refusal.exit_code == ExitCode.USAGE:
                raise
            refusal.show()  # a device that is silent for a while is watched on
        except click.exceptions.Exit:
            if not watch:
                raise
        if not watch:
            return
        time.sleep(1)


def _from_hub(target: str, data_dir: Path | None, as_json: bool) -> None:
    view = ask_hub(data_dir, {"ask": "status"})
    rows = {str(row["id"]): row for row in cast("list[Mapping[str, object]]", view["devices"])}
    row, point = (
        (rows[target], "") if target in rows else (rows.get(target.rpartition(".")[0]), target.rpartition(".")[2])
    )
    if row is None:
        raise Refusal(f"the hub knows no device {target!r}", ExitCode.USAGE, hint=f"there are {', '.join(rows)}")
    values = cast("list[Mapping[str, object]]", row["values"])
    names = [str(value["label"]) for value in values]
    shown = [(name, value) for name, value in zip(names, values, strict=True) if point in ("", name)]
    if not shown:
        raise Refusal(f"{row['id']} has no point {point!r}", ExitCode.USAGE, hint=f"there are {', '.join(names)}")
    if as_json:
        click.echo(json.dumps({"schema": 1, "device": row["id"], "values": [value for _, value in shown]}))
        return
    for name, value in shown:
        quality = QUALITIES[cast("int", value["quality"])]
        number = "--" if value["value"] is None else f"{cast('float', value['value']):g}"
        click.echo(f"  {name:<14}{number:>12} {value['unit']:<9}{quality}")


@dataclass(frozen=True, slots=True)
class _How:
    """What is shown beside the values, and in which form."""

    raw: bool
    curves: bool
    as_json: bool


def _from_bus(target: str, place: Place, how: _How) -> None:
    from devices.sunspec_curves import CURVES, named

    spec, point = meant(target, place)
    raw, as_json = how.raw, how.as_json
    polled = polled_now(spec, curves=how.curves or point.startswith(tuple(CURVES.values())))
    if polled.fault is not None:
        raise trouble(spec, polled).tell(as_json)
    polled.values.update(named(polled.curves))
    if point and point not in polled.values:
        there = ", ".join(polled.values)
        raise Refusal(f"{spec.id} has no point {point!r}", ExitCode.USAGE, hint=f"there are {there}")
    values = {name: value for name, value in polled.values.items() if point in ("", name)}
    if as_json:
        blocks = [
            {"function": f, "address": a, "registers": list(r) if isinstance(r, tuple) else str(r)}
            for f, a, r in polled.blocks
        ]
        row = {"device": spec.id, "endpoint": spec.endpoint, "unit": spec.unit, "values": values}
        click.echo(json.dumps({"schema": 1, "ok": None not in values.values(), **row, "blocks": blocks if raw else []}))
    else:
        width = max(14, *map(len, values), 0)
        for name, value in values.items():
            click.echo(
                f"  {name:<{width}}"
                + (f"{'--':>14}  bad: not available or out of range" if value is None else f"{value:>14g}")
            )
        for function, address, registers in polled.blocks if raw else ():
            words = " ".join(f"{word:04x}" for word in registers) if isinstance(registers, tuple) else str(registers)
            click.echo(f"  function {function} address {address}: {words}")
    for curve in polled.curves:
        if curve.problem and not as_json:
            click.echo(f"  {curve.name} (model {curve.model}): {curve.problem}")
    if values and all(value is None for value in values.values()):
        click.get_current_context().exit(int(ExitCode.FINDINGS))


def meant(target: str, place: Place) -> tuple[DeviceSpec, str]:
    """Returns the device and the point ("" = all) that a target names; ids may hold dots.

    Raises:
        Refusal: no such device.
    """
    device, dot, point = target.rpartition(".")
    if place.site is None and dot:
        return device_of(place, device), point
    try:
        return device_of(place, target), ""
    except Refusal:
        if not dot:
            raise
    return device_of(place, device), point


def polled_now(spec: DeviceSpec, *, curves: bool = False) -> Polled:
    """Returns one poll of a device over a wire of its own; `curves` reads a SunSpec device's curves too.

    Raises:
        Refusal: its driver or profile is none.
    """
    from devices.profile import BadProfile
    from devices.shell.field_bus import poll
    from devices.shell.modbus import open_wire

    if spec.driver.startswith("mqtt:"):
        return _heard_now(spec)
    wire = open_wire(spec.endpoint)
    try:
        return poll(wire, spec, curves=curves)
    except BadProfile as error:
        raise Refusal(str(error), ExitCode.CONFIG, hint="atoll profiles list") from error
    except ValueError as error:
        raise Refusal(str(error), ExitCode.USAGE, hint="--driver sunspec or --driver profile:NAME") from error
    finally:
        wire.close()


def _heard_now(spec: DeviceSpec) -> Polled:
    """Returns what a device that speaks MQTT says, as soon as it has said all, or what it said in some seconds."""
    from devices.model import BusFault
    from devices.profile import BadProfile
    from devices.shell.broker_login import login_of
    from devices.shell.field_bus import Polled
    from devices.shell.mqtt_ear import BrokerSilent, read_plain

    broker = os.environ.get("ATOLL_BROKER") or "127.0.0.1:1883"
    login = login_of(data_dir_of(None), "reader")()
    try:
        values = read_plain(spec, broker, float(os.environ.get("ATOLL_LISTEN_S") or LISTEN_S), login)
    except BrokerSilent as error:
        return Polled(fault=BusFault.DISCONNECTED, problem=str(error))
    except BadProfile as error:
        raise Refusal(str(error), ExitCode.CONFIG, hint="atoll profiles list") from error
    if not values:
        return Polled(fault=BusFault.TIMEOUT, problem=f"nothing on its topics at {broker}")
    return Polled(values=values)
