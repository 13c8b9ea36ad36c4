"""A transparent signature: one file that shows a leaf to be in a log that witnesses have cosigned.

Source: C2SP tlog-proof v1: header, index, inclusion hashes, blank line, checkpoint.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from controller.ledger.cosign import Policy
from controller.ledger.merkle import verify_inclusion
from controller.ledger.note import Checkpoint, NoteMalformed, Verifier, verify

HEADER = "c2sp.org/tlog-proof@v1"
HASHES_MAX = 63


class ProofWrong(ValueError):
    """A proof that does not show what it says."""


@dataclass(frozen=True, slots=True)
class LogProof:
    """The place of a leaf, the hashes up to the root, and the signed checkpoint; hashes lowest first."""

    index: int
    hashes: tuple[bytes, ...]
    note: str

    def text(self) -> str:
        """Returns the file."""
        hashes = "".join(f"{base64.b64encode(node).decode()}\n" for node in self.hashes)
        return f"{HEADER}\nindex {self.index}\n{hashes}\n{self.note}"

    @classmethod
    def parse(cls, text: str) -> LogProof:
        """Returns the proof in a file; an `extra` line is ignored.

        Raises:
            NoteMalformed: it is none.
        """
        head, gap, note = text.partition("\n\n")
        lines = head.split("\n")
        if not gap or lines.pop(0) != HEADER:
            raise NoteMalformed(f"the first line is not {HEADER}, or there is no blank line before the checkpoint")
        if lines and lines[0].startswith("extra "):
            lines.pop(0)
        index = lines.pop(0).removeprefix("index ") if lines and lines[0].startswith("index ") else ""
        if not (index.isascii() and index.isdigit()) or str(int(index)) != index:
            raise NoteMalformed("there is no line `index N`")
        try:
            hashes = tuple(base64.b64decode(line, validate=True) for line in lines)
        except (binascii.Error, ValueError) as error:
            raise NoteMalformed("the hashes are not base64") from error
        if len(hashes) > HASHES_MAX or any(len(node) != 32 for node in hashes):
            raise NoteMalformed(f"a proof has at most {HASHES_MAX} hashes of 32 bytes")
        return cls(int(index), hashes, note)

    def check(self, leaf: bytes, keys: Sequence[Verifier], policy: Policy | None = None) -> Checkpoint:
        """Returns the checkpoint in whose tree the leaf hash stands, cosigned as `policy` wants it.

        Raises:
            NoteError: the checkpoint is malformed, forged, or not of these keys.
            ProofWrong: the leaf is not in the tree, or witnesses are missing.
        """
        text, _ = verify(self.note, keys)
        head = Checkpoint.parse(text)
        if not verify_inclusion(self.index, head.size, leaf, self.hashes, head.root):
            raise ProofWrong(f"leaf {self.index} is not in the tree of {head.size} entries of {head.origin}")
        if policy is not None and not policy.met(self.note):
            names = policy.names(self.note)
            raise ProofWrong(f"cosigned by {', '.join(names) or 'nobody'}; {policy.needed} witnesses are needed")
        return head
