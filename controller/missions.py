"""Daily jobs as VDA 5050 orders: when each is due, who does it, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.civil import local_time
from controller.site import DailyJob, Site
from devices.clock import Instant
from devices.model import DeviceKind

VEHICLE_KINDS = (DeviceKind.ROBOT, DeviceKind.DRONE)


class RunState(StrEnum):
    """Where one day's run of a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    MISSED = "missed"


@dataclass(slots=True)
class Run:
    """One job on one local day."""

    key: str
    job: DailyJob
    opens: Instant
    closes: Instant
    state: RunState = RunState.WAITING
    planned: Instant | None = None
    why: str = ""
    ended_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class MissionNote:
    """A change for the ledger's log."""

    run: str
    state: str
    device: str
    text: str


def run_key(site: Site, job: DailyJob, opens: Instant) -> str:
    """Returns the id of one local day's run of a job: `irrigation.20260603`."""
    return f"{job.id}.{local_time(site.timezone, opens):%Y%m%d}"


class Board:
    """The daily jobs of one site and their vehicles."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._runs: dict[str, Run] = {}

    def receive(self, topic: str, payload: bytes, now: Instant) -> list[Readings]:
        return []

    def tick(self, plan: Plan | None, snapshot: Snapshot, now: Instant) -> tuple[list[Message], list[MissionNote]]:
        return [], []

    def failed(self) -> Mapping[str, str]:
        return {}

    def ready_text(self, device: str, snapshot: Snapshot) -> str:
        return ""

    def open_windows(self, job: DailyJob, now: Instant) -> list[tuple[Instant, Instant]]:
        return []
