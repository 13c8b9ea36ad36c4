"""The Charter page for everybody, with ballots as files and QR codes; who is signed in hands signed ones in."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, cast

import segno
from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, Response
from starlette.concurrency import run_in_threadpool

from controller.commands import Actor, MoneyRequest
from controller.community_values import CharterPage
from controller.console import forms
from controller.console.actions import answer_page, ask, texts
from controller.console.desk import NotFound, Operator, Reader, desk_of
from controller.console.pages import fresh_id, strip
from controller.ledger.canonical import Json, encode

router = APIRouter(include_in_schema=False)
NOTHING: Mapping[str, str] = {}
Number = Annotated[int, Path(ge=1, le=1_000_000)]


@router.get("/charter")
def show_charter(request: Request, actor: Reader) -> HTMLResponse:
    """By which rules are we billed, and what is being decided?"""
    return _page(request, actor, desk_of(request).source.charter())


@router.get("/charter/vote/{number}/ballot-{choice}.json")
def show_ballot(request: Request, _: Reader, number: Number, choice: Literal["yes", "no"]) -> Response:
    """Returns the ballot that a voter signs with a key of its own."""
    paper = desk_of(request).source.ballot(number, choice)
    if paper is None:
        raise NotFound(f"There is no open vote {number}.")
    return _file(json.dumps(paper, indent=2) + "\n", f"ballot-{number}-{choice}.json")


@router.get("/charter/vote/{number}/ballot-{choice}.svg")
def show_ballot_code(request: Request, _: Reader, number: Number, choice: Literal["yes", "no"]) -> Response:
    """Returns the same ballot as a QR code: its canonical JSON, for a phone that is on no network."""
    paper = desk_of(request).source.ballot(number, choice)
    if paper is None:
        raise NotFound(f"There is no open vote {number}.")
    picture = io.BytesIO()
    code = segno.make(encode(cast("Json", paper)).decode(), error="m", micro=False)
    code.save(picture, kind="svg", scale=4, border=4, light="#fff")
    return Response(picture.getvalue(), media_type="image/svg+xml", headers={"Cache-Control": "private, max-age=3600"})


@router.post("/charter/vote/{number}/cast")
async def cast_ballot(request: Request, actor: Operator, number: Number) -> HTMLResponse:
    """Hands in a ballot that its voter has signed: whose it is, says the signature."""
    form = texts(await request.form(max_files=0, max_fields=10))
    problems = forms.id_problems(form)
    paper = signed_paper(form.get("paper", ""))
    if paper is None:
        problems.append(forms.Problem("paper", "Ballot: paste all of the file that `atoll key sign` wrote."))
    if problems:
        page = await run_in_threadpool(desk_of(request).source.charter)
        return _page(request, actor, page, {"vote": str(number), "paper": form.get("paper", "")}, problems)
    asked = MoneyRequest(form["id"], actor, {"do": "vote-cast", "vote": number, "paper": paper})
    return answer_page(request, actor, await ask(request, asked), [], "/charter")


@router.get("/charter/vote/{number}/recount.json")
def show_recount(request: Request, _: Reader, number: Number) -> Response:
    """Returns the file that `verifier/atoll_recount.py` judges."""
    found = desk_of(request).source.vote_file(number)
    if found is None:
        raise NotFound(f"Vote {number} is not counted yet, or its result is not signed yet. Try again in a minute.")
    return _file(found, f"vote-{number}.json")


def signed_paper(text: str) -> Mapping[str, object] | None:
    """Returns the signed document that somebody pasted, None where it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, object]", found) if isinstance(found, dict) else None


def _page(
    request: Request, actor: Actor, page: CharterPage, typed: Mapping[str, str] = NOTHING,
    problems: Sequence[forms.Problem] = (),
) -> HTMLResponse:  # fmt: skip
    desk = desk_of(request)
    values: dict[str, object] = {
        "page": page,
        "typed": {"vote": "", "paper": ""} | dict(typed),
        "fresh_id": lambda: fresh_id(desk),
        "problems": {problem.field: problem.text for problem in problems},
    }
    return desk.page(request, "charter.html", values | strip(desk.source.now()), actor, 422 if problems else 200)


def _file(content: str | bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(content, media_type="application/json", headers=headers)
