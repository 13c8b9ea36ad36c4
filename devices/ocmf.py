"""OCMF, the Open Charge Metering Format: signed meter records as text. Build, sign, parse, verify, judge; no I/O.

    text = sign(payload(record), key)             # OCMF|{...}|{...}
    document = parse(text)                        # Document, or the findings why it is none
    verify(document, key)                         # None, or the Fault
    judge(document)                               # what a bill cannot be grounded on, though it is authentic

A record is authentic only over its exact bytes, so `Document.payload` keeps them. Numbers keep their digits (Decimal).

Source: S.A.F.E. e.V., Open Charge Metering Format 1.x (OCMF-en.md), tables 1-8, 10, 19, 20.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import cast

from devices import bounded_json
from devices.bounded_json import BadJson, JsonValue
from devices.clock import Instant, iso
from devices.ocmf_faults import Fault, Finding
from devices.ocmf_keys import OWN_ALGORITHM, PublicKey, SigningKey, check_signature

VERSION = "1.0"
BYTES_MAX = 64 * 1024
READINGS_MAX = 1_000
_DIGITS_MAX = 40
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d),(\d{3})([+-]\d\d:?\d\d|Z)(?: ([A-Z]))?")
_PAGE = re.compile(r"([TF])(0|[1-9]\d{0,15})")


class TimeStatus(StrEnum):
    """How far a reading's time may be trusted (table 19)."""

    UNKNOWN = "U"
    INFORMATIVE = "I"
    SYNCHRONISED = "S"
    RELATIVE = "R"


class MeterStatus(StrEnum):
    """The meter's state at a reading (table 10)."""

    NOT_PRESENT = "N"
    GOOD = "G"
    TIMEOUT = "T"
    DISCONNECTED = "D"
    REMOVED = "R"
    MANIPULATED = "M"
    EXCHANGED = "X"
    INCOMPATIBLE = "I"
    OUT_OF_RANGE = "O"
    SUBSTITUTE = "S"
    OTHER_ERROR = "E"
    READ_ERROR = "F"


@dataclass(frozen=True, slots=True)
class MeterReading:
    """One reading (table 7). `value` is None where only an event is told; `reason` is TX, "" outside a transaction."""

    at: Instant
    time: TimeStatus
    value: Decimal | None
    obis: str = ""
    unit: str = ""
    status: MeterStatus = MeterStatus.GOOD
    errors: str = ""
    reason: str = ""
    current: str = ""
    loss: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What a record says. `page` counts up by one per record and `context`: T transaction, F fiscal (none).

    `more` holds the other top-level fields as they stand: user assignment, charge point, and those beginning with U-Z,
    which are free for the maker.
    """

    context: str
    page: int
    readings: tuple[MeterReading, ...]
    meter_serial: str = ""
    meter_vendor: str = ""
    meter_model: str = ""
    meter_firmware: str = ""
    gateway: str = ""
    gateway_serial: str = ""
    gateway_version: str = ""
    more: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue], hash=False)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed record with the bytes that were signed."""

    record: Record
    payload: bytes
    algorithm: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """No record: every fault that was found."""

    findings: tuple[Finding, ...]


_TEXTS = {
    "MV": "meter_vendor",
    "MM": "meter_model",
    "MS": "meter_serial",
    "MF": "meter_firmware",
    "GI": "gateway",
    "GS": "gateway_serial",
    "GV": "gateway_version",
}
_OWN = {"FV", "PG", "RD", *_TEXTS}


# -- write --------------------------------------------------------------------------------------------------------


def payload(record: Record) -> bytes:
    """Returns the payload section of a record.

    Raises:
        ValueError: a field of `more` has a name of OCMF's own, or a text holds the separator `|`.
    """
    taken = _OWN & record.more.keys()
    if taken:
        raise ValueError(f"fields of OCMF itself cannot be given as more: {sorted(taken)}")
    fields: dict[str, JsonValue] = {"FV": VERSION}
    names = {name: key for key, name in _TEXTS.items()}
    for name in ("gateway", "gateway_serial", "gateway_version"):
        _put(fields, names[name], str(getattr(record, name)))
    fields["PG"] = f"{record.context}{record.page}"
    for name in ("meter_vendor", "meter_model", "meter_serial", "meter_firmware"):
        _put(fields, names[name], str(getattr(record, name)))
    fields.update(record.more)
    head = bounded_json.compact(fields)[:-1]
    written = head + b',"RD":[' + b",".join(_written(record.readings)) + b"]}"
    if b"|" in written:
        raise ValueError("`|` separates the sections of OCMF and cannot stand in one")
    return written


def sign(section: bytes, key: SigningKey) -> bytes:
    """Returns the whole record for a payload section, signed with the gateway's key (DER, hex)."""
    signature = bounded_json.compact({"SA": OWN_ALGORITHM, "SD": key.sign(section).hex()})
    return b"OCMF|" + section + b"|" + signature


