"""Vehicles that are out when a storm nears: called back in time, driven to the dock, left there until it is over."""

from __future__ import annotations

from controller import recall
from controller.storm import HOME_MS, Storm
from devices.clock import HOUR_MS, MINUTE_MS, SECOND_MS, Instant
from devices.model import DeviceId
from tests.controller.test_missions import OPENS, SITE, Field, plan_with

ROBOT = DeviceId("robot-1")
LEAVES = Instant(OPENS + HOUR_MS)
STORM = Storm(Instant(LEAVES + HOUR_MS), Instant(LEAVES + 3 * HOUR_MS), "squall", "ana", OPENS)


class Warned(Field):
    """A field over which a storm is declared once the robot is out."""

    def warn(self, until: Instant) -> list[str]:
        """Lives on until then; returns what was sent: `cancel` or the order's id."""
        self.board.closed = (STORM.start, STORM.end)
        sent: list[str] = []
        while self.now < until:
            self.live(Instant(self.now + 15 * SECOND_MS), plan_with("irrigation.20260601", LEAVES))
            for message in recall.home(SITE, self.board, self.image.freeze(self.now), STORM, self.now):
                order = self.board.sessions[ROBOT].order
                sent.append("cancel" if order is None or b"cancelOrder" in message.payload else order.orderId)
                self.fleet.receive(message)
        return sent

    def out(self) -> bool:
        return recall.out(SITE, self.board, self.image.freeze(self.now), ROBOT)


def test_a_vehicle_that_is_out_is_cancelled_in_time_driven_home_and_stays_there() -> None:
    field = Warned()
    field.live(Instant(LEAVES + 10 * MINUTE_MS), plan_with("irrigation.20260601", LEAVES))
    assert field.states("irrigation") == ["sent", "running"]
    assert field.out()
    assert field.warn(Instant(STORM.start - HOME_MS - MINUTE_MS)) == [], "there is time yet: it works on"
    sent = field.warn(Instant(STORM.start - MINUTE_MS))
    assert sent[0] == "cancel"
    assert sent[1].startswith("home.robot-1.")
    assert len(sent) == 2, "each is said once"
    assert not field.out(), "it stands at its dock before the storm"
    assert field.warn(Instant(STORM.end - MINUTE_MS)) == []
    assert not field.out()
    assert field.states("irrigation")[-1] == "failed"
