"""The log for mirrors: signed checkpoint and tiles as the hub wrote them, under `/log/`. Source: C2SP tlog-tiles."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request
from fastapi.responses import Response

from controller.console.desk import NotFound, Reader, desk_of

router = APIRouter(include_in_schema=False)
_NUMBER = r"(?:x\d{3}/)*\d{3}"
_TILE = re.compile(rf"(?:[0-9]|[1-5][0-9]|6[0-3]|entries)/{_NUMBER}(?:\.p/(?:[1-9]|[1-9]\d|1\d\d|2[0-4]\d|25[0-5]))?")
FULL_AGE_S = 365 * 86_400


@router.get("/log/checkpoint")
def show_checkpoint(request: Request, _: Reader) -> Response:
    """The newest checkpoint whose tiles are all there, with its cosignatures."""
    return _file(request, "checkpoint", "text/plain; charset=utf-8", "no-cache")


@router.get("/log/tile/{path:path}")
def show_tile(request: Request, _: Reader, path: str) -> Response:
    """A tile of hashes, or a bundle of entries. A full one never changes."""
    if _TILE.fullmatch(path) is None:
        raise NotFound("there is no such tile")
    age = "no-cache" if ".p/" in path else f"private, max-age={FULL_AGE_S}, immutable"
    return _file(request, f"tile/{path}", "application/octet-stream", age)


def _file(request: Request, path: str, media: str, cache: str) -> Response:
    folder = desk_of(request).config.tiles
    try:
        content = None if folder is None else (folder / path).read_bytes()
    except OSError:
        content = None
    if content is None:
        raise NotFound("the log has no such file yet")
    return Response(content, media_type=media, headers={"Cache-Control": cache})
