"""`atoll read DEV[.POINT]`: what a device says now, from the bus itself or from the hub that runs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.field import Place, device_of, place_options, trouble
from controller.cli.remote import ask_hub, data_dir_option

if TYPE_CHECKING:
    from devices.model import DeviceSpec
    from devices.shell.field_bus import Polled

QUALITIES = ("good", "uncertain", "stale", "bad")


@click.command()
@click.argument("target", metavar="DEV[.POINT]")
@place_options
@data_dir_option
@click.option("--watch", is_flag=True, help="Once a second until Ctrl-C.")
@click.option("--raw", is_flag=True, help="Also the registers as they came.")
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
    as_json: bool,
) -> None:
    """Read DEV, or one point of it.

    With --site or --endpoint it asks the device itself (it only reads; a serial port must be free). Without, it asks
    the hub that runs on --data-dir, which tells what the device said last.
    """
    while True:
        if site is None and not endpoint:
            _from_hub(target, data_dir, as_json)
        else:
            _from_bus(target, Place(site, endpoint, unit, driver, kind), raw, as_json)
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


def _from_bus(target: str, place: Place, raw: bool, as_json: bool) -> None:
    spec, point = meant(target, place)
    polled = polled_now(spec)
    if polled.fault is not None:
        raise trouble(spec, polled).tell(as_json)
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
        for name, value in values.items():
            click.echo(
                f"  {name:<14}"
                + (f"{'--':>14}  bad: not available or out of range" if value is None else f"{value:>14g}")
            )
        for function, address, registers in polled.blocks if raw else ():
            words = " ".join(f"{word:04x}" for word in registers) if isinstance(registers, tuple) else str(registers)
            click.echo(f"  function {function} address {address}: {words}")
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


def polled_now(spec: DeviceSpec) -> Polled:
    """Returns one poll of a device over a wire of its own.

    Raises:
        Refusal: its driver or profile is none.
    """
    from devices.profile import BadProfile
    from devices.shell.field_bus import poll
    from devices.shell.modbus import open_wire

    wire = open_wire(spec.endpoint)
    try:
        return poll(wire, spec)
    except BadProfile as error:
        raise Refusal(str(error), ExitCode.CONFIG, hint="atoll profiles list") from error
    except ValueError as error:
        raise Refusal(str(error), ExitCode.USAGE, hint="--driver sunspec or --driver profile:NAME") from error
    finally:
        wire.close()
