"""`atoll time [set|source]`: what this machine's clock is worth, and how to make it worth more."""

from __future__ import annotations

import json
import secrets
import time as clock
from pathlib import Path

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option, duration_ms

PENDING = "time-pending.json"
CONFIRM_S = 120


@click.group(invoke_without_command=True)
@click.pass_context
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def time(ctx: click.Context, *, data_dir: Path | None, as_json: bool) -> None:
    """Say how far this machine's clock may be off; `time set` and `time source` tell it more.

    Records carry what the clock was worth when they were made, and a day is not closed on time that nobody knows.
    """
    ctx.obj = folder = data_dir_of(data_dir)
    if ctx.invoked_subcommand is None:
        _show(folder, as_json)


def _show(folder: Path, as_json: bool) -> None:
    from devices.clock import ClockQuality, Instant, iso
    from devices.shell import time_file

    known, kernel = time_file.read(folder), time_file.kernel_error_ms()
    bound = kernel if kernel is not None else time_file.bound_now(folder)()
    found = time_file.quality(kernel, bound)
    source = "kernel (NTP or GNSS by chrony)" if kernel is not None else known.source.value if known else "none"
    rtc = time_file.rtc_offset_ms()
    if as_json:
        click.echo(json.dumps({"schema": 1, "now_ms": clock.time_ns() // 1_000_000, "quality": found.value,
                               "source": source, "error_ms": bound, "rtc_offset_ms": rtc}))  # fmt: skip
    else:
        click.echo(f"{iso(Instant(clock.time_ns() // 1_000_000_000 * 1000))}  {found.value}")
        click.echo(
            f"source {source}; "
            + ("nobody knows how far it is off" if bound is None else f"off by at most {bound / 1000:.1f} s")
        )
        click.echo("no battery-backed clock (RTC)" if rtc is None else f"RTC differs by {rtc / 1000:+.0f} s")
    if found is ClockQuality.UNKNOWN:
        raise SystemExit(int(ExitCode.FINDINGS))


@time.command("source")
@click.argument("name", type=click.Choice(["rtc", "gnss", "ntp"]))
@click.option("--error", default="", metavar="10s", help="How far it may be off (rtc; default 2 s).")
@click.pass_obj
def use_source(folder: Path, name: str, error: str) -> None:
    """Note that the clock is right by NAME now, within its error; refused where that source is not there."""
    from devices.shell import time_file

    if name == "rtc":
        offset = time_file.rtc_offset_ms()
        if offset is None:
            raise Refusal(
                "there is no RTC here (/sys/class/rtc/rtc0)",
                ExitCode.UNREACHABLE,
                hint="dtoverlay=i2c-rtc,ds3231 in config.txt",
            )
        error_ms = abs(offset) + (duration_ms(error) if error else 2_000)
    else:
        kernel = time_file.kernel_error_ms()
        if kernel is None:
            raise Refusal(
                f"nothing disciplines the clock, so {name} has not set it", ExitCode.RETRY, hint="chronyc sources"
            )
        error_ms = kernel
    folder.mkdir(parents=True, exist_ok=True)
    time_file.write(folder, time_file.now_by(time_file.Source(name), error_ms))
    click.echo(f"{name}: right within {error_ms / 1000:.1f} s")


@time.command("set")
@click.argument("when")
@click.option("--error", default="10s", show_default=True, help="How far what you read may be off.")
@click.option("--confirm", default="", metavar="CODE", help="The code that the first call printed.")
@click.pass_obj
def set_by_hand(folder: Path, when: str, error: str, confirm: str) -> None:
    """Set the clock to WHEN (2026-06-03T09:40:00Z) by hand, in two steps: the first call prints a code.

    Never behind what the ledger has seen.
    """
    from devices.clock import iso, parse_iso

    folder.mkdir(parents=True, exist_ok=True)
    if confirm:
        _confirmed(folder, confirm)
        return
    try:
        wanted = parse_iso(when)
    except ValueError as problem:
        raise Refusal(str(problem), ExitCode.USAGE) from problem
    error_ms = duration_ms(error)
    _not_behind_the_ledger(folder, wanted)
    step = wanted - clock.time_ns() // 1_000_000
    code = f"{secrets.randbelow(9000) + 1000}"
    pending = {
        "code": code,
        "wanted_ms": wanted,
        "error_ms": error_ms,
        "monotonic_ms": clock.monotonic_ns() // 1_000_000,
    }
    (folder / PENDING).write_text(json.dumps(pending), encoding="utf-8")
    click.echo(
        f"the clock would go {'forward' if step >= 0 else 'BACK'} by {abs(step) / 1000:.0f} s,"
        f" to {iso(wanted)}, within {error}"
    )
    click.echo(f"if a second person reads the same: atoll time set {when} --confirm {code}   (within {CONFIRM_S} s)")


def _not_behind_the_ledger(folder: Path, wanted: int) -> None:
    from controller.cli.run import latest_known
    from devices.clock import Instant, iso

    latest = latest_known(folder)
    if wanted < latest:
        raise Refusal(
            f"the ledger has records of {iso(latest)}, after {iso(Instant(wanted))}",
            ExitCode.UNSAFE,
            hint="look at the date again",
        )


def _confirmed(folder: Path, code: str) -> None:
    from devices.shell import time_file

    try:
        pending = json.loads((folder / PENDING).read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        raise Refusal(
            "nothing waits for a confirmation", ExitCode.USAGE, hint="atoll time set WHEN, first"
        ) from problem
    (folder / PENDING).unlink()
    passed = clock.monotonic_ns() // 1_000_000 - pending["monotonic_ms"]
    if pending["code"] != code or not 0 <= passed <= CONFIRM_S * 1_000:
        raise Refusal("that is not the code, or it is too old: begin again", ExitCode.PERMISSION)
    try:
        set_clock(pending["wanted_ms"] + passed)
    except PermissionError as problem:
        raise Refusal("only root may set the clock", ExitCode.PERMISSION, hint="sudo, and begin again") from problem
    time_file.write(folder, time_file.now_by(time_file.Source.HAND, pending["error_ms"]))
    click.echo(
        f"set; right within {pending['error_ms'] / 1000:.0f} s, and {time_file.CRYSTAL_PPM * 0.0864:.1f} s a day more"
    )


def set_clock(wall_ms: int) -> None:
    """Sets the machine's clock, and its RTC where there is one."""
    import shutil
    import subprocess

    from devices.shell.time_file import RTC

    clock.clock_settime(clock.CLOCK_REALTIME, wall_ms / 1000)
    if RTC.exists() and shutil.which("hwclock"):
        subprocess.run(["hwclock", "--systohc", "--utc"], capture_output=True, check=False)
