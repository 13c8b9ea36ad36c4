"""Modbus against parts that nobody here wrote: mbpoll as master, libmodbus as device."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.bus import ReadRequest, WriteRequest
from devices.endpoints import SerialEndpoint
from devices.model import BusFault, DeviceId
from devices.profile import load_profile
from devices.shell.serial_wire import SerialWire
from firmware_sim.products import Product, Rack
from firmware_sim.shell.serial_bus import SerialBus

pytestmark = pytest.mark.needs("mbpoll")  # Debian's mbpoll brings libmodbus5
BAUD = 9600
ME = DeviceId("m")


@pytest.fixture
def bus() -> Iterator[SerialBus]:
    """Our simulated bus: an SDM630 (1), an EM24 with the low word first (2) and a relay block (7)."""
    names = {1: "eastron_sdm630", 2: "carlo_gavazzi_em24", 7: "relay_4ch"}
    serial = SerialBus(Rack({unit: Product(load_profile(name)) for unit, name in names.items()}), BAUD)
    serial.start()
    yield serial
    serial.stop()


def mbpoll(bus: SerialBus, *words: str) -> str:
    command = ["mbpoll", "-m", "rtu", "-b", str(BAUD), "-P", "none", "-o", "1", "-0", "-1", *words[:-1], bus.path]
    done = subprocess.run([*command, *words[-1].split()], capture_output=True, text=True, timeout=20, check=False)
    return done.stdout + done.stderr


def values(said: str) -> list[str]:
    return re.findall(r"^\[\d+\]:\s+(\S+)", said, re.MULTILINE)


def test_mbpoll_reads_our_meters_as_we_do(bus: SerialBus) -> None:
    assert values(mbpoll(bus, "-a", "1", "-t", "3:float", "-B", "-r", "0", "-c", "1", "")) == ["230"]
    assert values(mbpoll(bus, "-a", "1", "-t", "3:float", "-B", "-r", "52", "-c", "1", "")) == ["1150"]
    assert values(mbpoll(bus, "-a", "2", "-t", "3:int", "-r", "0", "-c", "1", "")) == ["2300"]  # low word first


def test_mbpoll_switches_our_relay_and_is_refused_what_is_not_there(bus: SerialBus) -> None:
    assert "Written 1 references" in mbpoll(bus, "-a", "7", "-t", "0", "-r", "2", "1")
    assert values(mbpoll(bus, "-a", "7", "-t", "0", "-r", "0", "-c", "4", "")) == ["0", "0", "1", "0"]
    assert "Illegal data address" in mbpoll(bus, "-a", "1", "-t", "3", "-r", "900", "-c", "1", "")


@pytest.fixture
def libmodbus() -> Iterator[SerialWire]:
    """Our master on one end of a line, libmodbus as unit 5 on the other."""
    ours, theirs = os.openpty(), os.openpty()
    for descriptor in (*ours, *theirs):
        tty.setraw(descriptor)
    over = threading.Event()

    def carry() -> None:
        across = {ours[0]: theirs[0], theirs[0]: ours[0]}
        while not over.is_set():
            for end in select.select(list(across), [], [], 0.05)[0]:
                os.write(across[end], os.read(end, 512))

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    script = Path(__file__).with_name("libmodbus_device.py")
    command = [sys.executable, str(script), os.ttyname(theirs[1]), "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as device:
        assert device.stdout is not None
        assert device.stdout.readline() == "ready\n"
        wire = SerialWire(SerialEndpoint(os.ttyname(ours[1]), BAUD))
        yield wire
        wire.close()
        device.kill()
    over.set()
    thread.join(timeout=5)
    for descriptor in (*ours, *theirs):
        os.close(descriptor)


def test_our_master_reads_and_writes_a_libmodbus_device(libmodbus: SerialWire) -> None:
    def read(function: int, address: int, count: int, unit: int = 5) -> object:
        return libmodbus.read(ReadRequest(ME, 0, "", unit, function, address, count))

    def write(function: int, address: int, *words: int) -> object:
        return libmodbus.write(WriteRequest(ME, "x", "", 5, function, address, words))

    assert read(3, 0, 10) == tuple(range(100, 110))
    assert write(6, 3, 4711) is None
    assert write(16, 4, 1, 2, 65535) is None
    assert read(3, 3, 4) == (4711, 1, 2, 65535)
    assert write(5, 1, 1) is None
    assert write(15, 2, 1, 0, 1) is None
    assert read(1, 0, 6) == (0, 1, 1, 0, 1, 0)
    assert read(2, 0, 9) == (0,) * 9
    assert read(4, 0, 2) == (0, 0)
    assert read(3, 8, 5) is BusFault.EXCEPTION
    assert write(6, 77, 1) is BusFault.EXCEPTION
    assert read(3, 0, 1, unit=6) is BusFault.TIMEOUT
