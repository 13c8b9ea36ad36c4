"""What makes the hub plan out of turn, and what does not."""

from __future__ import annotations

import pytest

from controller.history import History
from controller.hub_plans import EVENT_GAP_MS
from controller.plan_forecast import forecast
from controller.plans import Planning
from controller.triggers import LONG_SLOTS, MISS_GAP_MS, MISS_OVER_MS, SETTLE_MS, Watch
from devices.clock import MINUTE_MS, SECOND_MS, SLOT_MS, Instant
from devices.model import DeviceId
from optimizer.answer import Answer, Cause, Failed, Refused
from optimizer.plan import Infeasible
from tests.controller.scene import NOW, snapshot, village
from tests.optimizer.problems import village as energy

SITE = village()


def seen(watch: Watch, at: int, **changes: dict[str, float | None]) -> list[str]:
    named = {name.replace("_", "-"): points for name, points in changes.items()}
    return watch.look(SITE, snapshot(SITE, named, Instant(at)))


def lost(watch: Watch, at: int) -> list[str]:
    return watch.look(SITE, snapshot(SITE, None, Instant(at), age_ms=MINUTE_MS))


def test_a_device_that_is_lost_for_a_while_is_told_once_and_again_when_it_is_back() -> None:
    watch = Watch()
    assert seen(watch, NOW) == []
    assert lost(watch, NOW + 1_000) == []
    told = lost(watch, NOW + 1_000 + SETTLE_MS)
    assert "battery-1 does not report" in told
    assert not any(word.startswith("home-") for word in told), "a home's meter changes no plan"
    assert lost(watch, NOW + 2_000 + SETTLE_MS) == []
    assert seen(watch, NOW + 3_000 + SETTLE_MS) == []
    assert "battery-1 reports again" in seen(watch, NOW + 3_000 + 2 * SETTLE_MS)


def test_one_late_message_is_no_event() -> None:
    watch = Watch()
    seen(watch, NOW)
    lost(watch, NOW + 1_000)
    seen(watch, NOW + 5_000)
    assert lost(watch, NOW + SETTLE_MS) == []


def test_a_vehicle_that_comes_or_leaves_is_an_event() -> None:
    watch = Watch()
    assert seen(watch, NOW, charger_1={"connected": 0.0}) == []
    assert seen(watch, NOW + 1_000, charger_1={"connected": 1.0}) == ["charger-1: a vehicle has come"]
    assert seen(watch, NOW + 2_000, charger_1={"connected": 1.0}) == []
    assert seen(watch, NOW + 3_000, charger_1={"connected": 0.0}) == ["charger-1: a vehicle has left"]


def test_the_hub_knows_since_when_a_genset_runs() -> None:
    watch, genset = Watch(), DeviceId("genset-1")
    seen(watch, NOW)
    assert watch.slots_in_state(genset, NOW) == LONG_SLOTS, "what began before us began long ago"
    seen(watch, NOW + 1_000, genset_1={"running": 1.0})
    assert watch.slots_in_state(genset, Instant(NOW + 2_000)) == 0
    seen(watch, NOW + SLOT_MS, genset_1={"running": 1.0})
    assert watch.slots_in_state(genset, Instant(NOW + 1_000 + 2 * SLOT_MS)) == 2


@pytest.mark.parametrize(
    ("actual_w", "told"),
    [(21_000.0, "11.0 kW more"), (-1_000.0, "11.0 kW less"), (16_000.0, ""), (11_000.0, "")],
)
def test_a_forecast_is_missed_when_the_error_is_big_and_lasts(actual_w: float, told: str) -> None:
    watch = Watch()
    words = [
        watch.miss(actual_w, 10_000.0, 20_000.0, Instant(NOW + at)) for at in range(0, 6 * MISS_OVER_MS, 10 * SECOND_MS)
    ]
    assert not any(words[: MISS_OVER_MS // (10 * SECOND_MS)]), "not before it has lasted"
    found = [word for word in words if word]
    if not told:
        assert found == []
        return
    assert told.rpartition(" ")[2] in found[0]
    times = [at for at, word in enumerate(words) if word]
    assert len(times) == 2
    assert (times[1] - times[0]) * 10 * SECOND_MS == MISS_GAP_MS, "told again only after a while"


def test_a_small_community_is_not_alarmed_by_a_kettle() -> None:
    watch = Watch()
    words = [watch.miss(3_500.0, 1_000.0, 2_000.0, Instant(NOW + at * MINUTE_MS)) for at in range(60)]
    assert not any(words)


def test_however_much_happens_plans_are_asked_for_once_a_minute() -> None:
    planning = Planning(next_at=Instant(NOW + SLOT_MS), asked_at=NOW)
    planning.hasten("battery-1 does not report", Instant(NOW + 5_000), EVENT_GAP_MS)
    planning.hasten("pump-1 does not report", Instant(NOW + 6_000), EVENT_GAP_MS)
    assert planning.next_at == NOW + EVENT_GAP_MS
    assert planning.waiting_for == "battery-1 does not report"


def test_where_nothing_serves_the_lifelines_the_planner_is_asked_ever_less_until_something_happens() -> None:
    planning, outlook = Planning(next_at=NOW), forecast(SITE, History(SITE), NOW)
    no, down = Refused(Infeasible(("there is no water",))), Failed(Cause.CRASH, "gone")

    def waited(*answers: Answer) -> list[int]:
        """Returns the minutes from each answer to the next question."""
        found: list[int] = []
        for answer in answers:
            now = planning.next_at
            request = planning.ask(energy(), outlook, now, 5 * MINUTE_MS)
            planning.answered(request.id, answer, Instant(now + MINUTE_MS))
            found.append((planning.next_at - now) // MINUTE_MS - 1)
        return found

    assert waited(no, no, no, no, no, no) == [5, 10, 20, 40, 60, 60]
    assert max(waited(down, down)) <= 5, "one that is down may be back at any time"
    assert waited(no, no) == [5, 10]
    soon = Instant(planning.next_at - 9 * MINUTE_MS)
    planning.hasten("the outside is back", soon, 0)
    assert planning.next_at == soon
    request = planning.ask(energy(), outlook, soon, 5 * MINUTE_MS)
    planning.hasten("battery-1 reports again", Instant(soon + MINUTE_MS), 0)
    planning.answered(request.id, no, Instant(soon + 2 * MINUTE_MS))
    assert planning.next_at == soon + MINUTE_MS, "what happened while it worked is asked about at once"
