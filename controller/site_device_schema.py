"""The site file's device rows: what every device has, and those of no one subject."""

from __future__ import annotations

from typing import Annotated, Literal, cast

from pydantic import Field, model_validator

from controller.site_types import Driver, Fraction, Id, Power, Table
from controller.site_zones_schema import MavlinkTable, VdaTable


class DeviceTable(Table):
    """What every device has."""

    id: Id
    driver: Driver


class PinTable(Table):
    """One pin of the gateway's 40-pin header."""

    pin: Annotated[int, Field(ge=0, le=27, description="BCM number (GPIO17 = 17, atoll pins)")]
    use: Literal["relay", "switch", "counter", "flow"]
    active_low: Annotated[bool, Field(description="On when the pin is low, as many relay boards are")] = False
    pull: Annotated[Literal["none", "up", "down"], Field(description="Inputs: the Pi's own resistor")] = "none"
    debounce_ms: Annotated[int, Field(ge=0, le=10_000, description="Inputs: must stay so for so long [ms]")] = 0
    boot: Annotated[Literal["off", "on"], Field(description="Relays: at the gateway's start")] = "off"
    fail: Annotated[Literal["off", "on"], Field(description="Relays: at the gateway's end")] = "off"
    ml_per_pulse: Annotated[float, Field(ge=0, le=1e6, description="Pulses: volume of one [mL]")] = 0.0
    flow_lpm_max: Annotated[float, Field(ge=0, le=1e5, description="Pulses: faster ones are noise [L/min]")] = 0.0
    direction: (
        Annotated[int, Field(ge=0, le=27, description="Pulses: BCM number of the meter's direction output")] | None
    ) = None
    reverse: Annotated[Literal["high", "low"], Field(description="Level of `direction` when water runs back")] = "high"


class BusDeviceTable(DeviceTable):
    """A device that a gateway polls over Modbus TCP or on a serial bus."""

    gateway: Id
    endpoint: Annotated[
        str,
        Field(
            pattern=r"^(mqtt:[A-Za-z0-9_./-]{1,100}|[A-Za-z0-9_.-]+:\d{1,5}|rtu:\S{1,200}|gpio:header)$",
            description="host:port, rtu:/dev/serial/by-id/NAME?baud=9600&parity=N&stop=1, mqtt:TOPIC (pins: none)",
        ),
    ]
    unit: Annotated[int, Field(ge=0, le=247, description="Modbus unit id")]
    read_only: bool = False
    hazardous: Annotated[bool, Field(description="Its leases last 3 s: told again every second, or it falls back")] = (
        False
    )
    pins: Annotated[dict[str, PinTable], Field(description="Point -> pin, for gpio:header", max_length=28)] = {}

    @model_validator(mode="before")
    @classmethod
    def _pins_need_no_address(cls, values: object) -> object:
        """Pins have no endpoint and no unit to write down."""
        if isinstance(values, dict) and values.get("driver") == "gpio:header":  # pyright: ignore[reportUnknownMemberType]
            return {"endpoint": "gpio:header", "unit": 0, **values}  # pyright: ignore[reportUnknownVariableType]
        return values  # pyright: ignore[reportUnknownVariableType]

    @model_validator(mode="before")
    @classmethod
    def _needs_no_unit(cls, table: object) -> object:
        """A device that speaks MQTT has a topic and no unit id."""
        if not isinstance(table, dict):
            return table
        keys = cast("dict[str, object]", table)
        return {"unit": 0, **keys} if str(keys.get("driver", "")).startswith("mqtt:") else keys


class ProfileSimulation(Table):
    """Which profile column the simulator plays."""

    profile: Id


class NoTable(Table):
    """Nothing to set."""


class ChargeSimulation(Table):
    """Charge at the start of a simulation."""

    soc: Fraction


class SwitchDevice(BusDeviceTable):
    """A contact that is on or off: a float, a door, a person sensor."""

    kind: Literal["switch"]
    ratings: NoTable = NoTable()
    simulate: NoTable = NoTable()


class ShownSimulation(Table):
    """What a sensor shows all the time in a simulation; one in a cold box is played without."""

    level: Fraction | None = None
    celsius: Annotated[float, Field(ge=-60, le=80)] | None = None


class SensorDevice(BusDeviceTable):
    """Something that only measures: a thermometer, a level in a well, a soil probe. Its points are its profile's."""

    kind: Literal["sensor"]
    ratings: NoTable = NoTable()
    simulate: ShownSimulation | None = None


class RelayRatings(Table):
    """How long a relay may be on, and must be off."""

    max_on_ms: Annotated[int, Field(ge=1000, le=604_800_000, description="On for so long at most [ms]")] = 86_400_000
    min_rest_ms: Annotated[int, Field(ge=0, le=86_400_000, description="Off for so long at least [ms]")] = 0


class RelaySimulation(Table):
    """What the simulator has behind a relay with a meter."""

    power_w: Annotated[float, Field(ge=0, le=1e5)]


class ShedSwitch(Table):
    """Load of the home behind it that the hub may switch off in a shortage, with the home's shed tier."""

    power_w: Annotated[float, Field(gt=0, le=1e6, description="What it usually switches off [W]")]
    on: Annotated[
        Literal["served", "shed"],
        Field(description='"shed": on, it opens a contactor: a dead hub or gateway sheds nothing'),
    ] = "shed"


class RelayDevice(BusDeviceTable):
    """An output that is on or off: a valve, a lamp, the release of a zone. Off unless told, every second."""

    kind: Literal["relay"]
    hazardous: bool = True
    behind: Annotated[Id | None, Field(description="Meter of the home that it is in")] = None
    shed: Annotated[ShedSwitch | None, Field(description="It switches load of a shed tier")] = None
    ratings: RelayRatings = RelayRatings()
    simulate: RelaySimulation | None = None


class BreakerDevice(BusDeviceTable):
    """A motor-driven breaker: operated by people, in two steps, and opened by interlocks."""

    kind: Literal["breaker"]
    island: Annotated[bool, Field(description="It is the tie to the outside grid: open, the village is an island")] = (
        False
    )
    ratings: NoTable = NoTable()
    simulate: NoTable = NoTable()


class VehicleRatings(Table):
    """A robot's or drone's pack."""

    energy_wh: Annotated[float, Field(gt=0, le=1e6)]
    charge_w_max: Power
    soc_reserve: Fraction
    payload_kg: Annotated[
        float | None, Field(gt=0, le=1e4, description="Most that it carries (80; a drone 1) [kg]")
    ] = None
    speed_mps: Annotated[float | None, Field(gt=0, le=50, description="Usual speed (1; a drone 10) [m/s]")] = None
    wh_per_km: Annotated[float | None, Field(gt=0, le=1e4, description="Of a ground robot (25) [Wh/km]")] = None


class VehicleDevice(DeviceTable):
    """A robot or drone on VDA 5050; it speaks MQTT itself, or `atoll drone` speaks for it (`mavlink`)."""

    kind: Literal["robot", "drone"]
    ratings: VehicleRatings
    vda5050: VdaTable | None = None
    mavlink: MavlinkTable | None = None
    simulate: ChargeSimulation = ChargeSimulation(soc=0.8)
