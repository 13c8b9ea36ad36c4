"""Pages, forms and API without a browser: as somebody without JavaScript uses them."""

from __future__ import annotations

import html
import json
import re
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.commands import AcknowledgeAlarm, HoldDevice, OperateDevice, ReleaseDevice, Role, command_id
from controller.console import pages
from controller.console.app import make_app
from controller.console.desk import Desk
from controller.console.forms import _ID
from controller.views import AlarmView, DeviceView, Value
from devices.clock import MINUTE_MS, Instant
from devices.model import Quality
from tests.controller.console.served import BASE, ORIGIN, client, config, operator
from tests.controller.console.village import AT, FLOWS, Village, home_view, now_view, plan_view, value

XSS = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}"
DRAWN = Village(0)
DRAWN_DESK: Desk = make_app(DRAWN, config()).state.desk
PAGES = (
    "/",
    "/plan",
    "/ledger",
    "/ledger/entry/3",
    "/home",
    "/home/home-07",
    "/devices/battery-1",
    "/devices/battery-1/day",
    "/storm",
    "/api/v1/docs",
)


def hidden(page: str, form: str) -> dict[str, str]:
    """Returns the hidden fields of the form that posts to `form`."""
    found = re.search(rf'<form[^>]*action="{re.escape(form)}"[^>]*>(.*?)</form>', page, re.DOTALL)
    assert found, f"no form {form}"
    return {
        m[1]: html.unescape(m[2]) for m in re.finditer(r'<input type="hidden" name="(\w+)" value="([^"]*)"', found[1])
    }


def poisoned(thing: Any) -> Any:
    """Returns a view value with the payload in every text field that no rule reads."""
    if isinstance(thing, tuple):
        return tuple(poisoned(part) for part in thing)
    if isinstance(thing, str):
        return XSS + thing
    if is_dataclass(thing) and not isinstance(thing, type):
        kept = {"id", "timezone", "state", "unit", "link"}
        return replace(thing, **{f.name: poisoned(getattr(thing, f.name)) for f in fields(thing) if f.name not in kept})
    return thing


def test_no_text_of_a_view_becomes_markup() -> None:
    village = Village(8)
    village.view = poisoned(village.view)
    village.plan_value = poisoned(village.plan_value)
    village.storm_value = poisoned(village.storm_value)
    village.entries = [poisoned(entry) for entry in village.entries]
    village.home_labels = dict.fromkeys(village.home_labels, XSS)
    village.home = lambda home: poisoned(home_view(home))  # type: ignore[method-assign]
    for one in (client(village), operator(village, name=XSS[:40])):
        for path in (*PAGES, "/login"):
            page = one.get(path)
            assert page.status_code == 200, path
            assert "<script>alert" not in page.text, path
            assert "<img src=x" not in page.text, path
            assert "49<" not in page.text
    _, regions = pages.regions(one.app.state.desk, Role.OPERATOR)  # type: ignore[union-attr]
    assert not any("<script>alert" in region or "<img src=x" in region for region in regions.values())


def test_odd_ids_are_kept_whole_in_addresses() -> None:
    village = Village(4)
    odd = DeviceView('a/b?c#d&"e', "meter", "Odd", True, (), "", "", "")
    village.change(devices=(odd,))
    page = client(village).get("/").text
    assert 'href="/devices/a/b%3Fc%23d%26%22e"' in page


def test_now_answers_at_a_glance() -> None:
    page = re.sub(r"<[^>]+>", "", client(Village(4)).get("/").text)
    for seen in (
        "1 alarm waits for an answer",
        "31.4 kW",
        "reserve 25 %",
        "31 h",
        "Irrigation of the field",
        "SIMULATED",
        "stale",
        "4 min",
        "charging: 24 % is below 30 %",
        "operator holds 2000 W",
        "1 of 2 ready",
    ):
        assert seen in page, seen


