"""The site file's schema: every key with its type, unit and range. `atoll check --schema` prints it as JSON Schema."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Id = Annotated[
    str,
    Field(pattern=r"^[a-z0-9_.-]{1,64}$", description="Id: a-z, 0-9, _ . -, no spaces (it is an MQTT topic level too)"),
]
Fraction = Annotated[float, Field(ge=0.0, le=1.0, description="Fraction 0-1")]
Power = Annotated[float, Field(gt=0, le=1e8, description="Power [W]")]
ClockTime = Annotated[
    str,
    Field(pattern=r"^(?:[01]\d|2[0-3]):[0-5]\d$|^24:00$", description="Local time of day, HH:MM, 24:00 = day's end"),
]
MicroPrice = Annotated[
    int, Field(ge=0, le=10**9, description="Price in micro-units (1e-6 of the currency) per kWh or per m3")
]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Driver = Annotated[
    str,
    Field(
        pattern=r"^(sunspec|vda5050|profile:[a-z0-9_]+(\.[a-z0-9_]+)?)$",
        description="sunspec, vda5050, profile:NAME or profile:NAME.VARIANT (atoll profiles list)",
    ),
]


def minutes(clock_time: str) -> int:
    """Returns minutes since midnight of a checked `HH:MM`."""
    hours, _, rest = clock_time.partition(":")
    return int(hours) * 60 + int(rest)


class Table(BaseModel):
    """A TOML table: unknown keys are refused, values are not converted between types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class SiteTable(Table):
    """Who and where."""

    id: Id
    name: Annotated[str, Field(min_length=1, max_length=80)]
    timezone: Annotated[str, Field(description="IANA name, for example Pacific/Auckland")]
    latitude: Annotated[float, Field(ge=-90, le=90, description="Degrees north")]
    longitude: Annotated[float, Field(ge=-180, le=180, description="Degrees east")]


class GridTable(Table):
    """The connection to the outside."""

    import_limit_w: Annotated[float, Field(ge=0, le=1e8, description="Feeder limit inwards [W]")]
    export_limit_w: Annotated[float, Field(ge=0, le=1e8, description="Feeder limit outwards [W]")]


class WaterTable(Table):
    """Drinking water rules."""

    reserve_fraction: Fraction
    high_fraction: Fraction


class ControlTable(Table):
    """How often things happen."""

    cycle_ms: Annotated[int, Field(ge=1000, le=60_000, description="Control cycle [ms]")] = 1000
    replan_ms: Annotated[int, Field(ge=60_000, le=86_400_000, description="Time between plans [ms]")] = 900_000
    plan_slots: Annotated[int, Field(ge=4, le=192, description="Plan length in 15-min slots")] = 96
    island_reserve_fraction: Fraction = 0.25


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
    bands: Annotated[list[BandTable], Field(min_length=1)]


class GatewayTable(Table):
    """One edge gateway."""

    id: Id
    poll_ms: Annotated[int, Field(ge=200, le=900_000, description="Poll period [ms]")] = 1000


class MemberTable(Table):
    """A party with an account."""

    id: Id
    name: Annotated[str, Field(min_length=1, max_length=80)]
    role: Literal["household", "clinic", "community"]
    lifeline: bool = True
    usage_points: list[Id]
    water_points: list[Id] = []


class DeviceTable(Table):
    """What every device has."""

    id: Id
    driver: Driver


class BusDeviceTable(DeviceTable):
    """A device that a gateway polls over Modbus TCP or on a serial bus."""

    gateway: Id
    endpoint: Annotated[
        str,
        Field(
            pattern=r"^([A-Za-z0-9_.-]+:\d{1,5}|rtu:\S{1,200})$",
            description="host:port, or rtu:/dev/serial/by-id/NAME?baud=9600&parity=N&stop=1",
        ),
    ]
    unit: Annotated[int, Field(ge=0, le=247, description="Modbus unit id")]
    read_only: bool = False


class ProfileSimulation(Table):
    """Which profile column the simulator plays."""

    profile: Id


class NoTable(Table):
    """Nothing to set."""


class GridDevice(BusDeviceTable):
    """The meter at the connection to the outside."""

    kind: Literal["grid"]
    ratings: NoTable = NoTable()
    simulate: NoTable = NoTable()


class MeterDevice(BusDeviceTable):
    """A household's or building's net meter."""

    kind: Literal["meter"]
    critical: bool = False
    ratings: NoTable = NoTable()
    simulate: ProfileSimulation | None = None


class PvRatings(Table):
    """Solar plant."""

    power_w_max: Power


class PvDevice(BusDeviceTable):
    """A PV inverter."""

    kind: Literal["pv"]
    behind: Id | None = None
    ratings: PvRatings
    simulate: ProfileSimulation | None = None


