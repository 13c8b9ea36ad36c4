"""What VDA 5050 2.1 says, as values. Field names are the standard's own.

Left out, because nothing here drives by them: trajectories, corridors, bounding boxes, wheel and envelope geometry.
They are skipped when read.

Source: VDA 5050 2.1.0 (August 2024), sections 6.6-6.16 and its JSON schemas.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from devices.bounded_json import JsonValue
from devices.clock import Instant

PI = 3.14159265359


class BlockingType(StrEnum):
    """What may go on beside an action."""

    NONE = "NONE"
    SOFT = "SOFT"  # other actions, no driving
    HARD = "HARD"  # nothing


class ActionStatus(StrEnum):
    """Where an action stands."""

    WAITING = "WAITING"
    INITIALIZING = "INITIALIZING"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"


class ConnectionState(StrEnum):
    """What the retained connection topic says."""

    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"
    CONNECTIONBROKEN = "CONNECTIONBROKEN"


class OperatingMode(StrEnum):
    """Who drives; only in AUTOMATIC may the master."""

    AUTOMATIC = "AUTOMATIC"
    SEMIAUTOMATIC = "SEMIAUTOMATIC"
    MANUAL = "MANUAL"
    SERVICE = "SERVICE"
    TEACHIN = "TEACHIN"


class ErrorLevel(StrEnum):
    """Whether the vehicle can go on by itself."""

    WARNING = "WARNING"
    FATAL = "FATAL"


class InfoLevel(StrEnum):
    """What an information is for."""

    INFO = "INFO"
    DEBUG = "DEBUG"


class EStop(StrEnum):
    """Which emergency stop is pressed, by how it is acknowledged."""

    AUTOACK = "AUTOACK"
    MANUAL = "MANUAL"
    REMOTE = "REMOTE"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class Header:
    """What every message starts with; headerId counts per topic."""

    headerId: int
    timestamp: Instant
    version: str
    manufacturer: str
    serialNumber: str


@dataclass(frozen=True, slots=True)
class ActionParameter:
    """A named argument of an action: any JSON value but null."""

    key: str
    value: JsonValue


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do at a node, along an edge or at once."""

    actionType: str
    actionId: str
    blockingType: BlockingType = BlockingType.HARD
    actionParameters: tuple[ActionParameter, ...] = ()
    actionDescription: str | None = None

    def parameter(self, key: str) -> JsonValue:
        """Returns one argument, None when it is not given."""
        return next((entry.value for entry in self.actionParameters if entry.key == key), None)


@dataclass(frozen=True, slots=True)
class NodePosition:
    """Where a node is [m, rad] on a map."""

    x: float
    y: float
    mapId: str
    theta: float | None = field(default=None, metadata={"low": -PI, "high": PI})
    allowedDeviationXY: float | None = field(default=None, metadata={"low": 0})
    allowedDeviationTheta: float | None = field(default=None, metadata={"low": 0, "high": PI})


@dataclass(frozen=True, slots=True)
class Node:
    """A place of an order; even sequence ids."""

    nodeId: str
    sequenceId: int = field(metadata={"low": 0})
    released: bool
    actions: tuple[Action, ...]
    nodePosition: NodePosition | None = None
    nodeDescription: str | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """The way between two nodes; odd sequence ids."""

    edgeId: str
    sequenceId: int = field(metadata={"low": 0})
    released: bool
    startNodeId: str
    endNodeId: str
    actions: tuple[Action, ...]
    maxSpeed: float | None = field(default=None, metadata={"low": 0})
    maxHeight: float | None = None
    minHeight: float | None = None
    length: float | None = field(default=None, metadata={"low": 0})
    edgeDescription: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """Nodes and edges to drive. Released ones are the base, the rest is the horizon."""

    orderId: str
    orderUpdateId: int = field(metadata={"low": 0})
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    zoneSetId: str | None = None


@dataclass(frozen=True, slots=True)
class InstantActions:
    """Actions to do at once, whatever the order."""

    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class StatePosition:
    """A node's place as states repeat it."""

    x: float
    y: float
    mapId: str
    theta: float | None = None


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node still to be reached."""

    nodeId: str
    sequenceId: int
    released: bool
    nodePosition: StatePosition | None = None


@dataclass(frozen=True, slots=True)
class EdgeState:
    """An edge still to be driven."""

    edgeId: str
    sequenceId: int
    released: bool


@dataclass(frozen=True, slots=True)
class AgvPosition:
    """Where the vehicle is [m, rad]."""

    x: float
    y: float
    theta: float
    mapId: str
    positionInitialized: bool
    localizationScore: float | None = field(default=None, metadata={"low": 0, "high": 1})
    deviationRange: float | None = None


@dataclass(frozen=True, slots=True)
class Velocity:
    """How the vehicle moves in its own axes [m/s, rad/s]."""

    vx: float | None = None
    vy: float | None = None
    omega: float | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What the vehicle carries [kg]."""

    loadId: str | None = None
    loadType: str | None = None
    loadPosition: str | None = None
    weight: float | None = field(default=None, metadata={"low": 0})


@dataclass(frozen=True, slots=True)
class ActionState:
    """Where one action stands."""

    actionId: str
    actionStatus: ActionStatus
    actionType: str | None = None
    actionDescription: str | None = None
    resultDescription: str | None = None


@dataclass(frozen=True, slots=True)
class BatteryState:
    """Charge in percent (the standard's unit), volts, metres."""

    batteryCharge: float = field(metadata={"low": 0, "high": 100})
    charging: bool
    batteryVoltage: float | None = None
    batteryHealth: float | None = field(default=None, metadata={"low": 0, "high": 100})
    reach: float | None = field(default=None, metadata={"low": 0})


@dataclass(frozen=True, slots=True)
class Reference:
    """What an error is about."""

    referenceKey: str
    referenceValue: str


@dataclass(frozen=True, slots=True)
class VehicleError:
    """An error that stands."""

    errorType: str
    errorLevel: ErrorLevel
    errorReferences: tuple[Reference, ...] = ()
    errorDescription: str | None = None
    errorHint: str | None = None


@dataclass(frozen=True, slots=True)
class Information:
    """For people and traces; control must not depend on it."""

    infoType: str
    infoLevel: InfoLevel
    infoReferences: tuple[Reference, ...] = ()
    infoDescription: str | None = None


@dataclass(frozen=True, slots=True)
class SafetyState:
    """Emergency stop and protective field."""

    eStop: EStop
    fieldViolation: bool


@dataclass(frozen=True, slots=True)
class State:
    """All that a vehicle says about itself; sent on every event and at least every 30 s."""

    orderId: str
    orderUpdateId: int
    lastNodeId: str
    lastNodeSequenceId: int
    driving: bool
    operatingMode: OperatingMode
    nodeStates: tuple[NodeState, ...]
    edgeStates: tuple[EdgeState, ...]
    actionStates: tuple[ActionState, ...]
    batteryState: BatteryState
    errors: tuple[VehicleError, ...]
    safetyState: SafetyState
    agvPosition: AgvPosition | None = None
    velocity: Velocity | None = None
    loads: tuple[Load, ...] | None = None
    information: tuple[Information, ...] | None = None
    paused: bool | None = None
    newBaseRequest: bool | None = None
    distanceSinceLastNode: float | None = None
    zoneSetId: str | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """The retained word about the vehicle's MQTT session; the will says CONNECTIONBROKEN."""

    connectionState: ConnectionState