def _put(fields: dict[str, JsonValue], key: str, text: str) -> None:
    if text:
        fields[key] = text


def _written(readings: Sequence[MeterReading]) -> list[bytes]:
    """Returns the readings; a field that is as in the reading before is left out, as OCMF asks."""
    written: list[bytes] = []
    before: dict[str, str] = {}
    for reading in readings:
        texts = {
            "TM": _time_text(reading),
            "TX": reading.reason,
            "RI": reading.obis,
            "RU": reading.unit,
            "RT": reading.current,
            "EF": reading.errors,
            "ST": reading.status.value,
        }
        grouped = texts["RI"] != before.get("RI", "") or texts["RU"] != before.get("RU", "")
        told = {
            key: text
            for key, text in texts.items()
            if text != before.get(key, "") or key in ("TM", "ST") or (grouped and key in ("RI", "RU"))
        }
        before = texts
        numbers = [
            f'"{key}":{value:f}' for key, value in (("RV", reading.value), ("CL", reading.loss)) if value is not None
        ]
        parts = [f'"{key}":{json.dumps(text)}' for key, text in told.items()]
        written.append(("{" + ",".join([*parts[:1], *numbers, *parts[1:]]) + "}").encode())
    return written


def _time_text(reading: MeterReading) -> str:
    text = iso(Instant(reading.at - reading.at % 1000)).removesuffix("Z")
    return f"{text},{reading.at % 1000:03d}+0000 {reading.time.value}"


# -- read ---------------------------------------------------------------------------------------------------------


def parse(data: bytes | str) -> Document | Refused:
    """Returns the record that a text holds, or everything that is wrong with it."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > BYTES_MAX:
        return _refused(Fault.TOO_LARGE, "record", f"{len(raw)} bytes, at most {BYTES_MAX}")
    sections = raw.strip().split(b"|")
    if len(sections) not in (2, 3) or sections[0].strip() != b"OCMF":
        return _refused(Fault.NOT_OCMF, "record", "not OCMF|payload|signature")
    if len(sections) == 2:
        return _refused(Fault.NO_SIGNATURE, "record")
    found: list[Finding] = []
    body = _object(sections[1], "payload", found)
    seal = _object(sections[2], "signature", found)
    if body is None or seal is None:
        return Refused(tuple(found))
    record = _record(body, found)
    signature = _signature(seal, found)
    if found or record is None or signature is None:
        return Refused(tuple(found))
    return Document(record, sections[1], _text(seal, "SA", "signature", found) or OWN_ALGORITHM, signature)


def verify(document: Document, key: PublicKey) -> Fault | None:
    """Returns None where the key's owner signed exactly these bytes, else what is wrong."""
    return check_signature(document.payload, document.signature, document.algorithm, key)


def judge(document: Document) -> tuple[Finding, ...]:
    """Returns what forbids to bill by an authentic record: a falling register, a bad state, an unsure clock."""
    found: list[Finding] = []
    last: dict[str, MeterReading] = {}
    at = Instant(0)
    for number, reading in enumerate(document.record.readings):
        where = f"RD[{number}]"
        if reading.value is None:
            found.append(Finding(Fault.NO_READING, where))
        if reading.status is not MeterStatus.GOOD:
            found.append(Finding(Fault.METER_STATUS, where, reading.status.name.lower()))
        if reading.errors:
            found.append(Finding(Fault.ERROR_FLAG, where, reading.errors))
        if reading.time in (TimeStatus.UNKNOWN, TimeStatus.INFORMATIVE):
            found.append(Finding(Fault.CLOCK_UNSURE, where, reading.time.name.lower()))
        if reading.at < at:
            found.append(Finding(Fault.TIME_WENT_BACK, where, iso(reading.at)))
        at = max(at, reading.at)
        before = last.get(reading.obis)
        if before is not None and before.value is not None and reading.value is not None:
            if before.unit != reading.unit:
                found.append(Finding(Fault.UNIT_CHANGED, where, f"{before.unit} to {reading.unit}"))
            elif reading.value < before.value:
                found.append(Finding(Fault.REGISTER_FELL, where, f"{before.value} to {reading.value}"))
        last[reading.obis] = reading
    return tuple(found)


def judge_series(documents: Sequence[Document]) -> tuple[Finding, ...]:
    """Returns what is wrong between records that should follow each other: page gaps, another meter."""
    found: list[Finding] = []
    for before, after in itertools.pairwise(documents):
        old, new = before.record, after.record
        where = f"{new.context}{new.page}"
        if (old.context, old.page + 1) != (new.context, new.page):
            found.append(Finding(Fault.PAGE_GAP, where, f"after {old.context}{old.page}"))
        if (old.gateway_serial, old.meter_serial) != (new.gateway_serial, new.meter_serial):
            found.append(Finding(Fault.OTHER_METER, where, f"{new.gateway_serial}/{new.meter_serial}"))
    return tuple(found)


