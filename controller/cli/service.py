"""`atoll service install|uninstall|status`: Atoll as services of this machine, from power-on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.checkout import ROOT
from controller.cli.errors import ExitCode, Refusal
from controller.cli.sites import load_site

if TYPE_CHECKING:
    from controller.shell.service_files import Install
    from controller.site import Site

DATA_DIR = Path("/var/lib/atoll")
_data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=DATA_DIR,
    show_default=True,
    help="The data partition's folder: all that runs writes here and nowhere else.",
)
_root = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Another root to write into (an image that is mounted); nothing is started.",
)


@click.group()
def service() -> None:
    """Run Atoll as services of this machine: started at power-on, watched, restarted."""


@service.command()
@click.argument("site", type=click.Path(path_type=Path))
@_data_dir
@_root
@click.option("--part", type=click.Choice(["all", "hub", "gateway"]), default="all", show_default=True)
@click.option("--gateway", "gateways", multiple=True, help="Which gateways run here (default: all of the site).")
@click.option("--user", default=None, help="Who runs it (default: the owner of this folder).")
@click.option("--broker", default="127.0.0.1:1883", show_default=True, metavar="HOST:PORT")
@click.option("--broker-listen", default="127.0.0.1", show_default=True, help="Where our own broker listens.")
@click.option("--listen", default="127.0.0.1", show_default=True, help="Address of the console.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port of the console.")
@click.option("--gnss", is_flag=True, help="Take the time from a GNSS receiver (gpsd).")
@click.option("--dry-run", is_flag=True, help="Print the files, write nothing.")
def install(  # noqa: PLR0913 - one argument per option
    site: Path,
    *,
    data_dir: Path,
    root: Path | None,
    part: str,
    gateways: tuple[str, ...],
    user: str | None,
    broker: str,
    broker_listen: str,
    listen: str,
    port: int,
    gnss: bool,
    dry_run: bool,
) -> None:
    """Write systemd units, broker, watchdog, journal, udev and chrony files for SITE, and start it all.

    Again with other options, it changes what is different. Nothing that somebody else wrote is overwritten.
    """
    from controller.shell.service_files import GROUPS, Install, files
    from controller.shell.service_install import groups_of, serial_adapters

    place = load_site(site)
    target = root or Path("/")
    mosquitto = _mosquitto(target, dry_run)
    own_broker = part != "gateway" and broker.startswith(("127.", "localhost")) and bool(mosquitto)
    here = () if part == "hub" else _gateways(place, gateways)
    wanted = Install(
        site=str(site.resolve()),
        data_dir=str(data_dir.absolute()),
        user=user or ROOT.owner(),
        hub=part != "gateway",
        gateways=here,
        drones=place.sky.drones_of(here),
        broker=broker,
        own_broker=own_broker,
        broker_listen=broker_listen,
        listen=listen,
        port=port,
        groups=groups_of(target, GROUPS),
        mosquitto=mosquitto or "/usr/sbin/mosquitto",
        gnss=gnss,
        adapters=serial_adapters(target),
    )
    if dry_run:
        for name, text in files(wanted).items():
            click.echo(f"# /{name}\n{text}")
        return
    _write(wanted, target, start=root is None)


def _gateways(place: Site, asked: tuple[str, ...]) -> tuple[str, ...]:
    known = tuple(gateway.id for gateway in place.gateways)
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise Refusal(
            f"no gateway {', '.join(unknown)} in this site", ExitCode.USAGE, hint=f"it has {', '.join(known)}"
        )
    return asked or known


def _mosquitto(root: Path, dry_run: bool) -> str:
    """Returns the broker's program, installed from the kit where that is possible; empty where there is none."""
    from controller.shell.kit_debian import install_broker

    for folder in ("usr/sbin", "usr/bin", "usr/local/sbin"):
        if (root / folder / "mosquitto").exists():
            return f"/{folder}/mosquitto"
    if root != Path("/") or dry_run or os.geteuid() != 0:
        return ""
    problem = install_broker(ROOT / "kit" / "debian")
    if problem:
        click.echo(f"atoll: no mosquitto ({problem}); the hub starts the nats-server that came with it", err=True)
        return ""
    return "/usr/sbin/mosquitto"


