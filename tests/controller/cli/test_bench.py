"""docs/benchmarks.md as `atoll bench` writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.cli import bench, exit_code
from controller.cli.bench import Row, record


def rows(page: Path, name: str) -> list[str]:
    section = page.read_text().split(f"## {name}\n")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| 2")]


def row(commit: str = "abc", speed: float = 1234.5678, seed: int = 1, date: str = "2026-11-20") -> Row:
    return Row(date, commit, "a Pi", {"seed": seed, "speed": speed, "lost": 0})


def test_a_first_row_makes_the_page(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "benchmarks.md"
    record(page, "wire", row())
    assert page.read_text().startswith("# Benchmarks\n")
    assert rows(page, "wire") == ["| 2026-11-20 | abc | a Pi | 1 | speed 1235, lost 0 |"]


def test_the_same_commit_machine_and_seed_is_replaced_and_others_stay(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    for one in (row("old"), row("abc"), row("abc", seed=2), row("abc", speed=7.0, date="2026-11-21")):
        record(page, "wire", one)
    assert rows(page, "wire") == [
        "| 2026-11-21 | abc | a Pi | 1 | speed 7, lost 0 |",
        "| 2026-11-20 | abc | a Pi | 2 | speed 1235, lost 0 |",
        "| 2026-11-20 | old | a Pi | 1 | speed 1235, lost 0 |",
    ]


def test_benchmarks_have_their_own_tables_and_prose_stays(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    for name in ("rss", "wire"):
        record(page, name, row())
    page.write_text(page.read_text().replace("## rss\n", "## rss\n\nResident memory of the hub.\n"))
    record(page, "rss", row("new"))
    record(page, "wire", row("new"))
    assert "Resident memory of the hub." in page.read_text()
    assert [len(rows(page, name)) for name in ("rss", "wire")] == [2, 2]


def test_a_benchmark_is_run_printed_and_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "answer.py").write_text(
        '"""How many."""\n\n\ndef run(arguments):\n    return {"n": 6 * int(arguments[0])}\n'
    )
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    monkeypatch.setattr(bench, "PAGE", tmp_path / "benchmarks.md")
    assert exit_code(["bench", "answer", "--json", "7"]) == 0
    assert capsys.readouterr().out == '{"n": 42}\n'
    assert "n 42" in rows(tmp_path / "benchmarks.md", "answer")[0]
    assert exit_code(["bench", "--list"]) == 0
    assert capsys.readouterr().out.split() == ["answer", "How", "many."]


def test_an_unknown_benchmark_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["bench", "nonesuch"]) == 2
    assert "atoll bench --list" in capsys.readouterr().err
