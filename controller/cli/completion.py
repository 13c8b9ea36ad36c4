"""`atoll completion bash|zsh|fish`: what the shell needs to complete verbs, options and devices."""

from __future__ import annotations

import click

from controller.cli.errors import ExitCode, Refusal

WHERE = {
    "bash": "atoll completion bash > ~/.local/share/bash-completion/completions/atoll",
    "zsh": "atoll completion zsh > ~/.zfunc/_atoll   (with fpath+=~/.zfunc before compinit)",
    "fish": "atoll completion fish > ~/.config/fish/completions/atoll.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(sorted(WHERE)))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    bash: ~/.local/share/bash-completion/completions/atoll; zsh: a folder of fpath, as _atoll; fish:
    ~/.config/fish/completions/atoll.fish. Or for this shell alone: eval "$(atoll completion bash)".
    """
    from click.shell_completion import get_completion_class

    from controller.cli import atoll

    kind = get_completion_class(shell)
    if kind is None:
        raise Refusal(f"no completion for {shell}", ExitCode.USAGE, hint=", ".join(WHERE))
    source = kind(atoll, {}, "atoll", "_ATOLL_COMPLETE")
    # click asks the installed bash for its version; the script itself is the same for all that have `complete`
    click.echo(source.source_template % source.source_vars())
