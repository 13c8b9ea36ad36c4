"""The console as one FastAPI app: `make_app(source, config)`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import quote

import anyio.to_thread
from fastapi import APIRouter, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute

from controller.console import actions, api, api_docs, assets, charter_page, log_files, money_page, pages, storm_page
from controller.console.auth import Permission
from controller.console.config import ConsoleConfig
from controller.console.desk import Desk, Needs, NotAllowed, NotFound, desk_of, make_templates
from controller.console.guard import Guard
from controller.console.live import Live
from controller.console.source import ConsoleSource

THREADS = 8


class RouteWithoutPermission(TypeError):
    """A route declares no permission: it would be open to everybody by mistake."""


def make_app(source: ConsoleSource, config: ConsoleConfig) -> FastAPI:
    """Returns the console.

    Stop it with `await app.state.live.close()` before uvicorn's shutdown, so that no stream holds it up.

    Raises:
        RouteWithoutPermission: a route was added without `Reader`, `Operator` or `Anybody`.
    """
    desk = Desk(source, config, assets.load(), make_templates())
    app = FastAPI(title="Atoll", version="1", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan)
    app.state.desk = desk
    app.state.live = Live(
        source.changed,
        lambda role: pages.regions(desk, role),
        (config.streams_max, config.streams_max_per_client),
        config.stream_period_s,
    )
    for part in (pages, actions, storm_page, charter_page, money_page, log_files, api, api_docs):
        app.include_router(part.router)
    app.add_exception_handler(NotAllowed, _not_allowed)
    app.add_exception_handler(NotFound, _not_found)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(GZipMiddleware, minimum_size=600, compresslevel=6)
    app.add_middleware(Guard, hosts=config.hosts)
    check_permissions(app.routes)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield
    await cast(Live, app.state.live).close()


def check_permissions(routes: Iterable[BaseRoute]) -> None:
    """Checks that every route declares who may use it.

    Raises:
        RouteWithoutPermission: one does not; the text names it.
    """
    for path, permission in permissions(routes):
        if permission is None:
            raise RouteWithoutPermission(
                f"{path} declares no permission: give it a Reader, Operator or Anybody parameter"
            )


def permissions(routes: Iterable[BaseRoute]) -> list[tuple[str, Permission | None]]:
    """Returns (`METHOD path`, permission) of each route."""
    found: list[tuple[str, Permission | None]] = []
    for route in _flat(routes):
        methods = ",".join(sorted(getattr(route, "methods", None) or ())) or "ANY"
        permission = _permission(route.dependant) if isinstance(route, APIRoute) else None
        found.append((f"{methods} {getattr(route, 'path', route)}", permission))
    return found


def _flat(routes: Iterable[BaseRoute]) -> Iterable[BaseRoute]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if isinstance(inner, APIRouter):  # newer FastAPI keeps included routers whole
            yield from _flat(inner.routes)
        else:
            yield route


def _permission(dependant: Dependant) -> Permission | None:
    for part in dependant.dependencies:
        if isinstance(part.call, Needs):
            return part.call.permission
        if (inner := _permission(part)) is not None:
            return inner
    return None


def _is_api(request: Request) -> bool:
    return request.url.path.startswith(api.PREFIX)


def _error_page(request: Request, status: int, title: str, words: str) -> HTMLResponse:
    desk = desk_of(request)
    values: dict[str, object] = {"title": title, "words": words, "open_alarms": (), "ack_id": pages.ack_id}
    return desk.page(request, "error.html", values, None, status)


async def _not_allowed(request: Request, error: Exception) -> Response:
    assert isinstance(error, NotAllowed)
    if _is_api(request):
        return JSONResponse({"detail": str(error)}, 401 if error.role is None else 403)
    if request.method in ("GET", "HEAD") and request.url.path != "/live":
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(target)}", 303)
    status = 401 if error.role is None else 403
    return _error_page(
        request, status, "Sign in first", "Only an operator may do this. Sign in with the operator code and repeat."
    )


async def _not_found(request: Request, error: Exception) -> Response:
    return _error_page(request, 404, "Not here", str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if _is_api(request):
        return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)
    return _error_page(request, error.status_code, "That did not work", str(error.detail))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
    if _is_api(request):
        return JSONResponse({"detail": found}, 422)
    return _error_page(request, 422, "That address is not right", "; ".join(found))
