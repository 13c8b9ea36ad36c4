"""`atoll write DEV.POINT VALUE --for 10m --reason TEXT`: a hold through the hub, or a write at the device and back."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.field import Place, Trouble, hub_runs, place_options, trouble
from controller.cli.read import meant, polled_now
from controller.cli.remote import ask_hub, command, data_dir_option, duration_ms

if TYPE_CHECKING:
    from types import FrameType

    from devices.drivers import Driver
    from devices.model import BusFault, DeviceSpec
    from devices.registers import Registers, RegisterWrite

FOR_MS_MAX = 3_600_000
"""A write at the device itself stays in the foreground; longer ones belong to the hub."""
READ_BACK_S = 0.5
TAKE_BACK_S = (1.0, 2.0, 0.0)
TOLERANCE = 0.02


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("target", metavar="DEV.POINT")
@click.argument("value", type=float)
@click.option("--for", "lasting", required=True, help="How long: 90s, 10m, 1h; never without an end.")
@click.option("--reason", required=True, help="Why; it stands in the log.")
@place_options
@data_dir_option
@click.option("--dry-run", is_flag=True, help="Print the registers that would be written, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def write(  # noqa: PLR0913 - one argument per option
    target: str,
    value: float,
    *,
    lasting: str,
    reason: str,
    site: Path | None,
    endpoint: str,
    unit: int,
    driver: str,
    kind: str,
    data_dir: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Set DEV.POINT to VALUE for a while.

    Where a hub runs on --data-dir this is `atoll hold`: the hub's interlocks, ledger and expiry apply. Without a hub,
    with --site or --endpoint, it writes to the device itself, stays until the time is over (or Ctrl-C), and then writes
    back what the point read before. A device marked read_only is never written.
    """
    for_ms = duration_ms(lasting)
    direct = site is not None or bool(endpoint)
    if not (direct and dry_run) and hub_runs(data_dir):
        _through_the_hub(target, value, for_ms, reason, data_dir, dry_run, as_json)
        return
    if not direct:
        hint = "--data-dir of the hub, or --site FILE to write to the device itself"
        raise Refusal("no hub runs here, and no device is named", ExitCode.UNREACHABLE, hint=hint)
    if for_ms > FOR_MS_MAX:
        said = f"--for {lasting}: without a hub at most 1h"
        raise Refusal(said, ExitCode.USAGE, hint="atoll run all SITE, then atoll hold")
    spec, point = meant(target, Place(site, endpoint, unit, driver, kind))
    if not point:
        raise Refusal(f"{target!r} names no point", ExitCode.USAGE, hint=f"atoll read {target} lists them")
    _Direct(spec, point, for_ms, as_json).run(value, dry_run, reason)


def _through_the_hub(
    target: str, value: float, for_ms: int, reason: str, data_dir: Path | None, dry_run: bool, as_json: bool
) -> None:
    device, _, point = target.rpartition(".")
    if not device:
        raise Refusal(f"{target!r} names no point", ExitCode.USAGE, hint="write DEVICE.POINT")
    _need_writable(device, point, data_dir)
    said = f"a hub runs: {device} is held through it, not at the bus"
    if dry_run:
        click.echo(f"{said}; atoll hold {device} {value:g} would be sent")
        return
    click.echo(said, err=True)
    command(data_dir, {"ask": "hold", "device": device, "value": value, "for_ms": for_ms, "reason": reason}, as_json)


def _need_writable(device: str, point: str, data_dir: Path | None) -> None:
    """A hold names no point: the hub writes each device's one writable point, so another one must not be meant."""
    rows = cast("list[Mapping[str, object]]", ask_hub(data_dir, {"ask": "status"})["devices"])
    found = {str(row["id"]): cast("Mapping[str, object] | None", row.get("writable")) for row in rows}
    if device not in found:
        raise Refusal(f"the hub knows no device {device!r}", ExitCode.USAGE, hint=f"there are {', '.join(found)}")
    writable = found[device]
    if writable is None or point != writable["point"]:
        hint = f"write {device}.{writable['point']}" if writable else "nothing of it can be held"
        raise Refusal(f"{device}.{point} cannot be written through the hub", ExitCode.UNSAFE, hint=hint)


class BusTrouble(OSError):
    """A write that the device did not confirm; `fault` says why."""

    def __init__(self, fault: BusFault, problem: str) -> None:
        super().__init__(f"{fault}: {problem}" if problem else str(fault))
        self.fault = fault
        self.problem = problem


