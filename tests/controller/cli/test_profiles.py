"""`atoll profiles`: what is shipped, what is wrong with a file, a copy to begin with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.cli import exit_code


def test_the_list_names_levels_and_variants(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["profiles", "list"]) == 0
    said = capsys.readouterr().out
    assert "bronze    deye_3p" in said
    assert "missing: a fallback of its own: on stays as it is when the gateway dies" in said
    assert ".hv_1098" in said
    assert exit_code(["profiles", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["profiles"]
    by_name = {row["name"]: row for row in rows}
    assert by_name["evse"]["writes"] == {"setpoint": [0, 50000]}
    assert (by_name["soil_probe"]["level"], by_name["soil_probe"]["missing"]) == ("silver", [])


def test_a_copy_is_sound_until_it_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.toml"
    assert exit_code(["profiles", "new", str(mine), "--like", "carlo_gavazzi_em24"]) == 0
    assert exit_code(["profiles", "check", str(mine)]) == 0
    mine.write_text(mine.read_text().replace("scale = 0.1,", "scael = 0.1,").replace("function = 4", "function = 9"))
    assert exit_code(["profiles", "check", str(mine), "--json"]) == 3
    said = capsys.readouterr().out
    problems = json.loads(said[said.index("{") :])["problems"]
    assert len(problems) == 4
    assert any("did you mean 'scale'?" in problem for problem in problems)
    assert exit_code(["profiles", "new", str(mine)]) == 3
    assert exit_code(["profiles", "new", str(tmp_path / "x.txt")]) == 2
    assert exit_code(["profiles", "new", str(tmp_path / "y.toml"), "--like", "nothing"]) == 2


def test_a_file_longer_than_40_lines_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = tmp_path / "long.toml"
    assert exit_code(["profiles", "new", str(long)]) == 0
    long.write_text(long.read_text() + "#\n" * 40)
    assert exit_code(["profiles", "check", str(long)]) == 3
    assert "a profile has at most 40" in capsys.readouterr().out


def test_everything_shipped_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["profiles", "check"]) == 0
    assert "no problems" in capsys.readouterr().out
