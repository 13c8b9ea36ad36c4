"""`atoll profiles list|check|new`: the register maps of products, shipped and of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.check import read_text
from controller.cli.errors import ExitCode, Refusal

if TYPE_CHECKING:
    from devices.profile import Profile

LINES_MAX = 40


@click.group()
def profiles() -> None:
    """List, check and begin the register maps of products (devices/profiles)."""


@profiles.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(*, as_json: bool) -> None:
    """List the shipped profiles: level, name, variants, product.

    bronze: it reads, by its conformance test; silver: read from the product itself; gold: also written, with faults.
    """
    from devices.profile import load_profile, profile_names

    found = [load_profile(name) for name in profile_names()]
    if as_json:
        click.echo(json.dumps({"schema": 1, "profiles": [_row(profile) for profile in found]}, indent=2))
        return
    for profile in found:
        variants = "  " + " ".join(f".{name}" for name in profile.variants) if profile.variants else ""
        click.echo(f"{profile.level:<7}{profile.name:<21}{profile.title}{variants}")


@profiles.command("check")
@click.argument("file", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(file: tuple[Path, ...], *, as_json: bool) -> None:
    """Check profile files (default: all that are shipped); exit 0 sound, 3 not."""
    from devices.profile import BadProfile, parse_profile, profile_names, profile_text

    texts = {str(path): (path.stem, read_text(path)) for path in file}
    texts = texts or {name: (name, profile_text(name)) for name in profile_names()}
    problems: list[str] = []
    for where, (name, text) in texts.items():
        length = len(text.splitlines())
        if length > LINES_MAX:
            problems.append(
                f"{where}: {length} lines; a profile has at most {LINES_MAX}: move what differs to a variant"
            )
        try:
            parse_profile(name, text)
        except BadProfile as error:
            problems += [f"{where}: {problem.partition(': ')[2]}" for problem in error.problems]
    if as_json:
        click.echo(json.dumps({"schema": 1, "ok": not problems, "problems": problems}, indent=2))
    else:
        for problem in problems:
            click.echo(f"error[PROF-001] {problem}")
        count = len(problems)
        click.echo(f"{len(texts)} profiles, {count or 'no'} problem{'' if count == 1 else 's'}")
    if problems:
        click.get_current_context().exit(int(ExitCode.CONFIG))


@profiles.command("new")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--like", default="eastron_sdm120", show_default=True, help="Begin with a copy of this shipped profile.")
def new(file: Path, like: str) -> None:
    """Write FILE.toml to begin with: a copy of a shipped profile."""
    from devices.profile import profile_names, profile_text

    if like not in profile_names():
        raise Refusal(f"no profile {like!r} is shipped", ExitCode.USAGE, hint="atoll profiles list")
    if file.suffix != ".toml":
        raise Refusal(f"{file}: a profile's name ends with .toml", ExitCode.USAGE, hint=f"{file.with_suffix('.toml')}")
    if file.exists():
        raise Refusal(f"{file} exists already", ExitCode.CONFIG, hint="choose another name, or edit that file")
    try:
        file.write_text(
            "# TODO: source, addresses, units. Then: atoll profiles check " + f"{file}\n" + profile_text(like)
        )
    except OSError as error:
        raise Refusal(f"{file} cannot be written: {error.strerror}", ExitCode.CONFIG) from error
    click.echo(f"{file}: a copy of {like}. Mend source, addresses and units, then: atoll profiles check {file}")


def _row(profile: Profile) -> dict[str, object]:
    return {
        "name": profile.name,
        "level": profile.level,
        "title": profile.title,
        "source": profile.source,
        "unit": profile.unit,
        "variants": profile.variants,
        "points": [point.name for point in profile.points],
        "writes": {name: [rule.low, rule.high] for name, rule in profile.writes.items()},
    }
