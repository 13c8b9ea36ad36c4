"""The outbox: nothing forgotten before its acknowledgement, nothing impossible decoded."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import SLOT_MS, ClockQuality, Instant
from devices.model import Commodity, IntervalRecord, RecordQuality, UsagePointId
from devices.outbox import (
    BATCH_MAX,
    LINGER_MS,
    PAYLOAD_MAX,
    RESEND_MS,
    WINDOW,
    Ack,
    BadPayload,
    Outbox,
    Waiting,
    decode_acks,
    decode_batch,
    encode_acks,
    encode_batch,
)

HOME = UsagePointId("home-01")


def record(page: int, point: str = "home-01", epoch: int = 1) -> IntervalRecord:
    start = Instant(page * SLOT_MS)
    return IntervalRecord(
        UsagePointId(point), Commodity.ENERGY, epoch, page, start, Instant(start + SLOT_MS), page, page + 1, 0, 0
    )


counts = st.integers(0, 2**53)
records = st.builds(
    lambda point, commodity, epoch, page, start, span, i0, i1, e0, e1, quality, clock: IntervalRecord(
        UsagePointId(point), commodity, epoch, page, Instant(start), Instant(start + span), i0, i0 + i1, e0, e0 + e1,
        quality, clock,
    ),
    st.from_regex(r"[a-z0-9_.-]{1,64}", fullmatch=True),
    st.sampled_from(Commodity),
    st.integers(1, 1000),
    st.integers(1, 10**9),
    counts,
    st.integers(1, SLOT_MS),
    counts,
    counts,
    counts,
    counts,
    st.sampled_from(RecordQuality),
    st.sampled_from(ClockQuality),
)  # fmt: skip


@given(st.lists(records, max_size=20))
def test_batches_read_back(batch: list[IntervalRecord]) -> None:
    assert decode_batch(encode_batch(batch)) == batch


@given(st.lists(st.tuples(st.from_regex(r"[a-z0-9_.-]{1,64}", fullmatch=True), st.integers(0, 99), st.integers(0, 99))))
def test_acks_read_back(rows: list[tuple[str, int, int]]) -> None:
    acks = [Ack(UsagePointId(name), epoch, page) for name, epoch, page in rows]
    assert decode_acks(encode_acks(acks)) == acks


GOOD = json.loads(encode_batch([record(1)]))[1][0]


def changed(column: int, value: object) -> bytes:
    row = list(GOOD)
    row[column] = value
    return json.dumps([1, [row]]).encode()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[2, []]",
        b"[1]",
        b'{"v": 1}',
        b"[" * 100_000,
        b"[1, [" + b"[1]," * 3 + b"[1]]]",
        b"[1, [1]]",
        b" " * (PAYLOAD_MAX + 1),
        changed(0, "Home 1"),
        changed(0, 7),
        changed(1, "gas"),
        changed(2, 0),
        changed(3, 1.0),
        changed(3, True),
        changed(5, 0),
        changed(6, -1),
        changed(7, 0),
        changed(9, None),
        changed(7, 1 << 63),
        changed(10, "guessed"),
        changed(11, "S"),
        changed(6, float("nan")),
        json.dumps([1, [GOOD] * (BATCH_MAX + 1)]).encode(),
    ],
)
def test_impossible_batches_are_refused_by_name(payload: bytes) -> None:
    with pytest.raises(BadPayload):
        decode_batch(payload)


@given(st.binary(max_size=200))
def test_noise_is_refused_or_decoded_never_anything_else(payload: bytes) -> None:
    for decode in (decode_batch, decode_acks):
        with contextlib.suppress(BadPayload):
            assert isinstance(decode(payload), list)


def outbox(*records: IntervalRecord, resend_ms: int = 10_000) -> Outbox:
    """An outbox whose records have waited long enough at time 0."""
    box = Outbox(resend_ms)
    box.add(records, -LINGER_MS)
    return box


def test_a_record_is_sent_until_it_is_acknowledged() -> None:
    box = outbox(record(1), record(2))
    assert box.due(0) == [[record(1), record(2)]]
    assert box.due(9_999) == []
    assert box.next_deadline() == 10_000
    assert box.acknowledge([Ack(HOME, 1, 1)], 9_999) == [Ack(HOME, 1, 1)]
    assert box.due(10_000) == [[record(2)]]
    assert box.acknowledge([Ack(HOME, 1, 2), Ack(HOME, 1, 2)], 10_000) == [Ack(HOME, 1, 2)]
    assert len(box) == 0
    assert box.next_deadline() is None


def test_new_records_wait_a_moment_for_their_neighbours() -> None:
    box = Outbox()
    box.add([record(1)], 1000)
    box.add([record(1, "home-02")], 1100)
    assert box.next_deadline() == 1000 + LINGER_MS
    assert box.due(1000 + LINGER_MS - 1) == []
    assert box.due(1000 + LINGER_MS) == [[record(1), record(1, "home-02")]]


def test_acknowledgements_are_counted_per_meter_and_epoch() -> None:
    box = outbox(record(1), record(1, "home-02"), record(1, epoch=2))
    box.acknowledge([Ack(HOME, 1, 1), Ack(UsagePointId("home-09"), 1, 5)], 0)
    assert box.due(0) == [[record(1, "home-02"), record(1, epoch=2)]]


def test_an_acknowledgement_of_what_was_never_sent_frees_nothing() -> None:
    box = outbox(record(1))
    assert box.acknowledge([Ack(HOME, 1, 7)], 0) == []
    assert box.rejected_acks == 1
    assert len(box) == 1


def test_a_new_session_sends_everything_again() -> None:
    box = outbox(record(1))
    box.due(0)
    box.forget_flights(1)
    assert box.next_deadline() == 1
    assert box.due(1) == [[record(1)]]


def test_the_window_bounds_what_is_on_the_way() -> None:
    box = outbox(*(record(page) for page in range(1, WINDOW + 500)))
    batches = box.due(0)
    assert [len(batch) for batch in batches] == [BATCH_MAX] * (WINDOW // BATCH_MAX)
    assert box.due(1) == []
    box.acknowledge([Ack(HOME, 1, 300)], 2)
    assert next(r.page for batch in box.due(2) for r in batch) == WINDOW + 1


def test_a_meter_that_is_never_acknowledged_does_not_hold_back_the_others() -> None:
    box = outbox(*(record(page) for page in range(1, WINDOW + 500)), record(1, "home-02"))
    box.due(0)
    sent = [r for batch in box.due(RESEND_MS) for r in batch]
    assert record(1, "home-02") in sent


@given(st.lists(st.sampled_from(["add", "send", "lose", "ack", "old-ack", "new-session"]), max_size=60))
def test_nothing_is_lost_on_a_bad_line(events: list[str]) -> None:
    box, page, committed, elapsed = Outbox(resend_ms=100), 0, set[int](), 0
    for event in events:
        elapsed += 60
        if event == "add":
            page += 1
            box.add([record(page)], elapsed)
        elif event == "new-session":
            box.forget_flights(elapsed)
        elif event in {"send", "lose"}:
            for batch in box.due(elapsed):
                committed |= {r.page for r in batch} if event == "send" else set()
        else:
            done = 0
            while done + 1 in committed:
                done += 1
            box.acknowledge([Ack(HOME, 1, done if event == "ack" else done // 2)], elapsed)
    while (deadline := box.next_deadline()) is not None:
        elapsed = max(elapsed, deadline)
        for batch in box.due(elapsed):
            committed |= {r.page for r in batch}
        box.acknowledge([Ack(HOME, 1, max(committed))], elapsed)
    assert len(box) == 0
    assert committed == set(range(1, page + 1))


@pytest.mark.parametrize("row", ['["Home 1",1,1]', '["home-01",-1,1]', '["home-01",1,true]', '["home-01",1.5,1]'])
def test_an_acknowledgement_that_names_no_page_is_refused(row: str) -> None:
    from devices.outbox import BadPayload, decode_acks

    with pytest.raises(BadPayload, match="no acknowledgement"):
        decode_acks(f"[1,[{row}]]".encode())


def fetch(box: Outbox, elapsed: int, kept: range = range(1, 10_000)) -> int:
    """Brings what is wanted from a disk that has these pages of every meter; returns how many."""
    wanted = box.wanted()
    found = [
        record(page, one.usage_point, one.meter_epoch)
        for one in wanted
        for page in range(one.after + 1, one.after + 1 + one.count)
        if page in kept
    ]
    assert box.wanted() == [], "once is enough"
    box.fetched(wanted, found, elapsed)
    return len(found)


def test_after_a_restart_nothing_is_in_memory_until_it_is_wanted() -> None:
    box = Outbox(held_max=20)
    box.resume([], 0)
    assert box.next_deadline() is None
    box.resume([Waiting(HOME, 1, 5, 104), Waiting(UsagePointId("home-02"), 1, 1, 3)], 0)
    assert (len(box), box.held) == (103, 0)
    assert box.due(0) == []
    assert fetch(box, 0, range(1, 105)) == 10 + 3
    assert [r.page for batch in box.due(0) for r in batch] == [*range(5, 15), 1, 2, 3]
    assert fetch(box, 0) == 0, "enough is there"
    box.acknowledge([Ack(HOME, 1, 9)], 1)
    assert fetch(box, 1) == 0
    box.acknowledge([Ack(HOME, 1, 60)], 2)
    assert (len(box), box.held) == (44 + 3, 3), "what was acknowledged is not read any more"
    fetch(box, 3)
    assert [r.page for batch in box.due(3) for r in batch] == [*range(61, 71)]


def test_a_month_of_records_holds_only_a_little_in_memory_and_all_of_it_is_sent() -> None:
    box, elapsed, seen = Outbox(held_max=200), 0, set[int]()
    for page in range(1, 2_001):
        box.add([record(page)], elapsed)
    assert (len(box), box.held) == (2_000, 200)
    while len(box):
        elapsed += LINGER_MS
        seen |= {r.page for batch in box.due(elapsed) for r in batch}
        if seen:
            box.acknowledge([Ack(HOME, 1, max(seen))], elapsed)
        fetch(box, elapsed)
        assert box.held <= 200
    assert seen == set(range(1, 2_001))


def test_what_is_acknowledged_while_it_is_fetched_is_not_sent_again() -> None:
    box = Outbox()
    box.resume([Waiting(HOME, 1, 1, 9), Waiting(UsagePointId("home-02"), 1, 1, 2)], 0)
    wanted = box.wanted()
    box.acknowledge([Ack(HOME, 1, 4), Ack(UsagePointId("home-02"), 1, 2)], 0)
    rows = [record(page) for page in range(1, 10)] + [record(page, "home-02") for page in (1, 2)]
    box.fetched(wanted, rows, 0)
    assert (len(box), box.held) == (5, 5)
    assert fetch(box, 0) == 0
    assert [r.page for batch in box.due(0) for r in batch] == [5, 6, 7, 8, 9]


def test_a_disk_that_has_less_than_it_said_ends_the_wait() -> None:
    box = Outbox()
    box.resume([Waiting(HOME, 1, 1, 50)], 0)
    assert fetch(box, 0, range(0)) == 0
    assert len(box) == 0
    assert box.wanted() == []
    box = outbox(record(1))
    box.resume([Waiting(UsagePointId("home-02"), 1, 1, 5)], 0)
    assert fetch(box, 0, range(0)) == 0
    assert len(box) == 1, "only that meter's"
    box = Outbox(held_max=4)
    box.add([record(page) for page in range(1, 6)], -LINGER_MS)
    box.acknowledge([Ack(HOME, 1, 3)], 0)
    assert fetch(box, 0, range(0)) == 0
    assert [r.page for batch in box.due(0) for r in batch] == [4]
    assert len(box) == 1


def test_a_hub_that_knows_less_than_it_acknowledged_is_told_the_gap_once() -> None:
    """Pages 1 to 4 were acknowledged and forgotten; then a hub from an older backup acknowledges page 2."""
    outbox = Outbox()
    outbox.add([record(page) for page in range(1, 7)], 0)
    outbox.due(LINGER_MS)
    outbox.acknowledge([Ack(HOME, 1, 4)], LINGER_MS)
    assert outbox.gaps([Ack(HOME, 1, 4)]) == []
    assert outbox.gaps([Ack(UsagePointId("home-02"), 1, 1)]) == []
    found = outbox.gaps([Ack(HOME, 1, 2)])
    assert [(gap.usage_point, gap.meter_epoch, gap.first, gap.last) for gap in found] == [(HOME, 1, 3, 4)]
    assert outbox.gaps([Ack(HOME, 1, 2)]) == [], "asking again would not bring what is not kept"
    outbox.put_back([], LINGER_MS)
    outbox.put_back(found, LINGER_MS)
    fetch(outbox, LINGER_MS)
    sent = [one.page for batch in outbox.due(LINGER_MS + RESEND_MS) for one in batch]
    assert sent == [3, 4, 5, 6]
    outbox.acknowledge([Ack(HOME, 1, 6)], LINGER_MS + RESEND_MS)
    assert len(outbox) == 0
