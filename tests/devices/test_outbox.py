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
