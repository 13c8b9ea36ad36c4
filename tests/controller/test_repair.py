"""Seeded faults in site files and profiles: told at their line, mended by the proposals (`bench config-faults`)."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from controller.cli import exit_code
from controller.site_problems import LineIndex
from controller.toml_sheet import Sheet, mend_syntax

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("config_faults", ROOT / "benchmarks" / "config_faults.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_of_other_faults_than_the_benchmarks_nearly_all_are_placed_and_mended(bench: ModuleType) -> None:
    figures = bench.run(["--seed", "77", "--total", "60"])
    assert figures["total"] == 60
    assert figures["share"] >= 0.9, figures["missed"]


def test_the_grader_counts_no_fault_that_is_told_elsewhere_or_not_mended(bench: ModuleType) -> None:
    text = bench.VILLAGE.read_text().replace("import_limit_w", "imprt_limit_w", 1)
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "imprt" in row)
    assert bench.judged(bench.Fault("site x", text, frozenset({line}))) == (True, True)
    assert bench.judged(bench.Fault("site x", text, frozenset({line + 1}))) == (False, True)
    hopeless = text.replace("[site]", "[[site]]\n{{{")
    assert bench.judged(bench.Fault("site x", hopeless, frozenset({1})))[1] is False


@pytest.mark.parametrize(
    ("broken", "line", "mended"),
    [
        ('a = "x\nb = 1\n', 1, 'a = "x"\nb = 1\n'),
        ("a = [1, 2\nb = 1\n", 1, "a = [1, 2]\nb = 1\n"),
        ("[x\na = 1\n", 1, "[x]\na = 1\n"),
        ("[[x]\na = 1\n", 1, "[[x]]\na = 1\n"),
        ("a = 1,5\n", 1, "a = 1.5\n"),
        ("a: 1\n", 1, "a = 1\n"),
        ('a "x"\n', 1, 'a = "x"\n'),
        ("a = True # yes\n", 1, "a = true # yes\n"),
        ("a = 1\na = 2\n", 2, "a = 1\n"),
        ("a = 08\n", 1, "a = 8\n"),
        ("x = { a = 1, b = 2\ny = 1\n", 1, "x = { a = 1, b = 2 }\ny = 1\n"),
        ("x = { a = 1, b = word }\n", 1, 'x = { a = 1, b = "word" }\n'),
    ],
)
def test_a_syntax_error_is_told_at_the_line_that_is_wrong(broken: str, line: int, mended: str) -> None:
    found = mend_syntax(broken)
    assert found is not None
    assert found.line == line
    sheet = Sheet(broken)
    sheet.put(found.line, found.text)
    assert tomllib.loads(sheet.text()) == tomllib.loads(mended)


def test_lines_are_found_within_lists_and_inline_tables() -> None:
    lines = ["top = 1", "[a]", "step = [", '  { x = 1, y = "}" },', "  # no", "  { x = 2, z = { q = 3 } },", "]"]
    text = "\n".join([*lines, "p.q = { r = [1, 2] }", "[[b.c]]", "k = 1", ""])
    index = LineIndex(text)
    wanted = {
        ("top",): 1, ("a", "step"): 3, ("a", "step", 0, "y"): 4, ("a", "step", 1, "x"): 6,
        ("a", "step", 1, "z", "q"): 6, ("a", "p", "q", "r"): 8, ("b", "c", 0, "k"): 10,
    }  # fmt: skip
    assert {path: index.find(path) for path in wanted} == wanted


def test_check_fix_writes_what_it_proposes_and_keeps_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code(["init", "--yes", "--name", "M", "--endpoint", "10.0.0.9:502"]) == 0
    sound = Path("site.toml").read_text()
    Path("site.toml").write_text(sound.replace("longitude", "longitud").replace('= "proportional"', "= proportional"))
    broken = Path("site.toml").read_text()
    assert exit_code(["check", "site.toml"]) == 3
    assert "--fix" in capsys.readouterr().out
    assert Path("site.toml").read_text() == broken
    assert exit_code(["check", "site.toml", "--fix"]) == 0
    assert tomllib.loads(Path("site.toml").read_text()) == tomllib.loads(sound)
    assert Path("site.toml.before-fix").read_text() == broken


def test_profiles_check_names_lines_and_mends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code(["profiles", "new", "mine.toml", "--like", "eastron_sdm630"]) == 0
    text = Path("mine.toml").read_text().replace("scale = 1000", "scael = 1000", 1).replace("high-first", "hihg-first")
    Path("mine.toml").write_text(text)
    lines = [n for n, row in enumerate(text.splitlines(), 1) if "scael" in row or "hihg" in row]
    capsys.readouterr()
    assert exit_code(["profiles", "check", "mine.toml"]) == 3
    shown = capsys.readouterr().out
    assert all(f"mine.toml:{line}" in shown for line in lines)
    assert exit_code(["profiles", "check", "mine.toml", "--fix"]) == 0
    assert "scael" not in Path("mine.toml").read_text()


def test_profiles_list_names_those_that_speak_mqtt_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["profiles", "list"]) == 0
    shown = capsys.readouterr().out
    assert "eastron_sdm630" in shown
    assert "mqtt:tasmota_plug" in shown
