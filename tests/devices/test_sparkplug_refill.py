"""A data message that is filled again says exactly what a new one would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from devices.clock import Instant
from devices.model import DeviceId, Quality, Readings
from devices.sparkplug import DataType, EdgeSession, Metric

DEVICE = DeviceId("meter-1")
POINTS = ("W", "import_wh", "V")
BIRTH = Instant(1_780_272_000_000)
METRICS = [Metric(point, DataType.INT64 if point.endswith("_wh") else DataType.DOUBLE, 0) for point in POINTS]

numbers = st.none() | st.floats(allow_nan=True) | st.integers(-(1 << 70), 1 << 70)
doubles = st.floats(allow_nan=False, allow_infinity=False)
delays = st.integers(0, 1 << 30)
plain = st.tuples(
    delays, st.tuples(doubles, st.integers(-(1 << 63), (1 << 63) - 1), doubles), st.just([Quality.GOOD] * 3),
    st.just(3), st.just(False),
)  # fmt: skip
odd = st.tuples(
    delays, st.tuples(numbers, st.none() | st.integers(-(1 << 70), 1 << 70), numbers),
    st.lists(st.sampled_from(Quality), min_size=3, max_size=3), st.sampled_from([1, 2, 3]), st.booleans(),
)  # fmt: skip
rows = st.one_of(plain, plain, plain, odd)


def born() -> EdgeSession:
    session = EdgeSession("village", "gw-1")
    session.birth(BIRTH, {DEVICE: METRICS})
    return session


@given(st.lists(rows, max_size=8))
def test_a_refilled_message_equals_a_fresh_one(
    history: list[tuple[int, tuple[float | None, ...], list[Quality], int, bool]],
) -> None:
    kept, fresh = born(), born()
    for delay, values, qualities, width, historical in history:
        shown = tuple(Quality.BAD if v is None else q for v, q in zip(values, qualities, strict=True))
        readings = Readings(
            DEVICE, Instant(BIRTH + delay), POINTS[:width], values[:width], shown[:width], historical=historical
        )
        fresh._devices[DEVICE].kept = None  # pyright: ignore[reportPrivateUsage] - as if it had never sent anything
        assert kept.data(readings) == fresh.data(readings)
    assert kept.counters == fresh.counters
