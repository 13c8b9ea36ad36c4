"""A test whose tool is missing is counted and named last, and fails under CI=true."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest

@pytest.mark.needs("nonesuch")
def test_a(): raise AssertionError("must not run")

@pytest.mark.needs("sh")
def test_b(): pass

@pytest.mark.deep
def test_c(): pass
"""


def run(folder: Path, *arguments: str, ci: str) -> tuple[int, list[str]]:
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "test_some.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n needs(tool)\n deep\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    env = {**os.environ, "CI": ci, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def test_what_is_not_run_is_said_last_and_fails_in_ci(tmp_path: Path) -> None:
    code, lines = run(tmp_path, ci="false")
    assert code == 0, lines
    assert "1 passed, 1 skipped, 1 deselected" in lines[-2]
    assert lines[-1] == "1 not run: needs nonesuch: apt-get install nonesuch"
    code, lines = run(tmp_path, "-n", "1", "--deep", ci="true")
    assert code == 1, lines
    assert "2 passed, 1 skipped" in lines[-2]
    assert lines[-1] == "1 not run: needs nonesuch: apt-get install nonesuch"
