"""The objective of an emergency: stores full before a storm, lifelines before comfort before money, valid plans."""

from __future__ import annotations

from dataclasses import replace

from optimizer.autonomy import Outage, for_autonomy
from optimizer.check import check
from optimizer.plan import Plan
from optimizer.problem import Problem, Stop
from optimizer.solve import solve
from optimizer.survival import RATIONS
from optimizer.validation import validate
from tests.optimizer.problems import village

NONE, MACHINES, _, LIFELINES = RATIONS
STOP = Stop(seconds=None, nodes=200)


def plan_of(problem: Problem) -> Plan:
    assert validate(problem) == []
    plan = solve(problem, STOP, 1)
    assert isinstance(plan, Plan), plan
    assert check(problem, plan) == []
    return plan


def test_before_a_storm_battery_and_tank_are_full_when_it_comes_and_were_not_otherwise() -> None:
    usual = village(cloud=0.2, soc_kwh=30.0)
    storm = for_autonomy(usual, NONE, Outage(80, 96))
    full, money = plan_of(storm), plan_of(usual)
    battery, tank = usual.batteries[0], usual.water[0]
    assert full.soc_kwh[battery.id][79] >= battery.soc_max_kwh - 0.5
    assert money.soc_kwh[battery.id][79] < battery.soc_max_kwh - 5.0
    assert full.tank_kl[tank.tank_id][79] >= tank.high_kl - tank.pump_flow_kl_per_h / 4
    assert sum(full.grid_kw[80:]) == 0.0, "nothing is counted on from outside in the storm"


def test_a_ration_leaves_out_what_it_does_not_grant_and_keeps_the_energy() -> None:
    island = village(island=True, cloud=0.1, soc_kwh=80.0)
    out = Outage(0, 96)
    free, held = plan_of(for_autonomy(island, NONE, out)), plan_of(for_autonomy(island, LIFELINES, out))
    battery = island.batteries[0]
    assert sum(held.shed_kw) > sum(free.shed_kw) + 100
    assert held.soc_kwh[battery.id][-1] > free.soc_kwh[battery.id][-1] + 5.0
    assert "ration-lifelines" in held.shed_by_tier_kw


def test_vehicles_charge_before_a_storm_jobs_move_beside_it_or_fall_away() -> None:
    usual = village()
    before = for_autonomy(usual, NONE, Outage(80, 96))
    assert before.chargers[0].until_slot == 80
    assert for_autonomy(usual, NONE, Outage(10, 90)).chargers == ()
    moved = for_autonomy(usual, NONE, Outage(40, 60)).jobs
    assert {job.id: job.latest_slot for job in moved} == {"irrigation": 34, "parcel": 38}
    later = for_autonomy(usual, NONE, Outage(20, 50)).jobs
    assert {job.earliest_slot for job in later} == {50}
    assert for_autonomy(usual, NONE, Outage(20, 96)).jobs == ()
    assert for_autonomy(usual, MACHINES, None).chargers == (), "on an island the ration says so"


def test_without_an_outage_only_the_worth_of_stores_changes() -> None:
    usual = village()
    same = for_autonomy(usual, NONE, None)
    assert (same.grid, same.load_kw, same.critical_kw, same.jobs) == (
        usual.grid,
        usual.load_kw,
        usual.critical_kw,
        usual.jobs,
    )
    kept = replace(same.batteries[0], terminal_value=usual.batteries[0].terminal_value)
    assert kept == usual.batteries[0]
    assert same.batteries[0].terminal_value > max(usual.grid.import_price), (
        "a kWh kept is worth more than any tariff asks"
    )
    assert same.batteries[0].terminal_value < usual.shed_price, "and less than serving somebody"
