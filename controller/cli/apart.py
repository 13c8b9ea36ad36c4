"""Work in a process that ends, so that the modules it needs leave this one's memory alone."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from typing import TypeVar, cast

from controller.cli.errors import ExitCode, Refusal

Result = TypeVar("Result")


def apart(work: Callable[[], Result]) -> Result:
    """Returns what `work` returns, done in a fork of this process; call it before any thread is started.

    The result is pickled: plain values only.

    Raises:
        Refusal: as `work` does, or the fork was killed (out of memory).
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _work(work, write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        hint = "free memory, and see what was printed above"
        raise Refusal("a helper process ended without an answer", ExitCode.RETRY, hint=hint)
    kind, content = cast("tuple[str, object]", pickle.loads(answer))  # noqa: S301 - our own fork wrote it
    if kind == "refused":
        message, code, hint = cast("tuple[str, int, str]", content)
        raise Refusal(message, ExitCode(code), hint=hint)
    return cast("Result", content)


def _work(work: Callable[[], object], pipe: int) -> None:
    """Writes the answer and ends this process without running what its parent has registered for its own end."""
    status = 1
    try:
        try:
            answer: tuple[str, object] = ("done", work())
        except Refusal as refusal:
            answer = ("refused", (refusal.message, refusal.exit_code, refusal.hint))
        with os.fdopen(pipe, "wb") as file:
            file.write(pickle.dumps(answer))
        status = 0
    finally:
        if status:  # a fault of ours: its traceback is all there is to see
            sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType] - there is one here
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
