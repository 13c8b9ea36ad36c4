"""Upgrades of a hub that runs: a bad release goes away by itself, a good one stays, nothing that was booked is lost."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from controller.ledger.identity import SigningKey
from controller.shell import kit
from controller.shell.broker import free_port
from controller.shell.children import wait_until
from controller.shell.control import ask
from controller.shell.key_file import new_key_file
from controller.shell.upgrade import GatewayPulse, Pulse, missing, pulse, unconfirmed_start, vitals
from devices.shell.run_clock import boot_id
from tests.integration.stack import VILLAGE

pytestmark = pytest.mark.integration
REAL = f'exec {shlex.quote(sys.executable)} -m controller.cli "$@"'
GOOD = REAL
DIES = f'[ "$1" != run ] || exit 1\n{REAL}'
UNFIT = "echo 'this release cannot read the site file' >&2; exit 3"
HEALTH_S = 30.0


def release(folder: Path, name: str, program: str, key: SigningKey) -> Path:
    """Makes a kit whose launcher sets up `.venv/bin/atoll` with this program."""
    place = folder / name
    (place / "kit").mkdir(parents=True)
    setup = f"mkdir -p .venv/bin\ncat >.venv/bin/atoll <<'END'\n#!/bin/sh\n{program}\nEND\nchmod +x .venv/bin/atoll\n"
    (place / "atoll").write_text(f'#!/bin/sh\n{setup}exec .venv/bin/atoll "$@"\n')
    (place / "atoll").chmod(0o755)
    (place / kit.KIT_JSON).write_text(json.dumps({"release": name}))
    kit.seal(place, key)
    return place


def installed(folder: Path) -> tuple[Path, SigningKey]:
    """Returns a data directory with release 1.0 in force, and its builder's key."""
    data, key = folder / "data", new_key_file(folder / "builder.pem")
    data.mkdir()
    shutil.copy(VILLAGE, data / "site.toml")
    first = release(folder, "1.0", GOOD, key)
    subprocess.run(["./atoll", "version"], cwd=first, check=True, capture_output=True)
    (data / "current").symlink_to(first)
    return data, key


class Init:
    """What systemd does here: starts `current`, again and again, also after a crash."""

    def __init__(self, data: Path, part: str = "hub") -> None:
        self.data = data
        broker, console = (free_port("127.0.0.1", port) for port in (24883, 31080))
        self.words = ["run", part, str(data / "site.toml"), "--data-dir", str(data)]
        only_hub = ["--port", str(console), "--broker-port", str(broker)]
        self.words += only_hub if part == "hub" else ["--broker", f"127.0.0.1:{broker}"]
        self.process: subprocess.Popen[bytes] | None = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while not self.ended.is_set():
            with (self.data.parent / "hub.log").open("ab") as log:
                command = [self.data / "current/.venv/bin/atoll", *self.words]
                self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
                (self.data / "hub.pid").write_text(str(self.process.pid))
                self.process.wait()
            time.sleep(0.3)

    def stop(self) -> None:
        self.ended.set()
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
        self.thread.join(20)

    def upgrade(self, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
        restart = shlex.join(["sh", "-c", f"kill $(cat {shlex.quote(str(self.data / 'hub.pid'))})"])
        words = [
            "upgrade",
            str(folder),
            "--data-dir",
            str(self.data),
            "--health-s",
            str(HEALTH_S),
            "--restart",
            restart,
        ]
        command = [sys.executable, "-m", "controller.cli", *words, *more]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))


def in_force(data: Path) -> str:
    return (data / "current").resolve().name


@pytest.mark.needs("mosquitto")
def test_a_bad_release_rolls_back_by_itself_a_good_one_stays_and_nothing_booked_is_lost(tmp_path: Path) -> None:
    data, key = installed(tmp_path)
    first = tmp_path / "1.0"
    init = Init(data)
    try:
        assert wait_until(lambda: (seen := pulse(data)) is not None and seen.link, 60), (
            tmp_path / "hub.log"
        ).read_text()
        held = ask(data, {"ask": "hold", "device": "battery-1", "value": 0, "for_ms": 3_600_000, "reason": "before"})
        assert held["accepted"], held
        before = pulse(data)
        assert before is not None

        stranger = init.upgrade(release(tmp_path, "1.1", GOOD, new_key_file(tmp_path / "x.pem")), "--trust", key.did)
        assert (stranger.returncode, in_force(data)) == (6, "1.0"), stranger.stderr
        assert "not among the trusted builders" in stranger.stderr
        unfit = init.upgrade(release(tmp_path, "1.2", UNFIT, key))
        assert (unfit.returncode, in_force(data)) == (6, "1.0"), unfit.stderr
        assert "cannot read the site file" in unfit.stderr
        assert not (data / "releases/1.2").exists()

        dies = init.upgrade(release(tmp_path, "1.3", DIES, key))
        assert (dies.returncode, in_force(data)) == (1, "1.0"), dies.stdout + dies.stderr
        assert "1.3 did not prove itself: its hub does not answer. 1.0 is in force again" in dies.stderr
        back = pulse(data)
        assert back is not None, "the old release runs again before the verb has ended"
        assert back.epoch > before.epoch
        assert back.entries >= before.entries
        assert "before" in str(ask(data, {"ask": "status"})), "the hold that was booked still stands"

        good = init.upgrade(release(tmp_path, "1.4", GOOD, key))
        assert (good.returncode, in_force(data)) == (0, "1.4"), good.stdout + good.stderr
        assert json.loads((data / "upgrade.json").read_text())["state"] == "confirmed"
        assert (data / "previous").resolve() == first.resolve()
        after = pulse(data)
        assert after is not None
        assert after.entries >= back.entries
    finally:
        init.stop()
    snapshots = sorted(path.name for path in (data / "snapshots").iterdir())
    assert [name.partition("-")[2] for name in snapshots] == [
        "before-1.3.keys.db", "before-1.3.tar.gz", "before-1.4.keys.db", "before-1.4.tar.gz",
    ]  # fmt: skip


