"""`atoll demo`: the village on this machine, with simulated devices."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of
from controller.cli.sites import VILLAGE, load_site

if TYPE_CHECKING:
    from controller.shell.demo import Demo, DemoOptions
    from controller.site import Site

LINE_EVERY_S = 10.0


@click.command()
@click.option("--speed", type=click.FloatRange(1, 3600), default=60, show_default=True, help="60: an hour a minute.")
@click.option(
    "--days", type=click.FloatRange(0, min_open=True), default=None, help="Stop after so many simulated days."
)
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Default: $ATOLL_DATA or ./data.")
@click.option("--listen", default="127.0.0.1", show_default=True, help="Address of the console; 0.0.0.0 for the LAN.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port of the console.")
@click.option(
    "--past", type=click.IntRange(1, 60), default=2, show_default=True, help="Days that the first start lives."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--site", type=click.Path(path_type=Path), default=VILLAGE, help="Another site file.")
def demo(
    *,
    speed: float,
    days: float | None,
    data_dir: Path | None,
    listen: str,
    port: int,
    past: int,
    seed: int,
    site: Path,
) -> None:
    """Set up and run the village: broker, devices, gateway, hub, planner and console. Ctrl-C stops it.

    The first start lives two days on virtual time; later starts go on where the last one stopped.
    """
    from controller.shell.broker import NoFreePort
    from controller.shell.demo import DemoOptions, NotADemo
    from devices.shell.data_lock import AlreadyRunning, DataLock

    place = load_site(site)
    folder = data_dir_of(data_dir).absolute()
    options = DemoOptions(site.absolute(), folder, speed, past, seed, listen, port)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "name a folder that you may write: --data-dir DIR"
        raise Refusal(f"{folder} cannot be made: {error.strerror or error}", ExitCode.CONFIG, hint=hint) from error
    try:
        lock = DataLock(folder, "demo")
        try:
            _prepare(place, options)
            _run(place, options, days)
        finally:
            lock.close()
    except (AlreadyRunning, NotADemo) as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error
    except NoFreePort as error:
        raise Refusal(str(error), ExitCode.RETRY) from error
    except OSError as error:
        raise Refusal(f"{listen} cannot be used: {error.strerror or error}", ExitCode.CONFIG) from error


def _prepare(place: Site, options: DemoOptions) -> None:
    from controller.civil import clock_text
    from controller.shell.demo import live_through, prepared
    from devices.clock import Instant

    if prepared(options.data_dir):
        return
    begun, shown = time.monotonic(), [0.0]

    def progress(start: Instant, now: Instant, until: Instant) -> None:
        elapsed = time.monotonic() - begun
        if now < until and elapsed - shown[0] < (0.2 if sys.stderr.isatty() else 5.0):
            return
        shown[0] = elapsed
        share = (now - start) / (until - start)
        line = f"[{'#' * round(30 * share):<30}] {share:4.0%}  {clock_text(place.timezone, now)}  {elapsed:3.0f} s"
        click.echo(f"\r{line}" if sys.stderr.isatty() else line, nl=not sys.stderr.isatty() or now >= until, err=True)

    click.echo(f"{place.name} lives its first {options.past_days} days (once, into {options.data_dir}):", err=True)
    live_through(place, options, progress)


def _run(place: Site, options: DemoOptions, days: float | None) -> None:
    from controller.shell.children import ChildFailed
    from controller.shell.demo import Demo
    from devices.clock import Instant

    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _: stopping.append(caught))
    running = Demo(place, options, lambda text: click.echo(f"\n{text}", err=True))
    for text in running.places.moved:
        click.echo(text)
    until = None if days is None else Instant(running.clock.now() + round(days * 86_400_000))
    try:
        running.start()
        if not running.wait_up() and not stopping:
            raise Refusal("the hub does not answer:\n" + running.supervisor.log_end("hub"), ExitCode.RETRY)
        _welcome(running)
        while not stopping and (until is None or running.clock.now() < until):
            running.look_after()
            _show(running)
            time.sleep(0.5)
    except ChildFailed as error:
        raise Refusal(str(error), ExitCode.RETRY) from error
    finally:
        click.echo("\nstopping ...", err=True)
        running.stop()
        click.echo("stopped; `atoll demo` goes on from here", err=True)


def _welcome(running: Demo) -> None:
    from controller.shell.data_dir import OPERATOR_CODE

    code = running.options.data_dir / OPERATOR_CODE
    click.echo(f"console: {running.places.run.console}   (speed x{running.options.speed:g}, Ctrl-C stops)")
    if code.exists():
        click.echo(f"operator code, to acknowledge and hold in the console: {code.read_text(encoding='ascii').strip()}")


_last_line = [0.0]


def _show(running: Demo) -> None:
    from controller.shell.demo import has_readings, status_line

    terminal = sys.stdout.isatty()
    if not terminal and time.monotonic() - _last_line[0] < LINE_EVERY_S:
        return
    view = running.status()
    if view is None or view["link"] != "live" or not has_readings(view):
        return
    _last_line[0] = time.monotonic()
    line = status_line(view, running.places.run.console)
    if terminal:
        width = shutil.get_terminal_size().columns - 1
        click.echo("\r" + line[:width].ljust(width), nl=False)
    else:
        click.echo(line)
