"""The mission micro-service as the ground's state machine: upload a list of items, or read one back. No I/O, no clock.

Used for missions and fences. Every message may be lost, so each waits and is sent again; after `TRIES` the transfer
has failed and says at which item. The other end is `firmware_sim.copter_transfer`.

Source: https://mavlink.io/en/services/mission.html (time-outs 1.5 s and 0.25 s, 5 tries).
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.clock import Instant
from devices.mavlink_codec import Frame
from devices.mavlink_values import Item, MissionResult, MissionType

ANSWER_MS = 1_500
TRIES = 5
UNCONFIRMED_TRIES = 2
"""So often the last item is sent when no acknowledgement comes; what counts is what is read back afterwards."""
ITEMS_MAX = 700
"""ArduPilot's boards keep about so many; a longer list from a wire is refused."""
_RESULTS = {result.value: result.name for result in MissionResult}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a transfer ended: the items as the aircraft has them, or why not."""

    items: tuple[Item, ...] = ()
    why: str = ""


class Transfer:
    """One list on its way up (`items` given) or down (`items` None)."""

    def __init__(
        self, kind: MissionType, target: tuple[int, int], items: tuple[Item, ...] | None, now: Instant
    ) -> None:
        """Starts at once: `take` gives the first message."""
        self.kind, self.target, self.items = kind, target, items
        self.got: list[Item] = []
        self.total: int | None = None
        self.outcome: Outcome | None = None
        self.resent = 0
        self._out: list[Frame] = []
        self._last: Frame | None = None
        self._tries, self._sent_at = 0, now
        self._asked = -1  # the highest item that the aircraft has asked for
        self._say(self._count(len(items)) if items is not None else self._plain("MISSION_REQUEST_LIST"), now)

    def take(self) -> list[Frame]:
        """Returns and forgets what is to be sent."""
        out, self._out = self._out, []
        return out

    def receive(self, frame: Frame, now: Instant) -> None:
        """Takes a message of the aircraft's; those of other lists are not ours."""
        if self.outcome is not None or frame.whole("mission_type") != self.kind:
            return
        if self.items is None:
            self._down(frame, now)
        else:
            self._up(self.items, frame, now)

    def due(self, now: Instant) -> None:
        """Sends the last message again when its answer is late; gives up after so many."""
        if self.outcome is not None or self._last is None or now - self._sent_at < ANSWER_MS:
            return
        if self.items and self._asked == len(self.items) - 1 and self._tries >= UNCONFIRMED_TRIES:
            self._end(Outcome(self.items))  # the acknowledgement is lost, or the upload: reading it back tells
            return
        if self._tries >= TRIES:
            what = "upload" if self.items is not None else "read-back"
            place = f"item {self._asked + 1 if self.items is not None else len(self.got)}"
            self._end(Outcome(why=f"{what} of the {self.kind.name.lower()} stuck at {place} after {TRIES} messages"))
            return
        self.resent += 1
        self._tries, self._sent_at = self._tries + 1, now
        self._out.append(self._last)

    def next_deadline(self) -> Instant | None:
        """Returns when `due` must be called."""
        return None if self.outcome is not None else Instant(self._sent_at + ANSWER_MS)

    # -- up ----------------------------------------------------------------------------------------------------------

    def _up(self, items: tuple[Item, ...], frame: Frame, now: Instant) -> None:
        if frame.name in ("MISSION_REQUEST_INT", "MISSION_REQUEST"):
            seq = frame.whole("seq")
            if not 0 <= seq < len(items):
                self._end(Outcome(why=f"the aircraft asks for item {seq} of {len(items)}"))
                return
            if seq > self._asked:
                self._tries = 0
            self._asked = max(self._asked, seq)
            self._say(items[seq].to_frame(seq, self.kind, self.target), now)
        elif frame.name == "MISSION_ACK":
            result = frame.whole("type")
            if result != MissionResult.ACCEPTED:
                why = f"the aircraft refuses the {self.kind.name.lower()}: {_RESULTS.get(result, result)}"
                self._end(Outcome(why=f"{why} at item {self._asked}"))
            elif self._asked == len(items) - 1:  # an early acknowledgement is one of an earlier transfer
                self._end(Outcome(items))

    # -- down --------------------------------------------------------------------------------------------------------

    def _down(self, frame: Frame, now: Instant) -> None:
        if frame.name == "MISSION_COUNT" and self.total is None:
            self.total = frame.whole("count")
            if self.total > ITEMS_MAX:
                self._end(Outcome(why=f"the aircraft has {self.total} items, at most {ITEMS_MAX} are read"))
                return
            self._next(now)
        elif frame.name in ("MISSION_ITEM_INT", "MISSION_ITEM") and self.total is not None:
            if frame.whole("seq") == len(self.got):
                self.got.append(Item.of_frame(frame))
                self._tries = 0
                self._next(now)
        elif frame.name == "MISSION_ACK" and frame.whole("type") != MissionResult.ACCEPTED:
            result = frame.whole("type")
            self._end(Outcome(why=f"the aircraft does not give its {self.kind.name.lower()}: {_RESULTS.get(result)}"))

    def _next(self, now: Instant) -> None:
        if len(self.got) == self.total:
            self._out.append(self._plain("MISSION_ACK"))
            self._end(Outcome(tuple(self.got)))
        else:
            self._say(self._plain("MISSION_REQUEST_INT", len(self.got)), now)

    # -- both --------------------------------------------------------------------------------------------------------

    def _say(self, frame: Frame, now: Instant) -> None:
        self._out.append(frame)
        self._last, self._sent_at, self._tries = frame, now, self._tries + 1

    def _count(self, count: int) -> Frame:
        return Frame("MISSION_COUNT", {**self._plain("").fields, "count": count})

    def _plain(self, name: str, seq: int = 0) -> Frame:
        head = {"target_system": self.target[0], "target_component": self.target[1], "mission_type": int(self.kind)}
        return Frame(name, {**head, "seq": seq, "type": int(MissionResult.ACCEPTED)})

    def _end(self, outcome: Outcome) -> None:
        self.outcome, self._last = outcome, None


def difference(sent: tuple[Item, ...], back: tuple[Item, ...], skip_first: bool) -> str:
    """Returns the first difference between what was sent and what was read back, or an empty text.

    Args:
        sent: what was uploaded.
        back: what the aircraft says it has.
        skip_first: ArduPilot puts its home position into item 0 of a mission.
    """
    if len(sent) != len(back):
        return f"{len(sent)} items were sent, {len(back)} read back"
    for index, (ours, theirs) in enumerate(zip(sent, back, strict=True)):
        if not ours.same(theirs) and not (skip_first and index == 0):
            return f"item {index}: sent {ours.text()}, read back {theirs.text()}"
    return ""
