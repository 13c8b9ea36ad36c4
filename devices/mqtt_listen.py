"""Who speaks on a broker, made out from topics and payloads alone; and the site-file entry to propose. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from devices import bounded_json
from devices.bounded_json import BadJson
from devices.sparkplug_codec import RemoteProtocolError, decode

ESPHOME = re.compile(r"^(.+)/(sensor|switch|binary_sensor|text_sensor|number)/([^/]+)/state$")
TASMOTA = re.compile(r"^(?:tele|stat)/(.+)/(LWT|STATE|SENSOR|RESULT|INFO1)$")
VDA = re.compile(r"^([^/]+)/(v\d+)/([^/]+)/([^/]+)/(state|connection|factsheet|visualization)$")
SPARKPLUG = re.compile(r"^spBv1\.0/([^/]+)/(N|D)(BIRTH|DATA|DEATH)/([^/]+)(?:/([^/]+))?$")
HOMIE = re.compile(r"^homie/(5/)?([^/$]+)/(\$(?:homie|name|nodes|description|state)|[^/$]+/[^/$]+)$")
DISCOVERY = re.compile(r"^homeassistant/([a-z_]+)/(?:([^/]+)/)?([^/]+)/config$")


@dataclass(frozen=True, slots=True)
class Speaker:
    """Somebody on the broker; `proposal` is the command that puts it into the site file, "" where there is none."""

    protocol: str
    id: str
    said: str
    proposal: str = ""


def identify(heard: Mapping[str, bytes]) -> list[Speaker]:
    """Returns who was heard, sorted; `heard` is the last payload per topic. Nothing in it can raise."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for topic, payload in sorted(heard.items()):
        found = _speaker(topic, payload)
        if found is not None:
            protocol, name, detail = found
            groups.setdefault((protocol, name), []).append((topic, detail))
    return [_summary(protocol, name, parts) for (protocol, name), parts in sorted(groups.items())]


def _speaker(topic: str, payload: bytes) -> tuple[str, str, str] | None:
    """Returns (protocol, id, detail) of one message."""
    if found := SPARKPLUG.match(topic):
        group, _, verb, node, device = found.groups()
        name = f"{group}/{node}" + (f"/{device}" if device else "")
        return "sparkplug", name, _metrics(payload) if verb == "BIRTH" else verb.lower()
    if found := VDA.match(topic):
        return "vda5050", f"{found.group(3)}/{found.group(4)}", f"{found.group(2)} {found.group(5)}"
    if found := TASMOTA.match(topic):
        return "tasmota", found.group(1), _tasmota(found.group(2), payload)
    if found := HOMIE.match(topic):
        return "homie5" if found.group(1) else "homie4", found.group(2), found.group(3)
    if found := DISCOVERY.match(topic):
        return "home-assistant", found.group(2) or found.group(3), _discovery(found.group(1), payload)
    if found := ESPHOME.match(topic):
        return "esphome", found.group(1), found.group(3)
    return None


def _metrics(payload: bytes) -> str:
    try:
        metrics = decode(payload).metrics
    except RemoteProtocolError:
        return "a birth that cannot be read"
    return f"{len(metrics)} metrics"


def _tasmota(part: str, payload: bytes) -> str:
    try:
        content = bounded_json.parse(payload)
    except BadJson:
        return part
    return "energy" if isinstance(content, dict) and "ENERGY" in content else part


def _discovery(component: str, payload: bytes) -> str:
    try:
        content = bounded_json.parse(payload)
    except BadJson:
        return component
    topic = content.get("state_topic", content.get("stat_t")) if isinstance(content, dict) else None
    return f"{component} at {topic}" if isinstance(topic, str) else component


def _summary(protocol: str, name: str, parts: Sequence[tuple[str, str]]) -> Speaker:
    details = list(dict.fromkeys(detail for _, detail in parts))
    said = ", ".join(details[:5]) + (f" and {len(details) - 5} more" if len(details) > 5 else "")
    id = re.sub(r"[^a-z0-9_.-]+", "-", name.lower())
    if protocol == "tasmota" and "energy" in details:
        return Speaker(protocol, name, said, _add(id, "meter", "tasmota_plug", name))
    if protocol == "esphome" and "energy" in details:
        return Speaker(protocol, name, said, _add(id, "meter", "esphome_meter", name))
    if protocol == "esphome" and "level" in details:
        return Speaker(protocol, name, said, _add(id, "tank", "esphome_tank", name) + " --set ratings.volume_l=LITRES")
    if protocol in ("homie4", "homie5") and "meter/energy" in details:
        return Speaker(protocol, name, said, _add(id, "meter", f"{protocol}_plug", name))
    if protocol == "vda5050":
        return Speaker(
            protocol,
            name,
            said,
            f'[[device]] id = "{name.rpartition("/")[2].lower()}" kind = "robot" driver = "vda5050"',
        )
    if protocol == "sparkplug":
        return Speaker(
            protocol, name, said, "the hub takes it up by itself where group and node are those of the site file"
        )
    return Speaker(
        protocol, name, said, "no shipped profile: atoll profiles list" if protocol != "home-assistant" else ""
    )


def _add(id: str, kind: str, profile: str, topic: str) -> str:
    return f"atoll device add {id} --kind {kind} --driver mqtt:{profile} --endpoint mqtt:{topic}"
