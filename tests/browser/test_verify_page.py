"""The offline page: the same answers as the Python verifier, from a file on disk, in a real browser."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from controller.ledger.entries import derived_id
from controller.money.desk import Asked
from controller.shell.bill_export import export_bill
from controller.shell.books import Books
from devices.clock import DAY_MS, Instant
from tests.browser.test_console import FLAGS
from tests.controller.shell.test_books import live
from tests.ledger_village import Village, rules
from tests.verifier import villages
from verifier.atoll_verify import judge

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]
PAGE = Path(__file__).parent.parent.parent / "verifier" / "verify.html"
SELLER = villages.GOLDEN / "seller.json"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        context = browser.new_context(offline=True, viewport={"width": 360, "height": 800})
        one, wrong = context.new_page(), list[str]()
        one.on("pageerror", lambda error: wrong.append(str(error)))
        one.on(
            "request", lambda request: None if request.url.startswith(("file:", "blob:")) else wrong.append(request.url)
        )
        one.goto(PAGE.as_uri())
        yield one
        browser.close()
        assert not wrong, wrong


def judged(page: Page, bundles: list[bytes], key: str = "", last: str = "") -> list[dict[str, Any]]:
    """Returns the page's reports on bundles."""
    script = """([bundles, key, last]) => bundles.map((text) =>
        judge(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)), key, last))"""
    return page.evaluate(script, [[base64.b64encode(data).decode() for data in bundles], key, last])


def test_it_is_one_file_that_asks_nobody() -> None:
    text = PAGE.read_text()
    assert "default-src 'none'" in text
    assert not [word for word in ("<link", "src=", "import(", "fetch(", "crypto.subtle.") if word in text]
    assert "Permission is hereby granted" in text  # the licence of the library inside


@pytest.mark.parametrize("path", sorted(villages.GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_golden_bundles_have_the_same_reports(page: Page, path: Path) -> None:
    assert judged(page, [path.read_bytes()]) == [json.loads(path.with_suffix(".report").read_text())]


def test_bundles_of_a_sealed_ledger_with_a_second_log_key_have_the_same_reports(page: Page, tmp_path: Path) -> None:
    """What a hub of today writes: bodies sealed per member, heads cosigned with ML-DSA-44, a handed-over log key."""
    path, village, own = tmp_path / "ledger.db", Village(villages.START, 2), rules(2, key=None)
    noon, end = Instant(villages.START + DAY_MS // 2), Instant(villages.START + DAY_MS + DAY_MS // 2)
    books = Books.open(path, own)
    live(books, village.until(noon), noon)
    asked = Asked(derived_id(noon, "rotate"), "ana", noon)
    assert books.till.ask(asked, {"do": "rotate-log-key", "reason": "every year"}).accepted
    live(books, village.until(Instant(villages.START + DAY_MS)), end)
    books.close(end)
    good = export_bill(path, "home-01", "2026-06-01")
    document = json.loads(good)
    bill = next(entry for entry in document["entries"] if '"kind":"bill"' in entry["document"])
    assert "opened" in bill
    bill["opened"] = bill["opened"].replace('"amount":"', '"amount":"1', 1)
    stripped = json.loads(good)
    text, _, lines = stripped["checkpoint"].partition("\n\n")
    stripped["checkpoint"] = f"{text}\n\n{lines.splitlines()[0]}\n"  # the log's second signature is taken away
    bundles = [good, villages.resealed(document), villages.resealed(stripped)]
    found = judged(page, bundles)
    assert found == [judge(one) for one in bundles]
    assert [one["verdict"] for one in found] == ["ok", "differs", "differs"]
    assert ["cosigned", "by the log itself (ML-DSA-44)"] in found[0]["lines"]


def test_altered_bundles_have_the_same_reports(page: Page) -> None:
    altered = villages.tampered(SELLER.read_bytes())
    assert dict(zip(altered, judged(page, list(altered.values())), strict=True)) == {
        name: judge(data) for name, data in altered.items()
    }


def test_no_flipped_byte_is_ok(page: Page) -> None:
    rng, good = random.Random(7), SELLER.read_bytes()
    flipped: list[bytes] = []
    for at in rng.sample(range(len(good)), 40):
        data = bytearray(good)
        data[at] ^= 1 << rng.randrange(8)
        flipped.append(bytes(data))
    found = judged(page, flipped)
    assert [(one["verdict"], one["where"]) for one in found] == [
        (one["verdict"], one["where"]) for one in map(judge, flipped)
    ]
    assert "ok" not in {one["verdict"] for one in found}


def test_the_key_and_the_checkpoint_kept_last_time(page: Page) -> None:
    good = SELLER.read_bytes()
    note = json.loads(good)["checkpoint"]
    key = good.decode().partition(r"\"key\":\"")[2].partition("\\")[0]
    assert key.startswith("test.atoll/ledger+")
    other = json.loads((villages.GOLDEN / "estimated.json").read_bytes())["checkpoint"]
    for known in ((key, note), (key.replace("test", "else"), ""), ("", other), ("", note.replace("\n", "", 1))):
        assert judged(page, [good], *known) == [judge(good, *known)], known


def test_a_household_drops_its_bill(page: Page) -> None:
    page.set_input_files("#bundle", SELLER)
    expect(page.locator("#verdict")).to_have_text("OK: every line has been recomputed")
    expect(page.get_by_role("link", name="Keep this checkpoint")).to_be_visible()
    expect(page.locator("#lines")).to_contain_text("amount")
    expect(page.locator("#lines tr").last).to_contain_text("nobody else is shown to have seen this log")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    bad = villages.tampered(SELLER.read_bytes())["record"]
    page.set_input_files("#bundle", {"name": "bill.json", "mimeType": "application/json", "buffer": bad})
    expect(page.locator("#verdict")).to_contain_text("DIFFERS: records home-01")
    expect(page.get_by_role("link", name="Keep this checkpoint")).to_be_hidden()
