"""What `atoll doctor` looks at beyond the machine: site file, ports, pins, broker, devices, ledger, backup, keys."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from controller.shell import machine
from controller.shell.backup import STAMP
from controller.shell.broker_access import handed_out
from controller.shell.control import HubUnreachable, ask
from controller.shell.data_dir import LEDGER
from controller.shell.machine import Finding
from controller.shell.restored import mark_beside
from controller.shell.weather_drop import WeatherDrop
from controller.weather import WeatherBook
from devices.clock import Instant, iso
from devices.endpoints import RTU, BadEndpoint, SerialEndpoint, parse_endpoint
from devices.shell.broker_login import Login, login_of
from devices.shell.control_socket import Unreachable
from devices.shell.control_socket import ask as ask_socket
from devices.shell.pin_holders import header_lines
from devices.shell.run_clock import kernel_synchronised

if TYPE_CHECKING:
    from controller.site import Site

BACKUP_DAYS = 7
VERIFY_S = 5.0
PROBE_S = 3.0
REFUSALS = {
    1: "wrong protocol",
    2: "client id refused",
    3: "not available",
    4: "wrong user or password",
    5: "not allowed",
}
QUALITIES = ("good", "uncertain", "stale", "bad")
SECRETS = ("keys.db", "console.db", "gateway.key", "operator-code.txt")


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at."""

    data_dir: Path
    site: Site | None
    site_file: Path | None
    broker: str
    site_problem: str = ""


def examine(patient: Patient) -> Iterator[Finding]:
    """Yields every finding, in the order in which a technician would look."""
    yield machine.power()
    yield machine.temperature()
    yield machine.word_size()
    yield machine.memory()
    yield machine.disk(patient.data_dir)
    yield machine.card_wear()
    yield machine.writable(patient.data_dir)
    yield machine.clock(kernel_synchronised())
    yield machine.watchdog()
    yield from _site(patient)
    yield from _weather(patient)
    yield from _serial(patient)
    yield _pins(patient)
    yield _broker(patient.broker, patient.data_dir)
    yield from _processes(patient)
    yield _ledger(patient.data_dir)
    mark = mark_beside(patient.data_dir / LEDGER)
    if mark is not None:
        yield Finding("restored", "warn", mark.words(), "start the hub and its witnesses; or restore with --new-log")
    yield _backup(patient.data_dir)
    yield _secrets(patient.data_dir)
    yield machine.open_ports({int(patient.broker.rpartition(":")[2] or 0): "broker", 8080: "console"})


def _site(patient: Patient) -> Iterator[Finding]:
    if patient.site_problem:
        yield Finding("site file", "fail", patient.site_problem, f"atoll check {patient.site_file}")
    elif patient.site is None:
        yield Finding("site file", "skip", "none was named", "--site FILE")
    else:
        closed = [str(device.id) for device in patient.site.devices if device.read_only]
        said = f"{patient.site_file}: sound, {len(patient.site.devices)} devices"
        if closed:
            yield Finding(
                "site file", "warn", f"{said}; read-only: {', '.join(closed)}", f"atoll commission {closed[0]}"
            )
        else:
            yield Finding("site file", "pass", said)


def _weather(patient: Patient) -> Iterator[Finding]:
    """Looks at the weather file that the site names; one whose time is simulated is only read."""
    if patient.site is None or not patient.site.energy.weather:
        return
    path = patient.data_dir / patient.site.energy.weather
    told = WeatherDrop(path, simulated=False).look()
    now = Instant(round(time.time() * 1000))
    book = WeatherBook(patient.site.energy.weather_age_ms_max)
    if told is not None:
        book.take(told.table, told.problem, now)
    why = book.problem or book.unfit(now)
    if why:
        yield Finding("weather", "warn", f"not used: {why}", f"put a new file at {path}")
    elif book.issued is not None and book.until is not None:
        yield Finding("weather", "pass", f"issued {iso(book.issued)}, until {iso(book.until)}")


def _serial(patient: Patient) -> Iterator[Finding]:
    texts = (
        {}
        if patient.site is None
        else {d.endpoint: d.gateway for d in patient.site.devices if d.endpoint.startswith(RTU)}
    )
    for text in texts:
        try:
            endpoint = parse_endpoint(text)
        except BadEndpoint:
            continue  # `check` names it
        if isinstance(endpoint, SerialEndpoint):
            yield _port(Path(endpoint.path))


