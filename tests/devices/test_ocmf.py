"""OCMF: what is written is read, what was signed elsewhere verifies here and the reverse, every fault has its name.

Shapes of real products (field order, omitted times, base64, a colon in the time zone) were taken from published
records; their numbers, serials and keys are ours.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import ecdsa
import pytest
from ecdsa.util import sigdecode_der, sigencode_der, sigencode_string
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import Instant
from devices.ocmf import (
    Document,
    MeterReading,
    MeterStatus,
    Record,
    Refused,
    TimeStatus,
    judge,
    judge_series,
    parse,
    payload,
    sign,
    verify,
)
from devices.ocmf_faults import Fault
from devices.ocmf_keys import PublicKey, SigningKey, read_public_key

KEY = SigningKey.from_number(0xA70)
OTHER = SigningKey.from_number(0xA71)
T0 = 1_780_473_600_000

NAMES = {
    "secp192r1": ecdsa.NIST192p,
    "secp256k1": ecdsa.SECP256k1,
    "secp256r1": ecdsa.NIST256p,
    "secp384r1": ecdsa.NIST384p,
    "secp521r1": ecdsa.NIST521p,
    "brainpool256r1": ecdsa.BRAINPOOLP256r1,
    "brainpool384r1": ecdsa.BRAINPOOLP384r1,
    "brainpool512r1": ecdsa.BRAINPOOLP512r1,
}


def reading(
    value: str,
    minutes: int = 0,
    *,
    unit: str = "kWh",
    status: MeterStatus = MeterStatus.GOOD,
    errors: str = "",
    reason: str = "",
) -> MeterReading:
    at = Instant(T0 + minutes * 60_000)
    return MeterReading(
        at, TimeStatus.SYNCHRONISED, Decimal(value), "1-0:1.8.0", unit, status, errors=errors, reason=reason
    )


def record(*readings: MeterReading, page: int = 7) -> Record:
    return Record("T", page, readings or (reading("12.50"), reading("13.75", 9)), meter_serial="m-1", gateway="g")


def text_of(body: str, seal: str = '{"SD":"30"}') -> str:
    return f"OCMF|{body}|{seal}"


READINGS = st.builds(
    MeterReading,
    at=st.integers(0, 4_000_000_000_000).map(Instant),
    time=st.sampled_from(TimeStatus),
    value=st.none() | st.decimals(-(10**9), 10**12, places=3),
    obis=st.sampled_from(["1-0:1.8.0", "1-0:2.8.0", "1-b:1.8.e"]),
    unit=st.sampled_from(["kWh", "Wh"]),
    status=st.sampled_from(MeterStatus),
    errors=st.sampled_from(["", "E", "Et"]),
    reason=st.sampled_from(["", "B", "C", "E"]),
    current=st.sampled_from(["", "AC", "DC"]),
    loss=st.none() | st.decimals(0, 9, places=2),
)
TEXTS = st.text(st.characters(exclude_characters="|", exclude_categories=["Cs"]), max_size=12)
RECORDS = st.builds(
    Record,
    context=st.sampled_from("TF"),
    page=st.integers(0, 10**15),
    readings=st.lists(READINGS, min_size=1, max_size=6).map(tuple),
    meter_serial=TEXTS.filter(bool),
    gateway=TEXTS,
    gateway_version=TEXTS,
    more=st.dictionaries(st.sampled_from(["IS", "ID", "UX", "ZZ"]), TEXTS | st.booleans() | st.integers(0, 99)),
)


@given(RECORDS)
def test_what_is_built_and_signed_is_parsed_and_verified(made):
    document = parse(sign(payload(made), KEY))
    assert isinstance(document, Document)
    assert document.record == made
    assert verify(document, KEY.public) is None
    assert verify(document, OTHER.public) is Fault.WRONG_SIGNATURE


@given(st.data())
def test_any_changed_byte_of_the_payload_breaks_the_signature(data):
    written = sign(payload(record()), KEY)
    start, end = written.index(b"{"), written.index(b"|", 6)
    place = data.draw(st.integers(start, end - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != written[place]))
    found = parse(written[:place] + bytes([byte]) + written[place + 1 :])
    assert isinstance(found, Refused) or verify(found, KEY.public) is Fault.WRONG_SIGNATURE


@given(st.binary(max_size=120) | st.binary(max_size=60).map(lambda b: b"OCMF|" + b + b'|{"SD":"00"}'))
def test_any_bytes_are_a_document_or_named_faults(raw):
    found = parse(raw)
    assert isinstance(found, Document) or found.findings


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), st.lists, max_leaves=4)
)
def test_any_value_in_any_field_is_a_document_or_named_faults(value):
    for key in ("PG", "RD", "MS", "GS", "TM", "RV", "ST", "EF", "CL", "RI"):
        body = {"PG": "T1", "MS": "m", "RD": [{"TM": "2026-01-01T00:00:00,000+0000 S", "RV": 1, "ST": "G"}]}
        place = body["RD"][0] if key in ("TM", "RV", "ST", "EF", "CL", "RI") else body
        place[key] = value
        try:
            raw = json.dumps(body)
        except ValueError:
            continue
        found = parse(text_of(raw))
        assert isinstance(found, Document) or found.findings


def test_a_field_as_in_the_reading_before_is_left_out():
    written = payload(record(reading("1", reason="B"), reading("2", 15, reason="C"), reading("3", 30, reason="C")))
    last = json.loads(written)["RD"][-1]
    assert set(last) == {"TM", "RV", "ST"}
    assert written.count(b'"RI"') == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["der", "raw"])
def test_what_an_independent_library_signs_on_any_curve_verifies(name, form):
    private = ecdsa.SigningKey.from_secret_exponent(0x5EED1234567, NAMES[name], hashlib.sha256)
    section = payload(record())
    encode = sigencode_der if form == "der" else sigencode_string
    made = private.sign_deterministic(section, hashfunc=hashlib.sha256, sigencode=encode, extra_entropy=b"")
    seal = json.dumps({"SA": f"ECDSA-{name}-SHA256", "SD": made.hex().upper()}).encode()
    document = parse(b"OCMF|" + section + b"|" + seal)
    assert isinstance(document, Document)
    public: Any = private.verifying_key
    point = public.to_string("uncompressed")
    for given_as in (public.to_der().hex(), public.to_pem().decode(), point):
        key = read_public_key(given_as, name)
        assert isinstance(key, PublicKey)
        assert verify(document, key) is None
        forged = replace(document, payload=document.payload.replace(b"13.75", b"13.74"))
        assert verify(forged, key) is Fault.WRONG_SIGNATURE


def test_what_we_sign_verifies_in_an_independent_library_and_is_the_same_every_time():
    section = payload(record())
    written = sign(section, KEY)
    assert written == sign(section, KEY)
    theirs = ecdsa.VerifyingKey.from_der(bytes.fromhex(KEY.public.text()))
    signature = bytes.fromhex(json.loads(written.split(b"|")[2])["SD"])
    assert theirs.verify(signature, section, hashlib.sha256, sigdecode_der)
    with pytest.raises(ecdsa.BadSignatureError):
        theirs.verify(signature, section + b" ", hashlib.sha256, sigdecode_der)


def test_a_private_key_comes_back_from_its_file():
    assert SigningKey.from_pem(KEY.pem()).public.text() == KEY.public.text()
    assert SigningKey.generate().public.text() != KEY.public.text()
    wrong = ecdsa.SigningKey.from_secret_exponent(3, ecdsa.NIST384p).to_pem(format="pkcs8")
    for pem in (wrong, b"", b"-----BEGIN PRIVATE KEY-----"):
        with pytest.raises(ValueError):
            SigningKey.from_pem(pem)


PRODUCTS = {
    "wallbox, clock informative": (
        '{"FV":"1.0","GI":"BOX","GS":"17","GV":"2.8","PG":"T32","IS":false,"IL":"NONE","IF":["RFID_NONE"],"IT":"NONE",'
        '"ID":"","RD":[{"TM":"2019-08-13T10:03:15,000+0000 I","TX":"B","EF":"","ST":"G","RV":0.2596,"RI":"1-b:1.8.0",'
        '"RU":"kWh"},{"TM":"2019-08-13T10:03:36,000+0000 R","TX":"E","EF":"","ST":"G","RV":0.2597,"RI":"1-b:1.8.0",'
        '"RU":"kWh"}]}',
        2,
        [Fault.CLOCK_UNSURE],
    ),
    "DC meter, time left out of every second reading, an object of its own": (
        '{"FV":"1.0","GI":"DC","GS":"12","PG":"T61","MS":"12","IS":true,"RD":[{"TM":"2025-10-26T12:50:00,000+0100 R",'
        '"TX":"B","RV":1319.135,"RI":"1-0:1.8.0","RU":"kWh","RT":"DC","EF":"","ST":"G","UC":{"UN":"No"}},{"RV":7.641,'
        '"RI":"1-0:2.8.0","RU":"kWh","ST":"G"},{"TM":"2025-10-26T13:06:07,000+0100 R","TX":"E","RV":1328.281,'
        '"RI":"1-0:1.8.0","RU":"kWh","ST":"G"},{"RV":7.641,"RI":"1-0:2.8.0","RU":"kWh","ST":"G"}]}',
        4,
        [],
    ),
    "fiscal, a colon in the time zone": (
        '{"FV":"1.0","GI":"Z","GS":"Z1","GV":"5","PG":"F1","MF":"v1","RD":[{"TM":"2025-04-09T17:45:00,507+00:00 R",'
        '"RV":2410.009,"RI":"1-0:1.8.0","RU":"kWh","ST":"G"}]}',
        1,
        [],
    ),
    "spread over lines": (
        '{\n  "FV": "1.0", "GS": "8", "PG": "T1",\n  "RD": [\n    {"TM": "2018-07-24T13:22:04,000+0200 S",'
        ' "RV": 2935.60, "RI": "1-b:1.8.0", "RU": "kWh", "ST": "G"}]\n}',
        1,
        [],
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_records_in_the_shapes_of_real_products(name, encoding):
    body, count, faults = PRODUCTS[name]
    raw = KEY.sign(body.encode())
    seal = {"SE": encoding, "SD": raw.hex().upper() if encoding == "hex" else base64.b64encode(raw).decode()}
    document = parse(text_of(body, json.dumps(seal)))
    assert isinstance(document, Document)
    assert verify(document, KEY.public) is None
    assert len(document.record.readings) == count
    assert [finding.fault for finding in judge(document)] == faults


def test_times_zones_and_digits_are_kept():
    body, _, _ = PRODUCTS["DC meter, time left out of every second reading, an object of its own"]
    document = parse(text_of(body))
    assert isinstance(document, Document)
    first, second, third, _ = document.record.readings
    assert first.at == second.at == 1_761_479_400_000  # 2025-10-26T11:50:00Z
    assert third.at - first.at == 967_000
    assert second.current == "DC", "inherited"
    spread = parse(text_of(PRODUCTS["spread over lines"][0]))
    assert isinstance(spread, Document)
    assert str(spread.record.readings[0].value) == "2935.60", "every digit counts"


GOOD = '{"PG":"T1","MS":"m","RD":[{"TM":"2026-01-01T00:00:00,000+0000 S","RV":1,"ST":"G"}]}'
SEAL = '{"SD":"30"}'


def good_but(old: str, new: str) -> str:
    assert old in GOOD
    return f"OCMF|{GOOD.replace(old, new)}|{SEAL}"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", Fault.NOT_OCMF),
        ("OCMF", Fault.NOT_OCMF),
        (f"XCMF|{GOOD}|{SEAL}", Fault.NOT_OCMF),
        (f"OCMF|{GOOD}|{SEAL}|", Fault.NOT_OCMF),
        (f"OCMF|{GOOD}", Fault.NO_SIGNATURE),
        (f"OCMF|{GOOD}|{{}}", Fault.NO_SIGNATURE),
        (f'OCMF|{GOOD}|{{"SD":"xy"}}', Fault.BAD_SIGNATURE),
        (f'OCMF|{GOOD}|{{"SE":"base64","SD":"*"}}', Fault.BAD_SIGNATURE),
        (f'OCMF|{GOOD}|{{"SE":"rot13","SD":"00"}}', Fault.BAD_SIGNATURE),
        (f'OCMF|{GOOD}|{{"SD":7}}', Fault.BAD_FIELD),
        ("OCMF|" + " " * 70_000 + "|{}", Fault.TOO_LARGE),
        (f"OCMF|[]|{SEAL}", Fault.BAD_JSON),
        (f"OCMF|{{|{SEAL}", Fault.BAD_JSON),
        (good_but("T1", "X1"), Fault.BAD_PAGINATION),
        (good_but("T1", "T01"), Fault.BAD_PAGINATION),
        (good_but("MS", "ZS"), Fault.MISSING_FIELD),
        (good_but("RD", "RE"), Fault.MISSING_FIELD),
        (f'OCMF|{{"PG":"T1","MS":"m","RD":[]}}|{SEAL}', Fault.MISSING_FIELD),
        (f'OCMF|{{"PG":"T1","MS":"m","RD":[7]}}|{SEAL}', Fault.BAD_FIELD),
        (good_but("+0000 S", " S"), Fault.BAD_TIME),
        (good_but("2026-01", "2026-13"), Fault.BAD_TIME),
        (good_but("+0000 S", "+0000 Q"), Fault.BAD_TIME),
        (good_but('"G"', '"Q"'), Fault.BAD_FIELD),
        (good_but(',"ST":"G"', ""), Fault.MISSING_FIELD),
        (good_but('"RV":1', '"RV":"1"'), Fault.BAD_FIELD),
        (good_but('"RV":1', '"RV":1e-999999999'), Fault.BAD_FIELD),
        (good_but('"RV":1', '"RV":NaN'), Fault.BAD_JSON),
    ],
)
def test_every_fault_of_form_has_its_name(text, fault):
    found = parse(text)
    assert isinstance(found, Refused)
    assert fault in [finding.fault for finding in found.findings]


def test_all_faults_are_told_at_once():
    found = parse('OCMF|{"PG":"?","RD":[{"TM":"?","ST":"G"},{"TM":"?","ST":"G"}]}|{"SD":"?"}')
    assert isinstance(found, Refused)
    faults = [finding.fault for finding in found.findings]
    assert faults == [
        Fault.BAD_PAGINATION,
        Fault.MISSING_FIELD,
        Fault.BAD_TIME,
        Fault.BAD_TIME,
        Fault.BAD_SIGNATURE,
    ]
    assert str(found.findings[2]) == "bad-time: RD[0].TM: ?"


@pytest.mark.parametrize(
    ("algorithm", "fault"),
    [
        ("RSA-2048", Fault.UNKNOWN_ALGORITHM),
        ("ECDSA-secp192k1-SHA256", Fault.UNSUPPORTED_CURVE),
        ("ECDSA-secp384r1-SHA256", Fault.WRONG_CURVE),
    ],
)
def test_a_signature_that_cannot_be_judged_is_not_called_wrong(algorithm, fault):
    document = parse(sign(payload(record()), KEY))
    assert isinstance(document, Document)
    assert verify(replace(document, algorithm=algorithm), KEY.public) is fault
    assert verify(replace(document, signature=b"\x00" * 7), KEY.public) is Fault.BAD_SIGNATURE


def test_keys_that_are_none_have_a_name():
    assert read_public_key("zz") is Fault.BAD_KEY
    assert read_public_key(b"\x30\x00") is Fault.BAD_KEY
    assert read_public_key(b"\x04" + b"\x01" * 64, "secp256r1") is Fault.BAD_KEY, "not on the curve"
    assert read_public_key(b"\x04" + b"\x01" * 64, "secp192k1") is Fault.BAD_KEY
    assert read_public_key("-----BEGIN PUBLIC KEY-----") is Fault.BAD_KEY
    curve_25519 = "302a300506032b656e032100" + "09" * 32
    assert read_public_key(curve_25519) is Fault.UNSUPPORTED_CURVE


def test_an_authentic_record_may_still_be_no_ground_for_a_bill():
    bad = record(
        reading("10"),
        reading("9", 5),
        reading("9", 4, unit="Wh"),
        reading("9", 6, unit="Wh", status=MeterStatus.EXCHANGED),
        reading("9", 7, unit="Wh", errors="E"),
        MeterReading(Instant(T0 + 10**6), TimeStatus.UNKNOWN, None, "1-0:1.8.0", "Wh"),
    )
    document = parse(sign(payload(bad), KEY))
    assert isinstance(document, Document)
    assert verify(document, KEY.public) is None
    assert [(f.fault, f.where) for f in judge(document)] == [
        (Fault.REGISTER_FELL, "RD[1]"),
        (Fault.TIME_WENT_BACK, "RD[2]"),
        (Fault.UNIT_CHANGED, "RD[2]"),
        (Fault.METER_STATUS, "RD[3]"),
        (Fault.ERROR_FLAG, "RD[4]"),
        (Fault.NO_READING, "RD[5]"),
        (Fault.CLOCK_UNSURE, "RD[5]"),
    ]


def test_records_that_do_not_follow_each_other():
    documents = [parse(sign(payload(record(page=page)), KEY)) for page in (7, 8, 10)]
    other = parse(sign(payload(replace(record(page=11), meter_serial="m-2")), KEY))
    series = [*documents, other]
    found = judge_series([document for document in series if isinstance(document, Document)])
    assert [(f.fault, f.where) for f in found] == [
        (Fault.PAGE_GAP, "T10"),
        (Fault.OTHER_METER, "T11"),
    ]


def test_a_separator_or_a_field_of_ocmf_cannot_be_smuggled_in():
    with pytest.raises(ValueError, match="separates"):
        payload(replace(record(), gateway="a|b"))
    with pytest.raises(ValueError, match=re.escape("['PG']")):
        payload(replace(record(), more={"PG": "T9"}))
