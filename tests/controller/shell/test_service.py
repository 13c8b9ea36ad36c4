"""The files of a field install: what systemd says to them, what is left alone, and how starts are counted."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli import atoll
from controller.shell.children import ChildFailed, ChildSpec, Supervisor, wait_until
from controller.shell.service_files import Install, files
from controller.shell.service_install import ForeignFiles, write
from controller.shell.start_budget import STARTS, StartBudget
from tests.controller.test_site_zones import AUTHORISED, FENCE, VILLAGE, with_mavlink

SITE = Path(__file__).parents[2] / "village.toml"
CHECKOUT = Path(__file__).parents[3]


def installed(root: Path, data_dir: Path, *words: str) -> str:
    done = CliRunner().invoke(
        atoll, ["service", "install", str(SITE), "--root", str(root), "--data-dir", str(data_dir), *words]
    )
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_the_units_and_the_processes_run_as_groups_of_this_machine(tmp_path: Path) -> None:
    root, data_dir = tmp_path / "root", tmp_path / "data"
    (root / "etc").mkdir(parents=True)
    shutil.copy("/etc/group", root / "etc/group")
    mosquitto = root / "usr/sbin/mosquitto"
    mosquitto.parent.mkdir(parents=True)
    mosquitto.symlink_to("/bin/true")
    installed(root, data_dir)
    data_dir.mkdir()
    (data_dir / "current").symlink_to(CHECKOUT)
    (data_dir / "previous").symlink_to(CHECKOUT)
    units = sorted((root / "etc/systemd/system").glob("atoll*"))
    assert [unit.name for unit in units] == [
        "atoll-broker.service", "atoll-gateway-gw-1.service", "atoll-hub.service", "atoll.target",
    ]  # fmt: skip
    broker = units[0].read_text()
    units[0].write_text(broker.replace("/usr/sbin/mosquitto", "/bin/true"))  # the program may not be on this machine
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units],
        capture_output=True, text=True, check=False, env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    spoilt = units[2].read_text().replace("WatchdogSec=30", "WatchdogSec=often")
    units[2].write_text(spoilt)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", units[2]], capture_output=True, text=True, check=False
    )
    assert "often" in done.stderr, "the check above can fail"


def test_everything_is_written_once_and_taken_away_again_but_not_what_somebody_changed(tmp_path: Path) -> None:
    root, data_dir = tmp_path, Path("/srv/atoll")
    assert "wrote /etc/udev/rules.d/70-atoll.rules" in installed(root, data_dir)
    assert "0 file(s) written" in installed(root, data_dir), "the same again changes nothing"
    assert "wrote /etc/systemd/system/atoll-hub.service" in installed(root, data_dir, "--port", "8081")
    assert (root / "etc/systemd/system/multi-user.target.wants/atoll.target").is_symlink()
    changed = root / "etc/chrony/conf.d/atoll.conf"
    changed.write_text("allow all\n")
    again = CliRunner().invoke(
        atoll, ["service", "install", str(SITE), "--root", str(root), "--data-dir", "/srv/atoll", "--part", "hub"]
    )
    assert again.exit_code == 6
    assert str(changed) in again.output
    done = CliRunner().invoke(atoll, ["service", "uninstall", "--root", str(root), "--data-dir", "/srv/atoll"])
    assert done.exit_code == 1
    assert "/etc/chrony/conf.d/atoll.conf" in done.output
    left = [path for path in root.rglob("*") if path.is_file() or path.is_symlink()]
    assert sorted(path.name for path in left) == ["atoll.conf", "current"]


def test_a_hub_alone_and_a_gateway_alone_get_only_their_own_units(tmp_path: Path) -> None:
    hub = files(Install("/s.toml", "/d", "pi", gateways=()))
    gateway = files(
        Install("/s.toml", "/d", "pi", hub=False, gateways=("gw-2",), broker="hub.lan:1883", own_broker=False)
    )
    assert "etc/systemd/system/atoll-gateway-gw-2.service" in gateway
    assert not any("hub" in name or "mosquitto" in name for name in gateway)
    unit = gateway["etc/systemd/system/atoll-gateway-gw-2.service"]
    assert "--broker hub.lan:1883" in unit
    assert "rollback --if-unconfirmed" in unit, "without a hub the first gateway leaves a release that keeps dying"
    assert "ReadWritePaths=/d\n" in unit
    assert "Conflicts=mosquitto.service" in hub["etc/systemd/system/atoll-broker.service"]
    assert "gpsd" not in hub["etc/chrony/conf.d/atoll.conf"].replace("(gpsd", "")
    with_gnss = files(Install("/s.toml", "/d", "pi", gnss=True))["etc/chrony/conf.d/atoll.conf"]
    assert "refclock SHM 0" in with_gnss
    assert "allow 192.168.0.0/16" in with_gnss


def test_files_of_others_stop_an_install_before_it_writes_anything(tmp_path: Path) -> None:
    other = tmp_path / "etc/atoll/mosquitto.conf"
    other.parent.mkdir(parents=True)
    other.write_text("listener 1883\n")
    with pytest.raises(ForeignFiles, match=r"mosquitto\.conf"):
        write(tmp_path, Path("/d"), files(Install("/s.toml", "/d", "pi")), CHECKOUT, "pi")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [other]


def test_the_sixth_unclean_start_within_ten_minutes_is_a_safe_one(tmp_path: Path) -> None:
    budget = StartBudget(tmp_path)
    assert [budget.begin(100.0 * k, "boot-1") for k in range(5)] == [False] * 5
    assert budget.begin(500.0, "boot-1")
    assert not StartBudget(tmp_path).begin(1_099.0, "boot-1"), "the first six are older than ten minutes by then"
    budget.clean()
    assert not budget.begin(1_100.0, "boot-1")


def test_starts_before_a_reboot_count_and_a_damaged_count_does_not_stop_the_hub(tmp_path: Path) -> None:
    budget = StartBudget(tmp_path)
    for k in range(5):
        budget.begin(float(k), f"boot-{k}")
    assert budget.begin(6.0, "boot-9"), "a machine that reboots again and again is in the same storm"
    (tmp_path / STARTS).write_text("{")
    assert not budget.begin(7.0, "boot-9")


def test_a_drone_has_a_watched_unit_of_its_own_where_its_radio_is(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(with_mavlink(VILLAGE) + FENCE + AUTHORISED)
    done = CliRunner().invoke(atoll, ["service", "install", str(site), "--root", str(tmp_path), "--part", "gateway",
                                      "--broker", "hub.lan:1883"])  # fmt: skip
    assert done.exit_code == 0, done.output
    units = tmp_path / "etc/systemd/system"
    drone, gateway = (units / f"atoll-{name}.service" for name in ("drone-drone-1", "gateway-gw-1"))
    assert f"drone {site} drone-1 --data-dir /var/lib/atoll --broker hub.lan:1883\n" in drone.read_text()
    assert "WatchdogSec=10\n" in drone.read_text()
    assert "--alone" in gateway.read_text(), "else two programs would hold one radio"
    assert "atoll-drone-drone-1.service" in (units / "atoll.target").read_text()


def test_a_child_that_is_not_vital_is_tried_again_and_stops_nobody(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(tmp_path, said.append)
    supervisor.start(ChildSpec("radio", ("no-such-verb",), vital=False))
    try:
        first = supervisor.processes["radio"]
        assert wait_until(lambda: supervisor.processes["radio"] != first, 60, supervisor.poll)
        assert [text.split("\n")[0] for text in said] == ["radio ended (2) and is tried again; all else runs on:"]
    finally:
        supervisor.stop()
    vital = Supervisor(tmp_path, said.append)
    vital.start(ChildSpec("radio", ("no-such-verb",)))
    with pytest.raises(ChildFailed, match=r"radio ended \(2\)"):
        wait_until(lambda: False, 60, vital.poll)
