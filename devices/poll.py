"""Polling one device after the other: scan, block reads, back-off. Answers become columns with quality.

A device's blocks are asked one at a time, so a silent device costs one time-out per attempt, and attempts
get rarer: one dead unit never slows the others much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from devices.bus import SCAN, BusRead, ReadRequest
from devices.clock import Instant
from devices.drivers import Driver
from devices.gpio import DRIVER as GPIO
from devices.gpio import GpioDriver
from devices.model import POINTS, BusFault, DeviceId, DeviceSpec, Quality, Readings
from devices.profile import ProfileDriver, load_profile
from devices.registers import Registers
from devices.sunspec import Scan
from devices.sunspec_driver import SunspecDriver

BACKOFF_MS_MAX = 60_000
DEAD_AFTER = 3
"""Failed attempts in a row after which a device counts as dead (and is scanned afresh when it comes back)."""
_IDLE = -2
_GOOD_TUPLES = {n: (Quality.GOOD,) * n for n in range(64)}


def driver_of(spec: DeviceSpec) -> Driver | None:
    """Returns the driver that the site file fixes, None where a SunSpec scan must find it.

    Raises:
        BadProfile: no such profile, or it has faults or too few channels.
        ValueError: a driver name that is none.
    """
    if spec.driver == "sunspec":
        return None
    if spec.driver == GPIO:
        return GpioDriver(spec)
    kind, _, name = spec.driver.partition(":")
    if kind != "profile":
        raise ValueError(f"{spec.id}: driver {spec.driver!r}: write sunspec or profile:NAME, or gpio:header")
    return ProfileDriver(load_profile(name), spec.channels)


@dataclass(slots=True)
class Unit:
    """One polled device. Times are the gateway's own elapsed milliseconds."""

    spec: DeviceSpec
    driver: Driver | None = None
    scan: Scan | None = None
    points: tuple[str, ...] = ()
    columns: dict[str, int] = field(default_factory=dict[str, int])
    values: tuple[float | None, ...] = ()  # of the last finished poll
    good_at: int = -1  # elapsed time of the last poll that brought anything
    last: list[Registers | None] = field(default_factory=list["Registers | None"])
    failures: int = 0
    retry_at: int = 0
    asked_at: int = 0
    block: int = _IDLE
    problem: str = ""
    _reads: tuple[BusRead, ...] = ()
    _collected: list[float | None] = field(default_factory=list["float | None"])
    _answered: int = 0
    _polls: int = 0

    def __post_init__(self) -> None:
        self._compile(driver_of(self.spec))

    def _compile(self, driver: Driver | None) -> None:
        self.driver = driver
        if driver is None:
            self.scan = Scan()
            self.points = POINTS[self.spec.kind]
            self._reads, self.last = (), []
        else:
            self.scan = None
            spec = self.spec
            gap_ms = driver.profile.gap_ms if isinstance(driver, ProfileDriver) else 0
            self.points = tuple(point for block in driver.blocks for point in block.points)
            self._reads = tuple(
                BusRead(ReadRequest(spec.id, i, spec.endpoint, spec.unit, b.function, b.address, b.count, gap_ms))
                for i, b in enumerate(driver.blocks)
            )
            self.last = [None] * len(self._reads)
        self.columns = {point: i for i, point in enumerate(self.points)}
        self.values = (None,) * len(self.points)
        self.good_at = -1

    @property
    def idle(self) -> bool:
        """Returns whether nothing is asked of the device at the moment."""
        return self.block == _IDLE

    @property
    def dead(self) -> bool:
        """Returns whether the device has been silent for several attempts."""
        return self.failures >= DEAD_AFTER

    def begin(self, elapsed: int) -> BusRead | None:
        """Returns the first read of a poll, None while the device is busy or backed off."""
        if self.block != _IDLE or elapsed < self.retry_at:
            return None
        self.asked_at = elapsed
        if self.scan is not None:
            return self._scan_on(self.scan)
        self._polls += 1
        self._answered = 0
        self._collected = []
        self.block = self._skip_slow(0)
        return self._reads[self.block]

    def _skip_slow(self, index: int) -> int:
        """Returns the next block to ask, from `index` on; slow ones in between keep their last answer.

        The first block is always asked: a device whose blocks are all slow must not look alive for ever.
        """
        assert self.driver is not None, "block reads need a driver"
        blocks = self.driver.blocks
        while 0 < index < len(blocks) and self._polls % blocks[index].every:
            registers = self.last[index]
            if registers is None:
                break
            self._collected += blocks[index].decode(registers, self.last[0])
            index += 1
        return index

    def _scan_on(self, scan: Scan) -> BusRead | None:
        step = scan.request()
        if step is None:
            return None
        self.block = SCAN
        spec = self.spec
        return BusRead(ReadRequest(spec.id, SCAN, spec.endpoint, spec.unit, 3, step[0], step[1]))

    def answer(
        self, request: ReadRequest, registers: tuple[int, ...] | BusFault, now: Instant, elapsed: int, backoff_ms: int
    ) -> BusRead | Readings | None:
        """Returns the next read of this poll, or its readings when it is finished, or None.

        An answer to something that is no longer asked is dropped.
        """
        if request.block != self.block:
            return None
        silent = registers is BusFault.TIMEOUT or registers is BusFault.DISCONNECTED
        if self.scan is not None:  # noise leaves a scan where it is: asked again at once, it would never end
            silent = silent or registers is BusFault.GARBLED
        if silent:
            return self._failed(now, elapsed, backoff_ms)
        if self.scan is not None:
            return self._scanned(self.scan, request, registers, now, elapsed, backoff_ms)
        return self._block_answered(registers, now, elapsed, backoff_ms)

    def _block_answered(
        self, registers: tuple[int, ...] | BusFault, now: Instant, elapsed: int, backoff_ms: int
    ) -> BusRead | Readings | None:
        assert self.driver is not None, "block reads need a driver"
        index = self.block
        block = self.driver.blocks[index]
        if isinstance(registers, BusFault) or len(registers) != block.count:
            self.last[index] = None
            self._collected += [None] * len(block.points)
        else:
            self.last[index] = registers
            self._answered += 1
            self._collected += block.decode(registers, self.last[0])
        following = self._skip_slow(index + 1)
        if following < len(self._reads):
            self.block = following
            return self._reads[following]
        if not self._answered:
            return self._failed(now, elapsed, backoff_ms)
        self.block = _IDLE
        self.failures = 0
        self.good_at = elapsed
        self.values = tuple(self._collected)
        return self._readings(now)

    def _scanned(
        self,
        scan: Scan,
        request: ReadRequest,
        registers: tuple[int, ...] | BusFault,
        now: Instant,
        elapsed: int,
        backoff_ms: int,
    ) -> BusRead | Readings | None:
        if scan.request() == (request.address, request.count):
            scan.answer(registers)
        following = self._scan_on(scan)
        if following is not None:
            return following
        driver = SunspecDriver(self.spec.kind, scan.chain) if scan.chain else None
        if driver is None or not driver.blocks:
            models = [entry.id for entry in scan.chain]
            self.problem = scan.failure or f"models {models}: none of them has what a {self.spec.kind} needs"
            self._compile(None)
            return self._failed(now, elapsed, backoff_ms)
        self.problem = f"no model for {', '.join(driver.missing)}" if driver.missing else ""
        self._compile(driver)
        self.block, self._answered = 0, 0
        self._collected = []
        return self._reads[0]

    def _failed(self, now: Instant, elapsed: int, backoff_ms: int) -> Readings:
        self.block = _IDLE
        self.failures += 1
        if self.failures > 1:
            wait = backoff_ms << min(self.failures - 1, 16)
            self.retry_at = elapsed + min(wait, max(BACKOFF_MS_MAX, backoff_ms))
        if self.failures == DEAD_AFTER and self.spec.driver == "sunspec":
            self._compile(None)
        self.values = (None,) * len(self.points)
        self.last = [None] * len(self._reads)
        self.good_at = -1
        return self._readings(now)

    def give_up(self, now: Instant, elapsed: int, backoff_ms: int) -> Readings:
        """Ends a poll whose answer never came and returns its (bad) readings."""
        return self._failed(now, elapsed, backoff_ms)

    def _readings(self, now: Instant) -> Readings:
        values = self.values
        if None in values:
            qualities = tuple([Quality.BAD if value is None else Quality.GOOD for value in values])
        else:
            qualities = _GOOD_TUPLES[len(values)]
        return Readings(self.spec.id, now, self.points, values, qualities)

    def value(self, point: str) -> float | None:
        """Returns the number of the last poll, None where it was bad."""
        index = self.columns.get(point)
        return None if index is None else self.values[index]


def make_units(specs: Sequence[DeviceSpec]) -> dict[DeviceId, Unit]:
    """Returns a unit per device with a Modbus driver, in the given order."""
    return {spec.id: Unit(spec) for spec in specs if spec.driver != "vda5050"}
