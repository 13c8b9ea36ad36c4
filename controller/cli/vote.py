"""`atoll vote open|cast|count`: members decide on a charter with signed ballots; the log is the ballot box."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.desk import ask_desk, tell
from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option

if TYPE_CHECKING:
    from controller.shell.ballot_box import PollReader
    from controller.voting import Vote

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
NUMBER = click.argument("number", metavar="VOTE", type=int)


@click.group()
def vote() -> None:
    """Vote on a charter. Who may vote, how many must agree and until when, the charter in force says."""


@vote.command(name="open")
@click.argument("file", type=click.Path(path_type=Path))
@data_dir_option
@JSON
def open_(file: Path, data_dir: Path | None, as_json: bool) -> None:
    """Propose the charter in FILE; it takes effect by itself at its valid_from if enough members agree."""
    from controller.charter_file import charter_document
    from controller.cli.charter import sound_charter
    from controller.ledger.canonical import decode, encode

    document = decode(encode(charter_document(sound_charter(file))))
    tell(ask_desk(data_dir, {"do": "vote-open", "document": document}), as_json)


@vote.command()
@NUMBER
@click.argument("choice", type=click.Choice(["yes", "no"]), required=False)
@click.option("--key", type=click.Path(path_type=Path), help="Your key file (`atoll key new`).")
@click.option("--passphrase", default="", envvar="ATOLL_PASSPHRASE", help="Of the key file.")
@click.option("--paper", type=click.Path(path_type=Path), help="A ballot that was signed elsewhere.")
@click.option("--write", type=click.Path(path_type=Path), help="Only write the ballot, to be signed elsewhere.")
@data_dir_option
@JSON
def cast(
    *, number: int, choice: str | None, key: Path | None, passphrase: str, paper: Path | None, write: Path | None,
    data_dir: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Vote yes or no in VOTE with your key, or hand in a ballot that was signed on another machine.

    There: `atoll vote cast 1 yes --write ballot.json`, then `atoll key sign KEYFILE ballot.json --purpose ballot
    -o signed.json`, then `atoll vote cast 1 --paper signed.json`.
    """
    from controller.ledger.identity import sign_document
    from controller.shell.key_file import KeyFileProblem, read_key_file

    if (paper is None) == (choice is None) or sum(one is not None for one in (key, paper, write)) != 1:
        raise Refusal("say yes or no with --key FILE or --write FILE, or hand in --paper FILE", ExitCode.USAGE)
    if paper is not None:
        tell(ask_desk(data_dir, {"do": "vote-cast", "vote": number, "paper": _json(paper)}), as_json)
        return
    ballot = _vote(_reader(data_dir), number).ballot(str(choice))
    if write is not None:
        _write(write, json.dumps(ballot, indent=2) + "\n")
        click.echo(f"{write}: sign it with `atoll key sign KEYFILE {write} --purpose ballot -o FILE`")
        return
    assert key is not None
    try:
        signed = sign_document("ballot", ballot, read_key_file(key, passphrase))
    except KeyFileProblem as error:
        raise Refusal(str(error), ExitCode.CONFIG, hint="`atoll key new FILE` makes a key") from error
    tell(ask_desk(data_dir, {"do": "vote-cast", "vote": number, "paper": signed}), as_json)


@vote.command()
@click.argument("number", metavar="[VOTE]", type=int, required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write what a recount needs (one VOTE).")
@data_dir_option
@JSON
def count(number: int | None, output: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Print the count of VOTE, or of all votes; with -o write the file that `verifier/atoll_recount.py` judges."""
    reader = _reader(data_dir)
    votes = reader.now().votes if number is None else [_vote(reader, number)]
    if output is not None:
        if number is None:
            raise Refusal("a recount is of one vote: name its number", ExitCode.USAGE)
        from controller.shell.vote_export import NotCountedYet, export_vote

        try:
            data = export_vote(reader.store, votes[0])
        except NotCountedYet as error:
            raise Refusal(str(error), ExitCode.RETRY) from error
        _write(output, data.decode())
        click.echo(f"{output}: vote {number}, {len(data)} bytes; judge it with verifier/atoll_recount.py")
        return
    if as_json:
        click.echo(json.dumps({"schema": 1, "votes": [_fields(one) for one in votes]}, indent=2))
        return
    for one in votes:
        click.echo("\n".join(_lines(one)))
    if not votes:
        click.echo("no vote has been opened yet; `atoll vote open FILE` opens one")


def _fields(one: Vote) -> dict[str, object]:
    return {
        "vote": one.number, "id": one.id, "charter": one.title, "digest": one.digest, "opened": one.opened,
        "closes": one.closes, "valid_from": one.document["valid_from"], "need": one.electorate.need,
        "voters": list(one.electorate.of), "yes": one.yes(), "no": one.no(), "state": one.state,
    }  # fmt: skip


def _lines(one: Vote) -> list[str]:
    from controller.civil import moment_text
    from devices.clock import Instant

    zone = str(one.document["timezone"])
    valid_from = moment_text(zone, Instant(int(str(one.document["valid_from"]))))
    waiting = [name for name in one.electorate.of if name not in one.ballots]
    return [
        f"vote {one.number}: {one.title}, {one.state}; {one.electorate.need} of {len(one.electorate.of)} must agree",
        f"  closes      {moment_text(zone, one.closes)}; the charter holds from {valid_from}",
        f"  yes ({len(one.yes())})     {', '.join(one.yes())}",
        f"  no ({len(one.no())})      {', '.join(one.no())}",
        f"  not voted   {', '.join(waiting)}",
        f"  hash        {one.digest}",
    ]


def _reader(data_dir: Path | None) -> PollReader:
    from controller.cli.remote import ledger_file
    from controller.shell.ballot_box import PollReader
    from controller.store.ledger_file import LedgerFile, NotALedger

    folder = data_dir_of(data_dir)
    try:
        return PollReader(LedgerFile.read(ledger_file(folder)))
    except NotALedger as error:
        raise Refusal(str(error), hint=f"atoll ledger verify {folder} says more") from error


def _vote(reader: PollReader, number: int) -> Vote:
    found = reader.now().by_number(number)
    if found is None:
        raise Refusal(f"there is no vote {number}", hint="`atoll vote count` lists them")
    return found


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}", ExitCode.CONFIG) from error
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{path} is not JSON: {error}", ExitCode.CONFIG) from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refusal(f"{path} cannot be written: {error.strerror}", ExitCode.CONFIG) from error