@pytest.mark.parametrize("quality", [Quality.STALE, Quality.BAD])
def test_old_and_bad_values_say_so_in_words(quality: Quality) -> None:
    village = Village(4)
    number = None if quality is Quality.BAD else 0.5
    village.change(battery_soc=value("soc", number, "fraction", quality, 300_000))
    page = client(village).get("/").text
    assert f"▲ {quality.name.lower()} 5 min" in page


def test_a_village_with_nothing_known_still_has_pages() -> None:
    village = Village(0)
    nothing = Value("soc", None, "fraction", Quality.BAD, 10**9)
    village.change(
        flows=(),
        devices=(),
        alarms=(),
        next_actions=(),
        battery_soc=nothing,
        tank_level=nothing,
        battery_hours=None,
        tank_hours=None,
        plan_age_ms=None,
        counters=(),
        link="lost",
        clock="unknown",
        timezone="Nowhere/Atlantis",
    )
    village.plan_value = replace(village.plan_value, times=(), series=(), rows=(), made_at=None, cost=None, bound=None)
    village.home_labels = {}
    for path in ("/", "/plan", "/ledger", "/home", "/api/v1/now", "/api/v1/plan"):
        assert client(village).get(path).status_code == 200, path
    assert "▲ link lost" in client(village).get("/").text


@settings(max_examples=40)
@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6), st.just(0.0)), min_size=8, max_size=8))
def test_any_powers_can_be_drawn(numbers: list[float | None]) -> None:
    flows = tuple(
        replace(flow, power=replace(flow.power, value=number, quality=Quality.BAD if number is None else Quality.GOOD))
        for flow, number in zip(FLOWS, numbers, strict=True)
    )
    DRAWN.view = now_view(flows=flows)
    _, regions = pages.regions(DRAWN_DESK, Role.VIEWER)
    assert regions["r-flow"].count("<li") == 8
    assert "nan" not in regions["r-flow"]


def test_the_plan_page_holds_the_work_list_and_what_is_left_out() -> None:
    page = client(Village(4)).get("/plan").text
    work = page[page.index('id="work"') :]
    assert "print-brackets.20260601" in work
    assert "workshop" in work
    assert "no crew can do fitting" in work


def test_without_scripts_every_chart_has_picture_heading_and_table() -> None:
    page = client(Village(4)).get("/plan").text
    assert page.count("<figure>") == len(re.findall("<figcaption[ >]", page)) == 3
    assert page.count('<svg class="lines"') == 3
    assert page.count('<svg class="gantt"') == len(plan_view().rows)
    assert page.count("<details") == 5
    assert "solar forecast reaches 36.0 kW" in page
    assert "tank to 95 % from surplus" in page


def test_pages_renew_themselves_without_scripts() -> None:
    for path in ("/", "/plan", "/home/home-07"):
        assert re.search(
            r'<noscript><meta http-equiv="refresh" content="\d+"></noscript>', client(Village(4)).get(path).text
        )


def test_an_alarm_is_acknowledged_by_a_plain_form() -> None:
    village = Village(4)
    one = operator(village)
    form = hidden(one.get("/").text, "/alarms/acknowledge")
    answer = one.post("/alarms/acknowledge", data=form | {"note": "on my way"}, headers=ORIGIN)
    assert answer.status_code == 200
    assert "Done" in answer.text
    command = village.commands[0]
    assert isinstance(command, AcknowledgeAlarm)
    assert (command.alarm, command.actor.name, command.actor.role, command.actor.via) == (
        "charger-1/silent",
        "Mele",
        "operator",
        "console",
    )
    assert "acknowledged by Mele" in one.get("/").text
    assert "waits for an answer" not in one.get("/").text
    again = one.post("/alarms/acknowledge", data=form, headers=ORIGIN)
    assert "done already" in again.text
    assert len(village.commands) == 1


