"""Where other machines find the console."""

from __future__ import annotations

import socket

import pytest

from controller.shell.places import own_names, reachable


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
