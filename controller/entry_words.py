"""Ledger entries and amounts in words: one line each, for console and command line."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from controller.civil import moment_text
from controller.ledger.canonical import Json
from controller.ledger.entries import is_entry_id
from controller.ledger.sealing import ERASED_TEXT, is_shut
from controller.settlement.run_names import name_in
from devices.clock import Instant

COMMANDS = ("hold", "release", "acknowledge", "select", "operate", "storm", "storm-cancel")
SCALES = {"energy": (9, "kWh", 3), "water": (3, "L", 1)}
"""Asset -> (power of ten of its shown unit, unit, digits); uWh and mL inside."""
WORDS_MAX = 80
"""A value that is longer is told by its beginning: a line stays a line."""
INSTANTS = ("at", "closes", "end", "expires", "start", "until", "valid_from")
"""Keys of bodies whose value is an instant."""
HASHES = ("trial", "digest", "root", "leaf")
"""Keys of bodies whose value is a hash: its beginning is enough to compare by."""
HASH_SHOWN = 16


def entry_text(kind: str, body: Mapping[str, Json], member: str = "", period: str = "", *, zone: str) -> str:
    """Returns what happened: the body's own words where it has some; times as the clock on the wall shows them."""
    if kind in COMMANDS:
        what = body.get("device") or body.get("alarm") or body.get("from") or ""
        value = f" at {body['value']}" if "value" in body else ""
        value += f" until {body['until']}" if "until" in body else ""
        why = body.get("reason") or body.get("note") or "no note"
        return f"{body.get('by')}: {kind} {what}{value} ({why}) -> {body.get('result')}"
    if is_shut(body):
        return " ".join(part for part in (kind, member, period, ERASED_TEXT) if part)
    if "text" in body:
        state = body.get("to") or body.get("state")
        return f"{body['text']} [{state}]" if state else str(body["text"])
    if member or period:
        run = name_in(body)
        return " ".join(part for part in (kind, member, period, f"({run})" if run else "") if part)
    parts = [
        f"{key} {_short(_said(key, value, zone))}"
        for key, value in body.items()
        if isinstance(value, str | int) and not is_entry_id(str(value))
    ]
    return ", ".join(parts[:4]) or kind


def _said(key: str, value: str | int, zone: str) -> str | int:
    if key in INSTANTS and str(value).isdecimal():
        return moment_text(zone, Instant(int(value)))
    if key in HASHES and len(str(value)) > HASH_SHOWN:
        return f"{str(value)[:HASH_SHOWN]}…"
    return value


def _short(value: str | int) -> str:
    """Returns a value on one line; keys and the like by their beginning."""
    line = " ".join(str(value).split())
    return line if len(line) <= WORDS_MAX else line[: WORDS_MAX - 1] + "…"


def amount_words(asset: str, amount: int, minor_digits: int) -> str:
    """Returns an amount as people read it: `12.350 kWh`, `3,204.0 L`, `-3.07 EUR`."""
    return " ".join(amount_text(asset, amount, minor_digits))


def register_words(register: int, *, water: bool) -> str:
    """Returns a meter's register [Wh or mL] as its display shows it: `1408.778 kWh`, `81.412300 m3`."""
    return f"{Decimal(register).scaleb(-6):f} m3" if water else f"{Decimal(register).scaleb(-3):f} kWh"


def amount_text(asset: str, amount: int, minor_digits: int) -> tuple[str, str]:
    """Returns (exact decimal text, unit) of an amount in an asset's smallest unit."""
    if asset in SCALES:
        power, unit, digits = SCALES[asset]
        return f"{Decimal(amount).scaleb(-power):,.{digits}f}", unit
    return f"{Decimal(amount).scaleb(-minor_digits):,.{minor_digits}f}", asset.partition(":")[2]
