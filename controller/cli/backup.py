"""`atoll backup`: a consistent copy of a data directory, while everything runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option


@click.command()
@click.argument("target", required=False, type=click.Path(path_type=Path))
@data_dir_option
@click.option("--site", type=click.Path(path_type=Path), help="Also the site file.")
@click.option("--keys", type=click.Path(path_type=Path), help="Also keys.db, into this file of its own.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def backup(target: Path | None, *, data_dir: Path | None, site: Path | None, keys: Path | None, as_json: bool) -> None:
    """Write a backup to TARGET: a file, or a folder such as a USB stick (default: backups/ beside the data directory).

    Hub and gateways go on meanwhile. Member keys and the log's key are left out, so that old backups tell nothing of
    people; without them a ledger proves itself but cannot be gone on with: keep --keys FILE apart, in a safe.
    """
    import apsw

    from controller.shell.backup import make_backup
    from controller.store.ledger_file import NotALedger

    folder = data_dir_of(data_dir)
    place = target or folder.with_name("backups")
    name = f"atoll-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
    path = place / name if place.is_dir() or target is None else place
    try:
        made = make_backup(folder, path, site, keys)
    except FileNotFoundError as error:
        raise Refusal(str(error), ExitCode.CONFIG, hint="--data-dir DIR, or ATOLL_DATA") from error
    except FileExistsError as error:
        raise Refusal(str(error), ExitCode.CONFIG, hint="name another file, or a folder") from error
    except (apsw.Error, NotALedger, OSError) as error:
        raise Refusal(
            f"no backup was made: {error}", ExitCode.RETRY, hint="atoll doctor   (disk full? damaged?)"
        ) from error
    size = path.stat().st_size
    if as_json:
        click.echo(json.dumps({"schema": 1, "ok": True, "file": str(path), "bytes": size, **made.manifest()}, indent=2))
        return
    click.echo(f"{path}: {len(made.files)} files, {size / 1e6:.1f} MB, ledger of {made.entries} entries")
    if keys is not None:
        click.echo(f"{keys}: the keys; keep them apart from the backup")
    else:
        click.echo("without keys.db (--keys FILE): enough to prove and to settle, not to go on as the same log")
    click.echo(f"try it: atoll restore {path} --data-dir /tmp/try")
