"""VDA 5050 2.x messages and topics: values <-> bytes. One `Codec` per version, so that 3.0 can stand beside it.

Bytes, depth and counts are limited before anything is built; what is wrong comes back as a list of texts, never as an
exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from devices import json_fields
from devices.bounded_json import BadJson, JsonValue, compact, parse
from devices.clock import Instant, iso, parse_iso
from devices.vda5050_factsheet import Factsheet
from devices.vda5050_values import Connection, Header, InstantActions, Order, State

BYTES_MAX = 256 * 1024
DEPTH_MAX = 12


class Kind(StrEnum):
    """The last level of a topic."""

    ORDER = "order"
    INSTANT_ACTIONS = "instantActions"
    STATE = "state"
    VISUALIZATION = "visualization"
    CONNECTION = "connection"
    FACTSHEET = "factsheet"


Body = Order | InstantActions | State | Connection | Factsheet
B = TypeVar("B", Order, InstantActions, State, Connection, Factsheet)

KIND_OF: dict[type[Body], Kind] = {
    Order: Kind.ORDER,
    InstantActions: Kind.INSTANT_ACTIONS,
    State: Kind.STATE,
    Connection: Kind.CONNECTION,
    Factsheet: Kind.FACTSHEET,
}


@dataclass(frozen=True, slots=True)
class Decoded(Generic[B]):
    """A message, or the list of what is wrong with it; `value` is None exactly when there are problems."""

    header: Header | None
    value: B | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Codec:
    """One version of the wire.

    `instant_key` is the dialect switch: the standard's schemas of 2.0 and 2.1 say `actions`, some vehicles and masters
    (vda-5050-lib) say `instantActions`. Either key is read.
    """

    version: str = "2.1.0"
    level: str = "v2"
    instant_key: str = "actions"

    def encode(self, header: Header, value: Body) -> bytes:
        """Returns the JSON bytes of a message."""
        return self.headed(header, self.body(value))

    def body(self, value: Body) -> bytes:
        """Returns the JSON object of a message without its header."""
        body = json_fields.write(value)
        assert isinstance(body, dict)
        return compact(self.outgoing(value, body))

    def outgoing(self, value: Body, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """Returns a message's object as this dialect writes it."""
        if isinstance(value, InstantActions) and self.instant_key != "actions":
            return {self.instant_key: body["actions"]}
        return body

    def incoming(self, cls: type[Body], message: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """Returns a message's object as our values name its fields; of instant actions either key is read."""
        if cls is InstantActions and "actions" not in message and "instantActions" in message:
            return {"actions": message["instantActions"]}
        return message

    def headed(self, header: Header, body: bytes) -> bytes:
        """Returns a whole message from its header and its `body`."""
        head: dict[str, JsonValue] = {
            "headerId": header.headerId,
            "timestamp": _timestamp(header.timestamp),
            "version": header.version,
            "manufacturer": header.manufacturer,
            "serialNumber": header.serialNumber,
        }
        return b"%s%s%s" % (compact(head)[:-1], b"," if body != b"{}" else b"", body[1:])

    def decode(self, cls: type[B], payload: bytes) -> Decoded[B]:
        """Returns the message that `payload` holds, or its problems."""
        try:
            value = parse(payload, BYTES_MAX, DEPTH_MAX)
        except BadJson as error:
            return Decoded(None, None, (str(error),))
        if not isinstance(value, dict):
            return Decoded(None, None, ("want a JSON object",))
        problems: list[str] = []
        header = _header(value, problems)
        body = json_fields.read(cls, self.incoming(cls, value), KIND_OF[cls], problems)
        return Decoded(header, None, tuple(problems)) if problems else Decoded(header, body)


V2_1 = Codec()
V2_0 = Codec(version="2.0.0")
V2_0_LIB = Codec(version="2.0.0", instant_key="instantActions")


@dataclass(frozen=True, slots=True)
class Address:
    """Which vehicle on which wire: the first levels of its topics."""

    interface: str
    manufacturer: str
    serial: str
    codec: Codec = V2_1

    def topic(self, kind: Kind) -> str:
        """Returns `<interface>/v2/<manufacturer>/<serial>/<kind>`."""
        return f"{self.interface}/{self.codec.level}/{self.manufacturer}/{self.serial}/{kind}"

    def kind(self, topic: str) -> Kind | None:
        """Returns what a topic of this vehicle carries; None for any other topic."""
        head, _, last = topic.rpartition("/")
        if head != f"{self.interface}/{self.codec.level}/{self.manufacturer}/{self.serial}":
            return None
        return Kind(last) if last in Kind.__members__.values() else None


def _timestamp(instant: Instant) -> str:
    text = iso(instant)
    return text if "." in text else text[:-1] + ".000Z"  # the standard shows milliseconds always


def _header(value: dict[str, JsonValue], problems: list[str]) -> Header | None:
    raw = json_fields.read(_RawHeader, value, "header", problems)
    if raw is None:
        return None
    try:
        at = parse_iso(raw.timestamp)
    except (ValueError, OverflowError) as error:
        problems.append(f"header.timestamp: {error}")
        return None
    return Header(raw.headerId, at, raw.version, raw.manufacturer, raw.serialNumber)


@dataclass(frozen=True, slots=True)
class _RawHeader:
    headerId: int
    timestamp: str
    version: str
    manufacturer: str
    serialNumber: str
