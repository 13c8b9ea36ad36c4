"""When to plan out of turn: a device lost or back, a vehicle come or gone, a forecast that is badly missed. Pure.

The outside going or coming back is watched by the hub's core itself. Every event names itself, so that a plan can say
why it was made; however much happens, plans are asked for at most once a minute.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp

from controller.image import Snapshot
from controller.site import Site
from devices.clock import MINUTE_MS, SECOND_MS, SLOT_MS, Instant
from devices.model import DeviceId, DeviceKind

WATCHED = (
    DeviceKind.GRID,
    DeviceKind.BATTERY,
    DeviceKind.GENSET,
    DeviceKind.PUMP,
    DeviceKind.TANK,
    DeviceKind.CHARGER,
    DeviceKind.THERMAL,
)
"""What a plan steers or is steered by; a silent meter of one home changes no plan."""

SETTLE_MS = 30 * SECOND_MS
"""A device must have been lost, or back, for so long: one late message is no event."""

EVENT_GAP_MS = MINUTE_MS
MISS_W_MIN = 3_000.0
MISS_SHARE = 0.35
"""A miss is big above this share of the largest exchange expected in the forecast, and above `MISS_W_MIN`."""

MISS_OVER_MS = 10 * MINUTE_MS
"""Time constant of the running mean of forecast errors, and how long it must have been learnt."""

MISS_GAP_MS = 30 * MINUTE_MS
LONG_SLOTS = 96
"""How long a genset has been in its state when nothing is known of it."""


@dataclass(slots=True)
class Watch:
    """What has been seen so far. Owned by the hub's core."""

    here: dict[DeviceId, bool] = field(default_factory=dict[DeviceId, bool])  # as last told
    turned: dict[DeviceId, Instant] = field(default_factory=dict[DeviceId, Instant])  # since when it is otherwise
    plugged: dict[DeviceId, bool] = field(default_factory=dict[DeviceId, bool])
    runs: dict[DeviceId, tuple[bool, Instant | None]] = field(
        default_factory=dict[DeviceId, tuple[bool, Instant | None]]
    )
    miss_w: float = 0.0  # running mean of actual less expected net load
    missing_since: Instant | None = None
    missed_at: Instant | None = None
    last_at: Instant | None = None

    def look(self, site: Site, snapshot: Snapshot) -> list[str]:
        """Returns what has happened to the devices since the last cycle, in words; keeps all run times."""
        now = snapshot.now
        self._run_times(site, snapshot)
        return [*self._losses(site, snapshot, now), *self._vehicles(site, snapshot)]

    def _losses(self, site: Site, snapshot: Snapshot, now: Instant) -> list[str]:
        found: list[str] = []
        for kind in WATCHED:
            for device in site.of_kind(kind):
                online = snapshot.online(device.id)
                if self.here.setdefault(device.id, True) is online:
                    self.turned.pop(device.id, None)
                elif now - self.turned.setdefault(device.id, now) >= SETTLE_MS:
                    self.here[device.id] = online
                    del self.turned[device.id]
                    found.append(f"{device.id} {'reports again' if online else 'does not report'}")
        return found

    def _vehicles(self, site: Site, snapshot: Snapshot) -> list[str]:
        found: list[str] = []
        for device in site.of_kind(DeviceKind.CHARGER):
            value = snapshot.value(device.id, "connected")
            if value is None:
                continue
            connected = value == 1.0
            if self.plugged.setdefault(device.id, connected) is not connected:
                self.plugged[device.id] = connected
                found.append(f"{device.id}: a vehicle has {'come' if connected else 'left'}")
        return found

    def _run_times(self, site: Site, snapshot: Snapshot) -> None:
        machines = [(device.id, "running") for device in site.of_kind(DeviceKind.GENSET)]
        machines += [(device.id, "on") for device in site.of_kind(DeviceKind.PUMP)]
        for name, point in machines:
            value = snapshot.value(name, point)
            if value is None:
                continue
            running = value > 0.0
            known = self.runs.get(name)
            if known is None:
                self.runs[name] = (running, None)
            elif known[0] is not running:
                self.runs[name] = (running, snapshot.now)

    def slots_in_state(self, device: DeviceId, now: Instant) -> int:
        """Returns for how many whole slots a genset or pump has run or rested; what began before us began long ago."""
        since = self.runs.get(device, (False, None))[1]
        return LONG_SLOTS if since is None else (now - since) // SLOT_MS

    def miss(self, actual_w: float | None, expected_w: float | None, largest_w: float, now: Instant) -> str:
        """Returns in words that the forecast of the net load is badly missed, or an empty text.

        Args:
            actual_w: net load now, None while it is not known.
            expected_w: what the forecast in force says of this slot, None without one.
            largest_w: the largest exchange in that forecast.
            now: the cycle's time.
        """
        passed = 0 if self.last_at is None else now - self.last_at
        self.last_at = now
        if actual_w is None or expected_w is None:
            self.miss_w, self.missing_since = 0.0, None
            return ""
        if self.missing_since is None:
            self.missing_since = now
        keep = exp(-passed / MISS_OVER_MS)
        self.miss_w = keep * self.miss_w + (1.0 - keep) * (actual_w - expected_w)
        if now - self.missing_since < MISS_OVER_MS or abs(self.miss_w) < max(MISS_W_MIN, MISS_SHARE * largest_w):
            return ""
        if self.missed_at is not None and now - self.missed_at < MISS_GAP_MS:
            return ""
        self.missed_at = now
        word = "more" if self.miss_w > 0 else "less"
        return f"forecast missed: {abs(self.miss_w) / 1000:.1f} kW {word} net load than expected"
