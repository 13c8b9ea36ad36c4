"""`atoll support bundle` tells no names and no secrets; `atoll completion` completes in a real bash."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from controller.cli import VERBS, exit_code
from controller.shell.support import redacted, redacted_site

VILLAGE = Path(__file__).parents[2] / "village.toml"
SECRETS = ("Anahera", "hunter2", "ana@example.org", "+676 55 12345", "MC4CAQAwBQYDK2Vw", "51.5", "s3cr3t")


def test_a_bundle_holds_what_helps_and_none_of_the_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = VILLAGE.read_text().replace('name = "Anahera"', 'name = "Anahera"  # call +676 55 12345', 1)
    Path("site.toml").write_text(text)
    logs = tmp_path / "data" / "logs"
    logs.mkdir(parents=True)
    pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----"
    lines = [
        "Anahera asked ana@example.org",
        'password="hunter2" user=x',
        f"key {pem}",
        "mqtt://u:s3cr3t@host:1883",
        "event=started",
    ]
    (logs / "hub.log").write_text("\n".join(lines))
    (tmp_path / "data" / "ledger.db").write_bytes(b"Anahera's bills")
    assert exit_code(["support", "bundle", "b.tgz", "--data-dir", "data", "--json", "--broker", "127.0.0.1:1"]) == 0
    listed = {row["name"] for row in json.loads(capsys.readouterr().out)["holds"]}
    shutil.unpack_archive("b.tgz", "out")
    held = {str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file()}
    assert held == {*listed, "CONTENTS.json"}
    whole = "".join((Path("out") / name).read_text() for name in held)
    assert not [secret for secret in SECRETS if secret in whole]
    assert "event=started" in whole
    assert 'driver = "sunspec"' in whole
    assert "ledger.db" in whole
    assert exit_code(["support", "bundle", "b.tgz", "--data-dir", "data"]) == 3


def test_what_is_taken_out_of_texts() -> None:
    assert redacted("token: abc, Authorization=xyz") == "token: (removed) Authorization=(removed)"
    assert redacted("Ana and Anahera", ["Anahera"]) == "Ana and (name)"
    assert (
        redacted_site('latitude = -21.1393\n[[member]]\nname = "X Y"\n')
        == 'latitude = -21.0\n[[member]]\nname = "(name)"\n'
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["completion", shell]) == 0
    assert f"_ATOLL_COMPLETE={shell}_complete" in capsys.readouterr().out


@pytest.mark.integration
def test_bash_completes_verbs(tmp_path: Path) -> None:
    program = tmp_path / "atoll"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m controller.cli "$@"\n')
    program.chmod(0o755)
    words = "COMP_WORDS=(atoll co); COMP_CWORD=1; _atoll_completion atoll"
    asked = f'eval "$(atoll completion bash)"; {words}; echo "${{COMPREPLY[@]}}"'
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, env=environment, check=True)
    assert set(done.stdout.split()) == {verb for verb in VERBS if verb.startswith("co")}
