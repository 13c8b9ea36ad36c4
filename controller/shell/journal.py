"""The one writer of the log: core rules, tree, signed checkpoints and their tables, kept in step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from controller.ledger.canonical import Json, NotCanonical, encode
from controller.ledger.core import apply
from controller.ledger.cosign import Policy
from controller.ledger.entries import EntryState, SealedEntry, derived_id
from controller.ledger.linked import apply_linked
from controller.ledger.log_keys import LOG_KEY, handover
from controller.ledger.log_policy import LOG_POLICY, handed_over, policy_body, second_key, sign_head, without_own
from controller.ledger.merkle import Frontier, leaf_hash
from controller.ledger.note import Checkpoint, Signer, sign
from controller.ledger.orders import (
    ACCOUNT_LIMITS,
    ACCOUNT_OPENED,
    Command,
    Duplicate,
    Post,
    Rejection,
    Reserve,
    Reverse,
    VoidPending,
)
from controller.ledger.sealing import sealed_fields, sealed_reason
from controller.ledger.state import STATE_KINDS, LedgerState, absorb, absorb_rule
from controller.shell.own_fields import PUBLIC, REASONS
from controller.shell.restored import LOG_RESTORED, Restored, lift_mark, mark_beside
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_port import LedgerStore
from controller.store.ledger_rows import EntryRow, member_owner
from devices.clock import HOUR_MS, Instant


class BookRefused(RuntimeError):
    """The core refused an entry that the books themselves made: a bug, not bad input."""


class JournalDamaged(OSError):
    """The log in the file does not match its last signed checkpoint; nothing may be appended to it."""


@dataclass(frozen=True, slots=True)
class _Own:
    """What of an entry is a member's own."""

    member: str
    body: Mapping[str, Json]
    text: bytes
    sha256: str


