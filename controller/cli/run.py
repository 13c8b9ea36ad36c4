"""`atoll run hub|gateway|all SITE`: the production start.

A MAVLink drone is flown by a process of its own beside the gateway on whose machine its radio is: `run all` and `run
gateway` start and watch it; the services have a unit for it and start their gateways with `--alone`.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.apart import apart
from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option
from controller.cli.sites import load_site

if TYPE_CHECKING:
    from controller.shell.children import ChildSpec, Supervisor
    from controller.shell.gateway_setup import GatewayOrders
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
@click.option("--advisory", is_flag=True, help="Look only: plan in shadow, send nothing, report what it would save.")
@click.option("--start-budget", is_flag=True, help="After 5 unclean starts in 10 min: telemetry and console only.")
@click.option("--alone", is_flag=True, help="Of a gateway: do not start `atoll drone` for the drones beside it.")
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
    advisory: bool,
    start_budget: bool,
    alone: bool,
    follow_run: bool,
) -> None:
    """Run the hub, a gateway, or both with a supervisor, until Ctrl-C or SIGTERM; MAVLink drones with their gateway.

    With --advisory a hub publishes nothing but its own STATE and questions for a birth, a gateway writes no register,
    and each morning `atoll plan SITE --advice` says what the plan would have saved.
    """
    from controller.cli.logs import log_to_stderr
    from controller.shell.places import reachable
    from controller.shell.site_change import settle

    log_to_stderr()
    back = settle(site)
    if back:
        click.echo(back, err=True)
    folder = data_dir_of(data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    where = broker or f"127.0.0.1:{broker_port}"
    if part == "gateway":
        orders = apart(lambda: _orders(site, folder, gateway_id, advisory=advisory, follow_run=follow_run))
        if not orders.drones or alone or advisory or follow_run:
            _gateway(orders, folder, where, follow_run)
        else:
            _watch(Parts(site, folder, where, advisory, gateways=(orders.config.id,)), load_site(site))
        return
    place = load_site(site)
    if advisory:
        place = looked_at(place)
    if part == "all":
        own = ["--broker", broker] if broker else ["--broker-port", str(broker_port)]
        words_budget = ["--start-budget"] if start_budget else []
        words = (*own, *words_budget, "--listen", listen, "--port", str(port))
        _watch(Parts(site, folder, where, advisory, words), place, f"http://{reachable(listen)}:{port}")
        return
    if not start_budget:
        _hub(place, folder, listen, port, broker, broker_port, follow_run, mode="advisory" if advisory else "")
        return
    with started(folder) as safe:
        mode = "safe" if safe else "advisory" if advisory else ""
        _hub(place, folder, listen, port, broker, broker_port, follow_run, mode=mode)


@contextmanager
def time_kept(folder: Path, follow_run: bool) -> Generator[None]:
    """Notes in time.json, while a process runs on the wall clock, how far it may be off where it is disciplined."""
    from devices.shell.time_sync import TimeKeeper

    if follow_run:
        yield
        return
    keeper = TimeKeeper(folder)
    keeper.start()
    try:
        yield
    finally:
        keeper.stop()


@contextmanager
def started(folder: Path) -> Generator[bool]:
    """Counts this start, yields whether the hub must be a safe one; an end without an error clears the count."""
    from controller.shell.start_budget import STARTS_MAX, WINDOW_S, StartBudget
    from devices.shell.run_clock import boot_id

    budget = StartBudget(folder)
    safe = budget.begin(time.monotonic(), boot_id())
    if safe:
        click.echo(
            f"atoll: more than {STARTS_MAX} starts in {WINDOW_S:.0f} s: safe mode, telemetry and console only", err=True
        )
    yield safe
    budget.clean()


def looked_at(place: Site) -> Site:
    """Returns the site with every device marked read-only: the Modbus driver then refuses every write frame."""
    from dataclasses import replace

    return replace(place, devices=tuple(replace(device, read_only=True) for device in place.devices))


def clock_of(folder: Path, follow_run: bool, latest: Instant | None = None) -> Clock:
    """Returns the wall clock, never behind the ledger (`latest`, where it was read), or the run's in the folder."""
    from controller.shell.data_dir import RUN
    from devices.shell.run_clock import BadRunFile, RunClock, WallClock
    from devices.shell.time_file import bound_once_known

    if not follow_run:
        return WallClock(latest_known(folder) if latest is None else latest, known=bound_once_known(folder))
    try:
        return RunClock.join(folder / RUN)[0]
    except (FileNotFoundError, BadRunFile) as error:
        raise Refusal(f"no run in {folder}: {error}", ExitCode.CONFIG) from error


def latest_known(folder: Path) -> Instant:
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
    place: Site, folder: Path, listen: str, port: int, broker: str | None, broker_port: int, follow_run: bool,
    *, mode: str,
) -> None:  # fmt: skip
    import apsw

    from controller.shell.broker import BrokerFailed, NoBroker, NoFreePort
    from controller.shell.data_dir import HubFileBroken
    from controller.shell.hub_process import BrokerPortTaken, ConsolePortTaken, HubOptions, run_hub
    from controller.shell.journal import JournalDamaged
    from controller.shell.rulebook import ChangedForLife
    from controller.shell.witnesses import WouldFork
    from controller.store.ledger_file import NotALedger
    from devices.shell.data_lock import AlreadyRunning

    options = HubOptions(
        data_dir=folder,
        broker=broker or f"127.0.0.1:{broker_port}",
        own_broker=broker is None,
        listen=listen,
        console_port=port,
        simulated=follow_run,
        advisory=bool(mode),
        safe=mode == "safe",
    )
    try:
        with time_kept(folder, follow_run):
            run_hub(place, options, clock_of(folder, follow_run))
    except (AlreadyRunning, HubFileBroken, JournalDamaged, NotALedger, ChangedForLife) as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error
    except WouldFork as error:
        raise Refusal(
            str(error), ExitCode.UNSAFE, hint="docs/privacy.md and docs/commands.md say how to restore"
        ) from error
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


