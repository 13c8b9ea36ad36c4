"""`atoll upgrade FOLDER`: a kit over what runs, undone by itself unless it proves itself."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option

if TYPE_CHECKING:
    from controller.shell.upgrade import Machine

HEALTH_S = 120.0

restart_option = click.option("--restart", default="", metavar="COMMAND", help="Instead of systemd: what restarts it.")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@data_dir_option
@click.option("--trust", metavar="DID", default="", help="Take kits of this builder from now on.")
@click.option("--health-s", type=click.FloatRange(2, 3600), default=HEALTH_S, show_default=True, help="Time on trial.")
@restart_option
@click.option("--check", is_flag=True, help="Install beside and test it, then stop: nothing is switched.")
def upgrade(folder: Path, *, data_dir: Path | None, trust: str, health_s: float, restart: str, check: bool) -> None:
    """Check a kit, make a snapshot, install it beside, switch, watch it; roll back unless it is well.

    It is well when its hub answers with a running control cycle, the broker, every gateway that was there before and
    no entry less in the ledger. On a machine with gateways only: when each answers as a new process, has its broker,
    and hears every device that it heard before. Data are never rolled back: what was acknowledged meanwhile stays.
    """
    from controller.shell.kit import release_of
    from controller.shell.upgrade import UpgradeFailed, UpgradeRefused, install_beside, prove, vitals

    data = data_dir_of(data_dir).absolute()
    before = vitals(data)
    if before is None:
        raise Refusal(
            f"no hub and no gateway answers in {data}, so an upgrade could not be judged",
            ExitCode.UNREACHABLE,
            hint="start it first: atoll service status",
        )
    try:
        place = install_beside(folder.absolute(), data, _builders(data, trust), click.echo)
        if check:
            click.echo(f"{place.name} passes its self-test; nothing was switched")
            return
        click.echo(f"snapshot: {_snapshot(data, release_of(folder))}")
        click.echo(f"switching to {place.name}; it is watched for {health_s:g} s")
        prove(data, place, before, machine(restart), health_s)
    except UpgradeRefused as error:
        raise Refusal(str(error), ExitCode.UNSAFE, hint="nothing was changed") from error
    except UpgradeFailed as error:
        raise Refusal(str(error), ExitCode.FINDINGS, hint=f"its logs, and {data / 'snapshots'}, are kept") from error
    click.echo(f"{place.name} is in force; `atoll rollback` goes back to the one before")


def machine(restart: str) -> Machine:
    """Returns what restarts the services: the given command, else systemd.

    Raises:
        Refusal: neither.
    """
    from controller.shell.service_files import TARGET
    from controller.shell.service_install import has_systemd
    from controller.shell.upgrade import Machine

    if not restart and not has_systemd():
        raise Refusal("there is no systemd here", ExitCode.USAGE, hint="--restart COMMAND says what restarts the hub")
    words = shlex.split(restart) if restart else ["systemctl", "restart", TARGET]

    def again() -> None:
        subprocess.run(words, check=False, stdin=subprocess.DEVNULL)

    return Machine(again)


def _builders(data: Path, trust: str) -> list[str]:
    """Returns the builders whose kits are taken; `trust` is one more, for good."""
    from controller.shell.service_install import BUILDERS

    path = data / BUILDERS
    known = path.read_text(encoding="ascii").split() if path.exists() else []
    if trust and trust not in known:
        known.append(trust)
        path.write_text("\n".join(known) + "\n", encoding="ascii")
    if not known:
        raise Refusal(
            "no builder is trusted here yet",
            ExitCode.PERMISSION,
            hint="ask whoever built the kit for its key's name (`atoll kit verify` prints it): --trust did:key:...",
        )
    return known


def _snapshot(data: Path, release: str) -> Path:
    """Makes a backup of everything before the switch, keys apart; keeps the last three."""
    import time

    from controller.shell.backup import make_backup
    from controller.store.member_keys import KEYS

    folder = data / "snapshots"
    folder.mkdir(exist_ok=True, mode=0o700)
    name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-before-{release}"
    keys = folder / f"{name}.keys.db" if (data / KEYS).exists() else None
    make_backup(data, folder / f"{name}.tar.gz", None, keys)
    for old in sorted(folder.glob("*.tar.gz"))[:-3]:
        old.unlink()
        old.with_name(old.name.replace(".tar.gz", ".keys.db")).unlink(missing_ok=True)
    return folder / f"{name}.tar.gz"
