"""What a site file says of the gateway's own pins and interlocks: values for devices/, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from controller import site_schema as schema
from controller.site_device_schema import BusDeviceTable, PinTable
from controller.site_problems import Finding, Path
from devices.gpio import DRIVER, PULSE_USES
from devices.interlock_watch import DEFAULTS, TIMED, Declared, RuleName, Stops
from devices.model import POINTS, WRITABLE, DeviceId, DeviceKind, PinSpec

SPECIAL_PINS: Mapping[int, str] = {0: "ID EEPROM", 1: "ID EEPROM", 14: "serial console TX", 15: "serial console RX"}
"""Pins that a Pi uses itself unless told otherwise."""


def pin_specs(row: BusDeviceTable) -> tuple[PinSpec, ...]:
    """Returns a device's pins as the gateway needs them."""
    return tuple(
        PinSpec(
            point,
            pin.pin,
            pin.use,
            pin.active_low,
            pin.pull,
            pin.debounce_ms,
            pin.boot == "on",
            pin.fail == "on",
            pin.ml_per_pulse,
            pin.flow_lpm_max,
            pin.direction,
            pin.reverse == "low",
        )
        for point, pin in row.pins.items()
    )


def declared_interlocks(rows: Iterable[schema.InterlockTable]) -> tuple[Declared, ...]:
    """Returns the interlocks with their rule's defaults in place."""
    return tuple(_declared(row) for row in rows)


def _declared(row: schema.InterlockTable) -> Declared:
    rule, device = RuleName(row.rule), DeviceId(row.device)
    if rule in TIMED:
        return Declared(
            row.id,
            rule,
            device,
            device,
            row.version,
            delay_ms=row.delay_ms or 0,
            max_on_ms=row.max_on_ms,
            min_rest_ms=row.min_rest_ms,
        )
    usual = DEFAULTS[rule]
    low = usual.low if row.low is None else row.low
    high = usual.high if row.high is None else row.high
    return Declared(
        row.id,
        rule,
        device,
        DeviceId(row.sensor or row.device),
        row.version,
        row.point or usual.point,
        float("-inf") if low is None else low,
        float("inf") if high is None else high,
        usual.magnitude,
        usual.delay_ms if row.delay_ms is None else row.delay_ms,
        usual.clear_ms if row.clear_ms is None else row.clear_ms,
        usual.latch if row.latch is None else row.latch,
        Stops(row.stops),
    )


def check_edge(file: schema.SiteFile) -> Iterable[Finding]:
    """Yields what is wrong with pins and interlocks."""
    yield from _check_pins(file.device)
    yield from _check_interlocks(file)
    known = sorted({device.endpoint for device in file.device if isinstance(device, BusDeviceTable)})
    for index, bus in enumerate(file.bus):
        if bus.endpoint not in known:
            fix = f"one of: {', '.join(known)}"
            yield "076", ("bus", index, "endpoint"), bus.endpoint, "no device has this endpoint", fix


def read_only_buses(file: schema.SiteFile) -> frozenset[str]:
    """Returns the endpoints that are never written to, whatever their devices say."""
    return frozenset(bus.endpoint for bus in file.bus if bus.read_only)


def _check_pins(devices: Sequence[schema.Device]) -> Iterable[Finding]:
    taken: dict[tuple[str, int], str] = {}
    for index, device in enumerate(devices):
        if not isinstance(device, BusDeviceTable):
            continue
        here: Path = ("device", index)
        if (device.driver == DRIVER) != bool(device.pins):
            what = "driver gpio:header without pins" if not device.pins else f"pins, and driver {device.driver}"
            yield (
                "070",
                (*here, "driver"),
                what,
                "pins and gpio:header go together",
                "write [device.pins] and the driver",
            )
            continue
        for point, pin in device.pins.items():
            wanted = [("pin", pin.pin, device.id)]
            if pin.direction is not None:
                wanted.append(("direction", pin.direction, f"{device.id} (direction of GPIO{pin.pin})"))
            for key, number, user in wanted:
                path: Path = (*here, "pins", point, key)
                other = taken.setdefault((device.gateway, number), user)
                if other != user:
                    fix = "give each its own pin: atoll pins --site FILE"
                    yield "071", path, f"GPIO{number}", f"{other} has this pin already", fix
                elif number in SPECIAL_PINS:
                    yield (
                        "071",
                        path,
                        f"GPIO{number}",
                        f"the Pi uses it itself ({SPECIAL_PINS[number]})",
                        "take another",
                    )
            yield from _check_use((*here, "pins", point), device, point, pin)
        yield from _check_shared((*here, "pins"), device)


