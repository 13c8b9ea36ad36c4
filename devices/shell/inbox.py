"""The one way into a core's loop: a bounded inbox that many threads fill and one loop empties in batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Generic, TypeVar

E = TypeVar("E")

CAPACITY = 20_000
BATCH_MAX = 2_000


class Inbox(Generic[E]):
    """A bounded queue of events. A full one drops what comes, never what waits; `dropped` counts, `force` gets in."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        """Makes an empty inbox for at most `capacity` events."""
        if capacity < 1:
            raise ValueError(f"an inbox for {capacity} events holds nothing")
        self.capacity = capacity
        self.dropped = 0
        self._items: list[E] = []
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)

    def __len__(self) -> int:
        return len(self._items)

    def put(self, event: E) -> bool:
        """Adds an event, or drops and counts it when full; returns whether it was added."""
        return self.put_all((event,)) == 1

    def put_all(self, events: Iterable[E]) -> int:
        """Adds as many events as there is room for, in order, and returns how many; the rest is dropped and counted."""
        with self._filled:
            items = self._items
            before = len(items)
            items.extend(events)
            excess = len(items) - max(self.capacity, before)
            if excess > 0:
                del items[-excess:]
                self.dropped += excess
            added = len(items) - before
            if added and not before:
                self._filled.notify()
            return added

    def force(self, event: E) -> None:
        """Adds an event even when full: for the few that must not be lost (link changes, a child's answer, stop)."""
        with self._filled:
            self._items.append(event)
            self._filled.notify()

    def get(self, timeout_s: float, limit: int = BATCH_MAX, linger_s: float = 0.0) -> list[E]:
        """Returns up to `limit` waiting events, oldest first; waits `timeout_s` for the first, then returns [].

        When it had to wait, it stays `linger_s` longer for more: fewer wake-ups and larger batches under load.
        """
        deadline = time.monotonic() + timeout_s
        with self._filled:
            waited = not self._items
            while not self._items:
                left = deadline - time.monotonic()
                if left <= 0 or not self._filled.wait(left):
                    break
        if waited and linger_s > 0 and self._items:
            time.sleep(linger_s)
        with self._lock:
            if len(self._items) <= limit:
                batch, self._items = self._items, []
            else:
                batch = self._items[:limit]
                del self._items[:limit]
            return batch
