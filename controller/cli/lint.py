"""`atoll lint`: every static check, one line each; all run even when one fails."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import click

from controller.cli.checkout import need_development_tools


@dataclass(frozen=True, slots=True)
class Check:
    """One tool run; `says` is what its success means."""

    name: str
    says: str
    command: tuple[str, ...]


CHECKS = (
    Check("ruff format", "laid out alike", ("ruff", "format", "--check", "--quiet")),
    Check("ruff check", "no finding", ("ruff", "check", "--quiet")),
    Check("basedpyright", "strict types hold", ("basedpyright", "--level", "error")),
    Check("  tests", "types hold", ("basedpyright", "--level", "error", "--project", "tests")),
    Check("import-linter", "imports flow down", ("lint-imports", "--no-cache")),
    Check("deptry", "dependencies are those used", ("deptry", ".", "--no-ansi")),
    Check("vulture", "no dead code", ("vulture",)),
)


@click.command()
@click.option("--fix", is_flag=True, help="First lay out and mend what ruff can mend by itself.")
@click.pass_context
def lint(ctx: click.Context, *, fix: bool) -> None:
    """Run every static check."""
    root = need_development_tools()
    tools = Path(sys.executable).parent
    if fix:
        subprocess.run([tools / "ruff", "check", "--fix", "--quiet", "--exit-zero"], cwd=root, check=False)
        subprocess.run([tools / "ruff", "format", "--quiet"], cwd=root, check=False)
    results = [_holds(check, tools, root) for check in CHECKS]
    ctx.exit(0 if all(results) else 1)


def _holds(check: Check, tools: Path, root: Path) -> bool:
    started = monotonic()
    program, *arguments = check.command
    done = subprocess.run(
        [tools / program, *arguments], cwd=root, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    passed = done.returncode == 0
    word = click.style("ok", fg="green") if passed else click.style("FAILED", fg="red", bold=True)
    click.echo(f"{check.name:<14}{word}  {check.says if passed else ''}  ({monotonic() - started:.1f} s)")
    if not passed:
        click.echo((done.stdout + done.stderr).rstrip() + "\n")
    return passed
