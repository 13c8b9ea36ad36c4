"""`atoll profiles list|check|new`: the register maps of products, shipped and of one's own."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.check import ROUNDS, difference, read_text
from controller.cli.errors import ExitCode, Refusal

if TYPE_CHECKING:
    from devices.mqtt_profile import MqttProfile
    from devices.profile import Profile
    from devices.profile_levels import Standing

LINES_MAX = 40


@click.group()
def profiles() -> None:
    """List, check and begin the register maps of products (devices/profiles)."""


@profiles.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(*, as_json: bool) -> None:
    """List the shipped profiles: level, name, product, variants, and what is missing for the next level.

    reference: Atoll's own definition, no product stands behind it. bronze: reads, reconnects, goes bad when silent or
    out of range, on the simulator made of it. silver: and a published frame of the product reads as it was published.
    gold: and it is written, by a published frame, and falls back by itself when its gateway dies.
    """
    from devices.mqtt_profile import load_mqtt_profile, mqtt_profile_names
    from devices.profile import load_profile, profile_names
    from devices.profile_levels import mqtt_standing, standing

    found = [load_profile(name) for name in profile_names()]
    plain = [load_mqtt_profile(name) for name in mqtt_profile_names()]
    if as_json:
        rows = [{**_row(profile), "driver": f"profile:{profile.name}"} for profile in found]
        rows += [_mqtt_row(profile) for profile in plain]
        click.echo(json.dumps({"schema": 1, "profiles": rows}, indent=2))
        return
    for profile in found:
        variants = "  " + " ".join(f".{name}" for name in profile.variants) if profile.variants else ""
        _say(standing(profile), profile.name, profile.title + variants)
    for profile in plain:
        _say(mqtt_standing(profile), f"mqtt:{profile.name}", profile.title)


def _say(found: Standing, name: str, title: str) -> None:
    click.echo(f"{found.level:<10}{name:<21}{title}")
    for text in found.missing:
        click.echo(f"{'':<10}  missing: {text}")


@profiles.command("check")
@click.argument("file", nargs=-1, type=click.Path(path_type=Path))
@click.option("--fix", is_flag=True, help="Write the nearest that is allowed into the files.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(file: tuple[Path, ...], *, fix: bool, as_json: bool) -> None:
    """Check profile files (default: all that are shipped); exit 0 sound, 3 not."""
    from controller.profile_lines import check_profile
    from devices.profile import profile_names, profile_text

    if fix:
        for path in file:
            _mend(path)
    texts = {str(path): (path.stem, read_text(path)) for path in file}
    texts = texts or {f"{name}.toml": (name, profile_text(name)) for name in profile_names()}
    lines: list[str] = []
    rows: list[dict[str, object]] = []
    for where, (name, text) in texts.items():
        length = len(text.splitlines())
        if length > LINES_MAX:
            said = f"{length} lines; a profile has at most {LINES_MAX}: move what differs to a variant"
            lines.append(f"error[PROF-001] {where}:{LINES_MAX + 1} {said}")
            rows.append({"code": "PROF-001", "file": where, "line": LINES_MAX + 1, "where": "", "message": said})
        for problem in check_profile(name, text, where):
            lines.append(str(problem))
            rows.append(asdict(problem))
    if as_json:
        click.echo(json.dumps({"schema": 1, "ok": not rows, "problems": lines, "details": rows}, indent=2))
    else:
        for line in lines:
            click.echo(line)
        count = len(lines)
        click.echo(f"{len(texts)} profiles, {count or 'no'} problem{'' if count == 1 else 's'}")
    if rows:
        click.get_current_context().exit(int(ExitCode.CONFIG))


def _mend(path: Path) -> None:
    from controller.profile_lines import check_profile, repaired_profile
    from devices.shell.run_clock import write_whole

    text = before = read_text(path)
    for _ in range(ROUNDS):
        problems = check_profile(path.stem, text, str(path))
        if not problems:
            break
        text = repaired_profile(text, problems)
    if text != before:
        try:
            write_whole(path, text)
        except OSError as error:
            raise Refusal(f"{path} cannot be written: {error.strerror}", ExitCode.CONFIG) from error
        click.echo(difference(before, text, path.name), err=True)


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
    from devices.profile_levels import standing

    found = standing(profile)
    return {
        "name": profile.name,
        "level": found.level,
        "missing": found.missing,
        "title": profile.title,
        "source": profile.source,
        "unit": profile.unit,
        "variants": profile.variants,
        "points": [point.name for point in profile.points],
        "writes": {name: [rule.low, rule.high] for name, rule in profile.writes.items()},
    }


def _mqtt_row(profile: MqttProfile) -> dict[str, object]:
    from devices.profile_levels import mqtt_standing

    found = mqtt_standing(profile)
    return {
        "name": profile.name,
        "level": found.level,
        "missing": found.missing,
        "title": profile.title,
        "source": profile.source,
        "driver": f"mqtt:{profile.name}",
        "points": [point.name for point in profile.points],
        "writes": {name: [rule.low, rule.high] for name, rule in profile.writes.items()},
    }
