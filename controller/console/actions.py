"""What people do: sign in, acknowledge, hold, release, and the live stream. Every POST answers in words."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from controller.commands import Actor, Command, CommandResult, Role
from controller.console import forms
from controller.console.auth import COOKIE, IDLE_S, Session
from controller.console.desk import Anybody, Operator, Reader, desk_of, is_fragment
from controller.console.live import Live, TooManyStreams
from controller.console.pages import ack_id, device_values, find_device, fresh_id, strip

router = APIRouter(include_in_schema=False)
NAME_LETTERS_MAX = 40


@router.get("/login")
def show_login(request: Request, actor: Anybody, next: str = "/") -> HTMLResponse:  # noqa: A002  # the field's name
    """The sign-in form."""
    return _login_page(request, actor, next)


@router.post("/login")
async def sign_in(request: Request, actor: Anybody) -> Response:
    """Opens an operator session when the code is right."""
    desk = desk_of(request)
    form = texts(await request.form(max_files=0, max_fields=10))
    address, now_s = client_of(request), desk.config.clock_s()
    wait_s = desk.gate.wait_s(address, now_s)
    onward = form.get("next", "/")
    if wait_s > 0:
        return _login_page(request, actor, onward, f"Too many wrong codes: wait {wait_s:.0f} s.", 429)
    if not await run_in_threadpool(desk.config.sessions.verify, form.get("code", "")[:100]):
        desk.gate.failed(address, now_s)
        return _login_page(request, actor, onward, "That is not the code.", 403)
    desk.gate.succeeded(address)
    name = " ".join(form.get("name", "").split())
    if not name.isprintable() or not 0 < len(name) <= NAME_LETTERS_MAX:
        name = "operator"
    token = desk.config.sessions.open(Session(name, Role.OPERATOR), now_s)
    answer = RedirectResponse(local_path(onward), 303)
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, token, max_age=IDLE_S, httponly=True, samesite="lax", secure=secure, path="/")
    return answer


@router.post("/logout")
def sign_out(request: Request, _: Reader) -> Response:
    """Closes the session."""
    desk_of(request).config.sessions.close(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE, path="/")
    return answer


@router.post("/alarms/acknowledge")
async def acknowledge(request: Request, actor: Operator) -> HTMLResponse:
    """Acknowledges one alarm."""
    desk = desk_of(request)
    form = texts(await request.form(max_files=0, max_fields=10))
    parsed = forms.acknowledge(form, actor, desk.source.now())
    if isinstance(parsed, tuple):
        return answer_page(request, actor, None, [problem.text for problem in parsed], "/")
    return answer_page(request, actor, await ask(request, parsed), [], "/")


@router.post("/devices/{device}/hold")
async def hold(request: Request, actor: Operator, device: str) -> HTMLResponse:
    """Holds a device at a value for some minutes."""
    desk = desk_of(request)
    form = texts(await request.form(max_files=0, max_fields=10))
    now = desk.source.now()
    found = find_device(now, device)
    parsed = forms.hold(form, actor, now, device, desk.config.hold_minutes_max)
    if isinstance(parsed, tuple):
        values = device_values(desk, found, now, form, parsed)
        name = "parts/hold.html" if is_fragment(request) else "device.html"
        return desk.page(request, name, values | strip(now), actor, 422)
    return answer_page(request, actor, await ask(request, parsed), [], f"/devices/{device}")


@router.post("/devices/{device}/release")
async def release(request: Request, actor: Operator, device: str) -> HTMLResponse:
    """Ends a hold before its time."""
    desk = desk_of(request)
    form = texts(await request.form(max_files=0, max_fields=10))
    now = desk.source.now()
    find_device(now, device)
    parsed = forms.release(form, actor, now, device)
    if isinstance(parsed, tuple):
        return answer_page(request, actor, None, [problem.text for problem in parsed], f"/devices/{device}")
    return answer_page(request, actor, await ask(request, parsed), [], f"/devices/{device}")


@router.post("/devices/{device}/select")
async def select(request: Request, actor: Operator, device: str) -> HTMLResponse:
    """The first of two steps: reserves the device and shows what would happen."""
    return await _step(request, actor, device, "select")


@router.post("/devices/{device}/operate")
async def operate(request: Request, actor: Operator, device: str) -> HTMLResponse:
    """The second of two steps: does what was selected."""
    return await _step(request, actor, device, "operate")


async def _step(request: Request, actor: Actor, device: str, step: str) -> HTMLResponse:
    desk = desk_of(request)
    form = texts(await request.form(max_files=0, max_fields=10))
    now = desk.source.now()
    found = find_device(now, device)
    parsed = forms.operate(form, actor, now, device, step)
    if isinstance(parsed, tuple):
        return answer_page(request, actor, None, [problem.text for problem in parsed], f"/devices/{device}")
    result = await ask(request, parsed)
    if step == "operate" or not result.accepted:
        return answer_page(request, actor, result, [], f"/devices/{device}")
    values = device_values(desk, found, now, {**form, "id": fresh_id(desk), "selection": form["id"]})
    verb = next(verb for value, verb in found.choices if value == parsed.value)  # type: ignore[union-attr]
    values |= {"message": result.message, "verb": verb, "back": f"/devices/{device}"}
    name = "parts/selected.html" if is_fragment(request) else "selected.html"
    return desk.page(request, name, values | strip(now), actor)


@router.get("/live")
async def live(request: Request, actor: Reader) -> Response:
    """The live stream of changed regions."""
    stream: Live = request.app.state.live
    client = client_of(request)
    try:
        stream.admit(client)
    except TooManyStreams as full:
        return Response(str(full), 503, headers={"Retry-After": "15"}, media_type="text/plain")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        stream.stream(actor.role, client, request.is_disconnected), media_type="text/event-stream", headers=headers
    )


def client_of(request: Request) -> str:
    """Returns the peer's address."""
    return request.client.host if request.client else "unknown"


def local_path(path: str) -> str:
    """Returns a path of this console, `/` for anything that could lead elsewhere."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if safe else "/"


async def ask(request: Request, command: Command) -> CommandResult:
    """Returns the hub's answer to a command."""
    return await run_in_threadpool(desk_of(request).source.command, command)


def answer_page(
    request: Request, actor: Actor, result: CommandResult | None, problems: list[str], back: str
) -> HTMLResponse:
    """Returns the page (or fragment) that says what became of a command."""
    desk = desk_of(request)
    accepted = result is not None and result.accepted
    values: dict[str, object] = {
        "accepted": accepted,
        "message": result.message if result else "",
        "code": result.code if result else "invalid",
        "result_problems": problems,
        "back": back,
    } | strip(desk.source.now())
    name = "parts/result.html" if is_fragment(request) else "result.html"
    return desk.page(request, name, values, actor, 200 if accepted else 409 if result else 422)


def _login_page(request: Request, actor: Actor, onward: str, problem: str = "", status: int = 200) -> HTMLResponse:
    desk = desk_of(request)
    values: dict[str, object] = {
        "onward": local_path(onward),
        "problem": problem,
        "open_alarms": (),
        "ack_id": ack_id,
    }
    return desk.page(request, "login.html", values, actor, status)


def texts(form: FormData) -> Mapping[str, str]:
    """Returns a form's text fields."""
    return {name: value for name, value in form.items() if isinstance(value, str)}
