"""A change of the site file that takes itself back unless it is confirmed: who locks himself out is let in again.

`apply` keeps the text before as SITE.last-good, writes SITE.pending and puts the new text in place. Until `confirm`
three watch over it, so that it is taken back even where the process that applied it or the whole machine dies: a small
process of its own, the supervisor of `atoll run all`, and every start of `atoll run`. Time is counted on the clock that
runs since the machine's start, whatever the wall clock does; another start of the machine ends the time at once.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.shell.children import wait_until
from devices.shell.run_clock import write_whole

TIMEOUT_S = 120.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class NoChange(ValueError):
    """There is nothing to confirm or to take back."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A change that waits for its confirmation."""

    boot: str
    until_s: float  # of CLOCK_BOOTTIME
    timeout_s: float
    new: str  # sha256 of the text that was applied
    by: str

    def left_s(self) -> float:
        """Returns the seconds until it is taken back; 0 or less: it is due."""
        if self.boot != boot_id():
            return 0.0
        return self.until_s - time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Returns what names this start of the machine."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def pending_file(site: Path) -> Path:
    """Returns where a change that waits is written down."""
    return site.with_name(site.name + ".pending")


def last_good(site: Path) -> Path:
    """Returns where the text before the change stands."""
    return site.with_name(site.name + ".last-good")


def pending(site: Path) -> Pending | None:
    """Returns the change that waits, or None; a file that cannot be read counts as one that is due."""
    try:
        text = pending_file(site).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        row = json.loads(text)
        return Pending(
            str(row["boot"]), float(row["until_s"]), float(row["timeout_s"]), str(row["new"]), str(row["by"])
        )
    except (ValueError, KeyError, TypeError):
        return Pending("", 0.0, 0.0, "", "")


def apply(site: Path, before: str, after: str, timeout_s: float, by: str) -> Pending:
    """Puts the new text in place, to be taken back after `timeout_s`.

    The order holds against a power cut at any point: first the text before, then the note, then the new text.

    Raises:
        OSError: a file cannot be written.
    """
    until = time.clock_gettime(time.CLOCK_BOOTTIME) + timeout_s
    change = Pending(boot_id(), until, timeout_s, _digest(after), by)
    row = {"boot": change.boot, "until_s": until, "timeout_s": timeout_s, "new": change.new, "by": by}
    write_whole(last_good(site), before)
    write_whole(pending_file(site), json.dumps(row) + "\n")
    write_whole(site, after)
    return change


def confirm(site: Path) -> None:
    """Keeps the new text for good.

    Raises:
        NoChange: nothing waits, it was taken back already, or somebody has edited the file since.
    """
    change = pending(site)
    if change is None:
        raise NoChange("nothing waits for a confirmation: it was confirmed, or taken back already")
    if change.left_s() <= 0:
        take_back(site)
        raise NoChange("too late: the time is over and the text before is back")
    if _digest(site.read_text(encoding="utf-8")) != change.new:
        raise NoChange("the file was edited after it was applied: apply it again")
    pending_file(site).unlink()


def take_back(site: Path) -> bool:
    """Puts the text before back; returns whether there was a change to take back.

    What somebody has edited by hand meanwhile is kept beside, as SITE.rejected, like the text that was applied.
    """
    change = pending(site)
    if change is None:
        return False
    if last_good(site).is_file():
        write_whole(site.with_name(site.name + ".rejected"), site.read_text(encoding="utf-8") if site.is_file() else "")
        write_whole(site, last_good(site).read_text(encoding="utf-8"))
    pending_file(site).unlink(missing_ok=True)
    return True


def settle(site: Path) -> str:
    """Takes back what is due; returns what was done, or an empty text. Never raises: it runs before every start."""
    change = pending(site)
    if change is None or change.left_s() > 0:
        return ""
    try:
        take_back(site)
    except OSError as error:
        return f"{site}: the change that was not confirmed cannot be taken back: {error}"
    return f"{site}: the change by {change.by or 'somebody'} was not confirmed in time; the text before is back"


def watch(site: Path) -> str:
    """Waits until the change is confirmed or due, and takes it back then; for a process of its own."""
    change = pending(site)
    while change is not None and change.left_s() > 0:
        wait_until(lambda: not pending_file(site).exists(), min(1.0, max(0.05, change.left_s())))
        change = pending(site)
    return settle(site)


def start_watcher(site: Path) -> int:
    """Starts the watching process; it lives on when this one, its terminal or its session ends. Returns its id."""
    command = [sys.executable, "-m", "controller.cli", "config", "watch", "--site", str(site.absolute())]
    null = subprocess.DEVNULL
    child = subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True)
    return child.pid


@dataclass(slots=True)
class SiteWatch:
    """For the supervisor: looks at the site file now and then, takes back what is due, tells of a new sound text."""

    site: Path
    seen: str = ""
    _next_s: float = 0.0

    def __post_init__(self) -> None:
        self.seen = _digest(_text(self.site))

    def poll(self) -> str:
        """Returns why the processes should start again, or an empty text."""
        if time.monotonic() < self._next_s:
            return ""
        self._next_s = time.monotonic() + 1.0
        said = settle(self.site)
        text = _text(self.site)
        if _digest(text) == self.seen:
            return ""
        self.seen = _digest(text)
        return said or f"{self.site} has changed"


def state(site: Path) -> Mapping[str, object]:
    """Returns what `atoll config show` prints of a change."""
    change = pending(site)
    row: dict[str, object] = {"file": str(site), "last_good": str(last_good(site)) if last_good(site).exists() else ""}
    if change is not None:
        row["pending"] = {"left_s": round(max(0.0, change.left_s()), 1), "timeout_s": change.timeout_s, "by": change.by}
    return row


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def user() -> str:
    """Returns who is at the keyboard."""
    return os.environ.get("SUDO_USER") or getpass.getuser()
