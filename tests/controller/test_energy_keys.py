"""What a site file says of energy reaches the plan: vehicles, feeders, capacity charge, islands, tiers, gensets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from controller import hub as core
from controller.cycle import Context, decide
from controller.history import History
from controller.hub import others_w
from controller.image import Snapshot
from controller.plan_forecast import forecast
from controller.plan_network import line_limits
from controller.plan_problem import build_problem
from controller.rules import RULES
from controller.shadow import play, play_rules, steps_of
from controller.site import Site, SiteProblems, load
from controller.site_repair import repaired
from devices.clock import HOUR_MS, SLOT_MS, Instant, parse_iso
from devices.model import Commodity, IntervalRecord, UsagePointId
from optimizer.check import check
from optimizer.network_plan import breaches, solve_networked
from optimizer.plan import Mode, Plan, Reason, StorageStep
from optimizer.problem import AssetId, Problem, Stop
from optimizer.solve import solve
from tests.controller.scene import VILLAGE, snapshot

EVENING = parse_iso("2026-06-03T18:00:00+02:00")
EXACT = Stop(seconds=None)
CAR = AssetId("charger-1")


def village(*changes: tuple[str, str], more: str = "") -> Site:
    text = VILLAGE.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    if "[network]" in more:  # instead of the village's own
        text = re.sub(r"^\[network\].*?^# What goes first", "# What goes first", text, flags=re.DOTALL | re.MULTILINE)
    return load(text + more, "site.toml")


def question(
    site: Site,
    changes: Mapping[str, Mapping[str, float | None]] | None = None,
    now: Instant = EVENING,
    history: History | None = None,
) -> Problem:
    history = history or History(site)
    view = snapshot(site, changes, now)
    board = core.start(core.HubConfig(site, 1, 1_000, 1_000, 0, 900_000), now).board
    outlook = forecast(site, history, now)
    return build_problem(site, view, board, outlook, island=False, peak_w=history.peak_w(now))


def planned(problem: Problem) -> Plan:
    plan = solve(problem, EXACT, seed=1)
    assert isinstance(plan, Plan), plan
    assert check(problem, plan) == []
    return plan


def context(site: Site, view: Snapshot) -> Context:
    return Context(site, view, island=False, others_w=others_w(site, view), lines=site.energy.feeders)


def clock(problem: Problem, text: str) -> int:
    """Returns the first slot of the plan at or after that local time (summer: UTC+2)."""
    hour, minute = map(int, text.split(":"))
    at = (problem.start + 2 * HOUR_MS) % (24 * HOUR_MS)
    return ((hour * 60 + minute) * 60_000 - at) % (24 * HOUR_MS) // SLOT_MS


# -- vehicles --------------------------------------------------------------------------------------------------------


def test_a_car_is_ready_by_seven_on_night_power_and_away_on_its_trip() -> None:
    site = village()
    problem = question(site, {"charger-1": {"soc": 0.3, "connected": 1.0}})
    plan = planned(problem)
    seven, leaves, returns = (clock(problem, text) for text in ("07:00", "07:30", "16:30"))
    steps, soc = plan.storages[CAR], plan.soc_kwh[CAR]
    assert soc[seven - 1] >= 0.95 * 40 - 0.01
    assert "departure:charger-1" not in plan.violations
    dear = range(clock(problem, "22:00"))
    assert sum(steps[slot].expected_w for slot in dear) == 0  # the evening's price is twice the night's
    assert all(steps[slot].expected_w == 0 for slot in range(leaves, returns))
    assert soc[leaves] == pytest.approx(soc[leaves - 1] - 14.0, abs=0.01)


def test_a_car_that_is_away_is_expected_home_with_what_its_trip_leaves() -> None:
    noon = parse_iso("2026-06-03T12:00:00+02:00")
    problem = question(village(), {"charger-1": {"soc": None, "connected": 0.0}}, noon)
    car = next(b for b in problem.batteries if b.id == CAR)
    back = clock(problem, "16:30")
    assert not any(car.present[:back])
    assert car.present[back]
    assert car.soc_now_kwh == pytest.approx(0.95 * 40 - 14.0)
    # Not back at five: it is expected within the hour, and its trip takes nothing a second time.
    late = question(village(), {"charger-1": {"soc": None, "connected": 0.0}}, parse_iso("2026-06-03T17:00:00+02:00"))
    car = next(b for b in late.batteries if b.id == CAR)
    assert car.present[:5] == (False, False, False, False, True)
    assert sum(car.trip_kwh) == pytest.approx(14.0)


def test_a_charger_that_does_not_report_is_left_to_the_rules() -> None:
    assert all(b.id != CAR for b in question(village(), {"charger-1": {"soc": None}}).batteries)
    without = village(('trip = { leaves = "07:30"', '# trip = { leaves = "07:30"'))
    problem = question(without, {"charger-1": {"soc": 0.3, "connected": 1.0}})
    assert problem.chargers[0].energy_kwh == pytest.approx(0.65 * 40 / 0.93)


# -- feeders ---------------------------------------------------------------------------------------------------------


def test_a_feeders_limit_binds_in_the_plan_and_without_it_is_passed() -> None:
    need = {"charger-1": {"soc": 0.05, "connected": 1.0}}
    tight = (("import_limit_w = 14000", "import_limit_w = 6500"),)
    problem = question(village(*tight), need)
    feeder = problem.feeders[0]
    assert set(feeder.assets) == {CAR}
    assert feeder.pv_kw == pytest.approx([kw * 35 / 68 for kw in problem.pv_kw])  # 15 and 20 of 68 kW

    def flow(plan: Plan) -> list[float]:
        car = [step.expected_w / 1000 for step in plan.storages[CAR]]
        cut = plan.feeder_curtailed_kw.get(feeder.id, (0.0,) * problem.slots)
        return [load - pv + c + own for load, pv, c, own in zip(feeder.load_kw, feeder.pv_kw, cut, car, strict=True)]

    assert max(flow(planned(problem))) == pytest.approx(6.5, abs=0.01)
    assert max(flow(planned(question(village(), need)))) > 7.0


def test_the_loop_keeps_the_car_within_what_its_feeder_has_left() -> None:
    site = village()
    busy = {"home-07": {"W": 6_000.0}, "home-08": {"W": 3_000.0}, "home-10": {"W": 2_000.0}}
    view = snapshot(site, busy)
    device = site.device("charger-1")
    assert device is not None
    found = decide(context(site, view), device, RULES)
    assert found.value == pytest.approx(14_000 * 0.97 - 11_000)
    silent = snapshot(site, busy, age_ms=600_000)
    assert decide(context(site, silent), device, RULES).value == 0.0


def test_solar_is_cut_on_the_feeder_that_is_full_and_nowhere_else() -> None:
    site = village(("export_limit_w = 32000", "export_limit_w = 20000"))
    sunny = {"home-10": -19_000.0, "home-07": -6_000.0, "pv-10": -20_000.0, "pv-07": -8_000.0}
    view = snapshot(site, {name: {"W": watts} for name, watts in sunny.items()})
    at = context(site, view)
    cut, free = (decide(at, device, RULES).value for name in ("pv-10", "pv-02") if (device := site.device(name)))
    # 25 kW less 1 kW of home-08 flow out; 4.6 kW too much of 28 kW made by 35 kW of plants
    assert cut == pytest.approx((28_000 - (24_000 - 19_400)) / 35_000, abs=0.001)
    assert free == 1.0


# -- the network -----------------------------------------------------------------------------------------------------

FARM = """
[network]
root = "square"
source_pu = 1.04
transformer = { rating_va = 160000 }
node = [{ id = "square" }, { id = "farm", devices = ["home-07", "home-10", "charger-1"] }]
line = [{ id = "farm-line", from = "farm", to = "square", length_m = 1200, r_ohm_per_km = 0.9, ampacity_a = 120 }]
"""


def test_voltage_at_the_end_of_a_long_line_curtails_its_solar_in_plan_and_loop() -> None:
    site = village(more=FARM)
    assert site.energy.network is not None
    (line,) = site.energy.network.lines
    assert (line.upper, line.lower, line.r_ohm) == ("square", "farm", pytest.approx(1.08))
    dawn = parse_iso("2026-06-03T06:00:00+02:00")
    problem = question(site, {"battery-1": {"soc": 0.9}}, dawn)
    assert problem.network is not None
    plan = solve_networked(problem, EXACT, 1, None, solve)
    assert isinstance(plan, Plan)
    assert check(problem, plan) == []
    assert breaches(problem, problem.network, plan) == []
    spilled = plan.feeder_curtailed_kw[AssetId("farm-line")]
    noon = clock(problem, "13:00")
    assert spilled[noon] > 1.0
    assert sum(planned(replace(problem, network=None)).curtailed_kw) < sum(plan.curtailed_kw)

    cut = next(limit for limit in line_limits(site, (plan, noon)) if limit.id == "farm-line")
    assert cut.devices == {"home-07", "home-10", "charger-1", "pv-07", "pv-10"}
    sunny = {"home-10": -18_000.0, "home-07": -14_000.0, "pv-10": -20_000.0, "pv-07": -15_000.0}
    view = snapshot(site, {name: {"W": watts} for name, watts in sunny.items()})
    at = replace(context(site, view), lines=line_limits(site, (plan, noon)))
    near, far = (decide(at, device, RULES) for name in ("pv-02", "pv-10") if (device := site.device(name)))
    assert near.value == 1.0
    most = 35_000 - (32_000 - cut.export_limit_w * 0.97)
    assert far.value == pytest.approx(most / 35_000, abs=0.001)


BAD_NETWORK = """
[network]
root = "sqare"
source_pu = 1.15
transformer = { rating_va = 160000 }
[[network.node]]
id = "square"
devices = ["home-01", "tank-1"]
[[network.node]]
id = "west"
devices = ["home-01"]
[[network.node]]
id = "far"
[[network.line]]
id = "one"
from = "square"
to = "west"
length_m = 100
r_ohm_per_km = 0.3
ampacity_a = 100
[[network.line]]
id = "two"
from = "west"
to = "square"
length_m = 100
r_ohm_per_km = 0.3
ampacity_a = 100
"""


def test_a_network_that_is_no_tree_is_told_with_all_its_other_faults() -> None:
    with pytest.raises(SiteProblems) as caught:
        village(more=BAD_NETWORK)
    codes = [problem.code.removeprefix("SITE-") for problem in caught.value.problems]
    assert sorted(codes) == ["144", "150", "151", "153", "154"]
    with pytest.raises(SiteProblems) as caught:
        village(more=BAD_NETWORK.replace("sqare", "square"))
    assert "SITE-152" in {problem.code for problem in caught.value.problems}  # nothing leads to "far"


# -- the connection --------------------------------------------------------------------------------------------------


def records(site: Site, device: str, watts: Mapping[Instant, int]) -> list[IntervalRecord]:
    found: list[IntervalRecord] = []
    for page, (start, w) in enumerate(watts.items(), start=1):
        span = (start, Instant(start + SLOT_MS), 0, w // 4, 0, 0)
        found.append(IntervalRecord(UsagePointId(device), Commodity.ENERGY, 1, page, *span))
    return found


def test_a_capacity_charge_flattens_the_peak_down_to_what_the_month_has_paid_for() -> None:
    need = {"charger-1": {"soc": 0.1, "connected": 1.0}, "battery-1": {"soc": 0.1, "W": 0.0}}
    flat = (("# peak_price = 4.50", "peak_price = 4.50"),)
    free, site = planned(question(village(), need)), village(*flat)
    charged = planned(question(site, need))
    assert max(charged.grid_kw) < max(free.grid_kw) - 2.0
    history = History(site)
    when = parse_iso("2026-06-02T18:00:00+02:00")
    history.add(records(site, "grid-1", {when: 22_000}), EVENING)
    problem = question(site, need, history=history)
    assert problem.grid.peak_kw_so_far == 22.0
    assert max(charged.grid_kw) < 20.0
    assert max(planned(problem).grid_kw) == pytest.approx(22.0, abs=0.1)  # up to there it costs nothing
    assert history.peak_w(parse_iso("2026-07-01T01:00:00+02:00")) == 0.0  # a new month begins


def test_with_a_capacity_charge_the_loop_makes_no_new_peak_by_charging() -> None:
    site = village()
    battery, boiler = (device for name in ("battery-1", "boiler-1") if (device := site.device(name)))
    view = snapshot(
        site, {"battery-1": {"W": 0.0, "soc": 0.5}, "grid-1": {"W": -18_000.0}, "boiler-1": {"celsius": 43.0}}
    )
    step = StorageStep(Mode.CHARGE, 30_000, 30_000, 0.6, Reason("night"))
    free = replace(context(site, view), storage_steps={battery.id: step})
    assert decide(free, battery, RULES).value == pytest.approx(40_000 * 0.97 - 18_000)
    paid = replace(free, peak_w=22_000.0)
    assert decide(paid, battery, RULES).value == pytest.approx(4_000)
    assert decide(replace(free, peak_w=19_500.0), boiler, RULES).value == pytest.approx(1_500)
    beyond = decide(replace(free, peak_w=15_000.0), battery, RULES)
    assert beyond.value == 0.0, "no charging, but no forced discharge either"


def test_a_planned_island_is_prepared_for_with_a_reserve() -> None:
    works = '\n[[island]]\nfrom = "2026-06-03T22:10:00+02:00"\nuntil = "2026-06-04T01:00:00+02:00"\n'
    problem = question(village(more=works), {"battery-1": {"soc": 0.3, "W": 0.0}})
    first, last = clock(problem, "22:00"), clock(problem, "01:00")
    assert [slot for slot, there in enumerate(problem.grid.available) if not there] == list(range(first, last))
    assert problem.reserve is not None
    assert problem.reserve.spinning_kw[first] == pytest.approx(0.2 * problem.load_kw[first])
    plan = planned(problem)
    assert all(kw == 0.0 for kw in plan.grid_kw[first:last])
    assert plan.soc_kwh[AssetId("battery-1")][first - 1] > 0.3 * 120 + 10  # filled before the line goes


# -- tiers -----------------------------------------------------------------------------------------------------------


def test_the_cheaper_tier_is_shed_first_and_no_lifeline_ever() -> None:
    now, works = EVENING, '\n[[island]]\nfrom = "2026-06-03T18:00:00+02:00"\nuntil = "2026-06-03T22:00:00+02:00"\n'
    empty = {"battery-1": {"soc": 0.3, "W": 0.0}, "genset-1": {"fuel": 0.0}}
    empty = {**empty, **{f"pv-{n}": {"W": 0.0} for n in ("02", "03", "04", "06", "07", "10", "11")}}
    problem = question(village(more=works), empty, now)
    west, east = problem.shed_tiers
    assert (west.name, west.price, east.price) == ("west-row", 1.2, 1.3)
    plan = planned(problem)
    cheap, dear = plan.shed_by_tier_kw["west-row"], plan.shed_by_tier_kw["east-row"]
    assert any(kw > 1.0 for kw in dear)
    assert any(kw == 0.0 for kw in dear[:16])
    assert all(one == pytest.approx(most, abs=0.01) for one, most, kw in zip(cheap, west.kw, dear, strict=True) if kw)
    rest = [load - kept for load, kept in zip(problem.load_kw, problem.critical_kw, strict=True)]
    assert all(kw <= left + 1e-6 for kw, left in zip(plan.shed_kw, rest, strict=True))


# -- gensets ---------------------------------------------------------------------------------------------------------


def test_a_gensets_ramp_and_fuel_are_read() -> None:
    site = village(("min_down_ms = 1800000", "min_down_ms = 1800000, ramp_w_per_min = 500, kwh_per_l = 3.5"))
    running = {"genset-1": {"W": -12_000.0, "running": 1.0, "fuel": 0.5}}
    genset = question(site, running).gensets[0]
    assert (genset.ramp_kw, genset.power_now_kw, genset.fuel_kwh) == (7.5, 12.0, 700.0)
    plain = question(village(), running).gensets[0]
    assert (plain.ramp_kw, plain.fuel_kwh) == (None, None)


# -- thermal stores --------------------------------------------------------------------------------------------------

COLD_ROOM = """
[[device]]
id = "cold-1"
kind = "thermal"
driver = "profile:heat_store"
gateway = "gw-1"
endpoint = "127.0.0.1:5020"
unit = 120
use = "cold"
ratings = { power_w_max = 1500, wh_per_k = 900, loss_w_per_k = 40, low_c = 1, high_c = 6, ambient_c = 26, cop = 2.5 }
"""


def test_a_boiler_is_heated_at_noon_when_the_sun_is_more_than_is_used() -> None:
    problem = question(village(), {"battery-1": {"soc": 0.9}, "boiler-1": {"celsius": 60.0}})
    (boiler,) = problem.thermal
    assert boiler.level_now_kwh == pytest.approx((60 - 18) * 0.348)
    assert (boiler.low_kwh, boiler.high_kwh) == pytest.approx((24 * 0.348, 50 * 0.348))
    assert boiler.demand_kwh[clock(problem, "06:30")] == 3.0
    late, early = clock(problem, "16:00"), clock(problem, "10:00")
    sun = tuple(60.0 if early <= slot < late else 0.0 for slot in range(problem.slots))
    steps = planned(replace(problem, pv_kw=sun, feeders=(), network=None, scenarios=())).units[AssetId("boiler-1")]
    power = [step.power_w for step in steps]
    assert sum(power[early:late]) > 20_000  # more than two hours at 3 kW
    assert sum(power[early:late]) > 0.9 * sum(power[clock(problem, "06:30") :])
    assert sum(power[: clock(problem, "22:00")]) == 0  # nothing at the evening's price


def test_a_cold_room_fills_downwards_in_plan_and_rules() -> None:
    site = village(more=COLD_ROOM)
    problem = question(site, {"cold-1": {"W": 0.0, "celsius": 5.0}})
    cold = next(store for store in problem.thermal if store.id == "cold-1")
    assert cold.level_now_kwh == pytest.approx(21 * 0.9)
    assert (cold.low_kwh, cold.high_kwh) == pytest.approx((20 * 0.9, 25 * 0.9))
    assert "comfort:cold-1" not in planned(problem).violations
    device = site.device("cold-1")
    assert device is not None

    def wish(celsius: float | None) -> tuple[float, str]:
        found = decide(context(site, snapshot(site, {"cold-1": {"W": 0.0, "celsius": celsius}})), device, RULES)
        return found.value, found.reason

    assert wish(5.5)[0] == 1_500.0
    assert wish(3.0)[0] == 0.0  # between the thermostat's ends
    assert wish(0.9) == (0.0, "interlock: the store is full (1 deg C)")
    assert wish(None) == (0.0, "interlock: the temperature is not known")


def test_a_plan_moves_the_boiler_and_the_shadow_plays_it() -> None:
    problem = question(village(), {"boiler-1": {"celsius": 45.0}})
    plan = planned(problem)
    played = play(problem, steps_of(plan))
    boiler = AssetId("boiler-1")
    at_end = plan.heat_kwh[boiler][-1]
    assert played.heat_kwh[boiler] == pytest.approx(at_end, abs=0.1)
    assert played.cost <= play_rules(problem).cost + 0.05


# -- wrong input -----------------------------------------------------------------------------------------------------

WRONG = """
[[island]]
from = "2026-06-03T22:00:00+02:00"
until = "2026-06-03T21:00:00+02:00"
[[feeder]]
id = "north"
devices = ["home-1", "tank-1", "pv-02", "home-03", "home-03"]
import_limit_w = 5000
export_limit_w = 5000
[[shed_tier]]
id = "all"
usage_points = ["clinic", "home-01", "hme-02"]
price = 1.0
"""


def test_every_wrong_energy_key_is_told_at_once_with_its_line_and_most_are_mended() -> None:
    text = VILLAGE.read_text().replace('returns = "16:30", energy_wh = 14000', 'returns = "07:30", energy_wh = 50000')
    text = text.replace("low_c = 42", "low_c = 72") + WRONG
    with pytest.raises(SiteProblems) as caught:
        load(text, "site.toml")
    found = {(problem.code, problem.where.split(".")[0]) for problem in caught.value.problems}
    assert {code for code, _ in found} == {f"SITE-{n}" for n in (140, 141, 142, 143, 144, 145, 146, 147, 148, 155)}
    lines = text.splitlines()
    for problem in caught.value.problems:
        seen = problem.seen.split(",")[0]
        assert seen in lines[problem.line - 1], problem
    with pytest.raises(SiteProblems) as left:
        load(repaired(text, caught.value.problems), "site.toml")
    assert len(left.value.problems) < len(caught.value.problems) / 2
