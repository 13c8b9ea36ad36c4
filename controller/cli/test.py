"""`atoll test`: installs what the tests need, then runs pytest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

from controller.cli.checkout import need_development_tools

TOOLS = ("mosquitto", "chromium", "mbpoll", "hledger", "systemd-analyze", "unshare")
"""Programs that some tests drive; each is also the name of its Debian package, save these:"""
PACKAGE_OF = {"systemd-analyze": "systemd", "unshare": "util-linux"}


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--deep", is_flag=True, help="Also run the long counts (marker `deep`).")
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def test(ctx: click.Context, *, deep: bool, pytest_arguments: tuple[str, ...]) -> None:
    """Install the test tools and run every test.

    PYTEST_ARGUMENTS go to pytest as they are: `atoll test tests/optimizer -k lifeline -x`. The tests that need
    mosquitto, Chromium, mbpoll or hledger are counted and named at the end where these cannot be installed; under
    CI=true that fails.
    """
    root = need_development_tools()
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        _install([PACKAGE_OF.get(tool, tool) for tool in missing])
    arguments = [*(pytest_arguments or _parallel()), *["--deep"] * deep]
    done = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=_work_folder(root), check=False)
    ctx.exit(done.returncode)


def _parallel() -> list[str]:
    """Returns the options of a whole run on more than one core: each file stays on one worker, in our order."""
    workers = min(os.cpu_count() or 1, 4)
    return ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"] if workers > 1 else []


def _work_folder(root: Path) -> Path:
    """Returns where pytest starts: here when here is inside the checkout, so that relative paths mean what they say."""
    here = Path.cwd()
    return here if here.is_relative_to(root) else root


def _install(packages: list[str]) -> None:
    """Installs Debian packages where that needs no question; otherwise the tests that want them are not run."""
    prefix = _privilege()
    if prefix is None:
        return
    click.echo(f"atoll: installing {' and '.join(packages)} with apt-get", err=True)
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(
            [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            click.echo(f"atoll: apt-get {command[0]} failed: {done.stderr.strip()[-300:]}", err=True)
            return


def _privilege() -> list[str] | None:
    """Returns what to put before `apt-get` to be allowed, or None where it is absent or would ask a question."""
    if os.environ.get("ATOLL_KIT") or not shutil.which("apt-get"):
        return None  # a kit promises that no connection is opened
    if os.geteuid() == 0:
        return []
    if (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        return ["sudo", "-n"]
    return None
