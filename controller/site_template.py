"""A first site file from a handful of answers: commented, small, and sound by `atoll check`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from devices.mqtt_profile import load_mqtt_profile
from devices.profile import load_profile
from devices.profile_schema import BadProfile


@dataclass(frozen=True, slots=True)
class Answers:
    """What nobody but the people of the place can know; powers in W, the price per kWh in the currency."""

    id: str
    name: str
    timezone: str
    latitude: float
    longitude: float
    currency: str
    import_price: float
    feeder_w: float
    households: int
    gateway: str
    driver: str
    endpoint: str
    unit: int


def site_id(name: str) -> str:
    """Returns an id made of a name: `Motu Iti` -> `motu-iti`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "site"


def site_text(answers: Answers, today: str) -> str:
    """Returns the site file; `today` is an ISO date, from which its charter holds."""
    micro = round(answers.import_price * 1e6)
    members = "\n".join(_member(number) for number in range(1, answers.households + 1))
    return f"""\
# {answers.name}: who is supplied, by which devices, under which rules. Made by `atoll init`.
# Check it after each change:  atoll check FILE       All keys with units and ranges:  atoll check --schema
# Add what hangs on the buses: atoll device add ID --kind meter --driver profile:NAME --endpoint ... --unit N
schema = 1

[site]
id = {json.dumps(answers.id)}                    # also the MQTT topic and the ledger's name: keep it
name = {_quoted(answers.name)}
timezone = {json.dumps(answers.timezone)}
latitude = {answers.latitude!r}                  # degrees; they decide sunrise and the forecast of the sun
longitude = {answers.longitude!r}

[grid]                                # what the connection to the outside may carry
import_limit_w = {answers.feeder_w:.0f}
export_limit_w = {answers.feeder_w:.0f}

[water]
reserve_fraction = 0.3                # drinking water that nothing but a lifeline may touch
high_fraction = 0.95

[charter]                             # the community's own rules: agree on them before the first bill
version = 1
valid_from = "{today}T00:00:00Z"
currency = {json.dumps(answers.currency)}
export_price = {micro // 4}           # micro-units per kWh: 1000000 = 1 {answers.currency}
local_price = {micro // 2}            # what neighbours pay each other
sharing = "proportional"
lifeline_wh = 2000                    # per household and day, at the lifeline price and never cut
lifeline_price = {micro // 4}
lifeline_ml = 150000
lifeline_water_price = 500000         # per m3
water_price = 1500000
bill_period = "month"

[[charter.bands]]                     # more bands for other hours: each day is covered from 00:00 to 24:00
name = "all-day"
from = "00:00"
to = "24:00"
days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
import_price = {micro}

[[gateway]]                           # one per Pi with wires
id = {json.dumps(answers.gateway)}

{members}
# The meter at the connection to the outside; there is exactly one.
[[device]]
id = "grid"
kind = "grid"
driver = {json.dumps(answers.driver)}
gateway = {json.dumps(answers.gateway)}
endpoint = {json.dumps(answers.endpoint)}
{f"unit = {answers.unit}" if not answers.driver.startswith("mqtt:") else "# MQTT: no unit"}
"""


def _member(number: int) -> str:
    return f"""\
[[member]]
id = "home-{number:02d}"
name = "Home {number}"
role = "household"
usage_points = []                     # its meters: atoll device add ID --kind meter ... --member home-{number:02d}
"""


def _quoted(text: str) -> str:
    """Returns a TOML string; JSON's escapes are TOML's, bar the surrogates that ASCII output would need."""
    return json.dumps(text, ensure_ascii=False)


def default_unit(driver: str) -> int:
    """Returns the Modbus unit id that a driver's product comes with, 1 where nobody knows."""
    kind, _, name = driver.partition(":")
    try:
        if kind == "mqtt":
            load_mqtt_profile(name)
            return 0
        return load_profile(name).unit if kind == "profile" else 1
    except BadProfile:
        return 1
