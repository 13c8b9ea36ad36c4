"""`atoll access list|show|put|renew`: who may use the broker, and their passwords."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import click

from controller.cli.edited import site_option
from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option
from controller.cli.sites import load_site

JSON: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object."
)
RELOAD = "the hub, or `sudo systemctl reload atoll-broker` where the broker is a service"


@click.group()
def access() -> None:
    """Say who may use the broker, hand a password out, take one in.

    Every gateway, vehicle and device that speaks MQTT by itself has a login of its own: it publishes below its own name
    only and hears its own commands only. `[broker] anonymous = false` in the site file then keeps all others out.
    """


@access.command("list")
@site_option
@data_dir_option
@JSON
def list_logins(site: Path, *, data_dir: Path | None, as_json: bool) -> None:
    """List the logins of a site and what each may say and hear."""
    from controller.broker_access import grants
    from controller.shell.broker_access import handed_out

    place = load_site(site)
    here = handed_out(data_dir_of(data_dir))
    found = grants(place)
    if as_json:
        rows = [
            {"login": g.name, "publishes": g.write, "hears": g.read, "password_here": g.name in here} for g in found
        ]
        click.echo(json.dumps({"schema": 1, "anonymous": place.anonymous_broker, "logins": rows}, indent=2))
        return
    for grant in found:
        click.echo(f"  {grant.name:<24} {'password here' if grant.name in here else 'no password here'}")
        for verb, topics in (("publishes", grant.write), ("hears", grant.read)):
            click.echo(f"      {verb:<10} {', '.join(topics) or 'nothing'}")
    others = (
        "everybody else may do everything ([broker] anonymous)" if place.anonymous_broker else "nobody else comes in"
    )
    click.echo(others)


@access.command()
@click.argument("name")
@site_option
@data_dir_option
@JSON
def show(name: str, *, site: Path, data_dir: Path | None, as_json: bool) -> None:
    """Print the user and password of the login NAME (or of a gateway's or device's id), and where to put them."""
    from controller.shell.broker_access import prepare_access

    folder = data_dir_of(data_dir)
    login = _login(site, name)
    try:
        password = prepare_access(load_site(site), folder).passwords.get(login, "")
    except OSError as error:
        raise Refusal(f"the logins in {folder} cannot be written: {error}", ExitCode.CONFIG) from error
    if not password:
        hint = f"atoll access renew {login}"
        raise Refusal(f"the password of {login} was taken away from here; a new one ends the old", hint=hint)
    if as_json:
        click.echo(json.dumps({"schema": 1, "user": login, "password": password}))
        return
    click.echo(f"user {login}\npassword {password}")
    if login.startswith("gateway."):
        click.echo(f"on its own Pi: atoll access put {login} --data-dir DIR")
    elif login.startswith("device."):
        click.echo("in the device's own MQTT settings; `atoll access put` where `atoll drone` flies it")


@access.command()
@click.argument("name")
@data_dir_option
def put(name: str, *, data_dir: Path | None) -> None:
    """Keep a password that the hub's `access show` printed, on another machine: it is asked for."""
    from devices.shell.broker_login import keep_password

    if not name.startswith(("gateway.", "device.")) and name not in ("hub", "reader"):
        raise Refusal(f"{name!r} is no login", ExitCode.USAGE, hint="gateway.ID, device.ID, hub or reader")
    password = str(click.prompt("password", hide_input=sys.stdin.isatty())).strip()
    try:
        path = keep_password(data_dir_of(data_dir), name, password)
    except OSError as error:
        raise Refusal(f"it cannot be written: {error}", ExitCode.CONFIG) from error
    click.echo(f"kept in {path}; used from the next connection on")


@access.command()
@click.argument("name")
@site_option
@data_dir_option
def renew(name: str, *, site: Path, data_dir: Path | None) -> None:
    """Make a new password for NAME; the old one holds until the broker reads its files again."""
    from controller.shell.broker_access import prepare_access
    from controller.shell.broker_access import renew as renewed

    folder = data_dir_of(data_dir)
    login = _login(site, name)
    try:
        path = renewed(folder, login)
        prepare_access(load_site(site), folder)
    except OSError as error:
        raise Refusal(f"it cannot be written: {error}", ExitCode.CONFIG) from error
    click.echo(f"{path}: new. It counts when the broker has read it: restart {RELOAD}. Then: atoll access show {login}")


def _login(site: Path, name: str) -> str:
    """Returns the login that a name, or a gateway's or device's id, means.

    Raises:
        Refusal: there is none.
    """
    from controller.broker_access import grants
    from devices.logins import device_login, gateway_login

    names = [grant.name for grant in grants(load_site(site))]
    found = next((one for one in (name, gateway_login(name), device_login(name)) if one in names), None)
    if found is None:
        raise Refusal(f"no login {name!r} in {site}", ExitCode.USAGE, hint=f"there are {', '.join(names)}")
    return found
