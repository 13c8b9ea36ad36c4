"""From the text of a site file to the plan that its hub follows: the example village with sections added or changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from controller import hub as core
from controller.hub_events import AskPlan
from controller.site import Site, load
from devices.clock import Instant
from devices.events import LinkUp, Tick
from devices.model import DeviceId
from optimizer.answer import Planned
from optimizer.check_whole import check_whole
from optimizer.deliveries import DeliveriesProblem
from optimizer.plan import Plan
from optimizer.problem import Problem, Stop
from optimizer.whole import solve_whole
from tests.controller.scene import CALM, NOW, VILLAGE, readings

STOP = Stop(None, 0.005, 500)
BUS = 'gateway = "gw-1"\nendpoint = "127.0.0.1:5020"\n'
"""What every device on the village's bus says; `unit` and the rest follow."""


def site_of(added: str = "", changed: Mapping[str, str] | None = None) -> Site:
    """Returns the example village with text replaced and sections added; every replaced text must be there.

    Its own work orders are left out (planning work takes seconds), and its field.
    """
    text = without(without(VILLAGE.read_text(), "[[work]]"), "[[field]]")
    for old, new in (changed or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    return load(f"{text}\n{added}", "site.toml")


def without(text: str, table: str) -> str:
    """Returns a site file without a table, however often it comes."""
    return re.sub(re.escape(table) + r"(?: *#.*)?\n(?:[^\[\n#].*\n)*", "", text)


@dataclass
class Place:
    """A hub of a site whose devices report what they are told to."""

    hub: core.Hub
    now: Instant
    problem: Problem | None = None

    @classmethod
    def at(cls, site: Site, now: Instant = NOW) -> Place:
        """Returns a hub that has just come up and is connected."""
        config = core.HubConfig(site, epoch=1, cycle_ms=1_000, period_ms=1_000, floor_ms=0, replan_ms=900_000)
        hub, _ = core.step(core.start(config, now), LinkUp(), now)
        hub.gateways.update(gateway.id for gateway in site.gateways)
        return cls(hub, now)

    def report(self, values: Mapping[str, Mapping[str, float | None]]) -> None:
        """Puts the calm morning's readings into the image, with others on top."""
        for device in {*CALM, *values}:
            points: dict[str, float | None] = {**CALM.get(device, {}), **values.get(device, {})}
            if self.hub.config.site.device(device) is not None:
                self.hub.image.update(readings(device, points, self.now), self.now)

    def tick(self, values: Mapping[str, Mapping[str, float | None]], passed_ms: int = 1_000) -> list[core.Effect]:
        """Lets one cycle pass with these readings."""
        self.now = Instant(self.now + passed_ms)
        self.report(values)
        self.hub, effects = core.step(self.hub, Tick(), self.now)
        return effects

    def plan(self, values: Mapping[str, Mapping[str, float | None]], passed_ms: int = 60_000) -> Plan:
        """Returns the checked plan that the hub asked for and now follows; work is planned first where it is due."""
        effects = self.tick(values, passed_ms)
        for _ in range(4):
            asks = [
                one for one in effects if isinstance(one, AskPlan) and not isinstance(one.problem, DeliveriesProblem)
            ]
            if not asks:
                break
            for ask in asks:
                assert isinstance(ask.problem, Problem)
                answer = solve_whole(ask.problem, STOP, 0)
                assert isinstance(answer, Plan), answer
                assert check_whole(ask.problem, answer) == []
                if ask.problem.work is None:
                    self.problem = ask.problem
                answered = core.PlanAnswered(ask.request, Planned(answer, 0.0, 0))
                self.hub, _ = core.step(self.hub, answered, self.now)
            effects = self.tick(values)
        plan = self.hub.planning.plan
        assert plan is not None, self.hub.planning.status
        return plan

    def planned(self) -> tuple[Problem, Plan]:
        """Returns the last question about energy and the plan that the hub follows."""
        plan, problem = self.hub.planning.plan, self.problem
        assert plan is not None
        assert problem is not None
        return problem, plan

    def setpoint(self, device: str) -> tuple[float, str]:
        """Returns what the hub decided for a device in its last cycle, and why."""
        decision = self.hub.decisions[DeviceId(device)]
        return decision.value, decision.reason
