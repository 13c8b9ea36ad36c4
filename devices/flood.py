"""One talker who floods the broker takes nothing from the others: a budget of messages per source. Pure.

Below `FREE` messages a second all together nothing is counted. Above it, and for `WATCH_S` after, each source (a
Sparkplug node, a vehicle, a device that speaks plain MQTT) may send `RATE` a second, and what it did not use up to
`BURST`; the rest is dropped, which for Sparkplug shows as a gap in `seq` and leads to a rebirth. Records that a
gateway sends again after an outage are some tens of batches a second: far below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from devices.events import Incoming
from devices.sparkplug_codec import NAMESPACE

FREE = 2_000
RATE = 500
BURST = 5_000
WATCH_S = 10.0
SOURCES_MAX = 4_096


def source_of(topic: str) -> str:
    """Returns who speaks on a topic: its Sparkplug node, or else its first three levels."""
    parts = topic.split("/", 4)
    if parts[0] == NAMESPACE and len(parts) > 3:
        return f"{parts[1]}/{parts[3]}"
    return "/".join(parts[:3])


@dataclass(slots=True)
class FairShare:
    """Who has sent how much. Times are seconds of a clock that never goes back."""

    dropped: int = 0
    second: float = 0.0
    total: int = 0
    watch_until: float = 0.0
    tokens: dict[str, tuple[float, float]] = field(default_factory=dict[str, "tuple[float, float]"])  # left, when

    def admit(self, batch: Sequence[Incoming], now: float) -> Sequence[Incoming]:
        """Returns what may pass, in order; `dropped` counts the rest."""
        if now - self.second >= 1.0:
            self.second, self.total = now, 0
        self.total += len(batch)
        if self.total > FREE:
            self.watch_until = now + WATCH_S
        if now >= self.watch_until:
            return batch
        if len(self.tokens) > SOURCES_MAX:
            self.tokens.clear()  # a crowd of strangers: begin anew rather than remember each
        passed = [message for message in batch if self._may(source_of(message.topic), now)]
        self.dropped += len(batch) - len(passed)
        return passed

    def _may(self, source: str, now: float) -> bool:
        left, at = self.tokens.get(source, (float(BURST), now))
        left = min(BURST, left + (now - at) * RATE)
        self.tokens[source] = (left - 1 if left >= 1 else left, now)
        return left >= 1
