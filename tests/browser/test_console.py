"""The console in a real browser: what people see and tap, with and without JavaScript."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from controller.commands import AcknowledgeAlarm, HoldDevice
from tests.controller.console.served import CODE, serving
from tests.controller.console.village import Village, watts

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]
FLAGS = [f"--{flag}" for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run")]
FLAGS += [f"--disable-{part}" for part in ("background-networking", "component-update", "sync")]
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
    "/charter",
    "/login",
)
REFUSED = "status of 422"  # a form that is sent back with its problems


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield one
        one.close()


@pytest.fixture
def village() -> Village:
    return Village(25)


@pytest.fixture
def url(village: Village) -> Iterator[str]:
    with serving(village, streams_max_per_client=20) as address:
        yield address


@contextmanager
def watched(browser: Browser, url: str, **options: object) -> Iterator[tuple[BrowserContext, Page]]:
    """Opens a page and fails on any console error, script error or request to another origin."""
    context = browser.new_context(**options)  # type: ignore[arg-type]  # options of Playwright
    context.set_default_timeout(10_000)
    page = context.new_page()
    wrong: list[str] = []
    page.on(
        "console",
        lambda message: None if message.type == "log" or REFUSED in message.text else wrong.append(message.text),
    )
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(url) else wrong.append(request.url))
    yield context, page
    context.close()
    assert not wrong, wrong


def sign_in(page: Page, url: str, onward: str = "/") -> None:
    page.goto(f"{url}/login?next={onward}")
    page.get_by_label("Your name").fill("Mele")
    page.get_by_label("Operator code").fill(CODE)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}{onward}")


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_and_asks_nobody_else(browser: Browser, url: str, width: int, scheme: str) -> None:
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with watched(browser, url, **options) as (_, page):
        for path in PAGES:
            answer = page.goto(url + path)
            assert answer is not None
            assert answer.status == 200, path
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} is wider than the screen"
            expect(page.locator("h1").first).to_be_visible()
            background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            assert (background == "rgb(18, 21, 24)") == (scheme == "dark")


def test_a_value_changes_without_reloading(browser: Browser, url: str, village: Village) -> None:
    with watched(browser, url) as (_, page):
        page.goto(url)
        page.evaluate("window.same = true")
        expect(page.locator("#r-flow")).to_contain_text("31.4 kW")
        village.change(flows=(replace(village.view.flows[0], power=watts(-12_300)), *village.view.flows[1:]))
        expect(page.locator("#r-flow")).to_contain_text("12.3 kW")
        village.change(link="lost")
        expect(page.locator("#r-frame")).to_contain_text("link lost")
        assert page.evaluate("window.same")


def test_many_tabs_share_one_stream(browser: Browser, url: str, village: Village) -> None:
    with watched(browser, url) as (context, page):
        page.goto(url)
        tabs = [context.new_page() for _ in range(7)]  # HTTP/1.1 allows six connections
        for tab in tabs:
            tab.goto(f"{url}/home")
        village.change(link="stale")
        for tab in (page, *tabs):
            expect(tab.locator("#r-frame")).to_contain_text("link stale")


def test_an_alarm_is_acknowledged_with_one_tap(browser: Browser, url: str, village: Village) -> None:
    with watched(browser, url) as (_, page):
        sign_in(page, url)
        page.locator("#r-strip").get_by_role("button", name="Acknowledge").click()
        expect(page.locator("#r-alarms")).to_contain_text("acknowledged by Mele")
        expect(page.locator("#r-strip .strip")).to_have_count(0)
    assert [type(command) for command in village.commands] == [AcknowledgeAlarm]


def test_a_note_being_typed_survives_live_updates(browser: Browser, url: str, village: Village) -> None:
    with watched(browser, url) as (_, page):
        sign_in(page, url)
        note = page.locator("#r-alarms").get_by_label("Note")
        note.press_sequentially("on my")
        village.change(link="stale", alarms=(*village.view.alarms, replace(village.view.alarms[1], id="new")))
        expect(page.locator("#r-frame")).to_contain_text("link stale")
        note.press_sequentially(" way")
        page.locator("#r-alarms").get_by_role("button", name="Acknowledge").click()
        expect(page.locator("#r-strip .strip")).to_have_count(0)
    command = village.commands[0]
    assert isinstance(command, AcknowledgeAlarm)
    assert command.note == "on my way"


def test_a_device_is_held_from_the_now_page(browser: Browser, url: str, village: Village) -> None:
    with watched(browser, url) as (_, page):
        sign_in(page, url)
        page.get_by_role("link", name="Hold Battery").click()
        sheet = page.get_by_role("dialog")
        sheet.get_by_label("setpoint").fill("-99999")
        sheet.get_by_label("Why").fill("x")
        sheet.get_by_role("button", name="Hold", exact=True).click()
        expect(sheet).to_contain_text("outside")
        expect(sheet).to_contain_text("say in a few words why")
        expect(sheet.get_by_label("setpoint")).to_have_value("-99999")
        sheet.get_by_label("setpoint").fill("-2500")
        sheet.get_by_label("Why").fill("cleaning the rack")
        sheet.get_by_role("button", name="Hold", exact=True).click()
        expect(sheet).to_contain_text("battery-1 is held")
        page.keyboard.press("Escape")
        expect(page.locator("#r-devices")).to_contain_text("cleaning the rack")
    (command,) = village.commands
    assert isinstance(command, HoldDevice)
    assert command.value == -2500


def test_everything_works_without_javascript(browser: Browser, url: str, village: Village) -> None:
    with watched(browser, url, java_script_enabled=False) as (_, page):
        sign_in(page, url)
        page.locator("#r-alarms").get_by_role("button", name="Acknowledge").click()
        expect(page.get_by_role("status")).to_contain_text("Done")
        page.get_by_role("link", name="Back").click()
        expect(page.locator("#r-alarms")).to_contain_text("acknowledged by Mele")
        page.get_by_role("link", name="Hold Battery").click()
        page.get_by_label("setpoint").fill("1500")
        page.get_by_label("Why").fill("testing the inverter")
        page.get_by_role("button", name="Hold", exact=True).click()
        expect(page.get_by_role("status")).to_contain_text("battery-1 is held")
        page.goto(f"{url}/plan")
        expect(page.locator("svg.lines").first).to_be_visible()
        page.goto(f"{url}/ledger/entry/3")
        expect(page.locator("#verdict")).to_contain_text("as computed by the hub")
    assert [type(command) for command in village.commands] == [AcknowledgeAlarm, HoldDevice]


def test_the_browser_itself_checks_a_proof(browser: Browser, url: str, village: Village) -> None:
    with watched(browser, url) as (_, page):
        for seq in (0, 7, 24):
            page.goto(f"{url}/ledger/entry/{seq}")
            expect(page.locator("#verdict")).to_contain_text("Valid: checked in this browser")
        village.alter = 7
        page.goto(f"{url}/ledger/entry/7")
        expect(page.locator("#verdict")).to_contain_text("Invalid: checked in this browser")


def test_its_sha256_is_the_real_one(browser: Browser, url: str) -> None:
    import hashlib

    texts = ["", "abc", "é–漢" * 30, *("x" * n for n in (54, 55, 56, 63, 64, 65, 119, 120, 1000))]
    with watched(browser, url) as (_, page):
        page.goto(f"{url}/ledger")
        program = "texts => texts.map(t => atollProof.hex(atollProof.sha256(new TextEncoder().encode(t))))"
        assert page.evaluate(program, texts) == [hashlib.sha256(text.encode()).hexdigest() for text in texts]


def test_a_ledger_that_shrank_is_noticed(browser: Browser, url: str, village: Village) -> None:
    with watched(browser, url) as (_, page):
        page.goto(f"{url}/ledger")
        expect(page.locator("#memory")).to_contain_text("remembers this head from now on")
        village.append("energy", "one more")
        page.goto(f"{url}/ledger")
        expect(page.locator("#memory")).to_contain_text("Not smaller")
        del village.leaves[-2:], village.entries[-2:]
        page.goto(f"{url}/ledger")
        expect(page.locator("#memory")).to_contain_text("The ledger was replaced or cut")


def test_charts_become_interactive(browser: Browser, url: str) -> None:
    with watched(browser, url, viewport={"width": 1280, "height": 900}) as (_, page):
        page.goto(f"{url}/plan")
        expect(page.locator(".uplot canvas")).to_have_count(2)
        page.locator(".u-over").first.hover(position={"x": 200, "y": 50})
        expect(page.locator("[data-time]").first).to_contain_text("at ")
        expect(page.locator("[data-line='0']").first).to_contain_text("kW")