def _port(path: Path) -> Finding:
    name = f"port {path.name}"
    if not path.exists():
        return Finding(name, "fail", f"{path} is not there", "plug the adapter in; ls -l /dev/serial/by-id")
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding(name, "fail", f"{path}: no permission", "sudo usermod -aG dialout $USER, then log in again")
    others = [holder for holder in machine.holders(path) if not holder.startswith(("atoll", "python"))]
    if others:
        return Finding(
            name,
            "fail",
            f"{path} is held by {', '.join(others)}",
            f"stop it: {others[0]} (ModemManager: apt-get purge modemmanager)",
        )
    if path.parent.name != "by-id" and str(path).startswith("/dev/tty"):
        return Finding(
            name,
            "warn",
            f"{path} may be another adapter after the next start",
            "write the name from ls -l /dev/serial/by-id",
        )
    return Finding(name, "pass", "there, permitted, free or ours")


def _pins(patient: Patient) -> Finding:
    pins = [] if patient.site is None else [pin for device in patient.site.devices for pin in device.pins]
    wanted = sorted({pin.pin for pin in pins} | {pin.direction for pin in pins if pin.direction is not None})
    if not wanted:
        return Finding("pins", "skip", "no device hangs on pins")
    lines, problem = header_lines()
    if problem:
        return Finding("pins", "fail", problem, "atoll pins --site FILE")
    taken = [
        pin
        for pin in wanted
        if pin in lines and lines[pin].used and not lines[pin].consumer.startswith(("lg", "atoll"))
    ]
    if taken:
        return Finding("pins", "fail", f"held by the kernel or another program: GPIO {taken}", "atoll pins --site FILE")
    return Finding("pins", "pass", f"{len(wanted)} pins, free or ours")


def _connect(login: Login | None) -> bytes:
    """Returns a CONNECT of MQTT 3.1.1 with a clean session."""
    texts = ["atoll-doctor", *([] if login is None else [login.name, login.password])]
    flags = 0x02 if login is None else 0xC2
    body = b"\x00\x04MQTT\x04" + bytes((flags, 0, 10))
    for text in texts:
        body += len(text.encode()).to_bytes(2, "big") + text.encode()
    size = len(body)  # seven bits a byte, the lower ones first
    return bytes((0x10, *((size,) if size < 0x80 else (size & 0x7F | 0x80, size >> 7)))) + body


def _broker(address: str, data_dir: Path) -> Finding:
    """A CONNECT, with a login where this machine has one, answered by a CONNACK."""
    login = next((found for name in handed_out(data_dir) if (found := login_of(data_dir, name)()) is not None), None)
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host or "127.0.0.1", int(port)), timeout=2) as link:
            link.settimeout(2)
            link.sendall(_connect(login))
            answer = link.recv(4)
    except (OSError, ValueError) as error:
        return Finding("broker", "fail", f"{address}: {error}", "atoll run hub SITE starts one; or --broker HOST:PORT")
    if len(answer) == 4 and answer[0] == 0x20:
        if answer[3] == 0:
            who = "" if login is None else f" of {login.name}"
            return Finding("broker", "pass", f"{address} accepts connections{who}")
        return Finding(
            "broker",
            "fail",
            f"{address}: {REFUSALS.get(answer[3], answer[3])}",
            "atoll access list: its login, and [broker] anonymous",
        )
    return Finding("broker", "fail", f"{address}: what answers is no MQTT broker", "--broker HOST:PORT")


def _processes(patient: Patient) -> Iterator[Finding]:
    try:
        view = ask(patient.data_dir, {"ask": "status"}, 3.0)
    except (HubUnreachable, OSError) as error:
        stale = (patient.data_dir / "hub.sock").exists()
        yield Finding(
            "hub",
            "warn" if stale else "skip",
            f"no hub answers ({error})" if stale else "no hub runs here",
            "atoll run all SITE" if stale else "",
        )
        yield from _asked(patient)
    else:
        yield Finding("hub", "pass", f"mode {view.get('mode')}, link {view.get('link')}")
        yield from _devices(cast("list[Mapping[str, object]]", view.get("devices", [])))
    for path in sorted((*patient.data_dir.glob("gateway.sock"), *patient.data_dir.glob("*/gateway.sock"))):
        try:
            ask_socket(path, {"ask": "status"}, 3.0)
        except (Unreachable, OSError) as error:
            yield Finding("gateway", "warn", f"{path}: {error}", "atoll run gateway SITE")
        else:
            yield Finding("gateway", "pass", f"{path.parent.name} answers")


