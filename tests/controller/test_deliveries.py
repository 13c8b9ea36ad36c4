"""Deliveries of the village: planned in the real child, sent to the simulated vehicles, followed to the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from controller.conditions import deadlines
from controller.deliveries import Desk
from controller.delivery_rows import delivery_rows
from controller.image import Image
from controller.missions import Board, RunState
from controller.shell.planner import Planner
from controller.shell.simulation import WAITED_FOR, fleet_factory, start_of
from controller.site import Site, check
from controller.vehicle_charging import Charging, vehicle_packs
from devices.clock import HOUR_MS, MINUTE_MS, SECOND_MS, SLOT_MS, Instant, parse_iso
from devices.model import DeviceId, Message
from optimizer.answer import Answer, Cause, Failed, Routed
from optimizer.codec import Question, decode, encode
from optimizer.deliveries import DeliveriesProblem, check_deliveries
from optimizer.plan import Mode, Reason, StorageStep
from optimizer.problem import AssetId, Stop
from optimizer.trip_ask import Pack, TripAsk
from optimizer.trip_packs import as_planned, charging_needs
from tests.controller.scene import VILLAGE, village

SITE = village()
MORNING = parse_iso("2026-06-01T05:00:00Z")  # 07:00 at the village, a Monday
NOON = Instant(MORNING + 5 * HOUR_MS)
STOP = Stop(seconds=None)


@pytest.fixture(scope="module")
def planner() -> Iterator[Planner]:
    one = Planner(WAITED_FOR)
    yield one
    one.close()


class Yard:
    """Desk, board, fleet and the wire between them; questions go to the real planner child."""

    def __init__(
        self, planner: Planner | None, site: Site = SITE, known: dict[str, str] | None = None, *, rules: bool = False
    ) -> None:
        self.planner = planner
        self.rules = rules
        self.site = site
        self.fleet = fleet_factory().build(site.devices, start_of(site), 0, None)
        self.image = Image(deadlines(site, 1_000, 0))
        self.now = MORNING
        self.fleet.advance(self.now)
        self.states: dict[str, list[str]] = {}
        self.sent: list[Message] = []
        self.questions: list[DeliveriesProblem] = []
        self.restart(known)

    def restart(self, known: dict[str, str] | None) -> None:
        """A new hub with what the log knows."""
        self.board = Board(self.site, known=known)
        self.desk = Desk(self.site, known)
        self.charging = Charging()

    def live(self, until: Instant, deaf: str = "") -> None:
        """Lives on in steps of 20 s; a deaf vehicle's reports do not arrive."""
        while self.now < until:
            self.now = Instant(self.now + 20 * SECOND_MS)
            self.fleet.advance(self.now)
            for message in self.fleet.messages():
                if not deaf or deaf not in message.topic:
                    for readings in self.board.receive(message.topic, message.payload, self.now):
                        self.image.update(readings, self.now)
            snapshot = self.image.freeze(self.now)
            orders, _ = self.board.tick(None, snapshot, self.now)
            messages, notes = self.desk.tick(self.board, snapshot, self.now)
            for note in notes:
                self.states.setdefault(note.delivery.id, []).append(note.state)
            if self.rules:
                self.desk.by_rule(self.board, snapshot, self.now)
            asked = None if self.rules else self.desk.ask(self.board, snapshot, self.now)
            if asked is not None:
                self.questions.append(asked[1])
                self.desk.answered(asked[0], self.answer(asked[1]), self.now)
            for message in (*orders, *messages):
                self.sent.append(message)
                self.fleet.receive(message)

    def answer(self, problem: DeliveriesProblem) -> Answer:
        if self.planner is None:
            return Failed(Cause.CRASH, "no planner today")
        return self.planner.ask(problem, STOP, 1)