@contextmanager
def _ended_like_ctrl_c() -> Generator[None]:
    """Lets SIGTERM and a closed terminal unwind like Ctrl-C, so that no value is left behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Direct:
    """One write at the device itself, with its way back."""

    def __init__(self, spec: DeviceSpec, point: str, for_ms: int, as_json: bool) -> None:
        self.spec = spec
        self.point = point
        self.for_ms = for_ms
        self.as_json = as_json
        self.place = f"{spec.id}.{point} ({spec.endpoint}, unit {spec.unit})"

    def run(self, value: float, dry_run: bool, reason: str) -> None:
        driver, before, last = self._before()
        orders = self._orders(driver, value, before, last)
        for order in orders:
            words = " ".join(f"{word:04x}" for word in order.values)
            self._say(
                f"{'would write' if dry_run else 'write'} function {order.function} address {order.address}: {words}"
            )
        if dry_run:
            if self.as_json:
                rows = [{"function": o.function, "address": o.address, "values": list(o.values)} for o in orders]
                click.echo(json.dumps({"schema": 1, "ok": True, "dry_run": True, "before": before, "writes": rows}))
            return
        self._say(f"{self.place}: {before:g} -> {value:g} for {self.for_ms // 1000} s: {reason}")
        back = self._orders(driver, before, before, last)
        with _ended_like_ctrl_c():
            try:
                self._hold(driver, orders, value)
            finally:
                self._take_back(back, before, value)
        if self.as_json:
            click.echo(json.dumps({"schema": 1, "ok": True, "before": before, "value": value, "reason": reason}))

    def _before(self) -> tuple[Driver, float, Sequence[Registers | None]]:
        """Returns the driver and what the point reads now: the way back must be known first."""
        if self.spec.read_only:
            said = "the site file says read_only = true"
            raise Trouble("WRITE-001", self.place, said, "", "atoll check SITE", ExitCode.PERMISSION).tell(self.as_json)
        polled = polled_now(self.spec)
        if polled.fault is not None or polled.driver is None:
            raise trouble(self.spec, polled).tell(self.as_json)
        before = polled.values.get(self.point)
        if before is None:
            said = "it reads no number now, so there is no way back" if self.point in polled.values else "no such point"
            seen = f"points: {', '.join(polled.values)}"
            raise Trouble("WRITE-001", self.place, said, seen, f"atoll read {self.spec.id}", ExitCode.UNSAFE).tell(
                self.as_json
            )
        return polled.driver, before, polled.last

    def _orders(
        self, driver: Driver, value: float, fallback: float, last: Sequence[Registers | None]
    ) -> list[RegisterWrite]:
        from devices.drivers import Unwritable

        try:
            return driver.writes(self.point, value, fallback, self.for_ms, last)
        except Unwritable as error:
            raise Trouble("WRITE-001", self.place, str(error), "", f"atoll read {self.spec.id}", ExitCode.UNSAFE).tell(
                self.as_json
            ) from error

    def _hold(self, driver: Driver, orders: Sequence[RegisterWrite], value: float) -> None:
        """Writes, compares once, and writes again before the device's keep-alive runs out, until the time is over."""
        from devices.shell.field_bus import Polled

        until = time.monotonic() + self.for_ms / 1000
        keep_s = driver.keep_alive_ms(self.point) / 3000
        try:
            self._tell(orders)
        except BusTrouble as refusal:
            polled = Polled(fault=refusal.fault, problem=refusal.problem)
            raise trouble(self.spec, polled).tell(self.as_json) from refusal
        time.sleep(min(READ_BACK_S, self.for_ms / 1000))
        seen = polled_now(self.spec).values.get(self.point)
        if seen is None or abs(seen - value) > max(0.005, TOLERANCE * abs(value)):
            said = f"told {value:g}, reads back {'no number' if seen is None else f'{seen:g}'}"
            again = f"atoll read {self.spec.id} --raw"
            raise Trouble("WRITE-002", self.place, said, "", again, ExitCode.FINDINGS).tell(self.as_json)
        self._say(f"reads back {seen:g}; Ctrl-C ends it earlier")
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, keep_s or left))
            if time.monotonic() < until:
                with suppress(BusTrouble):  # the next one may arrive; the way back is tried in any case
                    self._tell(orders)

    def _take_back(self, orders: Sequence[RegisterWrite], before: float, value: float) -> None:
        """Writes what was there before, a few times where the device does not answer."""
        said = ""
        for wait_s in TAKE_BACK_S:
            try:
                self._tell(orders)
            except BusTrouble as refusal:
                said = str(refusal)
                time.sleep(wait_s)
            else:
                self._say(f"{self.place}: back to {before:g}")
                return
        left = f"not taken back: it may still hold {value:g} ({said})"
        raise Trouble("WRITE-003", self.place, left, "", f"atoll read {self.spec.id}").tell(self.as_json)

    def _tell(self, orders: Sequence[RegisterWrite]) -> None:
        from devices.bus import WriteRequest
        from devices.shell.modbus import open_wire

        wire = open_wire(self.spec.endpoint)
        try:
            for order in orders:
                request = WriteRequest(
                    self.spec.id, self.point, "", self.spec.unit, order.function, order.address, order.values
                )
                fault = wire.write(request)
                if fault is not None:
                    raise BusTrouble(fault, wire.problem)
        finally:
            wire.close()

    def _say(self, text: str) -> None:
        if not self.as_json:
            click.echo(text)
