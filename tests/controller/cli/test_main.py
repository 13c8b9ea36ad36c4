"""Exit codes and messages of the command line."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from controller import cli
from controller.cli.errors import ExitCode, Refusal


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch):
    """Returns a function that makes `atoll version` do something else."""

    def becomes(action) -> None:
        @click.command()
        def version() -> None:
            action()

        monkeypatch.setattr("controller.cli.version.version", version)

    return becomes


def raising(error: BaseException):
    def action() -> None:
        raise error

    return action


def test_a_refusal_is_a_message_a_hint_and_its_code(verb, capsys: pytest.CaptureFixture[str]) -> None:
    verb(raising(Refusal("battery-1 is locked out.", ExitCode.UNSAFE, hint="Lift the lock-out.\nThen try again.")))
    assert cli.exit_code(["version"]) == 6
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "atoll: battery-1 is locked out.\n       Lift the lock-out.\n       Then try again.\n"


def test_control_c_ends_with_130(verb) -> None:
    verb(raising(KeyboardInterrupt()))
    assert cli.exit_code(["version"]) == 130


def test_an_exit_code_of_a_verb_is_the_exit_code(verb) -> None:
    verb(lambda: click.get_current_context().exit(4))
    assert cli.exit_code(["version"]) == 4


def test_an_unexpected_error_keeps_its_traceback(verb) -> None:
    verb(raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.exit_code(["version"])


def test_a_mistyped_verb_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.exit_code(["simulte"]) == 2
    assert "Did you mean 'simulate'?" in capsys.readouterr().err


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.exit_code(["version", "--nonesuch"]) == 2
    assert "--nonesuch" in capsys.readouterr().err


def test_a_closed_pipe_is_no_traceback() -> None:
    """`atoll --help | true`: the reader is gone before we write."""
    script = '{ sleep 0.3; "$0" -c "from controller.cli import main; main()" --help; } | true'
    done = subprocess.run(["sh", "-c", script, sys.executable], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_reader_that_has_had_enough_is_no_trouble_with_a_file() -> None:
    """Verbs that write a file catch OSError; a broken pipe on standard output is none of theirs."""
    program = """
import click, sys
import controller.cli.version
from controller.cli import main
def action():
    try:
        for _ in range(20_000):
            click.echo("a line of output")
    except OSError as error:
        click.echo(f"the file cannot be written: {error}", err=True)
controller.cli.version.version = click.command("version")(action)
sys.argv = ["atoll", "version"]
main()
"""
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stderr is not None
    with writer:
        assert writer.stdout.readline() == b"a line of output\n"
        writer.stdout.close()
        assert writer.stderr.read() == b""
    assert writer.returncode == ExitCode.READER_GONE
