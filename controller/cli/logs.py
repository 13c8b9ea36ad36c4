"""Logging of the long-running verbs: key=value lines on stderr."""

from __future__ import annotations

import logging
import os


def log_to_stderr() -> None:
    """Sends every logger to stderr; ATOLL_LOG=DEBUG shows more."""
    level = os.environ.get("ATOLL_LOG", "INFO").upper()
    logging.basicConfig(
        level=getattr(logging, level, logging.INFO), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for chatty in ("pymodbus", "uvicorn", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
