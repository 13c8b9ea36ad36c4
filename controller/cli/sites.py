"""A site file on the command line: read, checked, or refused with every problem."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from controller.cli.check import read_text
from controller.cli.errors import ExitCode, Refusal

if TYPE_CHECKING:
    from controller.site import Site

VILLAGE = Path(__file__).parents[2] / "examples" / "village" / "site.toml"
"""The example that `demo` and `simulate` live in where no site file is named."""


def load_site(path: Path) -> Site:
    """Returns the site of a file.

    Raises:
        Refusal: exit code 3 with every problem.
    """
    from controller.site import load
    from controller.site_problems import SiteProblems

    try:
        return load(read_text(path), str(path))
    except SiteProblems as error:
        count = len(error.problems)
        raise Refusal(f"{count} problem{'s' if count > 1 else ''} in {path}\n{error}", ExitCode.CONFIG) from error
