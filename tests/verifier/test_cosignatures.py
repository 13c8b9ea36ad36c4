"""Witnesses in the offline page: cosignatures of either kind, made by the program, judged by the page's own code."""

from __future__ import annotations

import base64
import json

import pytest

from controller.ledger.cosign import Algorithm, CosignKey, split_note, with_cosignatures
from devices.clock import Instant
from tests.verifier import villages
from tests.verifier.page import judged

pytestmark = pytest.mark.integration
GOOD = (villages.GOLDEN / "seller.json").read_bytes()


def test_both_kinds_are_checked_and_what_is_unknown_cannot_be_judged() -> None:
    keys = [CosignKey("school", Algorithm.ED25519, bytes(32)), CosignKey("clinic", Algorithm.ML_DSA_44, bytes(32))]
    document = json.loads(GOOD)
    text = split_note(document["checkpoint"])[0]
    lines = [key.cosign(text, Instant(1_780_000_000_000)) for key in keys]
    document["checkpoint"] = with_cosignatures(document["checkpoint"], lines, [key.cosigner for key in keys])
    bundle = base64.b64encode(villages.resealed(document)).decode()
    names = [key.cosigner.text() for key in keys]
    (report,) = judged([bundle], names)
    assert report["verdict"] == "ok", report
    assert [line[1] for line in report["lines"] if line[0] == "witness"] == [
        "school saw this log at 2026-05-28T20:26:40Z (Ed25519)",
        "clinic saw this log at 2026-05-28T20:26:40Z (ML-DSA-44)",
    ]
    for at, key in enumerate(keys):
        other = CosignKey(key.cosigner.name, key.cosigner.algorithm, bytes([1]) * 32).cosigner.text()
        (report,) = judged([bundle], [other])
        assert (report["verdict"], report["message"]) == ("differs", f"is not cosigned by {key.cosigner.name}")
        forged = json.loads(villages.resealed(document))
        head, _, line = lines[at].rstrip("\n").rpartition(" ")
        data = bytearray(base64.b64decode(line))
        data[-9] ^= 1
        forged["checkpoint"] = document["checkpoint"].replace(lines[at], f"{head} {base64.b64encode(data).decode()}\n")
        (report,) = judged([base64.b64encode(villages.resealed(forged)).decode()], [names[at]])
        assert (report["verdict"], report["where"]) == ("differs", "witness")
    (report,) = judged([bundle], ["school+00000000+CAAA"])
    assert (report["verdict"], report["where"]) == ("cannot judge", "witness")


def test_signed_days_of_each_kind_are_judged_alike() -> None:
    paths = sorted(villages.GOLDEN.glob("*.json"))
    reports = judged([base64.b64encode(path.read_bytes()).decode() for path in paths])
    assert reports == [json.loads(path.with_suffix(".report").read_text()) for path in paths]
    altered = json.loads((villages.GOLDEN / "signed.json").read_bytes())
    texts = altered["ocmf"]["home-01"]
    texts[0][2] = texts[0][2].replace('"XI":[', '"XI":[1', 1)
    bundle = villages.resealed(altered)
    (page,), program = judged([base64.b64encode(bundle).decode()]), villages.judge(bundle)
    assert page == program
    assert program["verdict"] == "differs"
