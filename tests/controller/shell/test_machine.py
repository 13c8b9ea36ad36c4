"""`atoll doctor` on machines that are ill in one way each: shown to it as folders of /proc and /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.shell import machine


def ill(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_COLON_", ":")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(("bits", "state"), [("0x0", "pass"), ("50005", "fail"), ("50000", "warn")])
def test_a_weak_supply_is_told(tmp_path: Path, bits: str, state: str) -> None:
    path = tmp_path / machine.THROTTLED
    path.parent.mkdir(parents=True)
    path.write_text(bits + "\n")
    assert machine.power(tmp_path).state == state


def test_the_voltage_monitor_and_no_monitor(tmp_path: Path) -> None:
    assert machine.power(tmp_path).state == "skip"
    assert machine.power(ill(tmp_path, sys__class__hwmon__hwmon1__in0_lcrit_alarm="1\n")).state == "fail"


@pytest.mark.parametrize(("milli", "state"), [("45000", "pass"), ("72000", "warn"), ("85000", "fail")])
def test_heat(tmp_path: Path, milli: str, state: str) -> None:
    assert machine.temperature(tmp_path).state == "skip"
    assert machine.temperature(ill(tmp_path, sys__class__thermal__thermal_zone0__temp=milli)).state == state


def test_a_card_that_is_worn(tmp_path: Path) -> None:
    stat = "1 2 3 4 5 6 {} 8"
    ill(tmp_path, proc__uptime="86400.0 1.0", sys__block__mmcblk0__stat=stat.format(100_000_000_000 // 512))
    assert machine.card_wear(tmp_path).state == "warn"
    ill(tmp_path, sys__block__mmcblk0__stat=stat.format(100))
    assert machine.card_wear(tmp_path).state == "pass"
    ill(tmp_path, proc__uptime="5.0 1.0")
    assert machine.card_wear(tmp_path).state == "skip"


def test_clock_watchdog_and_memory(tmp_path: Path) -> None:
    assert machine.clock(True, tmp_path).state == "pass"
    assert machine.clock(False, tmp_path).state == "fail"
    ill(tmp_path, sys__class__rtc__rtc0__name="x", sys__class__watchdog__watchdog0__state="inactive")
    assert machine.clock(False, tmp_path).state == "warn"
    assert machine.watchdog(tmp_path).state == "warn"
    ill(tmp_path, sys__class__watchdog__watchdog0__state="active\n")
    assert machine.watchdog(tmp_path).state == "pass"
    ill(tmp_path, proc__meminfo="MemTotal: 512000 kB\nMemAvailable: 40000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
    assert machine.memory(tmp_path).state == "fail"


def test_ports_that_are_open_to_the_network(tmp_path: Path) -> None:
    row = "   0: {} 00000000:0000 {} 00000000:00000000 00:00000000 00000000 0 0 1\n"
    table = (
        "head\n"
        + row.format("00000000:0016", "0A")
        + row.format("0100007F:1538", "0A")
        + row.format("00000000:1539", "01")
    )
    assert machine.open_ports({}, ill(tmp_path, proc__net__tcp=table)).state == "pass"
    found = machine.open_ports({}, ill(tmp_path, proc__net__tcp=table + row.format("00000000:075B", "0A")))
    assert (found.state, "1883" in found.seen) == ("warn", True)
    assert machine.open_ports({1883: "broker"}, tmp_path).state == "pass"


def test_who_holds_a_port(tmp_path: Path) -> None:
    port = tmp_path / "ttyUSB0"
    port.touch()
    ill(tmp_path, proc__77__comm="ModemManager\n")
    (tmp_path / "proc/77/fd").mkdir()
    (tmp_path / "proc/77/fd/9").symlink_to(port)
    assert machine.holders(port, tmp_path) == ["ModemManager (77)"]


def test_a_directory_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.writable(tmp_path / "not" / "yet").state == "pass"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert machine.writable(tmp_path).state == "fail"
