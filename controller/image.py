"""The process image: the last reading of every point, with quality and age.

The image is replaced per device and poll, never per value; `freeze` gives the cycle one view that cannot change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devices.clock import Instant
from devices.model import DeviceId, PointId, Quality, Reading, Readings, split_point

USABLE = (Quality.GOOD, Quality.UNCERTAIN)


@dataclass(frozen=True, slots=True)
class DeviceImage:
    """The last known columns of one device. `online` is what its gateway says of it."""

    points: tuple[str, ...]
    values: tuple[float | None, ...]
    qualities: tuple[Quality, ...]
    times: tuple[Instant, ...]
    at: Instant  # newest of `times`
    simulated: bool
    online: bool = True

    def index(self, point: str) -> int | None:
        """Returns the column of a point, or None."""
        try:
            return self.points.index(point)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One frozen view of the whole site. A value is a number only while it is good and young enough."""

    now: Instant
    devices: Mapping[DeviceId, DeviceImage]
    deadlines_ms: Mapping[DeviceId, int]

    def reading(self, device: str, point: str) -> Reading | None:
        """Returns the last reading with its effective quality (STALE beyond the data deadline), or None."""
        image = self.devices.get(DeviceId(device))
        index = None if image is None else image.index(point)
        if image is None or index is None:
            return None
        quality, at = image.qualities[index], image.times[index]
        if quality in USABLE and not self._fresh(image, device, at):
            quality = Quality.STALE
        return Reading(PointId(f"{device}/{point}"), image.values[index], quality, at, image.simulated)

    def value(self, device: str, point: str) -> float | None:
        """Returns the number if it may be used now, else None."""
        image = self.devices.get(DeviceId(device))
        if image is None or not image.online or point not in image.points:
            return None
        index = image.points.index(point)
        young = self.now - image.times[index] <= self.deadlines_ms.get(DeviceId(device), 0)
        return image.values[index] if young and image.qualities[index] in USABLE else None

    def online(self, device: str) -> bool:
        """Returns whether the device has sent something within its data deadline and was not declared dead."""
        image = self.devices.get(DeviceId(device))
        return image is not None and self._fresh(image, device, image.at)

    def pumping(self, pump: str) -> bool:
        """Returns whether a pump is known to run, at whatever speed of its drive."""
        return (self.value(pump, "on") or 0.0) > 0.0

    def _fresh(self, image: DeviceImage, device: str, at: Instant) -> bool:
        return image.online and self.now - at <= self.deadlines_ms.get(DeviceId(device), 0)


class Image:
    """The last readings of all devices; owned by the hub's loop."""

    def __init__(self, deadlines_ms: Mapping[DeviceId, int]) -> None:
        self._deadlines_ms = dict(deadlines_ms)
        self._devices: dict[DeviceId, DeviceImage] = {}

    def update(self, readings: Readings, received: Instant) -> None:
        """Takes one device's live columns, as of their receipt; back-fill is left out.

        Freshness counts from the hub's own receipt: a gateway whose clock has stepped back must neither freeze its
        devices nor keep them fresh for ever. What comes late within a session is marked historical by the host.
        """
        if readings.historical:
            return
        known = self._devices.get(readings.device)
        if known is None or known.points is readings.points or known.points == readings.points:
            self._devices[readings.device] = DeviceImage(
                readings.points,
                readings.values,
                readings.qualities,
                (received,) * len(readings.points),
                received,
                readings.simulated,
            )
        else:
            self._devices[readings.device] = _merged(known, readings, received)

    def offline(self, device: DeviceId) -> None:
        """Marks everything of a device as stale at once (its death certificate came)."""
        known = self._devices.get(device)
        if known is not None and known.online:
            self._devices[device] = DeviceImage(
                known.points, known.values, known.qualities, known.times, known.at, known.simulated, online=False
            )

    def freeze(self, now: Instant) -> Snapshot:
        """Returns the view that one control cycle works on."""
        return Snapshot(now, dict(self._devices), self._deadlines_ms)


def _merged(known: DeviceImage, readings: Readings, at: Instant) -> DeviceImage:
    """Returns the union of columns; points that the message does not name keep their value and time."""
    columns = {
        point: (value, quality, time)
        for point, value, quality, time in zip(known.points, known.values, known.qualities, known.times, strict=True)
    }
    for point, value, quality in zip(readings.points, readings.values, readings.qualities, strict=True):
        columns[point] = (value, quality, at)
    values, qualities, times = zip(*columns.values(), strict=True)
    return DeviceImage(tuple(columns), values, qualities, times, at, readings.simulated)


def device_of(point: PointId) -> DeviceId:
    """Returns the device that a point belongs to."""
    return split_point(point)[0]
