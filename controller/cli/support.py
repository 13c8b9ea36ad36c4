"""`atoll support bundle`: one file for whoever helps from afar, with what it holds listed and people left out."""

from __future__ import annotations

import json
import platform
import tomllib
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option

if TYPE_CHECKING:
    from controller.shell.support import Part


@click.group()
def support() -> None:
    """Collect what a helper needs to see."""


@support.command()
@click.argument("target", required=False, type=click.Path(path_type=Path))
@data_dir_option
@click.option(
    "--site", type=click.Path(path_type=Path), envvar="ATOLL_SITE", help="The site file (default: site.toml)."
)
@click.option("--broker", default="127.0.0.1:1883", show_default=True, metavar="HOST:PORT", help="For the checks.")
@click.option("--dry-run", is_flag=True, help="Only list what it would hold.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bundle(
    target: Path | None, *, data_dir: Path | None, site: Path | None, broker: str, dry_run: bool, as_json: bool
) -> None:
    """Write TARGET (default: atoll-support-TIME.tar.gz) and list what it holds.

    Passwords, keys, names, mail addresses, telephone numbers, the site file's comments and the exact place are taken
    out; databases are not in it. Look through it before you send it: it is plain text in a tar file.
    """
    from controller.shell.support import pack

    file = site or (Path("site.toml") if Path("site.toml").is_file() else None)
    parts = _parts(data_dir_of(data_dir), file, broker)
    path = target or Path(f"atoll-support-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz")
    if not dry_run:
        try:
            pack(path, parts)
        except FileExistsError as error:
            raise Refusal(
                f"{path} exists; it is not written over", ExitCode.CONFIG, hint="name another file"
            ) from error
        except OSError as error:
            raise Refusal(f"{path} cannot be written: {error.strerror}", ExitCode.CONFIG) from error
    rows = [{"name": part.name, "bytes": len(part.content), "why": part.why} for part in parts]
    if as_json:
        written = "" if dry_run else str(path)
        click.echo(json.dumps({"schema": 1, "ok": True, "file": written, "holds": rows}, indent=2))
        return
    for part in parts:
        click.echo(f"  {len(part.content):>9}  {part.name:<22}{part.why}")
    click.echo("nothing was written" if dry_run else f"{path}: look through it, then send it")


def _parts(data_dir: Path, site: Path | None, broker: str) -> list[Part]:
    from controller.cli.doctor import patient_of
    from controller.shell.checkup import examine
    from controller.shell.control import HubUnreachable, ask
    from controller.shell.support import Part, inventory, log_parts, people, redacted, redacted_site

    names: list[str] = []
    text = ""
    if site is not None:
        try:
            text = site.read_text(encoding="utf-8")
            names = people(tomllib.loads(text))
        except (OSError, ValueError):
            text = text or "(it cannot be read)"
    findings = [asdict(finding) for finding in examine(patient_of(data_dir, site, broker))]
    try:
        status = json.dumps(ask(data_dir, {"ask": "status"}), indent=2)
    except (HubUnreachable, OSError) as error:
        status = json.dumps({"error": str(error)})
    parts = [
        Part("versions.txt", _versions().encode(), "of Atoll, Python, the system"),
        Part("doctor.json", redacted(json.dumps(findings, indent=2), names).encode(), "what atoll doctor finds"),
        Part("status.json", redacted(status, names).encode(), "what the Now page shows"),
    ]
    if text:
        parts.append(Part("site.toml", redacted_site(text).encode(), "without names, comments, exact place"))
    if data_dir.is_dir():
        parts.append(Part("files.txt", inventory(data_dir).encode(), "names and sizes of the data directory"))
        parts += log_parts(data_dir, names)
    return parts


def _versions() -> str:
    from importlib.metadata import distributions

    lines = [f"python {platform.python_version()}", f"system {platform.platform()}", f"machine {platform.machine()}"]
    found = {str(one.metadata["Name"]): one.version for one in distributions()}
    return "\n".join([*lines, *(f"{name} {version}" for name, version in sorted(found.items()))]) + "\n"
