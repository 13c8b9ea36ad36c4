"""The demo: a village that has lived for two days, on real wires, in one terminal."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from controller.civil import clock_text, local_instant, local_time
from controller.shell.broker import free_port
from controller.shell.children import ChildSpec, Supervisor, arguments
from controller.shell.control import HubUnreachable, ask
from controller.shell.data_dir import FLEET, HUB, LEDGER, RUN
from controller.shell.places import reachable
from controller.shell.simulation import Simulation, SimulationOptions, start_of
from controller.site import Site
from controller.store.ledger_file import LedgerFile
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, SLOT_MS, Instant
from devices.shell.run_clock import RunClock, RunFile, stop_run, write_whole
from optimizer.problem import Stop

MARK = "demo.json"
OPENS_MINUTE = 9 * 60 + 40
PAST_REPLAN_MS = HOUR_MS
PAST_STOP = Stop(seconds=None, gap=0.02, nodes=100)
"""Of the days that nobody watches: a plan an hour, a little coarser, so that the console opens soon."""
UP_S = 25.0
NOTE_EVERY_S = 2.0


class NotADemo(ValueError):
    """The data directory holds something that no demo made."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the person asked for."""

    site_file: Path
    data_dir: Path
    speed: float
    past_days: int
    seed: int
    listen: str
    console_port: int
    broker_port: int = 1883


def prepared(data_dir: Path) -> bool:
    """Returns whether the village has lived its first days here.

    Raises:
        NotADemo: there are files, but no demo made them.
    """
    if (data_dir / MARK).exists():
        return True
    if data_dir.exists() and any(path.name != "demo.lock" for path in data_dir.iterdir()):
        raise NotADemo(f"{data_dir} is not empty and no demo made it: name another --data-dir")
    return False


