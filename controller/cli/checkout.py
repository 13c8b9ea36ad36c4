"""The checkout that `atoll` runs from: its folder, its commit, and the tools that only developers need in .venv."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from controller.cli.errors import ExitCode, Refusal

ROOT = Path(__file__).resolve().parent.parent.parent


def commit() -> str:
    """Returns the short commit id, with `+` where tracked files differ from it; empty outside a git checkout."""
    from controller.shell.kit import release_of

    release = release_of(ROOT)
    if release:
        return release.rpartition("-")[2]
    identity = _git("rev-parse", "--short=10", "HEAD")
    if not identity:
        return ""
    return identity + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False, timeout=20
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def need_development_tools() -> Path:
    """Installs what requirements-dev.lock names where it is missing, and returns the checkout's folder.

    The launcher does it, as it does the first set-up: progress, kit, repair and waiting for another start.

    Raises:
        Refusal: Atoll runs from an installed wheel, or the installation failed (the launcher has said why).
    """
    launcher = ROOT / "atoll"
    if not launcher.is_file():
        raise Refusal(
            f"{ROOT} is not a checkout of Atoll, so there are no tests or checks to run.",
            ExitCode.USAGE,
            hint="Clone the repository and run ./atoll there.",
        )
    done = subprocess.run(["sh", str(launcher)], env={**os.environ, "ATOLL_SETUP": "dev"}, check=False)
    if done.returncode:
        raise Refusal("the test and lint tools are not installed.", ExitCode(done.returncode))
    return ROOT