class LogWriter:
    """Appends entries to one store; durable after the store's commit."""

    def __init__(self, store: LedgerStore, signer: Signer, checkpoint_ms: int) -> None:
        self.store = store
        self.state = LedgerState()
        self._frontier = Frontier()
        self._signer = signer
        self._checkpoint_ms = checkpoint_ms
        self._signed_size = 0
        self._signed_at: Instant | None = None
        self._dirty: set[tuple[str, str]] = set()
        self.withheld: Restored | None = None  # no head is signed where this may be an old copy
        self._load()

    @property
    def origin(self) -> str:
        """Returns the log's name."""
        return self._signer.verifier.name

    @property
    def verifier(self) -> str:
        """Returns the log's public key as C2SP text."""
        return self._signer.verifier.text()

    @property
    def size(self) -> int:
        """Returns the number of entries, those not yet committed included."""
        return self._frontier.size

    def root(self) -> bytes:
        """Returns the tree root over all entries."""
        return self._frontier.root()

    def write(self, command: Command) -> SealedEntry | Duplicate | Rejection:
        """Judges a command and, if it stands, appends its entry; durable after `flush` and commit.

        What is a member's own is sealed first, and stands opened in the entry that is returned.
        """
        shown, own = self._sealed(command)
        if own is not None and command.id in self.state.leaves:
            before = apply(self.state, command)
            if isinstance(before, Duplicate):  # a ledger that did not seal this kind yet took it
                return before
        outcome = apply(self.state, shown)
        return self._append(outcome, own) if isinstance(outcome, SealedEntry) else outcome

    def write_linked(self, commands: Sequence[Command]) -> tuple[SealedEntry, ...] | Duplicate | Rejection:
        """Judges commands that stand or fall together and, if all stand, appends their entries as `write` does."""
        sealed = [self._sealed(command) for command in commands]
        outcome = apply_linked(self.state, [shown for shown, _ in sealed])
        if isinstance(outcome, tuple):
            return tuple(self._append(entry, own) for entry, (_, own) in zip(outcome, sealed, strict=True))
        return outcome

    def seals(self, member: str) -> bool:
        """Returns whether what is a member's own is sealed: there is a key of it."""
        return self.store.vault.has(member_owner(member))

    def _sealed(self, command: Command) -> tuple[Command, _Own | None]:
        """Returns a command as the log shall have it, and what of it is a member's own."""
        match command:
            case Post(body=body) | Reserve(body=body) if command.kind in PUBLIC:
                own = self._own(command.id, body.get("member"), body)
                if own is None:
                    return command, None
                public: dict[str, Json] = {key: body[key] for key in PUBLIC[command.kind] if key in body}
                inputs = body.get("inputs")
                if isinstance(inputs, list):  # others prove their part of a run with these, also when the text is gone
                    public["leaves"] = [leaf_hash(encode(item)).hex() for item in inputs]
                return replace(command, body=public | sealed_fields(own.sha256)), own
            case Reverse(target=target) if target.entry.kind in REASONS:
                who = target.entry.body.get("member")
            case VoidPending(pending=pending) if (found := self.state.pending.get(pending)) and found.kind in REASONS:
                who = found.body.get("member")
            case _:
                return command, None
        own = self._own(command.id, who, {"reason": command.reason})
        return (command, None) if own is None else (replace(command, reason=sealed_reason(own.sha256)), own)

    def _own(self, place: str, member: Json, body: Mapping[str, Json]) -> _Own | None:
        if not isinstance(member, str) or not self.seals(member):
            return None
        try:
            text = encode(dict(body))
        except NotCanonical:
            return None  # `apply` refuses it, and says why
        return _Own(member, body, text, self.store.vault.commitment(member_owner(member), place, text))

    def _append(self, sealed: SealedEntry, own: _Own | None = None) -> SealedEntry:
        absorb(self.state, sealed)
        entry = sealed.entry
        self.store.add_entry(self._frontier.size, sealed)
        if entry.kind in (ACCOUNT_OPENED, ACCOUNT_LIMITS) and entry.state is EntryState.POSTED:
            name = str(entry.body["account"])
            self.store.put_account(name, self.state.accounts[name])
        self._frontier.append(sealed.leaf)
        for posting in entry.postings:
            self._dirty.add((posting.account, posting.asset))
        if own is None:
            return sealed
        payload = self.store.vault.seal_named(member_owner(own.member), entry.id, own.text)
        self.store.add_payload(self.size - 1, own.member, payload)
        return replace(sealed, entry=replace(entry, body=own.body))

    def rotate(self, id: str, at: Instant, new: Signer, why: Mapping[str, Json]) -> SealedEntry | Duplicate | Rejection:
        """Hands the log over to a new key by an entry; every tree that holds it is signed with the new key."""
        body: dict[str, Json] = {**why, **handover(self._signer, new.verifier)}
        outcome = self.write(Post(id, at, LOG_KEY, (), body))
        if isinstance(outcome, SealedEntry):
            self._signer, self._signed_at = new, None  # the next flush shows it to the world
            said = self.store.of_kind(LOG_POLICY)
            if said:
                self._declare(handed_over(said[-1].sealed().entry.body, new), said, at)
        return outcome

    def declare(self, policy: Policy, at: Instant) -> None:
        """Writes down who must sign the log's heads from now on, where that differs from the last time.

        A log without witnesses and without a second key of its own says nothing.
        """
        said = self.store.of_kind(LOG_POLICY)
        if said or policy.cosigners or second_key(self._signer) is not None:
            self._declare(policy_body(self._signer, policy), said, at)

    def _declare(self, body: dict[str, Json], said: Sequence[EntryRow], at: Instant) -> None:
        if not said or said[-1].sealed().entry.body != body:
            self.must(Post(derived_id(at, self.origin, LOG_POLICY, len(said)), at, LOG_POLICY, (), body))
            self._signed_at = None

    def must(self, command: Command) -> SealedEntry | Duplicate:
        """Writes an entry of our own making.

        Raises:
            BookRefused: the core rejected it.
        """
        outcome = self.write(command)
        if isinstance(outcome, Rejection):
            raise BookRefused(f"{outcome.code}: {outcome.message}")
        return outcome

    def flush(self, now: Instant, *, force: bool = False) -> None:
        """Writes balances, and a signed checkpoint when one is due."""
        if self._dirty:
            self.store.put_balances((key, self.state.balances[key]) for key in sorted(self._dirty))
            self._dirty.clear()
        due = self._signed_at is None or now - self._signed_at >= self._checkpoint_ms
        if self.size > self._signed_size and (due or force) and self.withheld is None:
            head = sign(Checkpoint(self.origin, self.size, self.root()).text(), [self._signer])
            self._add_head(sign_head(self._signer, head, now), now)
            self._signed_size, self._signed_at = self.size, now

    def _add_head(self, note: str, now: Instant) -> None:
        """Keeps the newest signed head."""
        self.store.add_checkpoint(self.size, note)

    def _load(self) -> None:
        last = self.store.last_checkpoint()
        for identity, leaf in self.store.identities():
            self.state.leaves[identity] = leaf
            self._frontier.append(leaf)
            if last is not None and self._frontier.size == last[0]:
                signed = Checkpoint(self.origin, self._frontier.size, self._frontier.root()).text()
                if not last[1].startswith(signed + "\n"):
                    raise JournalDamaged(
                        f"{self.store.path}: the first {last[0]} entries do not give the root that {self.origin}"
                        " signed; run `atoll ledger verify` and restore the file"
                    )
        if last is not None:
            if self._frontier.size < last[0]:
                raise JournalDamaged(f"{self.store.path}: {self._frontier.size} entries, but {last[0]} were signed")
            self._signed_size = last[0]
        self._load_state()

    def _load_state(self) -> None:
        state = self.state
        state.balances = self.store.balances()
        for row in self.store.resolutions():
            entry = row.sealed().entry
            match entry.state:
                case EntryState.PENDING:
                    state.pending[entry.id] = entry
                case EntryState.REVERSAL:
                    state.reversed.add(entry.refers)
                case EntryState.POST | EntryState.VOID | EntryState.EXPIRE:
                    state.settled[entry.refers] = state.pending.pop(entry.refers)
                case EntryState.POSTED:
                    pass
        rows = [row for kind in STATE_KINDS for row in self.store.of_kind(kind) if row.state == EntryState.POSTED]
        for row in sorted(rows, key=lambda row: row.seq):
            absorb_rule(state, row.sealed().entry)


