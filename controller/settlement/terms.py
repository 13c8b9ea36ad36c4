"""A charter's terms bound to a list of members: what the policy lab settles by."""

from __future__ import annotations

from dataclasses import dataclass

from controller.settlement.charter import Charter
from controller.settlement.keys import SharingKey
from controller.settlement.prices import BillSharing, Premium, PriceRule, Shapley


@dataclass(frozen=True, slots=True)
class Terms:
    """One way to settle. `charter` gives bands, outside prices, lifelines, bill period and rounding.

    `network` holds each member's network fee, `levy` what all pay [micro-units per kWh taken]; `fee` what each
    pays per bill, `delivery` per delivery [micro-units]; `dividend` is the part of a period's gain that goes back to
    the households [permille]; `lifeline` says who has the lifeline block.
    """

    name: str
    charter: Charter
    key: SharingKey
    price: PriceRule | BillSharing | Premium | Shapley
    lifeline: tuple[bool, ...]
    network: tuple[int, ...]
    levy: int = 0
    fee: int = 0
    delivery: int = 0
    dividend: int = 0
