"""`atoll scan sunspec`, `read` and `commission` on an inverter that shows its trip settings: pymodbus' own server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.site import check
from devices.sunspec import END_MODEL, encode_chain
from tests.devices.shell.modbus_server import served
from tests.devices.test_sunspec_curves import UK_LV, image
from tests.said import said

LIMITS = """
[[grid.trip_limit]]
side = "low"
at_pct = 40
ms_max = 200

[[grid.trip_limit]]
side = "low"
at_pct = 60
ms_min = 1500
ms_max = {ms_max}
"""


@pytest.fixture(scope="module")
def inverter() -> Iterator[str]:
    """A solar inverter of models 1, 103, 123 and 707, its curve as pysunspec2 writes it."""
    plant = {"W": 3000, "WH": 4000, "Hz": 50.0, "PhVphA": 230.0}
    chain = encode_chain([(1, {"Mn": "Atoll"}), (103, plant), (123, {"WMaxLimPct": 100, "WMaxLim_Ena": 0})])
    with served(40000, [*chain[:-2], *image(UK_LV), END_MODEL, 0]) as endpoint:
        yield endpoint


def test_scan_and_read_show_the_trip_settings(inverter: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del here
    assert "trip_lv on: must1 45 % V 0.16 s, must2 70 % V 2 s" in said(capsys, "scan", "sunspec", inverter)
    rows = json.loads(said(capsys, "scan", "sunspec", inverter, "--json"))["models"]
    assert rows[-1]["points"]["trip_lv_must2_s"] == 2
    words = ("--endpoint", inverter, "--kind", "pv", "--driver", "sunspec")
    plain = said(capsys, "read", "pv", *words)
    assert "trip_lv " in plain
    assert "trip_lv_must1_v_pct" not in plain
    assert "trip_lv_must1_v_pct" in said(capsys, "read", "pv", *words, "--curves")
    assert "0.16" in said(capsys, "read", "pv.trip_lv_must1_s", *words)
    assert "has no point" in said(capsys, "read", "pv.trip_lv_must9_s", *words, code=2)


def test_commissioning_holds_them_against_the_sites_limits(
    inverter: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "init", "--yes", "--name", "Motu", "--timezone", "UTC", "--endpoint", "127.0.0.1:9")
    words = ("--kind", "pv", "--driver", "sunspec", "--endpoint", inverter, "--unit", "1")
    said(capsys, "device", "add", "pv-1", *words, "--set", "ratings.power_w_max=5000")
    site = here / "site.toml"
    sound = site.read_text()
    by = ("--by", "Ana", "--key", "tech.pem", "--yes", "--estop", "works", "--watch", "0")
    known = ("--known", "W=-3000", "--known", "export_wh=4kWh")

    site.write_text(sound + LIMITS.format(ms_max=1800))
    shown = said(capsys, "commission", "pv-1", *by, *known, code=1)
    assert "trips after 2 s; allowed: 1.5 s to 1.8 s; too late" in shown
    assert "read_only = true" in site.read_text()

    site.write_text(site.read_text().replace("ms_max = 1800", "ms_max = 2500"))
    shown = said(capsys, "commission", "pv-1", *by, *known)
    assert "armed" in shown
    assert shown.count("trip at") == 2

    site.write_text(site.read_text() + '\n[[grid.trip_limit]]\nside = "low"\nat_hz = 47\nms_max = 200\n')
    assert "nobody did" in said(capsys, "commission", "pv-1", *by, *known, code=1)
    assert "armed" in said(capsys, "commission", "pv-1", *by, *known, "--trips", "inside")


def test_a_trip_limit_that_contradicts_itself_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "init", "--yes", "--name", "Motu", "--timezone", "UTC", "--endpoint", "127.0.0.1:9")
    text = (here / "site.toml").read_text()
    rows = (
        'side = "low"\nms_max = 200',
        'side = "low"\nat_pct = 110\nms_max = 200',
        'side = "high"\nat_pct = 110\nms_min = 300\nms_max = 200',
        'side = "high"\nat_hz = 52',
    )
    problems = check(text + "".join(f"\n[[grid.trip_limit]]\n{row}\n" for row in rows), "site.toml")[1]
    assert [problem.code for problem in problems] == ["SITE-149"] * 4
