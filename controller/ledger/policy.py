"""A trust policy as a text file: which log, which witnesses, how many of them.

Source: C2SP tlog-policy. We write one `any` group per witness (its Ed25519 or its ML-DSA-44 key will do) and one
group of k over those; we read nested groups of any kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.ledger.cosign import Cosigner, Policy, cosignatures
from controller.ledger.note import NoteMalformed, Verifier

NONE = "none"
LINES_MAX = 512


class PolicyBroken(ValueError):
    """A text that is not a policy."""


@dataclass(frozen=True, slots=True)
class Group:
    """At least `needed` of the members (witnesses or groups) have cosigned."""

    needed: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """What a policy file says."""

    logs: tuple[Verifier, ...]
    witnesses: Mapping[str, Cosigner]
    groups: Mapping[str, Group]
    quorum: str

    def met(self, note: str) -> bool:
        """Returns whether the quorum has cosigned a checkpoint.

        Raises:
            NoteForged: the line of a known key does not match.
        """
        signed = {cosigner.text() for cosigner, _ in cosignatures(note, tuple(self.witnesses.values()))}
        have = {name for name, cosigner in self.witnesses.items() if cosigner.text() in signed}
        for name, group in self.groups.items():  # a group names only what stands before it
            if sum(member in have for member in group.members) >= group.needed:
                have.add(name)
        return self.quorum == NONE or self.quorum in have


def policy_text(log: Verifier, policy: Policy, urls: Mapping[str, str] | None = None) -> str:
    """Returns the policy file of a log; `urls` are where witnesses answer, by name."""
    lines = [f"log {log.text()}"]
    names = list(dict.fromkeys(cosigner.name for cosigner in policy.cosigners))
    for name in names:
        url = (urls or {}).get(name, "")
        keys = [cosigner for cosigner in policy.cosigners if cosigner.name == name]
        lines += [f"witness {name}/{key.id.hex()} {key.text()} {url}".rstrip() for key in keys]
        lines.append(f"group {name} any {' '.join(f'{name}/{key.id.hex()}' for key in keys)}")
    if policy.needed:
        lines += [f"group witnesses {policy.needed} {' '.join(names)}", "quorum witnesses"]
    else:
        lines.append(f"quorum {NONE}")
    return "\n".join(lines) + "\n"


def parse_policy(text: str) -> TrustPolicy:
    """Returns what a policy file says.

    Raises:
        PolicyBroken: it breaks a rule of the format; the line is named.
    """
    found = _Reading()
    lines = text.split("\n")
    if len(lines) > LINES_MAX:
        raise PolicyBroken(f"a policy has at most {LINES_MAX} lines")
    for number, line in enumerate(lines, 1):
        words = [word for word in line.replace("\t", " ").split(" ") if word]
        try:
            found.take(words)
        except (PolicyBroken, NoteMalformed) as error:
            raise PolicyBroken(f"line {number}: {error}") from error
    if not found.quorum:
        raise PolicyBroken("there is no quorum line")
    return TrustPolicy(tuple(found.logs), found.witnesses, found.groups, found.quorum)


class _Reading:
    """A policy under way."""

    def __init__(self) -> None:
        self.logs: list[Verifier] = []
        self.witnesses: dict[str, Cosigner] = {}
        self.groups: dict[str, Group] = {}
        self.quorum = ""
        self._used: set[str] = set()

    def take(self, words: Sequence[str]) -> None:
        """Takes one line."""
        known = {*self.witnesses, *self.groups}
        match words:
            case []:
                pass
            case [word, *_] if word.startswith("#"):
                pass
            case ["log", key] | ["log", key, _]:
                self.logs.append(_new_log(Verifier.parse(key), self.logs))
            case ["witness", name, key] | ["witness", name, key, _]:
                _free(name, known)
                self.witnesses[name] = _new_witness(Cosigner.parse(key), self.witnesses)
            case ["group", name, count, *members] if members:
                _free(name, known)
                _members(members, known, self._used)
                self.groups[name] = Group(_count(count, len(members)), tuple(members))
            case ["quorum", name] if not self.quorum:
                if name != NONE:
                    _members([name], known, set())
                self.quorum = name
            case _:
                raise PolicyBroken(f"`{' '.join(words)[:60]}` is no log, witness, group or quorum, or a second quorum")


def _free(name: str, taken: set[str]) -> None:
    if name == NONE or name in taken:
        raise PolicyBroken(f"the name {name!r} is taken")


def _members(members: Sequence[str], known: set[str], used: set[str]) -> None:
    for member in members:
        if member not in known:
            raise PolicyBroken(f"{member!r} is not defined above")
        if member in used:
            raise PolicyBroken(f"{member!r} is in two groups: it would count twice")
        used.add(member)


def _count(word: str, members: int) -> int:
    counts = {"any": 1, "all": members}
    needed = counts.get(word, int(word) if word.isascii() and word.isdigit() and len(word) < 4 else 0)
    if not 1 <= needed <= members or (word not in counts and str(needed) != word):
        raise PolicyBroken(f"{word!r} is not any, all or 1 to {members}")
    return needed


def _new_log(key: Verifier, known: Sequence[Verifier]) -> Verifier:
    if any(other.public_key == key.public_key for other in known):
        raise PolicyBroken(f"the key of {key.name} stands there twice")
    return key


def _new_witness(key: Cosigner, known: Mapping[str, Cosigner]) -> Cosigner:
    if any(other.public_key == key.public_key for other in known.values()):
        raise PolicyBroken(f"the key of {key.name} stands there twice")
    return key