def on_trial(data: Path, boot: str, starts: int) -> None:
    for name in ("old", "new"):
        (data / name).mkdir(exist_ok=True)
        (data / name / "atoll").touch()
        link = data / {"old": "previous", "new": "current"}[name]
        link.unlink(missing_ok=True)
        link.symlink_to(data / name)
    (data / "upgrade.json").write_text(
        json.dumps({"state": "trying", "release": "new", "boot": boot, "starts": starts})
    )


def test_a_release_on_trial_that_keeps_dying_or_lost_power_is_left_at_its_next_start(tmp_path: Path) -> None:
    assert unconfirmed_start(tmp_path) is None, "no upgrade is under way"
    on_trial(tmp_path, boot_id(), 0)
    assert [unconfirmed_start(tmp_path) for _ in range(3)] == [None] * 3
    assert in_force(tmp_path) == "new"
    assert unconfirmed_start(tmp_path) == tmp_path / "old"
    assert in_force(tmp_path) == "old"
    assert unconfirmed_start(tmp_path) is None, "and only once"
    on_trial(tmp_path, "another boot", 0)
    assert unconfirmed_start(tmp_path) == tmp_path / "old", "power was lost on trial, so nobody watched it any more"


WELL = Pulse(11, 50, True, frozenset({"gw-1"}), 7, False)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (None, "does not answer"),
        (Pulse(10, 50, True, frozenset({"gw-1"}), 7, False), "has not started"),
        (Pulse(11, 50, True, frozenset({"gw-1"}), 7, True), "safe mode"),
        (Pulse(11, 40, True, frozenset({"gw-1"}), 7, False), "stands still"),
        (Pulse(11, 50, False, frozenset({"gw-1"}), 7, False), "no broker"),
        (Pulse(11, 50, True, frozenset(), 7, False), "gw-1"),
        (Pulse(11, 50, True, frozenset({"gw-1"}), 6, False), "6 entries, 7 before"),
        (WELL, ""),
    ],
)
def test_a_hub_is_as_well_as_the_one_before_or_says_what_it_lacks(now: Pulse | None, said: str) -> None:
    found = missing(Pulse(10, 9_000, True, frozenset({"gw-1"}), 7, False), now, 40)
    assert said in found
    assert bool(found) == bool(said)


def test_a_machine_with_gateways_only_is_upgraded_and_a_bad_release_rolls_back(tmp_path: Path) -> None:
    data, key = installed(tmp_path)
    init = Init(data, "gateway")
    try:
        assert wait_until(lambda: vitals(data) is not None, 60), (tmp_path / "hub.log").read_text()
        before = vitals(data)
        assert isinstance(before, GatewayPulse)
        dies = init.upgrade(release(tmp_path, "1.3", DIES, key), "--trust", key.did)
        assert (dies.returncode, in_force(data)) == (1, "1.0"), dies.stdout + dies.stderr
        assert "1.3 did not prove itself: its gateways do not answer. 1.0 is in force again" in dies.stderr
        back = vitals(data)
        assert isinstance(back, GatewayPulse), "the old release runs again before the verb has ended"
        good = init.upgrade(release(tmp_path, "1.4", GOOD, key))
        assert (good.returncode, in_force(data)) == (0, "1.4"), good.stdout + good.stderr
        after = vitals(data)
        assert isinstance(after, GatewayPulse)
        assert after.processes["gw-1"] not in (before.processes["gw-1"], back.processes["gw-1"])
    finally:
        init.stop()
    assert sorted(path.name for path in (data / "snapshots").iterdir())


@pytest.mark.parametrize(
    ("now", "lacks"),
    [
        (None, "its gateways do not answer"),
        (GatewayPulse({"b": 9}, frozenset("b"), frozenset("xy"), 5), "gateways do not answer: a"),
        (GatewayPulse({"a": 1, "b": 9}, frozenset("ab"), frozenset("xy"), 5), "gateways have not started yet: a"),
        (GatewayPulse({"a": 8, "b": 9}, frozenset("b"), frozenset("xy"), 5), "gateways have no broker: a"),
        (GatewayPulse({"a": 8, "b": 9}, frozenset("ab"), frozenset("y"), 5), "devices that answered do not: x"),
        (GatewayPulse({"a": 8, "b": 9, "c": 1}, frozenset("abc"), frozenset("xyz"), 5), ""),
    ],
)
def test_gateways_must_be_as_well_as_before(now: GatewayPulse | None, lacks: str) -> None:
    before = GatewayPulse({"a": 1, "b": 2}, frozenset("ab"), frozenset("xy"), 1_000)
    assert missing(before, now, 0) == lacks
