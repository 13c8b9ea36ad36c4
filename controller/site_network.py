"""The site's low-voltage network as a value, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from controller import site_schema as schema
from controller.site_problems import Finding, Path
from devices.model import DeviceId
from optimizer.network import Line, Transformer

OFF_NETWORK = ("grid", "tank", "water_meters", "robot", "drone", "switch", "breaker", "flow_meter", "sensor")
"""Kinds that put no power on a line that a plan could count."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node with its devices, the solar behind its meters among them."""

    id: str
    devices: frozenset[DeviceId]


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A tree of lines, each written from its upper to its lower node."""

    root: str
    nodes: tuple[NodeSpec, ...]
    lines: tuple[Line, ...]
    transformer: Transformer
    nominal_v: float
    source_pu: float
    low_pu: float
    high_pu: float
    power_factor: float
    price: float


def network_spec(file: schema.SiteFile) -> NetworkSpec | None:
    """Returns the checked table as a value, None where a site has none."""
    table = file.network
    if table is None:
        return None
    upper = _upper(table)
    return NetworkSpec(
        root=table.root,
        nodes=tuple(NodeSpec(row.id, with_solar_behind(file, row.devices)) for row in table.node),
        lines=tuple(
            Line(
                row.id,
                *((row.start, row.end) if upper[row.end] == row.start else (row.end, row.start)),
                row.r_ohm_per_km * row.length_m / 1000,
                row.x_ohm_per_km * row.length_m / 1000,
                row.ampacity_a,
            )
            for row in table.line
        ),
        transformer=Transformer(
            table.transformer.rating_va / 1000, table.transformer.short_circuit_voltage, table.transformer.r_over_x
        ),
        nominal_v=table.nominal_v,
        source_pu=table.source_pu,
        low_pu=table.low_pu,
        high_pu=table.high_pu,
        power_factor=table.power_factor,
        price=table.price,
    )


def with_solar_behind(file: schema.SiteFile, devices: Sequence[str]) -> frozenset[DeviceId]:
    """Returns the devices and the solar behind those of them that are meters."""
    named = set(devices)
    behind = {row.id for row in file.device if isinstance(row, schema.PvDevice) and row.behind in named}
    return frozenset(DeviceId(name) for name in named | behind)


def _upper(table: schema.NetworkTable) -> Mapping[str, str]:
    """Returns the node above each node that lines reach from the root."""
    upper = {table.root: ""}
    waiting = [table.root]
    while waiting:
        here = waiting.pop()
        for row in table.line:
            for one, other in ((row.start, row.end), (row.end, row.start)):
                if one == here and other not in upper:
                    upper[other] = here
                    waiting.append(other)
    return upper


# -- checks --------------------------------------------------------------------------------------------------------


def check_network(file: schema.SiteFile) -> Iterable[Finding]:
    """Yields what is wrong with the tree, and with what hangs on it."""
    table = file.network
    if table is None:
        return
    nodes = [row.id for row in table.node]
    yield from _check_ids(table)
    if table.root not in nodes:
        yield "150", ("network", "root"), table.root, "no node has this id", f"one of: {sorted(nodes)}"
    for index, row in enumerate(table.line):
        for key, name in (("from", row.start), ("to", row.end)):
            if name not in nodes:
                yield "150", ("network", "line", index, key), name, "no node has this id", f"one of: {sorted(nodes)}"
    yield from _check_tree(table, set(nodes))
    yield from _check_hung(file, table)
    if not table.low_pu < table.source_pu < table.high_pu:
        seen = f"{table.source_pu:g}"
        fix = f"between low_pu {table.low_pu:g} and high_pu {table.high_pu:g}"
        yield "154", ("network", "source_pu"), seen, "the voltage without load is outside the limits", fix


def _check_ids(table: schema.NetworkTable) -> Iterable[Finding]:
    for key, names in (("node", [row.id for row in table.node]), ("line", [row.id for row in table.line])):
        for index, name in enumerate(names):
            if name in names[:index] or (key == "line" and name == "transformer"):
                what = "this id is used before" if name != "transformer" else "this name is taken"
                yield "020", ("network", key, index, "id"), name, what, "rename one of them"


def _check_tree(table: schema.NetworkTable, nodes: Set[str]) -> Iterable[Finding]:
    joined: dict[str, str] = {name: name for name in nodes}

    def group(name: str) -> str:
        while joined[name] != name:
            name = joined[name]
        return name

    for index, row in enumerate(table.line):
        if row.start not in nodes or row.end not in nodes:
            return  # told already; a tree cannot be judged
        one, other = group(row.start), group(row.end)
        if one == other:
            seen = f"{row.start}-{row.end}"
            yield (
                "151", ("network", "line", index, "to"), seen, "this line closes a ring: both ends are joined already",
                "leave out the line that is switched off in normal service",
            )  # fmt: skip
        joined[one] = other
    reached = _upper(table)
    for index, row in enumerate(table.node):
        if table.root in nodes and row.id not in reached:
            here: Path = ("network", "node", index, "id")
            yield "152", here, row.id, "no line leads from the root to this node", f"a line from or to {row.id}"


def _check_hung(file: schema.SiteFile, table: schema.NetworkTable) -> Iterable[Finding]:
    kinds = {row.id: row.kind for row in file.device}
    usable = sorted(name for name, kind in kinds.items() if kind not in OFF_NETWORK)
    first: dict[str, str] = {}
    for index, row in enumerate(table.node):
        for place, name in enumerate(row.devices):
            path: Path = ("network", "node", index, "devices", place)
            if kinds.get(name, "grid") in OFF_NETWORK:
                seen = f"{name}, a {kinds[name]}" if name in kinds else name
                yield "144", path, seen, "no device on a line has this id", f"one of: {usable}"
            elif name in first:
                yield "153", path, name, f"it hangs on node {first[name]} already", "a device hangs on one node"
            first.setdefault(name, row.id)