def test_a_morning_of_rounds_and_a_flight_is_carried_out(planner: Planner) -> None:
    yard = Yard(planner)
    yard.live(Instant(MORNING + 10 * MINUTE_MS))
    rows = {row.device: row for row in delivery_rows(yard.desk)}
    assert set(rows) == {"trip.robot-1", "trip.drone-1"}
    (round_,) = [trip for trip in yard.desk.trips if trip.vehicle == "robot-1"][:1]
    assert round_.words.startswith(f"round of {len(round_.stops)} stops: ")
    assert any(trip.words.startswith("flight of 1 stop: ") for trip in yard.desk.trips)
    stops = [block for block in rows["trip.robot-1"].blocks if block[3] == "stop"]
    assert [block[0] for block in stops] == sorted(block[0] for block in stops)
    assert all("window" in block[4] for block in stops)

    yard.live(Instant(MORNING + 3 * HOUR_MS))
    assert {name: states[-1] for name, states in yard.states.items()} == dict.fromkeys(
        ("post-east", "post-west", "lunch", "waste-east", "waste-west", "medicine"), "done"
    )
    assert all(states == ["sent", "running", "done"] for states in yard.states.values())
    assert yard.desk.failed() == {}
    deadline = {run.waiting.delivery.id: run.waiting.closes for run in yard.desk.runs.values()}
    assert deadline["medicine"] > MORNING


def test_what_was_brought_out_of_a_store_counts_until_the_next_count_however_long_the_hub_runs() -> None:
    site = replace(SITE, deliveries=tuple(replace(one, store="cool") for one in SITE.deliveries))
    yard = Yard(None, site)
    yard.live(Instant(MORNING + MINUTE_MS))
    run = next(run for run in yard.desk.runs.values() if run.waiting.delivery.id == "lunch")
    run.state = RunState.DONE
    brought = run.waiting.delivery.mass_kg
    assert yard.desk.brought_kg("cool", MORNING) == brought
    snapshot = yard.image.freeze(yard.now)
    for days in (1, 2, 4, 9, 14):
        yard.desk.tick(yard.board, snapshot, Instant(MORNING + days * 24 * HOUR_MS))
        assert yard.desk.brought_kg("cool", MORNING) == brought, f"{days} days later"
    yard.desk.tick(yard.board, snapshot, Instant(MORNING + 30 * 24 * HOUR_MS))
    assert yard.desk.brought_kg("cool", MORNING) == 0.0, "no count is that old"


def test_a_hub_that_starts_anew_sends_nothing_twice_and_learns_what_was_done_meanwhile(planner: Planner) -> None:
    yard = Yard(planner)
    while "running" not in yard.states.get("medicine", []):
        yard.live(Instant(yard.now + MINUTE_MS))
    known = {key: run.state.value for key, run in yard.desk.runs.items()}
    assert known["medicine.20260601"] == "running"
    yard.restart(known)
    yard.live(NOON)
    assert yard.states["medicine"] == ["sent", "running", "done"]
    assert all(states.count("done") == 1 for states in yard.states.values())


def test_without_the_drone_medicine_goes_by_ground_before_everything(planner: Planner) -> None:
    yard = Yard(planner)
    yard.live(NOON, deaf="drone-1")
    assert yard.states["medicine"] == ["sent", "running", "done"]
    assert all(question.flights is None for question in yard.questions)


def test_without_a_planner_simple_rules_serve_every_window_medicine_by_air() -> None:
    yard = Yard(None, rules=True)
    yard.live(Instant(MORNING + 10 * MINUTE_MS))
    assert {row.device for row in delivery_rows(yard.desk)} == {"trip.robot-1", "trip.drone-1"}
    yard.live(Instant(MORNING + 3 * HOUR_MS))
    assert yard.states == {delivery.id: ["sent", "running", "done"] for delivery in SITE.deliveries}
    assert yard.desk.runs["medicine.20260601"].vehicle == "drone-1"


def test_without_the_drone_the_rules_send_medicine_by_ground_first() -> None:
    yard = Yard(None, rules=True)
    yard.live(NOON, deaf="drone-1")
    assert yard.desk.runs["medicine.20260601"].vehicle == "robot-1"
    assert all(states[-1] == "done" for states in yard.states.values())


def test_without_any_plan_what_could_not_go_is_missed_and_said(planner: Planner) -> None:
    del planner
    yard = Yard(None)
    yard.live(NOON)
    assert set(yard.states) == {delivery.id for delivery in SITE.deliveries}
    assert all(states == ["missed"] for states in yard.states.values())
    assert "no planner today" in yard.desk.status
    assert set(yard.desk.failed()) == {f"{name}.20260601" for name in yard.states}


