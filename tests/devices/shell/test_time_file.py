"""What a clock is worth: by source, by age, after a reboot with and without an RTC, and set by hand in two steps."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli import atoll
from controller.cli import time as verb
from devices.clock import ClockQuality
from devices.shell import time_file
from devices.shell.run_clock import WallClock
from devices.shell.time_file import Evidence, Source, quality

DAY = 86_400_000
NOW = 1_780_000_000_000


def set_at(source: Source, *, rtc: bool) -> Evidence:
    return Evidence(source, NOW, 2_000, 50_000, "boot-1", rtc)


def test_a_crystal_drifts_within_a_boot_and_only_an_rtc_carries_time_over_a_reboot() -> None:
    by_hand, with_rtc = set_at(Source.HAND, rtc=False), set_at(Source.RTC, rtc=True)
    assert by_hand.bound_ms(NOW, 50_000, "boot-1") == 2_000
    assert by_hand.bound_ms(NOW + DAY, 50_000 + DAY, "boot-1") == 2_000 + 8_640
    assert by_hand.bound_ms(NOW + 60_000, 10, "boot-2") is None, "nobody knows how long it was off"
    assert with_rtc.bound_ms(NOW + DAY, 10, "boot-2") == 3_000 + 2_592
    assert with_rtc.bound_ms(NOW - 1, 10, "boot-2") is None, "the battery is empty: it went back"


@pytest.mark.parametrize(
    ("kernel", "bound", "found"),
    [(12, None, "synchronised"), (None, 27_000, "holdover"), (None, 27_001, "unknown"), (None, None, "unknown")],
)
def test_quality_is_disciplined_known_or_unknown(kernel: int | None, bound: int | None, found: str) -> None:
    assert quality(kernel, bound) == found
    clock = WallClock(wall_ns=lambda: NOW * 10**6, synchronised=lambda: kernel is not None, known=lambda: bound)
    assert clock.quality() == found, "and a gateway's records say the same"


def test_what_is_known_lasts_on_the_disk_and_damage_means_that_nothing_is_known(tmp_path: Path) -> None:
    assert time_file.bound_now(tmp_path)() is None
    time_file.write(tmp_path, time_file.now_by(Source.GNSS, 700))
    bound = time_file.bound_now(tmp_path)()
    assert bound is not None
    assert 700 <= bound <= 800
    (tmp_path / time_file.TIME).write_text("{}")
    assert time_file.bound_now(tmp_path)() is None


def test_the_kernel_is_asked_for_its_error_and_says_the_same_of_synchronisation() -> None:
    from devices.shell.run_clock import kernel_synchronised

    error = time_file.kernel_error_ms()
    assert (error is not None) == kernel_synchronised()
    assert error is None or 0 <= error <= 16_000


def test_by_hand_the_clock_moves_only_after_the_second_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[int] = []
    monkeypatch.setattr(verb, "set_clock", moved.append)  # the one thing that a test must not do to this machine
    words = ["time", "--data-dir", str(tmp_path)]

    def said(*more: str) -> tuple[int, str]:
        done = CliRunner().invoke(atoll, [*words, *more])
        return done.exit_code, done.output

    when = "2036-06-03T09:40:00Z"
    code, output = said("set", when, "--error", "5s")
    assert (code, moved) == (0, []), output
    right = re.findall(r"--confirm (\d{4})", output)[0]
    wrong = "1000" if right != "1000" else "1001"
    assert said("set", when, "--confirm", wrong)[0] == 5
    assert said("set", when, "--confirm", right)[0] == 2, "a wrong code ends it: nobody tries all of them"
    output = said("set", when, "--error", "5s")[1]
    begun = time.monotonic()
    assert said("set", when, "--confirm", re.findall(r"--confirm (\d{4})", output)[0])[0] == 0
    assert 0 <= moved[0] - 2_096_098_800_000 <= (time.monotonic() - begun) * 1_000 + 2_000
    known = time_file.read(tmp_path)
    assert known is not None
    assert (known.source, known.error_ms) == (Source.HAND, 5_000)
    shown = json.loads(CliRunner().invoke(atoll, [*words, "--json"]).output)
    assert shown["quality"] in (ClockQuality.HOLDOVER, ClockQuality.SYNCHRONISED)
    assert said("set", "yesterday")[0] == 2
    assert said("source", "rtc")[0] in (0, 4)
