"""What `atoll` says to words, judged by its exit code."""

from __future__ import annotations

import pytest

from controller.cli import exit_code


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    capsys.readouterr()
    done = exit_code(list(words))
    shown = capsys.readouterr()
    assert done == code, shown
    return shown.out + shown.err
