"""`atoll ledger show|verify|proof`: reading the ledger of a data directory; never writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.errors import ExitCode, Refusal

if TYPE_CHECKING:
    from controller.shell.ledger_reader import EntryView, LedgerReader
    from controller.shell.ledger_verify import Verification

FINDINGS_SHOWN_MAX = 20


@click.group()
def ledger() -> None:
    """Show or verify the ledger of a data directory. Reads only; a running hub is not disturbed."""


@ledger.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.option("--key", metavar="KEY", help="The log's public key as you know it (name+id+base64).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(data_dir: Path, key: str | None, as_json: bool) -> None:
    """Recompute everything and name what is wrong; exit 0 sound, 1 not.

    Hashes, balances, reversals, tree heads with their signatures, records, and every settled day and bill
    from the records and the published rules.
    """
    from controller.shell.ledger_verify import verify as verify_ledger

    found = verify_ledger(ledger_file(data_dir), key)
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
    """Show the head, the balances and the newest entries."""
    with _Reader(data_dir) as reader:
        head, entries = reader.head(), reader.entries(None, limit, account)
        balances = [held for held in reader.balances() if account in (None, held.account)]
        held, digits = reader.held(), _minor_digits(reader.entry(0))
    if account is not None and not balances and not entries:
        raise Refusal(
            f"nothing was ever posted to {account!r}", hint=f"atoll ledger show {data_dir} lists the accounts"
        )
    if as_json:
        document = {
            "schema": 1,
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
    click.echo(f"{head.size} entries, root {head.root[:16]}…, signed up to {head.signed_size}")
    for balance in balances:
        click.echo(f"  {balance.account:<28} {_amount(balance.posted, balance.asset, digits):>24}")
    for entry in entries:
        click.echo(_line(entry, digits))
    for day, point, why in held:
        click.echo(f"held back: {point} on {day} ({why})")


@ledger.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.argument("seq", type=int)
def proof(data_dir: Path, seq: int) -> None:
    """Print an entry and the proof that it is in the signed tree, as JSON."""
    with _Reader(data_dir) as reader:
        entry, found = reader.entry(seq), reader.proof(seq)
    if entry is None or found is None:
        raise Refusal(f"there is no entry {seq}", hint=f"atoll ledger show {data_dir}")
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


def ledger_file(data_dir: Path) -> Path:
    """Returns the ledger file of a data directory (or the path itself, if it is a file).

    Raises:
        Refusal: there is none.
    """
    path = data_dir / "ledger.db" if data_dir.is_dir() else data_dir
    if not path.is_file():
        raise Refusal(f"there is no ledger in {data_dir}", ExitCode.CONFIG, hint="a hub makes it on its first start")
    return path


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
    if found.ok:
        click.echo(f"{data_dir}: sound. {looked}; root {found.root[:16]}…")
    else:
        click.echo(f"{data_dir}: {len(found.findings)} findings. {looked}")


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


def _line(entry: EntryView, digits: int) -> str:
    from controller.entry_words import entry_text
    from devices.clock import SECOND_MS, floor_to, iso

    state = "" if entry.state == "posted" else f" {entry.state}"
    moved = ", ".join(f"{p.account} {_amount(p.amount, p.asset, digits)}" for p in entry.postings[:2])
    more = f" (+{len(entry.postings) - 2})" if len(entry.postings) > 2 else ""
    text = entry_text(entry.kind, entry.body, entry.member, entry.period)
    at = iso(floor_to(entry.at, SECOND_MS))
    return f"{entry.seq:>7}  {at}  {entry.kind}{state}: {text}  {moved}{more}".rstrip()


def _amount(amount: int, asset: str, digits: int) -> str:
    """Returns an amount as people read it: 12.350 kWh, 3,204.0 L, -3.07 EUR."""
    from controller.entry_words import amount_text

    return " ".join(amount_text(asset, amount, digits))


def _minor_digits(genesis: EntryView | None) -> int:
    """Returns the decimals of the currency, as the ledger's first entry states them (`1e-2`)."""
    assets = genesis.body.get("assets") if genesis is not None else None
    scales = assets.values() if isinstance(assets, dict) else ()
    return next((int(str(scale)[3:]) for scale in scales if str(scale).startswith("1e-")), 2)
