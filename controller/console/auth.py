"""Who may do what: permissions, sessions and the login gate.

The only secret is the operator code: random, made on first run, kept as a scrypt hash. A session is an
opaque random token in a cookie; only its SHA-256 is kept.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from controller.commands import Role

IDLE_S = 12 * 3_600
COOKIE = "atoll_session"
CODE_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
CODE_GROUPS = 4
CODE_GROUP_LETTERS = 4


class Permission(StrEnum):
    """What a route asks of the person; a route without one stops the app from starting."""

    PUBLIC = "public"  # the login page and the static files
    READ = "read"
    COMMAND = "command"


def allows(role: Role | None, permission: Permission) -> bool:
    """Returns whether somebody with `role` (None: not signed in) may use a route that asks `permission`."""
    if permission is Permission.PUBLIC:
        return True
    if permission is Permission.READ:
        return role is not None
    return role is Role.OPERATOR


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in."""

    name: str
    role: Role


class Sessions(Protocol):
    """The kept sessions and the operator code's hash; times are seconds since 1970."""

    def verify(self, code: str) -> bool:
        """Returns whether `code` is the operator code."""
        ...

    def open(self, session: Session, now_s: float) -> str:
        """Keeps a session and returns its token."""
        ...

    def find(self, token: str, now_s: float) -> Session | None:
        """Returns the session of a token that has not been idle for 12 h, and counts as its use."""
        ...

    def close(self, token: str) -> None:
        """Forgets a session."""
        ...


def new_token() -> str:
    """Returns 256 random bits as text."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """Returns what is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_code() -> str:
    """Returns a fresh operator code of 79 random bits, for example `k7dm-p3xq-w2hn-v9ba`."""
    groups = ("".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_GROUP_LETTERS)) for _ in range(CODE_GROUPS))
    return "-".join(groups)


def code_hash(code: str, salt: bytes) -> bytes:
    """Returns the scrypt hash of a code; case, spaces and hyphens do not count."""
    plain = "".join(letter for letter in code.lower() if letter.isalnum())
    return hashlib.scrypt(plain.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)


class MemorySessions:
    """Sessions that live as long as the process; for tests and for a console without a data directory."""

    def __init__(self, code: str) -> None:
        self._salt = secrets.token_bytes(16)
        self._code = code_hash(code, self._salt)
        self._open: dict[str, tuple[Session, float]] = {}

    def verify(self, code: str) -> bool:
        """Returns whether `code` is the operator code."""
        return hmac.compare_digest(code_hash(code, self._salt), self._code)

    def open(self, session: Session, now_s: float) -> str:
        """Keeps a session and returns its token."""
        token = new_token()
        self._open[token_hash(token)] = (session, now_s)
        return token

    def find(self, token: str, now_s: float) -> Session | None:
        """Returns the session of a token that has not been idle for 12 h, and counts as its use."""
        key = token_hash(token)
        kept = self._open.get(key)
        if kept is None:
            return None
        session, used_s = kept
        if not 0 <= now_s - used_s < IDLE_S:
            del self._open[key]
            return None
        self._open[key] = (session, now_s)
        return session

    def close(self, token: str) -> None:
        """Forgets a session."""
        self._open.pop(token_hash(token), None)


class LoginGate:
    """Slows guessing: after 3 wrong codes an address waits 2, 4, 8 ... s, at most 15 minutes."""

    FREE = 3
    WAIT_S_MAX = 900.0
    ADDRESSES_MAX = 1_000

    def __init__(self) -> None:
        self._failed: dict[str, tuple[int, float]] = {}

    def wait_s(self, address: str, now_s: float) -> float:
        """Returns how long `address` must still wait [s]; 0 when it may try."""
        count, at_s = self._failed.get(address, (0, 0.0))
        if count < self.FREE:
            return 0.0
        delay = min(2.0 ** (count - self.FREE + 1), self.WAIT_S_MAX)
        return max(0.0, at_s + delay - now_s)

    def failed(self, address: str, now_s: float) -> None:
        """Counts a wrong code."""
        if address not in self._failed and len(self._failed) >= self.ADDRESSES_MAX:
            self._failed.pop(next(iter(self._failed)))
        self._failed[address] = (self._failed.get(address, (0, 0.0))[0] + 1, now_s)

    def succeeded(self, address: str) -> None:
        """Forgets the wrong codes of an address."""
        self._failed.pop(address, None)
