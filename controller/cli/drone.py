"""`atoll drone SITE DEVICE`: flies a MAVLink drone for the hub, or says what keeps it down."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option
from controller.cli.sites import load_site

if TYPE_CHECKING:
    from devices.mavlink_pilot import Pilot
    from devices.shell.drone import DroneShell

CHECK_S = 45.0
WATCH_S = 1.5
"""After the parameters, position and charge are known, so long for Remote ID to be told."""


@click.command()
@click.argument("site", type=click.Path(path_type=Path))
@click.argument("device")
@data_dir_option
@click.option("--broker", default="127.0.0.1:1883", show_default=True, metavar="HOST:PORT", help="The hub's broker.")
@click.option("--check", is_flag=True, help="Connect to the aircraft, print what keeps it down, and stop.")
@click.option("--json", "as_json", is_flag=True, help="With --check: for machines.")
@click.option("--follow-run", is_flag=True, hidden=True, help="Take the clock from run.json (demo).")
def drone(
    site: Path, device: str, *, data_dir: Path | None, broker: str, check: bool, as_json: bool, follow_run: bool
) -> None:
    """Fly a drone by MAVLink as a vehicle of the hub, until Ctrl-C.

    The aircraft's fence, lost-link and battery fail-safes are read back before every flight; mission and fence are
    uploaded, read back and compared; only then it is armed. Ending this program does not end a flight: the autopilot
    flies on by its own mission and fail-safes.
    """
    from controller.cli.logs import log_to_stderr
    from controller.cli.run import clock_of
    from controller.missions import MAP
    from controller.site_zones import INTERFACE, MANUFACTURER
    from controller.zone_orders import flight_rules
    from devices.logins import device_login
    from devices.mavlink_pilot import Pilot, factsheet_of
    from devices.shell.broker_login import login_of
    from devices.shell.doorbell import bell_of
    from devices.shell.drone import DroneShell
    from devices.shell.radio import BadEndpoint
    from devices.vda5050 import Address

    place, folder = load_site(site), data_dir_of(data_dir)
    spec = place.device(device)
    if spec is None or device not in place.sky.aircraft:
        known = ", ".join(sorted(place.sky.aircraft)) or "none has one"
        raise Refusal(f"{device} has no mavlink table in {site}: {known}", ExitCode.USAGE, hint="docs/vehicles.md")
    log_to_stderr()
    rules, craft = flight_rules(place, spec), place.sky.aircraft[device]
    pilot = Pilot(Address(INTERFACE, MANUFACTURER, device), MAP, rules, factsheet_of(rules), two_step=craft.two_step)
    endpoint = craft.endpoint
    try:
        bell = None if check else bell_of(folder, device)
        logins = login_of(folder, device_login(device))
        folder.mkdir(parents=True, exist_ok=True)
        shell = DroneShell(pilot, endpoint, None if check else broker, clock_of(folder, follow_run), bell, logins)
    except BadEndpoint as error:
        raise Refusal(f"{endpoint}: {error}", ExitCode.CONFIG, hint="docs/vehicles.md") from error
    except OSError as error:  # a service is started again: the port may be free then
        raise Refusal(f"{endpoint}: {error}", ExitCode.RETRY, hint="is another program on this port?") from error
    if check:
        _check(shell, pilot, endpoint, as_json=as_json)
    else:
        shell.run(threading.Event())


def _check(shell: DroneShell, pilot: Pilot, endpoint: str, *, as_json: bool) -> None:
    """Prints the aircraft and what keeps it down; exits 0 only where nothing does."""
    stopping = threading.Event()
    thread = threading.Thread(target=shell.run, args=(stopping,), daemon=True)
    thread.start()
    deadline = time.monotonic() + CHECK_S
    try:
        craft = pilot.craft
        while time.monotonic() < deadline and not (craft.online and craft.place and craft.charge is not None):
            time.sleep(0.1)
        if pilot.craft.online:
            time.sleep(WATCH_S)
    finally:
        stopping.set()
        thread.join(5)
    craft = pilot.craft
    if not craft.online or craft.autopilot is None:
        hint = "power, radio, the endpoint, and that no other ground station holds the port"
        raise Refusal(f"no autopilot is heard on {endpoint} within {CHECK_S:g} s", ExitCode.UNREACHABLE, hint=hint)
    errors = pilot.errors()
    if as_json:
        told = [{"type": error.errorType, "text": error.errorDescription} for error in errors]
        answer = {"autopilot": craft.autopilot, "charge": craft.charge, "params": craft.params, "errors": told}
        click.echo(json.dumps(answer, sort_keys=True))
    else:
        charge = "unknown" if craft.charge is None else f"{craft.charge:.0%}"
        click.echo(f"{craft.autopilot}, charge {charge}, {len(craft.params)} parameters read back")
        for error in errors:
            click.echo(f"  {error.errorType}: {error.errorDescription}")
        click.echo("ready" if not errors else "not ready")
    if errors:
        raise SystemExit(int(ExitCode.FINDINGS))
