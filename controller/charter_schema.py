"""The schema of a charter file: every clause with its unit and range; whole numbers only, so one canonical form."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from controller.site_community_schema import BandTable, ClockTolerance
from controller.site_types import Id, MicroPrice, Table

Weights = dict[Id, Annotated[int, Field(ge=0, le=10**6)]]
Energy = dict[Id, Annotated[int, Field(ge=0, le=10**7)]]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Permille = Annotated[int, Field(ge=0, le=1000)]
Moment = Annotated[str, Field(description="ISO 8601 with UTC offset")]


class CommunityTable(Table):
    """One of several communities that members take part in."""

    name: Id
    percent: dict[Id, Annotated[int, Field(ge=0, le=100)]] = Field(
        default_factory=dict[Id, int], description="Member: % of its energy"
    )
    default_percent: Annotated[int, Field(ge=0, le=100)] = 0


class SharingTable(Table):
    """Who gets the community's energy in a slot."""

    key: Literal["static", "proportional", "hourly", "rounds", "participation", "shared-energy", "own-key"]
    weights: Annotated[Weights | None, Field(description="static: member = weight")] = None
    default_weight: Annotated[int, Field(ge=0, le=10**6, description="static, hourly: weight of everybody else")] = 1
    hours: Annotated[
        list[Weights] | None, Field(description="hourly: one table per hour, begun again when they end")
    ] = None
    classes: Annotated[dict[Id, Annotated[int, Field(ge=0, le=9)]] | None, Field(description="rounds: 0 first")] = None
    default_class: Annotated[int, Field(ge=0, le=9, description="rounds: class of everybody else")] = 1
    communities: list[CommunityTable] | None = None
    slots: Annotated[list[Weights] | None, Field(description="own-key: one table per slot (policy lab only)")] = None


class PriceTable(Table):
    """What shared energy costs."""

    rule: Literal["flat", "mid-market", "supply-demand", "bill-sharing", "premium", "shapley"]
    local_price: MicroPrice | None = None
    premium: MicroPrice | None = None
    takers_permille: Permille | None = None
    givers_permille: Permille | None = None
    samples: Annotated[int | None, Field(ge=1, le=1000, description="shapley: orders drawn (policy lab only)")] = None
    seed: Annotated[int | None, Field(ge=0, lt=2**31, description="shapley: of the orders drawn")] = None


class LifelineTable(Table):
    """Blocks per household and local day; nobody's lifeline is cut."""

    wh: Annotated[int, Field(ge=0, le=10**7, description="Per household and day [Wh]")] = 0
    price: MicroPrice = 0
    ml: Annotated[int, Field(ge=0, le=10**8, description="Per household and day [mL]")] = 0
    water_price: MicroPrice = 0
    not_for: list[Id] = Field(default_factory=list[Id], description="Members without a lifeline block")


class FeesTable(Table):
    """What is paid beside the energy, in micro-units."""

    per_bill: MicroPrice = 0
    levy_per_kwh: MicroPrice = 0
    solidarity_per_kwh: Annotated[MicroPrice, Field(description="Solidarity share, into the treasury")] = 0


class NetworkTable(Table):
    """Network fee of one feeder."""

    feeder: Id
    per_kwh: MicroPrice
    members: list[Id]


class ServiceTable(Table):
    """A price of something that is not energy or water."""

    name: Literal["delivery", "robot-hour", "work-credit"]
    price: Annotated[int, Field(ge=0, le=10**12, description="Micro-units per delivery, hour or credit")]


class StorageTable(Table):
    """Who owns stored energy and bears its losses: whose the result of a bill period is."""

    owner: Annotated[Literal["community", "depositor"], Field(description="Who gets what stored energy brings")]
    losses: Annotated[Literal["community", "depositor", "use"], Field(description="Who pays for what is lost")]
    points: Annotated[
        list[Id] | None, Field(min_length=1, description="The storages' meters, all of one member, who keeps them")
    ] = None


class DividendTable(Table):
    """A part of what the community gained in a bill period, paid back to its households in equal parts."""

    permille: Annotated[int, Field(ge=1, le=1000, description="Of the period's gain")]


class QuorumTable(Table):
    """What a change of this charter needs."""

    approvals: Annotated[int, Field(ge=1, le=10_000)]
    of: Annotated[list[Text], Field(description="Approvers' Ed25519 public keys, base64")]
    expires_h: Annotated[int, Field(ge=1, le=24 * 366, description="How long a proposal can be approved [h]")]


class VectorTable(Table):
    """A test vector: one slot and what must come out, so that another program can prove that it reads alike."""

    taken: Energy
    given: Energy
    import_price: MicroPrice
    near: Annotated[dict[Id, str], Field(description="uWh from the community, as decimal strings")]
    sold: dict[Id, str]
    price: Annotated[MicroPrice | None, Field(description="Of shared energy in this slot")] = None


class CharterFile(Table):
    """A charter file."""

    schema_version: Annotated[Literal[1], Field(alias="schema")]
    version: Annotated[int, Field(ge=1, lt=2**31)]
    name: Text
    valid_from: Moment
    valid_to: Moment | None = None
    timezone: Annotated[str, Field(description="IANA name")]
    slot_min: Literal[15] = 15
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    minor_digits: Annotated[int, Field(ge=0, le=4)] = 2
    bill_period: Literal["day", "week", "month"]
    rounding: Literal["half-even-per-bill"] = "half-even-per-bill"
    clock_tolerance_ms: ClockTolerance | None = None
    late_window_h: Annotated[int, Field(ge=1, le=24 * 60)] = 6
    export_price: MicroPrice
    water_price: MicroPrice = 0
    bands: Annotated[list[BandTable], Field(min_length=1, alias="band")]
    sharing: SharingTable
    price: PriceTable
    lifeline: LifelineTable = LifelineTable()
    fees: FeesTable = FeesTable()
    network: list[NetworkTable] = Field(default_factory=list[NetworkTable])
    service: list[ServiceTable] = Field(default_factory=list[ServiceTable])
    storage: StorageTable | None = None
    dividend: DividendTable | None = None
    quorum: QuorumTable
    vector: list[VectorTable] = Field(default_factory=list[VectorTable])
