"""Entries about keys: those of members as the site file names them, those pinned for gateways, and what was revoked."""

from __future__ import annotations

from controller.store.ledger_port import LedgerStore

MEMBER_KEY = "member.key"
"""The site file names another key for a member: body `member`, `key` (a did:key, '' for none), `before`."""
KEY_REVOKED = "key.revoked"
"""A key that is good for nothing from here on: body `of` (gateway, member), `name`, `key`, `by`, `reason`."""


def revoked_keys(store: LedgerStore, of: str) -> set[str]:
    """Returns every revoked key of gateways, or of members."""
    bodies = (row.sealed().entry.body for row in store.of_kind(KEY_REVOKED))
    return {str(body.get("key")) for body in bodies if body.get("of") == of}
