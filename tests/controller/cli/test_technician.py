"""`atoll init`, `device` and `commission` as a technician uses them, on a serial bus of real products' maps."""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.model import BusFault
from devices.profile import load_profile
from firmware_sim.products import Product, Rack
from firmware_sim.shell.serial_bus import SerialBus
from tests.said import said

BAUD = 115200
EM24 = "profile:carlo_gavazzi_em24"


@pytest.fixture
def rack() -> Rack:
    names = {1: "eastron_sdm630", 3: "carlo_gavazzi_em24", 7: "relay_4ch", 9: "eastron_sdm120"}
    return Rack({unit: Product(load_profile(name)) for unit, name in names.items()})


@pytest.fixture
def bus(rack: Rack) -> Iterator[str]:
    serial = SerialBus(rack, BAUD)
    serial.start()
    yield f"rtu:{serial.path}?baud={BAUD}"
    serial.stop()


def begun(capsys: pytest.CaptureFixture[str], bus: str) -> None:
    said(capsys, "init", "--yes", "--name", "Motu Iti", "--timezone", "Pacific/Tongatapu", "--endpoint", bus)


def add(capsys: pytest.CaptureFixture[str], bus: str, name: str, kind: str, driver: str, unit: int, *more: str) -> str:
    words = ("device", "add", name, "--kind", kind, "--driver", driver, "--endpoint", bus, "--unit", str(unit))
    return said(capsys, *words, *more)


# ------------------------------------------------------------------------------------------------------ init


def test_init_asks_and_writes_a_commented_file_that_is_sound(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [
        "Îlot “8”",
        "sunspec",
        "Europe/Paris",
        "-17.5",
        "179.5",
        "top",
        "0.41",
        "25",
        "3",
        "pi-1",
        "10.0.0.7:502",
        "1",
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(answers) + "\n"))
    assert "is written and sound" in said(capsys, "init", "mine.toml")
    text = Path("mine.toml").read_text(encoding="utf-8")
    site = tomllib.loads(text)
    assert site["site"] == {
        "id": "lot-8", "name": "Îlot “8”", "timezone": "Europe/Paris", "latitude": -17.5, "longitude": 179.5,
    }  # fmt: skip
    assert (site["charter"]["currency"], site["charter"]["bands"][0]["import_price"]) == ("TOP", 410_000)
    assert len(site["member"]) == 3
    assert text.count("#") > 10
    assert "sound" in said(capsys, "check", "mine.toml")
    assert "exists already" in said(capsys, "init", "mine.toml", "--yes", code=3)


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--timezone", "Mars/Base", "no such time zone"),
        ("--driver", "profile:nothing", "no profile 'nothing'"),
        ("--endpoint", "nowhere", "endpoint"),
        ("--currency", "shells", "currency"),
        ("--gateway", "My Pi", "gateway"),
    ],
)
def test_answers_that_do_not_go_together_write_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, named: str
) -> None:
    assert named in said(capsys, "init", "--yes", "--name", "M", option, value, code=2)
    assert not Path("site.toml").exists()


# ---------------------------------------------------------------------------------------------------- device