def test_a_device_is_held_and_released_by_plain_forms() -> None:
    village = Village(4)
    one = operator(village)
    form = hidden(one.get("/devices/battery-1").text, "/devices/battery-1/hold")
    typed = {"value": "\N{MINUS SIGN}2500,5", "minutes": "20", "reason": "cleaning"}
    answer = one.post("/devices/battery-1/hold", data=form | typed, headers=ORIGIN)
    assert "battery-1 is held" in answer.text
    held = village.commands[0]
    assert isinstance(held, HoldDevice)
    assert (held.value, held.until, held.reason) == (-2500.5, Instant(AT + 20 * MINUTE_MS), "cleaning")
    page = one.get("/devices/battery-1").text
    one.post("/devices/battery-1/release", data=hidden(page, "/devices/battery-1/release"), headers=ORIGIN)
    assert isinstance(village.commands[1], ReleaseDevice)


def test_a_breaker_is_operated_in_two_clicks() -> None:
    village = Village(4)
    one = operator(village)
    page = one.get("/devices/tie").text
    assert "in two steps" in page
    assert "/devices/tie/hold" not in page
    typed = {"value": "0", "reason": "storm ahead"}
    asked = one.post("/devices/tie/select", data=hidden(page, "/devices/tie/select") | typed, headers=ORIGIN)
    assert "The village would be alone." in asked.text
    assert "Open it now" in asked.text
    form = hidden(asked.text, "/devices/tie/operate")
    done = one.post("/devices/tie/operate", data=form, headers=ORIGIN)
    assert "tie is told" in done.text
    select, operate = village.commands
    assert isinstance(select, OperateDevice)
    assert isinstance(operate, OperateDevice)
    assert (select.step, operate.step, operate.selection) == ("select", "operate", select.id)
    assert (operate.value, operate.reason, operate.actor.name) == (0.0, "storm ahead", "Mele")
    assert operate.id != select.id
    assert "Sign in" in client(village).get("/devices/tie").text


def test_a_step_with_faults_names_them_all_and_moves_nothing() -> None:
    village = Village(4)
    one = operator(village)
    answer = one.post("/devices/tie/operate", data={"id": "1", "value": "7", "reason": ""}, headers=ORIGIN)
    for text in ("lost its number", "say in a few words why", "Choose: open or close", "lost its selection"):
        assert text in answer.text
    form = {"id": "1", "value": "0", "reason": "why not"}
    assert "nothing to operate" in one.post("/devices/pump-1/select", data=form, headers=ORIGIN).text
    assert village.commands == []


def test_a_wrong_form_lists_all_problems_and_keeps_what_was_typed() -> None:
    village = Village(4)
    one = operator(village)
    form = hidden(one.get("/devices/battery-1").text, "/devices/battery-1/hold")
    typed = {"value": "99999", "minutes": "0", "reason": " <b>"}
    answer = one.post("/devices/battery-1/hold", data=form | typed | {"reason": "x"}, headers=ORIGIN)
    assert answer.status_code == 422
    for seen in (
        "99999 is outside",
        "a whole number from 1 to 1440",
        "say in a few words why",
        'value="99999"',
        'value="0"',
    ):
        assert seen in answer.text, seen
    assert answer.text.count("aria-invalid") == 3
    assert hidden(answer.text, "/devices/battery-1/hold")["id"] == form["id"]
    assert village.commands == []


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("value", ""),
        ("value", "nan"),
        ("value", "inf"),
        ("value", "1e999"),
        ("value", "abc"),
        ("value", "-40001"),
        ("minutes", "1.5"),
        ("minutes", "1441"),
        ("minutes", "-5"),
        ("minutes", "ten"),
        ("reason", ""),
        ("reason", "x" * 201),
        ("reason", "a\nb\nc"),
        ("id", "1"),
        ("id", "01890a5d-ac96-474b-bcce-000000000000"),
    ],
)
def test_one_wrong_field_is_refused(field: str, text: str) -> None:
    village = Village(4)
    one = operator(village)
    form = hidden(one.get("/devices/battery-1").text, "/devices/battery-1/hold")
    good = form | {"value": "100", "minutes": "5", "reason": "a test"}
    answer = one.post("/devices/battery-1/hold", data=good | {field: text}, headers=ORIGIN)
    assert answer.status_code == 422
    assert village.commands == []


