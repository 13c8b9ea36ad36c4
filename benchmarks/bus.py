"""How much one dead unit slows nine others on a simulated 9600 Bd bus, against pymodbus' defaults."""

from __future__ import annotations

import argparse
import queue
import time
from collections.abc import Sequence

from devices.bus import BusAnswer, BusWritten
from devices.clock import Instant
from devices.model import DeviceId, DeviceKind, DeviceSpec, Readings
from devices.poll import Unit
from devices.profile import load_profile
from devices.shell.modbus import Modbus
from firmware_sim.products import Product, Rack
from firmware_sim.shell.serial_bus import SerialBus

DEVICES = 10
DEAD = 5
POLL_MS = 1000
PROFILE = "weather_station"  # six registers, as many as a short meter read


def run(arguments: Sequence[str]) -> dict[str, float | int]:
    """Returns the mean cycle of the nine [s], with all alive and with one dead, and what pymodbus makes of the same."""
    parser = argparse.ArgumentParser(prog="atoll bench bus")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each run lasts")
    given = parser.parse_args(list(arguments))
    alive, _ = _cycle_s(set(), given.seconds)
    dead, worst = _cycle_s({DEAD}, given.seconds)
    plain_alive, plain_dead = _pymodbus_s(set(), 5), _pymodbus_s({DEAD}, 2)
    return {
        "slowdown": dead / alive,
        "slowdown_per_device": dead
        / (DEVICES - 1)
        / (alive / DEVICES),  # the dead one's own share of the cycle is free
        "cycle_s": alive,
        "cycle_dead_s": dead,
        "cycle_dead_worst_s": worst,
        "pymodbus_cycle_s": plain_alive,
        "pymodbus_slowdown": plain_dead / plain_alive,
    }


def _bus(silent: set[int]) -> SerialBus:
    units = {unit: Product(load_profile(PROFILE)) for unit in range(1, DEVICES + 1)}
    bus = SerialBus(Rack(units, silent))
    bus.start()
    return bus


def _cycle_s(silent: set[int], seconds: float) -> tuple[float, float]:
    """Polls back to back as the gateway does, dead from the start; returns mean and longest cycle of the others."""
    bus = _bus(silent)
    answers: queue.Queue[BusAnswer | BusWritten] = queue.Queue()
    modbus = Modbus(answers.put)
    units = {DeviceId(f"m{n}"): Unit(_spec(n, bus.path)) for n in range(1, DEVICES + 1)}
    others = {device for device in units if device != f"m{DEAD}"}
    started = now = time.monotonic()
    cycles: list[float] = []
    try:
        while now - started < seconds:
            for unit in units.values():
                if (read := unit.begin(round((now - started) * 1000))) is not None:
                    modbus.submit(read)
            waiting, began = set(others), now
            while waiting:
                answer = answers.get(timeout=30)
                assert isinstance(answer, BusAnswer)
                unit, at = units[answer.request.device], round((time.monotonic() - started) * 1000)
                outcome = unit.answer(answer.request, answer.registers, Instant(at), at, POLL_MS)
                if isinstance(outcome, Readings):
                    assert unit.failures == 0 or unit.spec.unit in silent, f"{unit.spec.id} failed"
                    waiting.discard(answer.request.device)
                elif outcome is not None:
                    modbus.submit(outcome)
            now = time.monotonic()
            cycles.append(now - began)
    finally:
        modbus.stop()
        bus.stop()
    return sum(cycles) / len(cycles), max(cycles)


def _spec(number: int, path: str) -> DeviceSpec:
    endpoint = f"rtu:{path}?baud=9600"
    return DeviceSpec(DeviceId(f"m{number}"), DeviceKind.METER, f"profile:{PROFILE}", "gw", endpoint, number)


def _pymodbus_s(silent: set[int], cycles: int) -> float:
    from pymodbus.client import ModbusSerialClient
    from pymodbus.exceptions import ModbusException

    bus = _bus(silent)
    client = ModbusSerialClient(bus.path, baudrate=9600)
    client.connect()
    started = time.monotonic()
    try:
        for _ in range(cycles):
            for unit in range(1, DEVICES + 1):
                try:
                    client.read_holding_registers(500, count=6, device_id=unit)
                except ModbusException:
                    assert unit in silent
        return (time.monotonic() - started) / cycles
    finally:
        client.close()
        bus.stop()
