"""The pages: each answers one question at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, Response

from controller.commands import Actor, Role, command_id
from controller.console import draw, draw_storm, forms, outlook, proof, words
from controller.console.desk import VIA, Anybody, Desk, NotFound, Reader, desk_of, is_fragment
from controller.console.device_day import device_day
from controller.views import DeviceView, NowView

router = APIRouter(include_in_schema=False)
ENTRIES_PER_PAGE = 25
SEQ_MAX = 2**53
REGIONS = ("frame", "strip", "headline", "flow", "stores", "next", "fleet", "alarms", "devices", "system")
"""Parts of pages that the live stream renews; element id `r-NAME`, template `parts/NAME.html`."""

Seq = Annotated[int, Path(ge=0, le=SEQ_MAX)]
Known = Annotated[str, Query(max_length=40)]
Before = Annotated[int | None, Query(ge=0, le=SEQ_MAX)]


def now_values(now: NowView) -> dict[str, object]:
    """Returns what the parts of the Now page need beside the frame."""
    sentence, abnormal = outlook.headline(now)
    sources, loads = draw.sides(now.flows)
    return {
        "headline": sentence,
        "abnormal": abnormal,
        "sources": sources,
        "loads": loads,
        "open_alarms": outlook.open_alarms(now.alarms),
        "sorted_alarms": outlook.sorted_alarms(now.alarms),
        "vehicles": outlook.vehicles(now),
        "direction": outlook.direction,
        "ack_id": ack_id,
    }


def ack_id(alarm: str, since: int) -> str:
    """Returns the command id of acknowledging this occurrence: the same for everybody, so a repeat is harmless."""
    return command_id(since, proof.bits("acknowledge", alarm, str(since)))


def regions(desk: Desk, role: Role) -> tuple[int, Mapping[str, str]]:
    """Returns (version, html by element id) for the live stream."""
    actor = Actor("live", role, VIA)
    now = desk.source.now()
    values = now_values(now) | {"now": now}
    return now.version, {f"r-{name}": desk.render(f"parts/{name}.html", values, actor) for name in REGIONS}


@router.get("/")
def show_now(request: Request, actor: Reader) -> HTMLResponse:
    """Is everything all right, and for how long?"""
    desk = desk_of(request)
    now = desk.source.now()
    return desk.page(request, "now.html", now_values(now) | {"now": now}, actor)


@router.get("/plan")
def show_plan(request: Request, actor: Reader, known: Known = "") -> HTMLResponse:
    """What will happen, and why? With `known`, what was believed at that local time, beside what came."""
    desk = desk_of(request)
    now = desk.source.now()
    tz = words.zone(now.timezone)
    asked, wrong = forms.local_moment(known, tz) if known else (None, "")
    plan = desk.source.plan(asked)
    bounds = tuple(draw.value_range([one for one in plan.series if one.unit == unit]) for unit in outlook.units(plan))
    start, end = (plan.times[0], plan.times[-1]) if plan.times else (plan.at, plan.at)
    values = {
        "plan": plan,
        "charts": outlook.charts(plan, bounds, tz),
        "ahead": outlook.ahead(plan.rows, plan.at, tz),
        "start": start,
        "end": end,
        "known": known,
        "wrong": wrong,
        "view": None,
        "modes": tuple(dict.fromkeys(block[3] for row in plan.rows for block in row.blocks)),
    }
    if plan.known is None:
        values |= {"drawing": draw_storm} | draw_storm.values(desk.source.storm(), open_table=False)
    return desk.page(request, "plan.html", values | strip(now), actor)


@router.get("/ledger")
def show_ledger(request: Request, actor: Reader, before: Before = None) -> HTMLResponse:
    """What has been booked, and how does each account stand?"""
    desk = desk_of(request)
    entries = desk.source.ledger_entries(before, ENTRIES_PER_PAGE)
    values = {
        "head": desk.source.ledger_head(),
        "entries": entries,
        "balances": desk.source.ledger_balances(),
        "before": before,
        "older": entries[-1].seq if entries and entries[-1].seq > 0 else None,
    }
    return desk.page(request, "ledger.html", values | strip(desk.source.now()), actor)


@router.get("/ledger/entry/{seq}")
def show_entry(request: Request, actor: Reader, seq: Seq) -> HTMLResponse:
    """Is this entry really in the ledger?"""
    desk = desk_of(request)
    found = desk.source.ledger_entry(seq)
    if found is None:
        raise NotFound(f"The ledger has no entry {seq}.")
    steps, root = proof.walk(found)
    values = {
        "proof": found,
        "leaf_hash": proof.leaf_hash(found.leaf),
        "steps": steps,
        "computed": root,
        "valid": root == found.root,
    }
    return desk.page(request, "entry.html", values | strip(desk.source.now()), actor)


@router.get("/home")
def show_homes(request: Request, actor: Reader) -> HTMLResponse:
    """How does each household stand today?"""
    desk = desk_of(request)
    return desk.page(request, "homes.html", {"homes": desk.source.homes()} | strip(desk.source.now()), actor)


@router.get("/home/{home}")
def show_home(request: Request, actor: Reader, home: str) -> HTMLResponse:
    """What did we use, what is left, and what will it cost?"""
    desk = desk_of(request)
    found = desk.source.home(home)
    if found is None:
        raise NotFound(f"There is no home {home!r} here.")
    return desk.page(request, "home.html", {"home": found} | strip(desk.source.now()), actor)


@router.get("/devices/{device}")
def show_device(request: Request, actor: Reader, device: str) -> HTMLResponse:
    """What does this device do, why, and can I hold it?"""
    desk = desk_of(request)
    now = desk.source.now()
    found = find_device(now, device)
    values = device_values(desk, found, now)
    name = "parts/hold.html" if is_fragment(request) else "device.html"
    return desk.page(request, name, values | strip(now), actor)


@router.get("/devices/{device}/day")
def show_device_day(request: Request, actor: Reader, device: str) -> HTMLResponse:
    """What did this device report in the last day, and what was it told?"""
    desk = desk_of(request)
    now = desk.source.now()
    found = find_device(now, device)
    values = {"device": found, "day": device_day(desk.source, found, now.at, words.zone(now.timezone)), "now": now}
    name = "parts/day.html" if is_fragment(request) else "day.html"
    return desk.page(request, name, values | strip(now), actor)


@router.get("/static/{digest}/{name}")
def show_asset(request: Request, _: Anybody, digest: str, name: str) -> Response:
    """Serves a static file; its address changes with its content, so browsers keep it."""
    asset = desk_of(request).assets.find(f"/static/{digest}/{name}")
    if asset is None:
        raise NotFound(f"There is no file {name!r}.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(asset.gzipped, headers=headers, media_type=asset.media_type)
    return Response(asset.body, headers=headers, media_type=asset.media_type)


def find_device(now: NowView, device: str) -> DeviceView:
    """Returns a device of the view.

    Raises:
        NotFound: there is none with this id.
    """
    found = next((one for one in now.devices if one.id == device), None)
    if found is None:
        raise NotFound(f"There is no device {device!r} here.")
    return found


def fresh_id(desk: Desk) -> str:
    """Returns the number of a form that is shown now."""
    return command_id(round(desk.config.clock_s() * 1000), proof.random_bits())


def device_values(
    desk: Desk, device: DeviceView, now: NowView, typed: Mapping[str, str] | None = None,
    problems: tuple[forms.Problem, ...] = (),
) -> dict[str, object]:  # fmt: skip
    """Returns what the device page and its hold form need; `typed` is what stood in the fields."""
    fields = {"id": fresh_id(desk), "value": "", "minutes": "15", "reason": ""} | dict(typed or {})
    return {
        "device": device,
        "fields": fields,
        "problems": {problem.field: problem.text for problem in problems},
        "minutes_max": desk.config.hold_minutes_max,
        "now": now,
        "direction": outlook.direction,
        "limit": forms.plain_short,
    }


def strip(now: NowView) -> dict[str, object]:
    """Returns what the alarm strip at the top of every page needs."""
    return {"open_alarms": outlook.open_alarms(now.alarms), "ack_id": ack_id}
