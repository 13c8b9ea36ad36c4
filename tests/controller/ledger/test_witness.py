"""What a witness decides, status by status, as C2SP tlog-witness lists them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ledger.merkle import Tree, leaf_hash
from controller.ledger.note import Checkpoint, Signer, sign
from controller.ledger.witness import BadRequest, Grown, Refused, Seen, Submission, consider, trusted

LOG, STRANGER = Signer("test.atoll/ledger", bytes(32)), Signer("test.atoll/ledger", bytes([1]) * 32)
TREE = Tree(leaf_hash(bytes([n])) for n in range(40))
FORK = Tree(leaf_hash(bytes([n if n != 3 else 99])) for n in range(40))


def submission(old: int, size: int, tree: Tree = TREE, signer: Signer = LOG) -> Submission:
    note = sign(Checkpoint("test.atoll/ledger", size, tree.root(size)).text(), [signer])
    return Submission(old, tree.consistency(old, size) if 0 < old <= size else (), note)


def status(asked: Submission, seen: Seen | None, keys=(LOG.verifier,)) -> int:
    answer = consider(asked, keys, seen)
    return 200 if isinstance(answer, Grown) else answer.status


def seen(size: int, tree: Tree = TREE) -> Seen:
    return Seen(size, tree.root(size))


def test_a_log_that_grows_is_cosigned():
    assert status(submission(0, 7), None) == 200
    assert status(submission(7, 20), seen(7)) == 200
    assert status(submission(20, 20), seen(20)) == 200  # asked again: its answer was lost


def test_who_is_behind_is_told_the_size():
    answer = consider(submission(5, 20), (LOG.verifier,), seen(7))
    assert answer == Refused(409, "7\n", "text/x.tlog.size")
    assert status(submission(0, 20), seen(7)) == 409
    assert status(submission(5, 6), seen(7)) == 409  # a stale backup


def test_a_fork_is_never_cosigned():
    assert status(submission(7, 20, FORK), seen(7)) == 422
    assert status(submission(20, 20, FORK), seen(20)) == 409
    bare = Submission(7, (), submission(7, 20).note)
    assert status(bare, seen(7)) == 422
    first = submission(0, 7)
    assert status(Submission(0, (TREE.root(3),), first.note), None) == 422


def test_unknown_logs_and_keys():
    assert status(submission(0, 7), None, ()) == 404
    assert status(submission(0, 7, signer=STRANGER), None) == 403
    torn = Submission(0, (), submission(0, 7).note.replace("7", "07", 1))
    assert status(torn, None) in (400, 403)
    assert trusted({"test.atoll/ledger": (LOG.verifier,)}, submission(0, 7).note) == (LOG.verifier,)
    assert trusted({}, submission(0, 7).note) == ()


def test_an_old_size_beyond_the_checkpoint_is_a_bad_request():
    assert status(Submission(9, (), submission(0, 7).note), seen(9)) == 400


def test_requests_are_read_back():
    asked = submission(7, 20)
    assert Submission.parse(asked.body()) == asked
    assert asked.body().startswith(b"old 7\n")
    for wrong in (
        b"",
        b"old 7",
        b"old 07\n\nx",
        b"new 7\n\nx",
        b"old 7\nxx\n\nx",
        b"\xff\n\n",
        b"old 1\n" + b"AA==\n\nx",
    ):
        with pytest.raises(BadRequest):
            Submission.parse(wrong)
    with pytest.raises(BadRequest):
        Submission.parse(Submission(1, (bytes(32),) * 64, "x").body())


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data):
    try:
        asked = Submission.parse(b"old " + data)
    except BadRequest:
        return
    assert status(asked, seen(7)) != 200
