"""The drinking reserve: a margin in the plan, a rule with hysteresis, an alarm with a deadband."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.conditions import Health, find
from controller.cycle import Context
from controller.plan_forecast import Forecast
from controller.plan_water import water_ask
from controller.rules import lifeline
from devices.model import DeviceId, DeviceKind
from optimizer.check import check
from optimizer.plan import Plan
from optimizer.problem import Problem, Scenario, Stop
from optimizer.solve import solve
from tests.controller.scene import NOW, snapshot, village
from tests.optimizer import problems

SITE = village()
RESERVE = SITE.water_reserve
TANK, PUMP = "tank-1", DeviceId("pump-1")
SCENE = snapshot(SITE)
VOLUME_KL = SITE.of_kind(DeviceKind.TANK)[0].ratings["volume_l"] / 1000


def raised(level: float, *standing: str) -> bool:
    health = Health(True, "", frozenset({"gw-1"}), NOW, False, 0, "", 0, {}, {}, standing=frozenset(standing))
    return f"reserve.{TANK}" in find(SITE, snapshot(SITE, {TANK: {"level": level}}), health)


def test_the_alarm_has_a_deadband_and_holds_until_the_reserve_is_back() -> None:
    assert not raised(RESERVE + 0.001)
    assert not raised(RESERVE - 0.01)  # the rule has started the pump: nobody is called
    assert raised(RESERVE - 0.021)
    assert raised(RESERVE - 0.01, f"reserve.{TANK}")
    assert not raised(RESERVE, f"reserve.{TANK}")


@pytest.mark.parametrize(("level", "running", "on"), [(-0.001, 0.0, True), (0.005, 1.0, True), (0.005, 0.0, False)])
def test_a_pump_that_starts_at_the_reserve_goes_on_a_little(level: float, running: float, on: bool) -> None:
    device = SITE.device(PUMP)
    assert device is not None
    scene = snapshot(SITE, {TANK: {"level": RESERVE + level}})
    narrowed = lifeline(Context(SITE, scene, island=False, others_w=0.0, previous={PUMP: running}), device)
    assert (narrowed is not None) == on


def dry_day(margin_kl: float) -> Problem:
    """A day whose cheap hour comes late: without a margin it pays to run the tank down to its reserve."""
    whole = problems.village()
    price = tuple(0.50 if slot < 60 else 0.05 for slot in range(whole.slots))
    water = replace(
        whole.water[0],
        level_now_kl=17.0,
        reserve_kl=10.0,
        start_price=0.0,
        margin_kl=(margin_kl,) * whole.slots,
        margin_price=1.0,
    )
    return replace(
        whole, grid=replace(whole.grid, import_price=price), water=(water,), jobs=(), pv_kw=(0.0,) * whole.slots
    )


def lowest(margin_kl: float) -> float:
    problem = dry_day(margin_kl)
    plan = solve(problem, Stop(None), 0)
    assert isinstance(plan, Plan)
    assert check(problem, plan) == []
    return min(plan.tank_kl[problem.water[0].tank_id])


def test_the_plan_stays_above_the_reserve_by_its_margin() -> None:
    assert lowest(0.0) < 11.4  # a slot of the pump at most: it is worth waiting for the cheap hours
    assert lowest(2.0) > 11.9  # soft: at its price a few litres below it are cheaper than a pump slot more


def with_futures(demand_kl: float, *more_kl: float) -> Forecast:
    """Returns a forecast with futures in each of which slot 40 draws so much more."""
    flat = (demand_kl,) * 96
    futures = [Scenario(flat, flat, tuple(demand_kl + more * (slot == 40) for slot in range(96))) for more in more_kl]
    return Forecast(NOW, NOW, flat, flat, flat, flat, futures=tuple(futures))


def margin(outlook: Forecast) -> tuple[float, ...]:
    return water_ask(SITE, SCENE, outlook, {}).systems[0].margin_kl


def test_the_margin_is_what_the_thirstiest_future_draws_in_the_next_hour() -> None:
    found = margin(with_futures(0.1, 0.0, 0.2, 0.3, -0.1))
    assert [slot for slot, kl in enumerate(found) if kl > 0] == [36, 37, 38, 39]
    assert found[36:40] == pytest.approx([0.3] * 4)
    assert set(margin(with_futures(0.1, 0.3))) == {0.2}, "one future tells nothing: half of the thirstiest hour"
    huge = margin(with_futures(0.1, *[9e3] * 4))
    assert max(huge) == pytest.approx(0.25 * (SITE.water_high - RESERVE) * VOLUME_KL), "a quarter of the room at most"