def _refused(fault: Fault, where: str, seen: str = "") -> Refused:
    return Refused((Finding(fault, where, seen),))


def _object(section: bytes, where: str, found: list[Finding]) -> dict[str, JsonValue] | None:
    try:
        value = bounded_json.parse(section, BYTES_MAX, depth_max=8)
        if isinstance(value, dict):
            if "RD" in value:  # again, with every digit
                value["RD"] = cast("dict[str, JsonValue]", _DECODER.decode(section.decode()))["RD"]
            return value
    except (BadJson, ArithmeticError) as error:
        found.append(Finding(Fault.BAD_JSON, where, str(error)[:120]))
        return None
    found.append(Finding(Fault.BAD_JSON, where, "not an object"))
    return None


def _record(body: dict[str, JsonValue], found: list[Finding]) -> Record | None:
    page = _PAGE.fullmatch(_text(body, "PG", "payload", found))
    if page is None:
        found.append(Finding(Fault.BAD_PAGINATION, "PG", f"{body.get('PG')!r:.40}"))
    texts = {name: _text(body, key, "payload", found) for key, name in _TEXTS.items()}
    if not texts["meter_serial"] and not texts["gateway_serial"]:
        found.append(Finding(Fault.MISSING_FIELD, "MS", "neither a meter's nor a gateway's serial number"))
    listed = body.get("RD")
    readings: list[MeterReading] = []
    if not isinstance(listed, list) or not 0 < len(listed) <= READINGS_MAX:
        found.append(Finding(Fault.MISSING_FIELD, "RD", f"not a list of 1 to {READINGS_MAX} readings"))
        listed = []
    inherited: dict[str, JsonValue] = {}
    for number, entry in enumerate(listed):
        where = f"RD[{number}]"
        if not isinstance(entry, dict):
            found.append(Finding(Fault.BAD_FIELD, where, "not an object"))
            continue
        inherited = {**inherited, **{key: value for key, value in entry.items() if key not in ("RV", "CL")}}
        reading = _reading(entry, inherited, where, found)
        if reading is not None:
            readings.append(reading)
    if page is None or not readings:
        return None
    more = {key: value for key, value in body.items() if key not in _OWN}
    return Record(page[1], int(page[2]), tuple(readings), more=more, **texts)


def _reading(
    entry: dict[str, JsonValue], known: dict[str, JsonValue], where: str, found: list[Finding]
) -> MeterReading | None:
    text = _text(known, "TM", where, found)
    time = _TIME.fullmatch(text)
    at = None if time is None else _instant(time)
    if time is None or at is None or time[4] not in [None, *TimeStatus]:
        found.append(Finding(Fault.BAD_TIME, f"{where}.TM", text[:60]))
        return None
    status = _text(known, "ST", where, found)
    if status not in list(MeterStatus):
        fault = Fault.BAD_FIELD if status else Fault.MISSING_FIELD
        found.append(Finding(fault, f"{where}.ST", status[:20]))
        return None
    return MeterReading(
        at,
        TimeStatus(time[4] or "U"),
        _number(entry, "RV", where, found),
        _text(known, "RI", where, found),
        _text(known, "RU", where, found),
        MeterStatus(status),
        _text(known, "EF", where, found),
        _text(known, "TX", where, found),
        _text(known, "RT", where, found),
        _number(entry, "CL", where, found),
    )


def _instant(time: re.Match[str]) -> Instant | None:
    try:
        moment = datetime.fromisoformat(time[1] + time[3])
        return Instant(round(moment.timestamp()) * 1000 + int(time[2]))
    except (ValueError, OverflowError):
        return None


def _signature(seal: dict[str, JsonValue], found: list[Finding]) -> bytes | None:
    text = _text(seal, "SD", "signature", found)
    if not text:
        found.append(Finding(Fault.NO_SIGNATURE, "SD"))
        return None
    encoding = _text(seal, "SE", "signature", found) or "hex"
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        if encoding == "base64":
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        found.append(Finding(Fault.BAD_SIGNATURE, "SD", str(error)))
        return None
    found.append(Finding(Fault.BAD_SIGNATURE, "SE", encoding[:20]))
    return None


def _text(fields: Mapping[str, JsonValue], key: str, where: str, found: list[Finding]) -> str:
    value = fields.get(key, "")
    if isinstance(value, str):
        return value
    found.append(Finding(Fault.BAD_FIELD, f"{where}.{key}", "not a text"))
    return ""


def _number(fields: Mapping[str, JsonValue], key: str, where: str, found: list[Finding]) -> Decimal | None:
    value: object = fields.get(key)
    if value is None:
        return None
    if type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal) or abs(value.adjusted()) > _DIGITS_MAX or len(f"{value:f}") > _DIGITS_MAX:
        found.append(Finding(Fault.BAD_FIELD, f"{where}.{key}", "not a number of sane length"))
        return None
    return value


_DECODER = json.JSONDecoder(parse_float=Decimal)