class BatteryRatings(Table):
    """Storage limits; efficiencies one way."""

    energy_wh: Annotated[float, Field(gt=0, le=1e10, description="Usable and unusable energy [Wh]")]
    charge_w_max: Power
    discharge_w_max: Power
    soc_min: Fraction
    soc_max: Fraction
    charge_efficiency: Annotated[float, Field(gt=0.5, le=1.0)]
    discharge_efficiency: Annotated[float, Field(gt=0.5, le=1.0)]


class ChargeSimulation(Table):
    """Charge at the start of a simulation."""

    soc: Fraction


class BatteryDevice(BusDeviceTable):
    """A battery storage."""

    kind: Literal["battery"]
    ratings: BatteryRatings
    simulate: ChargeSimulation = ChargeSimulation(soc=0.5)


class GensetRatings(Table):
    """Diesel set; prices in the charter's currency."""

    power_w_max: Power
    power_w_min: Power
    fuel_l: Annotated[float, Field(gt=0, le=1e6, description="Tank size [L]")]
    fixed_price_per_h: Annotated[float, Field(ge=0, le=1e4)]
    energy_price: Annotated[float, Field(ge=0, le=100, description="Fuel per kWh")]
    start_price: Annotated[float, Field(ge=0, le=1e4)]
    min_up_ms: Annotated[int, Field(ge=0, le=86_400_000)]
    min_down_ms: Annotated[int, Field(ge=0, le=86_400_000)]


class FuelSimulation(Table):
    """Fuel at the start of a simulation."""

    fuel: Fraction


class GensetDevice(BusDeviceTable):
    """A diesel genset."""

    kind: Literal["genset"]
    ratings: GensetRatings
    simulate: FuelSimulation = FuelSimulation(fuel=0.8)


class PumpRatings(Table):
    """An on/off pump."""

    power_w: Power
    flow_lpm: Annotated[float, Field(gt=0, le=1e5, description="Flow [L/min]")]
    max_on_ms: Annotated[int, Field(ge=60_000, le=86_400_000)]
    min_rest_ms: Annotated[int, Field(ge=0, le=86_400_000)]


class PumpDevice(BusDeviceTable):
    """A well pump that fills `tank`."""

    kind: Literal["pump"]
    tank: Id
    ratings: PumpRatings
    simulate: NoTable = NoTable()


class TankRatings(Table):
    """A water tank."""

    volume_l: Annotated[float, Field(gt=0, le=1e8, description="Volume [L]")]


class LevelSimulation(Table):
    """Level at the start of a simulation."""

    level: Fraction


class TankDevice(BusDeviceTable):
    """A level sensor in a tank."""

    kind: Literal["tank"]
    ratings: TankRatings
    simulate: LevelSimulation = LevelSimulation(level=0.6)


class WaterMetersDevice(BusDeviceTable):
    """A pulse counter block; channel n counts usage point `channels[n]`."""

    kind: Literal["water_meters"]
    channels: Annotated[list[Id], Field(min_length=1, max_length=16)]
    ratings: NoTable = NoTable()
    simulate: ProfileSimulation | None = None


class ChargerRatings(Table):
    """A vehicle charger and the pack behind it."""

    power_w_max: Power
    energy_wh: Annotated[float, Field(gt=0, le=1e7, description="Vehicle pack [Wh]")]


class ChargerSimulation(Table):
    """A vehicle's day."""

    soc: Fraction
    trip_wh: Annotated[float, Field(ge=0, le=1e6)]
    leaves: ClockTime
    returns: ClockTime


class ChargerDevice(BusDeviceTable):
    """A charger whose vehicle must be full at `ready_by` local time."""

    kind: Literal["charger"]
    ready_by: ClockTime
    ratings: ChargerRatings
    simulate: ChargerSimulation = ChargerSimulation(soc=0.4, trip_wh=10_000.0, leaves="07:30", returns="16:30")


class VehicleRatings(Table):
    """A robot's or drone's pack."""

    energy_wh: Annotated[float, Field(gt=0, le=1e6)]
    charge_w_max: Power
    soc_reserve: Fraction


class VehicleDevice(DeviceTable):
    """A robot or drone on VDA 5050; it speaks MQTT itself."""

    kind: Literal["robot", "drone"]
    ratings: VehicleRatings
    simulate: ChargeSimulation = ChargeSimulation(soc=0.8)


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


class PlaceTable(Table):
    """A place that orders name, in metres east and north of the village square."""

    id: Id
    x: Annotated[float, Field(ge=-1e5, le=1e5)]
    y: Annotated[float, Field(ge=-1e5, le=1e5)]


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
    gateway: Annotated[list[GatewayTable], Field(min_length=1)]
    member: Annotated[list[MemberTable], Field(min_length=1)]
    device: Annotated[list[Device], Field(min_length=1)]
    job: list[JobTable] = []
    place: list[PlaceTable] = []
    simulate: SimulateTable | None = None
