"""Charter files for tests: the village of `ledger_village` under any sharing key and price rule."""

from __future__ import annotations

import json

from controller.charter_check import check
from controller.charter_file import charter_document
from controller.charter_schema import CharterFile
from controller.ledger.canonical import Json, encode
from controller.ledger.identity import SigningKey
from devices.clock import Instant, iso

HEAD = """schema = 1
version = {version}
name = "{name}"
valid_from = "{start}"
timezone = "Europe/Berlin"
currency = "EUR"
bill_period = "{period}"
export_price = 50000
water_price = 1800000
{top}
[[band]]
name = "night"
from = "00:00"
to = "06:00"
days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
import_price = 210000
[[band]]
name = "day"
from = "06:00"
to = "24:00"
days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
import_price = 290000
[sharing]
{sharing}
[price]
{price}
[lifeline]
wh = {lifeline}
price = 60000
ml = 150000
water_price = 500000
not_for = ["community"]
[quorum]
approvals = 1
expires_h = 24
of = [{of}]
{more}
"""
KEY = SigningKey(bytes([1]) * 32).did
"""Of home-01 in the tests that vote."""
VECTOR = """
[[vector]]
taken = { home-01 = 0 }
given = {}
import_price = 290000
near = {}
sold = {}
"""
FEES = """[fees]
per_bill = 500000
levy_per_kwh = 7000
solidarity_per_kwh = 3000
[[network]]
feeder = "south"
per_kwh = 21000
members = ["home-02"]
"""


def charter_text(start: Instant, **changes: str | int) -> str:
    words = {
        "version": 2, "name": "New", "period": "day", "top": "", "sharing": 'key = "proportional"',
        "price": 'rule = "mid-market"', "lifeline": 2000, "of": f'"{KEY}"', "more": "",
    } | changes  # fmt: skip
    return HEAD.format(start=iso(start), **words) + VECTOR


def charter_file(start: Instant, **changes: str | int) -> CharterFile:
    file, found = check(charter_text(start, **changes))
    assert file is not None, found
    assert found == [], found
    return file


def document(file: CharterFile) -> dict[str, Json]:
    """Returns the charter's document as it comes over the wire."""
    return json.loads(encode(charter_document(file)))
