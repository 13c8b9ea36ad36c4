"""`atoll restore FILE`: a backup in the place of a data directory; never silently, never into a second truth."""

from __future__ import annotations

import json
from pathlib import Path

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@data_dir_option
@click.option("--keys", type=click.Path(path_type=Path), help="The keys that `atoll backup --keys` wrote.")
@click.option("--replace", is_flag=True, help="Move aside what is there.")
@click.option("--older", is_flag=True, help="Even where the ledger there knows more: its last entries are given up.")
@click.option("--new-log", is_flag=True, help="Sign at once: what witnesses have seen beyond this copy is given up.")
@click.option("--check", is_flag=True, help="Only say what the backup holds, each file checked.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def restore(
    file: Path, *, data_dir: Path | None, keys: Path | None, replace: bool, older: bool, new_log: bool, check: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Restore the backup FILE into --data-dir.

    Refused: a hub or gateway that runs there, a directory that is not empty (--replace moves it aside), a file whose
    checksums do not hold, and a backup that is older than the ledger there: that would fork it.

    A restored ledger may be an old copy: its log signs nothing and acknowledges nothing until enough of its witnesses
    have answered that they know no newer one. With --new-log it goes on at once, and the log says so.
    """
    import tempfile

    import apsw

    from controller.shell.backup import BadBackup, NotRestored, unpack
    from controller.shell.backup import restore as put_back

    folder = data_dir_of(data_dir)
    try:
        if check:
            with tempfile.TemporaryDirectory() as scratch:
                held = unpack(file, Path(scratch))
            if as_json:
                click.echo(json.dumps({"schema": 1, "ok": True, **held.manifest()}, indent=2))
                return
            for one in held.files:
                click.echo(f"  {one.bytes:>12}  {one.sha256[:16]}  {one.name}")
            click.echo(f"{file}: sound; made {held.made}, ledger of {held.entries} entries, root {held.root[:16]}")
            return
        done = put_back(file, folder, replace=replace, older=older, keys=keys, new_log=new_log)
    except BadBackup as error:
        raise Refusal(f"error[BACKUP-001] {error}", ExitCode.CONFIG, hint="atoll help BACKUP-001") from error
    except NotRestored as error:
        code = "BACKUP-003" if error.unsafe else "BACKUP-002"
        exit_code = ExitCode.UNSAFE if error.unsafe else ExitCode.CONFIG
        raise Refusal(f"error[{code}] {error}", exit_code, hint=f"atoll help {code}") from error
    except (apsw.Error, OSError) as error:
        raise Refusal(f"not restored: {error}", ExitCode.CONFIG, hint="atoll doctor") from error
    if as_json:
        click.echo(json.dumps({"schema": 1, "ok": True, "data_dir": str(folder), **done}, indent=2))
        return
    click.echo(f"{folder}: restored, as of {done['made']}: ledger of {done['entries']} entries")
    if done["aside"]:
        click.echo(f"what was there is now {done['aside']}")
    if not done["keys"]:
        click.echo(
            "no keys.db: sealed data stays closed and a new log key would be made; --keys FILE brings the old one"
        )
    if done["entries"] and not new_log:
        click.echo("its log signs and acknowledges nothing until enough of its witnesses have answered")
    click.echo(f"next: atoll ledger verify {folder}")
