"""`atoll scan`, `read`, `write` and `help` as a technician uses them: the village's Modbus server, and a serial bus."""

from __future__ import annotations

import asyncio
import json
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from controller import site_check
from controller.cli import exit_code
from controller.cli.codes import CODES
from controller.shell.control import SOCKET_NAME, ControlSocket
from controller.shell.simulation import fleet_factory, start_of
from controller.site import load
from devices.profile import load_profile
from firmware_sim.products import Product, Rack
from firmware_sim.server import Servers
from firmware_sim.shell.serial_bus import SerialBus

VILLAGE = Path(__file__).parents[2] / "village.toml"
BUS = "127.0.0.1:5020"  # the endpoint that the village's site file names
BAUD = 115200


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The village's devices on a real TCP port; gives a site file that names it."""
    site = load(VILLAGE.read_text(), "site.toml")
    fleet = fleet_factory().build(site.devices, start_of(site), 0, None)
    ready: queue.Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event, str]] = queue.Queue()

    async def serve() -> None:
        servers, over = Servers(), asyncio.Event()
        await servers.listen(fleet, [BUS], {BUS: "127.0.0.1:0"}, lambda: start_of(site))
        ready.put((asyncio.get_running_loop(), over, servers.addresses()[0]))
        await over.wait()
        servers.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    loop, over, address = ready.get(timeout=30)
    folder = tmp_path_factory.mktemp("village")
    (folder / "site.toml").write_text(VILLAGE.read_text().replace(BUS, address))
    yield folder / "site.toml"
    loop.call_soon_threadsafe(over.set)
    thread.join(timeout=5)


@pytest.fixture
def rack() -> Rack:
    """A meter (1), a relay block (7) and another meter (9)."""
    names = {1: "eastron_sdm630", 7: "relay_4ch", 9: "carlo_gavazzi_em24"}
    return Rack({unit: Product(load_profile(name)) for unit, name in names.items()})


