"""The site file's tables of energy: the connection, and the devices that make, keep or take power."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from controller.site_device_schema import BusDeviceTable, ChargeSimulation, NoTable, ProfileSimulation
from controller.site_types import DAYS, ClockTime, Day, Fraction, Id, Power, Table


class TripLimitTable(Table):
    """What every inverter's own trip settings must keep to: leave the line after ms_min to ms_max at that level."""

    side: Annotated[Literal["low", "high"], Field(description="On which side of nominal the level lies")]
    at_pct: Annotated[float | None, Field(ge=0, le=200, description="Voltage [% of nominal]; or at_hz")] = None
    at_hz: Annotated[float | None, Field(ge=40, le=70, description="Frequency [Hz]; or at_pct")] = None
    ms_min: Annotated[int, Field(ge=0, le=3_600_000, description="It must ride through for so long [ms]")] = 0
    ms_max: Annotated[int | None, Field(ge=0, le=3_600_000, description="Off by then [ms]; none: may stay")] = None


class GridTable(Table):
    """The connection to the outside."""

    import_limit_w: Annotated[float, Field(ge=0, le=1e8, description="Feeder limit inwards [W]")]
    export_limit_w: Annotated[float, Field(ge=0, le=1e8, description="Feeder limit outwards [W]")]
    peak_price: Annotated[float, Field(ge=0, le=1e4, description="Capacity charge per kW of the month's peak")] = 0.0
    trip_limit: Annotated[list[TripLimitTable], Field(description="Trip settings that the grid operator allows")] = []


class IslandTable(Table):
    """A time without the outside that is known beforehand, such as work on the line."""

    start: Annotated[str, Field(alias="from", description="ISO 8601 with UTC offset")]
    end: Annotated[str, Field(alias="until", description="ISO 8601 with UTC offset")]


class ReserveTable(Table):
    """What plans keep ready for what no forecast knows."""

    spinning_fraction: Annotated[Fraction, Field(description="Headroom on an island, as a part of the load")] = 0.2
    spinning_price: Annotated[float, Field(ge=0, le=1e4, description="Per kW and hour missing")] = 0.5
    outage_ms: Annotated[
        int, Field(ge=0, le=86_400_000, description="While the grid is there: critical load carried so long [ms]")
    ] = 0
    outage_price: Annotated[float, Field(ge=0, le=1e4, description="Per kWh missing and slot")] = 0.2


class ForecastTable(Table):
    """What helps to forecast load and sun; nothing of it is needed."""

    weather: Annotated[
        str, Field(max_length=200, description="File with hourly weather (JSON or CSV), in the hub's data directory")
    ] = ""
    weather_age_ms_max: Annotated[
        int, Field(ge=3_600_000, le=7 * 86_400_000, description="Weather issued longer ago is not used [ms]")
    ] = 86_400_000


class ShedTierTable(Table):
    """Usage points whose load above the lifeline may be shed at a price of its own, the cheapest tier first."""

    id: Id
    usage_points: Annotated[list[Id], Field(min_length=1, description="Meters")]
    price: Annotated[float, Field(gt=0, le=1e4, description="Per kWh not served")]


class ApplianceTable(Table):
    """Something on a relay that runs once on each of its days, inside a window; the plan chooses when."""

    id: Id
    device: Annotated[Id, Field(description="Relay")]
    power_w: Annotated[float, Field(gt=0, le=1e6, description="Mean power while it runs [W]")]
    duration_ms: Annotated[int, Field(ge=60_000, le=86_400_000)]
    window: Annotated[list[ClockTime], Field(min_length=2, max_length=2)]
    days: Annotated[list[Day], Field(min_length=1)] = list(DAYS)
    interruptible: Annotated[bool, Field(description="It may pause; otherwise it runs in one piece")] = False
    skip_price: Annotated[float, Field(ge=0, le=1e6, description="Of a run that is left out")] = 5.0