def test_a_switch_is_on_or_off() -> None:
    village = Village(4)
    one = operator(village)
    page = one.get("/devices/pump-1").text
    assert page.count("<option") == 2
    good = hidden(page, "/devices/pump-1/hold") | {"minutes": "5", "reason": "a test"}
    assert one.post("/devices/pump-1/hold", data=good | {"value": "0.5"}, headers=ORIGIN).status_code == 422
    assert one.post("/devices/pump-1/hold", data=good | {"value": "1"}, headers=ORIGIN).status_code == 200


def test_what_cannot_be_held_is_refused() -> None:
    village = Village(4)
    one = operator(village)
    form = {"id": command_id(1, 2), "value": "1", "minutes": "5", "reason": "a test"}
    assert one.post("/devices/tank-1/hold", data=form, headers=ORIGIN).status_code == 422
    assert one.post("/devices/nothing/hold", data=form, headers=ORIGIN).status_code == 404
    gone = one.post("/alarms/acknowledge", data={"id": command_id(1, 2), "alarm": "gone"}, headers=ORIGIN)
    assert gone.status_code == 422
    assert "may have cleared" in gone.text
    assert village.commands == []


def test_htmx_gets_fragments_and_browsers_whole_pages() -> None:
    one = operator(Village(4))
    whole, part = one.get("/devices/battery-1"), one.get("/devices/battery-1", headers={"HX-Request": "true"})
    assert "<html" in whole.text
    assert "<html" not in part.text
    assert 'id="hold"' in part.text


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1))
def test_command_ids_are_version_7_uuids(at_ms: int, bits: int) -> None:
    assert _ID.fullmatch(command_id(at_ms, bits))