@pytest.fixture
def bus(rack: Rack) -> Iterator[str]:
    """The rack on a serial bus; gives its endpoint."""
    serial = SerialBus(rack, BAUD)
    serial.start()
    yield f"rtu:{serial.path}?baud={BAUD}"
    serial.stop()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory in which no hub runs."""
    monkeypatch.setenv("ATOLL_DATA", str(tmp_path))
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert exit_code(list(words)) == code, capsys.readouterr()
    shown = capsys.readouterr()
    return shown.out + shown.err


def asked(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict:
    assert exit_code([*words, "--json"]) == code, capsys.readouterr()
    return json.loads(capsys.readouterr().out)


def at(bus: str, unit: int, profile: str) -> tuple[str, ...]:
    return ("--endpoint", bus, "--unit", str(unit), "--driver", f"profile:{profile}")


# ------------------------------------------------------------------------------------------------ over TCP


def test_every_device_of_the_village_is_read_by_its_driver(village: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = load(village.read_text(), "site.toml")
    for spec in site.devices:
        if spec.driver != "vda5050":
            found = asked(capsys, "read", spec.id, "--site", str(village), "--raw")
            assert found["values"], spec.id
            assert all(isinstance(block["registers"], list) for block in found["blocks"])
    assert 0 <= asked(capsys, "read", "battery-1.soc", "--site", str(village))["values"]["soc"] <= 1


def test_a_write_is_held_and_taken_back(village: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("write", "charger-1.setpoint", "3700", "--for", "1s", "--reason", "test", "--site", str(village))
    before = asked(capsys, "read", "charger-1.setpoint", "--site", str(village))["values"]["setpoint"]
    shown = said(capsys, *words)
    assert re.search(r"write function 16 address 6: 0000 0e74", shown)
    assert "reads back 3700" in shown
    assert asked(capsys, "read", "charger-1.setpoint", "--site", str(village))["values"]["setpoint"] == before


@pytest.mark.parametrize(
    ("target", "value", "code", "message"),
    [
        ("charger-1.setpoint", "99000", 6, "outside 0"),
        ("charger-1.W", "5", 6, "cannot write W"),
        ("charger-1.speed", "5", 6, "no such point"),
        ("charger-1", "5", 2, "names no point"),
        ("nobody.on", "1", 2, "no device 'nobody'"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_sent(
    village: Path, capsys: pytest.CaptureFixture[str], target: str, value: str, code: int, message: str
) -> None:
    words = ("write", target, value, "--for", "1s", "--reason", "test", "--site", str(village))
    assert message in said(capsys, *words, code=code)


def test_a_read_only_device_is_never_written(village: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    locked = tmp_path / "locked.toml"
    locked.write_text(village.read_text().replace('kind = "charger"', 'kind = "charger"\nread_only = true'))
    words = ("write", "charger-1.setpoint", "3700", "--for", "1s", "--reason", "x", "--site", str(locked))
    assert "read_only = true" in said(capsys, *words, code=5)


def test_a_dry_run_shows_registers_and_sends_none(village: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("write", "genset-1.setpoint", "-9000", "--for", "10m", "--reason", "x", "--site", str(village))
    writes = asked(capsys, *words, "--dry-run")["writes"]
    assert [row["address"] for row in writes] == [42496, 4104]
    assert asked(capsys, "read", "genset-1.setpoint", "--site", str(village))["values"]["setpoint"] == 0


def test_a_scan_of_the_village_finds_sunspec_and_the_chain(village: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint = load(village.read_text(), "site.toml").devices[0].endpoint
    found = asked(capsys, "scan", "modbus", endpoint, "--units", "100-102")
    models = {unit["unit"]: unit["models"] for unit in found["units"]}
    assert models[100] == [1, 203]
    assert models[101] == [1, 701, 704, 713]
    assert "model 704" in said(capsys, "scan", "sunspec", endpoint, "--unit", "101")
    assert "BUS-004" in said(capsys, "scan", "sunspec", endpoint, "--unit", "102", code=4)


def test_nobody_at_an_address_is_said_with_causes(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "read", "m", "--endpoint", "127.0.0.1:1", code=4)
    for expected in ("error[BUS-001] m (127.0.0.1:1, unit 1)", "nobody takes the connection", "check: 1 ", "try:   "):
        assert expected in shown
    problem = asked(capsys, "scan", "modbus", "127.0.0.1:1", "--quick", code=4)
    assert (problem["code"], problem["ok"], problem["place"]) == ("BUS-001", False, "127.0.0.1:1")


# ------------------------------------------------------------------------------------------------ serial


def test_a_serial_bus_is_scanned_and_the_maps_recognised(bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = asked(capsys, "scan", "modbus", bus, "--units", "1,5-9")
    profiles = {unit["unit"]: unit["profiles"][:1] for unit in found["units"]}
    assert profiles == {1: ["eastron_sdm630"], 7: [], 9: ["carlo_gavazzi_em24"]}
    assert "V 230" in said(capsys, "scan", "modbus", bus, "--units", "1")
    assert "BUS-003" in said(capsys, "scan", "modbus", bus, "--units", "20-22", code=4)
    assert "ids are 1 to 247" in said(capsys, "scan", "modbus", bus, "--units", "0-300", code=2)
    assert "is no id" in said(capsys, "scan", "modbus", bus, "--units", "one", code=2)


def test_a_meter_and_a_relay_on_the_bus(bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(capsys, "read", "meter.V", *at(bus, 1, "eastron_sdm630"))["values"] == {"V": 230}
    assert "function 4 address 0: 4366 0000" in said(capsys, "read", "meter", *at(bus, 1, "eastron_sdm630"), "--raw")
    words = ("write", "relay.on3", "1", "--for", "1s", "--reason", "lamp", *at(bus, 7, "relay_4ch"))
    assert "reads back 1" in said(capsys, *words)
    assert asked(capsys, "read", "relay.on3", *at(bus, 7, "relay_4ch"))["values"] == {"on3": 0}


def test_a_closed_terminal_takes_the_write_back(bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    where = at(bus, 7, "relay_4ch")
    command = (
        sys.executable,
        "-m",
        "controller.cli",
        "write",
        "relay.on",
        "1",
        "--for",
        "10m",
        "--reason",
        "x",
        *where,
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writing:
        assert writing.stdout is not None
        lines = iter(writing.stdout.readline, "")
        assert any("reads back 1" in line for line in lines)
        assert asked(capsys, "read", "relay.on", *where)["values"] == {"on": 1}
        writing.send_signal(signal.SIGHUP)
        assert "back to 0" in writing.stdout.read()
    assert writing.returncode == 130
    assert asked(capsys, "read", "relay.on", *where)["values"] == {"on": 0}


def test_a_write_that_cannot_be_taken_back_is_said(rack: Rack, bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    threading.Timer(2.0, rack.silent.add, (7,)).start()
    words = ("write", "relay.on", "1", "--for", "3s", "--reason", "x", *at(bus, 7, "relay_4ch"))
    shown = said(capsys, *words, code=4)
    assert "error[WRITE-003]" in shown
    assert "may still hold 1 (timeout)" in shown


def test_a_dead_unit_a_wrong_map_and_a_wrong_point(bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "error[BUS-003]" in said(capsys, "read", "m", *at(bus, 3, "eastron_sdm630"), code=4)
    assert "error[BUS-004]" in said(capsys, "read", "m", *at(bus, 7, "eastron_sdm630"), code=4)
    assert "there are V, A, W" in said(capsys, "read", "m.kW", *at(bus, 1, "eastron_sdm630"), code=2)
    assert "no profile 'sdm'" in said(capsys, "read", "m", *at(bus, 1, "sdm"), code=3)
    assert "write sunspec or profile" in said(capsys, "read", "m", "--endpoint", bus, "--driver", "abc", code=2)


# ------------------------------------------------------------------------------------------------ with a hub


@pytest.fixture
def hub(elsewhere: Path) -> Iterator[list[Mapping[str, object]]]:
    """A hub's socket that shows one pump and takes holds; gives what it was asked."""
    requests: list[Mapping[str, object]] = []
    value = {"label": "on", "value": 0.0, "unit": "on/off", "quality": 0, "age_ms": 900}
    pump = {"id": "pump-1", "kind": "pump", "values": [value], "writable": {"point": "on"}}

    def handle(request: Mapping[str, object]) -> Mapping[str, object]:
        requests.append(request)
        return {"devices": [pump]} if request["ask"] == "status" else {"accepted": True, "message": "held"}

    socket = ControlSocket(elsewhere / SOCKET_NAME, handle)
    socket.start()
    yield requests
    socket.stop()