def test_devices_are_added_with_comments_kept_and_what_is_wrong_is_not_written(
    here: Path, bus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(capsys, bus)
    before = Path("site.toml").read_text()
    add(capsys, bus, "home-01", "meter", EM24, 3, "--member", "home-01")
    after = Path("site.toml").read_text()
    assert Path("site.toml.last-good").read_text() == before
    comments = [line for line in before.splitlines() if line.startswith("#")]
    assert all(line in after for line in comments)
    assert tomllib.loads(after)["member"][0]["usage_points"] == ["home-01"]
    words = ("device", "add", "store", "--kind", "battery", "--endpoint", "127.0.0.1:502")
    refused = said(capsys, *words, code=3)
    assert "--set ratings.energy_wh=VALUE" in refused
    assert "SITE-020" in said(capsys, "device", "add", "home-01", "--kind", "meter", "--endpoint", "h:1", code=3)
    assert "no member has the id 'x'" in said(
        capsys, "device", "add", "m", "--kind", "meter", "--endpoint", "h:1", "--member", "x", code=3
    )
    assert Path("site.toml").read_text() == after
    settings = [f"ratings.{k}={v}" for k, v in {
        "energy_wh": 1e4, "charge_w_max": 3e3, "discharge_w_max": 3e3, "soc_min": 0.1, "soc_max": 0.9,
        "charge_efficiency": 0.97, "discharge_efficiency": 0.97}.items()]  # fmt: skip
    said(capsys, *words, *(word for setting in settings for word in ("--set", setting)))
    assert tomllib.loads(Path("site.toml").read_text())["device"][-1]["ratings"]["soc_max"] == 0.9


def test_a_device_that_says_nonsense_is_found_out(
    here: Path, bus: str, rack: Rack, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(capsys, bus)
    add(capsys, bus, "home-01", "meter", EM24, 3, "--member", "home-01")
    words = ("device", "test", "home-01", "--samples", "2", "--every", "0.1")
    assert "home-01: plausible" in said(capsys, *words)
    rack.units[3].show("V", 23.0)
    assert "factor 10?" in said(capsys, *words, code=1)
    assert "BUS-003" in said(capsys, "device", "add", "x", "--kind", "tank", "--endpoint", bus, "--unit", "88",
                             "--driver", "profile:level_4_20ma", "--set", "ratings.volume_l=9000") + said(
        capsys, "device", "test", "x", code=4)  # fmt: skip


def test_the_feeder_s_meter_is_held_against_all_the_others(
    here: Path, bus: str, rack: Rack, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(capsys, bus)
    add(capsys, bus, "home-01", "meter", EM24, 3, "--member", "home-01")
    add(capsys, bus, "home-02", "meter", "profile:eastron_sdm120", 9, "--member", "home-01")
    for unit, watts in ((1, -6000), (3, 4000), (9, 2000)):
        rack.units[unit].show("W", watts)
    words = ("device", "test", "grid", "--balance", "--samples", "2", "--every", "0.1")
    shown = said(capsys, *words)
    assert "grid 6000 W, the 2 others together 6000 W: off by 0 W" in shown
    assert "grid: it adds up" in shown
    rack.units[9].show("W", -2000)
    shown = said(capsys, *words, code=1)
    assert "right if home-02 were turned round" in shown
    assert "grid: it does NOT add up" in shown
    assert "only the feeder's own meter" in said(capsys, "device", "test", "home-01", "--balance", code=2)
    rack.silent.add(3)
    assert "home-01" in said(capsys, *words, code=4), "who is silent is named"


def test_a_meter_swap_needs_two_people_and_both_registers(
    here: Path, bus: str, rack: Rack, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(capsys, bus)
    add(capsys, bus, "home-01", "meter", "profile:eastron_sdm120", 44, "--member", "home-01")
    swap = ("device", "replace", "home-01", "--unit", "9", "--reason", "display dead", "--by", "Ana", "--witness")
    assert "who signs the record?" in said(capsys, *swap, "Bo", code=2)
    swap = (*swap[:3], "--key", "tech.pem", *swap[3:])
    assert "one person" in said(capsys, *swap, "ana", code=2)
    assert "--closing import_wh=VALUE" in said(capsys, *swap, "Bo", code=2)
    given = ("--closing", "import_wh=777.5kWh", "--closing", "export_wh=0")
    said(capsys, *swap, "Bo", *given)
    assert tomllib.loads(Path("site.toml").read_text())["device"][1]["unit"] == 9
    (record,) = Path("data/commissioning").glob("home-01-replaced-*.json")
    row = json.loads(record.read_text())["document"]
    assert (row["closing"]["import_wh"], row["opening"]["import_wh"]) == ("777500", "123000")
    assert (row["by"], row["witness"], row["before"]["unit"]) == ("Ana", "Bo", 44)
    assert record.with_suffix(".html").exists(), "a page to print"
    assert "home-01, replaced, by Ana" in said(capsys, "commission", str(record), "--verify")
    record.write_text(record.read_text().replace("777500", "777600"))
    assert "altered" in said(capsys, "commission", str(record), "--verify", code=1)


# ------------------------------------------------------------------------------------------------ commission

KNOWN = ("--known", "W=1150", "--known", "import_wh=123kWh", "--known", "export_wh=123kWh")


def commission(name: str, *more: str) -> tuple[str, ...]:
    return ("commission", name, "--by", "Ana", "--key", "tech.pem", "--yes", "--watch", "0.5", *more)


def test_known_values_put_a_meter_into_service_with_a_signed_record(
    here: Path, bus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(capsys, bus)
    add(capsys, bus, "home-01", "meter", EM24, 3, "--member", "home-01")
    assert "nobody read its display" in said(capsys, *commission("home-01"), code=1)
    shown = json.loads(said(capsys, *commission("home-01", *KNOWN, "--json")))
    record = Path(shown["record"])
    assert shown["ok"]
    assert "passed, by Ana" in said(capsys, "commission", str(record), "--verify")
    assert "signed as commissioning" in said(capsys, "key", "verify", str(record), "--purpose", "commissioning")
    page = Path(shown["page"]).read_text()
    assert "home-01" in page
    assert "http" not in page
    record.write_text(record.read_text().replace("123000", "124000"))
    assert "altered" in said(capsys, "commission", str(record), "--verify", code=1)


@pytest.mark.parametrize("fault", ["word order", "scale", "sign"])
def test_a_wrong_map_never_gets_into_service(
    here: Path, bus: str, rack: Rack, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    begun(capsys, bus)
    add(capsys, bus, "home-01", "meter", EM24, 3, "--member", "home-01")
    product = rack.units[3]
    if fault == "word order":
        point = product.points["import_wh"]
        words = product.read(point.function, point.address, 2)
        assert not isinstance(words, BusFault)
        product.put(point.function, point.address, tuple(int(word) for word in words)[::-1])
    else:
        product.show("W", 11_500.0 if fault == "scale" else -1150.0)
    shown = said(capsys, *commission("home-01", *KNOWN), code=1)
    assert {"word order": "words are swapped", "scale": "scale is wrong", "sign": "sign is turned"}[fault] in shown


def test_an_output_is_armed_by_its_e_stop_and_disarmed_without(
    here: Path, bus: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(capsys, bus)
    assert "read_only = true" in add(capsys, bus, "lamp", "relay", "profile:relay_4ch", 7)
    assert "nobody pressed it" in said(capsys, *commission("lamp"), code=1)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\nn\n"))
    asked = tuple(word for word in commission("lamp") if word != "--yes")
    assert "did not go dead" in said(capsys, *asked, code=1)
    assert tomllib.loads(Path("site.toml").read_text())["device"][-1]["read_only"]
    monkeypatch.setattr("sys.stdin", io.StringIO("y\ny\n"))
    assert "armed: read_only was taken" in said(capsys, *asked)
    assert "read_only" not in Path("site.toml").read_text()
    assert "not armed" in said(capsys, *commission("lamp", "--estop", "fails"), code=1)
    assert tomllib.loads(Path("site.toml").read_text())["device"][-1]["read_only"]


def test_nobody_signs_nothing_is_done(here: Path, bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    begun(capsys, bus)
    assert "who signs" in said(capsys, "commission", "grid", "--by", "Ana", "--yes", code=2)
    assert "who puts it into service" in said(capsys, "commission", "grid", "--key", "tech.pem", code=2)
    assert "does not go with W" in said(capsys, *commission("grid", "--known", "W=5kWh"), code=2)
    assert "no point 'speed'" in said(capsys, *commission("grid", "--known", "speed=5"), code=2)
