"""An RS-485 bus on a pseudo-terminal: products of `devices/profiles` that answer with a real line's timing and faults.

`python -m firmware_sim.shell.serial_bus 1=eastron_sdm630 2=carlo_gavazzi_em24` prints the port to use and runs until
Ctrl-C. Everything a device says goes through `Faults`, so that a test can bend, cut, delay or drown it.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import threading
import time
import tty
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from devices.profile import load_profile
from devices.rtu import crc16, frame
from firmware_sim.inverter import SunspecInverter, Unit
from firmware_sim.mbap import Units, respond
from firmware_sim.products import Product, Rack

TURNAROUND_S = 0.015
PORTION = 8
"""Bytes that an adapter hands over at once."""
TICK_S = 0.1
INVERTER = "sunspec_inverter"
BREAK_S = 0.02
"""Silence that ends a frame; a pseudo-terminal hands over in portions."""


@dataclass(slots=True)
class Faults:
    """What goes wrong on the line; may be changed at any time."""

    noise: float = 0.0  # share of answers with a flipped bit, a lost or an extra byte
    babble: bool = False  # somebody speaks all the time
    late_s: dict[int, float] = field(default_factory=dict[int, float])  # units that answer so much later
    seed: int = 1


class SerialBus(threading.Thread):
    """The devices' end of the bus; `path` is the port for the master."""

    def __init__(self, units: Units, baud: int = 9600, faults: Faults | None = None) -> None:
        """Opens the pseudo-terminal; `start()` lets the devices listen."""
        super().__init__(name="serial bus", daemon=True)
        self._units = units
        self.faults = faults or Faults()
        self._random = random.Random(self.faults.seed)  # noqa: S311 - noise, no secret
        self._character_s = 10 / baud
        self._master, self._slave = os.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._stopping = threading.Event()
        self.requests: list[tuple[int, float]] = []  # unit and time of each whole request

    def stop(self) -> None:
        """Ends the bus; the port is gone afterwards."""
        self._stopping.set()
        self.join(timeout=5)
        os.close(self._master)
        os.close(self._slave)

    def run(self) -> None:
        """Answers until stopped."""
        while not self._stopping.is_set():
            if self.faults.babble:
                self._put(self._random.randbytes(8))
                time.sleep(8 * self._character_s)
            request = self._hear(0.0 if self.faults.babble else 0.1)
            if request:
                self._answer(request)

    def _hear(self, wait_s: float) -> bytes:
        """Returns a whole frame, or whatever came before a silence."""
        data = b""
        while select.select([self._master], [], [], BREAK_S if data else wait_s)[0]:
            try:
                data += os.read(self._master, 512)
            except OSError:
                return b""
            if _whole(data):
                break
        return data

    def _answer(self, request: bytes) -> None:
        time.sleep(len(request) * self._character_s)  # a pseudo-terminal takes no time to send
        if self.faults.babble or not _whole(request):
            return
        unit = request[0]
        self.requests.append((unit, time.monotonic()))
        pdu = respond(self._units, unit, request[1:-2])
        if pdu is None:
            return
        time.sleep(TURNAROUND_S)
        answer = self._bent(frame(unit, pdu))
        late_s = self.faults.late_s.get(unit, 0.0)
        if late_s:
            threading.Timer(late_s, self._say, (answer,)).start()
        else:
            self._say(answer)

    def _say(self, answer: bytes) -> None:
        for at in range(0, len(answer), PORTION):
            part = answer[at : at + PORTION]
            time.sleep(len(part) * self._character_s)
            self._put(part)

    def _put(self, data: bytes) -> None:
        with suppress(OSError):  # nobody reads, or the bus has ended
            os.write(self._master, data)

    def _bent(self, answer: bytes) -> bytes:
        if self._random.random() >= self.faults.noise:
            return answer
        at = self._random.randrange(len(answer))
        match self._random.randrange(3):
            case 0:
                return answer[:at] + bytes((answer[at] ^ 1 << self._random.randrange(8),)) + answer[at + 1 :]
            case 1:
                return answer[:at] + answer[at + 1 :]
            case _:
                return answer[:at] + self._random.randbytes(1) + answer[at:]


def _whole(data: bytes) -> bool:
    return len(data) >= 4 and crc16(data[:-2]) == int.from_bytes(data[-2:], "little")


def main(arguments: list[str] | None = None) -> None:
    """Runs a bus of products until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m firmware_sim.shell.serial_bus", description=main.__doc__)
    parser.add_argument("unit", nargs="+", help=f"UNIT=PROFILE, for example 1=eastron_sdm630, or UNIT={INVERTER}")
    parser.add_argument("--baud", type=int, default=9600)
    parser.add_argument("--link", default="", help="also make this symbolic link to the port")
    given = parser.parse_args(arguments)
    pairs = [text.partition("=") for text in given.unit]
    units: dict[int, Unit] = {
        int(unit): SunspecInverter() if name == INVERTER else Product(load_profile(name)) for unit, _, name in pairs
    }
    rack = Rack(units)
    bus = SerialBus(rack, given.baud)
    bus.start()
    if given.link:
        Path(given.link).symlink_to(bus.path)
    print(f"rtu:{given.link or bus.path}?baud={given.baud}", flush=True)
    try:
        while bus.is_alive():
            bus.join(TICK_S)
            rack.pass_time(round(TICK_S * 1000))
    except KeyboardInterrupt:
        bus.stop()
    finally:
        if given.link:
            Path(given.link).unlink()


if __name__ == "__main__":
    main()
