"""Energy through meter, gateway, outbox and a hub that dies: never negative, never twice, every gap marked.

Rollover, replacement, reset, a register that runs back and clocks that jump, in any order, with batches that were
received and never committed.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from devices.clock import HOUR_MS, MINUTE_MS, SLOT_MS, ClockQuality, Instant
from devices.events import LinkUp
from devices.gateway_state import LATE_MS
from devices.model import BusFault, IntervalRecord, RecordQuality, UsagePointId
from devices.outbox import Ack
from tests.devices.gateway_bench import METER, Bench, Device

TOP = 1 << 32
ME = UsagePointId("home-01")
HAPPENINGS = (
    *("live",) * 4, "silent", "answering", "swap", "back-once", "clock-ahead", "clock-back",
    "restart", "hub-commits", "hub-dies-with-a-batch", "acks-again",
)  # fmt: skip


class Flow:
    """A meter that counts true energy, a gateway, and a hub that may lose what it has not committed."""

    def __init__(self, first: int) -> None:
        self.bench = Bench([METER], poll_ms=30_000)
        self.device: Device = self.bench.devices["home-01"]
        self.used = 0
        self.register = first
        self.first = first
        self.read_at: list[Instant] = []
        self.jumped: list[tuple[Instant, Instant]] = []
        self.committed: dict[tuple[int, int], IntervalRecord] = {}
        self.taken = 0  # of what the gateway has sent
        real = self.device.read

        def reading(function: int, address: int, count: int) -> tuple[int, ...] | BusFault:
            answer = real(function, address, count)
            if not isinstance(answer, BusFault):
                self.read_at.append(self.bench.now)
            return answer

        self.device.read = reading  # type: ignore[method-assign]
        self.show()
        self.bench.run(60_000)

    def show(self) -> None:
        self.device.values["import_wh"] = self.register % TOP

    def consume(self, wh: int) -> None:
        self.used += wh
        self.register += wh
        self.show()

    def jump(self, by_ms: int) -> None:
        before, self.bench.now = self.bench.now, Instant(self.bench.now + by_ms)
        self.jumped.append((before, self.bench.now))

    def received(self) -> list[IntervalRecord]:
        batches = self.bench.batches()
        fresh, self.taken = batches[self.taken :], len(batches)
        return fresh

    def commit(self) -> None:
        for record in self.received():
            key = (record.meter_epoch, record.page)
            assert self.committed.setdefault(key, record) == record, "a page that was sent never changes"
        self.ack()

    def ack(self) -> None:
        for epoch in {epoch for epoch, _ in self.committed}:
            whole = 0
            while (epoch, whole + 1) in self.committed:
                whole += 1
            if whole:
                self.bench.ack(Ack(ME, epoch, whole))

    def happen(self, what: str) -> None:
        match what:
            case "silent" | "answering":
                self.device.fault = BusFault.TIMEOUT if what == "silent" else None
            case "swap":
                self.register = 0
                self.show()
                self.bench.run(4 * MINUTE_MS)
            case "back-once":
                self.device.values["import_wh"] = max(0, self.register % TOP - 5_000)
                self.bench.run(30_000)
                self.show()
            case "clock-ahead" | "clock-back":
                self.jump(2 * HOUR_MS if what == "clock-ahead" else -HOUR_MS)
            case "restart":
                self.bench.restart()
            case "hub-commits":
                self.commit()
            case "hub-dies-with-a-batch":
                self.received()
            case "acks-again":
                self.ack()
            case _:
                pass

    def finish(self) -> list[IntervalRecord]:
        self.device.fault = None
        self.bench.step(LinkUp())
        marks = self.bench.marks  # a clock that was set back has yet to reach what is closed already
        lag = max((mark.end for mark in marks.values()), default=self.bench.now) - self.bench.now
        self.bench.run(max(0, lag))
        for _ in range(3):
            self.bench.run(SLOT_MS)
            self.commit()
        return [self.committed[key] for key in sorted(self.committed)]


def check(flow: Flow, records: list[IntervalRecord]) -> None:
    by_epoch: dict[int, list[IntervalRecord]] = defaultdict(list)
    for record in records:
        by_epoch[record.meter_epoch].append(record)
    for pages in by_epoch.values():
        assert [record.page for record in pages] == list(range(1, len(pages) + 1)), "no page is missing"
        for one, following in pairwise(pages):
            assert (one.end, one.import_end) == (following.start, following.import_start)
        assert all(record.import_delta >= 0 for record in pages)
    for one, following in pairwise(records):
        swapped = following.page == 1 and following.quality is RecordQuality.SUSPECT and following.start == one.start
        assert following.start >= one.end or swapped, "no quarter of an hour twice, but the one with both meters in it"
    present = flow.bench.marks["home-01"].epoch
    for record in records:
        if record.meter_epoch < present and record is by_epoch[record.meter_epoch][-1]:
            continue  # a meter's last record ends with its last reading, and the next meter's first is suspect
        seen = any(record.end <= at <= record.end + LATE_MS for at in flow.read_at)
        assert seen or record.quality is not RecordQuality.MEASURED, f"{record}: nobody read the meter then"
    for before, after in flow.jumped:
        if after < before:  # what is closed while the clock is in doubt says so
            doubtful = [r for r in records if after < r.end <= after + SLOT_MS]
            assert all(r.clock is ClockQuality.UNKNOWN or r.end > before or r.start < after for r in doubtful)


def run(first: int, history: list[tuple[int, int, str]]) -> tuple[Flow, list[IntervalRecord]]:
    flow = Flow(first)
    for wait, wh, what in history:
        flow.happen(what)
        flow.consume(wh)
        flow.bench.run(wait)
    records = flow.finish()
    check(flow, records)
    return flow, records


steps = st.lists(
    st.tuples(st.integers(30_000, 25 * MINUTE_MS), st.integers(0, 1500), st.sampled_from(HAPPENINGS)), max_size=14
)


@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.generate))  # to shrink takes minutes
@given(steps)
def test_whatever_happens_no_energy_is_negative_twice_or_from_nowhere(history: list[tuple[int, int, str]]) -> None:
    flow, records = run(10_000, history)
    assert sum(record.import_delta for record in records) <= flow.used
    if not any(what == "swap" for _, _, what in history):
        assert sum(record.import_delta for record in records) == flow.used, "nothing is lost without a swap either"
        assert {record.meter_epoch for record in records} == {1}


@settings(max_examples=6, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(steps, st.integers(0, 3000))
def test_a_register_that_rolls_over_goes_on_counting(history: list[tuple[int, int, str]], before: int) -> None:
    flow, records = run(TOP - before, [step for step in history if step[2] not in ("swap", "back-once")])
    assert sum(record.import_delta for record in records) == flow.used
    assert {record.meter_epoch for record in records} == {1}


def test_a_swap_is_a_new_epoch_whose_first_record_is_suspect_and_a_silence_is_estimated() -> None:
    day = [(10 * MINUTE_MS, 200, what) for what in ("live", "live", "swap", "live", "silent", "live", "answering")]
    flow, records = run(10_000, [*day, (20 * MINUTE_MS, 100, "hub-dies-with-a-batch"), (20 * MINUTE_MS, 100, "live")])
    qualities = {(r.meter_epoch, r.page): r.quality for r in records}
    assert qualities[2, 1] is RecordQuality.SUSPECT
    assert RecordQuality.ESTIMATED in qualities.values()
    assert sum(record.import_delta for record in records) == flow.used == 1600
