"""Daily jobs as orders to the simulated vehicles: dispatched when planned, followed, also across a hub's restart."""

from __future__ import annotations

from controller.conditions import deadlines
from controller.image import Image
from controller.missions import Board, MissionNote
from controller.shell.simulation import fleet_factory, start_of
from devices.clock import HOUR_MS, MINUTE_MS, SECOND_MS, Instant, parse_iso
from devices.model import DeviceId
from devices.simulated import Fleet
from optimizer.plan import Plan, Reason, UnitStep
from optimizer.problem import AssetId
from tests.controller.scene import village

SITE = village()
OPENS = parse_iso("2026-06-01T08:00:00Z")  # 10:00 at the village


def plan_with(key: str, start: Instant) -> Plan:
    steps = tuple(UnitStep(on, 800 if on else 0, Reason("sun")) for on in (False, True, True, False))
    begin = Instant(start - 15 * MINUTE_MS)
    return Plan(
        begin, 15 * MINUTE_MS, {}, {AssetId(key): steps}, (0.0,) * 4, (0.0,) * 4, (0.0,) * 4, {}, {}, {}, 0.0, 0.0
    )


class Field:
    """Board, fleet and the wire between them."""

    def __init__(self, fleet: Fleet | None = None, known: dict[str, str] | None = None, at: Instant = OPENS) -> None:
        self.fleet = fleet or fleet_factory().build(SITE.devices, start_of(SITE), 0, None)
        self.board = Board(SITE, known=known)
        self.image = Image(deadlines(SITE, 1_000, 0))
        self.notes: list[MissionNote] = []
        self.now = at
        self.fleet.advance(at)

    def live(self, until: Instant, plan: Plan | None = None) -> None:
        while self.now < until:
            self.now = Instant(self.now + 15 * SECOND_MS)
            self.fleet.advance(self.now)
            for message in self.fleet.messages():
                for readings in self.board.receive(message.topic, message.payload, self.now):
                    self.image.update(readings, self.now)
            orders, notes = self.board.tick(plan, self.image.freeze(self.now), self.now)
            self.notes += notes
            for order in orders:
                self.fleet.receive(order)

    def states(self, job: str) -> list[str]:
        return [note.state for note in self.notes if note.run.startswith(job)]


def test_an_order_goes_out_when_its_planned_start_has_come() -> None:
    field = Field()
    start = Instant(OPENS + HOUR_MS)
    plan = plan_with("irrigation.20260601", start)
    field.live(Instant(start - MINUTE_MS), plan)
    assert field.states("irrigation") == []
    assert field.board.ready_text("robot-1", field.image.freeze(field.now)) == "ready"
    field.live(Instant(start + 2 * MINUTE_MS), plan)
    assert field.states("irrigation") == ["sent", "running"]
    assert field.board.ready_text("robot-1", field.image.freeze(field.now)) == "on a mission"
    field.live(Instant(start + 3 * HOUR_MS), plan)
    assert field.states("irrigation") == ["sent", "running", "done"]


def test_without_a_plan_it_starts_at_the_last_moment_that_still_fits() -> None:
    field = Field()
    latest = Instant(OPENS + 4 * HOUR_MS - 90 * MINUTE_MS)
    field.live(Instant(latest - MINUTE_MS))
    assert field.states("irrigation") == []
    field.live(Instant(latest + 2 * MINUTE_MS))
    assert field.states("irrigation")[:1] == ["sent"]


def test_a_restarted_hub_follows_what_runs_and_sends_nothing_twice() -> None:
    field = Field()
    start = Instant(OPENS + HOUR_MS)
    field.live(Instant(start + 10 * MINUTE_MS), plan_with("irrigation.20260601", start))
    assert field.states("irrigation") == ["sent", "running"]
    known = {note.run: note.state for note in field.notes}
    after = Field(field.fleet, known, field.now)
    after.live(Instant(start + 3 * HOUR_MS))
    assert after.states("irrigation") == ["done"]
    done = Field(field.fleet, {**known, "irrigation.20260601": "done"}, after.now)
    done.live(Instant(after.now + HOUR_MS))
    assert done.states("irrigation") == []


def test_a_silent_vehicle_is_never_sent_and_its_run_is_missed() -> None:
    field = Field()
    field.fleet.happen("device-silent", {"device": "robot-1"})
    field.live(Instant(OPENS + 5 * HOUR_MS))
    assert field.states("irrigation") == ["missed"]
    assert "irrigation.20260601" in field.board.failed()
    assert field.board.ready_text("robot-1", field.image.freeze(field.now)) == "not reporting"


def test_garbage_from_a_vehicle_is_counted_and_changes_nothing() -> None:
    board = Board(SITE)
    for payload in (b"", b"{}", b"\xff\xfe", b'{"batteryState": NaN}', b"[" * 5_000):
        assert board.receive("vda5050/v2/atoll/robot-1/state", payload, OPENS) == []
    assert board.sessions[DeviceId("robot-1")].counters["rejected_malformed"] == 5
    assert board.receive("vda5050/v2/other/robot-9/state", b"{}", OPENS) == []


def test_a_window_that_closed_before_the_village_first_ran_was_missed_by_nobody() -> None:
    evening = Instant(OPENS + 8 * HOUR_MS)
    fresh, restarted = Field(at=evening), Field(at=evening, known={"irrigation.20260531": "done"})
    for field in (fresh, restarted):
        field.live(Instant(evening + 5 * MINUTE_MS))
    assert (fresh.states("irrigation"), dict(fresh.board.failed())) == ([], {})
    assert restarted.states("irrigation") == ["missed"], "a hub that was down over the window says so"