def test_a_vehicle_without_charge_waits_and_says_why(planner: Planner) -> None:
    drone = replace(next(d for d in SITE.devices if d.id == "drone-1"), simulate={"soc": 0.1})
    weak = replace(drone, ratings={**drone.ratings, "charge_w_max": 10.0})
    site = replace(SITE, devices=tuple(weak if d.id == "drone-1" else d for d in SITE.devices))
    yard = Yard(planner, site)
    yard.live(NOON)
    assert yard.states["medicine"] == ["missed"]


def test_a_question_of_deliveries_travels_to_the_child_and_back(planner: Planner) -> None:
    yard = Yard(planner)
    yard.live(Instant(MORNING + MINUTE_MS))
    (problem,) = yard.questions
    question = Question(1, None, STOP, 1, problem)
    assert decode(Question, encode(question)) == question
    first, second = planner.ask(problem, STOP, 1), planner.ask(problem, STOP, 1)
    assert isinstance(first, Routed)
    assert isinstance(second, Routed)
    assert first.plan == second.plan
    assert check_deliveries(problem, first.plan) == []
    assert check_deliveries(problem, replace(first.plan, rounds=None)) == ["rounds: missing"]


def test_packs_are_away_during_trips_and_full_enough_before() -> None:
    robot = AssetId("robot-1")
    pack = Pack(robot, 2.0, 1.0, 0.8, 0.9, 0.4, 0.9, 0.2, (Instant(MORNING + 10 * SLOT_MS),))
    leave, back = Instant(MORNING + 4 * SLOT_MS), Instant(MORNING + 6 * SLOT_MS)
    trips = (TripAsk(AssetId("round"), robot, leave, back, 0.5, leave, leave),)
    (battery,) = charging_needs([pack], trips, as_planned(trips), MORNING, 12, SLOT_MS)
    assert battery.present == (True,) * 4 + (False,) * 2 + (True,) * 6
    assert battery.trip_kwh[4] == 0.5
    assert [(one.slot, one.energy_kwh) for one in battery.departures] == [(4, 0.9), (10, 2.0)]
    assert battery.discharge_kw_max == 0.0


def test_chargers_do_what_the_plan_says_unless_work_is_near() -> None:
    yard = Yard(None)
    yard.live(Instant(MORNING + MINUTE_MS))
    reason = Reason("the sun comes later")
    hold = StorageStep(Mode.HOLD, 0, 0, 0.8, reason)
    steps = dict.fromkeys((DeviceId("robot-1"), DeviceId("drone-1")), hold)
    snapshot = yard.image.freeze(yard.now)
    said = yard.charging.tick(yard.desk, yard.board, steps, snapshot, yard.now)
    assert [b"stopCharging" in message.payload for message in said] == [True, True]
    for message in said:
        yard.fleet.receive(message)
    yard.live(Instant(yard.now + 10 * MINUTE_MS))
    state = yard.board.sessions[DeviceId("robot-1")].state
    assert state is not None
    assert not state.batteryState.charging
    yard.live(Instant(MORNING + 2 * HOUR_MS))  # an hour before irrigation may begin
    again = yard.charging.tick(yard.desk, yard.board, steps, yard.image.freeze(yard.now), yard.now)
    (start,) = again  # the robot is full enough as it stands
    assert "drone-1" in start.topic
    assert b"startCharging" in start.payload


def test_vehicles_are_storages_of_the_energy_plan() -> None:
    yard = Yard(None)
    yard.live(Instant(MORNING + MINUTE_MS))
    snapshot = yard.image.freeze(yard.now)
    packs = vehicle_packs(yard.desk, yard.board, snapshot, 0.2)
    assert [pack.vehicle for pack in packs] == ["robot-1", "drone-1"]
    assert all(storage.departures for storage in charging_needs(packs, (), {}, MORNING, 96, SLOT_MS))
    nothing = replace(SITE, deliveries=())
    assert vehicle_packs(Desk(nothing), yard.board, snapshot, 0.2) == ()


def until_four(site: Site) -> Site:
    """Returns the village with windows until 16:00 for all but medicine, and its robot's daily job in the evening."""
    deliveries = tuple(d if d.kind == "medicine" else replace(d, window=(480, 960)) for d in site.deliveries)
    jobs = tuple(replace(job, window=(18 * 60, 22 * 60)) if job.device == "robot-1" else job for job in site.jobs)
    return replace(site, deliveries=deliveries, jobs=jobs)


