"""A digester and its gas holder: what is fed turns to gas by and by, the holder keeps it, what is too much is flared.

Whole numbers only, as in `machines`: matter in millionths of a gram, gas in millionths of a litre.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from devices.clock import DAY_MS
from devices.model import DeviceId, DeviceSpec
from firmware_sim.chance import draw, next_local

_PPM: Final = 1_000_000
_PER_KG: Final = 1_000_000_000
_PER_M3: Final = 1_000_000_000
_WMS_PER_KWH: Final = 3_600_000_000
_NEVER: Final = 1 << 62


@dataclass(slots=True)
class Digester:
    """One digester, by the sensor that shows how full its gas holder is."""

    id: DeviceId
    engine: str
    seed: int
    zone: str
    feed: tuple[tuple[str, int], ...]  # (local time, matter)
    yield_ppm: int  # gas per matter
    decay_ppm: int  # of what is left, in a day
    per_kwh: int  # gas
    capacity: int
    held: int
    undigested: int
    next_feed: int = 0
    flared: int = 0

    @classmethod
    def of(cls, spec: DeviceSpec, seed: int) -> Digester:
        """Returns the digester that a sensor belongs to, after years of the same feed."""
        given = {name: float(value) for name, value in spec.simulate.items() if not isinstance(value, str)}
        words = (word.partition("=") for word in str(spec.simulate["feed"]).split())
        feed = tuple((clock, round(float(kg) * _PER_KG)) for clock, _, kg in words)
        capacity = round(given["holder_m3"] * _PER_M3)
        return cls(
            id=spec.id,
            engine=str(spec.simulate["engine"]),
            seed=seed,
            zone=str(spec.simulate.get("timezone", "UTC")),
            feed=feed,
            yield_ppm=round(given["yield_m3_per_kg"] * _PPM),
            decay_ppm=round(given["decay_per_day"] * _PPM),
            per_kwh=round(given["m3_per_kwh"] * _PER_M3),
            capacity=capacity,
            held=round(given.get("level", 0.5) * capacity),
            undigested=round(sum(kg for _, kg in feed) / given["decay_per_day"]),
        )

    @property
    def fraction(self) -> float:
        """Returns how full the holder is, 0-1."""
        return self.held / self.capacity

    def expire(self, now: int) -> None:
        """Takes the feed whose time has come: four to six fifths of the usual."""
        if now < self.next_feed:
            return
        for clock, matter in self.feed if self.next_feed else ():
            if next_local(self.next_feed - 1, clock, self.zone) == self.next_feed:
                self.undigested += matter * (800_000 + draw(self.seed, f"{self.id}/{self.next_feed}", 400_001)) // _PPM
        self.next_feed = min((next_local(now, clock, self.zone) for clock, _ in self.feed), default=_NEVER)

    def run(self, duration_ms: int) -> None:
        """Makes gas for that long."""
        digested = self.undigested * self.decay_ppm * duration_ms // (_PPM * DAY_MS)
        self.undigested -= digested
        self.held += digested * self.yield_ppm // _PPM
        self.flared += max(0, self.held - self.capacity)
        self.held = min(self.held, self.capacity)

    def burn(self, work_wms: int) -> None:
        """Gives an engine the gas for its work [W ms], as far as there is any."""
        self.held = max(0, self.held - work_wms * self.per_kwh // _WMS_PER_KWH)
