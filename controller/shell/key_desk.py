"""Changing keys: the log's own is handed over, a gateway's or a member's is revoked; each is an entry of the log.

A revoked gateway key is never pinned again; a revoked member key signs no ballot and no approval any more. What they
signed before stands: the entries before the revocation were good when they were written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from controller.commands import CommandResult
from controller.ledger.orders import Duplicate, Post, Rejection
from controller.money.rules import MONEY_RULES
from controller.shell.day_shelf import DayShelf
from controller.shell.log_keys import Keyring
from controller.store.key_entries import KEY_REVOKED, MEMBER_KEY, revoked_keys

if TYPE_CHECKING:
    from controller.ledger.canonical import Json
    from controller.money.desk import Asked, Request
    from controller.shell.journal import LogWriter

SIGNED = ("approve", "close", "vote-cast")
"""Requests that somebody makes under a name that has a key."""
REASON_MAX = 200


class KeyDesk:
    """Carries out what is asked about keys; durable after the journal's next commit, which `committed` follows."""

    def __init__(self, journal: LogWriter, shelf: Callable[[], DayShelf], keyring: Keyring | None) -> None:
        self._journal = journal
        self._shelf = shelf
        self._keyring = keyring
        self._handed_over = False
        self._revoked = revoked_keys(journal.store, "member")

    def ask(self, asked: Asked, request: Request) -> CommandResult:
        """Carries out one request."""
        reason = str(request.get("reason", "")).strip()
        if not 0 < len(reason) <= REASON_MAX:
            return CommandResult(asked.id, False, "bad-reason", f"say why, in at most {REASON_MAX} characters")
        if asked.id in self._journal.state.leaves:
            return CommandResult(asked.id, True, "duplicate", "this was done before")
        why: dict[str, Json] = {"by": asked.by, "reason": reason}
        match request.get("do"):
            case "rotate-log-key":
                return self._rotate(asked, why)
            case "revoke-gateway":
                return self._revoke_gateway(asked, str(request.get("name")), why)
            case _:
                return self._revoke_member(asked, str(request.get("name")), why)

    def revoked_of(self, asked: Asked, request: Request) -> CommandResult | None:
        """Returns the refusal of a request under a name whose key is revoked, None where nothing is against it."""
        name, paper = str(request.get("as")), request.get("paper")
        if request.get("do") == "vote-cast" and isinstance(paper, dict):
            signer = str(cast("Mapping[str, object]", paper).get("signer"))
            if signer in self._revoked:
                return CommandResult(asked.id, False, "revoked-key", f"{signer} is revoked: this ballot does not count")
        if request.get("do") not in SIGNED or not self._revoked or self._standing(name) not in self._revoked:
            return None
        text = f"the key of {name} is revoked: `atoll key new FILE`, and write the new name into the site file"
        return CommandResult(asked.id, False, "revoked-key", text)

    def committed(self) -> None:
        """Destroys the log's old key once the entry that hands the log over is on the disk."""
        if self._handed_over and self._keyring is not None:
            self._keyring.settle()
            self._handed_over = False

    def _rotate(self, asked: Asked, why: dict[str, Json]) -> CommandResult:
        if self._keyring is None or not self._keyring.lasting:
            return CommandResult(asked.id, False, "no-key-file", "this ledger's key lies in no keys.db: a simulation")
        if self._handed_over:
            return CommandResult(asked.id, False, "too-soon", "a new key was handed over just now; commit first")
        new = self._keyring.fresh()
        refused = self._outcome(asked, self._journal.rotate(asked.id, asked.now, new, why))
        if refused is not None:
            return refused
        self._handed_over = True
        key = new.verifier.text()
        text = f"the log key is now {key}\ntell every witness: atoll witness --data-dir DIR --new-key {key}"
        return CommandResult(asked.id, True, "ok", text)

    def _revoke_gateway(self, asked: Asked, node: str, why: dict[str, Json]) -> CommandResult:
        shelf = self._shelf()
        key = shelf.key(node)
        if not key:
            known = ", ".join(shelf.nodes()) or "none"
            return CommandResult(asked.id, False, "unknown-key", f"no key of {node!r} is pinned (gateways: {known})")
        refused = self._write(asked, {"of": "gateway", "name": node, "key": key, **why})
        if refused is not None:
            return refused
        shelf.revoke(node)
        text = f"the key of {node} is revoked; the next other key that {node} names is taken as its own"
        return CommandResult(asked.id, True, "ok", text)

    def _revoke_member(self, asked: Asked, name: str, why: dict[str, Json]) -> CommandResult:
        key = self._standing(name)
        if not key:
            return CommandResult(asked.id, False, "unknown-key", f"{name!r} has no key in this ledger")
        if key in self._revoked:
            return CommandResult(asked.id, False, "revoked-key", f"the key of {name} is revoked already")
        own: dict[str, Json] = {"member": name} if self._journal.seals(name) else {}
        refused = self._write(asked, {"of": "member", "name": name, "key": key, **own, **why})
        if refused is not None:
            return refused
        self._revoked.add(key)
        text = f"the key of {name} is revoked; write a new one into the site file and start the hub"
        return CommandResult(asked.id, True, "ok", text)

    def _standing(self, name: str) -> str:
        """Returns the key of a member, or of an officer, as the log has it; '' for none."""
        for row in reversed(self._journal.store.of_kind(MEMBER_KEY)):
            body = row.sealed().entry.body
            if body.get("member") == name:
                return str(body.get("key"))
        rules = self._journal.store.of_kind(MONEY_RULES)
        officers = rules[-1].sealed().entry.body.get("officers") if rules else None
        for officer in officers if isinstance(officers, list) else ():
            if isinstance(officer, list) and officer and officer[0] == name:
                return str(officer[2])
        return ""

    def _write(self, asked: Asked, body: dict[str, Json]) -> CommandResult | None:
        return self._outcome(asked, self._journal.write(Post(asked.id, asked.now, KEY_REVOKED, (), body)))

    def _outcome(self, asked: Asked, outcome: object) -> CommandResult | None:
        match outcome:
            case Rejection(code=code, message=message):
                return CommandResult(asked.id, False, code.value, message)
            case Duplicate():
                return CommandResult(asked.id, True, "duplicate", "this was done before")
            case _:
                return None
