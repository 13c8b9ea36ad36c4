"""Interlocks, leases and outbox have no branch that no test has taken: measured, not believed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COVERED = {
    "devices/interlocks.py": ("test_interlocks.py", "test_interlock_rules.py"),
    "devices/interlock_watch.py": ("test_interlock_rules.py",),
    "devices/leases.py": ("test_interlock_rules.py",),
    "devices/outbox.py": ("test_outbox.py", "test_interlock_rules.py"),
}
"""Module -> its tests in this folder; whoever changes one of them keeps this at 100 %."""


@pytest.mark.integration
def test_every_branch_is_taken(tmp_path: Path) -> None:
    data, report = tmp_path / "coverage", tmp_path / "report.json"
    tests = sorted({f"tests/devices/{name}" for names in COVERED.values() for name in names})
    include = ",".join(COVERED)
    run = [sys.executable, "-m", "coverage"]
    words = [*run, "run", "--branch", f"--data-file={data}", f"--include={include}", "-m", "pytest", "-q", "-x"]
    done = subprocess.run(
        [*words, "-p", "no:cacheprovider", "-p", "no:xdist", *tests],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    subprocess.run([*run, "json", f"--data-file={data}", "-o", str(report)], cwd=ROOT, check=True, capture_output=True)
    files = json.loads(report.read_text())["files"]
    assert set(files) == set(COVERED)
    missed = {
        name: (found["missing_lines"], found["missing_branches"])
        for name, found in files.items()
        if found["missing_lines"] or found["missing_branches"]
    }
    assert missed == {}
