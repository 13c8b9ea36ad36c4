"""`atoll device add|test|replace`: devices of the site file, edited with its comments kept, and judged at the bus."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from controller.cli.check import read_text
from controller.cli.edited import save, site_option
from controller.cli.errors import ExitCode, Refusal
from controller.cli.field import Place, device_of, trouble
from controller.cli.remote import data_dir_of, data_dir_option

if TYPE_CHECKING:
    from devices.model import DeviceSpec
    from devices.plausible import PointVerdict, Sample

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
DRY_RUN = click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
SAMPLES = click.option("--samples", type=click.IntRange(1, 600), default=3, show_default=True, help="How many polls.")
EVERY = click.option("--every", type=click.FloatRange(0.1, 60), default=1.0, show_default=True, help="Seconds apart.")


@click.group()
def device() -> None:
    """Add, test and replace devices of a site file."""


@device.command()
@click.argument("id")
@site_option
@click.option("--kind", required=True, help="meter, pv, battery, genset, pump, tank, charger, relay, ...")
@click.option("--driver", default="sunspec", show_default=True, help="sunspec, profile:NAME, mqtt:NAME.")
@click.option("--endpoint", required=True, help="rtu:/dev/serial/by-id/NAME?baud=9600&parity=N, HOST:PORT, mqtt:TOPIC.")
@click.option("--unit", type=click.IntRange(0, 247), help="Modbus unit id (default: the product's own).")
@click.option("--gateway", help="Which gateway has the wire (default: the only one).")
@click.option("--member", help="Whose meter it is.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Another key: ratings.power_w_max=5000.")
@DRY_RUN
@JSON
def add(  # noqa: PLR0913 - one argument per option
    id: str,
    *,
    site: Path,
    kind: str,
    driver: str,
    endpoint: str,
    unit: int | None,
    gateway: str | None,
    member: str | None,
    settings: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Add the device ID to the site file.

    What can be switched is added with read_only = true: `atoll commission ID` takes that away when its checks pass.
    Nothing is written where the new file would have a problem.
    """
    from controller.site_edit import NotEditable, with_device, with_usage_point
    from controller.site_template import default_unit
    from devices.model import WRITABLE

    text = read_text(site)
    keys: dict[str, object] = {"id": id, "kind": kind, "driver": driver, "gateway": gateway or _only_gateway(text)}
    if driver != "gpio:header":
        keys["endpoint"] = endpoint
    if not driver.startswith(("mqtt:", "gpio:")):
        keys["unit"] = default_unit(driver) if unit is None else unit
    if kind in {str(one) for one in WRITABLE}:
        keys["read_only"] = True
    for setting in settings:
        _put(keys, setting)
    if "ratings" not in keys and _wants_ratings(kind):
        keys["ratings"] = {}  # so that each missing one is named
    note = f"read_only until it is put into service: atoll commission {id}" if keys.get("read_only") is True else ""
    try:
        after = with_device(text, keys, note)
        after = after if member is None else with_usage_point(after, member, id)
    except NotEditable as error:
        raise Refusal(f"{site}: {error}", ExitCode.CONFIG, hint=f"atoll check {site}") from error
    save(site, text, after, dry_run=dry_run, as_json=as_json)
    if not as_json:
        click.echo(f"next: atoll device test {id} --site {site}")


@device.command()
@click.argument("id")
@site_option
@SAMPLES
@EVERY
@click.option("--balance", is_flag=True, help="ID is the feeder's meter: do all devices on the bus add up to it?")
@JSON
def test(id: str, *, site: Path, samples: int, every: float, balance: bool, as_json: bool) -> None:
    """Read the device ID a few times and judge what it says; exit 0 plausible, 1 not, 4 no answer.

    A device with a clock of its own is held against this machine's clock; its drift shows after ten minutes
    (--samples 20 --every 32). With --balance all devices on the bus are read, and their powers and energies summed.
    """
    from devices.balance import judge_balance
    from devices.plausible import Verdict, judge

    spec = device_of(Place(site, "", 1, "", ""), id)
    if balance:
        verdicts = judge_balance(id, _sampled_together(on_feeder(site, spec), samples, every, as_json))
    else:
        verdicts = judge(spec.kind, sampled(spec, samples, every, as_json))
    bad = any(verdict.state is Verdict.BAD for verdict in verdicts)
    if as_json:
        rows = [{"point": v.point, "state": v.state, "value": v.value, "said": v.said} for v in verdicts]
        click.echo(json.dumps({"schema": 1, "ok": not bad, "device": id, "samples": samples, "points": rows}))
    else:
        show(verdicts)
        judged = f"{'NOT plausible' if bad else 'plausible'}; what it shows itself: atoll commission {id}"
        click.echo(f"{id}: {('it does NOT add up' if bad else 'it adds up') if balance else judged}")
    if bad:
        click.get_current_context().exit(int(ExitCode.FINDINGS))


