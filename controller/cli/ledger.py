"""`atoll ledger show|verify|proof|export` read the ledger of a data directory; `rotate-key` asks its hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.desk import ask_desk, tell
from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_option, ledger_file

if TYPE_CHECKING:
    from controller.shell.ledger_reader import EntryView, LedgerReader
    from controller.shell.ledger_verify import Verification

FINDINGS_SHOWN_MAX = 20


@click.group()
def ledger() -> None:
    """Show or verify the ledger of a data directory, or hand it over to a new key.

    All but `rotate-key` read only; a running hub is not disturbed.
    """


@ledger.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.option(
    "--key", "keys", multiple=True, metavar="KEY", help="A public key of the log as you know it (name+id+base64)."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(data_dir: Path, keys: tuple[str, ...], as_json: bool) -> None:
    """Recompute everything and name what is wrong; exit 0 sound, 1 not, or not to be judged without keys.db.

    Hashes, balances, reversals, tree heads with their signatures, records, and every settled day and bill
    from the records and the published rules.
    """
    from controller.shell.ledger_verify import verify as verify_ledger

    found = verify_ledger(ledger_file(data_dir), keys)
    if as_json:
        click.echo(json.dumps(_verification(found), indent=2))
    else:
        _print(data_dir, found)
    if not found.ok:
        raise SystemExit(int(ExitCode.FINDINGS))


@ledger.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.option("--account", metavar="NAME", help="Only entries that touch this account, and its balance.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many entries.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(data_dir: Path, account: str | None, limit: int, as_json: bool) -> None:
    """Show the log's key, the head, the balances and the newest entries; `atoll why entry NUMBER` tells more of one."""
    with _Reader(data_dir) as reader:
        key, head, entries = reader.key(), reader.head(), reader.entries(None, limit, account)
        balances = [held for held in reader.balances() if account in (None, held.account)]
        held, digits, zone = reader.held(), _minor_digits(reader.entry(0)), reader.timezone()
    if account is not None and not balances and not entries:
        raise Refusal(
            f"nothing was ever posted to {account!r}", hint=f"atoll ledger show {data_dir} lists the accounts"
        )
    if as_json:
        document = {
            "schema": 1,
            "key": key,
            "head": {"size": head.size, "root": head.root, "signed_size": head.signed_size},
            "balances": [
                {"account": b.account, "asset": b.asset, "posted": str(b.posted), "pending": str(b.pending)}
                for b in balances
            ],
            "entries": [_entry(entry) for entry in entries],
            "held": [{"day": day, "usage_point": point, "why": why} for day, point, why in held],
        }
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"log key {key}")
    click.echo(f"{head.size} entries, root {head.root[:16]}…, signed up to {head.signed_size}")
    from controller.entry_words import amount_words

    for balance in balances:
        click.echo(f"  {balance.account:<28} {amount_words(balance.asset, balance.posted, digits):>24}")
    for entry in entries:
        click.echo(_line(entry, digits, zone))
    for day, point, why in held:
        click.echo(f"held back: {point} on {day} ({why})")


@ledger.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.argument("seq", type=int)
@click.option("--tlog", is_flag=True, help="Print a C2SP tlog-proof file instead, with the witnesses' cosignatures.")
def proof(data_dir: Path, seq: int, tlog: bool) -> None:
    """Print an entry and the proof that it is in the signed tree, as JSON."""
    with _Reader(data_dir) as reader:
        entry, found = reader.entry(seq), reader.proof(seq)
    if entry is None or found is None:
        raise Refusal(f"there is no entry {seq}", hint=f"atoll ledger show {data_dir}")
    if tlog:
        from controller.ledger.proof import LogProof

        if not found.checkpoint:
            raise Refusal(f"entry {seq} is not under a signed checkpoint yet", ExitCode.RETRY, hint="try in a minute")
        proven = LogProof(seq, tuple(map(bytes.fromhex, found.hashes)), found.checkpoint)
        click.echo(proven.text(), nl=False)
        return
    document = {
        "schema": 1,
        "entry": _entry(entry),
        "size": found.size,
        "root": found.root,
        "leaf": found.leaf,
        "hashes": list(found.hashes),
        "checkpoint": found.checkpoint,
    }
    click.echo(json.dumps(document, indent=2))


@ledger.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["beancount", "hledger", "csv", "ocmf"]), required=True, help="For whom."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write it (default: print it).")
def export(data_dir: Path, form: str, output: Path | None) -> None:
    """Write the whole ledger for another bookkeeping program, or the signed meter-days (ocmf).

    beancount and hledger get every account's balance as an assertion: an altered amount does not pass there.
    """
    from controller.shell.ledger_export import NothingToExport, export_lines
    from controller.store.ledger_file import NotALedger

    path = ledger_file(data_dir)
    try:
        lines = export_lines(path, form)
        if output is None:
            for line in lines:
                click.echo(line)
            return
        with output.open("w", encoding="utf-8") as file:
            count = sum(bool(file.write(line + "\n")) for line in lines)
    except NothingToExport as error:
        raise Refusal(str(error)) from error
    except NotALedger as error:
        raise Refusal(str(error), hint=f"atoll ledger verify {data_dir} says more") from error
    except OSError as error:
        raise Refusal(f"{output} cannot be written: {error.strerror}", ExitCode.CONFIG) from error
    click.echo(f"{output}: {count} lines")


