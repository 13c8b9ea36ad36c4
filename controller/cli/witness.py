"""`atoll witness`: a small program for another Pi that cosigns what a log shows, and refuses a log that forks."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.errors import ExitCode, Refusal


@click.command()
@click.option("--listen", default="127.0.0.1:8440", show_default=True, metavar="HOST:PORT", help="Where to answer.")
@click.option("--data-dir", type=click.Path(path_type=Path), required=True, help="Where its keys and memory are kept.")
@click.option("--name", default="witness.local", show_default=True, help="The name in its keys; keep it for life.")
@click.option("--log", "logs", multiple=True, metavar="KEY", help="A log to cosign (name+id+base64); remembered.")
@click.option("--new-key", "new_keys", multiple=True, metavar="KEY", help="The key to which a log was handed over.")
@click.option("--keys", is_flag=True, help="Print the public keys and stop.")
def witness(
    listen: str, data_dir: Path, name: str, logs: tuple[str, ...], *, new_keys: tuple[str, ...], keys: bool
) -> None:
    """Cosign the checkpoints of other communities' ledgers; it sees hashes only.

    A hub asks it after each checkpoint. It has the tree on its disk before it answers, and a ledger that was
    rewritten or restored from an old copy gets 409 with the size that was seen.
    """
    from controller.ledger.note import NoteMalformed, Verifier
    from controller.shell.witness_server import OtherKey, Witness, serve
    from devices.clock import Instant

    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise Refusal(f"--listen {listen!r} is not HOST:PORT", ExitCode.USAGE)
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        known = [Verifier.parse(text) for text in logs]
        newer = [Verifier.parse(text) for text in new_keys]
    except NoteMalformed as error:
        raise Refusal(str(error), ExitCode.CONFIG, hint="`atoll ledger show` names a log's key") from error

    def now() -> Instant:
        from time import time_ns

        return Instant(time_ns() // 1_000_000)

    one = Witness(data_dir / "witness.db", name, now)
    try:
        one.know(known)
        for key in newer:
            one.hand_over(key)
        click.echo("\n".join(one.public_keys()))
        if keys:
            return
        server = serve(one, host, int(port))
        click.echo(f"cosigns {', '.join(one.logs()) or 'no log yet: --log KEY'}; answers on http://{listen}")
        server.serve_forever()
    except OtherKey as error:
        raise Refusal(str(error), ExitCode.PERMISSION) from error
    except OSError as error:
        raise Refusal(f"cannot answer on {listen}: {error.strerror}", ExitCode.CONFIG) from error
    except KeyboardInterrupt:
        click.echo("stopped")
    finally:
        one.close()