def _write(wanted: Install, target: Path, *, start: bool) -> None:
    from controller.shell.service_files import files
    from controller.shell.service_install import ForeignFiles, activate, has_systemd, write

    if start and os.geteuid() != 0:
        raise Refusal("services are installed by root", ExitCode.PERMISSION, hint="sudo ./atoll service install ...")
    data_dir = Path(wanted.data_dir)
    try:
        changed = write(target, data_dir, files(wanted), ROOT, wanted.user)
    except ForeignFiles as error:
        raise Refusal(
            f"these files are not ours, or were changed:\n{error}",
            ExitCode.UNSAFE,
            hint="move them away, or move your changes into a drop-in (systemctl edit UNIT)",
        ) from error
    except OSError as error:
        raise Refusal(
            f"cannot write {error.filename or target}: {error.strerror}",
            ExitCode.PERMISSION,
            hint="on a read-only root: mount -o remount,rw /   then install, then remount it ro",
        ) from error
    for name in changed:
        click.echo(f"wrote /{name.lstrip('/')}")
    if start and has_systemd():
        problems = activate()
        if problems:
            raise Refusal("\n".join(problems), ExitCode.RETRY, hint="systemctl status 'atoll*'")
        click.echo("started; `atoll service status` shows it")
    else:
        click.echo(f"{len(changed)} file(s) written; systemd starts everything at the next boot")


@service.command()
@_data_dir
@_root
def uninstall(data_dir: Path, root: Path | None) -> None:
    """Stop the services and remove their files; the data stay."""
    from controller.shell.service_install import deactivate, has_systemd, manifest, remove, systemctl

    target = root or Path("/")
    if root is None and os.geteuid() != 0:
        raise Refusal("services are removed by root", ExitCode.PERMISSION, hint="sudo ./atoll service uninstall")
    units = _units(manifest(target, data_dir))
    if not units:
        raise Refusal(f"no install is noted in {data_dir}", ExitCode.CONFIG, hint="name its --data-dir")
    if root is None and has_systemd():
        for problem in deactivate(units):
            click.echo(f"atoll: {problem}", err=True)
    removed, kept = remove(target, data_dir)
    if root is None and has_systemd():
        systemctl("daemon-reload")
    click.echo(f"{len(removed)} file(s) removed; the data stay in {data_dir}")
    if kept:
        raise Refusal("changed since, so left where they are:\n" + "\n".join(f"/{name}" for name in kept))


def _units(names: dict[str, str]) -> list[str]:
    return sorted(Path(name).name for name in names if name.endswith((".service", ".target")))


@service.command()
@_data_dir
@click.option("--json", "as_json", is_flag=True, help="For a machine.")
def status(data_dir: Path, as_json: bool) -> None:
    """Say what runs, what feeds its watchdog, and whether the hub is in safe mode."""
    from controller.shell.service_install import has_systemd, manifest, unit_states
    from controller.shell.start_budget import STARTS

    units = _units(manifest(Path("/"), data_dir))
    if not units:
        raise Refusal(f"no install is noted in {data_dir}", ExitCode.CONFIG, hint="atoll service install SITE")
    states = unit_states(units) if has_systemd() else []
    starts = data_dir / STARTS
    unclean = len(json.loads(starts.read_text())["starts"]) if starts.exists() else 0
    release = str((data_dir / "current").resolve())
    if as_json:
        click.echo(json.dumps({"schema": 1, "units": states, "recent_starts": unclean, "release": release}))
    else:
        for state in states:
            watch = "" if state.get("WatchdogUSec", "0") in ("0", "infinity") else f"watchdog {state['WatchdogUSec']}"
            line = f"{state.get('Id', '?'):32} {state.get('ActiveState', '?')}/{state.get('SubState', '?')}"
            click.echo(f"{line:54} restarts {state.get('NRestarts', '0')}  {watch}  {state.get('StatusText', '')}")
        click.echo(f"release {release}; {unclean} start(s) of the hub lately that did not end cleanly")
    bad = [state for state in states if state.get("ActiveState") != "active"]
    if bad or not states:
        raise SystemExit(int(ExitCode.FINDINGS if states else ExitCode.UNREACHABLE))