def test_trips_leave_when_the_energy_plan_has_moved_them_to_and_medicine_does_not_wait(planner: Planner) -> None:
    yard = Yard(planner, until_four(SITE))
    yard.live(Instant(MORNING + 5 * MINUTE_MS))
    tomorrow = Instant(MORNING + 17 * HOUR_MS)
    planned = {trip.id: trip for trip in yard.desk.trips if trip.begin < tomorrow}
    windows = {name: yard.desk.window(trip, yard.board, yard.now) for name, trip in planned.items()}
    for name, trip in planned.items():
        first, last = windows[name]
        assert first <= trip.begin <= last
        assert (first < last) is ("medicine" not in name)
        if first < last:
            runs = [yard.desk.runs[run].waiting for run in trip.runs]
            for begin in windows[name]:
                stops = trip.moved(begin).stops
                assert all(one.begin + 15 * MINUTE_MS <= yard.desk.runs[one.run].waiting.closes for one in stops)
                assert all(begin >= run.ready for run in runs if run.delivery.kind != "transfer")

    by = 2 * HOUR_MS
    wanted = {AssetId(name): Instant(trip.begin + by) for name, trip in planned.items()}
    yard.desk.move(wanted, yard.board, yard.now)
    at = {trip.id: trip.begin for trip in yard.desk.trips if trip.id in planned}
    assert at == {name: trip.begin + (0 if "medicine" in name else by) for name, trip in planned.items()}
    yard.desk.move(dict.fromkeys(wanted, Instant(MORNING + 14 * HOUR_MS)), yard.board, yard.now)
    assert at == {trip.id: trip.begin for trip in yard.desk.trips if trip.id in planned}, "no window is that long"
    held = [stop.run for name, trip in planned.items() if "medicine" not in name for stop in trip.stops]
    assert "lowest cost" in yard.desk.reason(yard.desk.runs[held[0]])

    first = min(begin for name, begin in at.items() if "medicine" not in name)
    yard.live(Instant(first - MINUTE_MS))
    assert len(yard.questions) > 1, "the rounds were planned anew meanwhile"
    assert {name for name, states in yard.states.items() if "sent" in states} == {"medicine"}
    yard.live(Instant(first + 3 * HOUR_MS))
    assert {name: states[-1] for name, states in yard.states.items()} == dict.fromkeys(
        ("post-east", "post-west", "lunch", "waste-east", "waste-west", "medicine"), "done"
    )


def test_trips_are_held_no_longer_when_a_vehicle_is_lost(planner: Planner) -> None:
    yard = Yard(planner, until_four(SITE))
    yard.live(Instant(MORNING + 5 * MINUTE_MS))
    planned = [trip for trip in yard.desk.trips if trip.vehicle == "robot-1"]
    yard.desk.move({AssetId(one.id): Instant(one.begin + HOUR_MS) for one in planned}, yard.board, yard.now)
    assert yard.desk.held
    while yard.desk.held and yard.now < NOON:
        yard.live(Instant(yard.now + MINUTE_MS), deaf="drone-1")
    assert yard.now < planned[0].begin
    assert not yard.desk.held


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('place = "west-row"\nwindow', 'place = "moon"\nwindow', "SITE-063"),
        ('from_place = "shop"\n', "", "SITE-064"),
        ('window = ["08:15", "09:30"]', 'window = ["09:30", "08:15"]', "SITE-065"),
        ("mass_kg = 0.4", 'mass_kg = 9.0\nby = "air"', "SITE-067"),
        ('member = "clinic"', 'member = "nobody"', "SITE-068"),
        ('id = "post-west"', 'id = "post-east"', "SITE-020"),
        ("priority = 9", "priority = 10", "SITE-012"),
    ],
)
def test_what_is_wrong_with_a_delivery_is_told_with_its_line(old: str, new: str, code: str) -> None:
    text = VILLAGE.read_text()
    assert old in text
    _, problems = check(text.replace(old, new), "site.toml")
    assert code in {problem.code for problem in problems}
    assert all(problem.line > 0 for problem in problems)


def test_a_day_of_the_week_without_deliveries_opens_none() -> None:
    sunday = replace(SITE, deliveries=tuple(replace(one, days=(6,)) for one in SITE.deliveries))
    yard = Yard(None, sunday)
    yard.live(Instant(MORNING + MINUTE_MS))
    assert yard.desk.runs == {}
    assert RunState.WAITING not in {run.state for run in yard.desk.runs.values()}
