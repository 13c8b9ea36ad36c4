"""The bounded inbox: order, bound, counter, batches, waiting."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.shell.inbox import Inbox


def test_events_come_out_in_order_and_in_batches():
    inbox = Inbox[int]()
    inbox.put_all(range(10))
    assert inbox.get(0, limit=4) == [0, 1, 2, 3]
    assert inbox.get(0) == [4, 5, 6, 7, 8, 9]
    assert inbox.get(0) == []


def test_a_full_inbox_keeps_what_waits_drops_what_comes_and_counts():
    inbox = Inbox[int](capacity=5)
    assert inbox.put_all(range(8)) == 5
    assert not inbox.put(99)
    assert inbox.dropped == 4
    assert inbox.get(0) == [0, 1, 2, 3, 4]
    assert inbox.put(5)


def test_what_must_not_be_lost_gets_into_a_full_inbox():
    inbox = Inbox[str](capacity=1)
    inbox.put("data")
    inbox.force("link down")
    assert not inbox.put("more")
    assert inbox.put_all(["a", "b"]) == 0
    assert inbox.get(0) == ["data", "link down"]
    assert inbox.dropped == 3


@given(st.lists(st.tuples(st.sampled_from(["put", "put_all", "force", "get"]), st.integers(0, 6)), max_size=40))
def test_nothing_is_lost_or_doubled_unseen(steps):
    inbox, sent, got = Inbox[int](capacity=7), 0, []
    for number, (step, size) in enumerate(steps):
        if step == "get":
            got += inbox.get(0, limit=size or 1)
            continue
        sent += size if step == "put_all" else 1
        if step == "put_all":
            inbox.put_all([number] * size)
        elif step == "put":
            inbox.put(number)
        else:
            inbox.force(number)
        assert len(inbox) <= 7 + sum(kind == "force" for kind, _ in steps)
    got += inbox.get(0, limit=1000)
    assert len(got) + inbox.dropped == sent
    assert got == sorted(got)


def test_get_waits_for_the_first_event_and_no_longer():
    inbox = Inbox[str]()
    threading.Timer(0.05, inbox.put, ("late",)).start()
    begun = time.monotonic()
    assert inbox.get(5.0) == ["late"]
    assert time.monotonic() - begun < 2.5
    assert inbox.get(0.01) == []


def test_lingering_gathers_what_comes_right_after():
    inbox = Inbox[int]()
    for number in range(3):
        threading.Timer(0.1 + 0.02 * number, inbox.put, (number,)).start()
    gathered = inbox.get(5.0, linger_s=0.4)
    assert gathered == [0, 1, 2]


def test_many_writers_lose_nothing():
    inbox = Inbox[int](capacity=100_000)
    writers = [threading.Thread(target=lambda: [inbox.put(1) for _ in range(2_000)]) for _ in range(4)]
    for writer in writers:
        writer.start()
    got = 0
    while got < 8_000:
        batch = inbox.get(2.0)
        assert batch, f"{got} of 8000 came"
        got += len(batch)
    assert (got, inbox.dropped) == (8_000, 0)


def test_an_inbox_for_nothing_is_refused():
    with pytest.raises(ValueError, match="0 events"):
        Inbox[int](capacity=0)
