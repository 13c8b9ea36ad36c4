"""`atoll key new|show|sign|verify|revoke`: a member's own key file, what is signed with it, and its end."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.desk import ask_desk, tell
from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_option

if TYPE_CHECKING:
    from controller.ledger.canonical import Json

FILE = click.argument("file", type=click.Path(path_type=Path))
PASSPHRASE = click.option(
    "--passphrase", envvar="ATOLL_PASSPHRASE", default="", help="Of the key file; better in ATOLL_PASSPHRASE."
)


@click.group()
def key() -> None:
    """Make a member's key file, and sign approvals and ballots with it; needs no hub and no network."""


@key.command()
@FILE
@PASSPHRASE
def new(file: Path, passphrase: str) -> None:
    """Make a key in FILE (PEM, readable by you only) and print its name, to be entered in the member list."""
    from controller.shell.key_file import KeyFileProblem, new_key_file

    try:
        made = new_key_file(file, passphrase)
    except KeyFileProblem as error:
        raise Refusal(str(error), ExitCode.CONFIG, hint="name another file") from error
    click.echo(made.did)


@key.command()
@FILE
@PASSPHRASE
@click.option("--qr", is_flag=True, help="Also as a QR code, to be photographed by who keeps the member list.")
def show(file: Path, passphrase: str, qr: bool) -> None:
    """Print the public name (did:key) of the key in FILE."""
    from controller.shell.key_file import KeyFileProblem, read_key_file

    try:
        did = read_key_file(file, passphrase).did
    except KeyFileProblem as error:
        raise Refusal(str(error), ExitCode.CONFIG, hint="`atoll key new FILE` makes a key") from error
    click.echo(did)
    if qr:
        import segno

        text = io.StringIO()
        segno.make(did, error="m", micro=False).terminal(text, compact=True)
        click.echo(text.getvalue(), nl=False)


@key.command()
@FILE
@click.argument("document", type=click.Path(path_type=Path))
@click.option("--purpose", default="document", show_default=True, help="What it is signed as: approval, ballot, ...")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write it (default: print it).")
@PASSPHRASE
def sign(file: Path, document: Path, purpose: str, output: Path | None, passphrase: str) -> None:
    """Sign the JSON object in DOCUMENT with the key in FILE."""
    from controller.ledger.canonical import NotCanonical
    from controller.ledger.identity import PURPOSE, sign_document
    from controller.shell.key_file import KeyFileProblem, read_key_file

    if PURPOSE.fullmatch(purpose) is None:
        raise Refusal(f"--purpose {purpose!r} is not a word of a-z, 0-9, `-` and `.`", ExitCode.USAGE)
    content = _json(document)
    if not isinstance(content, dict):
        raise Refusal(f"{document} holds no JSON object", ExitCode.CONFIG)
    try:
        paper = sign_document(purpose, content, read_key_file(file, passphrase))
    except (KeyFileProblem, NotCanonical) as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error
    text = json.dumps(paper, indent=2, ensure_ascii=False) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refusal(f"{output} cannot be written: {error.strerror}", ExitCode.CONFIG) from error
    click.echo(f"{output}: signed as {purpose} by {paper['signer']}")


@key.command()
@click.argument("signed", type=click.Path(path_type=Path))
@click.option("--purpose", default="document", show_default=True, help="What it must have been signed as.")
@click.option("--signer", default="", metavar="DID", help="Who must have signed it.")
def verify(signed: Path, purpose: str, signer: str) -> None:
    """Check a document that `atoll key sign` wrote; exit 0 it holds, 1 it does not."""
    from controller.ledger.canonical import NotCanonical
    from controller.ledger.identity import BadSignature, verify_document

    try:
        found, _ = verify_document(purpose, _json(signed))
    except (BadSignature, NotCanonical) as error:
        raise Refusal(f"{signed}: {error}") from error
    if signer not in ("", found):
        raise Refusal(f"{signed} was signed by {found}, not by {signer}")
    click.echo(f"{signed}: signed as {purpose} by {found}")


@key.command()
@click.argument("of", type=click.Choice(["gateway", "member"]))
@click.argument("name")
@click.option("--reason", required=True, help="Why: it goes into the log.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def revoke(*, of: str, name: str, reason: str, data_dir: Path | None, as_json: bool) -> None:
    """Make the key of a gateway, or of a member or officer, good for nothing from now on, by an entry in the log.

    A gateway's next key is then taken at its next start. A member makes a new key, which goes into the site file.
    """
    tell(ask_desk(data_dir, {"do": f"revoke-{of}", "name": name, "reason": reason}), as_json)


def _json(path: Path) -> Json:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}", ExitCode.CONFIG) from error
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{path} is not JSON: {error}", ExitCode.CONFIG) from error
