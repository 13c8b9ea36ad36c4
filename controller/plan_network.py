"""The site's network in the question for the planner, and a plan's limits on its lines for the 1 s loop. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from controller.history import node_key
from controller.plan_energy import solar_part
from controller.plan_forecast import Forecast
from controller.site import Site
from controller.site_energy import FeederSpec
from controller.site_network import OFF_NETWORK
from devices.model import DeviceId
from optimizer.network import Network, Node, nodes_below
from optimizer.plan import Plan
from optimizer.problem import AssetId, Series


def network(site: Site, outlook: Forecast, assets: Iterable[AssetId]) -> Network | None:
    """Returns the network with each node's part of load and sun, and those of `assets` that hang on it."""
    spec = site.energy.network
    if spec is None:
        return None
    known = tuple(assets)
    loads = [outlook.group_kw[node_key(node.id)] for node in spec.nodes]
    # Each node has a forecast of its own; together they are never more than the whole.
    sums = [sum(parts) for parts in zip(*loads, strict=True)]
    fits = [min(1.0, whole / total) if total else 1.0 for whole, total in zip(outlook.load_kw, sums, strict=True)]
    nodes = tuple(
        Node(
            node.id,
            _scaled(load, fits),
            solar_part(site, outlook, node.devices),
            tuple(asset for asset in known if asset in node.devices),
        )
        for node, load in zip(spec.nodes, loads, strict=True)
    )
    return Network(
        spec.root,
        nodes,
        spec.lines,
        spec.transformer,
        spec.nominal_v,
        spec.source_pu,
        spec.low_pu,
        spec.high_pu,
        spec.power_factor,
        spec.price,
    )


def _scaled(series: Series, factors: Iterable[float]) -> Series:
    return tuple(kw * factor for kw, factor in zip(series, factors, strict=True))


def line_limits(site: Site, current: tuple[Plan, int] | None) -> tuple[FeederSpec, ...]:
    """Returns the site's feeders, and the limits that the plan in force keeps in this slot for the network's sake."""
    spec = site.energy.network
    if current is None or spec is None or not current[0].cuts:
        return site.energy.feeders
    plan, slot = current
    devices_of = {node.id: node.devices for node in spec.nodes}
    every = frozenset(DeviceId(device.id) for device in site.devices if device.kind not in OFF_NETWORK)
    fed = {
        line: frozenset[DeviceId]().union(*(devices_of[node] for node in nodes))
        for line, nodes in nodes_below(spec.lines).items()
    }
    cuts = tuple(
        FeederSpec(
            cut.id,
            fed.get(cut.id, every),  # what is no line is the transformer
            cut.import_limit_kw[slot] * 1000,
            cut.export_limit_kw[slot] * 1000,
            cut.price,
        )
        for cut in plan.cuts
    )
    return (*site.energy.feeders, *cuts)
