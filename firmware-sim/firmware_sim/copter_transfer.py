"""An autopilot's side of the mission micro-service: takes a list item by item, gives one item by item.

Written against https://mavlink.io/en/services/mission.html and not against `devices.mavlink_transfer`, which is the
other end; MAVSDK judges both (tests/integration/test_mavsdk.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from devices.clock import Instant
from devices.mavlink_codec import Frame, Value
from devices.mavlink_values import Item, MissionResult, MissionType

ASK_AGAIN_MS = 400
ASKS_MAX = 20
LISTS = (MissionType.MISSION, MissionType.FENCE, MissionType.RALLY)
SPOILED_M = 5.0


@dataclass(slots=True)
class Shelf:
    """The lists of an aircraft, and the one on its way in. Faults: where uploads stick, what is stored wrong."""

    lists: dict[int, tuple[Item, ...]] = field(default_factory=lambda: {int(kind): () for kind in LISTS})
    stuck_at: int | None = None
    spoiled: dict[int, int] = field(default_factory=dict[int, int])  # list -> the item that it stores wrong
    changed: set[int] = field(default_factory=set[int])
    _kind: int | None = None
    _count: int = 0
    _got: list[Item] = field(default_factory=list[Item])
    _peer: tuple[int, int] = (0, 0)
    _asked_at: int = 0
    _asks: int = 0

    def receive(self, frame: Frame, now: Instant) -> list[Frame]:
        """Returns the answers to a message of the ground's."""
        kind, peer = frame.whole("mission_type"), (frame.system, frame.component)
        if kind not in self.lists:
            return [_ack(peer, kind, MissionResult.UNSUPPORTED)] if frame.name.startswith("MISSION_") else []
        match frame.name:
            case "MISSION_COUNT":
                self._kind, self._count, self._got, self._peer = kind, frame.whole("count"), [], peer
                self._asks = 0
                return self._stored() if self._count == 0 else self._ask(now)
            case "MISSION_ITEM_INT" | "MISSION_ITEM":
                return self._item(frame, kind, peer, now)
            case "MISSION_REQUEST_LIST":
                return [_message("MISSION_COUNT", peer, kind, count=len(self.lists[kind]))]
            case "MISSION_REQUEST_INT" | "MISSION_REQUEST":
                seq, items = frame.whole("seq"), self.lists[kind]
                if seq >= len(items):
                    return [_ack(peer, kind, MissionResult.INVALID_SEQUENCE)]
                return [items[seq].to_frame(seq, MissionType(kind), peer)]
            case "MISSION_CLEAR_ALL":
                self.lists[kind] = ()
                self.changed.add(kind)
                return [_ack(peer, kind, MissionResult.ACCEPTED)]
            case _:
                return []

    def due(self, now: Instant) -> list[Frame]:
        """Returns a late request again; after so many the upload is forgotten and what was before stays."""
        if self._kind is None or now - self._asked_at < ASK_AGAIN_MS:
            return []
        if self._asks >= ASKS_MAX:
            self._kind = None
            return []
        return self._ask(now)

    def _ask(self, now: Instant) -> list[Frame]:
        self._asked_at, self._asks = now, self._asks + 1
        seq = len(self._got)
        if self._kind is None or (self.stuck_at is not None and seq >= self.stuck_at):
            return []
        return [_message("MISSION_REQUEST_INT", self._peer, self._kind, seq=seq)]

    def _item(self, frame: Frame, kind: int, peer: tuple[int, int], now: Instant) -> list[Frame]:
        if kind != self._kind or peer != self._peer:
            return []
        if frame.whole("seq") != len(self._got):
            return self._ask(now)
        self._got.append(Item.of_frame(frame))
        self._asks = 0
        return self._ask(now) if len(self._got) < self._count else self._stored()

    def _stored(self) -> list[Frame]:
        assert self._kind is not None, "an upload is under way"
        kind, self._kind = self._kind, None
        items = list(self._got)
        wrong = self.spoiled.get(kind)
        if wrong is not None and wrong < len(items):
            items[wrong] = replace(items[wrong], z=items[wrong].z + SPOILED_M, x=items[wrong].x + 500)
        self.lists[kind] = tuple(items)
        self.changed.add(kind)
        return [_ack(self._peer, kind, MissionResult.ACCEPTED)]


def _message(name: str, peer: tuple[int, int], kind: int, **fields: Value) -> Frame:
    return Frame(name, {"target_system": peer[0], "target_component": peer[1], "mission_type": kind, **fields})


def _ack(peer: tuple[int, int], kind: int, result: MissionResult) -> Frame:
    return _message("MISSION_ACK", peer, kind, type=int(result))
