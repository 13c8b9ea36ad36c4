"""The weather file in the hub's data directory: looked at now and then, read when it has changed."""

from __future__ import annotations

from pathlib import Path

from controller.hub_events import WeatherTold
from controller.weather_file import BYTES_MAX, BadWeather, read_weather
from devices.clock import Instant


class WeatherDrop:
    """One file that somebody may put there, replace or take away at any time."""

    def __init__(self, path: Path, *, simulated: bool) -> None:
        self._path = path
        self._simulated = simulated  # the file's own time then says nothing
        self._seen: tuple[int, int] | None = None
        self._missed = False

    def look(self) -> WeatherTold | None:
        """Returns what a new file tells or why it cannot be read; None while nothing has changed."""
        try:
            stat = self._path.stat()
            if (stat.st_mtime_ns, stat.st_size) == self._seen:
                return None
            with self._path.open("rb") as file:
                data = file.read(BYTES_MAX + 1)
        except OSError as error:
            first, self._missed, self._seen = not self._missed, True, None
            return WeatherTold(None, f"{self._path}: {error.strerror or error}") if first else None
        self._seen, self._missed = (stat.st_mtime_ns, stat.st_size), False
        written = None if self._simulated else Instant(stat.st_mtime_ns // 1_000_000)
        try:
            return WeatherTold(read_weather(data, written))
        except BadWeather as error:
            return WeatherTold(None, f"{self._path}: {error}")
