"""A meter's day as one signed OCMF record: what was signed comes back, and nothing that disagrees with itself does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import SLOT_MS, ClockQuality, Instant
from devices.meter_day import INTERVALS_MAX, MeterDay, read_day, sign_day
from devices.model import Commodity, IntervalRecord, RecordQuality, UsagePointId
from devices.ocmf import Document, Refused, judge, parse, verify
from devices.ocmf_faults import Fault
from devices.ocmf_keys import SigningKey

KEY = SigningKey.from_number(0xDA7)
T0 = 1_780_437_600_000
INTERVALS = st.lists(
    st.tuples(
        st.sampled_from([SLOT_MS, 3 * SLOT_MS]),
        st.integers(0, 10**6),
        st.integers(0, 3),
        st.sampled_from(RecordQuality),
        st.sampled_from(ClockQuality),
    ),
    min_size=1,
    max_size=100,
)


def day(intervals, commodity=Commodity.ENERGY, page=5, imported=1000, exported=7) -> list[IntervalRecord]:
    records, at = [], T0
    for length, taken, given_back, quality, clock in intervals:
        records.append(
            IntervalRecord(
                UsagePointId("home-07"),
                commodity,
                2,
                page,
                Instant(at),
                Instant(at + length),
                imported,
                imported + taken,
                exported,
                exported + given_back,
                quality,
                clock,
            )
        )
        at, page, imported, exported = at + length, page + 1, imported + taken, exported + given_back
    return records


PLAIN = [(SLOT_MS, 120 + i, 0, RecordQuality.MEASURED, ClockQuality.SYNCHRONISED) for i in range(96)]


def signed(records) -> Document:
    document = parse(sign_day("gw-1", 9, records, KEY))
    assert isinstance(document, Document)
    return document


@given(INTERVALS, st.sampled_from(Commodity))
def test_what_is_signed_comes_back_whole(intervals, commodity):
    records = day(intervals, commodity)
    document = signed(records)
    assert verify(document, KEY.public) is None
    assert read_day(document) == MeterDay("gw-1", 9, tuple(records))


def test_a_plain_day_is_small_and_any_ocmf_reader_sees_its_registers():
    records = day(PLAIN)
    text = sign_day("gw-1", 9, records, KEY)
    assert len(text) < 1_400
    document = parse(text)
    assert isinstance(document, Document)
    assert judge(document) == ()
    assert [int(reading.value or 0) for reading in document.record.readings] == [1000, 7, records[-1].import_end, 7]
    assert document.record.meter_serial == "home-07:2", "meter and epoch: another meter is another serial number"


def test_what_is_not_measured_is_seen_by_any_ocmf_reader():
    records = day([*PLAIN[:3], (SLOT_MS, 5, 0, RecordQuality.ESTIMATED, ClockQuality.UNKNOWN)])
    faults = {finding.fault for finding in judge(signed(records))}
    assert faults == {Fault.METER_STATUS, Fault.CLOCK_UNSURE}


def test_only_what_follows_each_other_is_signed_together():
    records = day(PLAIN)
    with pytest.raises(ValueError, match="does not follow"):
        sign_day("gw-1", 1, [records[0], records[2]], KEY)
    for wrong in ([], day(PLAIN * 5)):
        with pytest.raises(ValueError, match=f"1 to {INTERVALS_MAX}"):
            sign_day("gw-1", 1, wrong, KEY)


def changed(**fields: object) -> Document:
    section = parse(sign_day("gw-1", 9, day(PLAIN), KEY))
    assert isinstance(section, Document)
    body = json.loads(section.payload) | fields
    document = parse(f"OCMF|{json.dumps(body)}" + '|{"SD":"00"}')
    assert isinstance(document, Document)
    return document


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"XI": [1] * 96}, Fault.DELTAS_DISAGREE),
        ({"XE": [1] + [0] * 95}, Fault.DELTAS_DISAGREE),
        ({"XL": [[96, SLOT_MS + 1]]}, Fault.DELTAS_DISAGREE),
        ({"XS": T0 + 1}, Fault.DELTAS_DISAGREE),
        ({"XL": [[96, 0]]}, Fault.NOT_A_METER_DAY),
        ({"XL": [[10**9, SLOT_MS]]}, Fault.NOT_A_METER_DAY),
        ({"XL": 5}, Fault.NOT_A_METER_DAY),
        ({"XI": [1] * 95}, Fault.NOT_A_METER_DAY),
        ({"XI": [-1] * 96}, Fault.NOT_A_METER_DAY),
        ({"XI": [1.5] * 96}, Fault.NOT_A_METER_DAY),
        ({"XE": "x"}, Fault.NOT_A_METER_DAY),
        ({"XQ": "G" * 95}, Fault.NOT_A_METER_DAY),
        ({"XQ": "Z" * 96}, Fault.NOT_A_METER_DAY),
        ({"XC": None}, Fault.NOT_A_METER_DAY),
        ({"UP": "home-08"}, Fault.NOT_A_METER_DAY),
        ({"UP": 7}, Fault.NOT_A_METER_DAY),
        ({"UE": 3}, Fault.NOT_A_METER_DAY),
        ({"XP": True}, Fault.NOT_A_METER_DAY),
        ({"PG": "T9"}, Fault.NOT_A_METER_DAY),
        ({"RD": [{"TM": "2026-06-02T22:00:00,000+0000 S", "RV": 1, "ST": "G"}]}, Fault.NOT_A_METER_DAY),
    ],
)
def test_a_record_that_disagrees_with_itself_is_no_meter_day(fields, fault):
    found = read_day(changed(**fields))
    assert isinstance(found, Refused)
    assert [finding.fault for finding in found.findings] == [fault]


def test_registers_that_are_no_whole_numbers_are_no_meter_day():
    body = changed().payload.decode()
    for wrong in ('"RV": 1000.5', '"RV": -1', '"RD0": 1'):
        document = parse("OCMF|" + body.replace('"RV": 1000', wrong, 1) + '|{"SD":"00"}')
        assert isinstance(document, Document)
        assert isinstance(read_day(document), Refused)
