"""The Money page and its forms: what have we got, who is behind, and what waits for whom?

Who agrees is who is signed in: a second person signs in under a name of its own. A name is worth what the console's
code is worth; an officer with a key signs each approval and each close, and no other browser can do that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, Response
from starlette.concurrency import run_in_threadpool

from controller.commands import Actor, MoneyRequest
from controller.community_values import MoneyPage, ProposalLine
from controller.console import forms
from controller.console.actions import answer_page, ask, texts
from controller.console.charter_page import signed_paper
from controller.console.desk import NotFound, Operator, desk_of
from controller.console.pages import fresh_id, strip
from controller.ledger.quorum import signed_by
from controller.money.closing import ClosingRefused, period_end

router = APIRouter(include_in_schema=False)
Number = Annotated[int, Path(ge=1, le=1_000_000)]
BACK = "/money"
NOTHING: Mapping[str, str] = {}


@router.get("/money")
def show_money(request: Request, actor: Operator) -> HTMLResponse:
    """What have we got, who is behind, and what waits for whom?"""
    return _page(request, actor, desk_of(request).source.money())


@router.get("/money/proposal/{number}.json")
def show_paper(request: Request, _: Operator, number: Number) -> Response:
    """Returns what an officer with a key signs to agree to a proposal."""
    found = _open(desk_of(request).source.money(), number)
    if found is None:
        raise NotFound(f"There is no open proposal {number}.")
    return _file({"leaf": found.leaf}, f"proposal-{number}.json")


@router.get("/money/close")
def show_close_paper(request: Request, _: Operator, period: str = "") -> Response:
    """Returns what an officer with a key signs to close a period: its end and the trial balance."""
    found = desk_of(request).source.close_paper(period)
    if found is None:
        raise NotFound(f"{period[:40]!r} is no period: write 2026, 2026-06 or 2026-06-30.")
    return _file(found, f"close-{period}.json")


@router.post("/money/approve")
async def approve(request: Request, actor: Operator) -> HTMLResponse:
    """Agrees to a proposal as who is signed in."""
    return await _give(request, actor, approval)


@router.post("/money/withdraw")
async def withdraw(request: Request, actor: Operator) -> HTMLResponse:
    """Takes a proposal back."""
    return await _give(request, actor, withdrawal)


@router.post("/money/step")
async def step_done(request: Request, actor: Operator) -> HTMLResponse:
    """Notes what people have done about a member's arrears."""
    return await _give(request, actor, done)


@router.post("/money/close")
async def close(request: Request, actor: Operator) -> HTMLResponse:
    """Asks to close a period, or agrees to what somebody else has asked."""
    return await _give(request, actor, closing)


Parsed = Mapping[str, object] | tuple[forms.Problem, ...]


def approval(form: Mapping[str, str], name: str, page: MoneyPage) -> Parsed:
    """Returns the request, or everything that is wrong with the form."""
    problems, found = [*forms.id_problems(form)], _open(page, _number(form))
    if found is None:
        problems.append(forms.Problem("proposal", _gone(form)))
        return tuple(problems)
    if name not in found.waiting:
        why = "you have agreed already" if name in found.approved else f"these may: {', '.join(found.waiting)}"
        problems.append(forms.Problem("as", f"You are signed in as {name}; {why}. A second person signs in first."))
        return tuple(problems)
    request: dict[str, object] = {"do": "approve", "proposal": found.number, "as": name}
    if key := found.waiting[name]:
        signature = _signature(form.get("signature", ""), key, found.leaf)
        if isinstance(signature, forms.Problem):
            problems.append(signature)
        else:
            request["signature"] = signature
    return tuple(problems) or request


def withdrawal(form: Mapping[str, str], name: str, page: MoneyPage) -> Parsed:
    """Returns the request, or everything that is wrong with the form."""
    problems = [*forms.id_problems(form), *forms.text_problems(form, "reason", needed=True)]
    if (found := _open(page, _number(form))) is None:
        problems.append(forms.Problem("proposal", _gone(form)))
    if problems or found is None:
        return tuple(problems)
    return {"do": "withdraw", "proposal": found.number, "as": name, "reason": form["reason"].strip()}


