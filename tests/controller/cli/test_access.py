"""`atoll access`: logins listed, handed out, taken in on another machine, renewed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from controller.cli.commissioning import Session
from controller.shell.broker_access import prepare_access
from controller.site import load
from devices.shell.broker_login import FOLDER, login_of
from tests.said import said

VILLAGE = Path(__file__).parents[2] / "village.toml"


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's data directory."""
    monkeypatch.setenv("ATOLL_DATA", str(tmp_path / "hub"))
    monkeypatch.setenv("ATOLL_SITE", str(VILLAGE))
    return tmp_path / "hub"


def test_a_password_goes_from_the_hub_to_a_gateway(
    hub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no password here" in said(capsys, "access", "list")
    login = json.loads(said(capsys, "access", "show", "gw-1", "--json"))
    assert login["user"] == "gateway.gw-1"
    assert login == {**login, "password": login_of(hub, "gateway.gw-1")().password}  # type: ignore[union-attr]
    monkeypatch.setattr("sys.stdin", io.StringIO(login["password"] + "\n"))
    edge = tmp_path / "edge"
    said(capsys, "access", "put", "gateway.gw-1", "--data-dir", str(edge))
    assert login_of(edge, "gateway.gw-1")().password == login["password"]  # type: ignore[union-attr]
    said(capsys, "access", "renew", "gw-1")
    assert json.loads(said(capsys, "access", "show", "gw-1", "--json"))["password"] != login["password"]


def test_what_was_taken_away_is_not_shown_and_not_made_anew(hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "access", "show", "robot-1")
    (hub / FOLDER / "device.robot-1.password").unlink()
    assert "atoll access renew device.robot-1" in said(capsys, "access", "show", "robot-1", code=1)


def test_names_that_are_none_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "there are hub, reader, gateway.gw-1" in said(capsys, "access", "show", "home-01", code=2)
    assert "is no login" in said(capsys, "access", "put", "../hub", code=2)


def test_the_list_says_who_may_say_what(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["login"]: row for row in json.loads(said(capsys, "access", "list", "--json"))["logins"]}
    assert "spBv1.0/village/DDATA/gw-1/+" in rows["gateway.gw-1"]["publishes"]
    assert rows["reader"]["publishes"] == []
    assert "everybody else may do everything" in said(capsys, "access", "list")


PLUG = """
[[device]]
id = "well"
kind = "relay"
driver = "mqtt:tasmota_plug"
gateway = "gw-1"
endpoint = "mqtt:well"
"""


def test_commissioning_hands_out_the_login_on_the_hubs_machine_only(hub: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(VILLAGE.read_text() + PLUG)
    session = Session("well", site, hub, "Ana", quiet=True)
    assert "at the hub: atoll access show well" in session.broker_login()
    prepare_access(load(site.read_text(), str(VILLAGE)), hub)
    login = login_of(hub, "device.well")()
    assert login is not None
    assert f"user device.well password {login.password}" in session.broker_login()
