"""Time that is disciplined is noted with its error bound, by what chrony and timedatectl print; else nothing is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from devices.clock import ClockQuality
from devices.shell import time_file
from devices.shell.run_clock import WallClock
from devices.shell.time_file import Source
from devices.shell.time_sync import TimeKeeper, disciplined, said, tracked

NTP = "C0A80101,192.168.1.1,3,1781000000.1,-0.000412,0.000033,0.000045,-12.3,0.001,0.05,0.021340,0.004100,64.2,Normal\n"
GNSS = NTP.replace("192.168.1.1,3", "GNSS,1")
LOST = "7F7F0101,,10,1781000000.1,0.0,0.0,0.0,-12.3,0.0,0.05,0.0,0.0,64.2,Not synchronised\n"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (NTP, (Source.NTP, 16)),  # 0.412 + 4.1 + 21.34 / 2 = 15.2 ms
        (GNSS, (Source.GNSS, 16)),
        (NTP.replace("Normal", "Insert second"), (Source.NTP, 16)),
        (LOST, None),
        ("", None),
        ("506 Cannot talk to daemon\n", None),
        (NTP.replace("0.004100", "nan"), None),
        (NTP.replace("0.004100", "soon"), None),
        (NTP.replace("0.004100", "-1"), None),
        (NTP.replace(",64.2", ""), None),
    ],
)
def test_what_chrony_tracks_becomes_a_bound(line: str, found: tuple[Source, int] | None) -> None:
    assert tracked(line) == found


@pytest.mark.parametrize(
    ("kernel", "chrony", "timedate", "found"),
    [
        (None, NTP, "NTPSynchronized=yes", None),
        (40, NTP, "", (Source.NTP, 16)),
        (40, "", "NTPSynchronized=yes", (Source.NTP, 40)),
        (40, "", "", (Source.NTP, 40)),
        (40, LOST, "NTPSynchronized=no", None),
    ],
)
def test_the_kernel_has_the_last_word(
    kernel: int | None, chrony: str, timedate: str, found: tuple[Source, int] | None
) -> None:
    def ask(words: Sequence[str]) -> str:
        return chrony if words[0] == "chronyc" else timedate

    assert disciplined(ask, lambda: kernel) == found


def test_a_tool_that_is_not_there_or_fails_says_nothing() -> None:
    assert said(("no-such-tool-here",)) == ""
    assert said(("false",)) == ""
    assert said(("echo", "NTPSynchronized=yes")) == "NTPSynchronized=yes\n"


def test_the_bound_goes_on_from_the_last_good_moment_when_the_network_is_gone(tmp_path: Path) -> None:
    found: list[tuple[Source, int] | None] = [(Source.GNSS, 20)]
    keeper = TimeKeeper(tmp_path, lambda: found[0])
    known = time_file.bound_once_known(tmp_path)
    clock = WallClock(synchronised=lambda: found[0] is not None, known=known)
    assert known() == 0, "nothing is known: a short holdover, as without the file"
    assert keeper.note()
    evidence = time_file.read(tmp_path)
    assert evidence is not None
    assert (evidence.source, evidence.error_ms) == (Source.GNSS, 20)
    assert clock.quality() is ClockQuality.SYNCHRONISED
    found[0] = None
    assert not keeper.note()
    assert clock.quality() is ClockQuality.HOLDOVER
    assert time_file.read(tmp_path) == evidence, "what was known stays"
    old = time_file.Evidence(Source.NTP, evidence.wall_ms, 30_000, evidence.monotonic_ms, evidence.boot, rtc=False)
    time_file.write(tmp_path, old)
    assert clock.quality() is ClockQuality.UNKNOWN, "more than 27 s is nobody's time"


def test_it_looks_at_once_and_ends_when_told(tmp_path: Path) -> None:
    keeper = TimeKeeper(tmp_path, lambda: (Source.NTP, 5))
    keeper.start()
    deadline = time.monotonic() + 30
    while time_file.read(tmp_path) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    keeper.stop()
    unwritable = TimeKeeper(tmp_path / "gone", lambda: (Source.NTP, 5))
    assert unwritable.note(), "a disk that is full stops nobody"
