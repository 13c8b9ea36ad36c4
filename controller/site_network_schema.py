"""The site file's table `[network]`: nodes, lines and the transformer of a small radial low-voltage network."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.site_types import Id, Table

Ohm = Annotated[float, Field(gt=0, le=100, description="Of one conductor [ohm/km]")]


class NodeTable(Table):
    """A busbar or a house connection box, and what hangs on it."""

    id: Id
    devices: list[Id] = []


class LineTable(Table):
    """A cable or overhead line between two nodes."""

    id: Id
    start: Annotated[Id, Field(alias="from", description="Node")]
    end: Annotated[Id, Field(alias="to", description="Node")]
    length_m: Annotated[float, Field(gt=0, le=1e5)]
    r_ohm_per_km: Ohm
    x_ohm_per_km: Ohm = 0.08
    ampacity_a: Annotated[float, Field(gt=0, le=1e4, description="Continuous current [A]")]


class TransformerTable(Table):
    """Between the outside and the root node."""

    rating_va: Annotated[float, Field(gt=0, le=1e8)]
    short_circuit_voltage: Annotated[float, Field(gt=0, le=0.3, description="Part of the rated voltage (uk)")] = 0.04
    r_over_x: Annotated[float, Field(ge=0, le=5)] = 0.4


class NetworkTable(Table):
    """What a plan must not overload. Devices on no node count at the root; voltages in parts of `nominal_v`."""

    root: Annotated[Id, Field(description="Node at the transformer")]
    nominal_v: Annotated[float, Field(ge=100, le=1000, description="Line to line [V]")] = 400.0
    source_pu: Annotated[float, Field(ge=0.8, le=1.2, description="Voltage without load")] = 1.0
    low_pu: Annotated[float, Field(ge=0.7, le=1, description="Lowest allowed")] = 0.9
    high_pu: Annotated[float, Field(ge=1, le=1.3, description="Highest allowed")] = 1.1
    power_factor: Annotated[float, Field(gt=0.5, le=1, description="Of the uncontrolled load, lagging")] = 0.97
    price: Annotated[float, Field(gt=0, le=1e4, description="In plans: per kWh beyond what the network carries")] = 50.0
    transformer: TransformerTable
    node: Annotated[list[NodeTable], Field(min_length=1, max_length=200)]
    line: Annotated[list[LineTable], Field(max_length=200)] = []
