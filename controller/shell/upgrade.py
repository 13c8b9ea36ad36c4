"""An upgrade that comes back by itself: installed beside, watched for a while, and undone unless it proves itself.

    DATA/releases/R/    a kit's files and their .venv          DATA/current   -> the release in force
    DATA/upgrade.json   what is under way                      DATA/previous  -> the one before

Data are never rolled back: what the new release took and acknowledged stays taken. The snapshot is for the one case in
which the old release cannot read what the new one wrote; a person restores it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from controller.shell import kit
from controller.shell.control import HubUnreachable, ask
from controller.shell.data_dir import LEDGER
from devices.bounded_json import BadJson, parse
from devices.shell.control_socket import Unreachable
from devices.shell.control_socket import ask as ask_process
from devices.shell.gateway import SOCKET_NAME
from devices.shell.run_clock import boot_id, write_whole

CURRENT, PREVIOUS, RELEASES, STATE = "current", "previous", "releases", "upgrade.json"
HEALTH_S = 120.0
LOOK_S = 1.0
UNCONFIRMED_STARTS_MAX = 3
"""A new release whose hub has started so often without being confirmed is left, also after a power cut."""


class UpgradeRefused(RuntimeError):
    """Nothing was changed; the text says why."""


class UpgradeFailed(RuntimeError):
    """The new release did not prove itself; the old one is in force again."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a running hub says of itself."""

    epoch: int
    cycles: int
    link: bool
    gateways: frozenset[str]
    entries: int
    safe: bool


@dataclass(frozen=True, slots=True)
class GatewayPulse:
    """What the gateways of a machine without a hub say of themselves: process and link by gateway, who answers them.

    Whoever hangs answers nothing, so that `cycles` (the least of their running times in ms) only says who is new.
    """

    processes: Mapping[str, int]
    linked: frozenset[str]
    answering: frozenset[str]  # devices
    cycles: int


def vitals(data_dir: Path) -> Pulse | GatewayPulse | None:
    """Returns what the hub of a data directory says; where none lives, its gateways; None where nobody answers."""
    return pulse(data_dir) or (None if (data_dir / LEDGER).exists() else _gateways(data_dir))


def pulse(data_dir: Path) -> Pulse | None:
    """Returns what the hub of a data directory says, None where none answers."""
    try:
        answer = ask(data_dir, {"ask": "health"}, timeout_s=2)
    except HubUnreachable:
        return None
    match answer:
        case {"epoch": int() as epoch, "cycles": int() as cycles, "link": bool() as link, "gateways": names,
              "entries": int() as entries, "safe": bool() as safe}:  # fmt: skip
            return Pulse(epoch, cycles, link, frozenset(map(str, cast("list[object]", names))), entries, safe)
        case _:
            return None


def _gateways(data_dir: Path) -> GatewayPulse | None:
    processes: dict[str, int] = {}
    linked: set[str] = set()
    answering: set[str] = set()
    running: list[int] = []
    for path in sorted(data_dir.glob(f"*/{SOCKET_NAME}")):
        try:
            state = ask_process(path, {"ask": "status"}, timeout_s=2)
        except Unreachable:
            continue
        match state:
            case {"gateway": str() as name, "pid": int() as pid, "elapsed_ms": int() as elapsed, **more}:
                processes[name] = pid
                running.append(elapsed)
                linked |= {name} if more["link_up"] is True else set()
                rows = cast("list[Mapping[str, object]]", more["devices"])
                answering |= {str(row["id"]) for row in rows if row["answers"] is True}
            case _:
                continue
    return GatewayPulse(processes, frozenset(linked), frozenset(answering), min(running)) if processes else None


def missing(before: Pulse | GatewayPulse, now: Pulse | GatewayPulse | None, cycles: int) -> str:
    """Returns what is lacking to be as well as before (empty: nothing); `cycles`: of the last look."""
    if isinstance(before, GatewayPulse):
        return _gateways_lack(before, now if isinstance(now, GatewayPulse) else None)
    if not isinstance(now, Pulse):
        return "its hub does not answer"
    if now.epoch <= before.epoch:
        return "its hub has not started yet"
    if now.safe:
        return "its hub is in safe mode"
    if now.cycles <= cycles:
        return "its control cycle stands still"
    if before.link and not now.link:
        return "its hub has no broker"
    lost = before.gateways - now.gateways
    if lost:
        return f"gateways that were there are not: {', '.join(sorted(lost))}"
    if now.entries < before.entries:
        return f"its ledger has {now.entries} entries, {before.entries} before"
    return ""


def _gateways_lack(before: GatewayPulse, now: GatewayPulse | None) -> str:
    if now is None:
        return "its gateways do not answer"
    silent = before.processes.keys() - now.processes.keys()
    if silent:
        return f"gateways do not answer: {', '.join(sorted(silent))}"
    old = [name for name, process in before.processes.items() if now.processes[name] == process]
    if old:
        return f"gateways have not started yet: {', '.join(sorted(old))}"
    unlinked = before.linked - now.linked
    if unlinked:
        return f"gateways have no broker: {', '.join(sorted(unlinked))}"
    lost = before.answering - now.answering
    return f"devices that answered do not: {', '.join(sorted(lost))}" if lost else ""


