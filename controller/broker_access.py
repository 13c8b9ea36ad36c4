"""Who may say and hear what on the broker: ACL of a mosquitto, users of a nats-server, from the site file. Pure.

A gateway, a vehicle or a device that speaks MQTT by itself publishes below its own node only and hears its own commands
only; the hub all; `reader` hears all and says nothing. Names begin with the role, so that no two are the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.site import Site
from devices.logins import device_login, gateway_login
from devices.model import DeviceSpec
from devices.mqtt_profile import is_plain
from devices.mqtt_units import MqttUnit
from devices.sparkplug_codec import NAMESPACE
from devices.vda5050 import Kind

HUB = "hub"
READER = "reader"
ANYBODY = "anybody"
"""Name of clients without a login, where they are let in."""
DISCOVERY = ("tasmota/discovery/#", "homeassistant/#", "esphome/discover/#")
"""What plain devices announce themselves on, which nobody here believes. mosquitto 2.0 throws a client of MQTT 3.1.1
out for a publish that it may not make: they would come and go for ever."""
_EDGE_NODE = ("NBIRTH", "NDATA", "NDEATH")
_EDGE_DEVICE = ("DBIRTH", "DDATA", "DDEATH")
_TO_VEHICLE = (Kind.ORDER, Kind.INSTANT_ACTIONS)


@dataclass(frozen=True, slots=True)
class Grant:
    """What one login may publish (`write`) and receive (`read`), as MQTT topic filters."""

    name: str
    write: tuple[str, ...]
    read: tuple[str, ...]


def grants(site: Site) -> tuple[Grant, ...]:
    """Returns every login of a site: hub, reader, gateways, vehicles, devices that speak MQTT by themselves."""
    found = [Grant(HUB, ("#",), ("#",)), Grant(READER, (), ("#",))]
    found += [_gateway(site, gateway.id) for gateway in site.gateways]
    for device in site.devices:
        if device.driver == "vda5050":
            address = site.sky.address(device.id)
            own = tuple(address.topic(kind) for kind in Kind if kind not in _TO_VEHICLE)
            found.append(Grant(device_login(device.id), own, tuple(address.topic(kind) for kind in _TO_VEHICLE)))
        elif is_plain(device):
            found.append(_plain(device))
    return tuple(found)


def _gateway(site: Site, gateway: str) -> Grant:
    """A gateway speaks for its devices on Sparkplug, commands those with MQTT of their own, and pauses vehicles."""
    group = f"{NAMESPACE}/{site.id}"
    write = [f"{group}/{kind}/{gateway}" for kind in _EDGE_NODE] + [
        f"{group}/{kind}/{gateway}/+" for kind in _EDGE_DEVICE
    ]
    read = [f"{group}/NCMD/{gateway}", f"{group}/DCMD/{gateway}/+", f"{NAMESPACE}/STATE/+"]
    here = [device for device in site.devices if device.gateway == gateway]
    for device in here:
        if is_plain(device):
            unit = MqttUnit(device)
            write += _commands(unit)
            read += unit.topics()
    sensors = {device.id for device in here}
    vehicles = {device.id for device in site.devices if device.driver == "vda5050"}
    for rule in site.interlocks:
        if rule.sensor in sensors and rule.device in vehicles:
            address = site.sky.address(rule.device)
            write.append(address.topic(Kind.INSTANT_ACTIONS))
            read.append(address.topic(Kind.STATE))
    return Grant(gateway_login(gateway), _once(write), _once(read))


def _plain(device: DeviceSpec) -> Grant:
    """All below its own name, since products say more than is read of them: `tele/well/#` for `tele/{id}/SENSOR`."""
    unit = MqttUnit(device)
    return Grant(
        device_login(device.id),
        (*_once(_below(topic, unit.name) for topic in unit.topics()), *DISCOVERY),
        _once(_below(topic, unit.name) for topic in _commands(unit)),
    )


def _commands(unit: MqttUnit) -> list[str]:
    return [*(unit.topic(write.topic) for write in unit.profile.writes.values()), *(m.topic for m in unit.start())]


def _below(topic: str, name: str) -> str:
    start, found, _ = f"/{topic}/".partition(f"/{name}/")
    return f"{start}/{name}/#".lstrip("/") if found else topic


def _once(topics: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(topics))


def mosquitto_acl(found: Iterable[Grant], *, anonymous: bool) -> str:
    """Returns an `acl_file`; `anonymous` lets clients without a login do everything, as before there were logins."""
    lines = ["# Made by Atoll from the site file: changes here are lost."]
    lines += ["topic readwrite #"] * anonymous
    for grant in found:
        lines += ["", f"user {grant.name}"]
        lines += [f"topic write {topic}" for topic in grant.write]
        lines += [f"topic read {topic}" for topic in grant.read]
    return "\n".join(lines) + "\n"


def nats_users(found: Iterable[Grant], passwords: Mapping[str, str], *, anonymous: bool) -> str:
    """Returns the `authorization` block of a nats-server; `ANYBODY` is for `no_auth_user` of its mqtt block.

    Source: docs.nats.io, MQTT: topics as subjects (`/` is `.`, a dot is `//`), `$MQTT.sub.>` for QoS 1 deliveries.
    """
    users: list[str] = []
    if anonymous:
        users.append(f"    {{ user: {ANYBODY}, password: {json.dumps(passwords[ANYBODY])} }}")
    for grant in found:
        publish = json.dumps(_subjects(grant.write))
        say = f"allow: {publish}" if grant.write else 'deny: ">"'  # to a nats-server an empty list allows all
        subscribe = json.dumps([*_subjects(grant.read), "$MQTT.sub.>"])
        rights = f"publish: {{ {say} }}, subscribe: {{ allow: {subscribe} }}"
        login = f"user: {json.dumps(grant.name)}, password: {json.dumps(passwords[grant.name])}"
        users.append(f"    {{ {login}, permissions: {{ {rights} }} }}")
    return "authorization {\n  users = [\n" + "\n".join(users) + "\n  ]\n}\n"


def _subjects(topics: Iterable[str]) -> list[str]:
    found: list[str] = []
    for topic in topics:
        subject = topic.replace(".", "//") if "." in topic else topic
        subject = re.sub(r"(?<!/)/(?!/)", ".", subject).replace("+", "*").replace("#", ">")
        found.append(subject)
        if subject.endswith(".>"):  # MQTT's a/# is also a
            found.append(subject[:-2])
    return found
