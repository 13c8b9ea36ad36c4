"""The VDA 5050 2.1 factsheet: what a vehicle is and can, as values. Source: VDA 5050 2.1.0, section 6.16."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from devices.vda5050_values import BlockingType


class ActionScope(StrEnum):
    """Where an action may stand."""

    INSTANT = "INSTANT"
    NODE = "NODE"
    EDGE = "EDGE"


@dataclass(frozen=True, slots=True)
class TypeSpecification:
    """Series and class. The standard knows ground vehicles only: a drone says CARRIER and OMNI."""

    seriesName: str
    agvKinematic: str
    agvClass: str
    maxLoadMass: float = field(metadata={"low": 0})
    localizationTypes: tuple[str, ...]
    navigationTypes: tuple[str, ...]
    seriesDescription: str | None = None


@dataclass(frozen=True, slots=True)
class PhysicalParameters:
    """Speeds [m/s], accelerations [m/s2], sizes [m]."""

    speedMin: float
    speedMax: float
    accelerationMax: float
    decelerationMax: float
    heightMax: float
    width: float
    length: float
    heightMin: float | None = None


@dataclass(frozen=True, slots=True)
class MaxStringLens:
    """Longest texts that the vehicle takes."""

    msgLen: int | None = None
    idLen: int | None = None


@dataclass(frozen=True, slots=True)
class MaxArrayLens:
    """Longest lists that the vehicle takes."""

    orderNodes: int | None = field(default=None, metadata={"key": "order.nodes"})
    orderEdges: int | None = field(default=None, metadata={"key": "order.edges"})
    nodeActions: int | None = field(default=None, metadata={"key": "node.actions"})
    edgeActions: int | None = field(default=None, metadata={"key": "edge.actions"})
    instantActions: int | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """Least intervals [s]."""

    minOrderInterval: float
    minStateInterval: float
    defaultStateInterval: float | None = None


@dataclass(frozen=True, slots=True)
class ProtocolLimits:
    """What the vehicle's side of the protocol can take."""

    maxStringLens: MaxStringLens
    maxArrayLens: MaxArrayLens
    timing: Timing


@dataclass(frozen=True, slots=True)
class AgvAction:
    """An action that the vehicle knows."""

    actionType: str
    actionScopes: tuple[ActionScope, ...]
    actionDescription: str | None = None
    blockingTypes: tuple[BlockingType, ...] | None = None


@dataclass(frozen=True, slots=True)
class OptionalParameter:
    """An optional field that the vehicle supports or requires."""

    parameter: str
    support: str


@dataclass(frozen=True, slots=True)
class ProtocolFeatures:
    """Optional fields and actions."""

    optionalParameters: tuple[OptionalParameter, ...]
    agvActions: tuple[AgvAction, ...]


@dataclass(frozen=True, slots=True)
class AgvGeometry:
    """Left empty: wheels and envelopes are not used."""


@dataclass(frozen=True, slots=True)
class LoadSpecification:
    """Where loads may lie."""

    loadPositions: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Factsheet:
    """What a vehicle is and can."""

    typeSpecification: TypeSpecification
    physicalParameters: PhysicalParameters
    protocolLimits: ProtocolLimits
    protocolFeatures: ProtocolFeatures
    agvGeometry: AgvGeometry = AgvGeometry()
    loadSpecification: LoadSpecification = LoadSpecification()