@device.command()
@click.argument("id")
@site_option
@click.option("--driver", help="Of the new device (default: as before).")
@click.option("--endpoint", help="Of the new device (default: as before).")
@click.option("--unit", type=click.IntRange(0, 247), help="Of the new device (default: as before).")
@click.option(
    "--closing", multiple=True, metavar="POINT=VALUE", help="Last register of the old meter, off its display."
)
@click.option("--by", required=True, help="Who changes it.")
@click.option("--witness", required=True, help="Who watches: a second person reads both displays.")
@click.option("--reason", required=True, help="Why; it stands in the record.")
@click.option(
    "--key", type=click.Path(path_type=Path), help="Your key file (default: the key of the gateway on this machine)."
)
@click.option("--passphrase", envvar="ATOLL_PASSPHRASE", default="", help="Of the key file.")
@data_dir_option
@DRY_RUN
@JSON
def replace(  # noqa: PLR0913 - one argument per option
    id: str,
    *,
    site: Path,
    driver: str | None,
    endpoint: str | None,
    unit: int | None,
    closing: tuple[str, ...],
    by: str,
    witness: str,
    reason: str,
    key: Path | None,
    passphrase: str,
    data_dir: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put another device in the place of ID: closing registers, opening registers, site file, a record of the swap.

    Run it when the new device is on the bus. The old meter's last registers come from --closing (import_wh=123.4kWh,
    read off its display by two people). The gateway opens a new meter epoch by itself when the registers change:
    no energy is counted twice or lost, and the first interval is marked suspect. The record is signed as that of a
    commissioning is (`atoll commission --verify FILE`).
    """
    from controller.cli.commissioning import signing_key
    from controller.cli.swap import Swap

    if by.strip().lower() == witness.strip().lower():
        raise Refusal("--by and --witness are one person", ExitCode.USAGE, hint="a second person reads both displays")
    folder = data_dir_of(data_dir)
    signs = signing_key(folder, key, passphrase)
    swap = Swap(id, site, {"driver": driver, "endpoint": endpoint, "unit": unit}, closing, folder, signs)
    swap.run(by, witness, reason, dry_run=dry_run, as_json=as_json)


def sampled(spec: DeviceSpec, samples: int, every: float, as_json: bool) -> list[Sample]:
    """Returns some polls of a device.

    Raises:
        Refusal: it does not answer, or is read in another way.
    """
    return _sampled_together([spec], samples, every, as_json)[spec.id]


def on_feeder(site: Path, feeder: DeviceSpec) -> list[DeviceSpec]:
    """Returns the feeder's meter and every device whose power goes through it and nobody else's meter.

    Raises:
        Refusal: the device is no feeder's meter.
    """
    from controller.cli.sites import load_site
    from devices.metering import on_bus
    from devices.model import DeviceKind

    if feeder.kind is not DeviceKind.GRID:
        said = f"{feeder.id} is a {feeder.kind}: only the feeder's own meter (kind grid) sees all that flows"
        raise Refusal(said, ExitCode.USAGE, hint="name the grid meter")
    return [device for device in on_bus(load_site(site).devices) if device.gateway]


def _sampled_together(
    specs: Sequence[DeviceSpec], samples: int, every: float, as_json: bool
) -> dict[str, list[Sample]]:
    import time

    from controller.cli.read import polled_now
    from devices.plausible import Sample

    heard: dict[str, list[Sample]] = {spec.id: [] for spec in specs}
    started = time.monotonic()
    for number in range(samples):
        time.sleep(max(0.0, started + number * every - time.monotonic()))
        for spec in specs:
            polled = polled_now(spec)
            if polled.fault is not None:
                raise trouble(spec, polled).tell(as_json)
            at_ms = round((time.monotonic() - started) * 1000)
            heard[spec.id].append(Sample(at_ms, polled.values, round(time.time() * 1000)))
    return heard


def show(verdicts: list[PointVerdict]) -> None:
    """Prints verdicts, one line per point."""
    for verdict in verdicts:
        number = "--" if verdict.value is None else f"{verdict.value:g}"
        click.echo(f"  {verdict.state.upper():<5}{verdict.point:<14}{number:>12}  {verdict.said}".rstrip())


def _only_gateway(text: str) -> str:
    import tomllib

    try:
        content: Mapping[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refusal(f"not TOML: {error}", ExitCode.CONFIG, hint="atoll check SITE") from error
    rows = cast("list[Mapping[str, object]]", content.get("gateway", []))
    if len(rows) != 1:
        names = ", ".join(str(row.get("id")) for row in rows)
        raise Refusal("which gateway?", ExitCode.USAGE, hint=f"--gateway ID; there are {names or 'none'}")
    return str(rows[0].get("id"))


def _wants_ratings(kind: str) -> bool:
    from controller.site import json_schema

    tables = cast("Mapping[str, Mapping[str, Any]]", json_schema().get("$defs", {}))
    return any(
        table["properties"].get("kind", {}).get("const") == kind and "ratings" in table.get("required", [])
        for table in tables.values()
        if "properties" in table
    )


def _put(keys: dict[str, object], setting: str) -> None:
    from controller.site_edit import parse_value

    path, equals, value = setting.partition("=")
    if not equals or not path:
        raise Refusal(f"--set {setting!r}: write KEY=VALUE", ExitCode.USAGE, hint="--set ratings.power_w_max=5000")
    table = keys
    *tables, key = path.split(".")
    for name in tables:
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            raise Refusal(f"--set {setting!r}: {name} is no table", ExitCode.USAGE)
        table = cast("dict[str, object]", inner)
    table[key] = parse_value(value)
