"""The trial balance of a period: what every account held when it ended, and one hash over all of it.

The hash is an RFC 9162 tree over the canonical bytes of [account, asset, balance] in order, so that one balance can be
proven without showing the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.ledger.canonical import amount_text, encode
from controller.ledger.entries import Posting
from controller.ledger.merkle import leaf_hash, root_of
from devices.clock import Instant

Movement = tuple[Instant, tuple[Posting, ...]]
"""When, and what moved: posted, made final or reversed."""


def trial_balance(moved: Iterable[Movement], until: Instant) -> dict[tuple[str, str], int]:
    """Returns the balances of everything that was booked before `until`, accounts at zero left out, in order."""
    sums: dict[tuple[str, str], int] = {}
    for at, postings in moved:
        if at < until:
            for posting in postings:
                key = posting.account, posting.asset
                sums[key] = sums.get(key, 0) + posting.amount
    return {key: sums[key] for key in sorted(sums) if sums[key]}


def trial_root(balances: Mapping[tuple[str, str], int]) -> str:
    """Returns the root of a trial balance in hex."""
    leaves = [leaf_hash(encode([account, asset, amount_text(held)])) for (account, asset), held in balances.items()]
    return root_of(leaves).hex()
