"""The site file's tables of water: the drinking reserve, rationing, wells, pumps and plants, tanks and meters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from controller.site_device_schema import BusDeviceTable, NoTable, ProfileSimulation
from controller.site_types import Fraction, Id, Power, Table

Flow = Annotated[float, Field(ge=0, le=1e5, description="Flow [L/min]")]
MoneyPerM3 = Annotated[float, Field(ge=0, le=1e4, description="Money per m3, in the charter's currency")]


class TierTable(Table):
    """A part of what people use above the lifeline, rationed when there is too little; the cheapest goes first."""

    name: Id
    share: Annotated[float, Field(gt=0, le=1, description="Of the use above the lifeline")]
    price: MoneyPerM3


class WaterTable(Table):
    """Drinking water rules; the lifeline litres stand in the charter (`lifeline_ml`)."""

    reserve_fraction: Fraction
    high_fraction: Fraction
    tier: Annotated[list[TierTable], Field(max_length=8)] = []


class WellTable(Table):
    """A borehole that pumps name as their `source`. Without a sensor it is planned to give its yield and no more."""

    id: Id
    yield_lpm: Annotated[float, Field(ge=0, le=1e5, description="What flows in [L/min]")]
    storage_l: Annotated[float, Field(ge=0, le=1e8, description="Between pump intake and the level at rest [L]")] = 0.0
    dry_fraction: Annotated[
        float, Field(ge=0, lt=1, description="Of `storage_l`: plans leave so much, and pumps stop there")
    ] = 0.0
    limit_l_per_day: Annotated[float, Field(gt=0, le=1e9, description="Licence or salt limit [L]")] | None = None
    sensor: Annotated[Id | None, Field(description="A sensor whose `level` is the part of `storage_l` there")] = None


class WaterZoneTable(Table):
    """Pumps and tanks that feed each other, planned by a table that EPANET made: `atoll water table`."""

    id: Id
    table: Annotated[str, Field(min_length=1, max_length=200, description="Its file, beside the site file")]
    start_price: Annotated[float, Field(ge=0, le=1e4, description="Wear of each pump start, in money")] = 0.02


class PumpRatings(Table):
    """A pump or plant at full speed."""

    power_w: Power
    flow_lpm: Annotated[float, Field(gt=0, le=1e5, description="Flow into the tank [L/min]")]
    max_on_ms: Annotated[int, Field(ge=60_000, le=86_400_000)]
    min_rest_ms: Annotated[int, Field(ge=0, le=86_400_000)]


class SpeedTable(Table):
    """One operating point of a drive below full speed."""

    speed: Annotated[float, Field(gt=0, lt=1, description="Part of full speed: what `on` is set to")]
    flow_lpm: Flow
    power_w: Power


class PhaseTable(Table):
    """A quarter of an hour of a batch."""

    flow_lpm: Flow
    power_w: Annotated[float, Field(ge=0, le=1e8, description="Power [W]")]


class PumpDevice(BusDeviceTable):
    """A pump, filter or desalination plant that fills `tank`: on/off, with a drive (`speed`), in batches (`phase`)."""

    kind: Literal["pump"]
    tank: Id
    source: Annotated[Id | None, Field(description="A well or another tank; none: never short (sea, spring)")] = None
    flow_meter: Annotated[Id | None, Field(description="Shows its flow, where its own driver shows none")] = None
    speed: Annotated[list[SpeedTable], Field(max_length=8, description="Points below full speed, rising")] = []
    phase: Annotated[list[PhaseTable], Field(max_length=32, description="A batch, one row a quarter of an hour")] = []
    recovery: Annotated[float, Field(gt=0, le=1, description="Part of what it takes that reaches the tank")] = 1.0
    min_run_ms: Annotated[int, Field(ge=0, le=86_400_000, description="It runs so long at least [ms]")] = 0
    start_price: Annotated[float, Field(ge=0, le=1e4, description="Wear of each start or batch, in money")] = 0.02
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
    reserve_fraction: Annotated[Fraction | None, Field(description="Its own drinking reserve")] = None
    level_value: Annotated[
        MoneyPerM3 | None, Field(description="What a m3 left at the plan's end is worth (none: what pumping it costs)")
    ] = None
    ratings: TankRatings
    simulate: LevelSimulation = LevelSimulation(level=0.6)


class WaterMetersDevice(BusDeviceTable):
    """A pulse counter block; channel n counts usage point `channels[n]`."""

    kind: Literal["water_meters"]
    channels: Annotated[list[Id], Field(min_length=1, max_length=16)]
    tank: Annotated[Id | None, Field(description="Which tank these taps draw from (none: the first)")] = None
    ratings: NoTable = NoTable()
    simulate: ProfileSimulation | None = None


class FlowMeterDevice(BusDeviceTable):
    """A flow meter that is not billed."""

    kind: Literal["flow_meter"]
    ratings: NoTable = NoTable()
    simulate: NoTable = NoTable()
