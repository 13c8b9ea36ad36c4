"""`atoll version`: what is installed, for bug reports."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from controller.cli.checkout import commit

SHOWN = ("ortools", "protobuf", "paho-mqtt", "pymodbus", "apsw", "cryptography", "fastapi")


@click.command()
def version() -> None:
    """Print the versions of Atoll and of what it stands on."""
    revision = commit()
    click.echo(f"atoll {_of('atoll')}{f' ({revision})' if revision else ''}")
    click.echo(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    for name in SHOWN:
        click.echo(f"{name} {_of(name)}")


def _of(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
