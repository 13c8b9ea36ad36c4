"""Emergencies through the hub's one entrance: declared, audited, expired; what the rules then ask; restarts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller import hub as core
from controller import rules
from controller.commands import Actor, CancelStorm, DeclareStorm, Role
from controller.cycle import Context, run
from controller.emergency import planned_restart
from controller.emergency_orders import Orders
from controller.gate import Gate
from controller.hub_emergency import shaped
from controller.shell.books import Books
from controller.shell.simulation import books_rules
from controller.shell.storm_requests import BadTime, moment, standing_storm, storm_command
from controller.site import check
from controller.site_work import CrewSpec, WorkOrder, WorkSpec
from controller.storm import Storm, not_done
from controller.storm_text import storm_lines
from controller.storm_view import storm_document, storm_view
from controller.workbook import Workbook
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, Instant, parse_iso
from devices.model import DeviceId
from optimizer.problem import Problem
from optimizer.restart import check_restart
from tests.controller.scene import NOW, VILLAGE, snapshot, village
from tests.controller.test_hub import OPERATOR, SITE, Village
from tests.optimizer.problems import village as energy

VIEWER = Actor("bo", Role.VIEWER, "console")
START, END = Instant(NOW + 6 * HOUR_MS), Instant(NOW + 36 * HOUR_MS)


def declared(place: Village, start: Instant = START, end: Instant = END, reason: str = "cyclone") -> str:
    return place.command(core.Commanded(DeclareStorm(place.id(), OPERATOR, start, end, reason)))[0]


def audits(place: Village, kind: str) -> list[dict[str, str]]:
    return [dict(effect.body) for effect in place.seen if isinstance(effect, core.Audit) and effect.kind == kind]


def pass_minutes(place: Village, minutes: int, **changes: dict[str, float | None]) -> None:
    from devices.events import Tick

    for _ in range(minutes):
        place.now = Instant(place.now + MINUTE_MS)
        place.report(**changes)
        place.step(Tick())


def test_a_storm_is_declared_audited_planned_for_and_expires() -> None:
    place = Village()
    assert declared(place) == "ok"
    place.pass_ms(2_000)
    state = place.hub.emergency
    assert state.storm is not None
    assert place.hub.planning.emergency
    assert audits(place, "storm")[0]["result"] == "ok"
    assert audits(place, "storm")[0]["reason"] == "cyclone"
    assert "storm warning" in audits(place, "emergency")[0]["text"]
    assert place.hub.planning.waiting_for or place.hub.planning.pending, "a plan is asked for at once"
    assert "storm" in {alarm.condition.id for alarm in place.hub.alarms.standing}
    place.now = Instant(END - 1_000)
    place.pass_ms(2_000)
    assert place.hub.emergency.storm is None
    assert not place.hub.planning.emergency
    assert audits(place, "storm-over")
    assert audits(place, "emergency")[-1]["text"] == "the emergency is over"


@pytest.mark.parametrize(
    ("start", "end", "reason", "said"),
    [
        (END, START, "cyclone", "it ends before it begins"),
        (NOW - 2 * DAY_MS, NOW - DAY_MS, "cyclone", "it is over already"),
        (NOW + 20 * DAY_MS, NOW + 21 * DAY_MS, "cyclone", "more than 14 days from now"),
        (START, NOW + 20 * DAY_MS, "cyclone", "it lasts more than 14 days"),
        (START, END, "  ", "say why"),
    ],
)
def test_a_bad_declaration_is_refused_with_words(start: int, end: int, reason: str, said: str) -> None:
    place = Village()
    effects = place.step(core.Commanded(DeclareStorm(place.id(), OPERATOR, Instant(start), Instant(end), reason)))
    reply = next(effect.result for effect in effects if isinstance(effect, core.Reply))
    assert (reply.accepted, reply.code) == (False, "bad-storm")
    assert said in reply.message
    assert place.hub.emergency.storm is None


def test_only_an_operator_declares_and_a_cancellation_ends_it() -> None:
    place = Village()
    code, _ = place.command(core.Commanded(DeclareStorm(place.id(), VIEWER, START, END, "cyclone")))
    assert code == "forbidden"
    assert place.command(core.Commanded(CancelStorm(place.id(), OPERATOR, "passed")))[0] == "no-storm"
    assert declared(place) == "ok"
    assert place.command(core.Commanded(CancelStorm(place.id(), OPERATOR, "passed")))[0] == "ok"
    place.pass_ms(1_000)
    assert not place.hub.emergency.causes


def test_the_view_says_what_is_ready_how_long_it_lasts_and_who_gets_what() -> None:
    place = Village()
    declared(place)
    place.pass_ms(2_000)
    view = storm_view(place.hub, place.now)
    assert view.phase == "ahead"
    texts = " / ".join(item.text for item in view.checklist)
    assert "tank-1 reaches 70% of 95%" in texts
    assert "irrigation.20260604 is not done" in texts
    assert [item.ready for item in view.checklist] == sorted(item.ready for item in view.checklist)
    assert view.curve[0].all == 1.0
    assert view.curve[-1].all <= view.curve[0].all
    assert [row.name for row in view.rations] == ["none", "machines", "half", "lifelines"]
    assert sum(row.holds for row in view.rations) == 1
    assert "charger-1" in view.rations[1].off
    assert "2 kWh and 150 L" in view.rations[3].asked[0]
    lines = "\n".join(storm_lines(storm_document(view)))
    for word in ("storm ahead: cyclone", "declared by ana", "checklist", "every lifeline is served", "why: "):
        assert word in lines
    assert "no storm is declared" in "\n".join(storm_lines(storm_document(storm_view(Village().hub, NOW))))


def test_without_an_emergency_the_curve_is_of_an_outage_now_and_the_log_hears_nothing() -> None:
    place = Village()
    place.pass_ms(2_000)
    calm = storm_view(place.hub, place.now)
    assert calm.supposed
    assert [point.all for point in calm.curve] == sorted((point.all for point in calm.curve), reverse=True)
    assert all(row.chance is not None for row in calm.rations)
    assert sum(row.holds for row in calm.rations) == 1
    assert "if the outside were gone now" in "\n".join(storm_lines(storm_document(calm)))
    assert place.hub.emergency.orders == Orders(), "nothing is switched off for what is only supposed"
    pass_minutes(place, 61, battery_1={"soc": 0.11}, genset_1={"fuel": 0.13})
    low = storm_view(place.hub, place.now)
    assert low.curve[24].unrationed < calm.curve[24].unrationed, "it is reckoned anew after an hour"
    assert low.ration != "none"
    assert not place.hub.alarms.standing or "ration" not in {a.condition.id for a in place.hub.alarms.standing}
    assert audits(place, "ration") == []
    pass_minutes(place, 1, battery_1={"soc": 0.11}, genset_1={"fuel": 0.13}, grid_1={"V": 0.0})
    assert len(audits(place, "ration")) == 1, "in the emergency itself it is told, though it would have held before"
    pass_minutes(place, 61, battery_1={"soc": None})
    assert storm_view(place.hub, place.now).curve == (), "without the battery's charge there is no number"


def test_a_shortage_of_power_is_announced_on_an_island_that_will_not_last_and_only_there() -> None:
    def announced(place: Village) -> list[str]:
        return [a.condition.text for a in place.hub.alarms.standing if a.condition.id == "shortage.power"]

    low: Any = {"battery_1": {"soc": 0.11}, "genset_1": {"fuel": 0.03}}
    place = Village()
    pass_minutes(place, 40, **low)
    assert announced(place) == [], "the grid is there"
    pass_minutes(place, 40, grid_1={"V": 0.0}, **low)
    (text,) = announced(place)
    assert text.startswith("power for the lifelines is likely short in about ")
    assert 0 < int(text.split()[9]) < 24
    assert "a shortage is announced" in place.hub.emergency.causes
    assert f"shortage: {text}" in list(storm_lines(storm_document(storm_view(place.hub, place.now))))
    pass_minutes(place, 2)
    assert place.hub.emergency.causes == ()
    well = Village()
    pass_minutes(well, 40, grid_1={"V": 0.0}, battery_1={"soc": 0.9})
    assert announced(well) == [], "300 L of diesel carry it through the horizon"


def test_an_island_and_a_dry_well_and_little_diesel_are_emergencies() -> None:
    place = Village()
    place.pass_ms(1_000)
    assert place.hub.emergency.causes == ()
    pass_minutes(place, 2, genset_1={"fuel": 0.1})
    assert place.hub.emergency.causes == ("little diesel is left",)
    pass_minutes(place, 2, genset_1={"fuel": 0.14})
    assert place.hub.emergency.causes, "it does not flutter"
    pass_minutes(place, 2, grid_1={"V": 0.0})
    assert place.hub.emergency.causes == ("the outside grid is gone",)
    assert place.hub.planning.emergency
    pass_minutes(place, 2, tank_1={"level": 0.2}, pump_1={"on": 1.0, "flow_lpm": 88.0})
    assert place.hub.emergency.causes == ()
    pass_minutes(place, 8, tank_1={"level": 0.2}, pump_1={"on": 1.0, "flow_lpm": 0.0})
    assert place.hub.emergency.causes == ("the well gives no water",)
    pass_minutes(place, 2, tank_1={"level": 0.2}, pump_1={"on": 1.0, "flow_lpm": 88.0})
    assert place.hub.emergency.causes == ()


def decided(
    orders: Orders, *, island: bool = False, **changes: dict[str, float | None]
) -> dict[str, tuple[float, str]]:
    seen = snapshot(SITE, {name.replace("_", "-"): points for name, points in changes.items()})
    context = Context(SITE, seen, island=island, others_w=8_000.0, orders=orders)
    return {one.device: (one.value, one.reason) for one in run(context, rules.RULES)}


def test_near_a_storm_every_store_takes_what_the_feeder_leaves() -> None:
    found = decided(Orders(active=True, top_up=True))
    assert found["battery-1"][0] == pytest.approx(40_000 * 0.97 - 8_000)
    assert found["pump-1"] == (1.0, "emergency: a storm is near: fill the tank")
    assert found["charger-1"][0] > 0
    assert decided(Orders(active=True, top_up=True), tank_1={"level": 0.96})["pump-1"][0] == 0.0, (
        "an interlock still wins"
    )


def test_in_a_storm_the_battery_is_kept_while_the_grid_is_there() -> None:
    assert decided(Orders(active=True, keep=True))["battery-1"][0] == 0.0
    assert decided(Orders())["battery-1"][0] == -8_000.0


def test_a_ration_switches_off_vehicles_on_an_island_unless_sun_would_be_cut() -> None:
    rationed = Orders(active=True, vehicles=False, machines=False, ration="machines")
    assert decided(rationed, island=True)["charger-1"][0] == 0.0
    assert decided(rationed, island=False)["charger-1"][0] > 0, "with the outside nobody goes without"
    assert decided(Orders(active=True), island=True)["charger-1"][0] > 0
    seen = snapshot(SITE, {"battery-1": {"soc": 0.96}})
    sunny = Context(SITE, seen, island=True, others_w=-9_000.0, orders=rationed)
    assert next(one.value for one in run(sunny, rules.RULES) if one.device == "charger-1") > 0


def test_diesel_runs_near_its_rating_in_an_emergency() -> None:
    low: Any = {"battery_1": {"soc": 0.2}}
    assert decided(Orders(active=True), island=True, **low)["genset-1"][0] == -30_000.0
    assert decided(Orders(), island=True, **low)["genset-1"][0] == -15_500.0


def test_after_an_outage_loads_wait_for_their_stage() -> None:
    place = Village()
    pass_minutes(place, 8, grid_1={"V": 0.0})
    pass_minutes(place, 1)
    state = place.hub.emergency
    assert state.restart is not None
    assert audits(place, "restart")[0]["text"].startswith("in this order: pump-1; then washer-1; then charger-1")
    waits = state.orders.waits
    assert waits[DeviceId("charger-1")] - waits[DeviceId("pump-1")] == 2 * MINUTE_MS
    held = decided(Orders(waits={DeviceId("charger-1"): Instant(NOW + MINUTE_MS)}))["charger-1"]
    assert held == (0.0, "emergency: restart: it waits for its turn, so that not everything starts at once")
    pass_minutes(place, 61)
    assert place.hub.emergency.restart is None
    short = Village()
    pass_minutes(short, 2, grid_1={"V": 0.0})
    pass_minutes(short, 1)
    assert short.hub.emergency.restart is None, "nothing has had the time to pile up"


def test_a_restart_of_this_site_is_sound_and_knows_its_inrush() -> None:
    soft = replace(SITE, emergency=replace(SITE.emergency, inrush_factor={"pump-1": 12.0}))
    drawn = 13 * 1_000.0 + 900.0
    order = planned_restart(soft, snapshot(soft))
    assert order.refused == (("pump-1", "its start needs 36000 W and 26100 W are left"),)
    assert [stage.peak_w for stage in order.stages] == [drawn + 2 * 900, drawn + 900 + 11_000 + 3_000]
    assert check_restart(planned_restart(SITE, snapshot(SITE)), [], 1.0) != []


def test_the_shadow_rules_never_switch_an_emergency_plan_off() -> None:
    gate, problem = Gate(), energy()
    from optimizer.plan import Plan
    from optimizer.problem import Stop
    from optimizer.solve import solve

    plan = solve(problem, Stop(seconds=None, nodes=50), 1)
    assert isinstance(plan, Plan)
    dear = replace(problem, grid=replace(problem.grid, import_price=tuple(-p for p in problem.grid.import_price)))
    assert gate.judge(dear, plan, emergency=True) == (True, "emergency: the plan is followed as it is")


def test_the_question_is_shaped_only_when_the_storm_is_within_the_plan() -> None:
    place = Village()
    place.pass_ms(1_000)
    problem: Problem = replace(energy(), start=Instant(NOW // 900_000 * 900_000))
    assert shaped(place.hub, problem) is problem
    declared(place, Instant(NOW + 3 * DAY_MS), Instant(NOW + 4 * DAY_MS))
    place.pass_ms(1_000)
    assert shaped(place.hub, problem) is problem
    declared(place)
    place.pass_ms(1_000)
    near = shaped(place.hub, problem)
    first = (START - problem.start) // problem.slot_ms
    assert near.grid.available[:first] == (True,) * first
    assert not any(near.grid.available[first:])
    assert near.pv_kw[first + 1] == pytest.approx(0.25 * problem.pv_kw[first + 1])


def test_nobody_leaves_who_would_not_be_back_and_jobs_in_the_storm_are_told() -> None:
    place = Village()
    declared(place)
    place.pass_ms(1_000)
    board = place.hub.board
    assert board.storm_bars(Instant(NOW + HOUR_MS), HOUR_MS) == ""
    assert "a storm is declared" in board.storm_bars(Instant(NOW + 5 * HOUR_MS), HOUR_MS)
    assert board.storm_bars(END, HOUR_MS) == ""
    storm = Storm(START, END, "cyclone", "ana", NOW)
    runs = (
        ("before", NOW, START, HOUR_MS),
        ("in", Instant(START + HOUR_MS), Instant(START + 3 * HOUR_MS), HOUR_MS),
        ("after", Instant(END - HOUR_MS), Instant(END + 2 * HOUR_MS), HOUR_MS),
        ("earlier", Instant(NOW - 3 * HOUR_MS), NOW, HOUR_MS),
    )
    assert [item.what for item in not_done(storm, runs)] == ["in"]


def test_ripe_crops_come_in_before_the_storm_and_other_work_beside_it() -> None:
    crew = CrewSpec("field", ("pick",), (0, 1440), tuple(range(7)), 0.0)
    ripe, build = order("taro", "harvest"), order("shed", "construction")
    book = Workbook(WorkSpec((), (crew,), (ripe, build)), "UTC", NOW)
    book.storm = (Instant(NOW + 4 * HOUR_MS), Instant(NOW + 30 * HOUR_MS))
    problem = replace(energy(), start=Instant(NOW // 900_000 * 900_000))
    asked = book.question(problem, NOW)
    assert asked is not None
    assert asked.work is not None
    windows = {task.id.split(".")[0]: (task.earliest_slot, task.deadline_slot) for task in asked.work.tasks}
    assert windows["taro"][1] == 16, "tomorrow's harvest too is due before the storm"
    assert "shed" not in windows or windows["shed"][0] >= 4 * 30


def order(name: str, kind: str) -> WorkOrder:
    return WorkOrder(
        id=name, kind=kind, window=(600, 1200), until=None, duration_ms=2 * HOUR_MS, power_w=0.0, machine="",
        services=None, skills=("pick",), attended_ms=None, after=(), late_price_per_h=1.0, skip_price=50.0,
    )  # fmt: skip


def test_a_declared_storm_outlives_a_restart_until_it_is_cancelled_or_over() -> None:
    books = Books.open(":memory:", books_rules(village()))
    place = Village()

    def log() -> None:
        for effect in place.seen:
            if isinstance(effect, core.Audit) and effect.kind.startswith("storm"):
                books.append(effect.kind, dict(effect.body), effect.id, place.now)
        place.seen.clear()

    declared(place, reason="first")
    declared(place, END, START)  # refused: it leaves no storm behind
    declared(place, reason="second")
    log()
    found = standing_storm(books.reader(), NOW)
    assert found == Storm(START, END, "second", "ana", NOW)
    assert standing_storm(books.reader(), END) is None
    place.command(core.Commanded(CancelStorm(place.id(), OPERATOR, "passed")))
    log()
    assert standing_storm(books.reader(), NOW) is None


def test_times_are_local_relative_or_with_an_offset() -> None:
    zone = "Europe/Berlin"
    assert moment("2026-06-03T18:00", zone, NOW) == parse_iso("2026-06-03T16:00:00Z")
    assert moment("2026-06-03T18:00+00:00", zone, NOW) == parse_iso("2026-06-03T18:00:00Z")
    assert moment("+6h", zone, NOW) == START
    assert moment("+90min", zone, NOW) == NOW + 90 * MINUTE_MS
    for bad in ("tomorrow", "", "+6x", "2026-13-01"):
        with pytest.raises(BadTime, match="is no time"):
            moment(bad, zone, NOW)
    request = {"ask": "storm-declare", "from": "+6h", "until": "+36h", "reason": "cyclone"}
    assert storm_command(request, "id", OPERATOR, zone, NOW) == DeclareStorm("id", OPERATOR, START, END, "cyclone")
    assert "is no time" in str(storm_command({**request, "until": "later"}, "id", OPERATOR, zone, NOW))
    assert storm_command({"ask": "hold"}, "id", OPERATOR, zone, NOW) is None


def test_the_site_file_may_say_how_emergencies_are_met() -> None:
    text = VILLAGE.read_text()
    table = "\n[emergency]\nautonomy_hours = 48\nsun_share = 0.1\ninrush_factor = { pump-1 = 3.0 }\n"
    site, problems = check(text + table, "site.toml")
    assert not problems
    assert site is not None
    assert (site.emergency.autonomy_hours, site.emergency.sun_share) == (48.0, 0.1)
    _, problems = check(text + table.replace("pump-1", "pump-9"), "site.toml")
    assert ["no device has this id" in problem.message for problem in problems] == [True]


def test_in_a_dry_spell_with_the_grid_there_the_rations_are_about_water_and_an_alarm_says_who_gets_what() -> None:
    place = Village()
    dry: Any = {"tank_1": {"level": 0.1}, "pump_1": {"on": 1.0, "flow_lpm": 0.0}}
    pass_minutes(place, 2, tank_1={"level": 0.1}, pump_1={"on": 1.0, "flow_lpm": 88.0})
    pass_minutes(place, 8, **dry)
    view = storm_view(place.hub, place.now)
    assert place.hub.emergency.causes == ("the well gives no water",)
    assert not view.supposed
    assert view.ration in ("half", "lifelines")
    assert all(point.energy == 1.0 for point in view.curve), "the grid is there"
    assert view.curve[24].unrationed < view.curve[24].all
    assert all(not row.off for row in view.rations)
    assert "150 L a day" in view.rations[3].asked[0]
    assert "kWh" not in " ".join(ask for row in view.rations for ask in row.asked)
    assert "water" in view.why
    (said,) = [a.condition.text for a in place.hub.alarms.standing if a.condition.id == "ration"]
    assert "water" in said
    empty: Any = {"tank_1": {"level": 0.001}, "pump_1": {"on": 1.0, "flow_lpm": 0.0}}
    pass_minutes(place, 16, **empty)
    why = storm_view(place.hub, place.now).why
    assert why.startswith("none serves every lifeline for 24 h with 95%"), why