class Journal(LogWriter):
    """The log of one ledger file."""

    def __init__(self, file: LedgerFile, signer: Signer, checkpoint_ms: int) -> None:
        super().__init__(file, signer, checkpoint_ms)
        self.file = file
        self.withheld = mark_beside(file.path)
        if self.withheld is not None and self.withheld.new_log:
            self._go_on_from(self.withheld)

    def release(self) -> None:
        """Signs heads again: it has been shown, or decided, that this is the log."""
        lift_mark(Path(self.file.path).parent)
        self.withheld = None

    def _go_on_from(self, copy: Restored) -> None:
        """Writes into the log that it goes on from a copy, and takes the mark away once that is durable."""
        newest = self.file.latest(None, 1)
        at = max(self.state.sealed_until, *(row.sealed().entry.at for row in newest))
        body: dict[str, Json] = {"made": copy.made, "entries": copy.entries, "root": copy.root}
        self.must(Post(derived_id(at, self.origin, LOG_RESTORED, copy.made, copy.root), at, LOG_RESTORED, (), body))
        self.file.commit()
        self.release()

    def _add_head(self, note: str, now: Instant) -> None:
        """Keeps the newest head; of those before it the last of each hour keeps the log's own 3 kB cosignature."""
        last = self.file.last_checkpoint()
        if last is not None and self._signed_at is not None and now // HOUR_MS == self._signed_at // HOUR_MS:
            self.file.put_cosigned(last[0], without_own(last[1], self._signer))
        super()._add_head(note, now)

    def cosigned(self, size: int, note: str) -> None:
        """Keeps a checkpoint of ours with the cosignatures of witnesses."""
        self.file.put_cosigned(size, note)