def test_where_a_hub_runs_a_write_is_a_hold(
    hub: list[Mapping[str, object]], village: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("write", "pump-1.on", "1", "--for", "10m", "--reason", "flush", "--site", str(village))
    shown = said(capsys, *words)
    assert "a hub runs: pump-1 is held through it" in shown
    asked_for = {"ask": "hold", "device": "pump-1", "value": 1.0, "for_ms": 600_000, "reason": "flush"}
    assert hub[-1].items() >= asked_for.items()
    assert "cannot be written through the hub" in said(capsys, "write", "pump-1.W", *words[2:], code=6)
    assert "knows no device" in said(capsys, "write", "pump-2.on", *words[2:], code=2)
    assert hub[-1]["ask"] == "status"


def test_the_hub_is_read_where_no_bus_is_named(
    hub: list[Mapping[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "on/off" in said(capsys, "read", "pump-1")
    assert asked(capsys, "read", "pump-1.on")["values"][0]["age_ms"] == 900
    assert "has no point 'W'" in said(capsys, "read", "pump-1.W", code=2)


def test_without_hub_and_bus_it_says_what_to_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no hub runs here" in said(capsys, "write", "p.on", "1", "--for", "1m", "--reason", "x", code=4)
    assert "at most 1h" in said(
        capsys, "write", "p.on", "1", "--for", "2h", "--reason", "x", "--endpoint", "127.0.0.1:1", code=2
    )


# ------------------------------------------------------------------------------------------------ codes


def test_every_code_of_a_site_file_has_a_text_and_no_other() -> None:
    folder = Path(site_check.__file__).parent
    files = [*folder.glob("site_*.py"), folder / "shell" / "ledger_site.py"]
    source = "".join(path.read_text() for path in files)
    used = {f"SITE-{number}" for number in re.findall(r'"(?:SITE-)?([012]\d\d)"', source)}
    assert used - {code for code in CODES if code.startswith("SITE-")} == set()
    assert {code for code in CODES if code.startswith("SITE-")} - used == set()


def test_help_explains_and_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert "check 3: A and B at this device" in said(capsys, "help", "bus-003")
    assert "WRITE-002" in said(capsys, "help")
    assert asked(capsys, "help", "SITE-034")["then"] == "atoll scan modbus ENDPOINT"
    assert "did you mean SITE-010?" in said(capsys, "help", "SITE-10", code=2)
