"""The verifier as one file that a household keeps beside its bills: `python atoll-verify.pyz BUNDLE`.

Made from the sources in `verifier/`, which stay readable in it (`python -m zipfile -e atoll-verify.pyz FOLDER`); the
same sources always give the same bytes, so that two people can compare theirs.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "verifier"
PARTS = ("atoll_verify.py", "atoll_log.py", "atoll_records.py", "atoll_clauses.py", "atoll_recount.py")
NAME = "atoll-verify.pyz"
MAIN = '''"""Judges a bill's bundle, or a vote's file where the first word is `recount`."""

import sys

if sys.argv[1:2] == ["recount"]:
    from atoll_recount import main

    sys.exit(main(sys.argv[2:]))
from atoll_verify import main

sys.exit(main())
'''
SINCE = (1980, 1, 1, 0, 0, 0)
"""The date of each file in the archive: the oldest one that the format knows."""


def write_verifier(path: Path) -> None:
    """Writes the program as one file that Python runs.

    Raises:
        OSError: the sources are not there, or the file cannot be written.
    """
    files = {"__main__.py": MAIN} | {name: (FOLDER / name).read_text(encoding="utf-8") for name in PARTS}
    with path.open("wb") as raw:
        raw.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in files.items():
                archive.writestr(zipfile.ZipInfo(name, SINCE), text, zipfile.ZIP_DEFLATED)
    path.chmod(0o755)