def _one_gateway(place: Site, asked: str | None) -> str:
    names = [gateway.id for gateway in place.gateways]
    found = names[0] if asked is None and len(names) == 1 else asked
    if found not in names:
        raise Refusal(f"which gateway? this site has {', '.join(names)}", ExitCode.USAGE, hint="--gateway ID")
    return found


def _orders(site: Path, folder: Path, asked: str | None, *, advisory: bool, follow_run: bool) -> GatewayOrders:
    """Returns what site file and ledger say to a gateway; reading them takes 40 MiB, which the gateway does without."""
    from controller.shell.gateway_setup import GatewayOrders, gateway_config, live_periods
    from devices.shell.run_clock import FLOOR_REAL_MS

    place = load_site(site)
    if advisory:
        place = looked_at(place)
    name, latest = _one_gateway(place, asked), latest_known(folder)
    speed = clock_of(folder, follow_run, latest).speed
    config = gateway_config(place, name, live_periods(place, speed)[1], round(FLOOR_REAL_MS * speed))
    return GatewayOrders(config, place.sky.drones_of({name}), latest)


def _gateway(orders: GatewayOrders, folder: Path, broker: str, follow_run: bool) -> None:
    import apsw

    from controller.shell.data_dir import RUN
    from controller.shell.gateway_setup import gateway_folder
    from devices.model import DeviceId
    from devices.profile import BadProfile
    from devices.shell.data_lock import AlreadyRunning
    from devices.shell.doorbell import bell_of
    from devices.shell.gateway import run_gateway
    from devices.shell.outbox_file import OutboxDamaged
    from devices.shell.run_clock import RunFile

    clock = clock_of(folder, follow_run, orders.latest)
    endpoints = RunFile.read(folder / RUN).endpoints if follow_run else None
    config = orders.config
    try:
        bells = {DeviceId(name): bell_of(folder, name) for name in orders.drones}
        with time_kept(folder, follow_run):
            run_gateway(config, gateway_folder(folder, config.id), broker, clock, endpoints, beside=bells)
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


@dataclass(frozen=True, slots=True)
class Parts:
    """What one supervisor runs; `gateways` None: all of the site, and the hub with `hub_words`."""

    site: Path
    folder: Path
    broker: str
    advisory: bool
    hub_words: tuple[str, ...] = ()
    gateways: tuple[str, ...] | None = None

    def specs(self, place: Site) -> list[ChildSpec]:
        """Returns the children in the order in which they start. A drone that cannot fly stops nobody else."""
        from controller.shell.children import ChildSpec, arguments

        only = ["--advisory"] if self.advisory else []
        where = ("--data-dir", str(self.folder))
        found: list[ChildSpec] = []
        if self.gateways is None:
            found.append(ChildSpec("hub", arguments("run", "hub", self.site, where, self.hub_words, only)))
        gateways = tuple(gateway.id for gateway in place.gateways) if self.gateways is None else self.gateways
        where = (*where, "--broker", self.broker)
        for name in gateways:
            words = arguments("run", "gateway", self.site, where, "--gateway", name, "--alone", only)
            found.append(ChildSpec(name, words))
        drones = () if self.advisory else place.sky.drones_of(gateways)
        return [*found, *(ChildSpec(name, arguments("drone", self.site, name, where), vital=False) for name in drones)]

    def start(self, place: Site) -> Supervisor:
        """Starts everything."""
        from controller.shell.children import Supervisor

        supervisor = Supervisor(self.folder / "logs", lambda text: click.echo(text, err=True))
        for spec in self.specs(place):
            supervisor.start(spec)
        return supervisor


def _watch(parts: Parts, place: Site, console: str = "") -> None:
    """Supervises the parts, and starts them again when the site file changes; ends with them."""
    import signal

    from controller.shell.children import ChildFailed
    from controller.shell.data_dir import OPERATOR_CODE
    from controller.shell.site_change import SiteWatch

    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _: stopping.append(caught))
    watch = SiteWatch(parts.site)
    supervisor = parts.start(place)
    try:
        click.echo(f"{', '.join(supervisor.processes)} run; logs in {parts.folder / 'logs'}; Ctrl-C stops them")
        if console:
            click.echo(f"console: {console}; its operator code is in {parts.folder / OPERATOR_CODE}")
        while not stopping:
            supervisor.poll()
            changed = watch.poll()
            if changed:
                click.echo(changed, err=True)
                changed_place = _sound(parts.site)
                if changed_place is not None:
                    supervisor.stop()
                    supervisor = parts.start(changed_place)
            time.sleep(0.2)
    except ChildFailed as error:
        raise Refusal(str(error), ExitCode.RETRY) from error
    finally:
        supervisor.stop()


def _sound(site: Path) -> Site | None:
    """Returns the changed site, or None where it has problems: what runs goes on as it is."""
    try:
        return load_site(site)
    except Refusal as refusal:
        click.echo(f"not taken over: {refusal.message}", err=True)
        return None
