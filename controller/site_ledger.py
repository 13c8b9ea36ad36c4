"""The site file's `[ledger]` and member keys: who watches the ledger from outside, and who signs with which key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controller import site_schema as schema
from controller.ledger.cosign import Cosigner, Policy
from controller.ledger.identity import BadDid, Did, public_key_of
from controller.ledger.note import NoteMalformed
from controller.site_problems import Finding
from controller.voting import Electorate


@dataclass(frozen=True, slots=True)
class LedgerSpec:
    """Witnesses by URL, how many of them are needed, and the members' own keys."""

    witnesses: Mapping[str, tuple[Cosigner, ...]] = field(default_factory=dict[str, tuple[Cosigner, ...]])
    quorum: int = 0
    alarm_after_min: int = 180
    member_keys: Mapping[str, Did] = field(default_factory=dict[str, Did])
    voters: Electorate = field(default_factory=Electorate)

    def policy(self) -> Policy:
        """Returns the witness policy."""
        return Policy(tuple(key for keys in self.witnesses.values() for key in keys), self.quorum)


def ledger_spec(file: schema.SiteFile) -> LedgerSpec:
    """Returns what a checked file says of witnesses and keys; without `quorum`, more than half must cosign."""
    rows = file.ledger.witnesses
    quorum = len(rows) // 2 + 1 if file.ledger.quorum is None else file.ledger.quorum
    keys = {member.id: Did(member.key) for member in file.member if member.key is not None}
    need = len(keys) // 2 + 1 if file.vote.approvals is None else file.vote.approvals
    return LedgerSpec(
        {row.url: tuple(map(Cosigner.parse, row.keys)) for row in rows},
        quorum if rows else 0,
        file.ledger.alarm_after_min,
        keys,
        Electorate(keys, need, file.vote.hours) if keys else Electorate(),
    )


def check_ledger(file: schema.SiteFile) -> Iterable[Finding]:
    """Yields keys that are none, witnesses and keys that stand there twice, and a quorum that cannot be met."""
    names: dict[str, int] = {}
    for index, row in enumerate(file.ledger.witnesses):
        here = ("ledger", "witnesses", index, "keys")
        found: set[str] = set()
        for text in row.keys:
            try:
                found.add(Cosigner.parse(text).name)
            except NoteMalformed as error:
                yield "090", here, text[:60], str(error), "copy what `atoll witness --keys` prints there"
        for name in found:
            if name in names or len(found) > 1:
                yield (
                    "091", here, name, "one witness is one name with its keys, in one row",
                    "give each witness a name of its own (`atoll witness --name`)",
                )  # fmt: skip
            names[name] = index
    quorum, count = file.ledger.quorum, len(file.ledger.witnesses)
    if quorum is not None and quorum > count:
        yield "092", ("ledger", "quorum"), str(quorum), f"there are {count} witnesses", "name more, or ask for fewer"
    voters, needed = sum(member.key is not None for member in file.member), file.vote.approvals
    if needed is not None and needed > voters:
        yield (
            "097", ("vote", "approvals"), str(needed), f"{voters} members have a key: no vote could ever pass",
            "ask for fewer, or give members a `key`",
        )  # fmt: skip
    owners: dict[str, str] = {}
    for index, member in enumerate(file.member):
        if member.key is None:
            continue
        here = ("member", index, "key")
        try:
            public_key_of(member.key)
        except BadDid as error:
            yield "093", here, member.key, str(error), "copy what `atoll key show FILE` prints"
        other = owners.setdefault(member.key, member.id)
        if other != member.id:
            yield "094", here, member.key, f"{other} has the same key", "each member makes its own: `atoll key new`"
