"""A whole RS-485 line scanned: all 247 ids of a pseudo-terminal with the timing of a 9600 Bd line, in quick mode."""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import cast

from controller.cli import exit_code
from devices.profile import load_profile
from firmware_sim.products import Product, Rack
from firmware_sim.shell.serial_bus import SerialBus

THERE = {1: "eastron_sdm630", 17: "carlo_gavazzi_em24", 100: "relay_4ch", 200: "eastron_sdm120", 247: "eastron_sdm230"}


def run(arguments: Sequence[str]) -> dict[str, float | int]:
    """Returns how long `scan modbus --quick --units 1-247` took [s], and how many of the five it found."""
    parser = argparse.ArgumentParser(prog="atoll bench scan")
    parser.add_argument("--baud", type=int, default=9600)
    given = parser.parse_args(list(arguments))
    bus = SerialBus(Rack({unit: Product(load_profile(name)) for unit, name in THERE.items()}), given.baud)
    bus.start()
    out = io.StringIO()
    started = time.monotonic()
    try:
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            endpoint = f"rtu:{bus.path}?baud={given.baud}"
            code = exit_code(["scan", "modbus", endpoint, "--quick", "--units", "1-247", "--json"])
    finally:
        seconds = time.monotonic() - started
        bus.stop()
    rows = cast("list[dict[str, object]]", json.loads(out.getvalue())["units"]) if code == 0 else []
    found = len({row["unit"] for row in rows} & set(THERE))
    return {"seconds": seconds, "found": found, "there": len(THERE), "ids": 247, "baud": given.baud}
