"""Standard output of the command line when its reader (`head`, a closed pager) leaves before the end."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from controller.cli.errors import ExitCode

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDOUT = 1


class _Piped(io.FileIO):
    """Standard output that ends the process quietly where Python would raise BrokenPipeError.

    That is an OSError, which verbs take for trouble with the file they write. SIGPIPE stays ignored: a hub that loses
    one of its sockets must live on.
    """

    def write(self, b: ReadableBuffer, /) -> int:
        """Writes as FileIO does.

        Raises:
            SystemExit: nobody reads any more. What is still in the buffers goes nowhere, without a word.
        """
        try:
            return super().write(b)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, _STDOUT)
            os.close(nowhere)
            raise SystemExit(ExitCode.READER_GONE) from None


def leave_with_the_reader() -> None:
    """Puts that output in the place of sys.stdout, unless a terminal reads it or there is none."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and not out.isatty() and out.fileno() == _STDOUT:
        out.flush()
        buffered = io.BufferedWriter(_Piped(_STDOUT, "wb", closefd=False))
        sys.stdout = io.TextIOWrapper(buffered, out.encoding, out.errors, line_buffering=out.line_buffering)
