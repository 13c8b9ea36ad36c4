"""The outermost layer: host names, origins, body size and the security headers of every answer."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX = 16 * 1024
SAFE_METHODS = frozenset({"GET", "HEAD"})
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # not `no-referrer`: browsers would then send `Origin: null` with our own forms
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=()",
}


def host_name(host: str) -> str:
    """Returns a Host header without its port, lower case; IPv6 keeps its brackets."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def refusal(method: str, headers: Headers, hosts: frozenset[str]) -> tuple[int, str] | None:
    """Returns (status, words) when a request must not reach any route, else None."""
    host = headers.get("host", "")
    if host_name(host) not in hosts:
        return (
            421,
            f"This console is not called {host_name(host) or '(no name)'}. Known names: {', '.join(sorted(hosts))}.",
        )
    if method in SAFE_METHODS:
        return None
    origin = headers.get("origin")
    if origin is None:
        return 403, "Refused: the request names no Origin, so it may come from another site."
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
        return 403, "Refused: the form was sent from another site."
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > BODY_BYTES_MAX:
        return 413, f"Refused: a form here has at most {BODY_BYTES_MAX} bytes."
    return None


class Guard:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses what must not pass; adds the headers to every answer."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = refusal(scope["method"], Headers(scope=scope), self._hosts)
        if refused is not None:
            status, words = refused
            await PlainTextResponse(words, status)(scope, receive, send_guarded)
            return
        await self._app(scope, _limited(receive), send_guarded)


def _limited(receive: Receive) -> Receive:
    """Returns a receive that ends a body which is longer than it may be, whatever its header said."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > BODY_BYTES_MAX:
                return {"type": "http.disconnect"}
        return message

    return limited