class FeederTable(Table):
    """A line to some of the devices, with limits of its own; solar behind a named meter is on it too."""

    id: Id
    devices: Annotated[list[Id], Field(min_length=1)]
    import_limit_w: Annotated[float, Field(ge=0, le=1e8, description="Towards its devices [W]")]
    export_limit_w: Annotated[float, Field(ge=0, le=1e8, description="Away from them [W]")]
    price: Annotated[float, Field(gt=0, le=1e4, description="In plans: per kWh above a limit")] = 50.0


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
    wear_price: Annotated[float, Field(ge=0, le=10, description="Per kWh discharged")] = 0.01


class BatteryDevice(BusDeviceTable):
    """A battery storage."""

    kind: Literal["battery"]
    forms_grid: Annotated[bool, Field(description="Its inverter can hold an island")] = True
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
    ramp_w_per_min: Annotated[float | None, Field(gt=0, le=1e8, description="Fastest change while it runs")] = None
    kwh_per_l: Annotated[float | None, Field(gt=0, le=12, description="Of a litre; without it fuel never ends")] = None


class FuelSimulation(Table):
    """Fuel at the start of a simulation."""

    fuel: Fraction


class GensetDevice(BusDeviceTable):
    """A diesel genset."""

    kind: Literal["genset"]
    ratings: GensetRatings
    simulate: FuelSimulation = FuelSimulation(fuel=0.8)


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


class DrawTable(Table):
    """Heat (or cold) that people take every day at about that time."""

    at: ClockTime
    energy_wh: Annotated[float, Field(gt=0, le=1e6)]


class ThermalRatings(Table):
    """What a store holds and loses; energy is counted from the temperature of its surroundings."""

    power_w_max: Power
    wh_per_k: Annotated[float, Field(gt=0, le=1e6, description="Water: 1.16 per litre [Wh/K]")]
    loss_w_per_k: Annotated[float, Field(ge=0, le=1e4, description="To its surroundings [W/K]")]
    low_c: Annotated[float, Field(ge=-50, le=120, description="Comfort begins, or the coldest [deg C]")]
    high_c: Annotated[float, Field(ge=-50, le=120, description="The hottest, or comfort ends [deg C]")]
    ambient_c: Annotated[float, Field(ge=-50, le=60, description="Of its surroundings [deg C]")] = 20.0
    cop: Annotated[float, Field(gt=0, le=10, description="Heat moved per energy taken: a heater 1")] = 1.0


class ThermalSimulation(Table):
    """Temperature at the start of a simulation."""

    celsius: float


class ThermalDevice(BusDeviceTable):
    """A hot-water tank, or a cold room, whose power may be moved in time."""

    kind: Literal["thermal"]
    use: Literal["heat", "cold"] = "heat"
    draws: Annotated[list[DrawTable], Field(max_length=48, description="Of a usual day")] = []
    comfort_price: Annotated[float, Field(ge=0, le=1e3, description="Per kWh and slot outside comfort")] = 0.2
    unserved_price: Annotated[float, Field(ge=0, le=1e3, description="Per kWh drawn that is not there")] = 1.0
    ratings: ThermalRatings
    simulate: ThermalSimulation | None = None


class TripTable(Table):
    """When the vehicle (car, boat) is usually away, and what that takes from its pack."""

    leaves: ClockTime
    returns: ClockTime
    energy_wh: Annotated[float, Field(ge=0, le=1e7, description="Of a usual trip [Wh]")]
    days: Annotated[list[Day], Field(min_length=1, description="On which it leaves")] = list(DAYS)


class ChargerDevice(BusDeviceTable):
    """A charger whose vehicle must hold `ready_soc` at `ready_by` local time."""

    kind: Literal["charger"]
    ready_by: ClockTime
    ready_soc: Annotated[Fraction, Field(description="Of its pack")] = 0.98
    trip: TripTable | None = None
    ratings: ChargerRatings
    simulate: ChargerSimulation = ChargerSimulation(soc=0.4, trip_wh=10_000.0, leaves="07:30", returns="16:30")
