"""A bus in a technician's hands: who is there, what it looks like, what it reads. One request at a time, no gateway."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from devices.bus import ReadRequest
from devices.drivers import Driver
from devices.model import BusFault, DeviceId, DeviceSpec
from devices.poll import driver_of
from devices.profile import ProfileDriver, load_profile, profile_names
from devices.registers import Registers
from devices.shell.modbus import Wire
from devices.sunspec import MODELS_MAX, ModelAt, Scan
from devices.sunspec_curves import CURVES, Curve, decode_curve, next_read
from devices.sunspec_driver import SunspecDriver

ME = DeviceId("technician")
QUICK = (*range(1, 11), 17, 100, 126, *range(240, 248))
"""Unit ids that products come with: 1 and its neighbours, Fronius 240, SolarEdge and SMA 126, Victron 100."""
TELLING = {"V": (80.0, 480.0), "hz": (45.0, 65.0), "soc": (0.001, 1.0), "celsius": (-39.0, 70.0)}
"""Points whose value tells whether a map fits: what nearly every such device must show."""


@dataclass(frozen=True, slots=True)
class Found:
    """A unit that answered, and after how long [ms]."""

    unit: int
    answer_ms: int


@dataclass(frozen=True, slots=True)
class Polled:
    """One poll: values by point, the raw blocks, and why there is nothing (`fault`, `problem`)."""

    values: dict[str, float | None] = field(default_factory=dict[str, "float | None"])
    blocks: list[tuple[int, int, tuple[int, ...] | BusFault]] = field(
        default_factory=list[tuple[int, int, "tuple[int, ...] | BusFault"]]
    )
    fault: BusFault | None = None
    problem: str = ""
    driver: Driver | None = None
    curves: list[Curve] = field(default_factory=list[Curve])

    @property
    def last(self) -> list[Registers | None]:
        """Returns the good answers per block, as a driver's `writes` wants them."""
        return [None if isinstance(answer, BusFault) else answer for _, _, answer in self.blocks]


def ask(wire: Wire, unit: int, function: int, address: int, count: int) -> tuple[int, ...] | BusFault:
    """Reads once."""
    return wire.read(ReadRequest(ME, 0, "", unit, function, address, count))


def find_units(wire: Wire, units: Iterable[int]) -> Iterator[Found | BusFault]:
    """Yields each unit that answers, be it with a refusal; a fault that is not silence ends the search."""
    for unit in units:
        started = time.monotonic()
        answer = ask(wire, unit, 3, 0, 1)
        if answer is BusFault.DISCONNECTED:
            yield answer
            return
        if answer is BusFault.GARBLED:
            yield answer
        elif answer is not BusFault.TIMEOUT:
            yield Found(unit, round((time.monotonic() - started) * 1000))


def sunspec_chain(wire: Wire, unit: int) -> tuple[Scan, BusFault | None]:
    """Returns the walk along a unit's model chain, and the fault that ended it early (silence is asked again once)."""
    scan = Scan()
    unheard = 0
    for _ in range(MODELS_MAX + 8):
        request = scan.request()
        if request is None:
            break
        answer = ask(wire, unit, 3, *request)
        if answer in (BusFault.TIMEOUT, BusFault.GARBLED, BusFault.DISCONNECTED):
            unheard += 1
            if unheard > 1:
                assert isinstance(answer, BusFault)
                return scan, answer
        scan.answer(answer)
    return scan, None if scan.chain else BusFault.EXCEPTION


def read_curves(wire: Wire, unit: int, chain: Sequence[ModelAt]) -> list[Curve]:
    """Returns what each curve model of a chain holds; a read that fails is told in its `problem`."""
    return [_read_curve(wire, unit, at) for at in chain if at.id in CURVES]


def _read_curve(wire: Wire, unit: int, at: ModelAt) -> Curve:
    registers: tuple[int, ...] = ()
    while (request := next_read(at, registers)) is not None:
        answer = ask(wire, unit, 3, *request)
        if isinstance(answer, BusFault) or len(answer) != request[1]:
            why = answer if isinstance(answer, BusFault) else "an answer of another length"
            return Curve(at.id, CURVES[at.id], None, problem=f"registers {request[0]} to {sum(request) - 1}: {why}")
        registers += answer
    return decode_curve(at, registers)


def likely_profiles(wire: Wire, unit: int) -> list[tuple[str, dict[str, float | None]]]:
    """Returns shipped profiles whose every point reads well and whose telling points are plausible, best first."""
    found: list[tuple[str, dict[str, float | None]]] = []
    for name in profile_names():
        profile = load_profile(name)
        telling = [point.name for point in profile.points if point.name in TELLING]
        if not telling or profile.source.startswith("Atoll"):
            continue
        values = read_blocks(wire, unit, ProfileDriver(profile)).values
        good = [values.get(point) for point in telling]
        plausible = [v is not None and TELLING[p][0] <= v <= TELLING[p][1] for p, v in zip(telling, good, strict=True)]
        if all(plausible) and None not in values.values():
            found.append((name, values))
    told = {name: sum(value != 0 for value in values.values()) for name, values in found}
    most = max(told.values(), default=0)
    # Three registers that look like a soil probe say little of a unit in which another map finds twice as many values.
    return sorted((one for one in found if 2 * told[one[0]] > most), key=lambda one: -told[one[0]])


def read_blocks(wire: Wire, unit: int, driver: Driver, gap_ms: int = 0) -> Polled:
    """Polls a unit by its driver, block by block; the first silence ends it."""
    polled = Polled(driver=driver)
    for index, block in enumerate(driver.blocks):
        answer = wire.read(ReadRequest(ME, index, "", unit, block.function, block.address, block.count, gap_ms))
        polled.blocks.append((block.function, block.address, answer))
        if isinstance(answer, BusFault):
            polled.values.update(dict.fromkeys(block.points))
            if answer is not BusFault.EXCEPTION:
                return Polled(polled.values, polled.blocks, answer, wire.problem, driver)
        else:
            polled.values.update(zip(block.points, block.decode(answer, polled.last[0]), strict=True))
    if all(isinstance(answer, BusFault) for _, _, answer in polled.blocks):
        return Polled(polled.values, polled.blocks, BusFault.EXCEPTION, wire.problem, driver)
    return polled


def poll(wire: Wire, spec: DeviceSpec, *, curves: bool = False) -> Polled:
    """Polls a device of the site file, after a scan where it is a SunSpec device; `curves` reads those too.

    Raises:
        BadProfile: its driver names no sound profile.
        ValueError: its driver is none that is polled.
    """
    driver = driver_of(spec)
    if driver is not None:
        gap_ms = driver.profile.gap_ms if isinstance(driver, ProfileDriver) else 0
        return read_blocks(wire, spec.unit, driver, gap_ms)
    scan, fault = sunspec_chain(wire, spec.unit)
    if fault is not None:
        return Polled(fault=fault, problem=wire.problem or scan.failure)
    driver = SunspecDriver(spec.kind, scan.chain)
    if not driver.blocks:
        models = [entry.id for entry in scan.chain]
        return Polled(fault=BusFault.EXCEPTION, problem=f"models {models}: none has what a {spec.kind} needs")
    polled = read_blocks(wire, spec.unit, driver)
    if curves and polled.fault is None:
        polled.curves.extend(read_curves(wire, spec.unit, scan.chain))
    return polled
