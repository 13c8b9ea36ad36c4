"""Entries in one line each."""

from __future__ import annotations

from controller.entry_words import WORDS_MAX, entry_text


def test_keys_and_texts_of_many_lines_do_not_stretch_a_line():
    text = entry_text(
        "log.policy", {"cosigner": "village+00000000+" + "A" * 1_800, "policy": "log x\nquorum none\n", "n": 3}
    )
    assert text == f"cosigner village+00000000+{'A' * (WORDS_MAX - 18)}…, policy log x quorum none, n 3"


def test_the_own_words_of_an_entry_come_first():
    assert entry_text("delivery", {"text": "parcel for school", "state": "done"}) == "parcel for school [done]"
    assert entry_text("hold", {"by": "ana", "device": "pump-1", "value": "0", "result": "done"}) == (
        "ana: hold pump-1 at 0 (no note) -> done"
    )
    assert entry_text("run.bill", {}, "", "2026-06") == "run.bill 2026-06"
    assert entry_text("note", {}) == "note"
