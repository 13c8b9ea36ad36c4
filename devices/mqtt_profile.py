"""How a device that speaks plain MQTT is read and told: one TOML file per product (devices/mqtt_profiles).

`{id}` in a topic stands for the device's own topic (`endpoint = "mqtt:ID"` in the site file). All that a profile may
say stands in the `*_KEYS` tables; a profile with faults lists every one.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import cast

from devices.model import DeviceSpec
from devices.profile_schema import BadProfile

PREFIX = "mqtt:"
"""How drivers and endpoints of these devices begin."""
PROFILE_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "title": str,
    "source": str,
    "stale_s": int,  # without a word for so long the device counts as dead
    "alive": dict,  # topic, online, offline (one word or several): the device's own last will
    "start": list,  # {topic, payload}: said whenever the device comes
    "point": dict,
    "write": dict,
    "golden": list,  # published messages of the product
}
GOLDEN_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "source": str,  # where it was published
    "topic": str,  # one of the topics below
    "payload": str,
    "reads": dict,  # point -> value in our unit: every point that this topic brings
}
ALIVE_KEYS: Mapping[str, type | tuple[type, ...]] = {"topic": str, "online": str, "offline": (str, list)}
SAY_KEYS: Mapping[str, type | tuple[type, ...]] = {"topic": str, "payload": str}
POINT_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "topic": str,
    "path": str,  # into the JSON payload: names and list indices with dots; none: the payload itself
    "from": list,  # instead of topic and path: several {topic, path}, the last heard counts
    "scale": (int, float),  # our unit per the device's; negative turns the sign
    "map": dict,  # text of the device -> number
    "range": list,  # of the value in our unit; outside: bad
    "constant": (int, float),  # the device has no such value and this is always right (no export register: 0)
    "optional": bool,  # not every device of this product sends it
}
WRITE_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "topic": str,
    "payload": str,  # {value} is put in
    "map": dict,  # number -> text for {value}; other numbers are refused
    "scale": (int, float),  # the device's unit per ours
    "range": list,
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value stands: a topic, and the way through its JSON (empty: the whole payload)."""

    topic: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MqttPoint:
    """One readable value."""

    name: str
    sources: tuple[Source, ...]
    scale: float = 1.0
    texts: Mapping[str, float] = field(default_factory=dict[str, float])
    low: float = float("-inf")
    high: float = float("inf")
    constant: float | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class MqttWrite:
    """How one point is set."""

    topic: str
    payload: str
    scale: float
    texts: Mapping[str, str]
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class GoldenMessage:
    """A published message of the product, and what it means."""

    source: str
    topic: str
    payload: str
    reads: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MqttProfile:
    """A product that speaks MQTT by itself."""

    name: str
    title: str
    source: str
    stale_ms: int
    alive: tuple[str, str, tuple[str, ...]] | None  # topic, the word for online, those for offline
    start: tuple[tuple[str, str], ...]
    points: tuple[MqttPoint, ...]
    writes: Mapping[str, MqttWrite]
    golden: tuple[GoldenMessage, ...] = ()


def is_plain(spec: DeviceSpec) -> bool:
    """Returns whether a device speaks plain MQTT."""
    return spec.driver.startswith(PREFIX)


def mqtt_profile_names() -> list[str]:
    """Returns the names of the shipped profiles, sorted."""
    folder = files("devices").joinpath("mqtt_profiles")
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


@lru_cache(maxsize=64)
def load_mqtt_profile(name: str) -> MqttProfile:
    """Returns a shipped profile.

    Raises:
        BadProfile: no such profile (the message lists those there are) or faults in it.
    """
    if name not in mqtt_profile_names():
        raise BadProfile([f"no MQTT profile {name!r}: there are {', '.join(mqtt_profile_names())}"])
    text = files("devices").joinpath("mqtt_profiles").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return parse_mqtt_profile(name, text)


