"""The files of a field install, as text: systemd units, broker, journal, watchdog, udev, chrony; nothing is written.

Everything that runs writes under the data directory only, so the root file system may be read-only. The units name
`DATA/current`, a link to the release in force: an upgrade moves the link and touches no unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from controller.shell.broker import PACKET_BYTES_MAX
from controller.shell.broker_access import BROKER_FILES, FOLDER

UNITS = "etc/systemd/system"
TARGET = "atoll.target"
HUB_UNIT = "atoll-hub.service"
BROKER_UNIT = "atoll-broker.service"
GATEWAY_WATCHDOG_S = 10
DRONE_WATCHDOG_S = 10
HUB_WATCHDOG_S = 30
"""A month's settlement on a Pi may hold one cycle for seconds; with the restart it stays within a setpoint's 58 s."""
HARDWARE_WATCHDOG_S = 15
LAN = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8", "fe80::/10")
GROUPS = ("dialout", "gpio", "i2c", "spi")


@dataclass(frozen=True, slots=True)
class Install:
    """What is installed where. `groups` are those of the machine that the processes join."""

    site: str  # absolute path of the site file
    data_dir: str
    user: str
    hub: bool = True
    gateways: tuple[str, ...] = ()
    drones: tuple[str, ...] = ()  # MAVLink drones whose radio is on this machine
    broker: str = "127.0.0.1:1883"  # where the gateways and the hub find it
    own_broker: bool = True  # mosquitto as a unit of ours
    broker_listen: str = "127.0.0.1"
    listen: str = "127.0.0.1"
    port: int = 8080
    groups: tuple[str, ...] = ()
    mosquitto: str = "/usr/sbin/mosquitto"
    gnss: bool = False
    adapters: Mapping[str, str] = field(default_factory=dict[str, str])  # by-id name -> device, as found

    @property
    def program(self) -> str:
        """Returns the command of the release in force."""
        return f"{self.data_dir}/current/.venv/bin/atoll"

    def units(self) -> tuple[str, ...]:
        """Returns the services in the order in which they start."""
        gateways = tuple(gateway_unit(name) for name in self.gateways)
        drones = tuple(drone_unit(name) for name in self.drones)
        return (*[BROKER_UNIT] * self.own_broker, *[HUB_UNIT] * self.hub, *gateways, *drones)


def gateway_unit(gateway: str) -> str:
    """Returns the unit of one gateway."""
    return f"atoll-gateway-{gateway}.service"


def drone_unit(drone: str) -> str:
    """Returns the unit of one MAVLink drone."""
    return f"atoll-drone-{drone}.service"


def files(install: Install) -> dict[str, str]:
    """Returns path below the root -> text of every file."""
    found = {f"{UNITS}/{TARGET}": _target(install)}
    if install.own_broker:
        found[f"{UNITS}/{BROKER_UNIT}"] = _broker_unit(install)
        found["etc/atoll/mosquitto.conf"] = _mosquitto(install)
    if install.hub:
        found[f"{UNITS}/{HUB_UNIT}"] = _hub_unit(install)
    for gateway in install.gateways:
        found[f"{UNITS}/{gateway_unit(gateway)}"] = _gateway_unit(install, gateway)
    for drone in install.drones:
        found[f"{UNITS}/{drone_unit(drone)}"] = _drone_unit(install, drone)
    found["etc/systemd/system.conf.d/atoll.conf"] = _HARDWARE
    found["etc/systemd/journald.conf.d/atoll.conf"] = _JOURNAL
    found["etc/udev/rules.d/70-atoll.rules"] = _udev(install.adapters)
    found["etc/chrony/conf.d/atoll.conf"] = _chrony(install.gnss)
    return found


_HEAD = "# Written by `atoll service install`; `atoll service uninstall` takes it away.\n"

_HARDWARE = f"""{_HEAD}# The Pi's own watchdog: when even systemd hangs, the board restarts.
[Manager]
RuntimeWatchdogSec={HARDWARE_WATCHDOG_S}
RebootWatchdogSec=2min
"""

_JOURNAL = f"""{_HEAD}# The journal stays in memory: the card lives longer, and a read-only root has no place for it.
[Journal]
Storage=volatile
RuntimeMaxUse=32M
"""


def _target(install: Install) -> str:
    wants = " ".join(install.units())
    return f"""{_HEAD}[Unit]
Description=Atoll
Wants={wants}
After=network.target time-set.target

[Install]
WantedBy=multi-user.target
"""


def _service(install: Install, title: str, words: str, watchdog_s: int, first: str = "") -> str:
    """Returns a unit that is ready after its first cycle and killed when no cycle ends for `watchdog_s`.

    Restarts never give up (StartLimitIntervalSec=0): the hub counts its starts and goes into safe mode by itself.
    """
    scratch = f"{install.data_dir}/tmp"  # noqa: S108 - of our own
    groups = f"SupplementaryGroups={' '.join(install.groups)}\n" if install.groups else ""
    return f"""{_HEAD}[Unit]
