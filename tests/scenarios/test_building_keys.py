"""Construction and repair in a site file: the hub's plan keeps machine hours, shifts and what comes after what."""

from __future__ import annotations

from controller.civil import local_time
from devices.clock import HOUR_MS, Instant
from optimizer.problem import AssetId
from tests.controller.planned import Place, site_of

BUILD = """
[[machine]]
id = "digger-1"
kind = "digger"
hours = ["11:00", "15:00"]

[[crew]]
id = "diggers"
skills = ["dig"]
shift = ["08:00", "16:00"]

[[crew]]
id = "fitters"
skills = ["fit"]
shift = ["10:00", "17:00"]

[[work]]
id = "trench"
kind = "construction"
machine = "digger"
skills = ["dig"]
duration_ms = 7200000
power_w = 0
skip_price = 90.0

[[work]]
id = "pipe"
kind = "repair"
skills = ["fit"]
duration_ms = 3600000
power_w = 500
after = ["trench"]
skip_price = 120.0

[[work]]
id = "wall"
kind = "construction"
machine = "digger"
skills = ["dig"]
duration_ms = 10800000
skip_price = 20.0
"""


def test_building_and_repair_keep_hours_shifts_and_order_in_the_hub_s_plan() -> None:
    place = Place.at(site_of(BUILD))
    plan = place.plan({})
    items = {item.key: item for item in place.hub.work.list(place.now)}
    trench, pipe = items["trench.20260603"], items["pipe.20260603"]
    opens, closes = (local_time("Europe/Berlin", at) for at in (trench.starts, trench.ends))
    assert (opens.hour, closes.hour * 60 + closes.minute <= 15 * 60) >= (11, True)
    assert (trench.machine, trench.crew, pipe.crew) == ("digger-1", "diggers", "fitters")
    assert pipe.starts >= trench.ends
    assert local_time("Europe/Berlin", Instant(pipe.ends - 1)).hour < 17
    steps = plan.units[AssetId(pipe.key)]
    assert sum(step.power_w for step in steps) == 4 * 500, "its power stands in the energy plan, four slots long"
    left = {one.key for one in place.hub.work.left_out}
    assert "wall.20260603" in left, "the digger has four hours: two for the trench leave no three for the wall"
    assert pipe.ends - pipe.starts == HOUR_MS
