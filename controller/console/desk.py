"""What every route works with: the source, the settings, templates, static files, and who is asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import HTTPConnection

from controller.commands import Actor, Role
from controller.console import draw, words
from controller.console.assets import Assets
from controller.console.auth import COOKIE, LoginGate, Permission, Session, allows
from controller.console.config import ConsoleConfig
from controller.console.source import ConsoleSource

VIA = "console"


class NotAllowed(PermissionError):
    """The person may not use this route."""

    def __init__(self, permission: Permission, role: Role | None) -> None:
        super().__init__(f"this needs the permission {permission}, seen: {role or 'nobody signed in'}")
        self.permission = permission
        self.role = role


class NotFound(LookupError):
    """There is no such page, home, device or entry; the text says which."""


@dataclass(frozen=True, slots=True)
class Desk:
    """One console's parts; made once by `make_app`."""

    source: ConsoleSource
    config: ConsoleConfig
    assets: Assets
    templates: Environment
    gate: LoginGate = field(default_factory=LoginGate)

    def who(self, connection: HTTPConnection) -> Session | None:
        """Returns who is asking: the signed-in session, else a viewer where looking is open, else None."""
        token = connection.cookies.get(COOKIE, "")
        session = self.config.sessions.find(token, self.config.clock_s()) if token else None
        if session is not None:
            return session
        return Session("guest", Role.VIEWER) if self.config.open_viewing else None

    def page(
        self, request: Request, name: str, values: Mapping[str, object], actor: Actor | None = None, status: int = 200
    ) -> HTMLResponse:
        """Returns a rendered page (or, for htmx, only what it asked for)."""
        return HTMLResponse(self.render(name, values, actor, path=request.url.path), status)

    def render(self, name: str, values: Mapping[str, object], actor: Actor | None, path: str = "") -> str:
        """Returns a rendered template with everything that each page's frame needs."""
        now = self.source.now()
        frame = {
            "now": now,
            "tz": words.zone(now.timezone),
            "actor": actor,
            "looking": actor is not None and actor.name != "",
            "operator": actor is not None and actor.role is Role.OPERATOR,
            "path": path,
            "asset": self.assets.url,
        }
        return self.templates.get_template(name).render({**frame, **values})


def make_templates() -> Environment:
    """Returns the template environment: escaping always, a missing value is an error."""
    environment = Environment(
        loader=PackageLoader("controller.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(words.FILTERS)
    names: dict[str, object] = cast("dict[str, object]", environment.globals)  # its own type allows only Jinja's
    names |= {"draw": draw, "amount": words.amount}
    return environment


def desk_of(connection: HTTPConnection) -> Desk:
    """Returns the desk of the app that serves this connection."""
    return cast(Desk, connection.app.state.desk)


class Needs:
    """A route's permission, as a dependency that returns the actor."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    def __call__(self, request: Request) -> Actor:
        """Returns who is asking; an empty name is somebody who may see nothing but the login page.

        Raises:
            NotAllowed: that person may not use the route.
        """
        session = desk_of(request).who(request)
        role = session.role if session else None
        if not allows(role, self.permission):
            raise NotAllowed(self.permission, role)
        return Actor(session.name, session.role, VIA) if session else Actor("", Role.VIEWER, VIA)


Anybody = Annotated[Actor, Depends(Needs(Permission.PUBLIC))]
Reader = Annotated[Actor, Depends(Needs(Permission.READ))]
Operator = Annotated[Actor, Depends(Needs(Permission.COMMAND))]


def is_fragment(request: Request) -> bool:
    """Returns whether htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true"