Description={title}
PartOf={TARGET}
After=network.target time-set.target {BROKER_UNIT}
RequiresMountsFor={install.data_dir}
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
{first}ExecStart={words}
User={install.user}
{groups}WorkingDirectory={install.data_dir}
Environment=ATOLL_DATA={install.data_dir} PYTHONDONTWRITEBYTECODE=1
Environment=HOME={install.data_dir} TMPDIR={scratch}
WatchdogSec={watchdog_s}
WatchdogSignal=SIGKILL
TimeoutStartSec=300
TimeoutStopSec=20
Restart=always
RestartSec=2
RestartPreventExitStatus=2 3 6
KillMode=mixed
UMask=0027
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={install.data_dir}
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
"""


def _hub_unit(install: Install) -> str:
    broker = install.broker if install.own_broker or not install.broker.startswith("127.") else ""
    where = f"--broker {broker}" if broker else f"--broker-port {install.broker.rpartition(':')[2]}"
    words = (
        f"{install.program} run hub {install.site} --data-dir {install.data_dir} {where}"
        f" --listen {install.listen} --port {install.port} --start-budget"
    )
    return _service(install, "Atoll hub", words, HUB_WATCHDOG_S, _guard(install))


def _guard(install: Install) -> str:
    """Returns what leaves a release on trial that keeps dying; asked once, by the hub or the first gateway."""
    guard = f"{install.data_dir}/previous/.venv/bin/atoll rollback --if-unconfirmed --data-dir {install.data_dir}"
    return f"ExecStartPre=-{guard}\n"


def _gateway_unit(install: Install, gateway: str) -> str:
    words = (
        f"{install.program} run gateway {install.site} --data-dir {install.data_dir}"
        f" --gateway {gateway} --broker {install.broker} --alone"
    )
    first = _guard(install) if not install.hub and gateway == install.gateways[0] else ""
    return _service(install, f"Atoll gateway {gateway}", words, GATEWAY_WATCHDOG_S, first)


def _drone_unit(install: Install, drone: str) -> str:
    words = f"{install.program} drone {install.site} {drone} --data-dir {install.data_dir} --broker {install.broker}"
    return _service(install, f"Atoll drone {drone}", words, DRONE_WATCHDOG_S)


def _broker_unit(install: Install) -> str:
    return f"""{_HEAD}[Unit]
Description=Atoll's MQTT broker
PartOf={TARGET}
Conflicts=mosquitto.service
After=network.target mosquitto.service
StartLimitIntervalSec=0

[Service]
Type=exec
# mosquitto does not start without the folder that it includes; a data directory put back from an old backup has none.
ExecStartPre=-/bin/mkdir -p {install.data_dir}/{BROKER_FILES}
ExecStart={install.mosquitto} -c /etc/atoll/mosquitto.conf
ExecReload=/bin/kill -HUP $MAINPID
User={install.user}
Restart=always
RestartSec=1
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths=-{install.data_dir}
PrivateTmp=yes
"""


def _mosquitto(install: Install) -> str:
    port = install.broker.rpartition(":")[2]
    return f"""{_HEAD}# The broker keeps nothing: records wait in the gateways until the hub has committed them.
listener {port} {install.broker_listen}
allow_anonymous true
# Passwords and who may say what, made by the hub from the site file (atoll access); later lines win.
include_dir {install.data_dir}/{BROKER_FILES}
persistence false
max_inflight_messages 0
max_queued_messages 0
max_packet_size {PACKET_BYTES_MAX}
set_tcp_nodelay true
log_dest stdout
log_type error
log_type warning
log_type notice
"""


def _udev(adapters: Mapping[str, str]) -> str:
    lines = [f"#   rtu:/dev/serial/by-id/{name}   (now {device})\n" for name, device in sorted(adapters.items())]
    return f"""{_HEAD}# In the site file name an adapter by its id; ttyUSB0 changes with the order of plugging in.
# Found here when this was written:
{"".join(lines) or "#   none"}
# Adapters without a serial number (many CH340) share one id; by the socket they are in they stay apart:
#   rtu:/dev/serial/by-socket/...
SUBSYSTEM=="tty", KERNEL=="ttyUSB*|ttyACM*", GROUP="dialout", MODE="0660"
SUBSYSTEM=="tty", KERNEL=="ttyUSB*|ttyACM*", ENV{{ID_MM_DEVICE_IGNORE}}="1", ENV{{ID_MM_PORT_IGNORE}}="1"
SUBSYSTEM=="tty", KERNEL=="ttyUSB*|ttyACM*", ENV{{ID_PATH}}=="?*", SYMLINK+="serial/by-socket/$env{{ID_PATH}}"
# FTDI chips wait 16 ms for more bytes; on a Modbus line that is longer than the answer.
SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTR{{latency_timer}}="1"
"""


def _chrony(gnss: bool) -> str:
    source = (
        "# GNSS by gpsd; `offset` is the sentence's delay, to be set for the receiver (typically 0.1 to 0.5 s).\n"
        "refclock SHM 0 refid GNSS precision 1e-1 offset 0.2 delay 0.4\n"
        if gnss
        else "# With a GNSS receiver: atoll service install --gnss\n"
    )
    allow = "".join(f"allow {net}\n" for net in LAN)
    return f"""{_HEAD}# Gives the time to the local network, as stratum 10 when it has none from outside.
{source}{allow}local stratum 10 orphan
makestep 1 3
rtcsync
"""


def data_folders(data_dir: str) -> tuple[PurePosixPath, ...]:
    """Returns the folders to make in the data directory."""
    return tuple(PurePosixPath(data_dir) / name for name in ("", "tmp", "releases", FOLDER, BROKER_FILES))
