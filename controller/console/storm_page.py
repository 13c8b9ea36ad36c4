"""The Storm page and its two forms: how long do the lifelines last, what is not ready, who gets what?"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from controller.commands import Actor, CancelStorm, DeclareStorm
from controller.console import draw_storm, forms, words
from controller.console.actions import answer_page, ask, texts
from controller.console.desk import Operator, Reader, desk_of
from controller.console.pages import fresh_id, strip
from controller.storm_values import StormView
from controller.views import NowView
from devices.clock import Instant

router = APIRouter(include_in_schema=False)


@router.get("/storm")
def show_storm(request: Request, actor: Reader) -> HTMLResponse:
    """How long do the lifelines last, what is not ready, and who gets what?"""
    return _page(request, actor, {}, ())


@router.post("/storm/declare")
async def declare(request: Request, actor: Operator) -> HTMLResponse:
    """Declares a storm."""
    form = texts(await request.form(max_files=0, max_fields=10))
    parsed = declaration(form, actor, desk_of(request).source.now())
    if isinstance(parsed, tuple):
        return _page(request, actor, form, parsed, 422)
    return answer_page(request, actor, await ask(request, parsed), [], "/storm")


@router.post("/storm/cancel")
async def cancel(request: Request, actor: Operator) -> HTMLResponse:
    """Takes the declaration back."""
    form = texts(await request.form(max_files=0, max_fields=10))
    problems = [*forms.id_problems(form), *forms.text_problems(form, "reason", needed=True)]
    if problems:
        return answer_page(request, actor, None, [problem.text for problem in problems], "/storm")
    command = CancelStorm(form["id"], actor, form["reason"].strip())
    return answer_page(request, actor, await ask(request, command), [], "/storm")


def declaration(form: Mapping[str, str], actor: Actor, now: NowView) -> DeclareStorm | tuple[forms.Problem, ...]:
    """Returns the command, or everything that is wrong with the form."""
    tz = words.zone(now.timezone)
    problems = [*forms.id_problems(form), *forms.text_problems(form, "reason", needed=True)]
    found: list[Instant] = []
    for name, label in (("from", "Begins"), ("until", "Over")):
        at, wrong = forms.local_moment(form.get(name, ""), tz)
        if at is None:
            problems.append(forms.Problem(name, f"{label}: {wrong}."))
        else:
            found.append(at)
    if problems or len(found) < 2:
        return tuple(problems)
    return DeclareStorm(form["id"], actor, found[0], found[1], form["reason"].strip())


def _page(
    request: Request, actor: Actor, form: Mapping[str, str], problems: tuple[forms.Problem, ...], status: int = 200
) -> HTMLResponse:
    desk = desk_of(request)
    view = desk.source.storm()
    values: dict[str, object] = {
        "headline": headline(view),
        "drawing": draw_storm,
        "fields": {"id": fresh_id(desk), "from": "", "until": "", "reason": ""} | dict(form),
        "problems": {problem.field: problem.text for problem in problems},
    }
    values |= draw_storm.values(view, open_table=True) | strip(desk.source.now())
    return desk.page(request, "storm.html", values, actor, status)


def headline(view: StormView) -> str:
    """Returns the page's one sentence."""
    point = next((point for point in view.curve if point.hours >= view.needed_h), None)
    if not view.causes:
        if point is None:
            return "No emergency: plans are made for money"
        return f"No emergency; without the outside every lifeline would last {view.needed_h:.0f} h with {point.all:.0%}"
    missing = sum(not item.ready for item in view.checklist)
    if view.phase == "ahead":
        return (
            f"A storm is coming: {missing} things will not be ready" if missing else "A storm is coming: all is ready"
        )
    if point is None:
        return "Emergency: how long the lifelines last is not known yet"
    return f"Emergency: every lifeline lasts {view.needed_h:.0f} h with {point.all:.0%}"
