"""`atoll status`: what the Now page shows, in the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import click

from controller.cli.remote import ask_hub, data_dir_option

Row = Mapping[str, object]
IDLE_W = 25.0
QUALITIES = ("good", "uncertain", "stale", "bad")


@click.command()
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the whole view as JSON.")
def status(data_dir: Path | None, as_json: bool) -> None:
    """Print what the Now page shows; exit 0, or 1 while an alarm waits for somebody."""
    view = ask_hub(data_dir, {"ask": "status"})
    if as_json:
        click.echo(json.dumps({"schema": 1, **view}, indent=2))
    else:
        for line in render(view):
            click.echo(line)
    waiting = [row for row in rows(view, "alarms") if row["state"] in ("unacknowledged", "returned-unacknowledged")]
    raise SystemExit(1 if waiting else 0)


def rows(view: Row, key: str) -> Sequence[Row]:
    """Returns a list of tables of the view."""
    return cast("Sequence[Row]", view.get(key, ()))


def render(view: Row) -> list[str]:
    """Returns the Now page as lines of at most about 100 characters."""
    from controller.civil import clock_text
    from devices.clock import Instant

    zone = str(view["timezone"])

    def clock(at: object) -> str:
        return clock_text(zone, Instant(cast("int", at)))

    speed = cast("float", view["speed"])
    simulated = "  SIMULATED" if view["simulated"] else ""
    faster = f" x{speed:g}" if speed != 1 else ""
    lines = [
        f"{view['site']}  {clock(view['at'])}{faster}  mode {view['mode']}{simulated}  link {view['link']}",
        f"broker: {view['broker']}",
        "",
    ]
    lines += [f"  {row['label']:<26}{power_text(cast('Row', row['power']))}" for row in rows(view, "flows")]
    battery, tank = cast("Row", view["battery_soc"]), cast("Row", view["tank_level"])
    lines += [
        "",
        f"  {'Battery':<26}{value_text(battery)}  reserve {cast('float', view['battery_reserve']):.0%}"
        f"{hours(view['battery_hours'], 'to the reserve')}",
        f"  {'Drinking water':<26}{value_text(tank)}  reserve {cast('float', view['tank_reserve']):.0%}"
        f"{hours(view['tank_hours'], 'to the reserve without pumping')}",
        "",
        f"plan: {view['plan_status']}",
    ]
    lines += [f"  {clock(row['at'])}  {row['text']} ({row['why']})" for row in rows(view, "next_actions")]
    lines += ["", f"ledger: {view['ledger_size']} entries, root {str(view['ledger_root'])[:16]}"]
    lines += [f"hold: {row['id']}: {row['hold']}" for row in rows(view, "devices") if row["hold"]]
    lines += [f"{row['id']}: {row['ready']}" for row in rows(view, "devices") if row["ready"]]
    alarms = rows(view, "alarms")
    lines += ["", f"alarms: {len(alarms)}" if alarms else "no alarms"]
    lines += [
        f"  {str(row['priority']).upper():<7}{row['id']}  {row['text']}  [{row['state']}]\n"
        f"          {row['response']}{more(row)}"
        for row in alarms
    ]
    return lines


def more(alarm: Row) -> str:
    """Returns where an alarm is explained, empty where nothing more is to be said."""
    return f"   (atoll help {alarm['code']})" if alarm.get("code") else ""


def power_text(value: Row) -> str:
    """Returns a power with the way it flows, so that nobody has to know the sign rule."""
    watts = cast("float | None", value["value"])
    if watts is None or abs(watts) < IDLE_W:
        return value_text(value)
    return value_text({**value, "value": abs(watts)}) + ("  giving" if watts < 0 else "  taking")


def value_text(value: Row) -> str:
    """Returns a number with unit, and its age and quality where they are not as they should be."""
    number, quality = value["value"], QUALITIES[cast("int", value["quality"])]
    if number is None:
        return f"--  ({quality})"
    amount = cast("float", number)
    shown = {"W": (amount / 1000, "kW", 2), "fraction": (amount * 100, "%", 1)}.get(str(value["unit"]))
    scaled, unit, digits = shown or (amount, str(value["unit"]), 1)
    text = f"{scaled:8.{digits}f} {unit}"
    return text if quality == "good" else f"{text}  ({quality}, {cast('int', value['age_ms']) / 1000:.0f} s old)"


def hours(value: object, words: str) -> str:
    """Returns `, 5.2 h to the reserve`, or nothing."""
    return "" if value is None else f", {cast('float', value):.1f} h {words}"
