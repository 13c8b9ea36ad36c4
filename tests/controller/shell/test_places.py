"""Where other machines find the console."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from controller.shell.demo import modbus_servers
from controller.shell.places import own_names, reachable
from controller.site import load
from tests.controller.scene import VILLAGE


def test_a_console_for_everybody_is_shown_and_answers_under_this_machines_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unresolved(*_: object) -> list[object]:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    shown = reachable("0.0.0.0")
    assert shown != "0.0.0.0"
    socket.inet_aton(shown)
    assert {shown, "localhost", socket.gethostname()} <= own_names("0.0.0.0")


def test_an_address_is_shown_as_a_url_wants_it() -> None:
    assert reachable("192.168.7.2") == "192.168.7.2"
    assert reachable("::1") == "[::1]"
    assert "[::1]" in own_names("::1")


def test_only_modbus_servers_need_a_port() -> None:
    """Serial buses, pins and devices that speak MQTT have none; a demo with them starts all the same."""
    village = load(VILLAGE.read_text(), str(VILLAGE))
    others = ("mqtt:barn/meter", "rtu:/dev/serial/by-id/usb?baud=9600", "gpio:header", "", "[::1]:5021")
    devices = [replace(device, endpoint=endpoint) for device, endpoint in zip(village.devices, others, strict=False)]
    site = replace(village, devices=(*devices, *village.devices[len(others) :]))
    assert modbus_servers(site) == [("127.0.0.1:5020", "127.0.0.1", 5020), ("[::1]:5021", "[::1]", 5021)]
