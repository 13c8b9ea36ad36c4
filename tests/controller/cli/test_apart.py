"""Work done in a fork: its result, its refusal, its death; and what a gateway's process does without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from controller.cli.apart import apart
from controller.cli.errors import ExitCode, Refusal


def test_the_result_comes_back_and_the_work_was_done_elsewhere() -> None:
    assert apart(os.getpid) != os.getpid()
    assert apart(lambda: {"a": (1, 2.5)}) == {"a": (1, 2.5)}


def test_a_refusal_is_raised_here_as_it_was_there() -> None:
    def refuse() -> None:
        raise Refusal("no such site", ExitCode.CONFIG, hint="write one")

    with pytest.raises(Refusal, match="no such site") as caught:
        apart(refuse)
    assert (caught.value.exit_code, caught.value.hint) == (3, "write one")


def test_a_fork_that_is_killed_is_said() -> None:
    with pytest.raises(Refusal, match="ended without an answer") as caught:
        apart(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert caught.value.exit_code == 75


GATEWAY = """
import sys
from pathlib import Path
import devices.shell.gateway as shell
shell.run_gateway = lambda config, *_, **__: print(config.id, len(config.devices), "pydantic" in sys.modules)
from controller.cli import exit_code
sys.exit(exit_code(["run", "gateway", "examples/village/site.toml", "--data-dir", sys.argv[1]]))
"""


def test_a_gateway_starts_without_what_reads_the_site_file(tmp_path: Path) -> None:
    words = [sys.executable, "-c", GATEWAY, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split()[0] == "gw-1"
    assert done.stdout.split()[2] == "False"
