"""`atoll run hub|gateway|all SITE`: the production start."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option
from controller.cli.sites import load_site

if TYPE_CHECKING:
    from controller.site import Site
    from devices.clock import Instant
    from devices.shell.run_clock import Clock


@click.command()
@click.argument("part", type=click.Choice(["hub", "gateway", "all"]))
@click.argument("site", type=click.Path(path_type=Path))
@data_dir_option
@click.option("--listen", default="127.0.0.1", show_default=True, help="Address of the console.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port of the console.")
@click.option("--broker", default=None, metavar="HOST:PORT", help="A broker that runs; without it the hub starts one.")
@click.option(
    "--broker-port", type=click.IntRange(1, 65535), default=1883, show_default=True, help="Of our own broker."
)
@click.option("--gateway", "gateway_id", default=None, help="Which gateway of the site (default: the only one).")
@click.option("--follow-run", is_flag=True, hidden=True, help="Take clock and ports from run.json (demo).")
def run(  # noqa: PLR0913 - one argument per option
    part: str,
    site: Path,
    *,
    data_dir: Path | None,
    listen: str,
    port: int,
    broker: str | None,
    broker_port: int,
    gateway_id: str | None,
    follow_run: bool,
) -> None:
    """Run the hub, a gateway, or both with a supervisor, until Ctrl-C or SIGTERM."""
    from controller.cli.logs import log_to_stderr
    from controller.shell.places import reachable

    log_to_stderr()
    place, folder = load_site(site), data_dir_of(data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if part == "all":
        own = ["--broker", broker] if broker else ["--broker-port", str(broker_port)]
        words = [*own, "--listen", listen, "--port", str(port)]
        _all(place, site, folder, words, broker or f"127.0.0.1:{broker_port}", f"http://{reachable(listen)}:{port}")
    elif part == "hub":
        _hub(place, folder, listen, port, broker, broker_port, follow_run)
    else:
        _gateway(place, folder, gateway_id, broker or f"127.0.0.1:{broker_port}", follow_run)


def _clock(folder: Path, follow_run: bool) -> Clock:
    from controller.shell.data_dir import RUN
    from devices.shell.run_clock import BadRunFile, RunClock, WallClock

    if not follow_run:
        return WallClock(_latest_known(folder))
    try:
        return RunClock.join(folder / RUN)[0]
    except (FileNotFoundError, BadRunFile) as error:
        raise Refusal(f"no run in {folder}: {error}", ExitCode.CONFIG) from error


def _latest_known(folder: Path) -> Instant:
    """Returns the newest instant in the ledger: time never goes back behind it."""
    from controller.shell.data_dir import LEDGER
    from controller.store.ledger_file import LedgerFile, NotALedger
    from devices.clock import Instant

    if not (folder / LEDGER).exists():
        return Instant(0)
    try:
        file = LedgerFile.read(folder / LEDGER)
    except NotALedger as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error
    try:
        return file.last_start() if file.count_records() else Instant(0)
    finally:
        file.close()


def _hub(
    place: Site, folder: Path, listen: str, port: int, broker: str | None, broker_port: int, follow_run: bool
) -> None:
    import apsw

    from controller.shell.broker import BrokerFailed, NoBroker, NoFreePort
    from controller.shell.data_dir import HubFileBroken
    from controller.shell.hub_process import BrokerPortTaken, ConsolePortTaken, HubOptions, run_hub
    from controller.shell.journal import JournalDamaged
    from controller.shell.rulebook import TimezoneChanged
    from controller.store.ledger_file import NotALedger
    from devices.shell.data_lock import AlreadyRunning

    options = HubOptions(
        data_dir=folder,
        broker=broker or f"127.0.0.1:{broker_port}",
        own_broker=broker is None,
        listen=listen,
        console_port=port,
        simulated=follow_run,
    )
    try:
        run_hub(place, options, _clock(folder, follow_run))
    except (AlreadyRunning, HubFileBroken, JournalDamaged, NotALedger, TimezoneChanged) as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error
    except (apsw.FullError, apsw.IOError, apsw.ReadOnlyError) as error:
        raise _not_written(folder, error) from error
    except BrokerPortTaken as error:
        hint = (
            f"if a broker listens there, use it: --broker 127.0.0.1:{broker_port}\n"
            f"else take another: --broker-port {broker_port + 1}"
        )
        raise Refusal(str(error), ExitCode.RETRY, hint=hint) from error
    except ConsolePortTaken as error:
        raise Refusal(str(error), ExitCode.RETRY, hint="free the port, or choose --port and --listen") from error
    except (BrokerFailed, NoBroker, NoFreePort) as error:
        raise Refusal(f"the broker cannot start: {error}", ExitCode.CONFIG) from error


def _gateway(place: Site, folder: Path, gateway_id: str | None, broker: str, follow_run: bool) -> None:
    import apsw

    from controller.shell.data_dir import RUN
    from controller.shell.hub_process import live_periods
    from controller.shell.simulation import gateway_config, gateway_folder
    from devices.profile import BadProfile
    from devices.shell.data_lock import AlreadyRunning
    from devices.shell.gateway import run_gateway
    from devices.shell.outbox_file import OutboxDamaged
    from devices.shell.run_clock import FLOOR_REAL_MS, RunFile

    names = [gateway.id for gateway in place.gateways]
    if gateway_id is None and len(names) == 1:
        gateway_id = names[0]
    if gateway_id not in names:
        raise Refusal(f"which gateway? this site has {', '.join(names)}", ExitCode.USAGE, hint="--gateway ID")
    clock = _clock(folder, follow_run)
    endpoints = RunFile.read(folder / RUN).endpoints if follow_run else None
    _, poll_ms = live_periods(place, clock.speed)
    config = gateway_config(place, gateway_id, poll_ms, round(FLOOR_REAL_MS * clock.speed))
    try:
        run_gateway(config, gateway_folder(folder, gateway_id), broker, clock, endpoints)
    except (AlreadyRunning, OutboxDamaged, BadProfile) as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error
    except (apsw.FullError, apsw.IOError, apsw.ReadOnlyError) as error:
        raise _not_written(folder, error) from error


def _not_written(folder: Path, error: Exception) -> Refusal:
    """Returns what to say when a commit has failed: the process ends, since what it would acknowledge is not safe."""
    return Refusal(
        f"a database in {folder} could not be written ({error}); nothing of that moment was acknowledged or forgotten",
        ExitCode.RETRY,
        hint="free space on that disk, or mend it, and start again: whoever sent the data still has it",
    )


def _all(place: Site, site: Path, folder: Path, hub_words: list[str], broker: str, console: str) -> None:
    """Supervises hub and gateways; ends with them."""
    import signal

    from controller.shell.children import ChildFailed, ChildSpec, Supervisor, arguments
    from controller.shell.data_dir import OPERATOR_CODE

    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _: stopping.append(caught))
    supervisor = Supervisor(folder / "logs", lambda text: click.echo(text, err=True))
    try:
        supervisor.start(ChildSpec("hub", arguments("run", "hub", site, "--data-dir", folder, hub_words)))
        for gateway in place.gateways:
            words = arguments("run", "gateway", site, "--data-dir", folder, "--broker", broker, "--gateway", gateway.id)
            supervisor.start(ChildSpec(gateway.id, words))
        click.echo(f"hub and {len(place.gateways)} gateway(s) run; logs in {folder / 'logs'}; Ctrl-C stops them")
        click.echo(f"console: {console}; its operator code is in {folder / OPERATOR_CODE}")
        while not stopping:
            supervisor.poll()
            time.sleep(0.2)
    except ChildFailed as error:
        raise Refusal(str(error), ExitCode.RETRY) from error
    finally:
        supervisor.stop()