def install_beside(folder: Path, data_dir: Path, trusted: list[str], say: Callable[[str], None]) -> Path:
    """Copies a checked kit to its own release folder and lets it set itself up there, without any connection.

    Raises:
        UpgradeRefused: the kit was touched, is not from a trusted builder, does not fit, or cannot install.
    """
    found = kit.problems(folder, trusted)
    if found:
        raise UpgradeRefused("\n".join(found))
    name = kit.release_of(folder)
    place = data_dir / RELEASES / name
    if not name or (data_dir / CURRENT).resolve() == place.resolve():
        raise UpgradeRefused(f"release {name or '(without a name)'} is in force already")
    files = kit.listed(folder)
    need = 4 * sum((folder / file).stat().st_size for file in files)
    free = shutil.disk_usage(data_dir).free
    if free < need:
        raise UpgradeRefused(f"{data_dir} has {free / 1e6:.0f} MB free, {need / 1e6:.0f} MB are needed")
    say(f"release {name}: {len(files)} files are whole and signed; installing beside")
    shutil.rmtree(place, ignore_errors=True)
    for file in files:
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(folder / file, place / file, follow_symlinks=False)
    again = kit.problems(place, trusted)
    if again:
        raise UpgradeRefused("the copy is not what was checked:\n" + "\n".join(again))
    self_test(place, data_dir)
    return place


def self_test(place: Path, data_dir: Path) -> None:
    """Lets a release set itself up and read the site files that the services run on.

    Raises:
        UpgradeRefused: it cannot; its folder is removed.
    """
    tries: list[list[str]] = [["version"], *(["check", str(site)] for site in sites(data_dir))]
    for words in tries:
        done = subprocess.run(
            ["./atoll", *words], cwd=place, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            shutil.rmtree(place, ignore_errors=True)
            said = (done.stderr or done.stdout).strip()[-600:]
            raise UpgradeRefused(f"the new release fails its self-test, `atoll {' '.join(words)}`:\n{said}")


def sites(data_dir: Path) -> list[Path]:
    """Returns the site files in the data directory."""
    return sorted(data_dir.glob("*.toml"))


def switch(data_dir: Path, place: Path) -> None:
    """Makes a release the one in force; a power cut finds the old link or the new one."""
    old = (data_dir / CURRENT).resolve()
    for name, leads_to in ((PREVIOUS, old), (CURRENT, place)):
        part = data_dir / f"{name}.part"
        part.unlink(missing_ok=True)
        part.symlink_to(leads_to)
        part.replace(data_dir / name)


def note(data_dir: Path, state: str, **more: str | int | float) -> None:
    """Writes down what is under way."""
    write_whole(data_dir / STATE, json.dumps({"state": state, "boot": boot_id(), **more}) + "\n")


def noted(data_dir: Path) -> Mapping[str, object]:
    """Returns what is under way; empty where nothing is."""
    try:
        content = parse((data_dir / STATE).read_bytes())
    except (OSError, BadJson):
        return {}
    return content if isinstance(content, dict) else {}


@dataclass(frozen=True, slots=True)
class Machine:
    """What an upgrade needs of the machine: to restart the services, and time."""

    restart: Callable[[], None]
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def gate(
    data_dir: Path, before: Pulse | GatewayPulse, machine: Machine, health_s: float, *, to_the_end: bool = True
) -> str:
    """Watches a release for `health_s`; returns what it lacks, empty when it was well to the end.

    It may take two thirds of the time to come up; then it must stay well. Not `to_the_end`: until it is well once.
    """
    start = machine.monotonic()
    lacks, cycles, well_since = "nothing was seen of it", 0, None
    while machine.monotonic() - start < health_s:
        machine.sleep(LOOK_S)
        seen = vitals(data_dir)
        lacks = missing(before, seen, cycles)
        cycles = 0 if seen is None else seen.cycles
        at = machine.monotonic() - start
        if not lacks and not to_the_end:
            return ""
        well_since = None if lacks else (at if well_since is None else well_since)
        if well_since is None and at > health_s * 2 / 3:
            break
    if lacks:
        return lacks
    return "" if well_since is not None and well_since <= health_s * 2 / 3 else "it was well only at the very end"


def prove(data_dir: Path, place: Path, before: Pulse | GatewayPulse, machine: Machine, health_s: float) -> None:
    """Switches to a release, watches it, and goes back unless it is well.

    Raises:
        UpgradeFailed: it was not; the old release runs again (or, as the text then says, does not).
    """
    note(data_dir, "trying", release=place.name, starts=0)
    switch(data_dir, place)
    machine.restart()
    lacks = gate(data_dir, before, machine, health_s)
    if not lacks:
        note(data_dir, "confirmed", release=place.name)
        return
    back = go_back(data_dir)
    last = vitals(data_dir) or before
    machine.restart()
    after = gate(data_dir, last, machine, HEALTH_S, to_the_end=False)
    raise UpgradeFailed(
        f"{place.name} did not prove itself: {lacks}. {back.name} is in force again"
        + ("" if not after else f", but {after}: see docs/pi.md, `restore the snapshot`")
    )


def go_back(data_dir: Path) -> Path:
    """Makes the previous release the one in force again and returns it.

    Raises:
        UpgradeRefused: there is none.
    """
    place = (data_dir / PREVIOUS).resolve()
    if not (data_dir / PREVIOUS).is_symlink() or not (place / "atoll").exists():
        raise UpgradeRefused(f"{data_dir / PREVIOUS} leads to no release: there was no upgrade here")
    switch(data_dir, place)
    note(data_dir, "rolled-back", release=place.name)
    return place


def unconfirmed_start(data_dir: Path) -> Path | None:
    """Counts a start of a release on trial; goes back after too many, or after a reboot, and returns where to."""
    state = noted(data_dir)
    if state.get("state") != "trying":
        return None
    starts = state.get("starts")
    count = 1 + (starts if isinstance(starts, int) else 0)
    if count > UNCONFIRMED_STARTS_MAX or state.get("boot") != boot_id():
        return go_back(data_dir)
    note(data_dir, "trying", release=str(state.get("release")), starts=count)
    return None
