"""Bills: quantities times published prices, summed exactly, rounded once (half to even).

Quantities are whole uWh and mL, prices whole micro-units (1e-6 of the major unit) per kWh or m3. The exact
amount is an integer numerator over 10^(15 - minor digits); a household gets the same number by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.ledger.canonical import Json
from controller.settlement.charter import Charter
from controller.settlement.sharing import MemberDay
from devices.units import UWH_PER_WH

UWH_PER_KWH = 1_000 * UWH_PER_WH
ML_PER_M3 = 1_000_000
AMOUNT = "amount"
"""Unit of a line that is an exact amount already: 1e-15 of the major unit, at a price of 1."""
_SCALE = {"uWh": 1, "mL": UWH_PER_KWH // ML_PER_M3, AMOUNT: 1}
_PIECE = UWH_PER_KWH
"""One delivery at a price of one micro-unit, as a numerator over 10^15."""


class BodyBroken(ValueError):
    """A log body that does not hold what its kind promises."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill. `price` is negative where the member is paid."""

    text: str
    quantity: int
    unit: str  # uWh, mL, `amount`, or a word for what is counted (delivery)
    price: int  # micro-units per kWh, m3 or piece

    @property
    def numerator(self) -> int:
        """Returns the exact amount x 10^15 major units."""
        return self.quantity * self.price * _SCALE.get(self.unit, _PIECE)

    def quantity_text(self) -> str:
        """Returns `12.345678 kWh` or `3.250000 m3`, exact; '' where the line is an amount."""
        if self.unit not in ("uWh", "mL"):
            return "" if self.unit == AMOUNT else f"{self.quantity} {self.unit}"
        scale, name = (UWH_PER_KWH, "kWh") if self.unit == "uWh" else (ML_PER_M3, "m3")
        return f"{decimal_text(self.quantity, scale)} {name}"

    def price_text(self, currency: str) -> str:
        """Returns `0.29 EUR/kWh`; '' where the line is an amount."""
        if self.unit not in ("uWh", "mL"):
            return "" if self.unit == AMOUNT else f"{decimal_text(self.price, 1_000_000)} {currency}/{self.unit}"
        return f"{decimal_text(self.price, 1_000_000)} {currency}/{'kWh' if self.unit == 'uWh' else 'm3'}"

    def amount_text(self) -> str:
        """Returns the exact amount in major units."""
        return decimal_text(self.numerator, 10**15)


def day_lines(charter: Charter, day: MemberDay) -> tuple[Line, ...]:
    """Returns the lines of one day, those with a quantity of zero left out."""
    lines = [
        Line("lifeline energy", day.lifeline, "uWh", charter.lifeline_price),
        Line("energy from the community", day.local, "uWh", charter.local_price),
        *(
            Line(f"energy from outside, {band.name}", quantity, "uWh", band.import_price)
            for band, quantity in zip(charter.bands, day.outside, strict=True)
        ),
        Line("energy sold to the community", day.sold, "uWh", -charter.local_price),
        Line("energy sold to the outside", day.exported, "uWh", -charter.export_price),
        Line("lifeline water", day.water_lifeline, "mL", charter.lifeline_water_price),
        Line("water", day.water, "mL", charter.water_price),
    ]
    return tuple(line for line in lines if line.quantity)


def merge(days: Iterable[Iterable[Line]]) -> tuple[Line, ...]:
    """Returns the lines of several days as one bill: same text, unit and price are one line, first seen first."""
    sums: dict[tuple[str, str, int], int] = {}
    for lines in days:
        for line in lines:
            key = line.text, line.unit, line.price
            sums[key] = sums.get(key, 0) + line.quantity
    return tuple(Line(text, quantity, unit, price) for (text, unit, price), quantity in sums.items())


def exact(lines: Iterable[Line]) -> int:
    """Returns the exact sum of lines as a numerator over 10^15 major units."""
    return sum(line.numerator for line in lines)


def round_minor(numerator: int, minor_digits: int) -> int:
    """Returns minor units, half to even, of a numerator over 10^15 major units."""
    denominator = 10 ** (15 - minor_digits)
    whole, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return whole + (twice > denominator or (twice == denominator and whole % 2 == 1))


def minor_text(amount: int, charter: Charter) -> str:
    """Returns `-3.07 EUR` for -307 minor units."""
    digits = charter.minor_digits
    sign, amount = ("-" if amount < 0 else ""), abs(amount)
    if digits == 0:
        return f"{sign}{amount} {charter.currency}"
    return f"{sign}{amount // 10**digits}.{amount % 10**digits:0{digits}d} {charter.currency}"


def decimal_text(value: int, scale: int) -> str:
    """Returns value / scale (a power of ten) as an exact decimal text without trailing zeroes, at least 2 places."""
    digits = len(str(scale)) - 1
    sign, value = ("-" if value < 0 else ""), abs(value)
    fraction = f"{value % scale:0{digits}d}".rstrip("0").ljust(2, "0")
    return f"{sign}{value // scale}.{fraction}"


def member_day_fields(day: MemberDay) -> dict[str, str | list[str]]:
    """Returns a member's day as the log holds it: decimal strings in uWh and mL."""
    return {
        "lifeline": str(day.lifeline),
        "local": str(day.local),
        "outside": [str(quantity) for quantity in day.outside],
        "sold": str(day.sold),
        "exported": str(day.exported),
        "water_lifeline": str(day.water_lifeline),
        "water": str(day.water),
        "from_local": str(day.from_local),
        "from_outside": str(day.from_outside),
    }


def parse_member_day(fields: Mapping[str, Json]) -> MemberDay:
    """Returns the member's day in a log body.

    Raises:
        ValueError: a field is missing or no decimal string (BodyBroken where it is not even a list).
    """
    match fields.get("outside"):
        case [*texts]:
            outside = tuple(int(str(text)) for text in texts)
        case other:
            raise BodyBroken(f"outside is {other!r}, not a list of quantities")
    names = ("lifeline", "local", "sold", "exported", "water_lifeline", "water", "from_local", "from_outside")
    values = {name: int(str(fields.get(name))) for name in names}
    return MemberDay(
        values["lifeline"], values["local"], outside, values["sold"], values["exported"],
        values["water_lifeline"], values["water"], values["from_local"], values["from_outside"],
    )  # fmt: skip
