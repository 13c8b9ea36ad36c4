"""A bill on paper: its QR code, read by another program, is a proof that the log's key has signed."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import pytest
import segno
from click.testing import CliRunner

from controller.cli import atoll
from controller.ledger.note import Verifier
from controller.ledger.proof import LogProof, ProofWrong
from controller.shell.bill_paper import paper_bill, proof_text
from tests.npm_packages import installed, run_node
from tests.verifier import villages

READ = """
const jsQR = require("jsqr"), ask = JSON.parse(require("fs").readFileSync(0));
const found = jsQR(Uint8ClampedArray.from(Buffer.from(ask.pixels, "base64")), ask.size, ask.size);
console.log(JSON.stringify(found === null ? null : found.data));
"""


def pixels(text: str, scale: int = 4) -> tuple[bytes, int]:
    """Returns the code as RGBA pixels, and their number in a row."""
    rows = [list(row) for row in segno.make(text, error="l", micro=False).matrix_iter(scale=scale, border=4)]
    return b"".join(b"\x00\x00\x00\xff" if dark else b"\xff" * 4 for row in rows for dark in row), len(rows)


@pytest.mark.integration
def test_another_program_reads_the_proof_that_the_log_has_signed() -> None:
    bundle = (villages.GOLDEN / "meter-swap.json").read_bytes()
    text = proof_text(bundle)
    data, size = pixels(text)
    read = run_node(installed("jsqr", "1.4.0"), READ, {"pixels": base64.b64encode(data).decode(), "size": size})
    assert read == text
    key = json.loads(json.loads(bundle)["entries"][0]["document"])["body"]["key"]
    proof = LogProof.parse(str(read))
    leaf = base64.b64decode(str(read).split("\n")[1].removeprefix("extra "))
    assert proof.check(leaf, [Verifier.parse(key)]).size > proof.index
    with pytest.raises(ProofWrong):
        proof.check(leaf[::-1], [Verifier.parse(key)])
    assert len(text) < 2_953, "what fits into one code"


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_the_page_says_what_the_bill_says(tmp_path: Path) -> None:
    path = villages.three_days(tmp_path, 2)
    out = tmp_path / "bill.html"
    arguments = ["bill", "print", "home-01", "2026-06-02", "--data-dir", str(path), "-o", str(out), "--name", "A <b>"]
    arguments += ["--community", "Kahurangi"]
    done = CliRunner().invoke(atoll, arguments)
    assert done.exit_code == 0, done.output
    page = out.read_text()
    reader = _Cells()
    reader.feed(page)
    bundle = villages.bundles(path)["home-01 2026-06-02"]
    lines: Any = dict(cast("Any", villages.judge(bundle)["lines"]))
    assert lines["amount"].split(" (")[0].removeprefix("-") in reader.texts, "what is owed to the member is its credit"
    for what in (name for name in lines if name.startswith("line ")):
        assert what.removeprefix("line ") in reader.texts
        assert lines[what].rpartition(" = ")[2] in reader.texts
    assert "A <b> (home-01)" in reader.texts
    assert "Kahurangi" in reader.texts
    assert "Date 2026-06-03" in reader.texts, "a credit is never due"
    assert "Date 2026-06-03, due 2026-06-17" in paper_bill(villages.bundles(path)["home-02 2026-06-02"], due_days=14)
    assert "first bill of this period (run SF)" in reader.texts
    assert any(text.startswith("1") and text.endswith(" kWh") and " to " in text for text in reader.texts)
    assert "<b>" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_a_credit_is_no_payment_and_lines_stand_in_one_order() -> None:
    page = paper_bill((villages.GOLDEN / "seller.json").read_bytes())
    assert "To pay" not in page
    assert re.search(r"Credit, kept for the next bills</td><td></td><td></td><td class=\"n\">\d", page)
    texts = ["lifeline energy", "energy from the community", "energy from outside, ", "energy sold", "lifeline water"]
    places = [page.index(f"<td>{text}") for text in texts if f"<td>{text}" in page]
    assert places == sorted(places)
    assert len(places) > 2
    assert "test" in page.partition("<table>")[0], "the community's id, where no name is given"


def test_what_is_held_back_is_said() -> None:
    page = paper_bill((villages.GOLDEN / "signed-otherwise.json").read_bytes())
    assert "home-02 on 2026-06-01" in page
    assert "home-02 on" not in paper_bill((villages.GOLDEN / "signed-by-nobody.json").read_bytes())
