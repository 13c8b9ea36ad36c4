"""The `atoll` command, one file per verb; a verb's module is imported only when that verb runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from controller.cli.errors import ExitCode

VERBS: dict[str, str] = {
    "demo": "Set up and run the village on this machine, with simulated devices.",
    "run": "Run hub, gateway or both for a site (the production start).",
    "simulate": "Live through days of a site on virtual time and report.",
    "check": "Check a site file and print every problem at once.",
    "status": "Print what the Now page shows.",
    "hold": "Hold a device at a value for a while, with a reason.",
    "release": "End a hold before it expires.",
    "ack": "Acknowledge an alarm.",
    "ledger": "Show or verify the ledger of a data directory.",
    "charter": "Check a charter, or replay recorded months under two.",
    "bill": "Write a bill with all that its owner needs to recompute it.",
    "scan": "Find the devices on a bus.",
    "read": "Read a device, at the bus or from the hub.",
    "write": "Set a point for a while, with a reason.",
    "profiles": "List, check and begin the register maps of products.",
    "help": "Explain an error code, offline.",
    "witness": "Cosign the checkpoints of other communities' ledgers.",
    "fleet": "Run the simulated devices alone, on real wires.",
    "test": "Install the test tools and run every test.",
    "lint": "Run every static check.",
    "bench": "Run a benchmark and write its figures down.",
    "version": "Print the versions of Atoll and of what it stands on.",
}
"""Verb -> help line. Verb `x` is the click command `x` in `controller/cli/x.py`."""


class Verbs(click.Group):
    """The verbs of `atoll`, found by name without importing the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the verbs in the order of a first day."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns the command of a verb, imported now, or None for an unknown one."""
        if cmd_name not in VERBS:
            return None
        command = getattr(import_module(f"controller.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command), f"controller/cli/{cmd_name}.py must define the command {cmd_name}"
        command.short_help = VERBS[cmd_name]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Returns the verb and its arguments; a mistyped verb is answered with the nearest one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, n=1)
            ctx.fail(f"there is no verb {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the verb list from the table alone."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def atoll() -> None:
    """Run the shared energy, water, robots and machines of a small community.

    `atoll demo` is the place to begin. Every verb explains itself: `atoll VERB --help`.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process with its exit code."""
    sys.exit(exit_code(arguments))


def exit_code(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line (default: sys.argv) and returns its exit code; expected failures are printed, short."""
    try:
        returned: object = atoll.main(arguments, prog_name="atoll", standalone_mode=False)
    except click.Abort:
        return ExitCode.INTERRUPTED
    except click.ClickException as refusal:
        refusal.show()
        return refusal.exit_code
    return returned if isinstance(returned, int) else ExitCode.OK