def parse_mqtt_profile(name: str, text: str) -> MqttProfile:
    """Returns the profile that a TOML text describes.

    Raises:
        BadProfile: every fault in it.
    """
    try:
        table = cast("dict[str, object]", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise BadProfile([f"{name}: {error}"]) from error
    reader = _Reader(name, [])
    profile = reader.profile(table)
    if reader.problems or profile is None:
        raise BadProfile(reader.problems)
    return profile


@dataclass(slots=True)
class _Reader:
    name: str
    problems: list[str]

    def profile(self, table: Mapping[str, object]) -> MqttProfile | None:
        self.keys("", table, PROFILE_KEYS, ("title", "source", "stale_s", "point"))
        if self.problems:
            return None
        stale_s = cast("int", table["stale_s"])
        if not 1 <= stale_s <= 86_400:
            self.say("stale_s", f"{stale_s}: 1 to 86400 seconds")
        alive = cast("dict[str, object]", table.get("alive", {}))
        if alive:
            self.keys("alive", alive, ALIVE_KEYS, tuple(ALIVE_KEYS))
        offline = alive.get("offline", "")
        gone = tuple(map(str, cast("list[object]", offline))) if isinstance(offline, list) else (str(offline),)
        if alive and not all(gone):
            self.say("alive.offline", f"{offline!r} holds no word")
        start = [
            (str(entry.get("topic", "")), str(entry.get("payload", "")))
            for where, entry in self.tables("start", table.get("start", []))
            if self.keys(where, entry, SAY_KEYS, ("topic", "payload"))
        ]
        points = [self.point(name, entry) for name, entry in self.named("point", table["point"])]
        known = {point.name for point in points}
        writes: dict[str, MqttWrite] = {}
        for name, entry in self.named("write", table.get("write", {})):
            writes[name] = self.write(name, entry)
            if name not in known:
                self.say(f"write.{name}", "is no point: without a value to read back nobody knows what it did")
        topics = [s.topic for p in points for s in p.sources] + [str(alive.get("topic", "{id}"))]
        topics += [topic for topic, _ in start] + [write.topic for write in writes.values()]
        for topic in topics:
            if "{id}" not in topic or set(topic) & {"#", "+", "\0"}:
                self.say("topic", f"{topic!r}: name the device with {{id}}, and no wildcard")
        golden = self.golden(table.get("golden", []), points)
        if self.problems:
            return None
        return MqttProfile(
            self.name,
            str(table["title"]),
            str(table["source"]),
            stale_s * 1000,
            (str(alive["topic"]), str(alive["online"]), gone) if alive else None,
            tuple(start),
            tuple(points),
            writes,
            golden,
        )

    def point(self, name: str, entry: Mapping[str, object]) -> MqttPoint:
        where = f"point.{name}"
        self.keys(where, entry, POINT_KEYS, ())
        listed = entry.get("from", [entry] if "topic" in entry else [])
        sources: list[Source] = []
        for place, source in self.tables(f"{where}.from", listed):
            if isinstance(source.get("topic"), str) and isinstance(source.get("path", ""), str):
                path = tuple(part for part in str(source.get("path", "")).split(".") if part)
                sources.append(Source(str(source["topic"]), path))
            else:
                self.say(place, "needs a topic, and a path that is a text")
        if ("constant" in entry) == bool(sources):
            self.say(where, "has either a topic (or from) or a constant")
        low, high = self.range(where, entry)
        texts: dict[str, float] = {}
        for text, number in cast("dict[str, object]", entry.get("map", {})).items():
            if isinstance(number, int | float) and not isinstance(number, bool):
                texts[text] = float(number)
            else:
                self.say(f"{where}.map", f"{text} = {number!r} is no number")
        constant = entry.get("constant")
        return MqttPoint(
            name,
            tuple(sources),
            self.number(entry, "scale", 1.0),
            texts,
            low,
            high,
            float(constant) if isinstance(constant, int | float) else None,
            entry.get("optional") is True,
        )

    def write(self, name: str, entry: Mapping[str, object]) -> MqttWrite:
        where = f"write.{name}"
        self.keys(where, entry, WRITE_KEYS, ("topic", "range"))
        low, high = self.range(where, entry)
        if not low > float("-inf"):
            self.say(f"{where}.range", "a point that is written has a range")
        texts = {str(k): str(v) for k, v in cast("dict[str, object]", entry.get("map", {})).items()}
        payload = str(entry.get("payload", "{value}"))
        if "{value}" not in payload:
            self.say(f"{where}.payload", f"{payload!r} has no {{value}}")
        return MqttWrite(str(entry.get("topic", "{id}")), payload, self.number(entry, "scale", 1.0), texts, low, high)

    def golden(self, value: object, points: Sequence[MqttPoint]) -> tuple[GoldenMessage, ...]:
        found: list[GoldenMessage] = []
        for where, entry in self.tables("golden", value):
            if not self.keys(where, entry, GOLDEN_KEYS, tuple(GOLDEN_KEYS)):
                continue
            topic, reads = str(entry["topic"]), cast("dict[str, object]", entry["reads"])
            wanted = {point.name for point in points if any(source.topic == topic for source in point.sources)}
            if reads.keys() != wanted:
                self.say(where, f"reads {', '.join(reads)}; {topic} brings {', '.join(sorted(wanted)) or 'nothing'}")
            numbers = {name: float(n) for name, n in reads.items() if isinstance(n, int | float)}
            if len(numbers) < len(reads):
                self.say(where, "reads holds what is no number")
            found.append(GoldenMessage(str(entry["source"]), topic, str(entry["payload"]), numbers))
        return tuple(found)

    def range(self, where: str, entry: Mapping[str, object]) -> tuple[float, float]:
        match entry.get("range"):
            case None:
                return float("-inf"), float("inf")
            case [int() | float() as low, int() | float() as high] if low < high:
                return float(low), float(high)
            case other:
                self.say(f"{where}.range", f"{other!r} is not [low, high]")
                return float("-inf"), float("inf")

    def number(self, entry: Mapping[str, object], key: str, otherwise: float) -> float:
        value = entry.get(key, otherwise)
        return float(value) if isinstance(value, int | float) and value else otherwise

    def keys(
        self,
        where: str,
        table: Mapping[str, object],
        known: Mapping[str, type | tuple[type, ...]],
        needed: Sequence[str],
    ) -> bool:
        before = len(self.problems)
        place = f"{where}." if where else ""
        for key, value in table.items():
            kind = known.get(key)
            if kind is None:
                near = difflib.get_close_matches(key, known, 1)
                self.say(place + key, "is no key of a profile" + (f"; did you mean {near[0]}?" if near else ""))
            elif not isinstance(value, kind):
                self.say(place + key, f"{value!r:.60} is of the wrong type")
        for key in needed:
            if key not in table:
                self.say(place + key, "is missing")
        return len(self.problems) == before

    def named(self, where: str, value: object) -> Iterator[tuple[str, Mapping[str, object]]]:
        for name, entry in cast("dict[str, object]", value).items():
            if isinstance(entry, dict):
                yield name, cast("dict[str, object]", entry)
            else:
                self.say(f"{where}.{name}", "is not a table")

    def tables(self, where: str, value: object) -> Iterator[tuple[str, Mapping[str, object]]]:
        for number, entry in enumerate(cast("list[object]", value) if isinstance(value, list) else []):
            if isinstance(entry, dict):
                yield f"{where}[{number}]", cast("dict[str, object]", entry)
            else:
                self.say(f"{where}[{number}]", "is not a table")

    def say(self, where: str, what: str) -> None:
        self.problems.append(f"{self.name}: {where} {what}")