def live_through(site: Site, options: DemoOptions, progress: Callable[[Instant, Instant, Instant], None]) -> None:
    """Lives the first days on virtual time into the data directory; all or nothing."""
    part = options.data_dir.with_name(options.data_dir.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    start = start_of(site)
    day = local_time(site.timezone, Instant(start + options.past_days * DAY_MS)).date()
    until = local_instant(site.timezone, day, OPENS_MINUTE)
    simulation = Simulation(
        site,
        SimulationOptions(seed=options.seed, replan_ms=PAST_REPLAN_MS, stop=PAST_STOP, data_dir=part, durability="OFF"),
        start,
    )
    try:
        world = simulation.world
        world.run(Instant(until - SECOND_MS), lambda now: progress(start, now, until))
        world.drain()
        progress(start, until, until)
        write_whole(part / FLEET, simulation.fleet.save())
    finally:
        simulation.close()
    write_whole(part / HUB, json.dumps({"epoch": 1}) + "\n")
    write_whole(part / MARK, json.dumps({"seed": options.seed, "ended_ms": world.now}) + "\n")
    options.data_dir.mkdir(parents=True, exist_ok=True)
    for path in sorted(part.iterdir(), key=lambda path: path.name == MARK):  # the mark comes last
        path.replace(options.data_dir / path.name)
    part.rmdir()


def latest_instant(data_dir: Path) -> Instant:
    """Returns the newest instant that the demo's stores know; time goes on from there."""
    mark = json.loads((data_dir / MARK).read_text(encoding="utf-8"))
    known = [int(mark["ended_ms"])]
    if (data_dir / FLEET).exists():
        known.append(int(json.loads((data_dir / FLEET).read_text(encoding="utf-8")).get("at", 0)))
    file = LedgerFile.read(data_dir / LEDGER)
    try:
        known.append(file.last_start() + SLOT_MS if file.count_records() else 0)
    finally:
        file.close()
    return Instant(max(known))


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of a running demo are; `moved` says which ports were in use."""

    run: RunFile
    console_port: int
    broker_port: int
    moved: tuple[str, ...]


def modbus_servers(site: Site) -> list[tuple[str, str, int]]:
    """Returns (endpoint, host, port) of each Modbus TCP server; pins, serial buses and MQTT topics have no port."""
    parts = [(e, *e.rpartition(":")[::2]) for e in sorted({device.endpoint for device in site.devices})]
    return [(endpoint, host, int(port)) for endpoint, host, port in parts if port.isdecimal()]


def take_places(site: Site, options: DemoOptions) -> Places:
    """Finds free ports, starts the run's clock and writes run.json."""
    moved: list[str] = []

    def port(what: str, host: str, wanted: int) -> int:
        found = free_port(host, wanted)
        if found != wanted:
            moved.append(f"port {wanted} is in use: the {what} is on {found}")
        return found

    console = port("console", options.listen, options.console_port)
    broker = port("broker", "127.0.0.1", options.broker_port)
    endpoints: dict[str, str] = {}
    for configured, host, wanted in modbus_servers(site):
        endpoints[configured] = f"{host}:{port('Modbus of the devices', host, wanted)}"
    _, run = RunClock.start(options.data_dir / RUN, latest_instant(options.data_dir), options.speed)
    run = replace(
        run, broker=f"127.0.0.1:{broker}", endpoints=endpoints, console=f"http://{reachable(options.listen)}:{console}"
    )
    run.write(options.data_dir / RUN)
    return Places(run, console, broker, tuple(moved))


class Demo:
    """The running demo: its children, its clock, and what the terminal shows of it."""

    def __init__(self, site: Site, options: DemoOptions, say: Callable[[str], None]) -> None:
        self.site, self.options = site, options
        self.places = take_places(site, options)
        self.clock = RunClock(self.places.run)
        self.supervisor = Supervisor(options.data_dir / "logs", say)
        self._noted = time.monotonic()

    def start(self) -> None:
        """Starts hub (with its broker), fleet and gateways."""
        options, places = self.options, self.places
        common = ("--data-dir", str(options.data_dir))
        hub = ("--broker-port", str(places.broker_port), "--listen", options.listen, "--port", str(places.console_port))
        self._note()
        self.supervisor.start(ChildSpec("hub", arguments("run", "hub", options.site_file, common, hub, "--follow-run")))
        self.supervisor.start(
            ChildSpec("fleet", arguments("fleet", options.site_file, common, "--seed", str(options.seed)))
        )
        for gateway in self.site.gateways:
            words = ("--broker", places.run.broker, "--gateway", gateway.id, "--follow-run")
            self.supervisor.start(ChildSpec(gateway.id, arguments("run", "gateway", options.site_file, common, words)))

    def wait_up(self) -> bool:
        """Returns whether the hub answers within 25 s, looking after the children meanwhile."""
        deadline = time.monotonic() + UP_S
        while time.monotonic() < deadline:
            self.look_after()
            if self.status() is not None:
                return True
            time.sleep(0.2)
        return False

    def status(self) -> Mapping[str, object] | None:
        """Returns the hub's Now view, or None while it does not answer."""
        try:
            return ask(self.options.data_dir, {"ask": "status"}, timeout_s=2.0)
        except HubUnreachable:
            return None

    def look_after(self) -> None:
        """Looks after the children; call it often. Notes the clock ahead, so that no killed run makes time go back."""
        self.supervisor.poll()
        if time.monotonic() - self._noted >= NOTE_EVERY_S:
            self._note()

    def _note(self) -> None:
        """Promises the instant that the clock can reach before the next note: the next start begins there or later."""
        self._noted = time.monotonic()
        ahead = round(2 * NOTE_EVERY_S * self.clock.speed * SECOND_MS)
        stop_run(self.options.data_dir / RUN, Instant(self.clock.now() + ahead))

    def stop(self) -> None:
        """Stops everything and notes the instant, so that the next start goes on from it."""
        self.supervisor.stop()
        stop_run(self.options.data_dir / RUN, self.clock.now())


def has_readings(view: Mapping[str, object]) -> bool:
    """Returns whether any power is known yet."""
    return any(cast("Mapping[str, object]", row["power"])["value"] is not None for row in _rows(view, "flows"))


def status_line(view: Mapping[str, object], console: str) -> str:
    """Returns the demo's one line: clock, power balance, battery and tank, plan, ledger, alarms, console."""
    zone, at = str(view["timezone"]), Instant(cast("int", view["at"]))
    flows = {str(row["id"]): cast("Mapping[str, object]", row["power"]) for row in _rows(view, "flows")}

    def kw(name: str, factor: float = 0.001) -> str:
        number = flows.get(name, {}).get("value")
        return "--" if number is None else f"{round(cast('float', number) * factor, 1) + 0.0:.1f}"

    def percent(name: str) -> str:
        number = cast("Mapping[str, object]", view[name])["value"]
        return "--" if number is None else f"{cast('float', number):.0%}"

    waiting = sum(1 for row in _rows(view, "alarms") if str(row["state"]) != "acknowledged")
    age = view["plan_age_ms"]
    plan = "rules" if age is None else f"plan {cast('int', age) // MINUTE_MS} min old"
    kinds = {str(row["kind"]): str(row["id"]) for row in _rows(view, "flows")}
    return (
        f"{clock_text(zone, at)}"
        + (f"  {waiting} ALARM{'S' if waiting > 1 else ''}" if waiting else "")
        + f"  homes {kw('homes')} kW  solar {kw('solar', -0.001)}"
        f"  battery {kw(kinds.get('battery', ''))}  grid {kw(kinds.get('grid', ''), -0.001)}"
        f" | charge {percent('battery_soc')}  tank {percent('tank_level')} | {plan}"
        f" | ledger {view['ledger_size']}"
        f" | {console}"
    )


def _rows(view: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    return cast("list[Mapping[str, object]]", view.get(key, []))
