"""`atoll init`: asks what only the people of the place know, and writes a commented site file that is sound."""

from __future__ import annotations

import json
from pathlib import Path

import click

from controller.cli.errors import ExitCode, Refusal

BY_ID = Path("/dev/serial/by-id")
ZONE_FILES = (Path("/etc/timezone"), Path("/etc/localtime"))


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default="site.toml")
@click.option("--name", help="Of the community.")
@click.option("--timezone", help="IANA name, for example Pacific/Tongatapu.")
@click.option("--latitude", type=click.FloatRange(-90, 90), help="Degrees north.")
@click.option("--longitude", type=click.FloatRange(-180, 180), help="Degrees east.")
@click.option("--currency", help="ISO 4217, for example TOP.")
@click.option("--price", type=click.FloatRange(0, 1000), help="What a kWh from outside costs.")
@click.option("--feeder-kw", type=click.FloatRange(0, 100_000), help="What the connection to the outside may carry.")
@click.option("--households", type=click.IntRange(1, 99), help="How many.")
@click.option("--gateway", help="Id of the first gateway (the Pi with the wires).")
@click.option("--driver", help="Of the grid meter: sunspec, profile:NAME (atoll profiles list), mqtt:NAME.")
@click.option("--endpoint", help="Of the grid meter: rtu:/dev/serial/by-id/NAME?baud=9600&parity=N, HOST:PORT.")
@click.option("--unit", type=click.IntRange(0, 247), help="Modbus unit id of the grid meter.")
@click.option("--yes", is_flag=True, help="Ask nothing: take the defaults for what is not given.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; asks nothing.")
def init(file: Path, *, yes: bool, as_json: bool, **given: str | float | int | None) -> None:
    """Write FILE (default: site.toml) to begin with; asks for what is not given as an option.

    It never overwrites a file. What it writes passes `atoll check`.
    """
    if file.exists():
        raise Refusal(f"{file} exists already", ExitCode.CONFIG, hint=f"atoll check {file}   or name another file")
    text = _text(given, quiet=yes or as_json)
    _sound(text, str(file))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise Refusal(f"{file} cannot be written: {error.strerror}", ExitCode.CONFIG) from error
    steps = [f"atoll check {file}", "atoll scan modbus ENDPOINT --quick", "atoll device add ID --kind meter ...",
             "atoll commission grid", f"atoll run all {file}"]  # fmt: skip
    if as_json:
        click.echo(json.dumps({"schema": 1, "ok": True, "file": str(file), "next": steps}, indent=2))
        return
    click.echo(f"{file} is written and sound. Next:")
    for step in steps:
        click.echo(f"  {step}")


def _text(given: dict[str, str | float | int | None], *, quiet: bool) -> str:
    from datetime import UTC, datetime

    from controller.site_template import Answers, default_unit, site_id, site_text

    def ask(key: str, words: str, default: str | float) -> str:
        known = given.get(key)
        if known is not None:
            return str(known)
        return str(default) if quiet else str(click.prompt(words, default=default, type=type(default)))

    name = ask("name", "Name of the community", "Our village")
    driver = ask("driver", "Driver of the grid meter (sunspec, profile:NAME, mqtt:NAME)", "profile:eastron_sdm630")
    answers = Answers(
        id=site_id(name),
        name=name,
        timezone=ask("timezone", "Time zone", _timezone()),
        latitude=float(ask("latitude", "Latitude [degrees north]", 0.0)),
        longitude=float(ask("longitude", "Longitude [degrees east]", 0.0)),
        currency=ask("currency", "Currency (ISO 4217)", "USD").upper(),
        import_price=float(ask("price", "What a kWh from outside costs", 0.3)),
        feeder_w=float(ask("feeder_kw", "What the connection to the outside may carry [kW]", 40.0)) * 1000,
        households=int(ask("households", "Households", 1)),
        gateway=ask("gateway", "Id of the gateway (the Pi with the wires)", "gw-1"),
        driver=driver,
        endpoint=ask("endpoint", "Endpoint of the grid meter", _endpoint(driver)),
        unit=int(ask("unit", "Its unit id", default_unit(driver))) if not driver.startswith("mqtt:") else 0,
    )
    return site_text(answers, f"{datetime.now(UTC):%Y-%m-%d}")


def _sound(text: str, file: str) -> None:
    from controller.site import check

    problems = check(text, file)[1]
    if problems:
        said = "\n".join(f"{p.where}: {p.message} (seen: {p.seen})\n    fix: {p.fix}" for p in problems)
        raise Refusal(f"nothing was written: these answers do not go together\n{said}", ExitCode.USAGE)


def _timezone() -> str:
    for path in ZONE_FILES:
        try:
            if path.is_symlink():
                return str(path.resolve()).partition("zoneinfo/")[2] or "UTC"
            return path.read_text(encoding="utf-8").strip().removeprefix("Etc/") or "UTC"
        except OSError:
            continue
    return "UTC"


def _endpoint(driver: str) -> str:
    """Returns the first serial port that is plugged in, else what such an endpoint looks like."""
    if driver == "sunspec":
        return "127.0.0.1:502"
    if driver.startswith("mqtt:"):
        return "mqtt:grid"
    ports = sorted(BY_ID.glob("*")) if BY_ID.is_dir() else []
    return f"rtu:{ports[0] if ports else BY_ID / 'NAME'}?baud=9600&parity=N"
