"""One file with which anybody recounts one vote: its entries, the entry that says who may vote, and proofs.

The format is documented in docs/voting.md and judged by `verifier/atoll_recount.py`, which shares no code with us.
"""

from __future__ import annotations

import base64

from controller.ledger.canonical import Json, encode
from controller.ledger.log_keys import LOG_KEY
from controller.ledger.merkle import Tree
from controller.store.ledger_port import LedgerStore
from controller.store.ledger_rows import EntryRow
from controller.voting import VOTE_CAST, VOTE_RESULT, Vote


class NotCountedYet(RuntimeError):
    """The vote is open, or no signed checkpoint covers its result yet."""


def export_vote(store: LedgerStore, vote: Vote) -> bytes:
    """Returns the canonical bytes of a vote's file.

    Raises:
        NotCountedYet: there is no signed result yet.
    """
    opened, genesis, last = store.by_id(vote.id), store.entry(0), store.last_checkpoint()
    assert opened is not None, "a vote has its entry"
    assert genesis is not None, "a log with a vote has a first entry"
    rows = [genesis, *store.of_kind(LOG_KEY)]
    under = store.by_id(str(opened.sealed().entry.body["under"]))
    rows += [opened] if under is None else [under, opened]
    rows += [row for kind in (VOTE_CAST, VOTE_RESULT) for row in store.of_kind(kind) if _of(row) == vote.id]
    if vote.passed is None:
        raise NotCountedYet(f"vote {vote.number} is open; the hub counts when it closes")
    if last is None or last[0] <= max(row.seq for row in rows):
        raise NotCountedYet(f"the log has not signed the result of vote {vote.number} yet; try again in a minute")
    size, note = last
    tree = Tree(store.leaves(0, size))
    entries: list[Json] = [
        {
            "seq": row.seq,
            "document": row.document.decode(),
            "proof": [base64.b64encode(node).decode() for node in tree.inclusion(row.seq, size)],
        }
        for row in sorted(rows, key=lambda row: row.seq)
    ]
    return encode({"atoll_vote": 1, "vote": vote.id, "checkpoint": note, "entries": entries})


def _of(row: EntryRow) -> str:
    return str(row.sealed().entry.body.get("vote"))