def test_an_occurrence_of_an_alarm_has_one_id() -> None:
    first = pages.ack_id("a", 5)
    assert first == pages.ack_id("a", 5)
    assert len({first, pages.ack_id("a", 6), pages.ack_id("b", 5)}) == 3


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 61])
def test_every_proof_is_valid_and_an_altered_entry_is_not(size: int) -> None:
    village = Village(size)
    one = client(village)
    for seq in range(0, size, max(1, size // 8)):
        assert "<b>Valid</b>" in one.get(f"/ledger/entry/{seq}").text
        village.alter = seq
        assert "<b>Invalid</b>" in one.get(f"/ledger/entry/{seq}").text
        village.alter = None


def test_the_ledger_is_paged_to_its_first_entry() -> None:
    one, seen, path = client(Village(61)), [], "/ledger"
    for _ in range(3):
        page = one.get(path).text
        seen += [int(n) for n in re.findall(r'/ledger/entry/(\d+)"', page)]
        older = re.search(r'href="(/ledger\?before=\d+)"', page)
        path = older[1] if older else ""
    assert seen == list(range(60, -1, -1))
    assert path == ""


@pytest.mark.parametrize(
    "path",
    [
        "/ledger/entry/-1",
        "/ledger/entry/9223372036854775808",
        "/ledger/entry/x",
        "/ledger?before=99999999999999999999",
        "/ledger/entry/999",
        "/home/none",
        "/devices/none",
        "/static/0/none.js",
        "/nope",
        "/api/v1/ledger/entries?limit=0",
        "/api/v1/series?point=a/b&start=x&end=y",
        "/api/v1/series",
        "/api/v1/homes/none",
        "/api/v1/ledger/entries/999",
        "/api/v1/series?point=a/b&start=2026-01-01T00:00:00Z&end=2099-01-01T00:00:00Z",
    ],
)
def test_wrong_addresses_get_words_and_never_a_traceback(path: str) -> None:
    answer = client(Village(4)).get(path)
    assert answer.status_code in (404, 422)
    assert "Traceback" not in answer.text


def test_the_api_says_units_and_agrees_with_its_description() -> None:
    import jsonschema

    one = client(Village(30))
    schema = one.get("/api/v1/openapi.json").json()
    addresses = {"{home}": "home-07", "{seq}": "3"}
    for path, operations in schema["paths"].items():
        assert list(operations) == ["get"], "the API is read-only"
        real = path
        for name, text in addresses.items():
            real = real.replace(name, text)
        if path.endswith("/series"):
            real += "?point=home-07/W&start=2026-06-03T00:00:00%2B02:00&end=2026-06-03T06:00:00Z&step_ms=3600000"
        body = one.get(real)
        assert body.status_code == 200, real
        wanted = operations["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(body.json(), {**wanted, "components": schema["components"]})
    now = one.get("/api/v1/now").json()
    assert now["flows"][0]["power"] == {
        "label": "W",
        "value": -31400.0,
        "unit": "W",
        "quality": "good",
        "age_ms": 1000,
        "simulated": True,
    }
    assert json.loads(one.get("/api/v1/plan").text)["at_ms"] == AT
    assert 'id="' in one.get("/api/v1/docs").text
    assert "/api/v1/ledger/entries/{seq}" in one.get("/api/v1/docs").text


def test_the_headline_says_what_is_wrong() -> None:
    village = Village(4)
    one = client(village)
    village.change(alarms=())
    assert "1 device silent: Car charger" in one.get("/").text
    online = tuple(replace(device, online=True) for device in village.view.devices)
    village.change(devices=online)
    assert "held by hand: Car charger" in one.get("/").text
    village.change(devices=tuple(replace(device, hold="") for device in online))
    assert "✓ Everything is all right" in one.get("/").text
    village.change(link="stale")
    assert "The devices are not heard: link stale" in one.get("/").text


def test_alarms_that_wait_come_first_and_urgent_ones_before() -> None:
    alarm = AlarmView("x", "acknowledged", "high", "d", "first told", "", "", AT)
    village = Village(4)
    village.change(
        alarms=(
            alarm,
            replace(alarm, id="y", state="unacknowledged", priority="low", text="second"),
            replace(alarm, id="z", state="returned-unacknowledged", priority="high", text="third"),
        )
    )
    page = client(village).get("/").text
    assert "2 alarms wait for an answer" in page
    block = page[page.index('id="alarms"') :]
    assert block.index("third") < block.index("second") < block.index("first told")


def test_pages_stay_small() -> None:
    """Cold Now: at most 60 KiB gzipped with everything it loads; any page 150."""
    one = TestClient(make_app(Village(61), config()), base_url=BASE, headers={"Accept-Encoding": "gzip"})
    for path, limit in (("/", 60), ("/plan", 150), ("/ledger", 150), ("/home/home-07", 150)):
        with one.stream("GET", path) as answer:
            total = sum(len(part) for part in answer.iter_raw())
        page = one.get(path).text
        for url in set(re.findall(r'(?:src|href|data-worker)="(/static/[^"]+)"', page)):
            with one.stream("GET", url) as asset:
                assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
                total += sum(len(part) for part in asset.iter_raw())
        assert total < limit * 1024, (path, total)


def test_the_plan_page_says_whether_the_plan_is_followed_and_what_it_was_worth() -> None:
    page = client(Village(4)).get("/plan").text
    for words in (
        "The plan is not followed",
        "rules: over the last 3 days they cost 30.00, plans 36.00",
        "forecast missed: 8.2 kW more net load than expected",
        "2026-06-03: the plan saved 8.87 EUR against simple rules, 5.69 EUR above perfect foresight",
        "not compared: there was an outage",
        "load high",
        "As a day before",
    ):
        assert words in page, words
    found = json.loads(client(Village(4)).get("/api/v1/plan").text)
    assert (found["used"], found["days"][0]["regret"], found["scores"][0]["mae"]) == (False, 5.69, 4600.0)


def test_the_plan_page_shows_what_was_known_at_a_time_without_a_script() -> None:
    one = client(Village(4))
    page = one.get("/plan", params={"known": "2026-06-03T07:30"}).text
    assert "What was known" in page.split("</h1>")[0]
    assert 'value="2026-06-03T07:30"' in page
    assert "back to now" in page
    wrong = one.get("/plan", params={"known": "<b>noon"})
    assert wrong.status_code == 200
    assert "is no date and time" in wrong.text
    assert "<b>noon" not in wrong.text
