"""`atoll key`: the key file of a member, as the member uses it."""

from __future__ import annotations

import json
import stat

import pytest

from controller.cli import exit_code
from controller.cli.errors import ExitCode


def test_a_key_is_made_shown_and_signs_and_the_signature_is_checked(tmp_path, capsys):
    key, paper, signed = tmp_path / "anna.pem", tmp_path / "vote.json", tmp_path / "signed.json"
    assert exit_code(["key", "new", str(key)]) == ExitCode.OK
    did = capsys.readouterr().out.strip()
    assert did.startswith("did:key:z6Mk")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert exit_code(["key", "show", str(key)]) == ExitCode.OK
    assert capsys.readouterr().out.strip() == did
    assert exit_code(["key", "show", str(key), "--qr"]) == ExitCode.OK
    first, *code = capsys.readouterr().out.splitlines()
    assert (first, len(code) > 15) == (did, True)

    paper.write_text('{"vote": "yes"}')
    assert exit_code(["key", "sign", str(key), str(paper), "--purpose", "ballot", "-o", str(signed)]) == ExitCode.OK
    check = ["key", "verify", str(signed), "--purpose", "ballot", "--signer"]
    assert exit_code([*check, did]) == ExitCode.OK
    other = did[:-1] + ("y" if did.endswith("x") else "x")
    assert exit_code([*check, other]) == ExitCode.FINDINGS
    assert exit_code(["key", "verify", str(signed), "--purpose", "approval"]) == ExitCode.FINDINGS
    content = json.loads(signed.read_text())
    content["document"]["vote"] = "no"
    signed.write_text(json.dumps(content))
    assert exit_code([*check, did]) == ExitCode.FINDINGS
    assert "was altered" in capsys.readouterr().err


def test_a_key_is_never_written_over_and_needs_its_passphrase(tmp_path, capsys, monkeypatch):
    key = tmp_path / "anna.pem"
    assert exit_code(["key", "new", str(key), "--passphrase", "blue tea"]) == ExitCode.OK
    before = key.read_bytes()
    assert exit_code(["key", "new", str(key)]) == ExitCode.CONFIG
    assert key.read_bytes() == before
    assert exit_code(["key", "show", str(key)]) == ExitCode.CONFIG
    assert "needs its passphrase" in capsys.readouterr().err
    assert exit_code(["key", "show", str(key), "--passphrase", "green tea"]) == ExitCode.CONFIG
    assert "passphrase is wrong" in capsys.readouterr().err
    monkeypatch.setenv("ATOLL_PASSPHRASE", "blue tea")
    assert exit_code(["key", "show", str(key)]) == ExitCode.OK


@pytest.mark.parametrize(("content", "said"), [("[1]", "no JSON object"), ("{", "not JSON"), ('{"a": 0.5}', "0.5")])
def test_what_cannot_be_signed_is_said(tmp_path, capsys, content, said):
    key, paper = tmp_path / "k.pem", tmp_path / "p.json"
    assert exit_code(["key", "new", str(key)]) == ExitCode.OK
    paper.write_text(content)
    assert exit_code(["key", "sign", str(key), str(paper)]) == ExitCode.CONFIG
    assert said in capsys.readouterr().err