def done(form: Mapping[str, str], _: str, page: MoneyPage) -> Parsed:
    """Returns the request, or everything that is wrong with the form."""
    member = form.get("member", "")
    problems = [*forms.id_problems(form), *forms.text_problems(form, "note", needed=True)]
    if member not in {one.id for one in page.members if one.step and not one.done}:
        problems.append(forms.Problem("member", f"Nothing waits to be done about {member!r} any more: see the list."))
    return tuple(problems) or {"do": "step-done", "member": member, "note": form["note"].strip()}


def closing(form: Mapping[str, str], name: str, page: MoneyPage) -> Parsed:
    """Returns the request, or everything that is wrong with the form."""
    problems, period = [*forms.id_problems(form)], form.get("period", "").strip()
    try:
        period_end(period, "UTC")
    except ClosingRefused as error:
        problems.append(forms.Problem("period", f"Period: {error}."))
    if name not in page.officers:
        may = ", ".join(page.officers) or "nobody"
        problems.append(forms.Problem("as", f"You are signed in as {name}; these may close a period: {may}."))
    request: dict[str, object] = {"do": "close", "period": period, "as": name}
    if name in page.keys:  # whether it signs today's trial balance the hub says
        signature = _pasted(form.get("signature", ""))
        if isinstance(signature, forms.Problem):
            problems.append(signature)
        else:
            request["signature"] = signature
    return tuple(problems) or request


async def _give(
    request: Request, actor: Actor, parse: Callable[[Mapping[str, str], str, MoneyPage], Parsed]
) -> HTMLResponse:
    form = texts(await request.form(max_files=0, max_fields=10))
    page = await run_in_threadpool(desk_of(request).source.money)
    parsed = parse(form, actor.name, page)
    if isinstance(parsed, tuple):
        return _page(request, actor, page, form, parsed)
    return answer_page(request, actor, await ask(request, MoneyRequest(form["id"], actor, parsed)), [], BACK)


def _page(
    request: Request, actor: Actor, page: MoneyPage, typed: Mapping[str, str] = NOTHING,
    problems: tuple[forms.Problem, ...] = (),
) -> HTMLResponse:  # fmt: skip
    desk = desk_of(request)
    values: dict[str, object] = {
        "page": page,
        "typed": {"proposal": "", "signature": "", "reason": "", "period": "", "member": "", "note": ""} | dict(typed),
        "fresh_id": lambda: fresh_id(desk),  # each form has a number of its own
        "problems": {problem.field: problem.text for problem in problems},
    }
    return desk.page(request, "money.html", values | strip(desk.source.now()), actor, 422 if problems else 200)


def _number(form: Mapping[str, str]) -> int:
    text = form.get("proposal", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0


def _open(page: MoneyPage, number: int) -> ProposalLine | None:
    return next((one for one in page.proposals if one.number == number and one.state == "open"), None)


def _gone(form: Mapping[str, str]) -> str:
    return f"Proposal {form.get('proposal', '')!r} is not open any more: see the list."


def _file(document: Mapping[str, object], name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(json.dumps(document) + "\n", media_type="application/json", headers=headers)


def _signature(text: str, key: str, leaf: str) -> str | forms.Problem:
    """Returns the signature in what somebody pasted, if it agrees to this proposal."""
    signature = _pasted(text)
    if isinstance(signature, forms.Problem) or signed_by(key, leaf, signature):
        return signature
    return forms.Problem("signature", f"Signature: it is not over this proposal with the key {key}.")


def _pasted(text: str) -> str | forms.Problem:
    """Returns the signature in what somebody pasted: the file that `atoll key sign` wrote, or its signature alone."""
    signature = text.strip()
    if signature.startswith("{"):
        paper = signed_paper(signature)
        if paper is None:
            return forms.Problem("signature", "Signature: the pasted file is not whole; paste all of it.")
        signature = str(paper.get("signature", ""))
    if not signature:
        return forms.Problem("signature", "Signature: you agree with your key; paste the file that you have signed.")
    return signature
