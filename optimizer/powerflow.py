"""Voltages, currents and loading of a network over all slots of a plan: Newton's power flow by power-grid-model.

Loaded by the planner child alone, and only where a site names its network.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import acos, sqrt, tan

import numpy as np
from power_grid_model import (
    CalculationMethod,
    ComponentType,
    DatasetType,
    LoadGenType,
    PowerGridModel,
    initialize_array,
)

from devices.units import W_PER_KW
from optimizer.arrays import FloatArray
from optimizer.network import Network


@dataclass(frozen=True, slots=True)
class GridState:
    """What a power flow gives; [slot, place] in the order of the network's nodes and lines. NaN: no solution."""

    voltage_pu: FloatArray
    current_a: FloatArray
    transformer_kva: FloatArray  # [slot]


def power_flow(network: Network, kw: FloatArray, load_kw: FloatArray) -> GridState:
    """Returns the state for each slot.

    Args:
        network: lines and transformer.
        kw: net power into each node [slot, node], positive takes.
        load_kw: the uncontrolled load in it, which draws reactive power by the network's power factor.
    """
    model = _model(network)
    n, count = kw.shape
    update = initialize_array(DatasetType.update, ComponentType.sym_load, (n, count))
    update["id"] = np.arange(count) + _LOAD
    update["p_specified"] = kw * W_PER_KW
    update["q_specified"] = load_kw * W_PER_KW * tan(acos(network.power_factor))
    result = model.calculate_power_flow(  # pyright: ignore[reportUnknownMemberType]
        update_data={ComponentType.sym_load: update},
        calculation_method=CalculationMethod.newton_raphson,
        threading=-1,  # this thread alone
        output_component_types=[ComponentType.node, ComponentType.line, ComponentType.source],
        continue_on_batch_error=True,
    )
    voltage = np.array(result[ComponentType.node]["u_pu"], dtype=np.float64)
    lines = result[ComponentType.line]
    current = np.maximum(lines["i_from"], lines["i_to"]).astype(np.float64)
    kva = np.array(result[ComponentType.source]["s"][:, 0], dtype=np.float64) / W_PER_KW
    failed = [] if model.batch_error is None else list(model.batch_error.failed_scenarios)
    voltage[failed], current[failed], kva[failed] = np.nan, np.nan, np.nan
    return GridState(voltage, current, kva)


_LINE, _LOAD, _SOURCE = 1_000_000, 2_000_000, 3_000_000
"""First ids of each kind; nodes begin at 0."""


def _model(network: Network) -> PowerGridModel:
    at = {node.id: number for number, node in enumerate(network.nodes)}
    node = initialize_array(DatasetType.input, ComponentType.node, len(at))
    node["id"], node["u_rated"] = np.arange(len(at)), network.nominal_v
    line = initialize_array(DatasetType.input, ComponentType.line, len(network.lines))
    line["id"] = np.arange(len(network.lines)) + _LINE
    line["from_node"] = [at[one.upper] for one in network.lines]
    line["to_node"] = [at[one.lower] for one in network.lines]
    line["from_status"] = line["to_status"] = 1
    line["r1"] = [one.r_ohm for one in network.lines]
    line["x1"] = [one.x_ohm for one in network.lines]
    line["c1"] = line["tan1"] = 0.0
    line["i_n"] = [one.ampacity_a for one in network.lines]
    load = initialize_array(DatasetType.input, ComponentType.sym_load, len(at))
    load["id"], load["node"], load["status"] = np.arange(len(at)) + _LOAD, np.arange(len(at)), 1
    load["type"] = LoadGenType.const_power
    load["p_specified"] = load["q_specified"] = 0.0
    source = initialize_array(DatasetType.input, ComponentType.source, 1)
    source["id"], source["node"], source["status"] = _SOURCE, at[network.root], 1
    source["u_ref"] = network.source_pu
    source["sk"] = network.transformer.rating_kva * W_PER_KW / network.transformer.short_circuit
    source["rx_ratio"] = network.transformer.r_over_x
    return PowerGridModel(
        {
            ComponentType.node: node,
            ComponentType.line: line,
            ComponentType.sym_load: load,
            ComponentType.source: source,
        }
    )


def transformer_ohm(network: Network) -> float:
    """Returns the resistance of the source as `power_flow` has it [ohm]."""
    transformer = network.transformer
    z = transformer.short_circuit * network.nominal_v**2 / (transformer.rating_kva * W_PER_KW)
    return z * transformer.r_over_x / sqrt(1.0 + transformer.r_over_x**2)
