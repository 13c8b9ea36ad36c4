"""The site file's schema: every key with its type, unit and range. `atoll check --schema` prints it as JSON Schema."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from controller.site_care_schema import ColdBoxTable
from controller.site_community_schema import (
    ArrearsTable,
    CharterTable,
    LedgerTable,
    MemberTable,
    TreasuryTable,
    VoteTable,
)
from controller.site_device_schema import BreakerDevice, RelayDevice, SensorDevice, SwitchDevice, VehicleDevice
from controller.site_emergency import EmergencyTable
from controller.site_energy_schema import (
    ApplianceTable,
    BatteryDevice,
    ChargerDevice,
    FeederTable,
    ForecastTable,
    GensetDevice,
    GridDevice,
    GridTable,
    IslandTable,
    MeterDevice,
    PvDevice,
    ReserveTable,
    ShedTierTable,
    ThermalDevice,
)
from controller.site_farm_schema import BatchTable, ClimateTable, CropTable, FieldTable, FoodStoreTable
from controller.site_network_schema import NetworkTable
from controller.site_types import DAYS, ClockTime, Day, Fraction, Id, Table
from controller.site_waste_schema import DigesterTable, YardTable
from controller.site_water_schema import (
    FlowMeterDevice,
    PumpDevice,
    TankDevice,
    WaterMetersDevice,
    WaterTable,
    WaterZoneTable,
    WellTable,
)
from controller.site_work_schema import CrewTable, MachineTable, WorkTable
from controller.site_zones_schema import AuthorisationTable, ZoneTable


class SiteTable(Table):
    """Who and where."""

    id: Id
    name: Annotated[str, Field(min_length=1, max_length=80)]
    timezone: Annotated[str, Field(description="IANA name, for example Pacific/Auckland")]
    latitude: Annotated[float, Field(ge=-90, le=90, description="Degrees north")]
    longitude: Annotated[float, Field(ge=-180, le=180, description="Degrees east")]


class ControlTable(Table):
    """How often things happen."""

    cycle_ms: Annotated[int, Field(ge=1000, le=60_000, description="Control cycle [ms]")] = 1000
    replan_ms: Annotated[int, Field(ge=60_000, le=86_400_000, description="Time between plans [ms]")] = 300_000
    plan_slots: Annotated[int, Field(ge=4, le=192, description="Plan length in 15-min slots")] = 96
    island_reserve_fraction: Fraction = 0.25


class BrokerTable(Table):
    """Who may use the broker; the logins are made from the devices (`atoll access`)."""

    anonymous: Annotated[bool, Field(description="Clients without a login may do everything, as without logins")] = True


class GatewayTable(Table):
    """One edge gateway."""

    id: Id
    poll_ms: Annotated[int, Field(ge=200, le=900_000, description="Poll period [ms]")] = 1000


Device = Annotated[
    GridDevice
    | MeterDevice
    | PvDevice
    | BatteryDevice
    | GensetDevice
    | PumpDevice
    | TankDevice
    | WaterMetersDevice
    | ChargerDevice
    | ThermalDevice
    | SwitchDevice
    | RelayDevice
    | BreakerDevice
    | FlowMeterDevice
    | SensorDevice
    | VehicleDevice,
    Field(discriminator="kind"),
]


class JobTable(Table):
    """A job that comes every day and is started once inside its window."""

    id: Id
    kind: Literal["irrigation", "parcel"]
    device: Id
    place: Id
    window: Annotated[list[ClockTime], Field(min_length=2, max_length=2)]
    duration_ms: Annotated[int, Field(ge=60_000, le=86_400_000)]
    power_w: Annotated[float, Field(ge=0, le=1e6, description="Mean power while it runs [W]")]
    water_l: Annotated[float, Field(ge=0, le=1e6, description="Water taken from the tank [L]")] = 0.0
    skip_price: Annotated[float, Field(ge=0, le=1e6)]


class DeliveryTable(Table):
    """Something that is brought, fetched or moved on some days; rounds and flights are planned of all of them."""

    id: Id
    kind: Annotated[
        Literal["parcel", "waste", "transfer", "medicine"],
        Field(description="parcel and medicine: from the dock; waste: to the dock; transfer: from from_place"),
    ]
    place: Id
    from_place: Id | None = None
    window: Annotated[list[ClockTime], Field(min_length=2, max_length=2, description="It begins there within")]
    days: Annotated[list[Day], Field(min_length=1)] = list(DAYS)
    ready_at: Annotated[ClockTime | None, Field(description="At the dock from this time on")] = None
    mass_kg: Annotated[float, Field(ge=0, le=1e4)] = 1.0
    service_ms: Annotated[int, Field(ge=1000, le=3_600_000, description="Time at the place [ms]")] = 60_000
    priority: Annotated[int, Field(ge=1, le=9, description="9 first; medicine comes before all parcels anyway")] = 5
    by: Annotated[Literal["ground", "air", "any"] | None, Field(description="medicine: any; else ground")] = None
    member: Annotated[Id | None, Field(description="Whose it is")] = None
    store: Annotated[Id | None, Field(description="The food store that it comes out of")] = None


class PlaceTable(Table):
    """A place that orders name, in metres east and north of the village square."""

    id: Id
    x: Annotated[float, Field(ge=-1e5, le=1e5)]
    y: Annotated[float, Field(ge=-1e5, le=1e5)]


class BusTable(Table):
    """One bus as a whole."""

    endpoint: Annotated[str, Field(min_length=1, max_length=220, description="The same text as in its devices")]
    read_only: Annotated[bool, Field(description="No write frame ever leaves on this bus")] = False


class InterlockTable(Table):
    """A rule at the gateway that stops `device` while a reading is outside [low, high], bad or old."""

    id: Id
    rule: Literal[
        "battery-limits",
        "pump-dry-run",
        "pump-no-flow",
        "tank-overflow",
        "genset-cooldown",
        "relay-max-on",
        "feeder-trip",
        "people-zone",
    ]
    version: Annotated[int, Field(ge=1, description="Count up when the rule changes; it stands in every log line")] = 1
    device: Annotated[Id, Field(description="Whose output is stopped")]
    sensor: Annotated[Id | None, Field(description="Whose reading decides; default: the device itself")] = None
    point: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Which reading")] = None
    low: Annotated[float | None, Field(description="Below this it stops")] = None
    high: Annotated[float | None, Field(description="Above this it stops")] = None
    delay_ms: Annotated[int | None, Field(ge=0, le=600_000, description="Outside for so long before it stops")] = None
    clear_ms: Annotated[int | None, Field(ge=0, le=86_400_000, description="Inside for so long before it lets go")] = (
        None
    )
    latch: Annotated[bool | None, Field(description="Once stopped, a person at the gateway resets it")] = None
    stops: Annotated[Literal["both", "charge", "discharge"], Field(description="Which direction it stops")] = "both"
    max_on_ms: Annotated[int, Field(ge=0, le=604_800_000, description="relay-max-on: longest run")] = 0
    min_rest_ms: Annotated[int, Field(ge=0, le=86_400_000, description="relay-max-on, genset-cooldown: rest")] = 0


class SimulateTable(Table):
    """Where simulated time begins."""

    start: Annotated[str, Field(description="ISO 8601 with UTC offset")]


class SiteFile(Table):
    """The whole site file."""

    schema_version: Annotated[Literal[1], Field(alias="schema")]
    site: SiteTable
    grid: GridTable
    water: WaterTable
    control: ControlTable = ControlTable()
    charter: CharterTable
    broker: BrokerTable = BrokerTable()
    gateway: Annotated[list[GatewayTable], Field(min_length=1)]
    member: Annotated[list[MemberTable], Field(min_length=1)]
    device: Annotated[list[Device], Field(min_length=1)]
    job: list[JobTable] = []
    place: list[PlaceTable] = []
    interlock: list[InterlockTable] = []
    well: Annotated[list[WellTable], Field(max_length=32)] = []
    water_zone: Annotated[list[WaterZoneTable], Field(max_length=8)] = []
    cold_box: Annotated[list[ColdBoxTable], Field(max_length=32)] = []
    climate: ClimateTable | None = None
    field: Annotated[list[FieldTable], Field(max_length=100)] = []
    crop: Annotated[list[CropTable], Field(max_length=100)] = []
    batch: Annotated[list[BatchTable], Field(max_length=500)] = []
    food_store: Annotated[list[FoodStoreTable], Field(max_length=16)] = []
    digester: Annotated[list[DigesterTable], Field(max_length=8)] = []
    yard: Annotated[list[YardTable], Field(max_length=32)] = []
    zone: Annotated[list[ZoneTable], Field(max_length=100)] = []
    flight_authorisation: list[AuthorisationTable] = []
    delivery: list[DeliveryTable] = []
    arrears: ArrearsTable = ArrearsTable()
    vote: VoteTable = VoteTable()
    treasury: TreasuryTable = TreasuryTable()
    bus: list[BusTable] = []
    machine: list[MachineTable] = []
    crew: list[CrewTable] = []
    work: list[WorkTable] = []
    emergency: EmergencyTable = EmergencyTable()
    network: NetworkTable | None = None
    island: Annotated[list[IslandTable], Field(max_length=100)] = []
    reserve: ReserveTable = ReserveTable()
    forecast: ForecastTable = ForecastTable()
    shed_tier: Annotated[list[ShedTierTable], Field(max_length=20)] = []
    appliance: Annotated[list[ApplianceTable], Field(max_length=200)] = []
    feeder: Annotated[list[FeederTable], Field(max_length=50)] = []
    simulate: SimulateTable | None = None
    ledger: LedgerTable = LedgerTable()
