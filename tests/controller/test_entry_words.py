"""Entries in one line each."""

from __future__ import annotations

from controller.entry_words import WORDS_MAX, amount_words, entry_text, register_words

ZONE = "Europe/Berlin"


def test_keys_and_texts_of_many_lines_do_not_stretch_a_line():
    text = entry_text(
        "log.policy",
        {"cosigner": "village+00000000+" + "A" * 1_800, "policy": "log x\nquorum none\n", "n": 3},
        zone=ZONE,
    )
    assert text == f"cosigner village+00000000+{'A' * (WORDS_MAX - 18)}…, policy log x quorum none, n 3"


def test_the_own_words_of_an_entry_come_first():
    assert (
        entry_text("delivery", {"text": "parcel for school", "state": "done"}, zone=ZONE) == "parcel for school [done]"
    )
    assert entry_text("hold", {"by": "ana", "device": "pump-1", "value": "0", "result": "done"}, zone=ZONE) == (
        "ana: hold pump-1 at 0 (no note) -> done"
    )
    assert entry_text("run.bill", {}, "", "2026-06", zone=ZONE) == "run.bill 2026-06"
    assert entry_text("note", {}, zone=ZONE) == "note"


def test_instants_hashes_and_ids_are_told_as_people_read_them():
    closed = {
        "asked": "019e800d-0000-7000-8000-000000000000", "until": 1_780_351_200_000, "trial": "ab" * 32, "by": "ana",
    }  # fmt: skip
    assert entry_text("period.close", closed, zone=ZONE) == f"until 2026-06-02 00:00, trial {'ab' * 8}…, by ana"
    assert amount_words("money:EUR", -4_000, 2) == "-40.00 EUR"
    assert amount_words("energy", 12_350_000_000, 2) == "12.350 kWh"
    assert register_words(1_408_778, water=False) == "1408.778 kWh"
    assert register_words(81_412_300, water=True) == "81.412300 m3"
