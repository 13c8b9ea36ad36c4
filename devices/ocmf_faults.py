"""What can be wrong with an OCMF record, by name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """Why a record cannot be read, is not authentic, or does not say what a bill needs."""

    # it cannot be read
    NOT_OCMF = "not-ocmf"
    TOO_LARGE = "too-large"
    BAD_JSON = "bad-json"
    MISSING_FIELD = "missing-field"
    BAD_FIELD = "bad-field"
    BAD_PAGINATION = "bad-pagination"
    BAD_TIME = "bad-time"
    NO_SIGNATURE = "no-signature"
    BAD_SIGNATURE = "bad-signature"  # its text or form is none
    # it is not authentic, or nobody can tell
    BAD_KEY = "bad-key"
    UNKNOWN_ALGORITHM = "unknown-algorithm"
    UNSUPPORTED_CURVE = "unsupported-curve"
    WRONG_CURVE = "wrong-curve"  # the key is of another curve than the record names
    WRONG_SIGNATURE = "wrong-signature"
    # it is authentic and still no ground for a bill
    NO_READING = "no-reading"
    REGISTER_FELL = "register-fell"
    TIME_WENT_BACK = "time-went-back"
    UNIT_CHANGED = "unit-changed"
    METER_STATUS = "meter-status"
    ERROR_FLAG = "error-flag"
    CLOCK_UNSURE = "clock-unsure"
    # between records
    PAGE_GAP = "page-gap"
    OTHER_METER = "other-meter"
    # a meter-day
    NOT_A_METER_DAY = "not-a-meter-day"
    DELTAS_DISAGREE = "deltas-disagree"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, with the place in the record and what was seen there."""

    fault: Fault
    where: str
    seen: str = ""

    def __str__(self) -> str:
        return f"{self.fault}: {self.where}" + (f": {self.seen}" if self.seen else "")