@ledger.command("rotate-key")
@click.option("--reason", required=True, help="Why: it goes into the log.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def rotate_key(reason: str, data_dir: Path | None, as_json: bool) -> None:
    """Hand the log over to a new key: the old one signs the entry and is then destroyed.

    What was signed before holds by the key of its time. Tell witnesses the new key (atoll witness --new-key KEY).
    """
    tell(ask_desk(data_dir, {"do": "rotate-log-key", "reason": reason}), as_json)


class _Reader:
    """A reader that is closed again, and whose failure to open is a short text."""

    def __init__(self, data_dir: Path) -> None:
        from controller.shell.ledger_reader import LedgerReader
        from controller.store.ledger_file import NotALedger

        path = ledger_file(data_dir)
        try:
            self._reader = LedgerReader.open(path)
        except NotALedger as error:
            raise Refusal(str(error), hint=f"atoll ledger verify {data_dir} says more") from error

    def __enter__(self) -> LedgerReader:
        return self._reader

    def __exit__(self, *_: object) -> None:
        self._reader.close()


def _print(data_dir: Path, found: Verification) -> None:
    for finding in found.findings[:FINDINGS_SHOWN_MAX]:
        click.echo(str(finding))
    hidden = len(found.findings) - FINDINGS_SHOWN_MAX
    if hidden > 0:
        click.echo(f"… and {hidden} more (--json shows all)")
    looked = f"{found.entries} entries, {found.records} records, {found.days} days, {found.checkpoints} signed heads"
    if found.waiting:
        click.echo(f"waiting for their correction run: {', '.join(found.waiting)}")
    erased = [name for name in found.closed if name not in found.locked]
    for what, names in (("erased", erased), ("sealed, and keys.db has no key that opens them", found.locked)):
        if names:
            shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
            click.echo(f"cannot judge ({len(names)} days and bills), members' data are {what}: {shown}")
    if found.ok:
        but = " but for what was erased" if erased else ""
        click.echo(f"{data_dir}: sound{but}. {looked}; root {found.root[:16]}…")
    elif not found.findings:
        click.echo(f"{data_dir}: cannot judge all of it; nothing else is wrong. {looked}")
    else:
        count = len(found.findings)
        click.echo(f"{data_dir}: {count} finding{'s' if count > 1 else ''}. {looked}")


def _verification(found: Verification) -> dict[str, object]:
    return {
        "schema": 1,
        "ok": found.ok,
        "entries": found.entries,
        "records": found.records,
        "checkpoints": found.checkpoints,
        "days": found.days,
        "root": found.root,
        "waiting": list(found.waiting),
        "verdict": "differs" if found.findings else "ok" if found.ok and not found.closed else "cannot judge",
        "cannot_judge": list(found.closed),
        "without_key": list(found.locked),
        "findings": [
            {"table": finding.table, "where": finding.where, "message": finding.message} for finding in found.findings
        ],
    }


def _entry(entry: EntryView) -> dict[str, object]:
    return {
        "seq": entry.seq,
        "id": entry.id,
        "at": entry.at,
        "kind": entry.kind,
        "state": entry.state,
        "postings": [[p.account, p.asset, str(p.amount)] for p in entry.postings],
        "body": entry.body,
        "refers": entry.refers,
        "leaf": entry.leaf,
    }


def _line(entry: EntryView, digits: int, zone: str) -> str:
    from controller.civil import moment_text
    from controller.entry_words import amount_words, entry_text

    state = "" if entry.state == "posted" else f" {entry.state}"
    moved = ", ".join(f"{p.account} {amount_words(p.asset, p.amount, digits)}" for p in entry.postings[:2])
    more = f" (+{len(entry.postings) - 2})" if len(entry.postings) > 2 else ""
    text = entry_text(entry.kind, entry.body, entry.member, entry.period, zone=zone)
    return f"{entry.seq:>7}  {moment_text(zone, entry.at)}  {entry.kind}{state}: {text}  {moved}{more}".rstrip()


def _minor_digits(genesis: EntryView | None) -> int:
    """Returns the decimals of the currency, as the ledger's first entry states them (`1e-2`)."""
    assets = genesis.body.get("assets") if genesis is not None else None
    scales = assets.values() if isinstance(assets, dict) else ()
    return next((int(str(scale)[3:]) for scale in scales if str(scale).startswith("1e-")), 2)
