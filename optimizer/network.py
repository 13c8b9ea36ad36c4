"""A small radial low-voltage network: what hangs where, and what its lines and its transformer carry. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizer.names import AssetId, Series


@dataclass(frozen=True, slots=True)
class Node:
    """A busbar, with its part of the uncontrolled load and of the solar power on offer [kW per slot]."""

    id: str
    load_kw: Series
    pv_kw: Series
    assets: tuple[AssetId, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A cable or overhead line from the node nearer the transformer to the one beyond; ohms of a whole conductor."""

    id: str
    upper: str
    lower: str
    r_ohm: float
    x_ohm: float
    ampacity_a: float


@dataclass(frozen=True, slots=True)
class Transformer:
    """Between the outside and the first node, as the impedance of the source."""

    rating_kva: float
    short_circuit: float  # voltage at rated current, as a part of the rated voltage
    r_over_x: float


@dataclass(frozen=True, slots=True)
class Network:
    """Lines make a tree from `root`; loads are balanced over three phases. Voltages in parts of `nominal_v`."""

    root: str
    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]
    transformer: Transformer
    nominal_v: float  # line to line
    source_pu: float
    low_pu: float
    high_pu: float
    power_factor: float  # of the uncontrolled load, lagging; solar, batteries and chargers run at 1
    price: float  # per kWh above a limit that the check of the network adds

    def path(self, node: str) -> tuple[Line, ...]:
        """Returns the lines from the root to a node."""
        feeding = {line.lower: line for line in self.lines}
        found: list[Line] = []
        while node != self.root:
            found.append(feeding[node])
            node = feeding[node].upper
        return tuple(reversed(found))


def nodes_below(lines: Sequence[Line]) -> Mapping[str, frozenset[str]]:
    """Returns for each line of a tree the nodes that it feeds."""
    fed: dict[str, frozenset[str]] = {}

    def collect(line: Line) -> frozenset[str]:
        if line.id not in fed:
            beyond = (collect(other) for other in lines if other.upper == line.lower)
            fed[line.id] = frozenset({line.lower}).union(*beyond)
        return fed[line.id]

    for line in lines:
        collect(line)
    return fed