def _check_shared(here: Path, device: BusDeviceTable) -> Iterable[Finding]:
    """Only one pulse input may stand behind two points: its volume and its flow."""
    uses: dict[int, set[str]] = {}
    ways: dict[int, tuple[int | None, str]] = {}
    for point, pin in device.pins.items():
        if ways.setdefault(pin.pin, (pin.direction, pin.reverse)) != (pin.direction, pin.reverse):
            said = f"the other point of GPIO{pin.pin} names another direction, or none"
            yield "071", (*here, point, "direction"), str(pin.direction), said, "write the same at both points"
        known = uses.setdefault(pin.pin, set())
        if known and (pin.use in known or not (known | {pin.use}) <= set(PULSE_USES)):
            yield "071", (*here, point, "pin"), f"GPIO{pin.pin}", "another point has this pin", "take another pin"
        known.add(pin.use)


def _check_use(here: Path, device: BusDeviceTable, point: str, pin: PinTable) -> Iterable[Finding]:
    kind = DeviceKind(str(getattr(device, "kind", "")))
    channels = getattr(device, "channels", None)
    known = [f"{name}_ml" for name in channels] if channels else list(POINTS[kind])
    if point not in known:
        yield "072", here, point, f"a {kind} has no such point", f"one of: {', '.join(known)}"
    elif (pin.use == "relay") != (WRITABLE.get(kind) == point):
        fix = 'use = "relay"' if WRITABLE.get(kind) == point else 'use = "switch", "counter" or "flow"'
        yield "072", (*here, "use"), pin.use, f"{point} of a {kind} is no such pin", fix
    elif pin.use in PULSE_USES and not pin.ml_per_pulse:
        yield "072", (*here, "use"), pin.use, "nobody knows what a pulse is worth", "write ml_per_pulse = 1000"
    elif pin.direction is not None and pin.use not in PULSE_USES:
        yield "072", (*here, "direction"), str(pin.direction), "only pulses have a direction", "remove direction"


def _check_interlocks(file: schema.SiteFile) -> Iterable[Finding]:
    devices = {device.id: device for device in file.device}
    for index, row in enumerate(file.interlock):
        here: Path = ("interlock", index)
        device, sensor = devices.get(row.device), devices.get(row.sensor or row.device)
        rule = RuleName(row.rule)
        vehicle = isinstance(device, schema.VehicleDevice)
        stops = [name for name, one in devices.items() if DeviceKind(one.kind) in WRITABLE]
        if vehicle and rule is not RuleName.PEOPLE_ZONE:
            fix = f'rule = "people-zone", or one of: {", ".join(stops)}'
            yield "073", (*here, "device"), row.device, f"a vehicle is stopped by people-zone, not by {rule}", fix
        elif not vehicle and (device is None or DeviceKind(device.kind) not in WRITABLE):
            yield "073", (*here, "device"), row.device, "no output has this id", f"one of: {', '.join(stops)}"
        if sensor is None:
            yield "073", (*here, "sensor"), str(row.sensor), "no device has this id", f"one of: {', '.join(devices)}"
        elif vehicle and not getattr(sensor, "gateway", ""):
            yield "074", (*here, "sensor"), sensor.id, "it hangs on no gateway: nobody would look", "name a sensor"
        elif not vehicle and device is not None and getattr(sensor, "gateway", "") != getattr(device, "gateway", ""):
            said = f"it hangs on another gateway than {device.id}: without a network it would not be seen"
            yield "074", (*here, "sensor"), sensor.id, said, "wire the sensor to the same gateway"
        yield from _check_rule(here, row, rule)


def _check_rule(here: Path, row: schema.InterlockTable, rule: RuleName) -> Iterable[Finding]:
    if rule in TIMED:
        wanted = {RuleName.PUMP_NO_FLOW: ("delay_ms",), RuleName.GENSET_COOLDOWN: ("min_rest_ms",)}
        keys = wanted.get(rule, ("max_on_ms", "min_rest_ms"))
        if not any(getattr(row, key) for key in keys):
            yield "075", (*here, "rule"), row.rule, "it would do nothing", f"write {' or '.join(keys)}"
        return
    usual, seen = DEFAULTS[rule], row.sensor is not None
    if not seen and not usual.sensor_is_device:
        yield "075", (*here, "rule"), row.rule, "it looks at no reading", 'write sensor = "DEVICE"'
    low = usual.low if row.low is None else row.low
    high = usual.high if row.high is None else row.high
    if low is None or high is None:
        yield (
            "075",
            (*here, "rule"),
            row.rule,
            "its limit is missing",
            f"write {'low' if low is None else 'high'} = ...",
        )
    elif low > high:
        yield "075", (*here, "rule"), row.rule, f"low {low:g} is above high {high:g}", "turn them round"
