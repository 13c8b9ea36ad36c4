"""The `atoll` command, one file per verb; a verb's module is imported only when that verb runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from controller.cli.errors import ExitCode
from controller.cli.output import leave_with_the_reader

VERBS: dict[str, str] = {
    "demo": "Set up and run the village on this machine, with simulated devices.",
    "run": "Run hub, gateway or both for a site (the production start).",
    "kit": "Build a folder that installs Atoll where no internet is, and check one.",
    "upgrade": "Install a kit over what runs; undone by itself unless it is well.",
    "rollback": "Make the previous release the one in force again.",
    "takeover": "Make this gateway's machine the hub from the last backup.",
    "time": "Say what this machine's clock is worth; set it by hand in two steps.",
    "service": "Run Atoll as services of this machine: install, uninstall, status.",
    "simulate": "Live through days of a site on virtual time and report.",
    "init": "Ask for the least and write a first site file.",
    "check": "Check a site file and print every problem at once.",
    "config": "Change the site file so that a mistake undoes itself.",
    "status": "Print what the Now page shows.",
    "plan": "Print the plan in force as a picture and a table.",
    "forecast": "Print what load, sun and water are expected to be, and by whom.",
    "water": "Make the table of a pressure zone (EPANET), and look at it.",
    "why": "Print why a plan, a bill, an entry or a refusal is as it is.",
    "storm": "Declare a storm; how long the lifelines last and who gets what.",
    "hold": "Hold a device at a value for a while, with a reason.",
    "release": "End a hold before it expires.",
    "operate": "Open or close a breaker at its gateway, in two steps.",
    "lockout": "Put a lock-out tag on a device, at its gateway.",
    "unlock": "Take your lock-out tag off.",
    "reset": "Let a latched interlock go, at its gateway.",
    "pins": "Print the 40-pin header: who uses which pin.",
    "ack": "Acknowledge an alarm.",
    "ledger": "Show or verify the ledger of a data directory.",
    "meter": "Join a new meter to the one it replaced, by both registers.",
    "clock": "State how far a meter's clock may be off.",
    "pay": "Book a payment, import a bank's file, print a receipt.",
    "statement": "Print a member's year: bills, payments, energy and water.",
    "treasury": "Budgets, spending with approvals, arrears, closing a period.",
    "charter": "Check a charter, or settle recorded days under two.",
    "vote": "Vote on a charter with signed ballots, and count.",
    "fairness": "Publish who got what in a quarter, by tier and tariff group.",
    "bill": "Write a bill with all that its owner needs to recompute it.",
    "scan": "Find the devices on a bus.",
    "read": "Read a device, at the bus or from the hub.",
    "write": "Set a point for a while, with a reason.",
    "device": "Add, test and replace devices of a site file.",
    "commission": "Put a device into service: E-stop, known values, a signed record.",
    "access": "Say who may use the broker; hand out and renew passwords.",
    "profiles": "List, check and begin the register maps of products.",
    "doctor": "Check this machine, its buses, data and backups.",
    "backup": "Copy a data directory consistently while it runs.",
    "restore": "Put a backup in the place of a data directory.",
    "support": "Collect what a helper needs to see, people left out.",
    "completion": "Print the completion script of a shell.",
    "help": "Explain an error code, offline.",
    "witness": "Cosign the checkpoints of other communities' ledgers.",
    "member": "Note who joins or leaves; give out a member's data, or erase them.",
    "key": "Make a key file, and sign approvals and ballots with it.",
    "drone": "Fly a MAVLink drone as a vehicle of the hub, or say what keeps it down.",
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
    leave_with_the_reader()
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
