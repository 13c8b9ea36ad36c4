"""`atoll charter check|compare|trial`: a charter file before anybody votes on it; never writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option

if TYPE_CHECKING:
    from controller.charter_schema import CharterFile
    from controller.settlement.comparison import Comparison
    from controller.settlement.lab import Intervals

CODE_FILES = ("keys.py", "prices.py", "arrays.py", "lab.py", "comparison.py", "terms.py", "tariff.py", "bills.py")
"""What the figures of a comparison depend on; their hash is its code version."""


@click.group()
def charter() -> None:
    """Check a charter file, and replay recorded intervals under two of them."""


@charter.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(file: Path, as_json: bool) -> None:
    """List contradictions, gaps and clauses that nothing reaches; exit 0 sound, 3 not.

    A charter for the policy lab only (lab-only: no household can recompute it) is sound, but cannot be voted on.
    """
    from controller.charter_check import Kind
    from controller.charter_check import check as check_text

    found, clauses = check_text(_text(file))
    for_lab = bool(clauses) and all(clause.kind is Kind.LAB_ONLY for clause in clauses)
    if as_json:
        rows = [
            {
                "kind": c.kind,
                "line": c.line,
                "clause": list(c.path),
                "message": c.message,
                "fix": c.fix,
                "month": c.month,
            }
            for c in clauses
        ]
        proposal = "" if found is None or clauses else _proposal(found)
        found_all = {"ok": not clauses, "lab_only": for_lab, "proposal": proposal, "findings": rows}
        click.echo(json.dumps({"schema": 1, **found_all}, indent=2))
    else:
        for clause in clauses:
            click.echo(clause.text(str(file)))
        if found is not None and not clauses:
            click.echo(f"{file} is sound; its proposal hash is {_proposal(found)}")
        if for_lab:
            click.echo(f"{file} is sound for the policy lab (atoll charter compare); it cannot be put into force")
    if clauses and not for_lab:
        raise SystemExit(int(ExitCode.CONFIG))


@charter.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="A data directory, ledger file or CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare(a: Path, b: Path, data: Path, as_json: bool) -> None:
    """Settle the same intervals under charter A and charter B and show each member the difference."""
    from controller.charter_file import terms
    from controller.settlement.comparison import compare as compare_terms
    from controller.settlement.keys import KeyBroken
    from controller.settlement.lab import LabBroken
    from controller.settlement.storage import is_divided

    first, second = sound_charter(a, lab=True), sound_charter(b, lab=True)
    for path, file in ((a, first), (b, second)):
        if is_divided(file.storage):
            hint = f"atoll charter trial {path} settles it by the meters of a ledger"
            raise Refusal(f"{path} divides what storages bring: the policy lab has no meters of them", hint=hint)
    intervals, held = _intervals(data)
    if (first.currency, first.minor_digits) != (second.currency, second.minor_digits):
        raise Refusal("the two charters have different money", ExitCode.CONFIG, hint="compare in one currency")
    try:
        before, after = (terms(file, intervals.members, intervals.start) for file in (first, second))
        found = compare_terms(before, after, intervals)
    except (LabBroken, KeyBroken) as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error
    document = {"schema": 1, "code": _code_version(), "currency": first.currency, "held": list(held)}
    document |= found.document()
    click.echo(json.dumps(document, indent=2) if as_json else "\n".join(_lines(found, first, len(held))))


@charter.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--days", type=click.IntRange(1, 3660), default=30, show_default=True, help="How many settled days.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def trial(file: Path, days: int, data_dir: Path | None, as_json: bool) -> None:
    """Settle every slot of the last days under the charter that held and under FILE; nothing is written.

    This is the hub's own settlement, with water, losses and roundings; `compare` is the quicker policy lab.
    """
    from controller.cli.remote import ledger_file
    from controller.settlement.bills import minor_text
    from controller.settlement.keys import KeyBroken
    from controller.shell.charter_trial import NothingToTry
    from controller.shell.charter_trial import trial as settle_twice
    from controller.store.ledger_file import NotALedger

    proposed, folder = sound_charter(file), data_dir_of(data_dir)
    try:
        found = settle_twice(ledger_file(folder), proposed, days)
    except (NothingToTry, KeyBroken) as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error
    except NotALedger as error:
        raise Refusal(str(error), hint=f"atoll ledger verify {folder} says more") from error
    document = {"schema": 1, "proposal": _proposal(proposed), "currency": proposed.currency, **found.document()}
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    money = {name: minor_text(amount, found.charter) for name, amount in found.changes().items()}
    click.echo(f"{'member':<16} {'as billed':>16} {'on trial':>16} {'change':>16}")
    for name, amount in found.before.items():
        before, after = (minor_text(one, found.charter) for one in (amount, found.after.get(name, 0)))
        click.echo(f"{name:<16} {before:>16} {after:>16} {money[name]:>16}")
    before, after = (minor_text(gain, found.charter) for gain in found.treasury)
    click.echo(f"{len(found.days)} days ({found.days[0]} to {found.days[-1]}), {found.slots} slots each settled twice")
    click.echo(f"the treasury gains {before} under what held, {after} under {file}")
    click.echo(f"{document['winners']} pay less, {document['losers']} pay more")


def _lines(found: Comparison, file: CharterFile, held: int) -> list[str]:
    from controller.charter_file import base
    from controller.settlement.bills import minor_text

    def money(amount: int) -> str:
        return minor_text(amount, base(file))

    rows = zip(found.members, found.before.bills, found.after.bills, found.changes(), strict=True)
    changes = found.changes()
    winners, losers = sum(change < 0 for change in changes), sum(change > 0 for change in changes)
    return [
        f"{'member':<16} {'A':>16} {'B':>16} {'change':>16}",
        *(f"{name:<16} {money(a):>16} {money(b):>16} {money(change):>16}" for name, a, b, change in rows),
        f"A = {found.names[0]}, B = {found.names[1]}",
        f"{winners} pay less, {losers} pay more; worst off: {found.worst()}",
        f"the treasury gains {money(found.before.treasury)} under A, {money(found.after.treasury)} under B",
        f"data {found.digest[:16]}…, code {_code_version()[:16]}… (--json has Gini, balance and the whole hashes)",
        *([f"{held} meter-days were held back and count for nothing (--json names them)"] if held else []),
    ]


def sound_charter(path: Path, *, lab: bool = False) -> CharterFile:
    """Returns the charter in a file; for the policy lab also one that only an auditor can recompute.

    Raises:
        Refusal: it is not sound; every finding is named.
    """
    from controller.charter_check import Kind
    from controller.charter_check import check as check_text

    found, clauses = check_text(_text(path))
    clauses = [clause for clause in clauses if not (lab and clause.kind is Kind.LAB_ONLY)]
    if found is None or clauses:
        text = "\n".join(clause.text(str(path)) for clause in clauses)
        raise Refusal(f"{path} is not a sound charter\n{text}", ExitCode.CONFIG, hint=f"atoll charter check {path}")
    return found


def _intervals(data: Path) -> tuple[Intervals, tuple[str, ...]]:
    from controller.cli.remote import ledger_file
    from controller.settlement.charter import CharterBroken
    from controller.settlement.lab import LabBroken
    from controller.settlement.tariff import OutsideTable, TableBroken
    from controller.shell.interval_data import read_csv, read_ledger
    from controller.store.ledger_file import NotALedger

    try:
        return (read_csv(data), ()) if data.suffix == ".csv" else read_ledger(ledger_file(data))
    except (LabBroken, NotALedger) as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error
    except (CharterBroken, TableBroken, OutsideTable, KeyError) as error:
        hint = f"atoll ledger verify {data} says more"
        raise Refusal(f"{data}: the ledger's rules cannot be read: {error}", ExitCode.CONFIG, hint=hint) from error


def _proposal(file: CharterFile) -> str:
    from hashlib import sha256

    from controller.charter_file import charter_document
    from controller.ledger.canonical import encode

    return sha256(encode(charter_document(file))).hexdigest()


def _code_version() -> str:
    """Returns the SHA-256 over the modules that the figures depend on."""
    from hashlib import sha256

    import controller.settlement as package

    folder = Path(str(package.__file__)).parent
    return sha256(b"".join((folder / name).read_bytes() for name in CODE_FILES)).hexdigest()


def _text(path: Path) -> str:
    from controller.cli.check import read_text

    return read_text(path)
