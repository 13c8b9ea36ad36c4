"""The Storm page without a browser: the curve as picture and table, the checklist, rations, and its two forms."""

from __future__ import annotations

import re
from dataclasses import replace

from controller.commands import CancelStorm, DeclareStorm
from controller.console.draw_storm import survival
from controller.console.storm_page import headline
from controller.storm_values import CurvePoint
from devices.clock import parse_iso
from tests.controller.console.served import ORIGIN, client, operator
from tests.controller.console.test_pages import hidden
from tests.controller.console.village import Village, storm_view

FIELDS = {"from": "2026-06-03T18:00", "until": "2026-06-05T00:00", "reason": "cyclone Vaianu"}


def test_the_page_shows_curve_checklist_rations_and_restart() -> None:
    page = client(Village(4)).get("/storm").text
    for seen in (
        "A storm is coming: 1 things will not be ready",
        "tank-1 reaches 84% of 95%",
        '<path class="line s0 actual"',
        '<th scope="row">24 h</th><td class="num">70 %</td>',
        "the mildest that serves every lifeline",
        "mill-1 is not started",
        "Only an operator may declare a storm",
    ):
        assert seen in page, seen
    assert page.index("tank-1 reaches") < page.index("battery-1 is charged"), "what is not ready comes first"


def test_the_plan_page_has_curve_and_order_of_shedding_and_says_that_they_are_supposed() -> None:
    village = Village(4)
    village.storm_value = replace(village.storm_value, causes=(), storm=None, phase="none", supposed=True)
    for path in ("/plan", "/storm"):
        page = client(village).get(path).text
        for seen in (
            "If the outside were gone now",
            '<path class="line s0 actual"',
            "It would be ration <b>half</b>",
            "30 h with <b>97 %</b>, 44 h on the mean",
            "charger-1",
        ):
            assert seen in page, (path, seen)
    village.storm_value = replace(village.storm_value, curve=(), shortages=("food (cool) is likely short soon",))
    assert "▲ food (cool) is likely short soon" in client(village).get("/storm").text
    assert "is not known: a battery or tank does not report" in client(village).get("/plan").text
    assert 'id="survival"' not in client(village).get("/plan?known=2026-05-30T20:00").text


def test_the_curve_falls_in_steps_and_marks_the_hours_needed() -> None:
    points = tuple(CurvePoint(h, chance, chance, 1.0, 0.0) for h, chance in ((0, 1.0), (1, 1.0), (2, 0.5)))
    svg = str(survival(points, 1.0, '"<quoted>'))
    assert "M0 0H500V0H1000V500" in svg
    assert 'class="now" x1="50.00%"' in svg
    assert "<quoted>" not in svg
    assert str(survival((), 1.0, "")) == ""


def test_an_operator_declares_by_form_in_local_time_and_cancels() -> None:
    village = Village(4)
    one = operator(village)
    page = one.get("/storm").text
    answer = one.post("/storm/declare", data=hidden(page, "/storm/declare") | FIELDS, headers=ORIGIN)
    assert answer.status_code == 200
    (command,) = village.commands
    assert isinstance(command, DeclareStorm)
    assert (command.start, command.reason) == (parse_iso("2026-06-03T16:00:00Z"), "cyclone Vaianu")
    cancelled = hidden(page, "/storm/cancel") | {"id": hidden(one.get("/storm").text, "/storm/cancel")["id"]}
    assert one.post("/storm/cancel", data=cancelled | {"reason": "it passed"}, headers=ORIGIN).status_code == 200
    assert isinstance(village.commands[-1], CancelStorm)
    assert one.post("/storm/cancel", data=cancelled | {"reason": ""}, headers=ORIGIN).status_code == 422


def test_a_bad_form_names_every_problem_and_keeps_what_was_typed() -> None:
    one = operator(Village(4))
    fields = hidden(one.get("/storm").text, "/storm/declare") | {"from": "later", "until": "", "reason": "kept words"}
    answer = one.post("/storm/declare", data=fields, headers=ORIGIN)
    assert answer.status_code == 422
    assert len(re.findall("is no date and time", answer.text)) == 2
    assert 'value="kept words"' in answer.text


def test_the_headline_answers_the_page() -> None:
    view = storm_view()
    assert (
        headline(replace(view, causes=()))
        == "No emergency; without the outside every lifeline would last 30 h with 62%"
    )
    assert headline(replace(view, causes=(), curve=())) == "No emergency: plans are made for money"
    assert headline(replace(view, checklist=view.checklist[1:])) == "A storm is coming: all is ready"
    assert headline(replace(view, phase="during")) == "Emergency: every lifeline lasts 30 h with 62%"
    assert headline(replace(view, phase="none", curve=())) == "Emergency: how long the lifelines last is not known yet"
