"""Which fields of each kind of entry are a member's own: all but those named here, with the reason for each.

What is a member's own is sealed under its key wherever the entry is written (`LogWriter`), and gone with the key. Kinds
that are not named are public as they are; docs/privacy.md says why.
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.ledger.quorum import QUORUM
from controller.money.cashbook import (
    ARREARS,
    ARREARS_DONE,
    INSTALMENT,
    LOAN,
    PAYMENT,
    PAYOUT,
    PROPOSALS,
    SERVICE,
    WORK,
)
from controller.settlement.evidence import METER_REPLACED
from controller.settlement.runs import BILL, DELIVERY, SETTLE_DAY
from controller.settlement.tenancy import JOIN, LEAVE
from controller.store.key_entries import KEY_REVOKED

_AGREED = ("member", "by", QUORUM)  # who answers for it, and who had to agree
_STEP = ("member", "step", "due", "keep_percent", "lifeline", "lifeline_wh", "lifeline_ml")
"""That nobody's lifeline is touched is for all to see."""

PUBLIC: Mapping[str, tuple[str, ...]] = {
    SETTLE_DAY: ("member", "day", "run", "replaces"),  # runs find their entries by these
    BILL: ("member", "period", "run", "replaces"),
    PAYMENT: ("member", "receipt", "method", "amount", "by"),  # receipts have no gaps; till and amount are postings
    LOAN: (*_AGREED, "bills"),
    WORK: (*_AGREED, "credits", "charter", "clause", "arithmetic"),  # the community pays: anybody reckons it again
    PAYOUT: (*_AGREED, "method"),  # the till is a posting
    SERVICE: (*_AGREED, "credits", "charter", "clause", "arithmetic"),
    INSTALMENT: ("member", "loan", "bill", "rest"),  # sums of postings
    ARREARS: (*_STEP, "days", "amount"),
    ARREARS_DONE: (*_STEP, "by"),
    JOIN: ("member", "by"),
    LEAVE: ("member", "day", "at", "clause", "by"),  # from then on it is billed nothing, and others share without it
    METER_REPLACED: ("member", "usage_point", "epoch"),
    KEY_REVOKED: ("member", "of", "name", "key", "by"),  # what the key signs counts no more
    DELIVERY: ("member", "state"),  # a bill counts them
}
"""By kind: what anybody may read. The rest of the body is its member's own."""

REASONS = frozenset((PAYMENT, *PROPOSALS))
"""Kinds whose reversals and withdrawals have a reason in a person's words."""