def _asked(patient: Patient) -> Iterator[Finding]:
    """Without a hub each device is asked once at its bus, while there is time."""
    from devices.profile import BadProfile
    from devices.shell.field_bus import poll
    from devices.shell.modbus import open_wire

    until = time.monotonic() + PROBE_S
    specs = () if patient.site is None else patient.site.devices
    for spec in specs:
        if not spec.endpoint or spec.endpoint.startswith(("gpio:", "mqtt:")) or spec.driver == "vda5050":
            continue
        if time.monotonic() > until:
            yield Finding(
                f"device {spec.id}", "skip", f"not asked: {PROBE_S:g} s are over", f"atoll device test {spec.id}"
            )
            continue
        wire = open_wire(spec.endpoint)
        try:
            polled = poll(wire, spec)
        except (BadProfile, ValueError) as error:
            yield Finding(f"device {spec.id}", "fail", str(error), "atoll profiles list")
        else:
            if polled.fault is None:
                yield Finding(f"device {spec.id}", "pass", f"{len(polled.values)} values at the bus")
            else:
                said = f"{polled.fault}: {polled.problem}" if polled.problem else str(polled.fault)
                yield Finding(f"device {spec.id}", "fail", said, f"atoll device test {spec.id}")
        finally:
            wire.close()


def _devices(rows: list[Mapping[str, object]]) -> Iterator[Finding]:
    for row in rows:
        values = cast("list[Mapping[str, object]]", row.get("values", []))
        bad = [f"{v['label']} {QUALITIES[cast('int', v['quality'])]}" for v in values if cast("int", v["quality"]) > 1]
        name = f"device {row.get('id')}"
        if not values or len(bad) == len(values):
            yield Finding(name, "fail", "nothing good is heard of it", f"atoll read {row.get('id')} --site SITE")
        elif bad:
            yield Finding(name, "warn", ", ".join(bad), f"atoll read {row.get('id')}")
        else:
            yield Finding(name, "pass", f"{len(values)} values")


def _ledger(data_dir: Path) -> Finding:
    if not (data_dir / LEDGER).exists():
        return Finding("ledger", "skip", "none here")
    command = [sys.executable, "-m", "controller.cli", "ledger", "verify", str(data_dir)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=VERIFY_S, check=False)
    except subprocess.TimeoutExpired:
        return Finding("ledger", "warn", f"not verified within {VERIFY_S:g} s", f"atoll ledger verify {data_dir}")
    lines = (done.stdout + done.stderr).strip().splitlines()
    if done.returncode:
        return Finding(
            "ledger", "fail", lines[0] if lines else "it does not verify", "atoll ledger verify; restore a backup"
        )
    return Finding("ledger", "pass", lines[-1] if lines else "verified")


def _backup(data_dir: Path) -> Finding:
    if not data_dir.is_dir() or not any(data_dir.rglob("*.db")):
        return Finding("backup", "skip", "no data yet")
    try:
        stamp = cast("Mapping[str, object]", json.loads((data_dir / STAMP).read_text(encoding="utf-8")))
        made = datetime.fromisoformat(str(stamp["made"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Finding("backup", "warn", "none was ever made", "atoll backup /media/usb")
    days = (datetime.now(UTC) - made).total_seconds() / 86_400
    state = "warn" if days > BACKUP_DAYS else "pass"
    return Finding(
        "backup",
        state,
        f"{days:.1f} days old: {stamp.get('file')}",
        "atoll backup /media/usb" if state == "warn" else "",
    )


def _open_to_others(data_dir: Path) -> list[Path]:
    found = [path for name in SECRETS for path in (data_dir / name, *data_dir.glob(f"*/{name}")) if path.is_file()]
    return [path for path in found if path.stat().st_mode & 0o077 and path.suffix != ".db"] + [
        path for path in found if path.suffix == ".db" and path.stat().st_mode & 0o007
    ]


def _secrets(data_dir: Path) -> Finding:
    others = _open_to_others(data_dir)
    if others:
        return Finding(
            "keys", "fail", f"others may read {', '.join(map(str, others))}", "atoll doctor --fix (chmod 600)"
        )
    return Finding("keys", "pass", "readable by their owner only")


# ---------------------------------------------------------------------------------------------------- mending


def mend(patient: Patient) -> Iterator[str]:
    """Mends what is safe to mend without asking; yields what was done."""
    for path in _open_to_others(patient.data_dir):
        yield from _tried(f"chmod 600 {path}", lambda path=path: path.chmod(0o600))
    for path in (*patient.data_dir.glob("*.sock"), *patient.data_dir.glob("*/*.sock")):
        try:
            ask_socket(path, {"ask": "status"}, 2.0)
        except (Unreachable, OSError):
            yield from _tried(f"removed the stale {path}", lambda path=path: path.unlink(missing_ok=True))
    for path in (*patient.data_dir.glob("*.part"), *patient.data_dir.glob("*/*.part")):
        yield from _tried(f"removed the half-written {path}", lambda path=path: path.unlink(missing_ok=True))


def _tried(said: str, work: Callable[[], object]) -> Iterator[str]:
    try:
        work()
    except OSError as error:
        yield f"could not: {said}: {error.strerror}"
    else:
        yield said
