"""The site file's tables of people, prices, money and the ledger."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from controller.site_types import ClockTime, Day, Id, MicroPrice, Table

ClockTolerance = Annotated[
    int, Field(ge=0, le=900_000, description="Clock error that is billed as it stands [ms]; default: any")
]


class BandTable(Table):
    """One tariff band in civil time."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    start: Annotated[ClockTime, Field(alias="from")]
    end: Annotated[ClockTime, Field(alias="to")]
    days: Annotated[list[Day], Field(min_length=1)]
    import_price: MicroPrice


class CharterTable(Table):
    """The community's published rules."""

    version: Annotated[int, Field(ge=1)]
    valid_from: Annotated[str, Field(description="ISO 8601 with UTC offset")]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217")]
    minor_digits: Annotated[int, Field(ge=0, le=4)] = 2
    export_price: MicroPrice
    local_price: MicroPrice
    sharing: Literal["proportional"]
    lifeline_wh: Annotated[int, Field(ge=0, le=10**7, description="Per household and day [Wh]")]
    lifeline_price: MicroPrice
    lifeline_ml: Annotated[int, Field(ge=0, le=10**8, description="Per household and day [mL]")]
    lifeline_water_price: MicroPrice
    water_price: MicroPrice
    bill_period: Literal["day", "week", "month"]
    clock_tolerance_ms: ClockTolerance | None = None
    bands: Annotated[list[BandTable], Field(min_length=1)]


class MemberTable(Table):
    """A party with an account."""

    id: Id
    name: Annotated[str, Field(min_length=1, max_length=80)]
    role: Literal["household", "clinic", "community"]
    lifeline: bool = True
    usage_points: list[Id]
    water_points: list[Id] = []
    key: (
        Annotated[str, Field(pattern=r"^did:key:z6Mk[1-9A-HJ-NP-Za-km-z]{44}$", description="`atoll key new`")] | None
    ) = None


class WitnessTable(Table):
    """Another machine that cosigns our checkpoints (`atoll witness`)."""

    url: Annotated[
        str, Field(pattern=r"^https?://[^\s/]+(/\S*)?$", description="Where it answers: http://school.local:8440")
    ]
    keys: Annotated[list[str], Field(min_length=1, max_length=2, description="What `atoll witness --keys` prints")]


class LedgerTable(Table):
    """How the ledger is watched from outside."""

    witnesses: Annotated[list[WitnessTable], Field(max_length=16)] = []
    quorum: (
        Annotated[int, Field(ge=1, le=16, description="How many must have cosigned (default: more than half)")] | None
    ) = None
    alarm_after_min: Annotated[int, Field(ge=1, le=100_000, description="Silence that is an alarm [min]")] = 180


class ArrearsStepTable(Table):
    """What follows an unpaid bill; nothing reaches below the lifeline."""

    after_days: Annotated[int, Field(ge=0, le=3650, description="Days after the due date")]
    step: Literal["reminder", "talk", "plan", "limit"]
    keep_percent: Annotated[int, Field(ge=0, le=100, description="Kept of the supply beyond the lifeline [%]")] = 100


class ArrearsTable(Table):
    """When bills are due, and the ladder after that."""

    due_days: Annotated[int, Field(ge=0, le=365, description="Days from a bill to its due date")] = 14
    step: list[ArrearsStepTable] = [ArrearsStepTable(after_days=0, step="reminder")]


class OfficerTable(Table):
    """Somebody who approves spending and closes periods."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    role: Annotated[str, Field(pattern=r"^[a-z-]{1,40}$", description="For example treasurer, auditor, board")]
    key: Annotated[str, Field(pattern=r"^(did:key:z6Mk[1-9A-HJ-NP-Za-km-z]{40,60})?$", description="did:key")] = ""


class TreasuryTable(Table):
    """Who decides about the community's money."""

    approvals: Annotated[int, Field(ge=1, le=20, description="Approvals that spending needs")] = 2
    roles: dict[str, Annotated[int, Field(ge=0, le=20)]] = {}
    proposal_days: Annotated[int, Field(ge=1, le=365, description="Days until a proposal expires")] = 14
    officer: list[OfficerTable] = []


class VoteTable(Table):
    """How the members that have a `key` change the charter, until a voted charter brings a quorum of its own."""

    approvals: Annotated[int | None, Field(ge=1, le=10_000, description="Yes ballots; default: more than half")] = None
    hours: Annotated[int, Field(ge=1, le=24 * 366, description="How long a vote is open [h]")] = 336
